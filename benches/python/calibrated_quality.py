"""Calibrated estimates on real logs: how good they are, what they do to decisions, and how to share the maps.

    python benches/python/calibrated_quality.py DATA_DIR > docs/results/calibrated_quality.md

DATA_DIR holds the Parquet tables of `held_out.py`. Half of the queries (or as many as are named) fit and calibrate, by
cross-fitting, the other half are the test; five seeds, mean difference to the base and two standard errors of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from held_out import CASES, halves

import headrace as hr
from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import cross_fit
from headrace.calibration.settings import calibrate, path_area
from headrace.calibration.walk import budget_path, walk
from headrace.estimators import BoostingQuality, CalibratedQuality, ClusterQuality, LinearCost, LinearQuality
from headrace.estimators.calibrated import _held_out
from headrace.estimators.calibration_maps import IsotonicMaps, PlattMaps, Sample
from headrace.rules import make_rule

SEEDS = range(5)

#: Table, base estimator, labelled queries (None: all of the half).
SETTINGS: tuple[tuple[str, str, int | None], ...] = (
    ("mmlu_pro", "linear", None),
    ("mmlu_pro", "linear", 200),
    ("mmlu_pro", "boosting", 500),
    ("mmlu_pro", "clusters", 500),
    ("routerbench_arc_mbpp_winogrande", "linear", None),
    ("routerbench_arc_mbpp_winogrande", "linear", 200),
    ("swebench_verified_miniagent", "linear", None),
)
BASES: dict[str, Callable[[], Any]] = {
    "linear": LinearQuality,
    "boosting": BoostingQuality,
    "clusters": ClusterQuality,
}
#: What may be done with a base. One that doesn't look at responses has no variances.
VARIANTS: dict[str, Callable[[Any], Any]] = {
    "base": lambda base: base,
    "variances rescaled": lambda base: CalibratedQuality(base, method=None),
    "... on the logit scale": lambda base: CalibratedQuality(base, method=None, logit_variance=True),
    "Platt": CalibratedQuality,
    "Platt, logit variances": lambda base: CalibratedQuality(base, logit_variance=True),
    "isotonic": lambda base: CalibratedQuality(base, method="isotonic"),
}

HEAD = """# Calibrated estimates

