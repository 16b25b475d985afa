"""Time of one query: to the first decision, to the second, and as a batch of one; ``make bench-kernels``.

Five models; queries of a category and a text of 1,000 characters, a new one each time. Goals: 10 microseconds for a
first decision, 30 for a walk of two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from bench_belief import texts

import headrace as hr
from headrace.estimators import JointQuality, LinearQuality, QualityEstimator

N_MODELS, N_QUERIES = 5, 300

KINDS: dict[str, Callable[[], QualityEstimator]] = {
    "LinearQuality": LinearQuality,
    "LinearQuality, n-grams": lambda: LinearQuality(n_grams=True),
    "JointQuality": JointQuality,
}


def table(n: int, seed: int) -> hr.Outcomes:
    rng = np.random.default_rng(seed)
    return hr.Outcomes(
        models=[f"model {j}" for j in range(N_MODELS)],
        quality=(rng.random((n, N_MODELS)) < np.linspace(0.4, 0.8, N_MODELS)).astype(float),
        cost=np.linspace(1.0, 20.0, N_MODELS) * (0.5 + rng.random((n, N_MODELS))),
        queries={"text": texts(n, seed), "task": rng.choice(["code", "prose", "maths"], n)},
        responses={"tokens": rng.integers(1, 900, (n, N_MODELS)).astype(float)},
    )


@pytest.fixture(scope="module", params=KINDS)
def router(request: pytest.FixtureRequest) -> hr.Router:
    return hr.Router(quality=KINDS[request.param]()).fit(table(1000, 1), budget=6.0)


@pytest.fixture
def batches() -> Any:
    columns = table(N_QUERIES, 2).queries
    return cycle([{name: values[i : i + 1] for name, values in columns.items()} for i in range(N_QUERIES)])


@pytest.fixture
def queries() -> Any:
    columns = table(N_QUERIES, 2).queries
    return cycle([{name: values[i] for name, values in columns.items()} for i in range(N_QUERIES)])


def test_first_decision(benchmark: Any, router: hr.Router, queries: Any) -> None:
    decider = router.decider_
    benchmark(lambda: decider.start(next(queries), id="q").next())


def test_walk_of_two_steps(benchmark: Any, router: hr.Router, queries: Any) -> None:
    decider = router.decider_
    response = {"tokens": 300.0}

    def walk() -> str | None:
        session = decider.start(next(queries), id="q")
        session.observe(session.next() or "model 0", response, cost=1.0)
        return session.next()

    benchmark(walk)


def test_batch_of_one(benchmark: Any, router: hr.Router, batches: Any) -> None:
    decider = router.decider_
    benchmark(lambda: decider.select_batch(next(batches), ids=["q"]))


@pytest.mark.parametrize("part", ["quality", "cost"])
def test_estimate(benchmark: Any, router: hr.Router, batches: Any, part: str) -> None:
    quality, (cost,) = router.estimators_[0]
    nothing = table(1, 3).responses_for([False] * N_MODELS)
    estimator = quality if part == "quality" else cost
    benchmark(lambda: estimator.predict(next(batches), nothing))


def test_select(benchmark: Any) -> None:
    select = hr.CascadeRouting(0.05).select
    quality, cost, variance = np.linspace(0.4, 0.8, 5), np.linspace(1.0, 20.0, 5), np.full(5, 0.05)
    benchmark(lambda: select(quality, cost, variance=variance))
