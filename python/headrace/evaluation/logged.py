"""What other budgets would cost and bring, from a decision log alone; and the path of a router set right by it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, listed
from headrace.policy.budget_path import BudgetPath, PathPoint
from headrace.runner.event_shapes import checked_event, checked_of_policy
from headrace.serving import Decider

__all__ = ["METHODS", "LoggedEstimate", "Mean", "PolicyLog", "evaluate_log", "policies_in", "recalibrated"]

#: Ways from a log to an estimate.
METHODS = ("audit", "ips", "doubly-robust")

#: Fewest audited queries that an interval is given for, and that a path is set right by.
LEAST_AUDITS, LEAST_RECALIBRATING = 30, 100

#: Fewest decisions, by their effective number, that weighted ones are worth.
LEAST_EFFECTIVE = 100.0

#: Share of the weight on walks that only exploration takes, up to which they don't matter.
NEGLIGIBLE = 0.02

#: Standard errors on each side of a 95% interval.
Z = 1.96


class Mean(NamedTuple):
    """A mean per query, with its standard error.

    Attributes
    ----------
    value, standard_error : float
    n : int
        Number of queries.
    """

    value: float
    standard_error: float
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95% interval."""
        return self.value - Z * self.standard_error, self.value + Z * self.standard_error


@dataclass(frozen=True, kw_only=True)
class LoggedEstimate:
    """What a budget costs and brings, by a log.

    Attributes
    ----------
    policy : str
        Fingerprint of the decider whose log it is.
    budget : float
    method : {"audit", "ips", "doubly-robust"}
    expected : PathPoint
        What the router's path expects at the budget, between points of the log's grid.
    cost : Mean
    quality : Mean or None
        None without labels. By audits, of those whose answers all have one.
    effective : float
        Effective sample size: for audits their number, for weighted decisions that of the walks that only exploration
        takes, if they matter.
    """

    policy: str
    budget: float
    method: str
    expected: PathPoint
    cost: Mean
    quality: Mean | None
    effective: float

    def to_dict(self) -> dict[str, Any]:
        """Give it ready for JSON."""
        shown = {
            name: None if mean is None else {**mean._asdict(), "interval": list(mean.interval)}
            for name, mean in (("cost", self.cost), ("quality", self.quality))
        }
        expected = {"cost": self.expected.cost, "quality": self.expected.quality}
        known = {"policy": self.policy, "budget": self.budget, "method": self.method, "expected": expected}
        return {**known, **shown, "effective": self.effective}


@dataclass(kw_only=True)
class PolicyLog:
    """What a log holds of one decider.

    Attributes
    ----------
    policy : str
        Its fingerprint.
    models, costs : tuple of str
    grid : ndarray of shape (n_points, 3)
        Parameter, mean cost and mean quality, from the most expensive point to the cheapest.
    decisions, audits : list of dict
        The events.
    labels : dict of (str, str) to float
        Quality by id and model.
    """

    policy: str
    models: tuple[str, ...]
    costs: tuple[str, ...]
    grid: FloatArray
    decisions: list[dict[str, Any]] = field(default_factory=list)
    audits: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[tuple[str, str], float] = field(default_factory=dict)

    def replayed(self) -> tuple[FloatArray, FloatArray]:
        """Give the costs and the quality of each audited query at each point.

        Returns
        -------
        costs : ndarray of shape (n_audits, n_points, n_costs)
        quality : ndarray of shape (n_audits, n_points)
            NaN throughout where an answer has no label: points that know it are no fair sample of queries.
        """
        n_points = len(self.grid)
        costs = np.empty((len(self.audits), n_points, len(self.costs)))
        quality = np.full(costs.shape[:2], np.nan)
        for row, audit in enumerate(self.audits):
            answered = [model for model, run in audit["models"].items() if run["kind"] == "ok"]
            known = {model: self.labels.get((audit["id"], model), math.nan) for model in answered}
            complete = not any(math.isnan(value) for value in known.values())
            starts = [replay[0] for replay in audit["replays"]]
            for (_, _, answer, spent), begin, end in zip(
                audit["replays"], starts, [*starts[1:], n_points], strict=True
            ):
                costs[row, begin:end] = spent
                if complete and answer is not None:
                    quality[row, begin:end] = known[answer]
        return costs, quality

    def mixture(self, budget: float) -> tuple[PathPoint, FloatArray]:
        """Give what is expected at a budget, and how much of each point of the grid makes it."""
        n_points = len(self.grid)
        numbered = np.arange(n_points, dtype=np.float64)
        path = BudgetPath(
            numbered, self.grid[:, 1], self.grid[:, 2], np.ones(n_points), len(self.audits), cost_name=self.costs[0]
        )
        expected = path.at(budget=budget)
        cheap, costly = (int(min(number, n_points - 1)) for number in expected.parameters)
        weights = np.zeros(n_points)
        weights[cheap] += expected.share
        weights[costly] += 1.0 - expected.share
        return expected, weights


