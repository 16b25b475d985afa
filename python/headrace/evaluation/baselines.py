"""Baselines: other ways of spending the same budgets on the same queries, with the same estimates.

Those with a parameter are calibrated as a router is: on queries whose labels neither their estimates nor the queries
they are replayed on have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.calibration.settings import calibrate, rule_settings
from headrace.calibration.walk import budget_path, walk
from headrace.estimators.belief import Belief
from headrace.evaluation.agreement import ANSWER, has_answers, replay_agreement
from headrace.evaluation.cascades import replay_cascade
from headrace.evaluation.clusters import replay_clusters
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.greedy import GreedyRule
from headrace.evaluation.hull import mixed, on_path, singles
from headrace.evaluation.pairs import replay_pairs
from headrace.evaluation.replay import Replay, join, points_for, replay
from headrace.evaluation.thresholds import replay_thresholds
from headrace.outcomes import Outcomes
from headrace.rules import RULES, Routing, make_rule

__all__ = [
    "AGREEMENT",
    "BASELINES",
    "CLUSTERS",
    "GREEDY",
    "LABELS",
    "LINEAR",
    "NO_EXPECTED_MAX",
    "ORACLE",
    "PAIRS",
    "SAME_AS_ROUTER",
    "Fold",
    "estimates_of",
    "lacking",
    "replay_baseline",
]

#: Single models mixed at random, on the hull of their costs and qualities.
LINEAR = "linear interpolation"

#: A cheap model, and a second one where the difference of their estimates is worth its cost.
PAIRS = "pairs"

#: Two or three cheap models, and a stronger one where they don't agree.
AGREEMENT = "agreement"

#: One model per query, that of the query's cluster.
CLUSTERS = "clusters"

#: Cascade routing with greedy set growth instead of the search.
GREEDY = "greedy"

#: Cascade routing that takes the largest of the means for a set's value.
NO_EXPECTED_MAX = "no-expected-max"

#: The single model that is best for each query, chosen with its realised quality and cost: a bound, not a method.
ORACLE = "oracle"

#: Rules that are a baseline as a `Router` fits them; the other rules' baselines also choose their models, or a hull.
SAME_AS_ROUTER = ("cascade-routing", "index")

#: All baselines, in the order of the tables.
BASELINES = (LINEAR, *RULES, PAIRS, AGREEMENT, CLUSTERS, GREEDY, NO_EXPECTED_MAX, ORACLE)


#: How the methods are called in tables, pictures and sentences.
LABELS = {
    LINEAR: "models, mixed",
    "router": "this router",
    "routing": "routing",
    "threshold-cascade": "threshold cascade",
    "cascade": "cascade",
    "cascade-routing": "cascade routing",
    "index": "index rule",
    PAIRS: "pairs",
    AGREEMENT: "agreement cascade",
    CLUSTERS: "k-means routing",
    GREEDY: "greedy growth",
    NO_EXPECTED_MAX: "no expected max",
    ORACLE: "oracle",
}


def estimates_of(rule: str) -> str:
    """When a rule asks its estimators: see `headrace.evaluation.replay.Replay`.

    Examples
    --------
    >>> from headrace.evaluation.baselines import estimates_of
    >>> estimates_of("routing"), estimates_of("threshold-cascade"), estimates_of("cascade-routing")
    ('before', 'after', 'both')
    """
    return RULES[rule].estimates if rule in RULES else "both"


def lacking(name: str, outcomes: Outcomes) -> str | None:
    """Say why a baseline can't be had of a table; None where it can.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.evaluation.baselines import lacking
    >>> lacking("agreement", hr.Outcomes(models=["a", "b"], quality=[[0, 1]], cost=[1, 2]))
    "the table has no response column 'answer'"
    """
    if name == AGREEMENT and not has_answers(outcomes):
        return f"the table has no response column {ANSWER!r}"
    return None


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

        def tell(share: float, done: int = done) -> None:
            if progress is not None:
                progress((done + 0.9 * share) / len(folds))

        parts.append(PLAYED[name](name, fold, Wanted(budgets, max_depth, answer, tell)))
        if progress is not None:
            progress((done + 1) / len(folds))
    return join(parts, [fold.rows for fold in folds])


def _mixed(name: str, fold: Fold, wanted: Wanted) -> Replay:
    """Mix the single models."""
    test = fold.held_out.outcomes
    return mixed(name, singles(fold.calibration.outcomes, test), test, wanted.budgets)


def _routing(name: str, fold: Fold, wanted: Wanted) -> Replay:
    """Calibrate routing on one part of the queries, and replay the hull of its path on the other."""
    test = fold.held_out.outcomes
    path = calibrate(name, fold.calibration, progress=wanted.progress).path
    policies = on_path(path, lambda: walk(make_rule(name, 0.0, {}), test, fold.held_out))
    return mixed(name, policies, test, wanted.budgets, estimates=estimates_of(name))


def _calibrated(name: str, fold: Fold, wanted: Wanted) -> Replay:
    """Calibrate a rule on one part of the queries, and replay it on the other between neighbours of its path."""
    kind = "cascade-routing" if name in (GREEDY, NO_EXPECTED_MAX) else name
    answer = RULES[kind].answer or wanted.answer
    known, test = fold.calibration.outcomes, fold.held_out.outcomes
    settings = rule_settings(kind, known, max_depth=wanted.max_depth)
    scale = 0.0 if name == NO_EXPECTED_MAX else fold.uncertainty_scale if name == GREEDY else None
    rule: Any
    if name != GREEDY or scale is None:
        chosen = calibrate(
            kind, fold.calibration, settings=settings, uncertainty_scale=scale, answer=answer, progress=wanted.progress
        )
        rule, path, scale = make_rule(kind, 0.0, chosen.settings), chosen.path, chosen.settings.get("uncertainty_scale")
    if name == GREEDY:
        # At the scale that suits the search: what remains is the difference between search and growth.
        assert scale is not None  # cascade routing has one
        rule = GreedyRule(wanted.max_depth, scale)
        path = budget_path(walk(rule, known, fold.calibration, answer=answer), known.costs)
    points, feasible = points_for(path, wanted.budgets)
    stops = walk(rule, test, fold.held_out, answer=answer)
    return replay(
        name,
        points,
        stops,
        test,
        feasible=feasible,
        uncertainty_scale=scale,
        estimates=estimates_of(name),
    )


def _oracle(test: Outcomes, budgets: FloatArray) -> Replay:
    """Route by what each model will have brought and cost."""

    def believe(rows: IndexArray, run: BoolArray, *, priced: bool = True) -> tuple[Belief, FloatArray]:
        return Belief(test.quality[rows]), np.asarray(test.cost[rows])

    stops = walk(Routing(0.0), test, believe)
    points, feasible = points_for(budget_path(stops, test.costs), budgets)
    return replay(ORACLE, points, stops, test, feasible=feasible, estimates="none")


#: How each baseline but the oracle is calibrated on one part of the queries and replayed on the other.
PLAYED: dict[str, Callable[[str, Fold, Wanted], Replay]] = {
    LINEAR: _mixed,
    "routing": _routing,
    "threshold-cascade": replay_thresholds,
    PAIRS: replay_pairs,
    AGREEMENT: replay_agreement,
    CLUSTERS: replay_clusters,
    "cascade": replay_cascade,
    "cascade-routing": _calibrated,
    "index": _calibrated,
    GREEDY: _calibrated,
    NO_EXPECTED_MAX: _calibrated,
}
