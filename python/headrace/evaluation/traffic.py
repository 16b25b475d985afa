"""Diagnostics of a router on labelled queries: how good its estimates are, where queries go, and single decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace.arguments import FloatArray, IndexArray, plain_value
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration.walk import Stops
from headrace.diagnosis.reliability import Reliability, binned
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import PathPoint
from headrace.router import Router
from headrace.rules import make_rule
from headrace.serving.session import Session

__all__ = ["Reliability", "entropy", "example_decisions", "flows", "reliability", "served", "walked_session"]


def reliability(table: BeliefTable) -> list[Reliability]:
    """Sort the queries by the estimates of each model, and compare means.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.beliefs.belief_table import BeliefTable
    >>> from headrace.evaluation.traffic import reliability
    >>> table = hr.datasets.simulate(200, 2)
    >>> router = hr.Router(quality=hr.estimators.ConstantQuality()).fit(table)
    >>> result = reliability(BeliefTable.served(table, router.estimators_[:1]))
    >>> [(entry.stage, len(entry.n)) for entry in result]
    [('before', 1), ('after', 1), ('before', 1), ('after', 1)]
    """
    outcomes = table.outcomes
    rows = np.arange(outcomes.n_queries)
    nothing = np.zeros(outcomes.n_models, dtype=np.bool_)
    entries = []
    for j, model in enumerate(outcomes.models):
        for stage, run in (("before", nothing), ("after", np.arange(outcomes.n_models) == j)):
            estimates = table(rows, run)[0].quality[:, j]
            entries.append(binned(model, stage, estimates, outcomes.quality[:, j]))
    return entries


def entropy(shares: FloatArray) -> float:
    """Entropy of shares that sum to 1, over its largest value: 0 = always the same, 1 = all alike.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.traffic import entropy
    >>> entropy(np.array([1.0, 0.0])), entropy(np.array([0.5, 0.5]))
    (0.0, 1.0)
    """
    if len(shares) < 2:
        return 0.0
    positive = shares[shares > 0.0]
    return abs(float(-(positive * np.log(positive)).sum() / np.log(len(shares))))


def flows(router: Router, table: BeliefTable, points: Sequence[PathPoint], stops: Stops) -> FloatArray:
    """Where queries go: shares of first model run and model that answers.

    Parameters
    ----------
    router : Router
        Fitted.
    table : BeliefTable
        What its estimators believe of the queries walked.
    points : sequence of PathPoint
        Policies.
    stops : Stops
        The walk.

    Returns
    -------
    ndarray of shape (n_points, n_models, n_models)
        Each sums to 1; the first axis of a policy's is the first model, the second the answer.
    """
    n, k = table.outcomes.n_queries, table.outcomes.n_models
    belief, cost = table(np.arange(n), np.zeros(k, dtype=np.bool_))
    known: dict[float, FloatArray] = {}

    def flow(parameter: float) -> FloatArray:
        if parameter not in known:
            rule = make_rule(router.rule_, parameter, router.policy_.settings)
            first = rule.select_batch(
                belief.quality,
                cost,
                variance=belief.variance,
                covariance=belief.covariance,
                loading=belief.loading,
            )
            places = first.astype(np.int64) * k + stops.answer[stops.at(parameter)]
            known[parameter] = np.bincount(places, minlength=k * k).reshape(k, k) / n
        return known[parameter]

    mixed = []
    for point in points:
        cheap, costly = point.parameters
        mixed.append(point.share * flow(cheap) + (1.0 - point.share) * flow(costly))
    return np.array(mixed)


def served(router: Router, outcomes: Outcomes, stops: Stops) -> IndexArray:
    """Index of the stop at which the router's policy, with its draw for each query, ends: shape (n_queries,)."""
    policy = router.policy_
    cheap, costly = (stops.at(parameter) for parameter in policy.parameters)
    takes_cheap = [policy.rule_for(query) is policy.rules[0] for query in outcomes.ids]
    return np.asarray(np.where(takes_cheap, cheap, costly))


def example_decisions(router: Router, outcomes: Outcomes, stops: Stops, n_examples: int) -> list[dict[str, Any]]:
    """Walk a few queries as in service, one of each of the most frequent courses.

    Parameters
    ----------
    router : Router
        With a budget.
    outcomes : Outcomes
        The queries walked.
    stops : Stops
        The walk.
    n_examples : int

    Returns
    -------
    list of dict
        "id", "text" (None where the table has no such column), "n_alike" (how many queries took the same course),
        "run", "answer", "cost", "quality", "realised" (quality of each model), and under "steps" what
        `Session.why` says before each run and at the stop.
    """
    ends = served(router, outcomes, stops)
    course = stops.run[ends] * outcomes.n_models + stops.answer[ends]
    _, first, count = np.unique(course, return_index=True, return_counts=True)
    chosen = np.argsort(-count, kind="stable")[:n_examples]
    return [_walked(router, outcomes, int(first[i])) | {"n_alike": int(count[i])} for i in chosen]


def walked_session(
    router: Router, outcomes: Outcomes, row: int, tell: Callable[[Session], None] = lambda session: None
) -> Session:
    """Walk one query as in service, its responses taken from the table.

    Parameters
    ----------
    router : Router
        With a budget.
    outcomes : Outcomes
    row : int
    tell : callable, optional
        Called with the session after each decision.
    """
    query = {name: plain_value(column[row]) for name, column in outcomes.queries.items()}
    session = router.start(query, id=outcomes.ids[row])
    while (model := session.next()) is not None:
        tell(session)
        j = outcomes.models.index(model)
        response = {name: plain_value(column[row, j]) for name, column in outcomes.responses.items()}
        # The table's costs hold those of what was bought.
        costs = {name: float(cost[row, j]) for name, cost in outcomes.costs.items()}
        session.observe(model, response, cost=costs, column_cost=dict.fromkeys(session.wanted, 0.0))
    tell(session)
    return session


def _walked(router: Router, outcomes: Outcomes, row: int) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    session = walked_session(router, outcomes, row, lambda session: steps.append(session.why().to_dict()))
    answer = outcomes.models.index(session.model)
    text = plain_value(outcomes.queries["text"][row]) if "text" in outcomes.queries else None
    return {
        "id": session.id,
        "text": None if text is None else str(text),
        "run": list(session.run),
        "answer": session.model,
        "cost": session.cost,
        "quality": float(outcomes.quality[row, answer]),
        "realised": dict(zip(outcomes.models, outcomes.quality[row].tolist(), strict=True)),
        "steps": steps,
    }
