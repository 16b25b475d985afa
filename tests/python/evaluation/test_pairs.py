"""Pairs: against every pair at every cost weight."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from simulated_tables import Simulated

import headrace as hr
from headrace.estimators.belief import Belief
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.hull import Ends, Policies, hull_area, mixed, singles, together
from headrace.evaluation.metrics import concave_hull
from headrace.evaluation.pairs import gain_per_cost, replay_pairs

# Sums of a few dozen numbers, in another order.
EXACT = 1e-12


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_pair_at_each_budget(seed: int, coarse: bool) -> None:
    simulated: Any = Simulated(seed, 25, 4, coarse=coarse)
    known = simulated.outcomes
    points = list(zip(known.mean_cost.tolist(), known.mean_quality.tolist(), strict=True))
    for a, b in itertools.combinations(np.argsort(known.mean_cost).tolist(), 2):
        belief, price = simulated(np.arange(25), np.arange(4) == a)
        difference = belief.quality[:, b] - belief.quality[:, a]
        weights = [0.0, *np.maximum(difference / price[:, b], 0.0)]
        for weight in weights:
            on = difference / price[:, b] > weight
            cost = np.mean([known.cost[i, a] + on[i] * known.cost[i, b] for i in range(25)])
            points.append((float(cost), float(np.mean(known.quality[np.arange(25), np.where(on, b, a)]))))
    cost, quality = np.array(points).T
    hull = concave_hull(cost, quality)
    budgets = np.linspace(cost[hull[0]], cost[hull[-1]], 40)
    found = replay_pairs("x", Fold(simulated, simulated, np.arange(25)), Wanted(budgets, 5, "best", lambda share: None))
    np.testing.assert_allclose(found.quality.mean(axis=1), np.interp(budgets, cost[hull], quality[hull]), atol=EXACT)
    np.testing.assert_allclose(found.cost.mean(axis=1), budgets, rtol=EXACT)
    assert found.estimates == "after"
    assert (found.n_runs.max(axis=1) <= 2.0).all()


def test_gains_that_cost_nothing_are_taken_at_every_weight() -> None:
    class Free:
        outcomes = hr.Outcomes(models=["a", "b"], quality=[[0.0, 1.0]] * 3, cost=[1.0, 2.0])

        def __call__(self, rows: Any, run: Any, *, priced: bool = True) -> Any:
            return Belief(np.array([[0.5, 0.75], [0.5, 0.5], [0.5, 0.75]])), np.array([[1.0, 0.0]] * 2 + [[1.0, 0.5]])

    table: Any = Free()
    assert gain_per_cost(table, 0, 1).tolist() == [np.inf, -np.inf, 0.5]
    wanted = Wanted(np.array([1.0, 2.0]), 5, "best", lambda share: None)
    found = replay_pairs("x", Fold(table, table, np.arange(3)), wanted)
    # At a cost of 2, model b alone is better than any pair.
    assert found.quality.mean(axis=1).tolist() == [0.0, 1.0]


def test_policies_are_mixed_between_corners() -> None:
    known = hr.Outcomes(models=["a", "b", "c"], quality=[[0.25, 0.25, 0.75]], cost=[1.0, 2.0, 3.0])
    test = hr.Outcomes(models=["a", "b", "c"], quality=[[0.5, 0.0, 1.0]] * 2, cost=[2.0, 2.0, 4.0])
    nothing = Policies(np.empty(0), np.empty(0), lambda policy: pytest.fail("there are none"))
    both = np.array([[True, True, False]] * 2)
    chain = Policies(np.array([3.0, 5.0]), np.array([0.5, 1.0]), lambda policy: Ends(both, np.array([0, 1])))
    policies = together([nothing, singles(known, test), nothing, chain])
    found = mixed("x", policies, test, np.array([0.5, 1.0, 2.0, 4.0, 9.0]))
    assert found.feasible.tolist() == [False, True, True, True, True]
    np.testing.assert_allclose(found.cost, np.array([[2.0, 2.0, 3.0, 4.0, 4.0]] * 2).T)
    np.testing.assert_allclose(found.quality.T, [[0.5, 0.5, 0.75, 0.75, 0.5], [0.5, 0.5, 0.75, 0.5, 0.0]])
    np.testing.assert_allclose(found.n_runs[:, 0], [1.0, 1.0, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(found.answers[3], [0.25, 0.25, 0.5])
    np.testing.assert_allclose(found.runs[3], [0.5, 0.5, 0.5])
    # From .25 at 1 over .75 at 3, the range of the single models.
    assert hull_area(policies, known) == pytest.approx(0.5)
