"""Estimators from the query alone, as they are and as features."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.estimators import (
    BoostingQuality,
    ClusterQuality,
    ConstantQuality,
    KNeighborsQuality,
    LinearQuality,
    QualityEstimator,
)
from headrace.estimators.ex_ante import PRIOR

Floats = npt.NDArray[np.float64]
Make = Callable[[], Any]

LEARNED_BY_SKLEARN = {"clusters", "boosting", "linear on boosting"}

MAKERS: dict[str, Make] = {
    "constant": ConstantQuality,
    "linear": LinearQuality,
    "linear with n-grams": lambda: LinearQuality(n_grams=True),
    "joint": lambda: LinearQuality(covariance=True),
    "neighbors": KNeighborsQuality,
    "clusters": ClusterQuality,
    "boosting": lambda: BoostingQuality(n_trees=20),
    "linear on neighbors": lambda: LinearQuality(ex_ante=KNeighborsQuality()),
    "linear on boosting": lambda: LinearQuality(ex_ante=BoostingQuality(n_trees=20)),
}
EX_ANTE = ("constant", "neighbors", "clusters", "boosting")
LEARNERS = ("neighbors", "clusters", "boosting")


def make(name: str) -> Any:
    if name in LEARNED_BY_SKLEARN:
        pytest.importorskip("sklearn")
    return MAKERS[name]()


def fitted(name: str, table: hr.Outcomes) -> Any:
    return make(name).fit(table.queries, table.responses_for([True] * table.n_models), table.quality)


def before(table: hr.Outcomes) -> hr.Responses:
    return table.responses_for([False] * table.n_models)


def objects(*values: Any) -> npt.NDArray[Any]:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def crossed(seed: int, n: int = 800) -> hr.Outcomes:
    """Draw queries where each model is right if the signs of two numbers agree, or don't: no line tells that."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    same = x[:, 0] * x[:, 1] > 0.0
    return hr.Outcomes(models=["a", "b"], quality=np.column_stack([same, ~same]), cost=[1, 2], queries={"x": x})


def squared_error(estimator: Any, table: hr.Outcomes) -> float:
    return float(np.mean((estimator.predict(table.queries, before(table)).quality - table.quality) ** 2))


# What is learned


@pytest.mark.parametrize("name", LEARNERS)
def test_what_no_line_can_tell_is_learned(name: str) -> None:
    fitting, fresh = crossed(1), crossed(2)
    assert squared_error(fitted("linear", fitting), fresh) > 0.24
    assert squared_error(fitted(name, fitting), fresh) < 0.15


@pytest.mark.parametrize("name", ["linear on neighbors", "linear on boosting"])
def test_estimates_of_another_estimator_are_features(name: str) -> None:
    assert squared_error(fitted(name, crossed(1)), crossed(2)) < 0.15


def test_features_from_another_estimator_are_out_of_fold() -> None:
    rng = np.random.default_rng(3)
    table = hr.Outcomes(
        models=["a", "b"],
        quality=(rng.random((300, 2)) < 0.5).astype(float),
        cost=[1, 2],
        queries={"x": rng.normal(size=(300, 3))},
    )
    # One neighbour is the query itself: in the fold it would know the label.
    greedy = LinearQuality(ex_ante=KNeighborsQuality(n_neighbors=1))
    greedy.fit(table.queries, table.responses_for([True, True]), table.quality)
    assert squared_error(greedy, table) > 0.2
    assert squared_error(fitted("neighbors", table), table) > 0.2


def test_an_estimator_that_looks_at_responses_serves_as_ex_ante_only() -> None:
    rng = np.random.default_rng(4)
    right = (rng.random((200, 2)) < 0.5).astype(float)
    table = hr.Outcomes(models=["a", "b"], quality=right, cost=[1, 2], responses={"verdict": right})
    estimator = LinearQuality(ex_ante=LinearQuality())
    estimator.fit(table.queries, table.responses_for([True, True]), table.quality)
    assert squared_error(estimator, table) > 0.2


class Blindfolded(ConstantQuality):
    """Fails where it is shown what a model returned."""

    def predict(self, queries: Any, responses: hr.Responses) -> Any:
        assert not responses.run.any()
        return super().predict(queries, responses)


def test_a_source_of_features_never_sees_responses() -> None:
    table = crossed(4, 50)
    estimator = LinearQuality(ex_ante=Blindfolded())
    estimator.fit(table.queries, table.responses_for([True, True]), table.quality)
    belief = estimator.predict(table.queries, table.responses_for([True, False]))
    assert belief.quality.shape == (50, 2)


@pytest.mark.parametrize("name", EX_ANTE)
def test_runs_change_nothing_and_the_estimate_is_final(name: str) -> None:
    table = crossed(5, 100)
    estimator = fitted(name, table)
    first = estimator.predict(table.queries, before(table))
    second = estimator.predict(table.queries, table.responses_for([True, False]))
    np.testing.assert_array_equal(first.quality, second.quality)
    assert first.variance is None
    assert first.covariance is None


