"""Areas under the curve on simulated queries with given estimates, next to those that the reference code reached.

    python benches/python/reference_check.py FOLDER

FOLDER holds ``synth_5.npz`` (per noise level the estimates before and after each run, ``qhat_before_low`` and so on;
true ``qualities`` and ``costs``; ``train_idx``, ``test_idx``) and ``results.json`` (per level ``auc`` and ``runs`` with
their budgets). The rules are calibrated on the training part for the reference's own budgets, and tested on the test
part. Without fusion, the estimate after a run replaces the one before, as in the reference; with fusion, the truth is
regressed on both, on the training part (`headrace.datasets.NoisyOracle`). Printed as docs/results/fusion.md.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

import headrace as hr
from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.calibration.settings import UNCERTAINTY_SCALES, path_area
from headrace.calibration.walk import budget_path, walk
from headrace.datasets.simulated import AFTER, BEFORE, PLACE, NoisyOracle
from headrace.policy.budget_path import BudgetPath, curve_area
from headrace.rules import make_rule

REFERENCE_NAMES = {
    "routing": "router",
    "threshold-cascade": "cascade_baseline",
    "cascade": "cascade_ours",
    "cascade-routing": "cascade_routing",
}

#: Rules with an uncertainty scale, and those of which the better one is chosen on the training part.
SCALED = ("cascade", "cascade-routing", "index")
CHOICES = ("cascade-routing", "index")

HEAD = """# The noisy oracle, with replacement and with fusion

`python benches/python/reference_check.py FOLDER`: 2,500 simulated queries, 5 models, the first 500 to fit, with the
estimates on which the reference code (eth-sri/cascade-routing v1.1) was run. Area under the curve of realised cost and
quality on the 2,000 test queries, at the reference's own budgets. In brackets: the uncertainty scale, chosen on the
training part. *Replacement*: after a run, its estimate replaces the one before, as in the reference. *Fusion*: truth is
regressed on both (`headrace.datasets.NoisyOracle(fusion=True)`), on the training part only. For comparison: the
standard error of the reference's cascade routing minus its cascade is .0014 at low noise, .0039 at medium noise.

