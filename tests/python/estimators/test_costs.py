"""Cost estimators: price tables, switching costs, and regressions on what models already run have cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.estimators import ConstantCost, CostEstimator, LinearCost, LinearQuality, PriceTable, SwitchingCost
from headrace.estimators.ridge import RidgeRegressions

Floats = npt.NDArray[np.float64]

INPUT, OUTPUT = np.array([0.5, 5.0]), np.array([1.5, 15.0])
YES, NO = [True, True], [False, False]


def metered(seed: int, n: int = 600) -> hr.Outcomes:
    """Draw queries whose answers are the longer, the longer the query; costs are by the price table."""
    rng = np.random.default_rng(seed)
    prompt = np.exp(rng.uniform(3.0, 8.0, n)).round()
    shared = 0.5 * rng.normal(size=(n, 1))
    output = np.exp(2.0 + 0.5 * np.log(prompt)[:, None] + shared + 0.2 * rng.normal(size=(n, 2))).round()
    return hr.Outcomes(
        models=["small", "large"],
        quality=np.zeros((n, 2)),
        cost=(prompt[:, None] * INPUT + output * OUTPUT) / 1e6,
        queries={"prompt_tokens": prompt},
        responses={"output_tokens": output},
    )


def fitted(table: hr.Outcomes, **options: Any) -> PriceTable:
    return PriceTable(INPUT, OUTPUT, **options).fit(table.queries, table.responses_for(YES), table.cost)


# Price tables


def test_costs_are_tokens_times_prices_without_bias() -> None:
    fitting, fresh = metered(1), metered(2)
    estimator = fitted(fitting)
    for run in (NO, [True, False]):
        cost = estimator.predict(fresh.queries, fresh.responses_for(run))
        np.testing.assert_allclose(cost.mean(axis=0), fresh.mean_cost, rtol=0.05)
        assert (cost >= fresh.queries["prompt_tokens"][:, None] * INPUT / 1e6).all()


def test_one_fit_of_a_run_set_gives_all_its_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    table = metered(1)
    estimator = fitted(table)
    fits = []
    fit = RidgeRegressions.fit

    def counted(*arguments: Any, **options: Any) -> Any:
        fits.append(1)
        return fit(*arguments, **options)

    monkeypatch.setattr(RidgeRegressions, "fit", counted)
    responses = table.responses_for([True, False])
    estimator.predict(table.queries, responses)
    counts = []
    for _ in range(3):
        estimator.predict_interval(table.queries, responses)
        counts.append(len(fits))
    # The means drop what intervals need; from the first interval on it is kept.
    assert counts[0] <= 2
    assert counts[1:] == [counts[0]] * 2


def test_a_regression_from_a_file_is_fitted_once_for_all_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    table = metered(1)
    quality = LinearQuality().fit(table.queries, table.responses_for(YES), table.cost)
    quality.warm(np.array([YES]))
    # As a file has it: without leave-one-out estimates.
    kept = quality._regressions._fitted
    kept.update({key: (replace(ridge, left_out=None), centre) for key, (ridge, centre) in kept.items()})
    of_all = []
    fit = RidgeRegressions.fit

    def counted(self: RidgeRegressions, columns: Any, *arguments: Any, **options: Any) -> Any:
        of_all.append(len(columns))
        return fit(self, columns, *arguments, **options)

    monkeypatch.setattr(RidgeRegressions, "fit", counted)
    quality.warm(np.array([NO, [True, False], [False, True]]))
    # The prompt's length alone, with each model's output, and once with both.
    assert sorted(of_all) == [1, 2, 2, 3]


def test_a_long_answer_of_one_model_announces_one_of_the_other() -> None:
    fitting, fresh = metered(1), metered(2)
    estimator = fitted(fitting)
    errors = []
    for run in (NO, [True, False]):
        cost = estimator.predict(fresh.queries, fresh.responses_for(run))
        errors.append(np.mean((np.log(cost) - np.log(fresh.cost))[:, 1] ** 2))
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_intervals_cover_as_often_as_they_say(coverage: float) -> None:
    fitting, fresh = metered(3), metered(4, 2000)
    estimator = fitted(fitting)
    for run in (NO, [False, True]):
        low, high = estimator.predict_interval(fresh.queries, fresh.responses_for(run), coverage=coverage)
        assert np.mean((low <= fresh.cost) & (fresh.cost <= high)) == pytest.approx(coverage, abs=0.05)
        assert np.mean(fresh.cost < low) == pytest.approx(0.5 - coverage / 2, abs=0.04)


def test_output_tokens_follow_from_costs() -> None:
    table = metered(5)
    without = hr.Outcomes(models=table.models, quality=table.quality, cost=table.cost, queries=table.queries)
    implied, fresh = fitted(without), metered(6)
    nothing = hr.Responses(np.zeros((len(fresh), 2), dtype=bool), {})
    np.testing.assert_allclose(
        implied.predict(fresh.queries, nothing),
        fitted(table).predict(fresh.queries, fresh.responses_for(NO)),
        rtol=1e-6,
    )


def test_prompt_tokens_are_counted_in_the_text() -> None:
    texts = np.array(["x" * 400, "\u00fc" * 400, None], dtype=object)
    seen = hr.Responses(np.ones((3, 2), dtype=bool), {"output_tokens": np.zeros((3, 2))})
    cost = PriceTable(INPUT, OUTPUT).fit({"text": texts}, seen, np.zeros((3, 2))).predict({"text": texts}, seen)
    np.testing.assert_allclose(cost, np.outer([100.0, 200.0, 0.0], INPUT) / 1e6, atol=1e-15)


def test_prompt_tokens_may_differ_between_models() -> None:
    tokens = np.array([[100.0, 150.0], [200.0, 250.0]])
    seen = hr.Responses(np.ones((2, 2), dtype=bool), {"output_tokens": np.zeros((2, 2))})
    estimator = PriceTable(INPUT, OUTPUT).fit({"prompt_tokens": tokens}, seen, np.zeros((2, 2)))
    np.testing.assert_allclose(estimator.predict({"prompt_tokens": tokens}, seen), tokens * INPUT / 1e6, atol=1e-15)


def test_cached_tokens_cost_the_cached_price() -> None:
    table = metered(7)
    estimator = fitted(table, cached_price=0.1 * INPUT)
    query = {"prompt_tokens": np.array([1000.0])}
    nothing = table.responses_for(NO).take([0])
    cold = estimator.predict(query, nothing)
    warm = estimator.predict(query | {"cached_tokens": np.array([[0.0, 800.0]])}, nothing)
    np.testing.assert_allclose(cold - warm, [[0.0, 800.0 * 0.9 * 5.0 / 1e6]], atol=1e-15)
    # More than the prompt can't be cached.
    full = estimator.predict(query | {"cached_tokens": np.array([9999.0])}, nothing)
    np.testing.assert_allclose(cold - full, 1000.0 * 0.9 * INPUT[None, :] / 1e6, atol=1e-15)
    # Without a price of its own, the cache is worth nothing.
    plain = fitted(table)
    np.testing.assert_allclose(
        plain.predict(query | {"cached_tokens": np.array([9999.0])}, nothing), plain.predict(query, nothing), rtol=1e-12
    )


def test_a_free_model_costs_nothing() -> None:
    table = metered(8)
    for responses in (table.responses_for(YES), hr.Responses(np.ones((600, 2), dtype=bool), {})):
        estimator = PriceTable([0.0, 5.0], [0.0, 15.0]).fit(table.queries, responses, table.cost * [0.0, 1.0])
        cost = estimator.predict(table.queries, responses.with_run(NO))
        np.testing.assert_array_equal(cost[:, 0], 0.0)
        assert (cost[:, 1] > 0.0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_price": [1.0]}, r"input_price: expected one price for each of the 2 models, got shape \(1,\)"),
        ({"output_price": [1.0, -1.0]}, "output_price: expected finite prices >= 0"),
        ({"cached_price": [1.0, np.nan]}, "cached_price: expected finite prices >= 0"),
    ],
)
def test_prices_are_checked(options: dict[str, Any], message: str) -> None:
    table = metered(9, 10)
    estimator = PriceTable(**({"input_price": INPUT, "output_price": OUTPUT} | options))
    with pytest.raises(ValueError, match=message):
        estimator.fit(table.queries, table.responses_for(YES), table.cost)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ({}, "queries: expected a column 'prompt_tokens', or 'text'"),
        ({"prompt_tokens": np.full(1, np.nan)}, "queries: column 'prompt_tokens': expected finite numbers >= 0"),
        ({"prompt_tokens": np.ones((1, 3))}, r"queries: column 'prompt_tokens': expected shape .* got \(1, 3\)"),
        (
            {"prompt_tokens": np.ones(1), "cached_tokens": -np.ones(1)},
            "queries: column 'cached_tokens': expected finite",
        ),
    ],
)
def test_tokens_are_checked(queries: dict[str, Any], message: str) -> None:
    table = metered(10, 10)
    with pytest.raises(ValueError, match=message):
        fitted(table).predict(queries, table.responses_for(NO).take([0]))


def test_missing_output_tokens_are_refused() -> None:
    table = metered(11, 10)
    tokens = table.responses["output_tokens"].copy()
    tokens[3, 1] = np.nan
    responses = hr.Responses(np.ones((10, 2), dtype=bool), {"output_tokens": tokens})
    with pytest.raises(ValueError, match="responses: column 'output_tokens': expected a number for every query"):
        PriceTable(INPUT, OUTPUT).fit(table.queries, responses, table.cost)


@pytest.mark.parametrize("coverage", [0.0, 1.0, np.nan])
def test_coverage_is_a_share(coverage: float) -> None:
    table = metered(12, 10)
    with pytest.raises(ValueError, match="coverage: expected a number above 0 and below 1, got"):
        fitted(table).predict_interval(table.queries, table.responses_for(NO), coverage=coverage)


# Regressions


def test_what_a_model_has_cost_tells_what_the_next_will() -> None:
    rng = np.random.default_rng(13)
    cost = np.exp(rng.normal(size=(400, 1))) * [0.01, 0.07]
    table = hr.Outcomes(models=["a", "b"], quality=np.zeros((400, 2)), cost=cost, responses={"cost": cost})
    estimator = LinearCost().fit(table.queries, table.responses_for(YES), table.cost)
    errors = [
        np.mean((estimator.predict(table.queries, table.responses_for(run))[:, 1] - cost[:, 1]) ** 2)
        for run in (NO, [True, False])
    ]
    assert errors[1] < 1e-3 * errors[0]


@pytest.mark.parametrize("unit", [1e-3, 1e3, 1e6])
def test_costs_in_other_units_give_the_same_estimates(unit: float) -> None:
    rng = np.random.default_rng(15)
    cost = np.exp(rng.normal(size=(200, 1))) * [0.3, 2.0] + rng.random((200, 2))

    def estimates(factor: float) -> npt.NDArray[np.float64]:
        values = factor * cost
        seen = hr.Responses(np.ones((200, 2), dtype=bool), {"cost": values}).with_run([True, False])
        estimator = LinearCost().fit({}, seen.with_run(YES), values)
        return estimator.predict({}, seen)

    np.testing.assert_allclose(estimates(unit), unit * estimates(1.0), rtol=1e-6)


# Switching costs


def test_a_switching_cost_is_added_and_is_not_learned_from() -> None:
    table = metered(14, 50)
    added = np.random.default_rng(14).random((50, 2))
    seen = table.responses_for(YES)
    plain = LinearCost().fit(table.queries, seen, table.cost)
    estimator = SwitchingCost(LinearCost())
    estimator.fit(table.queries | {"switching_cost": added}, seen, table.cost + added)
    for run in (NO, [True, False]):
        responses = table.responses_for(run)
        expected = plain.predict(table.queries, responses)
        np.testing.assert_allclose(estimator.predict(table.queries, responses), expected, rtol=1e-9)
        given = estimator.predict(table.queries | {"switching_cost": added}, responses)
        np.testing.assert_allclose(given, expected + added, rtol=1e-9)


def test_a_switching_cost_keeps_a_session_on_its_model() -> None:
    table = hr.Outcomes(models=["a", "b"], quality=np.tile([0.6, 0.61], (20, 1)), cost=[1.0, 1.0])
    cost = SwitchingCost(ConstantCost()).fit({}, table.responses_for(YES), table.cost)
    nothing = table.responses_for(NO).take([0])
    rule = hr.Routing(0.1)
    for added, expected in (([[0.0, 0.0]], 1), ([[0.0, 0.5]], 0)):
        costs = cost.predict({"switching_cost": np.array(added)}, nothing)
        assert rule.select(table.quality[0], costs[0]).next == expected


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (np.zeros(3), r"queries: column 'switching_cost': expected shape \(n_queries, n_models\) = \(3, 2\)"),
        (np.full((3, 2), -1.0), "queries: column 'switching_cost': expected finite numbers >= 0"),
        (np.full((3, 2), np.nan), "queries: column 'switching_cost': expected finite numbers >= 0"),
    ],
)
def test_switching_costs_are_checked(added: Floats, message: str) -> None:
    seen = hr.Responses(np.ones((3, 2), dtype=bool), {})
    with pytest.raises(ValueError, match=message):
        SwitchingCost(ConstantCost()).fit({"switching_cost": added}, seen, np.ones((3, 2)))


# All of them

MAKERS: dict[str, Callable[[], CostEstimator]] = {
    "constant": ConstantCost,
    "linear": LinearCost,
    "prices": lambda: PriceTable(INPUT, OUTPUT),
    "switching": lambda: SwitchingCost(PriceTable(INPUT, OUTPUT)),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("text", ["", "same text", None])
def test_every_cost_estimator_survives_what_says_nothing(name: str, text: str | None) -> None:
    column = np.full(4, text, dtype=object)
    for cost in (np.zeros((4, 2)), np.full((4, 2), 3.0)):
        seen = hr.Responses(np.ones((4, 2), dtype=bool), {"answer": np.full((4, 2), "", dtype=object)})
        estimator = MAKERS[name]().fit({"text": column}, seen, cost)
        assert isinstance(estimator, CostEstimator)
        for run in (NO, [True, False]):
            estimates = estimator.predict({"text": np.array(["new", None, "", "x"], dtype=object)}, seen.with_run(run))
            assert estimates.shape == (4, 2)
            np.testing.assert_allclose(estimates, cost, atol=1e-3, rtol=1e-6)
        assert estimator.predict({"text": column[:0]}, seen.take([])).shape == (0, 2)


@pytest.mark.parametrize("name", MAKERS)
def test_every_cost_estimator_serves_a_router(name: str) -> None:
    table = metered(15, 80)
    router = hr.Router(cost=MAKERS[name](), n_folds=2).fit(table)
    assert router.path_ is not None


@pytest.mark.parametrize("name", MAKERS)
def test_missing_costs_are_refused_where_nothing_can_be_learned(name: str) -> None:
    seen = hr.Responses(np.ones((3, 2), dtype=bool), {})
    costs = np.array([[1.0, np.nan]] * 3)
    with pytest.raises(ValueError, match="targets: expected "):
        MAKERS[name]().fit({"prompt_tokens": np.ones(3)}, seen, costs)