def test_neighbors_are_the_nearest_ones() -> None:
    rng = np.random.default_rng(6)
    x, quality = rng.normal(size=(60, 3)), rng.random((60, 2))
    table = hr.Outcomes(models=["a", "b"], quality=quality, cost=[1, 2], queries={"x": x})
    estimator = KNeighborsQuality(n_neighbors=7).fit(table.queries, table.responses_for([True, True]), quality)
    fresh = rng.normal(size=(20, 3))
    estimates = estimator.predict({"x": fresh}, before(table).take(np.arange(20))).quality
    for point, estimate in zip(fresh, estimates, strict=True):
        nearest = np.argsort(((x - point) ** 2).sum(axis=1))[:7]
        expected = (quality[nearest].sum(axis=0) + PRIOR * quality.mean(axis=0)) / (7 + PRIOR)
        np.testing.assert_allclose(estimate, expected, atol=1e-12)


def test_the_number_of_neighbors_fits_the_noise() -> None:
    smooth = np.linspace(0.0, 1.0, 700)
    noise = np.random.default_rng(7).random(700)
    numbers = []
    for quality in (smooth, noise):
        table = hr.Outcomes(models=["a"], quality=quality[:, None], cost=[1], queries={"x": smooth})
        numbers.append(fitted("neighbors", table).n_neighbors_)
    assert numbers[0] <= 40
    assert numbers[1] >= 160


def test_a_new_model_needs_few_labels() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(8)
    kind = rng.integers(0, 3, 600)
    quality = np.array([[0.9, 0.2], [0.5, 0.9], [0.1, 0.5]])[kind]
    labels = (rng.random((600, 2)) < quality).astype(float)
    labels[60:, 1] = np.nan
    queries = {"task": objects(*np.array(["code", "prose", "maths"])[kind])}
    everything = hr.Responses(np.ones((600, 2), dtype=bool), {})
    for estimator in (ClusterQuality(n_clusters=3), KNeighborsQuality(n_neighbors=200)):
        estimates = estimator.fit(queries, everything, labels).predict(queries, everything).quality
        assert np.abs(estimates - quality).mean() < 0.08
    with pytest.raises(ValueError, match="targets: expected a number for every query and model, 540 are missing"):
        LinearQuality().fit(queries, everything, labels)


# What holds for every estimator


@pytest.mark.parametrize("name", MAKERS)
def test_a_batch_is_a_loop_and_copies_are_the_same(name: str) -> None:
    table = crossed(10, 120)
    estimator = fitted(name, table)
    assert isinstance(estimator, QualityEstimator)
    batch = estimator.predict(table.queries, before(table)).quality
    again = fitted(name, table).predict(table.queries, before(table)).quality
    np.testing.assert_array_equal(batch, again)
    for copied in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator))):
        np.testing.assert_array_equal(copied.predict(table.queries, before(table)).quality, batch)
    for row in (0, 50, 119):
        single = estimator.predict({"x": table.queries["x"][[row]]}, before(table).take([row]))
        np.testing.assert_allclose(single.quality[0], batch[row], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_every_estimator_serves_a_router(name: str) -> None:
    table = crossed(11, 120)
    router = hr.Router(quality=make(name), n_folds=2).fit(table, budget=1.5)
    session = router.start({"x": table.queries["x"][0]})
    model = session.next()
    assert model in table.models


# What is refused


@pytest.mark.parametrize("name", MAKERS)
def test_targets_that_nothing_can_be_learned_from(name: str) -> None:
    everything = hr.Responses(np.ones((4, 2), dtype=bool), {})
    unlabelled = np.array([[1.0, np.nan]] * 4)
    for targets, message in (
        (unlabelled, r"targets: expected .*(labelled queries of every model|a number for every query and model)"),
        (np.full((4, 2), np.inf), "targets: expected finite numbers, got infinity"),
        (np.ones(4), r"targets: expected shape \(n_queries, n_models\), got \(4,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            make(name).fit({"x": np.arange(4.0)}, everything, targets)


@pytest.mark.parametrize(
    ("estimator", "argument"),
    [
        (KNeighborsQuality(n_neighbors=0), "n_neighbors"),
        (KNeighborsQuality(n_neighbors=True), "n_neighbors"),
        (ClusterQuality(n_clusters=-1), "n_clusters"),
        (BoostingQuality(n_trees=2.5), "n_trees"),  # type: ignore[arg-type]
    ],
)
def test_counts_are_checked(estimator: Any, argument: str) -> None:
    table = crossed(12, 20)
    with pytest.raises(ValueError, match=f"{argument}: expected an int >= 1, got"):
        estimator.fit(table.queries, table.responses_for([True, True]), table.quality)


@pytest.mark.parametrize("estimator", [ClusterQuality(), BoostingQuality()])
def test_without_scikit_learn_the_error_says_what_to_install(estimator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sklearn", "sklearn.cluster", "sklearn.ensemble"):
        monkeypatch.setitem(sys.modules, module, None)
    table = crossed(13, 20)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'headrace\[estimators\]'"):
        estimator.fit(table.queries, table.responses_for([True, True]), table.quality)
