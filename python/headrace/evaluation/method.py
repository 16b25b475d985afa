"""What one method cost and brought on the test queries, summed up, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from headrace.arguments import BoolArray, FloatArray
from headrace.evaluation.bootstrap import Estimate, estimate
from headrace.evaluation.replay import Replay
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import curve_areas

__all__ = ["Curves", "MethodResult", "summarise"]


@dataclass(frozen=True, kw_only=True, eq=False)
class MethodResult:
    """What one method cost and brought on the test queries.

    Attributes
    ----------
    name : str
    cost, quality : ndarray of shape (n_budgets,)
        Realised means on the test queries.
    n_runs : ndarray of shape (n_budgets,)
        Mean number of models run.
    feasible : ndarray of bool of shape (n_budgets,)
        False where the budget is below the method's cheapest policy.
    area : float
        Area under the realised curve.
    interval : tuple of float
        95% bootstrap interval of the area.
    excess : float
        Mean of realised cost / budget - 1 over the feasible budgets that it exceeds, those kept counting as 0; without
        what the estimates cost.
    uncertainty_scale : float or None
        The scale that the fit chose, for a rule that has one.
    resampled : ndarray of shape (n_resamples,)
        The area on each bootstrap resample, the same resamples for all methods.
    resampled_cost, resampled_quality : ndarray of shape (n_resamples, n_budgets)
        The curve on each of them.
    further_costs : dict of str to ndarray of shape (n_budgets,)
        Means of the costs after the first.
    """

    name: str
    cost: FloatArray
    quality: FloatArray
    n_runs: FloatArray
    feasible: BoolArray
    area: float
    interval: tuple[float, float]
    excess: float
    uncertainty_scale: float | None
    resampled: FloatArray = field(repr=False)
    resampled_cost: FloatArray = field(repr=False)
    resampled_quality: FloatArray = field(repr=False)
    further_costs: dict[str, FloatArray]


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """Methods on the same test queries, at the same budgets.

    Attributes
    ----------
    budgets : ndarray of shape (n_budgets,)
    methods : tuple of MethodResult
    n_fit : int
        Queries that the methods were calibrated on; where each half of the test queries was calibrated on the other
        one, the number of the smaller half.
    n_test : int
        Queries that they were replayed on.
    left_out : dict of str to str
        Baselines that the table doesn't allow, and why.
    """

    budgets: FloatArray
    methods: tuple[MethodResult, ...]
    n_fit: int
    n_test: int
    left_out: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> MethodResult:
        for method in self.methods:
            if method.name == name:
                return method
        raise KeyError(name)

    def difference(self, a: str, b: str) -> Estimate:
        """Give the area of method `a` minus that of `b`, with its paired bootstrap interval."""
        first, second = self[a], self[b]
        return estimate(first.area - second.area, first.resampled - second.resampled)


def summarise(
    replays: Sequence[Replay],
    test: Outcomes,
    budgets: FloatArray,
    weights: FloatArray,
    *,
    estimation_cost: float = 0.0,
    estimation_per: str = "query",
) -> list[MethodResult]:
    """Sum up replays of one table.

    Parameters
    ----------
    replays : sequence of Replay
    test : Outcomes
    budgets : ndarray of shape (n_budgets,)
    weights : ndarray of shape (n_resamples, n_queries)
        From `resampling_weights`.
    estimation_cost : float, default 0.0
        What estimates cost, added to the costs of the methods that use them.
    estimation_per : {"query", "decision"}
    """
    lowest, highest = float(test.mean_cost.min()), float(test.mean_cost.max())
    floor = float(test.mean_quality.min())

    def areas_under(cost: FloatArray, quality: FloatArray) -> FloatArray:
        order = np.lexsort((quality, cost))
        sorted_cost, sorted_quality = (np.take_along_axis(values, order, axis=-1) for values in (cost, quality))
        return curve_areas(sorted_cost, sorted_quality, lowest, highest, floor)

    results = []
    for method in replays:
        models_cost = method.cost.mean(axis=1)
        judged = method.feasible & (budgets > 0.0)
        over = np.maximum(models_cost[judged] / budgets[judged] - 1.0, 0.0)
        of_query = method.cost + estimation_cost * asked(method, estimation_per) if estimation_cost else method.cost
        cost, quality = of_query.mean(axis=1), method.quality.mean(axis=1)
        costs, qualities = weights @ of_query.T, weights @ method.quality.T
        areas = areas_under(costs, qualities)
        whole = estimate(float(areas_under(cost, quality)), areas)
        results.append(
            MethodResult(
                name=method.name,
                cost=cost,
                quality=quality,
                n_runs=method.n_runs.mean(axis=1),
                feasible=method.feasible,
                area=whole.value,
                interval=(whole.low, whole.high),
                excess=float(over.mean()) if len(over) else 0.0,
                uncertainty_scale=method.uncertainty_scale,
                resampled=areas,
                resampled_cost=costs,
                resampled_quality=qualities,
                further_costs=dict(method.further_costs),
            )
        )
    return results


def asked(method: Replay, per: str) -> FloatArray:
    """How often a query's estimates are paid for: shape (n_budgets, n_queries)."""
    if per == "decision":
        return method.n_decisions
    return np.full_like(method.cost, float(method.estimates != "none"))
