"""Areas under the curve on simulated queries with given estimates, next to those that the reference code reached.

    python benches/python/reference_check.py FOLDER

FOLDER holds ``synth_5.npz`` (per noise level the estimates before and after each run, ``qhat_before_low`` and so on;
true ``qualities`` and ``costs``; ``train_idx``, ``test_idx``) and ``results.json`` (per level ``auc`` and ``runs`` with
their budgets). The rules are calibrated on the training part for the reference's own budgets, and tested on the test
part.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

import headrace as hr
from headrace.arrays import BoolArray, FloatArray, IndexArray
from headrace.budget_path import BudgetPath, curve_area
from headrace.calibration import UNCERTAINTY_SCALES
from headrace.policy import make_rule
from headrace.walk import budget_path, walk

REFERENCE_NAMES = {
    "routing": "router",
    "threshold-cascade": "cascade_baseline",
    "cascade": "cascade_ours",
    "cascade-routing": "cascade_routing",
}


class GivenEstimates:
    """Believes the estimates of the file: those after the run for models that have run, those before for the others."""

    def __init__(self, data: dict[str, FloatArray], level: str, rows: IndexArray) -> None:
        self.before, self.after, self.cost_before, self.cost_after = (
            data[f"{name}_{level}"][rows] for name in ("qhat_before", "qhat_after", "chat_before", "chat_after")
        )
        self.variance = data[f"sigmas_{level}"] ** 2

    def __call__(self, rows: IndexArray, run: BoolArray) -> tuple[hr.Belief, FloatArray]:
        quality = np.where(run, self.after[rows], self.before[rows])
        cost = np.where(run, self.cost_after[rows], self.cost_before[rows])
        return hr.Belief(quality, variance=np.where(run, 0.0, self.variance)), np.maximum(cost, 0.0)


def realised_area(fitted: BudgetPath, tested: BudgetPath, budgets: list[float], test: hr.Outcomes) -> float:
    """Area of the curve through the test results at the budgets; an infeasible budget gets the cheapest policy."""
    points = []
    for budget in budgets:
        point = fitted.at(budget=max(budget, float(fitted.cost.min())))
        cheap, dear = (tested.realised(parameter) for parameter in point.parameters)
        points.append([point.share * a + (1.0 - point.share) * b for a, b in zip(cheap[:2], dear[:2], strict=True)])
    cost, quality = np.array(sorted(points)).T
    return curve_area(cost, quality, test.mean_cost.min(), test.mean_cost.max(), test.mean_quality.min())


def main() -> None:
    folder = Path(sys.argv[1])
    data = dict(np.load(folder / "synth_5.npz"))
    results = json.loads((folder / "results.json").read_text())
    outcomes = hr.Outcomes(models=list("abcde"), quality=data["qualities"], cost=data["costs"])
    fitting, test = outcomes.take(data["train_idx"]), outcomes.take(data["test_idx"])
    print("level   rule               answer  reference  headrace (scale)   at scale 1")
    for level in ("low", "medium"):
        reference = results[level]
        budgets = [run["budget"] for run in reference["runs"] if run["alg"] == "router"]
        kinds = [(rule, "best") for rule in (*REFERENCE_NAMES, "index")] + [("threshold-cascade", "last")]
        for name, answer in sorted(kinds):
            scaled = name in ("cascade", "cascade-routing", "index")
            areas = {}
            for scale in UNCERTAINTY_SCALES if scaled else (1.0,):
                rule = make_rule(name, 0.0, {"uncertainty_scale": scale} if scaled else {})
                paths = [
                    budget_path(walk(rule, part, GivenEstimates(data, level, rows), answer=answer), part.costs)
                    for part, rows in ((fitting, data["train_idx"]), (test, data["test_idx"]))
                ]
                train_area = paths[0].area(fitting.mean_cost.min(), fitting.mean_cost.max(), fitting.mean_quality.min())
                areas[scale] = (train_area, realised_area(*paths, budgets, test))
            chosen = max(areas, key=lambda scale: areas[scale][0])
            known = reference["auc"].get(REFERENCE_NAMES.get(name, ""))
            shown = "        -" if known is None else f"{known:9.4f}"
            print(
                f"{level:7} {name:18} {answer:6} {shown}     {areas[chosen][1]:.4f} ({chosen})      {areas[1.0][1]:.4f}"
            )


if __name__ == "__main__":
    main()