def policies_in(events: Iterable[Mapping[str, Any]]) -> dict[str, PolicyLog]:
    """Sort the events of a log by the decider that they are of, in the order of their first appearance.

    Raises
    ------
    ValueError
        No decider is named: the log is empty, or its beginning was lost. An event lacks what its kind must hold.
    """
    policies: dict[str, PolicyLog] = {}
    answered_by: dict[str, str | None] = {}
    for event in events:
        kind, known = checked_event(event, "events")["event"], policies.get(event.get("policy", ""))
        if kind == "policy" and known is None:
            grid = np.array([[float(number) for number in point] for point in event["grid"]])
            models, costs = tuple(event["models"]), tuple(event["costs"])
            policies[event["policy"]] = PolicyLog(policy=event["policy"], models=models, costs=costs, grid=grid)
        elif kind == "feedback":
            model = event.get("model") or answered_by.get(event["id"])
            if model is not None:
                for log in policies.values():
                    log.labels[event["id"], model] = _label(event["quality"])
        elif known is not None and kind == "decision":
            known.decisions.append(dict(checked_of_policy(event, "events", known.costs, len(known.grid))))
            answered_by[event["id"]] = event["model"]
        elif known is not None and kind == "audit":
            known.audits.append(dict(checked_of_policy(event, "events", known.costs, len(known.grid))))
            known.labels |= {(event["id"], model): _label(value) for model, value in event["quality"].items()}
    if not policies:
        raise ValueError("events: expected those of a decision log, which name their router; found none")
    return policies


def _label(quality: float | None) -> float:
    """Give a label; null is what a log makes of NaN."""
    return math.nan if quality is None else float(quality)


def evaluate_log(
    events: Iterable[Mapping[str, Any]], budget: float | Sequence[float], *, method: str = "audit"
) -> list[LoggedEstimate]:
    """Estimate what budgets would cost and bring, from what was logged under another one.

    Parameters
    ----------
    events : iterable of mapping
        As `headrace.runner.log.read_log` gives them.
    budget : float or sequence of float
        Mean cost per query; of several costs, the first.
    method : {"audit", "ips", "doubly-robust"}
        "audit": from queries on which all models ran; right for every budget. The others weigh decisions of a log with
        exploration by how likely they were, and are of use near the logged budget; "doubly-robust" begins at what was
        believed of each query. Their weights are normalised.

    Returns
    -------
    list of LoggedEstimate
        By decider, in the order of the log, and by budget. Deciders with too few queries are left out, if others have
        enough.

    Raises
    ------
    ValueError
        Fewer than 30 audited queries; an effective sample below 100; a budget below the cheapest point of the path; an
        unknown method; no log.

    Examples
    --------
    >>> from headrace.evaluation.logged import evaluate_log
    >>> grid = [[0.0, 3.0, 0.9], ["inf", 1.0, 0.5]]
    >>> events = [{"event": "policy", "policy": "f1", "models": ["a", "b"], "costs": ["cost"], "grid": grid}]
    >>> ran = {"a": {"kind": "ok", "cost": 1.0}, "b": {"kind": "ok", "cost": 3.0}}
    >>> replays = [[0, ["b"], "b", [3.0]], [1, ["a"], "a", [1.0]]]
    >>> audit = {"event": "audit", "policy": "f1", "models": ran, "replays": replays}
    >>> events += [{**audit, "id": f"q-{i}", "quality": {"a": i % 2, "b": 1.0}} for i in range(40)]
    >>> estimate = evaluate_log(events, 2.0)[0]
    >>> estimate.cost.value, estimate.quality.value, round(estimate.quality.standard_error, 3)
    (2.0, 0.75, 0.04)
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {listed(METHODS)}, got {method!r}")
    budgets = [float(one) for one in np.atleast_1d(np.asarray(budget, dtype=np.float64))]
    estimates: list[LoggedEstimate] = []
    refused: list[str] = []
    for log in policies_in(events).values():
        for one in budgets:
            try:
                made = _audited(log, one) if method == "audit" else _weighted(log, one, method)
            except _TooFewError as error:
                refused.append(f"{error} (router {log.policy})")
            else:
                estimates.append(made)
    if refused and (method != "audit" or not estimates):
        raise ValueError(refused[-1])
    return estimates


class _TooFewError(ValueError):
    """A decider's log is too short for what is asked."""


