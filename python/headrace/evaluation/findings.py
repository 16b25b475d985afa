"""What an evaluation finds: the router against each single model, its chosen policy, its latency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration.guarantee import Guarantee
from headrace.calibration.walk import Stops
from headrace.evaluation.baselines import estimates_of
from headrace.evaluation.bootstrap import Estimate, estimate
from headrace.evaluation.method import MethodResult
from headrace.evaluation.metrics import cost_at_quality, quality_at_cost
from headrace.evaluation.replay import replay
from headrace.evaluation.traffic import flows, served
from headrace.outcomes import Outcomes
from headrace.policy import Policy
from headrace.policy.budget_path import ROUNDING
from headrace.router import Router

__all__ = ["NEARLY", "SECONDS", "Chosen", "Latency", "Single", "judged_policy", "judged_singles", "latencies"]

#: A loss of quality that counts as nearly none.
NEARLY = 0.005

#: Name of the cost that is a latency.
SECONDS = "seconds"


class Single(NamedTuple):
    """A single model, and the router against it.

    Attributes
    ----------
    model : str
    cost, quality : Estimate
        Means on the test queries.
    gain : Estimate
        Quality of the router at the cost of this model, minus the model's; minus infinity where the router can't be
        so cheap.
    saving : Estimate
        Share of this model's cost that the router saves at the model's quality; minus infinity where it is never so
        good.
    near_saving : Estimate
        The same at `NEARLY` less than the model's quality.
    """

    model: str
    cost: Estimate
    quality: Estimate
    gain: Estimate
    saving: Estimate
    near_saving: Estimate


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """The policy at the router's budget (or quality target) on the test queries.

    Attributes
    ----------
    budget : dict of str to float
        Budget of each cost that has one; empty for a quality target.
    quality_target : float
        NaN for a budget.
    assumed : bool
        Whether the router had neither: the budget is then the middle, in logarithms, of the single models' costs.
    costs : dict of str to Estimate
        Realised mean of each cost, spent on models only.
    quality : Estimate
    n_runs : float
    predicted_cost, predicted_quality : float
        Means on the calibration queries.
    excess : dict of str to Estimate
        Realised cost / budget - 1, of each cost with a budget.
    guarantee : Guarantee or None
    policy : Policy
        What to deploy.
    answers, runs : ndarray of shape (n_models,)
        Share of the queries that each model answers, and on which it is run.
    flow : ndarray of shape (n_models, n_models)
        Shares of first model run (first axis) and model that answers.
    rival : str or None
        The best single model, on the test queries, that the budget affords; for a quality target, one that costs no
        more than the policy. None where all models cost more.
    gain : Estimate
        Quality of the policy minus that of the rival; NaN without one.
    """

    budget: dict[str, float]
    quality_target: float
    assumed: bool
    costs: dict[str, Estimate]
    quality: Estimate
    n_runs: float
    predicted_cost: float
    predicted_quality: float
    excess: dict[str, Estimate]
    guarantee: Guarantee | None
    policy: Policy
    answers: FloatArray
    runs: FloatArray
    flow: FloatArray
    rival: str | None
    gain: Estimate


class Latency(NamedTuple):
    """Seconds per query: the runs of one query come one after the other, so theirs add up."""

    name: str
    mean: float
    median: float
    percentile_95: float


def judged_singles(test: Outcomes, router: MethodResult, weights: FloatArray) -> list[Single]:
    """Judge the router against each single model."""
    costs, qualities = weights @ test.cost, weights @ test.quality
    singles = []
    for j, model in enumerate(test.models):
        curves = list(zip(router.resampled_cost, router.resampled_quality, costs[:, j], qualities[:, j], strict=True))
        gains = np.array([quality_at_cost(c, q, cost) - quality for c, q, cost, quality in curves])

        def saving(
            below: float,
            model: tuple[float, float],
            curves: list[tuple[FloatArray, FloatArray, float, float]] = curves,
        ) -> Estimate:
            resampled = [_saving(cost_at_quality(c, q, quality - below), cost) for c, q, cost, quality in curves]
            spent = cost_at_quality(router.cost, router.quality, model[1] - below)
            return estimate(_saving(spent, model[0]), np.array(resampled))

        cost, quality = float(test.mean_cost[j]), float(test.mean_quality[j])
        singles.append(
            Single(
                model,
                estimate(cost, costs[:, j]),
                estimate(quality, qualities[:, j]),
                estimate(quality_at_cost(router.cost, router.quality, cost) - quality, gains),
                saving(0.0, (cost, quality)),
                saving(NEARLY, (cost, quality)),
            )
        )
    return singles


def _saving(spent: float, cost: float) -> float:
    """Share of a cost that is saved; a model without a cost can only be equalled."""
    if cost > 0.0:
        return 1.0 - spent / cost
    return 0.0 if spent <= 0.0 else -math.inf


def judged_policy(router: Router, table: BeliefTable, stops: Stops, weights: FloatArray, *, assumed: bool) -> Chosen:
    """Judge the router's policy."""
    test, point = table.outcomes, router.point_
    replayed = replay("chosen", [point], stops, test)
    parts = [stops.at(parameter) for parameter in point.parameters]
    costs: dict[str, Estimate] = {}
    for name, values in test.costs.items():
        total = stops.total(values)
        of_query = point.share * total[parts[0]] + (1.0 - point.share) * total[parts[1]]
        costs[name] = estimate(of_query.mean(), weights @ of_query)
    budget = dict(router.budget_ or {})
    quality = replayed.quality[0]
    target = router.decider_.quality_target
    rival = _rival(test, budget or {test.cost_name: float(costs[test.cost_name].value)})
    over = quality - (test.quality[:, rival] if rival is not None else math.nan)
    return Chosen(
        budget=budget,
        quality_target=math.nan if target is None else target,
        assumed=assumed,
        costs=costs,
        quality=estimate(quality.mean(), weights @ quality),
        n_runs=float(replayed.n_runs.mean()),
        predicted_cost=point.cost,
        predicted_quality=point.quality,
        excess={
            name: Estimate(*(end / limit - 1.0 for end in costs[name])) for name, limit in budget.items() if limit > 0.0
        },
        guarantee=router.guarantee_,
        policy=router.policy_,
        answers=replayed.answers[0],
        runs=replayed.runs[0],
        flow=flows(router, table, [point], stops)[0],
        rival=None if rival is None else test.models[rival],
        gain=Estimate(math.nan, math.nan, math.nan) if rival is None else estimate(over.mean(), weights @ over),
    )


