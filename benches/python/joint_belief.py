"""The joint belief next to a regression per run set: error by size of the run set, routing, time to fit.

    python benches/python/joint_belief.py FOLDER [errors] [missing] [times] [areas] [--seeds 5]

FOLDER holds ``mmlu_pro.parquet`` and ``routerbench_arc_mbpp_winogrande.parquet``: a table of outcomes each, columns
``<model>|quality``, ``|cost``, ``|answer``, ``|response_len``. Markdown goes to the standard output. Intervals are of
95%: of errors over the seeds (each draws the queries of both parts anew), of areas under the curve by a paired
bootstrap over the test queries.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import headrace as hr
from headrace.arrays import BoolArray, FloatArray
from headrace.estimators import JointQuality, LinearQuality, QualityEstimator
from headrace.estimators.gaussian import Strengths
from headrace.evaluation import compare

FIVE = [
    "Meta-Llama-3_1-8B-Instruct",
    "gemini-1.5-flash-002",
    "Meta-Llama-3_1-70B-Instruct",
    "gemini-1.5-pro-002",
    "gpt-4o (May-2024 run)",
]
SIX_MORE = [
    "Phi-3-mini-4k-instruct",
    "mathstral-7B",
    "Mixtral-8x7B-Instruct-v0.1",
    "deepseek-chat-v2 (May-2024 run)",
    "jamba-1.5-large",
    "c4ai-command-r-v01",
]
ROUTERBENCH_FIVE = [
    "mistralai/mistral-7b-chat",
    "mistralai/mixtral-8x7b-chat",
    "zero-one-ai/Yi-34B-Chat",
    "gpt-3.5-turbo-1106",
    "gpt-4-1106-preview",
]

N_FIT = (100, 200, 1500)
N_TEST = 1500

#: Run sets per size on which errors are taken.
RUN_SETS = 5

Fit = Callable[[], QualityEstimator]


def tables(folder: Path) -> Iterator[tuple[str, hr.Outcomes]]:
    mmlu = hr.Outcomes.from_file(folder / "mmlu_pro.parquet")
    routerbench = hr.Outcomes.from_file(folder / "routerbench_arc_mbpp_winogrande.parquet")
    yield "mmlu_pro 5", mmlu.select(FIVE).complete()
    yield "mmlu_pro 11", mmlu.select(FIVE + SIX_MORE).complete()
    yield "routerbench 5", routerbench.select(ROUTERBENCH_FIVE).complete()
    yield "routerbench 11", routerbench.complete()


def parts(table: hr.Outcomes, seed: int, n_fit: int, n_test: int) -> tuple[hr.Outcomes, hr.Outcomes]:
    order = np.random.default_rng(seed).permutation(table.n_queries)
    return table.take(order[:n_fit]), table.take(order[n_fit : n_fit + n_test])


def run_sets(n_models: int) -> list[list[BoolArray]]:
    """Some run sets of each size."""
    rng = np.random.default_rng(0)
    by_size = []
    for size in range(n_models + 1):
        sets = list(itertools.combinations(range(n_models), size))
        drawn = rng.permutation(len(sets))[:RUN_SETS]
        by_size.append([np.isin(np.arange(n_models), sets[i]) for i in drawn])
    return by_size


def errors_by_size(estimator: QualityEstimator, test: hr.Outcomes) -> FloatArray:
    """Mean squared errors of the estimates after 0, 1, ... models have run."""
    by_size = []
    for masks in run_sets(test.n_models):
        estimates = [estimator.predict(test.queries, test.responses_for(run)).quality for run in masks]
        by_size.append(np.mean([np.mean((quality - test.quality) ** 2) for quality in estimates]))
    return np.array(by_size)


def fitted(estimator: QualityEstimator, fitting: hr.Outcomes, run: BoolArray | None = None) -> QualityEstimator:
    run = np.ones(fitting.quality.shape, dtype=bool) if run is None else run
    return estimator.fit(fitting.queries, fitting.responses_for(run), np.where(run, fitting.quality, np.nan))


def seconds(action: Callable[[], object], repeats: int = 1) -> float:
    """Time of the processor: other work on the machine doesn't count."""
    start = time.process_time()
    for _ in range(repeats):
        action()
    return (time.process_time() - start) / repeats


def row(*cells: object) -> None:
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


def header(title: str, *cells: str) -> None:
    print(f"\n### {title}\n")
    row(*cells)
    row(*["---"] * len(cells))


