"""Replays: what policies along a budget path would have done on every query of a labelled table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.calibration.walk import Stops
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import ROUNDING, BudgetPath, PathPoint

__all__ = ["Replay", "join", "points_for", "replay"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """Realised cost and quality of every query at every budget; where two rules are mixed, in expectation.

    Attributes
    ----------
    name : str
        The method.
    cost, quality, n_runs : ndarray of shape (n_budgets, n_queries)
        Realised cost of all models run, quality of the answer, number of models run.
    feasible : ndarray of bool of shape (n_budgets,)
        False where the budget is below the method's cheapest policy, which is then replayed.
    answers, runs : ndarray of shape (n_budgets, n_models)
        Share of the queries that each model answers, and on which it is run.
    further_costs : mapping of str to ndarray of shape (n_budgets,)
        Means of the costs after the first.
    uncertainty_scale : float or None
    estimates : {"none", "before", "after", "both"}
        When the method asks its estimators: never, before the first run, after each run, or both.
    """

    name: str
    cost: FloatArray
    quality: FloatArray
    n_runs: FloatArray
    feasible: BoolArray
    answers: FloatArray
    runs: FloatArray
    further_costs: Mapping[str, FloatArray] = field(default_factory=dict)
    uncertainty_scale: float | None = None
    estimates: str = "both"

    @property
    def n_decisions(self) -> FloatArray:
        """How often estimators are asked, of shape (n_budgets, n_queries)."""
        before = self.estimates in ("before", "both")
        return self.n_runs * (self.estimates in ("after", "both")) + float(before)


def points_for(path: BudgetPath, budgets: FloatArray) -> tuple[list[PathPoint], BoolArray]:
    """Give the policy for each budget, and whether it keeps it: below the cheapest policy, that one is taken."""
    least = float(path.cost.min())
    points = [path.at(budget=max(float(budget), least)) for budget in budgets]
    return points, np.asarray(budgets >= least * (1.0 - ROUNDING))


def replay(
    name: str,
    points: Sequence[PathPoint],
    stops: Stops,
    outcomes: Outcomes,
    *,
    feasible: BoolArray | None = None,
    uncertainty_scale: float | None = None,
    estimates: str = "both",
) -> Replay:
    """Look up what policies do on the queries walked.

    Parameters
    ----------
    name : str
    points : sequence of PathPoint
        The policies: two parameters of the rule and how they are mixed.
    stops : Stops
        Walk of the same rule over `outcomes`.
    outcomes : Outcomes
    feasible, uncertainty_scale, estimates
        As in `Replay`; all feasible by default.
    """
    k = outcomes.n_models
    ran = stops.run_sets[stops.run].astype(np.float64)
    answered = np.eye(k)[stops.answer]

    # Neighbouring points share parameters.
    parameters = {parameter for point in points for parameter in point.parameters}
    at = {parameter: stops.at(parameter) for parameter in parameters}

    def mix(values: FloatArray, summed: Callable[[FloatArray], FloatArray] = np.asarray) -> FloatArray:
        rows = []
        for point in points:
            cheap, costly = (values[at[parameter]] for parameter in point.parameters)
            rows.append(summed(point.share * cheap + (1.0 - point.share) * costly))
        return np.array(rows)

    def mean(values: FloatArray) -> FloatArray:
        return mix(values, lambda rows: rows.mean(axis=0))

    return Replay(
        name=name,
        cost=mix(stops.cost),
        quality=mix(stops.quality),
        n_runs=mix(stops.n_runs.astype(np.float64)),
        feasible=np.ones(len(points), np.bool_) if feasible is None else feasible,
        answers=mean(answered),
        runs=mean(ran),
        further_costs={cost: mean(stops.total(values)) for cost, values in outcomes.further_costs.items()},
        uncertainty_scale=uncertainty_scale,
        estimates=estimates,
    )


def join(parts: Sequence[Replay], rows: Sequence[IndexArray]) -> Replay:
    """Put together the replays of one method on parts of a table, whose rows are given."""
    first = parts[0]
    if len(parts) == 1:
        return first
    sizes = np.array([len(index) for index in rows])
    order = np.argsort(np.concatenate(rows), kind="stable")

    def columns(attribute: str) -> FloatArray:
        return np.concatenate([getattr(part, attribute) for part in parts], axis=1)[:, order]

    def mean(values: Sequence[FloatArray]) -> FloatArray:
        return np.asarray(np.average(values, axis=0, weights=sizes))

    return Replay(
        name=first.name,
        cost=columns("cost"),
        quality=columns("quality"),
        n_runs=columns("n_runs"),
        feasible=np.logical_and.reduce([part.feasible for part in parts]),
        answers=mean([part.answers for part in parts]),
        runs=mean([part.runs for part in parts]),
        further_costs={cost: mean([part.further_costs[cost] for part in parts]) for cost in first.further_costs},
        uncertainty_scale=first.uncertainty_scale,
        estimates=first.estimates,
    )
