"""Time of a belief as a session sees it, and of a batch, next to an empty NumPy call: ``make bench-kernels``.

11 models; queries of a number, a category and 16 numbers; responses of two numbers and an answer. A belief is that of
`predict`, and of the `Responses` that it looks at; the estimator has met the run set before. With *text*, queries and
answers have 1,000 characters each. The goals: 100 microseconds for one query, 0.5 s for 10,000.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.estimators import CalibratedQuality, JointQuality, KNeighborsQuality, LinearQuality
from headrace.estimators.reduction import TextReduction

N_MODELS = 11


def texts(n: int, seed: int) -> list[str]:
    """Draw texts of 1,000 characters, of 2,000 words."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 5)) for _ in range(2000)]
    return [" ".join(rng.choice(words, 170))[:1000] for _ in range(n)]


def table(n: int, seed: int, *, text: bool = False) -> hr.Outcomes:
    rng = np.random.default_rng(seed)
    return hr.Outcomes(
        models=[f"model {j}" for j in range(N_MODELS)],
        quality=(rng.random((n, N_MODELS)) < 0.6).astype(float),
        cost=1.0 + rng.random((n, N_MODELS)),
        queries={
            "tokens": rng.integers(10, 3000, n).astype(float),
            "task": rng.choice(["code", "prose", "maths", "law"], n),
            "embedding": rng.normal(size=(n, 16)),
        }
        | ({"text": texts(n, seed)} if text else {}),
        responses={
            "tokens": rng.integers(1, 900, (n, N_MODELS)).astype(float),
            "answer": rng.choice(texts(4, 9) if text else ["A", "B", "C", "D"], (n, N_MODELS)),
            "confidence": rng.random((n, N_MODELS)),
        },
    )


def fitted(estimator: Any, *, text: bool = False) -> Any:
    fitting = table(1500, 0, text=text)
    return estimator.fit(fitting.queries, fitting.responses_for([True] * N_MODELS), fitting.quality)


@pytest.mark.parametrize("n_run", [0, 1, 3, 5, 11])
@pytest.mark.parametrize("text", [False, True], ids=["", "text"])
@pytest.mark.parametrize("kind", [LinearQuality, JointQuality])
def test_single_query(benchmark: Any, kind: Any, text: bool, n_run: int) -> None:
    estimator, query = fitted(kind(), text=text), table(1, 1, text=text)
    run = np.arange(N_MODELS)[None, :] < n_run
    columns = dict(query.responses)
    estimator.predict(query.queries, hr.Responses(run, columns))
    benchmark(lambda: estimator.predict(query.queries, hr.Responses(run, columns)))


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibrated_single_query(benchmark: Any, method: str) -> None:
    estimator, query = fitted(CalibratedQuality(method=method)), table(1, 1)
    responses = query.responses_for(np.arange(N_MODELS) < 3)
    estimator.predict(query.queries, responses)
    benchmark(lambda: estimator.predict(query.queries, responses))


@pytest.mark.parametrize("n_run", [0, 5, 11])
@pytest.mark.parametrize("text", [False, True], ids=["", "text"])
@pytest.mark.parametrize("kind", [LinearQuality, JointQuality])
def test_batch_of_10_000(benchmark: Any, kind: Any, text: bool, n_run: int) -> None:
    estimator, queries = fitted(kind(), text=text), table(10_000, 2, text=text)
    responses = queries.responses_for(np.arange(N_MODELS) < n_run)
    estimator.predict(queries.queries, responses)
    benchmark(lambda: estimator.predict(queries.queries, responses))


def test_neighbors_of_a_single_query(benchmark: Any) -> None:
    estimator, query = fitted(KNeighborsQuality()), table(1, 1)
    nothing = query.responses_for([False] * N_MODELS)
    benchmark(lambda: estimator.predict(query.queries, nothing))


def test_text_of_1_000_characters(benchmark: Any) -> None:
    drawn = texts(300, 3)
    reduction = TextReduction().fit(drawn)
    benchmark(lambda: reduction.transform(drawn[:1]))


def test_empty_call(benchmark: Any) -> None:
    """The cheapest NumPy call on the same numbers: one matrix product of a row of features."""
    features, weights = np.ones((1, 100)), np.ones((100, N_MODELS))
    benchmark(lambda: features @ weights)
