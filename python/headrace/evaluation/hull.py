"""Policies without a number in common, mixed on the concave hull of what they cost and bring on calibration queries.

Routers, chains of models and single models, each with settings of its own, are points (mean cost, mean quality). A
budget is met by drawing, per query, one of the two neighbouring corners of their upper concave hull between which it
lies. A budget below the cheapest corner gets that one; one above the last corner is not used up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.calibration.walk import Stops
from headrace.evaluation.metrics import concave_hull
from headrace.evaluation.replay import Replay
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import ROUNDING, BudgetPath, curve_area

__all__ = ["Ends", "Policies", "hull_area", "mixed", "on_path", "singles", "together"]


class Ends(NamedTuple):
    """What one policy does on the queries that it is replayed on.

    Attributes
    ----------
    run : ndarray of bool of shape (n_queries, n_models)
        The models run.
    answer : ndarray of int of shape (n_queries,)
        The model whose answer is returned.
    """

    run: BoolArray
    answer: IndexArray


class Policies(NamedTuple):
    """Policies that may be mixed.

    Attributes
    ----------
    cost, quality : ndarray of shape (n_policies,)
        Realised means on the calibration queries.
    play : callable
        ``play(i)`` gives the `Ends` of policy i on the held-out queries.
    """

    cost: FloatArray
    quality: FloatArray
    play: Callable[[int], Ends]


def singles(calibration: Outcomes, test: Outcomes) -> Policies:
    """Give the policies that run one model for all queries."""

    def play(model: int) -> Ends:
        answer = np.full(test.n_queries, model)
        return Ends(np.arange(test.n_models) == answer[:, None], answer)

    return Policies(calibration.mean_cost, calibration.mean_quality, play)


def on_path(path: BudgetPath, walked: Callable[[], Stops]) -> Policies:
    """Give the policies of one rule along its budget path; `walked` gives its walk of the held-out queries."""
    found: list[Stops] = []

    def play(point: int) -> Ends:
        if not found:
            found.append(walked())
        stops = found[0]
        at = stops.at(path.inside(point))
        return Ends(stops.run_sets[stops.run[at]], stops.answer[at])

    return Policies(path.cost, path.quality, play)


def together(parts: Sequence[Policies]) -> Policies:
    """Put several lots of policies together."""
    ends = np.cumsum([len(part.cost) for part in parts])

    def play(policy: int) -> Ends:
        part = int(np.searchsorted(ends, policy, side="right"))
        return parts[part].play(policy - (int(ends[part - 1]) if part else 0))

    return Policies(
        np.concatenate([part.cost for part in parts]), np.concatenate([part.quality for part in parts]), play
    )


def hull_area(policies: Policies, calibration: Outcomes) -> float:
    """Area under the hull of some policies over the range of costs of a table's single models.

    Without a range, the best quality.
    """
    hull = concave_hull(policies.cost, policies.quality)
    cost, quality = policies.cost[hull], policies.quality[hull]
    costs = calibration.mean_cost
    lowest, highest = float(costs.min()), float(costs.max())
    if not lowest < highest:
        return float(quality[-1])
    return curve_area(cost, quality, lowest, highest, float(calibration.mean_quality.min()))


def mixed(
    name: str,
    policies: Policies,
    test: Outcomes,
    budgets: FloatArray,
    *,
    uncertainty_scale: float | None = None,
    estimates: str = "none",
) -> Replay:
    """Mix the corners of the hull of some policies, in expectation.

    Parameters
    ----------
    name : str
    policies : Policies
    test : Outcomes
        The queries on which they are played.
    budgets : ndarray of shape (n_budgets,)
    uncertainty_scale, estimates
        As in `Replay`.

    Returns
    -------
    Replay
    """
    hull = concave_hull(policies.cost, policies.quality)
    costs = policies.cost[hull]
    place = np.interp(budgets, costs, np.arange(len(hull)))
    left = np.minimum(place.astype(np.intp), max(len(hull) - 2, 0))
    right = np.minimum(left + 1, len(hull) - 1)
    share = (place - left)[:, None]
    used = np.unique([left, right])
    corner = np.searchsorted(used, np.array([left, right]))
    ends = [policies.play(int(hull[place])) for place in used]
    rows = np.arange(test.n_queries)

    def mix(of: Callable[[Ends], FloatArray]) -> FloatArray:
        values = np.array([of(end) for end in ends])
        return np.asarray((1.0 - share) * values[corner[0]] + share * values[corner[1]])

    def total(cost: FloatArray) -> Callable[[Ends], FloatArray]:
        return lambda end: np.where(end.run, cost, 0.0).sum(axis=1)

    return Replay(
        name=name,
        cost=mix(total(test.cost)),
        quality=mix(lambda end: test.quality[rows, end.answer]),
        n_runs=mix(lambda end: end.run.sum(axis=1).astype(np.float64)),
        feasible=np.asarray(budgets >= costs[0] * (1.0 - ROUNDING)),
        answers=mix(lambda end: np.bincount(end.answer, minlength=test.n_models) / test.n_queries),
        runs=mix(lambda end: end.run.mean(axis=0)),
        further_costs={cost: mix(total(values)).mean(axis=1) for cost, values in test.further_costs.items()},
        uncertainty_scale=uncertainty_scale,
        estimates=estimates,
    )
