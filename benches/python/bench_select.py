"""Time of one decision as a user sees it, next to an empty native call and a plain NumPy version: ``make bench``.

Inputs as in the runtime study of Dekoninck et al. 2025: quality, cost and cost weight uniform on [0, 1], variance 0.01,
nothing run yet.
"""

from __future__ import annotations

from itertools import combinations, cycle
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

import headrace as hr

SIZES = (2, 5, 11, 20, 50, 100)
N_PROBLEMS = 64

Problem = tuple[list[float], list[float], list[float], float]


def problems(k: int) -> list[Problem]:
    rng = np.random.default_rng(k)
    return [
        (rng.random(k).tolist(), rng.random(k).tolist(), [0.01] * k, float(rng.random())) for _ in range(N_PROBLEMS)
    ]


def numpy_decision(quality: list[float], cost: list[float], variance: list[float], cost_weight: float) -> int:
    """The same decision by enumeration: every set, its expected maximum on one grid of 200 nodes."""
    mu, c, sd = np.array(quality), np.array(cost), np.sqrt(np.array(variance))
    grid = np.linspace((mu - 6 * sd).min(), (mu + 6 * sd).max(), 200)
    cdf = ndtr((grid[:, None] - mu) / sd)
    best, plan = -np.inf, (0,)
    for size in range(1, len(mu) + 1):
        for models in combinations(range(len(mu)), size):
            members = list(models)
            value = grid[-1] - np.trapezoid(cdf[:, members].prod(axis=1), grid)
            tradeoff = value - cost_weight * c[members].sum()
            if tradeoff > best:
                best, plan = tradeoff, models
    return min(plan, key=lambda j: cost[j])


@pytest.mark.parametrize("k", SIZES)
def test_select(benchmark: Any, k: int) -> None:
    cases = problems(k)
    prepared = cycle([(hr.CascadeRouting(weight, max_depth=k).select, q, c, v) for q, c, v, weight in cases])

    def decide() -> hr.Decision:
        select, quality, cost, variance = next(prepared)
        return select(quality, cost, variance=variance)

    benchmark(decide)


@pytest.mark.parametrize("k", [5, 11, 20])
@pytest.mark.parametrize("spread", ["variance", "loading", "covariance"])
def test_dependence(benchmark: Any, spread: str, k: int) -> None:
    """The same standard deviations: independent, with half of the variance from one factor, and as its covariance."""
    rng = np.random.default_rng(k)
    loading = 0.1 * rng.uniform(0.5, 0.9, k)
    own = 0.01 - loading**2
    given: dict[str, dict[str, Any]] = {
        "variance": {"variance": [0.01] * k},
        "loading": {"variance": own.tolist(), "loading": loading.tolist()},
        "covariance": {"covariance": np.outer(loading, loading) + np.diag(own)},
    }
    belief = given[spread]
    prepared = cycle([(hr.CascadeRouting(weight, max_depth=k).select, q, c) for q, c, _, weight in problems(k)])

    def decide() -> hr.Decision:
        select, quality, cost = next(prepared)
        return select(quality, cost, **belief)

    benchmark(decide)


@pytest.mark.parametrize("k", SIZES)
def test_empty_call(benchmark: Any, k: int) -> None:
    """The cheapest native call on arguments of the same kind: `math.fsum` of one list, three times."""
    from math import fsum

    prepared = cycle(problems(k))

    def call() -> float:
        quality, cost, variance, _ = next(prepared)
        return fsum(quality) + fsum(cost) + fsum(variance)

    benchmark(call)


@pytest.mark.parametrize("k", [2, 5, 8])
def test_numpy(benchmark: Any, k: int) -> None:
    cases = problems(k)
    for quality, cost, variance, weight in cases:
        rule = hr.CascadeRouting(weight, max_depth=k)
        assert rule.select(quality, cost, variance=variance).next == numpy_decision(quality, cost, variance, weight)
    prepared = cycle(cases)
    benchmark(lambda: numpy_decision(*next(prepared)))


@pytest.mark.parametrize("k", [5, 11])
def test_select_batch(benchmark: Any, k: int) -> None:
    rng = np.random.default_rng(k)
    quality, cost = rng.random((10_000, k)), rng.random((10_000, k))
    rule = hr.CascadeRouting(0.5)
    benchmark(lambda: rule.select_batch(quality, cost, variance=np.full(k, 0.01)))
