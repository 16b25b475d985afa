"""What a fit and an evaluation are given by rough hands: fitted rows, odd estimators, one group."""

from __future__ import annotations

import dataclasses
import unicodedata
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.estimators import ConstantQuality


@pytest.fixture(scope="module")
def fitted() -> tuple[hr.Router, hr.Outcomes, hr.Outcomes]:
    fitting, fresh = simulate(400, 3).split(0.5)
    return hr.Router(quality=NoisyOracle(), cost="constant").fit(fitting, budget=0.003), fitting, fresh


def without_ids(table: hr.Outcomes, start: int = 0) -> hr.Outcomes:
    return dataclasses.replace(table, ids=[str(start + row) for row in range(len(table))])


# Rows that the fit has seen


def test_the_fitting_table_judges_nothing(fitted: tuple[hr.Router, hr.Outcomes, hr.Outcomes]) -> None:
    router, fitting, fresh = fitted
    for table in (fitting, without_ids(fitting, 10_000)):
        assert router.n_seen(table) == len(table)
        with pytest.raises(ValueError, match=r"queries that the fit has not seen; it has seen 200 of"):
            hr.evaluate(router, table, baselines=["routing"])
    assert router.n_seen(fresh) == 0


def test_half_of_the_rows_are_found_without_ids(fitted: tuple[hr.Router, hr.Outcomes, hr.Outcomes]) -> None:
    router, fitting, fresh = fitted
    mixed = without_ids(fitting.take(range(60)).concat(fresh.take(range(60))))
    assert router.n_seen(mixed) == 60
    with pytest.raises(ValueError, match="it has seen 60 of these 120"):
        hr.evaluate(router, mixed, baselines=["routing"])


def test_a_changed_label_hides_no_table(fitted: tuple[hr.Router, hr.Outcomes, hr.Outcomes]) -> None:
    router, fitting, _ = fitted
    quality = fitting.quality.copy()
    quality[0, 0] = 1.0 - quality[0, 0]
    with pytest.raises(ValueError, match="it has seen 199 of these 200"):
        hr.evaluate(router, dataclasses.replace(fitting, quality=quality), baselines=["routing"])


def test_a_few_queries_that_were_asked_twice_are_no_reason(fitted: tuple[hr.Router, hr.Outcomes, hr.Outcomes]) -> None:
    router, fitting, fresh = fitted
    mostly_fresh = without_ids(fresh.concat(fitting.take(range(5))))
    assert router.n_seen(mostly_fresh) == 5
    evaluation = hr.evaluate(router, mostly_fresh, baselines=["linear interpolation"], n_resamples=20)
    assert evaluation.n_test == 205


def test_equal_zeros_and_ones_at_fixed_costs_are_no_evidence() -> None:
    rng = np.random.default_rng(0)
    first, second = (
        hr.Outcomes(models=["a", "b"], quality=rng.integers(0, 2, size=(50, 2)), cost=[1.0, 2.0]) for _ in range(2)
    )
    router = hr.Router(quality="constant", cost="constant").fit(first, budget=1.5)
    assert router.n_seen(second) == 0


def bare(n: int, seed: int) -> hr.Outcomes:
    """Draw zeros and ones at fixed costs, with nothing else: content doesn't tell rows apart."""
    quality = np.random.default_rng(seed).random((n, 3)) < [0.5, 0.6, 0.8]
    return hr.Outcomes(models=list("abc"), quality=quality, cost=[1.0, 2.0, 10.0], ids=[f"q{i}" for i in range(n)])