def _rival(test: Outcomes, budget: Mapping[str, float]) -> int | None:
    """Index of the best single model within a budget; of equal ones, the cheapest."""
    means = {name: values.mean(axis=0) for name, values in test.costs.items()}
    within = np.all([means[name] <= limit * (1.0 + ROUNDING) for name, limit in budget.items()], axis=0)
    rows = np.flatnonzero(within)
    if not len(rows):
        return None
    order = np.lexsort((test.mean_cost[rows], -test.mean_quality[rows]))
    return int(rows[order[0]])


def latencies(
    router: Router, test: Outcomes, stops: Stops, estimation_seconds: float, estimation_per: str
) -> list[Latency]:
    """Sum the seconds of each query's runs and estimates, where the table has seconds."""
    if SECONDS not in test.costs:
        return []
    ends = served(router, test, stops)
    when = estimates_of(router.rule_)
    decisions = stops.n_runs[ends] * (when != "before") + (when != "after")
    asked = decisions if estimation_per == "decision" else np.ones(len(ends))
    seconds: Mapping[str, FloatArray] = {
        "router": stops.total(test.costs[SECONDS])[ends] + estimation_seconds * asked,
        **{model: test.costs[SECONDS][:, j] for j, model in enumerate(test.models)},
    }
    return [
        Latency(name, float(values.mean()), *(float(np.quantile(values, q)) for q in (0.5, 0.95)))
        for name, values in seconds.items()
    ]
