"""Why a plain cascade keeps up with cascade routing where outcomes are verified: the shape of the update.

    nice python benches/python/verified_outcomes.py DATA_DIR [--seeds 20] > docs/results/verified_outcomes.md

DATA_DIR holds ``swebench_verified_miniagent.parquet``. Draws as in estimators.py beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from estimators import CASES, parts, shown, table_of

import headrace as hr
from headrace.arguments import BoolArray, FloatArray
from headrace.estimators import JointQuality, LinearQuality
from headrace.policy.budget_path import curve_area

SCALES = (0.0, 0.25, 0.5, 1.0)

#: Cost weights from next to nothing to more than any model is worth.
WEIGHTS = np.concatenate([[0.0], np.geomspace(1e-3, 30.0, 60)])

HEAD = """# Verified outcomes: the shape of the update

`python benches/python/verified_outcomes.py DATA_DIR --seeds {seeds}`: five agents on SWE-bench, 250 issues to fit, 250
to test, {seeds} draws; whether a run solved the issue is known after it. Area under quality against
cost, in %; mean of the draws, and half the width of the 95% interval. The draws share issues: it is too narrow.

*As fitted*: `Router`, which chooses cost weights and the uncertainty scale on the queries to fit, with the two
estimators. All others have the same estimates (`LinearQuality`) and each model's mean cost, and sweep the cost weight
on the test queries: nothing is chosen.

*Normal*: the value of a set is the expected maximum of normal estimates, whose standard deviations are multiplied by
a scale. *Two-point*: a model that hasn't run will turn out right (1) with its estimated probability or else wrong (0),
and the value is the probability that one of the set is right. *Conditional* keeps what failures say of the others: the
share of fitting issues that one of the set solves, among those that the models run have failed on, in place of all
estimates: no noise of a query's own estimate is left.
"""

TAIL = """
## What it shows

- Where nothing has to be chosen the two rules are equal, at every scale but 0. A run that is verified ends the walk if
  it succeeds, so trying the cheapest first is nearly always right, and that is the order of the cascade: there is
  little left for another one to gain. At scale 0 cascade routing sees no reason to try a cheap model before a good one;
  a cascade has no choice.
- It isn't the shape of the updates: two-point values do as well as normal ones. It isn't the noise of a query's own
  estimates either: without any (*conditional*) the two are equal as well, and both a little lower.
- As fitted, with regressions, cascade routing is behind by about 0.2 points, at the edge of the error, with the joint
  belief by nothing. The sweep shows where they go: of what the estimates are good for at scale 0.5, the fit on 250
  issues loses 0.5 points with cascade routing and 0.2 with the cascade, which has less to choose wrongly.
- One split, as in methods.md, says little of it: see the smallest and the largest difference.
"""

#: Gives the values of all sets, shape (n, n_sets), from estimates and the models that have run.
Value = Callable[[FloatArray, BoolArray], FloatArray]


def two_point(quality: FloatArray, run: BoolArray) -> FloatArray:
    """P(one of the set is right), for every set: shape (n, n_sets); estimates of models run are their outcomes."""
    sets = np.array(list(product((False, True), repeat=quality.shape[1])))
    wrong = 1.0 - np.clip(quality, 0.0, 1.0)
    return 1.0 - np.where(sets[None], wrong[:, None, :], 1.0).prod(axis=2)


def of_failures(failed: BoolArray) -> Value:
    """P(one of the set is right | the models run are wrong), by counting with half a label for each."""

    def value(quality: FloatArray, run: BoolArray) -> FloatArray:
        sets = np.array(list(product((False, True), repeat=quality.shape[1])))
        together = failed[:, None, :] | ~sets[None]
        all_fail = (together.all(axis=2) & (failed | ~run).all(axis=1)[:, None]).sum(axis=0)
        left = float((failed | ~run).all(axis=1).sum())
        solved = (quality[:, run] > 0.5).any(axis=1)
        return np.where(solved[:, None], 1.0, (left - all_fail + 0.5) / (left + 1.0))

    return value


def enumerated(value: Value, cascade: bool) -> Any:
    """Make the rule that looks at all sets, or prefixes, by a value of sets of its own."""

    def decide(weight: float, quality: FloatArray, variance: FloatArray, cost: FloatArray, run: BoolArray) -> Any:
        sets = np.array(list(product((False, True), repeat=len(cost))))
        allowed = (sets | ~run).all(axis=1)
        if cascade:
            allowed &= (np.diff(sets.astype(int), axis=1) <= 0).all(axis=1)
        if not run.any():
            allowed[0] = False
        tradeoff = value(quality, run) - weight * ((sets & ~run) @ cost)
        best = np.where(allowed, tradeoff - 1e-9 * sets.sum(axis=1), -np.inf).argmax(axis=1)
        more = sets[best] & ~run
        return np.where(more.any(axis=1), np.where(more, cost, np.inf).argmin(axis=1), -1)

    return decide


def normal(scale: float, cascade: bool) -> Any:
    """Make one of the package's rules."""

    def decide(weight: float, quality: FloatArray, variance: FloatArray, cost: FloatArray, run: BoolArray) -> Any:
        k = len(cost)
        rule: Any = (
            hr.Cascade(weight, order=range(k), uncertainty_scale=scale)
            if cascade
            else hr.CascadeRouting(weight, max_depth=k, uncertainty_scale=scale)
        )
        mask = np.tile(run, (len(quality), 1))
        return rule.select_batch(quality, np.tile(cost, (len(quality), 1)), variance=variance, run=mask)

    return decide


