"""What every estimator survives: data that are hard, or impossible, to learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.estimators import (
    BoostingQuality,
    CalibratedQuality,
    ConstantCost,
    KNeighborsQuality,
    LinearCost,
    LinearQuality,
    PriceTable,
    SwitchingCost,
    estimator_names,
)
from headrace.estimators.registry import BUILT_IN

Floats = npt.NDArray[np.float64]
Make = Callable[[int], Any]

#: Everything that is registered as it is, and what has options of its own; called with the number of models.
QUALITY: dict[str, Make] = {
    **{name: lambda n_models, make=make: make() for name, make in BUILT_IN["quality"].items()},
    "linear with n-grams": lambda n_models: LinearQuality(n_grams=True),
    "linear with covariance": lambda n_models: LinearQuality(covariance=True),
    "linear on neighbors": lambda n_models: LinearQuality(ex_ante=KNeighborsQuality()),
    "linear on boosting": lambda n_models: LinearQuality(ex_ante=BoostingQuality(n_trees=20)),
    "calibrated, isotonic": lambda n_models: CalibratedQuality(method="isotonic", logit_variance=True),
    "calibrated neighbors": lambda n_models: CalibratedQuality(KNeighborsQuality()),
}
COST: dict[str, Make] = {
    "constant": lambda n_models: ConstantCost(),
    "linear": lambda n_models: LinearCost(),
    "prices": lambda n_models: PriceTable([1.0] * n_models, [2.0] * n_models),
    "switching": lambda n_models: SwitchingCost(LinearCost()),
}
#: Estimators that give the mean where nothing can be learned.
EX_ANTE = ("constant", "neighbors", "clusters", "boosting")
#: Fewest queries that an estimator learns from.
FEWEST = {"calibrated": 4, "calibrated, isotonic": 4, "calibrated neighbors": 4}

HOSTILE = (
    "no features",
    "constant features",
    "missing numbers",
    "some missing numbers",
    "huge values",
    "tiny values",
    "huge and tiny values",
    "always right, always wrong",
    "one class",
    "unseen categories",
    "empty text",
    "text",
    "numbers as text",
    "two queries",
    "four queries",
    "fewer queries than features",
    "a lacking column",
    "one model",
    "one model without features",
    "copies of a query",
)


def objects(*values: Any) -> npt.NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def hostile(kind: str) -> tuple[hr.Outcomes, dict[str, npt.NDArray[Any]]]:
    """Make a table that is hard to learn from, and three new queries for it."""
    rng = np.random.default_rng(9)
    n = {"two queries": 2, "four queries": 4, "fewer queries than features": 6}.get(kind, 60)
    k = 1 if kind.startswith("one model") else 2
    quality = (rng.random((n, k)) < [0.4, 0.8][:k]).astype(float)
    queries: dict[str, Any] = {"x": rng.normal(size=n)}
    fresh: dict[str, Any] = {"x": np.array([0.0, np.nan, 1e9])}
    answers = rng.choice(np.array(["yes", "no"], dtype=object), (n, k))
    tokens = rng.integers(1, 900, (n, k)).astype(float)
    if kind in ("no features", "one model without features"):
        queries, fresh = {}, {}
    elif kind == "constant features":
        queries = {"x": np.full(n, 7.0), "task": objects(*["prose"] * n), "v": np.ones((n, 100))}
        fresh = {"x": np.zeros(3), "task": objects("prose", "code", None), "v": np.zeros((3, 100))}
    elif kind == "missing numbers":
        queries, tokens = {"x": np.full(n, np.nan)}, np.full((n, k), np.nan)
    elif kind == "some missing numbers":
        queries = {"x": np.where(rng.random(n) < 0.5, np.nan, queries["x"]), "v": rng.normal(size=(n, 3))}
        queries["v"][rng.random((n, 3)) < 0.5] = np.nan
        fresh = {"x": np.array([0.0, np.nan, 1.0]), "v": np.array([[np.nan] * 3, [0.0] * 3, [1.0, np.nan, 2.0]])}
        tokens[rng.random((n, k)) < 0.5] = np.nan
    elif kind == "huge values":
        queries, fresh = {"x": 1e149 * rng.normal(size=n)}, {"x": np.array([0.0, 1e150, -1e150])}
        tokens *= 1e147
    elif kind == "tiny values":
        queries, fresh = {"x": 1e-200 * rng.normal(size=n)}, {"x": np.array([0.0, 1e-200, 1.0])}
        tokens *= 1e-200
    elif kind == "huge and tiny values":
        queries, fresh = {"x": 10.0 ** rng.uniform(-300, 150, n)}, {"x": np.array([0.0, 1e150, 1e-300])}
    elif kind == "always right, always wrong":
        quality[:] = [1.0, 0.0]
    elif kind == "one class":
        quality[:] = 1.0
    elif kind == "unseen categories":
        queries, fresh = {"task": objects(*["code", "prose", "maths"] * (n // 3))}, {"task": objects("new", None, 3)}
    elif kind == "empty text":
        queries, fresh = {"text": objects(*[""] * n)}, {"text": objects("", None, "something")}
        answers[:] = ""
    elif kind == "text":
        queries, fresh = {"text": objects(*map(str, rng.random(n)))}, {"text": objects("", None, "x" * 50_000)}
    elif kind == "numbers as text":
        queries, fresh = {"x": objects(*map(str, range(n)))}, {"x": objects("1", 2, 3.5)}
    elif kind == "fewer queries than features":
        queries, fresh = {"v": rng.normal(size=(n, 90))}, {"v": rng.normal(size=(3, 90))}
    elif kind == "a lacking column":
        fresh = {}
    elif kind == "copies of a query":
        queries, quality, answers = {"x": np.full(n, 3.0)}, quality[:1].repeat(n, axis=0), answers[:1].repeat(n, axis=0)
    # A price table counts the tokens of the prompt.
    queries, fresh = (
        columns if "text" in columns else columns | {"prompt_tokens": np.full(number, 100.0)}
        for columns, number in ((queries, n), (fresh, 3))
    )
    table = hr.Outcomes(
        models=["a", "b"][:k],
        quality=quality,
        cost=costs(kind, rng, n)[:, :k],
        queries=queries,
        responses={"answer": answers, "tokens": tokens},
    )
    return table, fresh


def costs(kind: str, rng: np.random.Generator, n: int) -> Floats:
    drawn = rng.gamma(2.0, 1.0, (n, 2))
    if kind == "one class":
        return np.zeros((n, 2))
    if kind == "always right, always wrong":
        return np.tile([1.0, 1e6], (n, 1))
    return drawn * {"huge values": 1e100, "tiny values": 1e-100}.get(kind, 1.0)


def fresh_responses(table: hr.Outcomes, run: list[bool]) -> hr.Responses:
    answers = np.array([["yes", None], ["", None], ["other", None]], dtype=object)
    columns = {"answer": answers[:, : table.n_models], "tokens": np.array([[5.0, np.nan]] * 3)[:, : table.n_models]}
    return hr.Responses(np.tile(run[: table.n_models], (3, 1)), columns)


def test_every_registered_estimator_is_here() -> None:
    assert {name for name in estimator_names("quality") if name in BUILT_IN["quality"]} <= set(QUALITY)
    assert set(BUILT_IN["cost"]) == set(COST)


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", QUALITY)
def test_every_quality_estimator_survives(name: str, kind: str) -> None:
    pytest.importorskip("sklearn")
    table, fresh = hostile(kind)
    estimator = QUALITY[name](table.n_models)
    everything = table.responses_for([True] * table.n_models)
    if len(table) < FEWEST.get(name, 2):
        with pytest.raises(ValueError, match=r"targets: expected at least \d labelled queries"):
            estimator.fit(table.queries, everything, table.quality)
        return
    estimator.fit(table.queries, everything, table.quality)
    k = table.n_models
    for run in ([False, False], [True, False]):
        responses = fresh_responses(table, run)
        belief = estimator.predict(fresh, responses)
        assert belief.quality.shape == (3, k)
        assert ((belief.quality >= 0.0) & (belief.quality <= 1.0)).all()
        for spread in (belief.variance, belief.covariance, belief.loading):
            assert spread is None or np.isfinite(spread).all()
        assert belief.variance is None or (belief.variance >= 0.0).all()
        if kind in ("always right, always wrong", "one class", "copies of a query"):
            # A calibrated estimate stays off 0 and 1 by what 50 labels of its prior leave.
            off = 0.05 if name.startswith("calibrated") else 1e-9
            np.testing.assert_allclose(belief.quality, np.tile(table.quality[0], (3, 1)), atol=off)
        if kind in ("no features", "constant features") and name in EX_ANTE:
            np.testing.assert_allclose(belief.quality, np.tile(table.mean_quality, (3, 1)), atol=1e-9)
        decision = hr.CascadeRouting(0.1).select_batch(
            belief.quality, np.ones((3, k)), variance=belief.variance, covariance=belief.covariance
        )
        assert decision.shape == (3,)
        nothing = {column: values[:0] for column, values in fresh.items()}
        assert estimator.predict(nothing, responses.take([])).quality.shape == (0, k)


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", COST)
def test_every_cost_estimator_survives(name: str, kind: str) -> None:
    table, fresh = hostile(kind)
    if name == "prices" and not {"text", "prompt_tokens"} & set(fresh):
        return
    everything = table.responses_for([True] * table.n_models)
    estimator = COST[name](table.n_models).fit(table.queries, everything, table.cost)
    for run in ([False, False], [True, False]):
        responses = fresh_responses(table, run)
        estimates = estimator.predict(fresh, responses)
        assert estimates.shape == (3, table.n_models)
        assert ((estimates >= 0.0) & np.isfinite(estimates)).all()
        if name != "prices":
            assert (estimates <= table.cost.max() * (1.0 + 1e-9)).all()
        nothing = {column: values[:0] for column, values in fresh.items()}
        assert estimator.predict(nothing, responses.take([])).shape == (0, table.n_models)


@pytest.mark.parametrize("number", [np.inf, -np.inf, 2e150])
@pytest.mark.parametrize("name", ["linear", "joint", "neighbors", "clusters", "boosting", "calibrated"])
def test_numbers_that_cannot_be_squared_are_refused(name: str, number: float) -> None:
    pytest.importorskip("sklearn")
    table, fresh = hostile("some missing numbers")
    everything = table.responses_for([True, True])
    wrong = dict(table.queries) | {"x": np.where(np.arange(60) == 7, number, table.queries["x"])}
    message = r"queries: column 'x': expected numbers up to 1e\+150 in size \(NaN = missing\), got (inf|2e\+150)"
    with pytest.raises(ValueError, match=message):
        QUALITY[name](2).fit(wrong, everything, table.quality)
    estimator = QUALITY[name](2).fit(table.queries, everything, table.quality)
    with pytest.raises(ValueError, match=message):
        estimator.predict(fresh | {"x": np.array([0.0, number, 1.0])}, fresh_responses(table, [False, False]))


@pytest.mark.parametrize("column", ["tokens", "logprobs"])
@pytest.mark.parametrize("name", ["linear", "joint"])
def test_responses_that_cannot_be_squared_are_refused(name: str, column: str) -> None:
    table, _ = hostile("no features")
    cells: Any = np.full((60, 2), -np.inf)
    if column == "logprobs":
        cells = np.empty((60, 2), dtype=object)
        for cell in np.ndindex(60, 2):
            cells[cell] = [-0.5, -np.inf]
    responses = hr.Responses(np.ones((60, 2), dtype=bool), {column: cells})
    with pytest.raises(ValueError, match=rf"responses: column '{column}': expected numbers up to 1e\+150 in size"):
        QUALITY[name](2).fit({}, responses, table.quality).predict({}, responses)
