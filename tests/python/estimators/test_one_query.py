"""One query on its way: what is encoded once gives the beliefs of what is encoded anew each time."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace import Responses
from headrace.estimators import (
    CalibratedQuality,
    ClusterQuality,
    JointQuality,
    KNeighborsQuality,
    LinearCost,
    LinearQuality,
    PriceTable,
    SwitchingCost,
    make,
)
from headrace.estimators import together as together_module
from headrace.estimators.linear_map import Folded, LinearMap
from headrace.estimators.one_query import OneQuery, OneResponses
from headrace.estimators.query_features import QueryFeatures, _Text
from headrace.estimators.response_encoders import _Answers, _Tokens
from headrace.estimators.response_features import ResponseFeatures
from headrace.estimators.signals import text_features, text_features_of_one, token_features, token_features_of_one
from headrace.estimators.together import Together

N, K = 60, 3

ESTIMATORS: dict[str, Callable[[], Any]] = {
    "linear": LinearQuality,
    "linear, equal": lambda: LinearQuality(equal=lambda a, b: a[:1] == b[:1]),
    "linear, ex ante": lambda: LinearQuality(ex_ante=KNeighborsQuality(n_neighbors=5)),
    "linear, n-grams": lambda: LinearQuality(n_grams=True),
    "joint": JointQuality,
    "calibrated": lambda: CalibratedQuality(method=None),
    "clusters": lambda: ClusterQuality(n_clusters=3),
    "neighbors": KNeighborsQuality,
    "boosting": lambda: make("boosting", n_trees=3),
    "constant": lambda: make("constant"),
    "cost": LinearCost,
    "prices": lambda: PriceTable([1.0, 2.0, 3.0], [2.0, 4.0, 9.0]),
    "switching": lambda: SwitchingCost(LinearCost()),
}


def table(seed: int, *, lists: bool = False) -> hr.Outcomes:
    """Simulate a table with columns of all kinds; `lists`: also token log-probabilities of different numbers."""
    rng = np.random.default_rng(seed)
    logprobs = -rng.exponential(size=(N, K, 12))
    logprobs[rng.random((N, K)) < 0.1] = np.nan
    logprobs[np.arange(12) >= rng.integers(3, 13, (N, K))[:, :, None]] = np.nan
    scores = rng.normal(size=(N, K))
    scores[rng.random((N, K)) < 0.2] = np.nan
    responses: dict[str, Any] = {
        "answer": rng.choice(np.array(["a1", "a2", "b", "", None, "I'm sorry, I can't."], dtype=object), (N, K)),
        "classes": rng.dirichlet(np.ones(4), (N, K)),
        "logprobs": logprobs,
        "score": scores,
        "several": rng.normal(size=(N, K, 5)),
        "output_tokens": rng.integers(1, 900, (N, K)).astype(float),
    }
    if lists:
        column = np.empty((N, K), dtype=object)
        for i, j in np.ndindex(N, K):
            column[i, j] = (-rng.exponential(size=rng.integers(1, 30))).tolist()
        responses["tokens"] = column
        responses["hidden"] = rng.normal(size=(N, K, 70))
    return hr.Outcomes(
        models=["a", "b", "c"],
        quality=(rng.random((N, K)) < 0.6).astype(float),
        cost=rng.random((N, K)) + np.array([0.1, 1.0, 2.0]),
        queries={
            "text": np.array(["why? " * int(n) for n in rng.integers(1, 40, N)], dtype=object),
            "task": rng.choice(np.array(["code", "prose"], dtype=object), N),
            "size": rng.integers(1, 900, N).astype(float),
        },
        responses=responses,
    )


def fitted(name: str, log: hr.Outcomes) -> Any:
    is_cost = name in ("cost", "prices", "switching")
    return ESTIMATORS[name]().fit(log.queries, log.responses_for([True] * K), log.cost if is_cost else log.quality)


def plain_cells(cells: dict[str, Any]) -> dict[str, Any]:
    return {name: float(cell) if isinstance(cell, np.floating) else cell for name, cell in cells.items()}


def one_query(one: hr.Outcomes) -> OneQuery:
    """Give the only query of a table as a session holds it."""
    kinds = {name: (column.dtype, column.shape[1:]) for name, column in one.queries.items()}
    return OneQuery(plain_cells({name: column[0] for name, column in one.queries.items()}), kinds)


def one_responses(one: hr.Outcomes, run: np.ndarray) -> OneResponses:
    """Give the responses to the only query of a table as a session holds them."""
    kinds = {name: (column.dtype, column.shape[2:]) for name, column in one.responses.items()}
    seen = OneResponses(run, kinds)
    for j in np.flatnonzero(run[0]).tolist():
        seen.cells[j] = plain_cells({name: column[0, j] for name, column in one.responses.items()})
    return seen


def with_gaps(log: hr.Outcomes) -> hr.Outcomes:
    """Take out a number of every seventh query."""
    size = np.where(np.arange(N) % 7, log.queries["size"], np.nan)
    return hr.Outcomes(
        models=log.models,
        quality=log.quality,
        cost=log.cost,
        queries={**log.queries, "size": size},
        responses=log.responses,
    )


def numbers(estimate: Any) -> list[np.ndarray]:
    return [part for part in (estimate if isinstance(estimate, tuple) else (estimate,)) if part is not None]


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimates_are_those_of_an_estimator_by_itself(name: str, lists: bool) -> None:
    log, fresh = table(1, lists=lists), table(2, lists=lists)
    estimator = fitted(name, log)
    for row, order in enumerate(permutations(range(K))):
        one = fresh.take([row])
        query, run = one_query(one), np.zeros((1, K), dtype=np.bool_)
        held = one_responses(one, run)
        for j in (None, *order):
            if j is not None:
                run[0, j] = True
                held.cells.update(one_responses(one, run).cells)
            alone = estimator.predict(dict(one.queries), Responses(run, one.responses))
            shared = estimator.predict(query, held)
            again = estimator.predict(query, held)
            for here, there, once_more in zip(numbers(shared), numbers(alone), numbers(again), strict=True):
                # Sums of other lengths, logarithms of another library: the last bits may differ.
                np.testing.assert_allclose(here, there, rtol=0.0, atol=1e-12)
                np.testing.assert_array_equal(once_more, here)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("quality", ["linear", "linear, equal", "linear, ex ante", "joint", "calibrated"])
@pytest.mark.parametrize("cost", ["cost", "prices", "switching"])
def test_estimators_asked_together_give_what_each_gives(quality: str, cost: str, gaps: bool) -> None:
    log, fresh = (with_gaps(table(seed)) if gaps else table(seed) for seed in (1, 2))
    estimators = fitted(quality, log), fitted(cost, log)
    together = Together(estimators[0], {"usd": estimators[1], "seconds": fitted("cost", log)})
    for row, order in enumerate(permutations(range(K))):
        one = fresh.take([7 * row if gaps else row])
        query, run = one_query(one), np.zeros((1, K), dtype=np.bool_)
        held = one_responses(one, run)
        for j in (None, *order):
            if j is not None:
                run[0, j] = True
                held.cells.update(one_responses(one, run).cells)
            seen = Responses(run, one.responses)
            belief, costs = together.estimates(query, held, run[0])
            expected = estimators[0].predict(dict(one.queries), seen)
            np.testing.assert_allclose(belief.quality, expected.quality[0], rtol=0.0, atol=1e-12)
            for mine, theirs in zip(belief[1:], expected[1:], strict=True):
                assert (mine is None) == (theirs is None)
                if mine is not None:
                    np.testing.assert_array_equal(mine, theirs if theirs.shape == mine.shape else theirs[0])
            np.testing.assert_allclose(
                costs[0], estimators[1].predict(dict(one.queries), seen)[0], rtol=0.0, atol=1e-12
            )


@pytest.mark.parametrize("quality", ["linear", "joint"])
def test_plans_of_run_sets_are_forgotten_and_made_again(quality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log, one = table(1), table(2).take([5])
    estimators = fitted(quality, log), fitted("cost", log)
    runs = [np.array([run]) for run in product([False, True], repeat=K)]

    def estimates(asked: Together) -> list[np.ndarray]:
        found = [asked.estimates(one_query(one), one_responses(one, run), run[0]) for run in runs]
        return [array for belief, costs in found for array in (belief.quality, belief.variance, costs)]

    whole = Together(estimators[0], {"usd": estimators[1]})
    expected = estimates(whole)
    assert len(whole._met._young) == len(runs)
    size = whole._plan(runs[-1][0]).nbytes
    monkeypatch.setattr(together_module, "MOST_BYTES", 2 * size)
    some = Together(estimators[0], {"usd": estimators[1]})
    some.warm(np.array([run[0] for run in runs[:2]]))
    for _ in range(3):
        for mine, theirs in zip(estimates(some), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert 0 < sum(plan.nbytes for plan, _ in (some._met._young | some._met._old).values()) <= 2 * size
    assert len(some._warm) == 2
    copied = pickle.loads(pickle.dumps(some))
    assert not copied._warm
    assert not copied._met._young | copied._met._old
    for mine, theirs in zip(estimates(copied), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_map_whose_averages_differ_counts_missing_features_as_its_own_average() -> None:
    rng = np.random.default_rng(0)
    log = table(1)
    query_features, response_features = QueryFeatures().fit({"x": log.queries["size"]}), ResponseFeatures()
    response_features.fit(Responses(np.ones((N, K), dtype=np.bool_), {}))
    run = np.zeros(K, dtype=np.bool_)
    maps = [
        LinearMap(
            query_features,
            response_features,
            rng.normal(size=1),
            rng.normal(size=(1, K)),
            rng.normal(size=K),
            -9.0,
            9.0,
        )
        for _ in range(3)
    ]
    folded = Folded(maps, run)
    for size in (3.5, float("nan")):
        found = folded.estimates(OneQuery({"x": size}, {}), OneResponses(run[None], {}))
        feature = query_features.transform({"x": np.array([size])}, 1)[0]
        for one, estimates in zip(maps, found, strict=True):
            centred = np.where(np.isnan(feature), 0.0, feature - one.average)
            np.testing.assert_allclose(estimates, (centred @ one.weights + one.intercept).clip(-9.0, 9.0), atol=1e-12)


def test_a_session_encodes_the_query_once_and_each_response_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = table(1)
    decider = hr.Router(quality="linear", cost="linear", n_folds=2).fit(log, budget=4.0).decider_.warm()
    calls: dict[str, int] = {}

    def counted(owner: type, method: str) -> None:
        original, label = getattr(owner, method), f"{owner.__name__}.{method}"

        def called(*arguments: Any) -> Any:
            calls[label] = calls.get(label, 0) + 1
            return original(*arguments)

        monkeypatch.setattr(owner, method, called)

    counted(_Text, "of_one")
    counted(_Tokens, "of_one")
    counted(_Answers, "of_two")
    session = decider.start({name: column[0] for name, column in log.queries.items()}, id="q")
    for j, model in enumerate(decider.models):
        session.next()
        session.why()
        session.observe(model, {name: column[0, j] for name, column in log.responses.items()}, cost=1.0)
    session.next()
    assert session.model in decider.models
    assert calls == {"_Text.of_one": 1, "_Tokens.of_one": K, "_Answers.of_two": K * (K - 1) // 2}


def test_another_mapping_or_another_encoder_shares_nothing() -> None:
    log, other = table(1), table(3)
    one = log.take([0])
    first, same = (QueryFeatures().fit(log.queries) for _ in range(2))
    query = one_query(one)
    assert first.of_one(query) is same.of_one(query)
    changed = {**query, "text": np.array(["something else"], dtype=object)}
    assert (first.transform(changed, 1) != first.transform(query, 1)).any()

    seen = one_responses(one, np.array([[True, False, True]]))
    everything = [t.responses_for([True] * K) for t in (log, log, other)]
    features = [ResponseFeatures().fit(responses) for responses in everything]
    for encoder in features[:2]:
        encoder.of_one(seen, [0, 2])
    assert len(seen.encoded) == 1
    features[2].of_one(seen, [0, 2])
    assert len(seen.encoded) == 2
    features[0].fit(other.responses_for([True] * K)).of_one(seen, [0, 2])
    assert len(seen.encoded) == 2
    ResponseFeatures(equal=lambda a, b: True).fit(log.responses_for([True] * K)).of_one(seen, [0, 2])
    assert len(seen.encoded) == 3


def test_a_column_that_lacks_is_named() -> None:
    log = table(1)
    encoder = ResponseFeatures().fit(log.responses_for([True] * K))
    run = np.array([[True, False, False]])
    with pytest.raises(ValueError, match="'answer', which was there in the fit, is missing"):
        encoder.transform(OneResponses(run, {"score": (np.dtype(float), ())}), run[0])


def test_a_number_too_large_is_refused_each_time() -> None:
    log = table(1)
    encoder = ResponseFeatures().fit(log.responses_for([True] * K))
    seen = one_responses(log.take([0]), np.array([[True, False, False]]))
    seen.cells[0]["score"] = 1e200
    for _ in range(2):
        with pytest.raises(ValueError, match="column 'score': expected numbers up to"):
            encoder.transform(seen, seen.run[0])


@pytest.mark.parametrize("text", [None, "", "Paris", "I\u2019m sorry, but no.", 7, ["a"]])
def test_features_of_one_text(text: Any) -> None:
    boxed = np.empty(1, dtype=object)
    boxed[0] = text
    assert text_features(boxed)[0].tolist() == pytest.approx(text_features_of_one(text), rel=1e-15)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 128, 300])
def test_features_of_the_tokens_of_one_response(n: int) -> None:
    rows = -np.random.default_rng(n).exponential(size=(4, n))
    rows[0, 0] = -np.inf
    rows[1, n // 2 :] = np.nan
    rows[2] = np.nan
    for row, expected in zip(rows, token_features(rows), strict=True):
        np.testing.assert_allclose(token_features_of_one(row), expected, rtol=1e-15)  # another library's logarithm