def area(decide: Any, test: hr.Outcomes, beliefs: dict[bytes, Any], cost: FloatArray) -> float:
    """Area of the realised curve over the cost weights, in %."""
    n, k = test.quality.shape
    curve = []
    for weight in WEIGHTS:
        run, going = np.zeros((n, k), dtype=bool), np.ones(n, dtype=bool)
        while going.any():
            for mask in np.unique(run[going], axis=0):
                rows = np.flatnonzero(going & (run == mask).all(axis=1))
                belief = beliefs[mask.tobytes()]
                chosen = decide(weight, belief.quality[rows], belief.variance, cost, mask)
                going[rows[chosen < 0]] = False
                run[rows[chosen >= 0], chosen[chosen >= 0]] = True
        # The best answer among those of the models run, whose outcomes are known.
        curve.append(((run * test.cost).sum(axis=1).mean(), np.where(run, test.quality, 0.0).max(axis=1).mean()))
    costs, qualities = np.array(sorted(curve)).T
    low, high = float(test.mean_cost.min()), float(test.mean_cost.max())
    return 100.0 * curve_area(costs, qualities, low, high, float(test.mean_quality[test.mean_cost.argmin()]))


def fitted(rule: str, quality: Any, fitting: hr.Outcomes, test: hr.Outcomes) -> float:
    router = hr.Router(rule=rule, quality=quality).fit(fitting)
    return 100.0 * hr.evaluate(router, test, baselines=[], n_resamples=2, n_examples=0).methods[0].area


def areas(fitting: hr.Outcomes, test: hr.Outcomes) -> dict[tuple[str, bool], float]:
    order = np.argsort(fitting.mean_cost)
    names = [fitting.models[j] for j in order]
    fitting, test = fitting.select(names), test.select(names)
    estimator = LinearQuality().fit(fitting.queries, fitting.responses_for(np.ones(len(names), bool)), fitting.quality)
    masks = np.array(list(product((False, True), repeat=len(names))))
    beliefs = {mask.tobytes(): estimator.predict(test.queries, test.responses_for(mask)) for mask in masks}
    found = {}
    for cascade in (False, True):
        rule = "cascade" if cascade else "cascade-routing"
        found["as fitted, regressions", cascade] = fitted(rule, LinearQuality(), fitting, test)
        found["as fitted, joint belief", cascade] = fitted(rule, JointQuality(), fitting, test)
        rules = {f"normal, scale {scale:g}": normal(scale, cascade) for scale in SCALES}
        rules["two-point"] = enumerated(two_point, cascade)
        rules["two-point, conditional"] = enumerated(of_failures(fitting.quality < 0.5), cascade)
        for name, decide in rules.items():
            found[name, cascade] = area(decide, test, beliefs, fitting.mean_cost)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    case = next(case for case in CASES if case.name == "swebench, 5 agents")
    table = table_of(options.directory, case)
    print(HEAD.format(seeds=options.seeds))
    drawn = [areas(*parts(table, case, seed)) for seed in range(options.seeds)]
    print("| value of a set | cascade routing | cascade | difference | smallest, largest |\n|---|---|---|---|---|")
    for name in dict.fromkeys(name for name, _ in drawn[0]):
        first, second = (np.array([of[name, cascade] for of in drawn]) for cascade in (False, True))
        off = first - second
        print(f"| {name} | {shown(first)} | {shown(second)} | {shown(off, '+')} | {off.min():+.2f}, {off.max():+.2f} |")
    print(TAIL, end="")


if __name__ == "__main__":
    main()
