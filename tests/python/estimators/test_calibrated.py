"""Calibrated estimates: the maps against slow fits, labels never seen twice, and variances that match the updates."""

from __future__ import annotations

import itertools
import pickle
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import optimize

import headrace as hr
from headrace.estimators import CalibratedQuality, ConstantQuality, JointQuality, KNeighborsQuality, LinearQuality, make
from headrace.estimators.calibration_maps import LEAST, PRIOR, IsotonicMaps, PlattMaps, Sample, room

Floats = npt.NDArray[np.float64]

pytest.importorskip("sklearn")


def sample(seed: int, n: int, *, graded: bool = False) -> Sample:
    rng = np.random.default_rng(seed)
    estimates = rng.random(n)
    chance = 1.0 / (1.0 + np.exp(-(0.4 * np.log(estimates / (1.0 - estimates)) + 0.5)))
    labels = rng.beta(3.0 * chance, 3.0 * (1.0 - chance)) if graded else (rng.random(n) < chance).astype(float)
    return Sample(estimates, labels, n)


def everything(table: hr.Outcomes) -> hr.Responses:
    return table.responses_for([True] * table.n_models)


def fitted(estimator: Any, table: hr.Outcomes) -> Any:
    return estimator.fit(table.queries, everything(table), table.quality)


# The maps


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("n", [40, 2000])
def test_platt_is_the_likeliest_sigmoid(n: int, graded: bool) -> None:
    data = sample(1, n, graded=graded)
    inner = np.clip(data.estimates, LEAST, 1.0 - LEAST)
    logits = np.log(inner / (1.0 - inner))
    labels = (n * data.labels + PRIOR * inner) / (n + PRIOR)

    def loss(parameters: Floats) -> float:
        exponent = parameters[0] * logits + parameters[1]
        return float(np.mean(np.logaddexp(0.0, exponent) - labels * exponent))

    expected = optimize.minimize(loss, [1.0, 0.0], tol=1e-12).x
    maps = PlattMaps.fit([[data], [data]])
    np.testing.assert_allclose([maps.slope[0, 0], maps.intercept[0, 0]], expected, atol=2e-3)
    if n == 2000:
        np.testing.assert_allclose(expected, [0.4, 0.5], atol=0.1)


def test_isotonic_is_the_best_non_decreasing_function() -> None:
    data = sample(2, 12)
    order = np.argsort(data.estimates)
    labels = ((12 * data.labels + PRIOR * np.clip(data.estimates, LEAST, 1.0 - LEAST)) / (12 + PRIOR))[order]
    # The largest of the smallest means of stretches (Barlow and others 1972).
    expected = [
        max(min(labels[a : b + 1].mean() for b in range(i, 12)) for a in range(i + 1)) for i in range(len(labels))
    ]
    maps = IsotonicMaps.fit([[data], [data]])
    mapped = maps(data.estimates[order][:, None], np.array([True]))
    np.testing.assert_allclose(mapped[:, 0], expected, atol=1e-9)


@pytest.mark.parametrize("kind", [PlattMaps, IsotonicMaps])
def test_maps_never_decrease_and_stay_within_0_and_1(kind: Any) -> None:
    backwards = Sample(np.linspace(0.0, 1.0, 500), np.linspace(1.0, 0.0, 500).round(), 500)
    for data in (sample(3, 300), backwards):
        maps = kind.fit([[data], [data]])
        mapped = maps(np.linspace(-0.1, 1.1, 200)[:, None], np.array([False]))
        assert (np.diff(mapped, axis=0) >= 0.0).all()
        assert ((mapped >= 0.0) & (mapped <= 1.0)).all()


@pytest.mark.parametrize("kind", [PlattMaps, IsotonicMaps])
def test_without_labels_nothing_changes(kind: Any) -> None:
    nothing = Sample(np.empty(0), np.empty(0), 0)
    maps = kind.fit([[nothing], [nothing]])
    estimates = np.linspace(0.1, 0.9, 9)[:, None]
    np.testing.assert_allclose(maps(estimates, np.array([False])), estimates, atol=1e-12)


def test_room_is_the_derivative_of_the_sigmoid() -> None:
    logit, step = 1.3, 1e-5
    low, high = (1.0 / (1.0 + np.exp(-(logit + sign * step))) for sign in (-1.0, 1.0))
    share = 1.0 / (1.0 + np.exp(-logit))
    assert room(np.array([share]))[0] == pytest.approx((high - low) / (2.0 * step), rel=1e-6)


# The estimator