def spread(values: FloatArray, digits: int = 4) -> str:
    """Mean over the seeds, and half the width of its 95% interval."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():.{digits}f} ± {half:.{digits}f}"


def errors(name: str, table: hr.Outcomes, seeds: int) -> None:
    kinds: dict[str, Fit] = {
        "one regression per run set": LinearQuality,
        "joint": JointQuality,
        "joint, no pooling": lambda: JointQuality(strengths=Strengths(0.0, 0.3, 0.03)),
        "joint, pooled alone": lambda: JointQuality(strengths=Strengths(1e3, 0.3, 0.03)),
    }
    sizes = range(table.n_models + 1)
    header(
        f"{name}: mean squared error by number of runs", "n_fit", "estimator", *map(str, sizes), "mean", "difference"
    )
    for n_fit in N_FIT:
        results = {kind: [] for kind in kinds}
        for seed in range(seeds if n_fit < 1000 else max(seeds // 2, 2)):
            fitting, test = parts(table, seed, n_fit, N_TEST)
            for kind, make in kinds.items():
                results[kind].append(errors_by_size(fitted(make(), fitting), test))
        first = np.array(results["one regression per run set"])
        for kind, values in results.items():
            by_size = np.array(values)
            difference = spread((by_size - first).mean(axis=1)) if kind != "one regression per run set" else ""
            row(n_fit, kind, *(f"{x:.4f}" for x in by_size.mean(axis=0)), f"{by_size.mean():.4f}", difference)


def missing_cells(name: str, table: hr.Outcomes, seeds: int) -> None:
    sizes = range(table.n_models + 1)
    header(f"{name}: cells of the fitting part missing", "n_fit", "missing", *map(str, sizes), "mean", "seconds to fit")
    for n_fit in N_FIT[1:]:
        for share in (0.0, 0.5, 0.8):
            results, times = [], []
            for seed in range(seeds if n_fit < 1000 else max(seeds // 2, 2)):
                fitting, test = parts(table, seed, n_fit, N_TEST)
                run = np.random.default_rng(seed).random(fitting.quality.shape) >= share
                estimator = JointQuality()
                times.append(seconds(lambda: fitted(estimator, fitting, run)))  # noqa: B023  # called at once
                results.append(errors_by_size(estimator, test))
            by_size = np.array(results)
            mean = spread(by_size.mean(axis=1))
            row(n_fit, f"{share:.0%}", *(f"{x:.4f}" for x in by_size.mean(axis=0)), mean, f"{np.mean(times):.2f}")


def times(name: str, table: hr.Outcomes) -> None:
    """Fits of all run sets, from a sample of them; and the joint belief's gain of every run set."""
    header(
        f"{name}: seconds", "n_fit", "regressions", "joint: fit", "joint: gains", "ratio", "query (us)", "10,000 (s)"
    )
    k = table.n_models
    every = [np.isin(np.arange(k), s) for size in range(k + 1) for s in itertools.combinations(range(k), size)]
    drawn = [every[i] for i in np.random.default_rng(0).permutation(len(every))[:60]]
    for n_fit in N_FIT:
        fitting, test = parts(table, 0, n_fit, N_TEST)
        one, many = test.take([0]), test.take(np.arange(10_000) % N_TEST)
        separate, joint = LinearQuality(), JointQuality()
        fitted(separate, fitting)
        total = seconds(lambda: [separate.predict(one.queries, one.responses_for(run)) for run in drawn])  # noqa: B023
        total *= len(every) / len(drawn)
        fit = seconds(lambda: fitted(joint, fitting))  # noqa: B023
        gains = seconds(lambda: [joint.update_covariance(run) for run in every])  # noqa: B023
        run = np.arange(k) < 5
        single, batch = one.responses_for(run), many.responses_for(run)
        query = seconds(lambda: joint.predict(one.queries, single), 300)  # noqa: B023
        block = seconds(lambda: joint.predict(many.queries, batch), 3)  # noqa: B023
        ratio = total / (fit + gains)
        row(n_fit, f"{total:.2f}", f"{fit:.2f}", f"{gains:.2f}", f"{ratio:.0f}", f"{1e6 * query:.0f}", f"{block:.3f}")


def areas(name: str, table: hr.Outcomes, seeds: int) -> None:
    header(
        f"{name}: area of cascade routing", "n_fit", "seed", "regressions", "joint", "difference", "joint, covariances"
    )
    for n_fit in N_FIT:
        for seed in range(2 if table.n_models > 5 else seeds):
            fitting, test = parts(table, seed, n_fit, min(3000, table.n_queries - n_fit))
            kinds = [LinearQuality(), JointQuality(), JointQuality(joint=True)]
            results = [compare(fitting, test, methods=["cascade-routing"], quality=q)["cascade-routing"] for q in kinds]
            low, high = np.quantile(results[1].resampled - results[0].resampled, [0.025, 0.975])
            first, second, third = (result.area for result in results)
            difference = f"{second - first:+.4f} [{low:+.4f}, {high:+.4f}]"
            row(n_fit, seed, f"{first:.4f}", f"{second:.4f}", difference, f"{third:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = {
        "errors": errors,
        "missing": missing_cells,
        "times": lambda name, table, _: times(name, table),
        "areas": areas,
    }
    parser.add_argument("folder", type=Path)
    parser.add_argument("sections", nargs="*", choices=list(sections), default=list(sections), metavar="section")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    for name, table in tables(options.folder):
        for section in options.sections:
            sections[section](name, table, options.seeds)


if __name__ == "__main__":
    main()
