"""Routing among simulated models, where the true means of a policy are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import headrace as hr
from headrace.datasets import NoisyOracle
from headrace.estimators import ConstantCost

__all__ = ["means_of", "routed", "worst_rate"]

# A rate of violations of exactly 1 - confidence is beyond this once in 700 times.
N_SDS = 3.0


def worst_rate(confidence: float, n: int) -> float:
    return 1.0 - confidence + N_SDS * math.sqrt(confidence * (1.0 - confidence) / n)


def routed(**settings: Any) -> hr.Router:
    return hr.Router(quality=NoisyOracle(fusion=True), cost=ConstantCost(), rule="routing", **{"n_folds": 2} | settings)


def means_of(router: hr.Router, population: hr.Outcomes) -> tuple[float, float]:
    """Cost and quality that the policy of a routing router has on a whole population."""
    nothing_ran = population.responses_for(np.zeros(population.n_models, np.bool_))
    ((quality, (cost,)),) = router.estimators_
    belief = quality.predict(population.queries, nothing_ran)
    rows = np.arange(len(population))
    means = np.zeros(2)
    share = router.policy_.share
    for weight, rule in zip((share, 1.0 - share), router.policy_.rules, strict=True):
        if weight > 0.0:
            chosen = rule.select_batch(
                belief.quality, cost.predict(population.queries, nothing_ran), variance=belief.variance
            )
            means += weight * np.array([population.cost[rows, chosen].mean(), population.quality[rows, chosen].mean()])
    return float(means[0]), float(means[1])