class Told:
    """Gives over-confident, shifted estimates before a run, and good ones afterwards, with too large variances."""

    def fit(self, queries: Any, responses: hr.Responses, targets: Floats) -> Told:
        return self

    def predict(self, queries: Any, responses: hr.Responses) -> hr.Belief:
        p = np.asarray(queries["p"])
        wrong = np.clip(0.2 + 1.6 * (p - 0.3), 0.0, 1.0)
        return hr.Belief(np.where(responses.run, p, wrong), variance=np.full(p.shape, 0.5))


def told(seed: int, n: int) -> hr.Outcomes:
    rng = np.random.default_rng(seed)
    p = rng.beta(2.0, 2.0, (n, 3))
    return hr.Outcomes(
        models=["a", "b", "c"], quality=(rng.random((n, 3)) < p).astype(float), cost=[1, 2, 3], queries={"p": p}
    )


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_fresh_estimates_are_calibrated(method: str) -> None:
    fresh = told(2, 5000)
    estimator = fitted(CalibratedQuality(Told(), method=method), told(1, 3000))
    for run in itertools.product([False, True], repeat=3):
        estimates = estimator.predict(fresh.queries, fresh.responses_for(run)).quality
        assert np.abs(estimates - fresh.queries["p"]).mean() < 0.04
        raw = Told().predict(fresh.queries, fresh.responses_for(run)).quality
        if not all(run):
            assert np.mean((estimates - fresh.quality) ** 2) < np.mean((raw - fresh.quality) ** 2) - 0.002


@pytest.mark.parametrize("method", ["platt", "isotonic", None])
@pytest.mark.parametrize("logit_variance", [False, True])
def test_variances_are_those_of_fresh_updates(method: str | None, logit_variance: bool) -> None:
    estimator = fitted(CalibratedQuality(Told(), method=method, logit_variance=logit_variance), told(3, 3000))
    fresh = told(4, 4000)
    now = estimator.predict(fresh.queries, fresh.responses_for([False, True, False]))
    last = estimator.predict(fresh.queries, everything(fresh))
    realised = np.mean((last.quality - now.quality) ** 2, axis=0)
    believed = np.broadcast_to(now.variance, now.quality.shape).mean(axis=0)
    np.testing.assert_allclose(believed, realised, rtol=0.2, atol=2e-4)


def test_logit_variances_shrink_near_the_ends() -> None:
    table = told(5, 500)
    belief = fitted(CalibratedQuality(Told(), logit_variance=True), table).predict(
        table.queries, table.responses_for([False] * 3)
    )
    ratio = np.sqrt(belief.variance) / room(belief.quality)
    np.testing.assert_allclose(ratio, np.tile(ratio[0], (500, 1)), rtol=1e-9)
    assert (ratio[0] > 0.0).all()


class Memory(ConstantQuality):
    """Knows the labels of the queries that it was fitted on, and guesses at random for others."""

    def fit(self, queries: Any, responses: hr.Responses, targets: Floats) -> Memory:
        self.known = {float(x): row for x, row in zip(queries["x"], targets, strict=True)}
        return self

    def predict(self, queries: Any, responses: hr.Responses) -> hr.Belief:
        guess = np.random.default_rng(0).integers(0, 2, (len(responses), 2)).astype(float)
        return hr.Belief(np.array([self.known.get(float(x), guess[i]) for i, x in enumerate(queries["x"])]))


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_labels_that_the_base_has_seen_are_not_learned_from(method: str) -> None:
    rng = np.random.default_rng(6)
    table = hr.Outcomes(
        models=["a", "b"],
        quality=(rng.random((1500, 2)) < 0.3).astype(float),
        cost=[1, 2],
        queries={"x": np.arange(1500.0)},
    )
    estimator = fitted(CalibratedQuality(Memory(), method=method), table)
    estimates = estimator.predict(table.queries, table.responses_for([False, False])).quality
    # In sample, the base is always right; out of fold, it says nothing.
    np.testing.assert_allclose(estimates, 0.3, atol=0.08)


def test_a_covariance_and_a_loading_are_rescaled_as_the_variances() -> None:
    table = hr.datasets.load_quickstart().take(range(400))
    beliefs = {}
    for joint in (False, True):
        estimator = fitted(CalibratedQuality(LinearQuality(covariance=joint), logit_variance=True), table)
        beliefs[joint] = estimator.predict(table.queries, table.responses_for([True] + [False] * 4))
    assert beliefs[True].covariance.shape == (400, 5, 5)
    np.testing.assert_allclose(
        np.diagonal(beliefs[True].covariance, axis1=1, axis2=2), beliefs[False].variance, rtol=1e-9
    )

    class Loaded(Told):
        def predict(self, queries: Any, responses: hr.Responses) -> hr.Belief:
            belief = super().predict(queries, responses)
            return belief._replace(variance=0.5 * belief.variance, loading=np.sqrt(0.5 * belief.variance))

    data = told(7, 600)
    plain, loaded = (
        fitted(CalibratedQuality(base), data).predict(data.queries, data.responses_for([False] * 3))
        for base in (Told(), Loaded())
    )
    np.testing.assert_allclose(loaded.variance + loaded.loading**2, plain.variance, rtol=1e-9)