`python benches/python/calibrated_quality.py DATA_DIR`: half of the queries, or as many as are named, fit and calibrate
by cross-fitting, the other half are the test; five models each; five seeds. Differences to the base estimator, mean ±
two standard errors over the seeds; Brier score and log loss times 10,000, averages over models and numbers of models
run; areas under the curve of cascade routing in points, with the uncertainty scale that the fit chooses, and at scale
1. The log loss takes estimates as at least 0.001 away from 0 and 1.
"""


def parts(directory: Path, table: str, n_labels: int | None) -> Iterator[tuple[int, hr.Outcomes, hr.Outcomes]]:
    case = next(case for case in CASES if case[0] == table)
    for seed in SEEDS:
        fitting, test = halves(directory, case, seed)
        if n_labels is not None:
            fitting = fitting.split(n_labels / fitting.n_queries, rng=seed + 7)[0]
        yield seed, fitting, test


def losses(estimates: FloatArray, labels: FloatArray) -> tuple[float, float]:
    inner = np.clip(estimates, 0.001, 0.999)
    log_loss = -np.mean(labels * np.log(inner) + (1.0 - labels) * np.log(1.0 - inner))
    return 1e4 * float(np.mean((estimates - labels) ** 2)), 1e4 * float(log_loss)


def judged(fitting: hr.Outcomes, test: hr.Outcomes, quality: Any, seed: int) -> tuple[float, float, float, float]:
    """Give Brier score, log loss, the area at the scale chosen, and that at scale 1."""
    believed = cross_fit(fitting, quality, LinearCost(), n_folds=5, seed=seed)
    chosen = calibrate("cascade-routing", believed, settings={"max_depth": 5}).settings
    held_out = BeliefTable.served(test, believed.estimators, seed=seed)
    areas = []
    for settings in (chosen, chosen | {"uncertainty_scale": 1.0}):
        stops = walk(make_rule("cascade-routing", 0.0, settings), test, held_out)
        areas.append(100.0 * path_area(budget_path(stops, test.costs), test))
    order = np.random.default_rng(seed).permutation(test.n_models)
    everyone = np.arange(test.n_queries)
    scores = [losses(held_out(everyone, order < size)[0].quality, test.quality) for size in range(test.n_models + 1)]
    brier, log_loss = np.mean(scores, axis=0).tolist()
    return brier, log_loss, areas[0], areas[1]


def report_variants(directory: Path) -> None:
    for table, base, n_labels in SETTINGS:
        names = list(VARIANTS) if base == "linear" else ["base", "Platt", "isotonic"]
        found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in names}
        n_fitting = 0
        for seed, fitting, test in parts(directory, table, n_labels):
            n_fitting = fitting.n_queries
            for name in names:
                found[name].append(judged(fitting, test, VARIANTS[name](BASES[base]()), seed))
        reference = np.array(found["base"])
        brier, log_loss, area, unscaled = reference.mean(axis=0)
        print(f"\n## {table}, {base}, {n_fitting} labelled queries\n")
        print(
            f"The base: Brier score {brier:.0f}, log loss {log_loss:.0f}, area {area:.2f}, at scale 1 {unscaled:.2f}.\n"
        )
        print("| | Brier score | log loss | area | area at scale 1 |")
        print("|---|---|---|---|---|")
        for name in names[1:]:
            print(f"| {name} | {' | '.join(differences(np.array(found[name]) - reference))} |", flush=True)


def differences(values: FloatArray) -> list[str]:
    errors = 2.0 * values.std(axis=0, ddof=1) / len(values) ** 0.5
    digits = (1, 1, 2, 2)
    return [f"{m:+.{d}f} ± {e:.{d}f}" for m, e, d in zip(values.mean(axis=0), errors, digits, strict=False)]


#: Tables and numbers of labelled queries on which ways to share maps are compared.
SHARED_SETTINGS = (
    ("mmlu_pro", 200),
    ("mmlu_pro", 1500),
    ("routerbench_arc_mbpp_winogrande", 200),
    ("routerbench_arc_mbpp_winogrande", 1500),
)

#: Estimates that share a map, by number of models run, whether the model itself has run, and the run set.
SHARING: dict[str, Callable[[Any, int], Any]] = {
    "one per model": lambda run, j: 0,
    "per model, before and after its own run": lambda run, j: bool(run[j]),
    "per model and number of runs": lambda run, j: int(run.sum()),
    "per model and run set": lambda run, j: run.tobytes(),
}


def report_sharing(directory: Path) -> None:
    print("\n## What shares a map\n")
    print("Brier score and log loss of maps of the linear estimator's, differences to the base.\n")
    print("| data | labelled queries | kind | shared | Brier score | log loss |")
    print("|---|---|---|---|---|---|")
    for table, n_labels in SHARED_SETTINGS:
        found: dict[tuple[str, str], list[FloatArray]] = {}
        for _, fitting, test in parts(directory, table, n_labels):
            everything = fitting.responses_for(np.ones(fitting.n_models, dtype=np.bool_))
            held_out = _held_out(LinearQuality(), fitting.queries, everything, fitting.quality)
            base = LinearQuality().fit(fitting.queries, everything, fitting.quality)
            run_sets = {part.run.tobytes(): part.run for part in held_out}.values()
            fresh = [base.predict(test.queries, test.responses_for(run)).quality for run in run_sets]
            before = np.mean([losses(estimates, test.quality) for estimates in fresh], axis=0)
            for kind in (PlattMaps, IsotonicMaps):
                for shared, key in SHARING.items():
                    mapped = [estimates.copy() for estimates in fresh]
                    for j in range(fitting.n_models):
                        for group in {key(run, j) for run in run_sets}:
                            own = [part for part in held_out if key(part.run, j) == group]
                            estimates = np.concatenate([part.estimates[:, j] for part in own])
                            rows = np.concatenate([part.rows for part in own])
                            sample = Sample(estimates, fitting.quality[rows, j], len(np.unique(rows)))
                            maps = kind.fit([[sample], [sample]])
                            for run, values in zip(run_sets, mapped, strict=True):
                                if key(run, j) == group:
                                    values[:, [j]] = maps(values[:, [j]], np.array([False]))
                    after = np.mean([losses(estimates, test.quality) for estimates in mapped], axis=0)
                    found.setdefault((kind.__name__.removesuffix("Maps"), shared), []).append(after - before)
        for (name, shared), values in found.items():
            cells = " | ".join(differences(np.array(values)))
            print(f"| {table} | {fitting.n_queries} | {name} | {shared} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    print(HEAD, end="")
    report_variants(directory)
    report_sharing(directory)


if __name__ == "__main__":
    main()
