"""What sets the joint belief apart from the regressions where labels are many: means or updates, and the pooling.

    nice python benches/python/pooling.py DATA_DIR > docs/results/pooling.md

DATA_DIR, the models and the draws are those of estimators.py beside this file, whose table "mmlu_pro, 5" asks the
question. Cascade routing; the draws are others than those of that table. It takes five minutes on one
core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from estimators import CASES, parts, shown, table_of

import headrace as hr
from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import cross_fit
from headrace.calibration.settings import calibrate, rule_settings
from headrace.calibration.walk import budget_path, walk
from headrace.estimators import JointQuality, LinearCost, LinearQuality
from headrace.estimators.belief import Belief
from headrace.estimators.gaussian import Strengths
from headrace.rules import make_rule

NAME = "mmlu_pro, 5"
RULE = "cascade-routing"
DEPTH = 5
#: The scale that most fits choose.
SCALE = 0.25

ESTIMATORS = {
    "regressions": LinearQuality(),
    "joint": JointQuality(),
    "no pooling": JointQuality(strengths=Strengths(0.0, 0.3, 0.03)),
}

#: Lines of the table: whose means, and whose variances of the updates.
LINES = {
    "joint belief": ("joint", "joint"),
    "means of the joint belief, variances of the regressions": ("joint", "regressions"),
    "means of the regressions, variances of the joint belief": ("regressions", "joint"),
    "joint belief without pooling": ("no pooling", "no pooling"),
}

HEAD = """# Where labels are many: the joint belief and its pooling

`python benches/python/pooling.py DATA_DIR`: {name} models as in estimators.md, {n_fit:,} queries to fit and
{n_test:,} to test, {n} draws (seeds {first} to {last}). Area under quality against cost of cascade routing on the test
queries, in points, minus that with the regressions on the same queries, and half the width of its 95% interval. The
uncertainty scale is the one that the fit chooses for each, or {scale} for all.
"""

TAIL = """
- The draws share the same 12,032 queries, so that the intervals say what other draws would give; for fresh queries they
  are too narrow.
- The variances of the updates make no difference; the means do. Pooling over models is what sets them apart from those
  of the regressions: both are linear in the same features. Squared errors, by which its strength is chosen, don't show
  the loss (joint_belief.md).
- A scale of zero is the worst choice here, and some fits choose it, since the area on the queries of a fit is noisy.
"""


class Mixed:
    """Means and costs of one table of beliefs, with variances of another."""

    def __init__(self, means: BeliefTable, updates: BeliefTable) -> None:
        self.means, self.updates = means, updates

    def __call__(self, rows: IndexArray, run: BoolArray, *, priced: bool = True) -> tuple[Belief, FloatArray]:
        belief, costs = self.means(rows, run)
        return Belief(belief.quality, variance=self.updates(rows, run)[0].variance), costs


def areas(fitting: hr.Outcomes, test: hr.Outcomes, seed: int) -> dict[str, float]:
    """Give the areas of all lines at both scales, and what each fit chose."""
    lowest, highest = float(test.mean_cost.min()), float(test.mean_cost.max())
    floor = float(test.mean_quality.min())

    def area(believer: Mixed, scale: float) -> float:
        rule = make_rule(RULE, 0.0, {"max_depth": DEPTH, "uncertainty_scale": scale})
        return 100.0 * budget_path(walk(rule, test, believer), test.costs).area(lowest, highest, floor)

    served, scales = {}, {}
    for name, quality in ESTIMATORS.items():
        table = cross_fit(fitting, quality, LinearCost(), n_folds=5, seed=seed)
        served[name] = BeliefTable.served(test, table.estimators, seed=seed)
        chosen = calibrate(RULE, table, settings=rule_settings(RULE, fitting, max_depth=DEPTH))
        scales[name] = float(chosen.settings["uncertainty_scale"])
    found = {f"zero, {name}": float(scale == 0.0) for name, scale in scales.items()}
    for line, (means, updates) in {"regressions": ("regressions", "regressions"), **LINES}.items():
        believer = Mixed(served[means], served[updates])
        found[f"chosen, {line}"] = area(believer, scales[means])
        found[f"fixed, {line}"] = area(believer, SCALE)
        found[f"at zero, {line}"] = area(believer, 0.0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--first", type=int, default=5, help="first seed")
    parser.add_argument("--seeds", type=int, default=40)
    options = parser.parse_args()
    case = next(case for case in CASES if case.name == NAME)
    table = table_of(options.directory, case)
    seeds = range(options.first, options.first + options.seeds)
    drawn = [areas(*parts(table, case, seed), seed) for seed in seeds]
    found = {name: np.array([areas_[name] for areas_ in drawn]) for name in drawn[0]}
    sizes = {"n_fit": case.n_fit, "n_test": case.n_test, "n": len(seeds), "first": seeds[0], "last": seeds[-1]}
    print(HEAD.format(name=NAME, scale=SCALE, **sizes))
    print(f"| minus the regressions | scale of the fit | scale {SCALE} |\n|---|---|---|")
    for line in LINES:
        cells = [shown(found[f"{kind}, {line}"] - found[f"{kind}, regressions"], "+") for kind in ("chosen", "fixed")]
        print(f"| {line} | {cells[0]} | {cells[1]} |")
    print()
    for name, line in (("regressions", "regressions"), ("joint", "joint belief")):
        loss = shown(found[f"at zero, {line}"] - found[f"fixed, {line}"], "+")
        print(
            f"{line.capitalize()}: {found[f'zero, {name}'].sum():.0f} of {len(seeds)} fits chose a scale of zero, ",
            end="",
        )
        print(f"which changes the area on the test queries by {loss}, against {SCALE}.")
    print(TAIL, end="")


if __name__ == "__main__":
    main()