def test_what_the_base_does_not_believe_is_not_made_up() -> None:
    table = told(8, 200)
    belief = fitted(CalibratedQuality(ConstantQuality()), table).predict(table.queries, everything(table))
    assert belief.variance is None
    assert belief.covariance is None
    assert belief.loading is None
    np.testing.assert_allclose(belief.quality, np.tile(table.mean_quality, (200, 1)), atol=0.02)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_scores_of_any_range(method: str) -> None:
    table = told(9, 2000)
    far = hr.Outcomes(
        models=table.models, quality=200.0 * table.quality - 300.0, cost=table.cost, queries=dict(table.queries)
    )

    class Far(Told):
        def predict(self, queries: Any, responses: hr.Responses) -> hr.Belief:
            belief = super().predict(queries, responses)
            return hr.Belief(200.0 * belief.quality - 300.0, variance=200.0**2 * belief.variance)

    near = fitted(CalibratedQuality(Told(), method=method, logit_variance=True), table)
    scaled = fitted(CalibratedQuality(Far(), method=method, logit_variance=True), far)
    expected = near.predict(table.queries, table.responses_for([False] * 3))
    belief = scaled.predict(far.queries, far.responses_for([False] * 3))
    np.testing.assert_allclose(belief.quality, 200.0 * expected.quality - 300.0, rtol=1e-6)
    np.testing.assert_allclose(belief.variance, 200.0**2 * expected.variance, rtol=1e-6)


def test_partial_logs() -> None:
    rng = np.random.default_rng(10)
    table = hr.datasets.load_quickstart().take(range(500))
    quality = np.where(rng.random((500, 5)) < 0.5, np.nan, table.quality)
    seen = everything(table).with_run(~np.isnan(quality))
    estimator = CalibratedQuality(JointQuality()).fit(table.queries, seen, quality)
    assert estimator.accepts_missing
    assert not CalibratedQuality().accepts_missing
    for run in ([False] * 5, [True, False, True, False, False]):
        estimates = estimator.predict(table.queries, table.responses_for(run)).quality
        assert np.mean((estimates - table.quality) ** 2) < 0.95 * table.quality.var(axis=0).mean()
    with pytest.raises(ValueError, match="targets: expected a number for every query and model"):
        CalibratedQuality().fit(table.queries, seen, quality)


def test_a_batch_is_a_loop_and_copies_are_the_same() -> None:
    table = hr.datasets.load_quickstart().take(range(300))
    for method in ("platt", "isotonic", None):
        estimator = fitted(CalibratedQuality(KNeighborsQuality(), method=method), table)
        responses = table.responses_for([True] + [False] * 4)
        batch = estimator.predict(table.queries, responses).quality
        again = pickle.loads(pickle.dumps(estimator)).predict(table.queries, responses).quality
        np.testing.assert_array_equal(again, batch)
        np.testing.assert_array_equal(
            fitted(CalibratedQuality(KNeighborsQuality(), method=method), table)
            .predict(table.queries, responses)
            .quality,
            batch,
        )
        for row in (0, 299):
            query = {name: column[[row]] for name, column in table.queries.items()}
            np.testing.assert_allclose(estimator.predict(query, responses.take([row])).quality[0], batch[row])


def test_it_is_known_by_name() -> None:
    assert isinstance(make("calibrated", base=ConstantQuality(), method=None).base, ConstantQuality)
    table = hr.datasets.load_quickstart().take(range(200))
    assert hr.Router(quality="calibrated", n_folds=2).fit(table, budget=100.0).policy_ is not None


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    table = told(11, 50)
    with pytest.raises(ValueError, match="method: expected one of 'platt', 'isotonic', None; got 'sigmoid'"):
        fitted(CalibratedQuality(method="sigmoid"), table)
    with pytest.raises(ValueError, match="targets: expected at least 4 labelled queries to calibrate with, got 3"):
        fitted(CalibratedQuality(ConstantQuality()), table.take(range(3)))
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'headrace\[estimators\]'"):
        fitted(CalibratedQuality(ConstantQuality()), table)
