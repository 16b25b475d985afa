"""Time of one decision as a user sees it, next to an empty native call and a plain NumPy version.

For comparing two versions of the package: ``pytest benches/python --benchmark-only`` with its ``--benchmark-autosave``
and ``--benchmark-compare``. The table with the goals is printed by ``make bench``.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pytest
from baselines import covariance, empty_call, hard, numpy_decision, one_factor, typical

import headrace as hr

SIZES = (2, 5, 11, 20, 50, 100)
N_PROBLEMS = 64


@pytest.mark.parametrize("k", SIZES)
def test_select(benchmark: Any, k: int) -> None:
    prepared = cycle(
        [(hr.CascadeRouting(case.cost_weight, max_depth=k).select, case) for case in typical(k, N_PROBLEMS)]
    )

    def decide() -> hr.Decision:
        select, case = next(prepared)
        return select(case.quality, case.cost, variance=case.variance)

    benchmark(decide)


@pytest.mark.parametrize("k", [5, 11, 20, 40])
def test_hard_set(benchmark: Any, k: int) -> None:
    prepared = cycle([(hr.CascadeRouting(case.cost_weight, max_depth=5).select, case) for case in hard(k, N_PROBLEMS)])

    def decide() -> hr.Decision:
        select, case = next(prepared)
        return select(case.quality, case.cost, variance=case.variance)

    benchmark(decide)


@pytest.mark.parametrize("k", [5, 11, 20])
@pytest.mark.parametrize("spread", ["variance", "loading", "covariance"])
def test_dependence(benchmark: Any, spread: str, k: int) -> None:
    """The same standard deviations: independent, with half of the variance from one factor, and as its covariance."""
    cases = typical(k, N_PROBLEMS)
    belief: dict[str, Any] = {
        "variance": {"variance": cases[0].variance},
        "loading": one_factor(cases[0]),
        "covariance": covariance(cases[0]),
    }[spread]
    prepared = cycle([(hr.CascadeRouting(case.cost_weight, max_depth=k).select, case) for case in cases])

    def decide() -> hr.Decision:
        select, case = next(prepared)
        return select(case.quality, case.cost, **belief)

    benchmark(decide)


@pytest.mark.parametrize("k", SIZES)
def test_empty_call(benchmark: Any, k: int) -> None:
    """An empty native method with the same arguments."""
    select = empty_call()
    prepared = cycle(typical(k, N_PROBLEMS))

    def call() -> None:
        case = next(prepared)
        return select(case.quality, case.cost, variance=case.variance)

    benchmark(call)


@pytest.mark.parametrize("k", [2, 5, 11])
def test_numpy(benchmark: Any, k: int) -> None:
    cases = typical(k, N_PROBLEMS)
    for case in cases:
        rule = hr.CascadeRouting(case.cost_weight, max_depth=k)
        assert rule.select(case.quality, case.cost, variance=case.variance).next == numpy_decision(case, k)
    prepared = cycle(cases)
    benchmark(lambda: numpy_decision(next(prepared), k))


@pytest.mark.parametrize("k", [5, 11])
def test_select_batch(benchmark: Any, k: int) -> None:
    rng = np.random.default_rng(k)
    quality, cost = rng.random((10_000, k)), rng.random((10_000, k))
    rule = hr.CascadeRouting(0.5)
    benchmark(lambda: rule.select_batch(quality, cost, variance=np.full(k, 0.01)))