| noise | rule | answer | reference | replacement | at scale 1 | fusion | at scale 1 |
|---|---|---|---|---|---|---|---|"""


class GivenEstimates:
    """Believes the estimates of the file: those after the run for models that have run, those before for the others."""

    def __init__(self, data: dict[str, FloatArray], level: str, rows: IndexArray) -> None:
        self.before, self.after, self.cost_before, self.cost_after = (
            data[f"{name}_{level}"][rows] for name in ("qhat_before", "qhat_after", "chat_before", "chat_after")
        )
        self.variance = data[f"sigmas_{level}"] ** 2

    def as_table(self) -> tuple[dict[str, FloatArray], hr.Responses]:
        """Give the estimates as a noisy oracle reads them."""
        places = np.tile(np.arange(self.after.shape[1]), (len(self.after), 1))
        seen = np.ones(self.after.shape, dtype=np.bool_)
        return {BEFORE: self.before}, hr.Responses(seen, {AFTER: self.after, PLACE: places})

    def __call__(self, rows: IndexArray, run: BoolArray, *, priced: bool = True) -> tuple[hr.Belief, FloatArray]:
        quality = np.where(run, self.after[rows], self.before[rows])
        cost = np.where(run, self.cost_after[rows], self.cost_before[rows])
        return hr.Belief(quality, variance=np.where(run, 0.0, self.variance)), np.maximum(cost, 0.0)


class FusedEstimates(GivenEstimates):
    """Combines the estimates before and after the run of a model, by least squares on the training part."""

    def __init__(self, data: dict[str, FloatArray], level: str, rows: IndexArray) -> None:
        super().__init__(data, level, rows)
        training = data["train_idx"]
        looks = GivenEstimates(data, level, training)
        queries, responses = looks.as_table()
        self.oracle = NoisyOracle(fusion=True).fit(queries, responses, data["qualities"][training])
        self.queries, self.responses = self.as_table()

    def __call__(self, rows: IndexArray, run: BoolArray, *, priced: bool = True) -> tuple[hr.Belief, FloatArray]:
        queries = {name: column[rows] for name, column in self.queries.items()}
        belief = self.oracle.predict(queries, self.responses.take(rows).with_run(run))
        return belief, super().__call__(rows, run)[1]


#: A rule, which answer it gives, and the estimates that it sees.
Kind: TypeAlias = tuple[str, str, type[GivenEstimates]]


def realised_area(fitted: BudgetPath, tested: BudgetPath, budgets: list[float], test: hr.Outcomes) -> float:
    """Area of the curve through the test results at the budgets; an infeasible budget gets the cheapest policy."""
    points = []
    for budget in budgets:
        point = fitted.at(budget=max(budget, float(fitted.cost.min())))
        cheap, costly = (tested.realised(parameter) for parameter in point.parameters)
        points.append([point.share * a + (1.0 - point.share) * b for a, b in zip(cheap[:2], costly[:2], strict=True)])
    cost, quality = np.array(sorted(points)).T
    return curve_area(cost, quality, test.mean_cost.min(), test.mean_cost.max(), test.mean_quality.min())


class Areas(NamedTuple):
    """Areas of one rule at the uncertainty scale that is best on the training part."""

    scale: float
    training: float
    test: float
    #: On the test part, at scale 1.
    unscaled: float


def areas(data: dict[str, FloatArray], outcomes: hr.Outcomes, level: str, kind: Kind, budgets: list[float]) -> Areas:
    """Calibrate a rule on the training part at each scale, and test it."""
    name, answer, estimates = kind
    parts = [(outcomes.take(data[key]), data[key]) for key in ("train_idx", "test_idx")]
    (fitting, _), (test, _) = parts
    scaled = name in SCALED
    found = {}
    for scale in UNCERTAINTY_SCALES if scaled else (1.0,):
        rule = make_rule(name, 0.0, {"uncertainty_scale": scale} if scaled else {})
        paths = [
            budget_path(walk(rule, part, estimates(data, level, rows), answer=answer), part.costs)
            for part, rows in parts
        ]
        found[scale] = path_area(paths[0], fitting), realised_area(*paths, budgets, test)
    chosen = max(found, key=lambda scale: found[scale][0])
    return Areas(chosen, *found[chosen], found[1.0][1])


def main() -> None:
    folder = Path(sys.argv[1])
    data = dict(np.load(folder / "synth_5.npz"))
    results = json.loads((folder / "results.json").read_text())
    outcomes = hr.Outcomes(models=list("abcde"), quality=data["qualities"], cost=data["costs"])
    print(HEAD)
    best = []
    for level in ("low", "medium"):
        reference = results[level]
        budgets = [run["budget"] for run in reference["runs"] if run["alg"] == "router"]
        kinds = [(rule, "best") for rule in (*REFERENCE_NAMES, "index")] + [("threshold-cascade", "last")]
        fused = {}
        for name, answer in sorted(kinds):
            replaced = areas(data, outcomes, level, (name, answer, GivenEstimates), budgets)
            fused[name, answer] = combined = areas(data, outcomes, level, (name, answer, FusedEstimates), budgets)
            known = reference["auc"].get(REFERENCE_NAMES.get(name, ""))
            cells = [
                "" if known is None else f"{known:.4f}",
                f"{replaced.test:.4f} ({replaced.scale})",
                f"{replaced.unscaled:.4f}",
                f"{combined.test:.4f} ({combined.scale})",
                f"{combined.unscaled:.4f}",
            ]
            print(f"| {level} | {name} | {answer} | {' | '.join(cells)} |", flush=True)
        name = max(CHOICES, key=lambda name: fused[name, "best"].training)
        best.append(f"{level} noise: {name}, {fused[name, 'best'].test:.4f}")
    print(f"\nWith fusion, the better of {' and '.join(CHOICES)} by the training part: {'; '.join(best)}.")


if __name__ == "__main__":
    main()