def _audited(log: PolicyLog, budget: float) -> LoggedEstimate:
    n = len(log.audits)
    if n < LEAST_AUDITS:
        raise _TooFewError(f"events: expected at least {LEAST_AUDITS} audited queries, got {n}")
    expected, weights = log.mixture(budget)
    costs, quality = log.replayed()
    ids = [audit["id"] for audit in log.audits]
    # A point of weight zero may lack an answer.
    used = weights > 0.0
    values = quality[:, used] @ weights[used]
    kept = ~np.isnan(values)
    graded = _mean(values[kept], [id for id, keep in zip(ids, kept, strict=True) if keep]) if kept.sum() > 1 else None
    return LoggedEstimate(
        policy=log.policy,
        budget=budget,
        method="audit",
        expected=expected,
        cost=_mean(costs[:, :, 0] @ weights, ids),
        quality=graded,
        effective=float(n),
    )


def _mean(values: FloatArray, ids: Sequence[str]) -> Mean:
    """Give the mean; a query that came again counts as often, but brings no new draw of queries."""
    _, group = np.unique(np.array(ids, dtype=object).astype(str), return_inverse=True)
    mean, n_groups = float(values.mean()), int(group.max()) + 1
    deviation = np.bincount(group, weights=values - mean)
    correction = n_groups / (n_groups - 1) if n_groups > 1 else math.inf
    return Mean(mean, math.sqrt(correction * float(np.sum(deviation**2))) / len(values), len(values))


def _weighted(log: PolicyLog, budget: float, method: str) -> LoggedEstimate:
    """Weigh decisions by how much likelier the policy of a budget makes them than the one that was logged."""
    explored = [decision for decision in log.decisions if decision.get("explored") and decision["model"] is not None]
    if not explored:
        raise _TooFewError(f"method: {method!r} needs decisions made with exploration; the log has none")
    expected, weights = log.mixture(budget)
    n_points = len(log.grid)
    ratio = np.empty(len(explored))
    apart = np.zeros(len(explored), dtype=np.bool_)
    believed = np.zeros((len(explored), 2))
    corrected = np.zeros((len(explored), 2))
    for row, decision in enumerate(explored):
        known = decision["explored"]
        agree = np.zeros(n_points)
        agree[known["agree"]] = 1.0
        chance = (1.0 - known["rate"]) * agree[known["own"]] + known["rate"] * agree.mean()
        ratio[row] = float(weights @ agree) / chance
        apart[row] = agree[known["own"]] == 0.0
        if method == "doubly-robust":
            plans = np.array([[value or 0.0 for value in plan] for plan in known["believed"]])
            believed[row] = weights @ plans
            corrected[row] = (weights * agree) @ plans / chance
    labels = [log.labels.get((decision["id"], decision["model"]), math.nan) for decision in explored]
    quality = np.array(labels)
    cost = np.array([decision["cost"][log.costs[0]] for decision in explored])
    kept = ~np.isnan(quality)
    every = np.ones(len(explored), dtype=np.bool_)
    effective = min(_effective(ratio[some], apart[some]) for some in (every, kept) if some.any())
    if effective < LEAST_EFFECTIVE:
        raise _TooFewError(
            f"budget: at {budget:.6g}, the log is worth {effective:.0f} decisions (its effective sample size), "
            f"expected at least {LEAST_EFFECTIVE:.0f}; audits know every budget"
        )
    means = [
        None
        if not some.any()
        else _normalised(ratio[some], (ratio * values - corrected[:, place])[some], believed[some, place])
        for place, values, some in ((0, quality, kept), (1, cost, every))
    ]
    assert means[1] is not None
    return LoggedEstimate(
        policy=log.policy,
        budget=budget,
        method=method,
        expected=expected,
        cost=means[1],
        quality=means[0],
        effective=effective,
    )


