"""Baselines: other ways of spending the same budgets on the same queries, with the same estimates.

Those with a parameter are calibrated as a router is: on queries whose labels neither their estimates nor the queries
they are replayed on have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration.settings import Calibration, calibrate, rule_settings
from headrace.calibration.walk import budget_path, walk
from headrace.estimators.belief import Belief
from headrace.evaluation.greedy import GreedyRule
from headrace.evaluation.metrics import concave_hull
from headrace.evaluation.replay import Replay, join, mixture, points_for, replay
from headrace.outcomes import Outcomes
from headrace.rules import RULES, Routing, make_rule

__all__ = [
    "BASELINES",
    "GREEDY",
    "LABELS",
    "LINEAR",
    "NO_EXPECTED_MAX",
    "ORACLE",
    "Fold",
    "estimates_of",
    "replay_baseline",
]

#: Single models mixed at random, on the hull of their costs and qualities.
LINEAR = "linear interpolation"

#: Cascade routing with greedy set growth instead of the search.
GREEDY = "greedy"

#: Cascade routing that takes the largest of the means for a set's value.
NO_EXPECTED_MAX = "no-expected-max"

#: The single model that is best for each query, chosen with its realised quality and cost: a bound, not a method.
ORACLE = "oracle"

#: All baselines, in the order of the tables.
BASELINES = (LINEAR, *RULES, GREEDY, NO_EXPECTED_MAX, ORACLE)


#: How the methods are called in tables, pictures and sentences.
LABELS = {
    LINEAR: "models, mixed",
    "router": "this router",
    "routing": "routing",
    "threshold-cascade": "threshold cascade",
    "cascade": "cascade",
    "cascade-routing": "cascade routing",
    "index": "index rule",
    GREEDY: "greedy growth",
    NO_EXPECTED_MAX: "no expected max",
    ORACLE: "oracle",
}


class Fold(NamedTuple):
    """Queries to calibrate on, and others to replay on.

    Attributes
    ----------
    calibration, held_out : BeliefTable
    rows : ndarray of int
        Rows of `held_out` in the whole test table.
    """

    calibration: BeliefTable
    held_out: BeliefTable
    rows: IndexArray


def estimates_of(rule: str) -> str:
    """When a rule asks its estimators: see `headrace.evaluation.replay.Replay`.

    Examples
    --------
    >>> from headrace.evaluation.baselines import estimates_of
    >>> estimates_of("routing"), estimates_of("threshold-cascade"), estimates_of("cascade-routing")
    ('before', 'after', 'both')
    """
    return RULES[rule].estimates if rule in RULES else "both"


def replay_baseline(
    name: str,
    folds: Sequence[Fold],
    test: Outcomes,
    budgets: FloatArray,
    *,
    max_depth: int,
    answer: str,
    progress: Callable[[float], None] | None = None,
) -> Replay:
    """Calibrate a baseline for every budget, and replay it on the test queries.

    Parameters
    ----------
    name : str
        One of `BASELINES`.
    folds : sequence of Fold
        Their rows make up the test table.
    test : Outcomes
    budgets : ndarray of shape (n_budgets,)
    max_depth : int
        Most models to run for one query; the two cascades may run all.
    answer : {"best", "last"}
        Which answer is returned; a threshold cascade always returns the last.
    progress : callable, optional
        Called with the share done.
    """
    if name == ORACLE:
        return _oracle(test, budgets)
    parts = []
    for done, fold in enumerate(folds):
        if name == LINEAR:
            known = fold.calibration.outcomes
            hull = concave_hull(known.mean_cost, known.mean_quality)
            parts.append(mixture(name, known, fold.held_out.outcomes, hull, budgets))
        else:
            tell = None if progress is None else lambda share, done=done: progress((done + 0.9 * share) / len(folds))
            parts.append(_calibrated(name, fold, budgets, max_depth, answer, tell))
        if progress is not None:
            progress((done + 1) / len(folds))
    return join(parts, [fold.rows for fold in folds])


def _calibrated(
    name: str,
    fold: Fold,
    budgets: FloatArray,
    max_depth: int,
    answer: str,
    progress: Callable[[float], None] | None,
) -> Replay:
    """Calibrate a rule on one part of the queries and replay it on the other."""
    kind = "cascade-routing" if name in (GREEDY, NO_EXPECTED_MAX) else name
    answer = RULES[kind].answer or answer
    test = fold.held_out.outcomes
    # A plain cascade that may not run its last models isn't one: its depth is their number.
    depth = test.n_models if name == "cascade" else max_depth
    settings = rule_settings(kind, fold.calibration.outcomes, max_depth=depth)
    scale = 0.0 if name == NO_EXPECTED_MAX else None
    chosen = calibrate(
        kind, fold.calibration, settings=settings, uncertainty_scale=scale, answer=answer, progress=progress
    )
    rule: Any = make_rule(kind, 0.0, chosen.settings)
    path = chosen.path
    if name == GREEDY:
        # At the scale that suits the search: what remains is the difference between search and growth.
        rule = GreedyRule(max_depth, _scale(chosen))
        known = fold.calibration.outcomes
        path = budget_path(walk(rule, known, fold.calibration, answer=answer), known.costs)
    points, feasible = points_for(path, budgets)
    stops = walk(rule, test, fold.held_out, answer=answer)
    return replay(
        name,
        points,
        stops,
        test,
        feasible=feasible,
        uncertainty_scale=chosen.settings.get("uncertainty_scale"),
        estimates=estimates_of(name),
    )


def _scale(chosen: Calibration) -> float:
    return float(chosen.settings["uncertainty_scale"])


def _oracle(test: Outcomes, budgets: FloatArray) -> Replay:
    """Route by what each model will have brought and cost."""

    def believe(rows: IndexArray, run: BoolArray) -> tuple[Belief, FloatArray]:
        return Belief(test.quality[rows]), np.asarray(test.cost[rows])

    stops = walk(Routing(0.0), test, believe)
    points, feasible = points_for(budget_path(stops, test.costs), budgets)
    return replay(ORACLE, points, stops, test, feasible=feasible, estimates="none")
