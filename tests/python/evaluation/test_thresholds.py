"""Thresholds per step: against all thresholds, and against the rule that serves them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from simulated_tables import Simulated

import headrace as hr
from headrace.evaluation.chains import by_cost
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.metrics import concave_hull
from headrace.evaluation.thresholds import (
    Steps,
    cost_weights,
    fit_thresholds,
    replay_thresholds,
    steps_of,
    stop_steps,
)

Floats = npt.NDArray[np.float64]

# Sums of a few dozen numbers, in another order.
EXACT = 1e-12

WEIGHTS = np.append(0.0, np.geomspace(1e-3, 1.0, 12))


def outcome(steps: Steps, thresholds: tuple[float, ...]) -> tuple[float, float]:
    """Mean quality and cost of a cascade, query by query."""
    quality, cost = [], []
    for i in range(steps.quality.shape[1]):
        at = 0
        while at < len(thresholds) and steps.confidence[at, i] < thresholds[at]:
            at += 1
        quality.append(steps.quality[at, i])
        cost.append(steps.cost[at, i])
    return float(np.mean(quality)), float(np.mean(cost))


def all_outcomes(steps: Steps) -> Floats:
    """Mean quality and cost at all thresholds: at each estimate, and above all."""
    each = [[*np.unique(confidence).tolist(), np.inf] for confidence in steps.confidence]
    return np.array([outcome(steps, thresholds) for thresholds in itertools.product(*each)])


def gaps(steps: Steps) -> Floats:
    """How far the thresholds found are from the best of all, by cost weight, in worth."""
    best = all_outcomes(steps)
    found = np.array([outcome(steps, tuple(row)) for row in fit_thresholds(steps, WEIGHTS).tolist()])
    worth = found[:, 0] - WEIGHTS * found[:, 1]
    return np.asarray((best[:, :1] - WEIGHTS * best[:, 1:]).max(axis=0) - worth)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_the_threshold_of_two_models_is_the_best_one(seed: int, coarse: bool) -> None:
    assert abs(gaps(steps_of(table(seed, 30, 2, coarse), (0, 1)))).max() < EXACT


@pytest.mark.parametrize(("k", "n", "exact"), [(3, 20, 0.98), (3, 40, 0.995), (4, 9, 0.98)])
def test_thresholds_of_longer_chains_are_nearly_the_best_ones(k: int, n: int, exact: float) -> None:
    found = np.array([gaps(steps_of(table(seed, n, k, bool(seed % 2)), tuple(range(k)))) for seed in range(24)])
    assert found.min() > -EXACT
    assert np.mean(found < EXACT) >= exact
    assert found.mean() < 1e-4


def table(seed: int, n: int, k: int, coarse: bool = False) -> Any:
    return Simulated(seed, n, k, coarse=coarse)


def test_thresholds_lie_between_estimates() -> None:
    steps = Steps(
        np.array([[0.9, 0.5, 0.1]]), np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]), np.array([[1.0] * 3, [2.0] * 3])
    )
    # Worth running for one of three; for none; and where the second is better for all.
    assert fit_thresholds(steps, np.array([0.5, 2.0])) == pytest.approx(np.array([[0.3], [-np.inf]]))
    better = steps._replace(quality=np.array([[0.0] * 3, [1.0] * 3]))
    assert fit_thresholds(better, np.array([0.5])).tolist() == [[np.inf]]
    # Neighbouring floats: the threshold is the upper one.
    near = np.nextafter(0.5, 1.0)
    assert fit_thresholds(steps._replace(confidence=np.array([[near, near, 0.5]])), np.array([0.5])) == [[near]]


def test_the_rule_that_serves_stops_at_the_same_steps() -> None:
    simulated = table(3, 40, 4)
    order = (0, 2, 3)
    thresholds = np.array([[0.5, 0.6], [0.9, 0.2], [np.inf, -np.inf]])
    found = stop_steps(steps_of(simulated, order).confidence, thresholds)
    for row, expected in zip(thresholds.tolist(), found, strict=True):
        rule = hr.ThresholdCascade([*row, -np.inf], order=list(order))
        for i in range(40):
            run = np.zeros(4, np.bool_)
            while True:
                belief, cost = simulated(np.array([i]), run)
                step = rule.select(belief.quality[0], cost[0], run=run).next
                if step is None:
                    break
                run[step] = True
            assert run.sum() == expected[i] + 1


@pytest.mark.parametrize("seed", range(4))
def test_the_hull_is_nearly_that_of_all_chains_and_thresholds(seed: int) -> None:
    simulated = table(seed, 14, 3)
    known = simulated.outcomes
    order = by_cost(known)
    points = [np.column_stack([known.mean_quality, known.mean_cost])]
    points += [all_outcomes(steps_of(simulated, chain)) for m in (2, 3) for chain in itertools.combinations(order, m)]
    quality, cost = np.concatenate(points).T
    hull = concave_hull(cost, quality)
    budgets = np.linspace(cost[hull[0]], cost[hull[-1]], 50)
    shares: list[float] = []
    wanted = Wanted(budgets, 5, "best", shares.append)
    found = replay_thresholds("x", Fold(simulated, simulated, np.arange(14)), wanted)
    best = np.interp(budgets, cost[hull], quality[hull])
    gap = best - found.quality.mean(axis=1)
    assert gap.min() > -EXACT
    # Corners whose range of cost weights holds none of those fitted are cut off.
    assert gap.mean() < 2e-3
    assert found.cost.mean(axis=1) == pytest.approx(budgets)
    assert found.feasible.all()
    assert shares[-1] == 1.0


def test_without_anything_to_trade_there_is_one_weight() -> None:
    same = hr.Outcomes(models=["a", "b"], quality=[[0.5, 0.5]], cost=[1.0, 2.0])
    assert cost_weights(same).tolist() == [0.0]
    free = hr.Outcomes(models=["a", "b"], quality=[[0.5, 0.75]], cost=[0.0, 2.0])
    assert cost_weights(free)[[0, -1]].tolist() == pytest.approx([0.0, 0.125])