def _effective(ratio: FloatArray, apart: BoolArray) -> float:
    """Give how many equal weights these are worth.

    Where more than a negligible part of the weight is on walks that only exploration takes (`apart`), they alone count:
    they are few and heavy, and hide among the many others.
    """
    counted = ratio[apart] if ratio[apart].sum() > NEGLIGIBLE * ratio.sum() else ratio
    return float(counted.sum() ** 2 / max(float((counted**2).sum()), np.finfo(np.float64).tiny))


def _normalised(ratio: FloatArray, weighted: FloatArray, believed: FloatArray) -> Mean:
    """Give what is believed, and the mean of weighted deviations from it, divided by the mean weight."""
    n, mean_ratio = len(ratio), float(ratio.mean())
    correction = float(weighted.mean()) / mean_ratio
    influence = believed - believed.mean() + (weighted - ratio * correction) / mean_ratio
    error = float(influence.std(ddof=1)) / math.sqrt(n)
    return Mean(float(believed.mean()) + correction, error, n)


def recalibrated(decider: Decider, events: Iterable[Mapping[str, Any]]) -> Decider:
    """Set a decider's path right by the audits of its log, and choose the point for its budget anew.

    At the points of the log's grid, costs become the audited means; between them, they change by the factors of their
    neighbours. Qualities follow likewise, by differences, where enough audits have labels for all answers.

    Parameters
    ----------
    decider : Decider
        The one that was served.
    events : iterable of mapping
        As `headrace.runner.log.read_log` gives them.

    Returns
    -------
    Decider
        With the same estimators, for the same budget or quality target.

    Raises
    ------
    ValueError
        Fewer than 100 audits of this decider; a budget that isn't feasible any more.
    """
    policies, own = policies_in(events), decider.fingerprint
    log = policies.get(own)
    n = 0 if log is None else len(log.audits)
    if log is None or n < LEAST_RECALIBRATING:
        others = {one.policy: len(one.audits) for one in policies.values() if one.policy != own and one.audits}
        found = "".join(f"; {count} are of router {policy}" for policy, count in others.items())
        raise ValueError(
            f"events: expected at least {LEAST_RECALIBRATING} audited queries of this router ({own}), got {n}{found}"
        )
    path = decider.path
    costs, quality = log.replayed()
    places, first = np.unique(
        np.maximum(np.searchsorted(path.parameter, log.grid[:, 0], side="right") - 1, 0), return_index=True
    )
    every = np.arange(len(path.parameter))
    priced = {}
    for number, (name, planned) in enumerate(path.costs.items()):
        before, now = planned[places], costs[:, first, number].mean(axis=0)
        factor = np.divide(now, before, out=np.ones_like(now), where=before > 0.0)
        priced[name] = planned * np.interp(every, places, factor)
    # A lower cost weight never costs less: the audits' noise mustn't say so.
    cost = np.maximum.accumulate(priced.pop(path.cost_name)[::-1])[::-1]
    graded = ~np.isnan(quality).any(axis=1)
    level = path.quality
    if graded.sum() >= LEAST_RECALIBRATING:
        level = level + np.interp(every, places, quality[graded][:, first].mean(axis=0) - level[places])
    anew = replace(path, cost=cost, quality=level, further_costs=priced, n_queries=n)
    decider = replace(decider, path=anew)
    if decider.budget is not None:
        return decider.with_budget(decider.budget)
    return decider.with_quality_target(decider.quality_target or 0.0)