@pytest.mark.parametrize("changed", [0, 1])
def test_zeros_and_ones_in_the_order_of_the_fit_are_found(changed: int) -> None:
    table = bare(800, 0)
    quality = table.quality.copy()
    quality[:changed, 0] = 1.0 - quality[:changed, 0]
    again = dataclasses.replace(table, quality=quality)
    router = hr.Router(quality="constant", cost="constant", rule="routing").fit(table, budget=3.0)
    for seen in (again, without_ids(again), again.take(range(400))):
        assert router.n_seen(seen) == len(seen) - changed
        with pytest.raises(ValueError, match="queries that the fit has not seen; it has seen"):
            hr.evaluate(router, seen, baselines=["linear interpolation"])
    # In another order they are found by their ids, where the fitting table is given.
    shuffled = again.take(np.random.default_rng(1).permutation(800))
    with pytest.raises(ValueError, match="got 800 that are in `fitting`, too"):
        hr.evaluate(router, shuffled, fitting=table, baselines=["linear interpolation"])
    # Another file numbers its rows alike.
    assert router.n_seen(bare(800, 1)) == 0
    given = {"baselines": ["linear interpolation"], "n_resamples": 20, "n_examples": 0}
    assert hr.evaluate(router, bare(800, 1), fitting=table, **given).n_test == 800


# Estimators of others


class Raises(ConstantQuality):
    def predict(self, queries: Any, responses: hr.Responses) -> hr.Belief:
        raise RuntimeError("no memory left")


class GivesAnArray(ConstantQuality):
    def predict(self, queries: Any, responses: hr.Responses) -> Any:
        return super().predict(queries, responses).quality


class Mixed(ConstantQuality):
    """Variances where the first query is dark, covariances elsewhere."""

    def predict(self, queries: Any, responses: hr.Responses) -> hr.Belief:
        quality = super().predict(queries, responses).quality
        k = quality.shape[1]
        if self.mean_[0] > 0.5:
            return hr.Belief(quality, variance=np.full(k, 0.1))
        return hr.Belief(quality, covariance=0.1 * np.eye(k))


def test_an_error_of_an_estimator_names_it() -> None:
    with pytest.raises(RuntimeError, match="no memory left") as raised:
        hr.Router(quality=Raises()).fit(simulate(40, 3))
    assert raised.value.__notes__ == ["raised by the quality estimator Raises"]


def test_an_array_is_no_belief() -> None:
    with pytest.raises(TypeError, match=r"quality: expected a Belief from GivesAnArray.predict, got ndarray"):
        hr.Router(quality=GivesAnArray()).fit(simulate(40, 3))


def test_folds_that_mix_variances_and_covariances_are_refused() -> None:
    quality = np.zeros((40, 2))
    quality[::2, 0] = 1.0
    table = hr.Outcomes(models=["a", "b"], quality=quality, cost=[1.0, 2.0])
    with pytest.raises(ValueError, match="quality: expected variances, or covariances, of all folds; Mixed gives both"):
        hr.Router(quality=Mixed(), cost="constant", n_folds=5).fit(table)


# Groups


def test_one_group_can_not_be_folded() -> None:
    table = dataclasses.replace(simulate(40, 3), groups=["g"] * 40)
    for options in ({}, {"confidence": 0.9, "budget": 0.003}):
        with pytest.raises(ValueError, match=r"outcomes: expected queries of at least two groups, .* got one group"):
            hr.Router(quality=NoisyOracle()).fit(table, **options)


# Names


@pytest.mark.parametrize("name", ["\x1b[31mred", "two\nlines", "back\rspace", "\ud800"])
def test_names_of_models_have_no_control_characters(name: str) -> None:
    with pytest.raises(ValueError, match="models: expected names without control characters"):
        hr.Outcomes(models=[name, "b"], quality=[[0, 1]], cost=[1.0, 2.0])


def test_each_character_of_a_long_name_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    category = unicodedata.category

    def noted(character: str) -> str:
        asked.append(character)
        return category(character)

    monkeypatch.setattr(unicodedata, "category", noted)
    hr.Outcomes(models=["ab" * 10_000, "c"], quality=[[0, 1]], cost=[1, 2])
    assert sorted(asked) == ["a", "b", "c"]
