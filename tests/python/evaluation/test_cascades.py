"""Cascades: the chain that is chosen, and what it does."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from simulated_tables import Simulated

from headrace.calibration.settings import calibrate
from headrace.evaluation.cascades import replay_cascade
from headrace.evaluation.chains import by_cost
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.metrics import concave_hull


def replayed(table: Any, budgets: Any) -> Any:
    shares: list[float] = []
    fold = Fold(table, table, np.arange(table.outcomes.n_queries))
    found = replay_cascade("cascade", fold, Wanted(budgets, 5, "best", shares.append))
    assert shares == sorted(shares)
    assert shares[-1] <= 1.0
    return found


def never_right(model: int, table: Any) -> Any:
    """Make all answers of one model wrong, and let it be known."""
    others = np.arange(table.outcomes.n_models) != model
    table.outcomes = replace(table.outcomes, quality=table.outcomes.quality * others)
    table.chance = table.chance * others
    return table


def test_a_model_that_is_never_right_is_left_out() -> None:
    table = never_right(1, Simulated(0, 80, 3))
    budgets = np.linspace(table.outcomes.mean_cost.min(), 1.5 * table.outcomes.mean_cost.max(), 12)
    found = replayed(table, budgets)
    assert (found.runs[:, 1] == 0.0).all()
    assert found.runs[:, 2].max() > 0.2
    assert found.n_runs.mean(axis=1).max() > 1.2
    assert found.feasible.all()


def test_no_chain_has_a_larger_area_on_the_calibration_queries() -> None:
    lengths = set()
    table: Any
    for seed in range(3):
        table = Simulated(seed, 60, 4) if seed else never_right(2, Simulated(seed, 60, 4))
        known = table.outcomes
        order = by_cost(known)
        budgets = np.linspace(known.mean_cost.min(), known.mean_cost.max(), 200)

        def area(chain: tuple[int, ...], scale: float, table: Any = table, budgets: Any = budgets) -> float:
            settings = {"order": chain, "max_depth": len(chain)}
            path = calibrate("cascade", table, settings=settings, uncertainty_scale=scale).path
            cost = np.append(path.cost, table.outcomes.mean_cost)
            quality = np.append(path.quality, table.outcomes.mean_quality)
            hull = concave_hull(cost, quality)
            return float(np.interp(budgets, cost[hull], quality[hull]).mean())

        found = replayed(table, budgets)
        scale = calibrate("cascade", table, settings={"order": order, "max_depth": 4}).settings["uncertainty_scale"]
        chains = [chain for size in (2, 3, 4) for chain in itertools.combinations(order, size)]
        best = max(chains, key=lambda chain: area(chain, scale))
        # The hull's own mixtures on the queries that it was made of; at the scale that suits the chosen chain.
        expected = area(best, found.uncertainty_scale)
        assert abs(found.quality.mean() - expected) < 1e-9
        lengths.add(len(best))
    assert min(lengths) < 4
