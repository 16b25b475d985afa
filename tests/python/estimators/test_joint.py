"""The joint belief: against textbook conditioning, regressions and refits, and on tables whose signal is known."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import multivariate_normal

import headrace as hr
from headrace._core import regressions
from headrace.estimators import JointQuality, LinearQuality, QualityEstimator, gaussian, joint
from headrace.estimators.cholesky import cholesky
from headrace.estimators.exchangeable import Variables, exchangeable_mean
from headrace.estimators.gaussian import PRIOR, Strengths, fit_moments, patterns_of
from headrace.estimators.held_out import MOST_RUNS, _drawn, _known_in_turn, cross_validate, whitened_weights
from headrace.estimators.joint import one_factor

Floats = npt.NDArray[np.float64]

# Linear algebra of well-conditioned systems of a few dozen rows.
EXACT = 1e-8

# Ridges so small that they change nothing beyond it.
NONE = Strengths(0.0, 1e-12, 1e-12)


def after(table: hr.Outcomes, *models: int) -> hr.Responses:
    return table.responses_for(np.isin(np.arange(table.n_models), models))


def all_run(table: hr.Outcomes) -> hr.Responses:
    return after(table, *range(table.n_models))


def run_sets(n_models: int) -> list[tuple[int, ...]]:
    return [run for size in range(n_models + 1) for run in itertools.combinations(range(n_models), size)]


def fitted(table: hr.Outcomes, **options: Any) -> JointQuality:
    return JointQuality(**options).fit(table.queries, all_run(table), table.quality)


def hard_queries(seed: int, n: int = 300, n_models: int = 3) -> hr.Outcomes:
    """Draw queries of a hidden difficulty: a noisy hint of it, and after a run a confidence and a choice of 3."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=n)
    skill = np.linspace(-0.5, 1.2, n_models)
    right = skill - difficulty[:, None] + 0.7 * rng.normal(size=(n, n_models)) > 0
    return hr.Outcomes(
        models=[f"model-{j}" for j in range(n_models)],
        quality=right.astype(float),
        cost=np.geomspace(1.0, 10.0, n_models),
        queries={"hint": difficulty + rng.normal(size=n), "kind": rng.choice(["prose", "code", "maths"], n)},
        responses={
            "confidence": skill - difficulty[:, None] + 0.8 * rng.normal(size=(n, n_models)),
            "answer": np.where(right, "A", rng.choice(["B", "C"], (n, n_models))),
        },
    )


def without(table: hr.Outcomes, share: float, seed: int) -> tuple[hr.Responses, Floats]:
    """Take away cells at random: the run of a model on a query, and its label."""
    run = np.random.default_rng(seed).random(table.quality.shape) >= share
    return table.responses_for(run), np.where(run, table.quality, np.nan)


def squared_error(estimator: QualityEstimator, table: hr.Outcomes) -> float:
    errors = [
        estimator.predict(table.queries, after(table, *run)).quality - table.quality for run in run_sets(table.n_models)
    ]
    return float(np.mean(np.square(errors)))


def squared_error_after(estimator: QualityEstimator, table: hr.Outcomes, run: list[int]) -> float:
    return float(np.mean((estimator.predict(table.queries, after(table, *run)).quality - table.quality) ** 2))


# Variables, and the mean over renamings


def test_variables_and_what_is_known() -> None:
    variables = Variables.of(n_models=3, of_query=2, of_model=2, of_pair=1)
    assert variables.kind.tolist() == [0, 1, 2, 3, 2, 3, 2, 3, 4, 4, 4, 5, 5, 5]
    assert (variables.n_query, variables.n_features) == (2, 11)
    assert variables.known_after(np.array([False, False, False])).tolist() == [0, 1]
    assert variables.known_after(np.array([True, False, True])).tolist() == [0, 1, 2, 3, 6, 7, 9]
    assert variables.known_after(np.array([True, True, True])).tolist() == list(range(11))


def renamed(variables: Variables, names: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Where each variable goes when model j is called names[j]."""
    place = {
        (int(kind), frozenset(np.flatnonzero(members).tolist())): row
        for row, (kind, members) in enumerate(zip(variables.kind, variables.members, strict=True))
    }
    return np.array([place[kind, frozenset(names[j] for j in models)] for kind, models in place])


@pytest.mark.parametrize("n_models", [1, 2, 3, 4])
def test_the_mean_over_renamings(n_models: int) -> None:
    variables = Variables.of(n_models=n_models, of_query=2, of_model=2, of_pair=1)
    rng = np.random.default_rng(n_models)
    factor = rng.normal(size=(len(variables.kind), 4))
    covariance = factor @ factor.T
    expected = np.zeros_like(covariance)
    names = list(itertools.permutations(range(n_models)))
    for name in names:
        place = renamed(variables, name)
        expected += covariance[np.ix_(place, place)] / len(names)
    mean = exchangeable_mean(covariance, variables.orbit)
    np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-12)
    assert np.linalg.eigvalsh(mean).min() > -1e-12
    # Counts as weights; an orbit without any is zero.
    np.testing.assert_allclose(exchangeable_mean(covariance, variables.orbit, 7.0 + 0.0 * mean), mean, atol=1e-12)
    assert not exchangeable_mean(covariance, variables.orbit, 0.0 * mean).any()


def test_entries_of_more_queries_count_more() -> None:
    # The signal of the first model goes with its quality; that of the second, seldom run, against it.
    variables = Variables.of(n_models=2, of_query=0, of_model=1, of_pair=0)
    rng = np.random.default_rng(60)
    signal = rng.normal(size=(1000, 2))
    values = np.hstack([signal, signal * [1.0, -1.0]])
    values[np.ix_(np.arange(100, 1000), [1, 3])] = np.nan
    pooled = fit_moments(values, variables).pooled
    np.testing.assert_allclose([pooled[0, 2], pooled[1, 3]], (1000 - 100) / 1100, atol=1e-9)


@pytest.mark.parametrize("of_query", [0, 2])
def test_features_get_known_in_turn(of_query: int) -> None:
    variables = Variables.of(n_models=3, of_query=of_query, of_model=2, of_pair=1)
    known = np.ones(len(variables.kind), dtype=bool)
    known[variables.members[:, 1]] = False
    order, ends = _known_in_turn(known, variables, np.random.default_rng(0))
    assert ends.tolist() == [of_query, of_query + 2, of_query + 5]
    assert sorted(order.tolist()) == variables.known_after(np.array([True, False, True])).tolist()
    for end, n_models in zip(ends, (0, 1, 2), strict=True):
        assert variables.members[order[:end]].any(axis=0).sum() == n_models


def test_what_is_not_a_covariance_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="covariance: not positive definite at pivot 1 of 2"):
        cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]))


# One covariance, all run sets


def textbook(estimator: JointQuality, features: Floats, run: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Condition entry by entry, with explicit inverses: estimates, and the covariance of the update still to come."""
    variables, moments = estimator._variables, estimator.moments_
    scale = np.where(moments.scale > 0.0, moments.scale, 1.0)
    sigma = moments.shrunk(variables, estimator.strengths_) * np.outer(scale, scale)
    n_models = len(sigma) - variables.n_features
    known = [i for i in range(variables.n_features) if set(np.flatnonzero(variables.members[i])) <= set(run)]
    everything = list(range(variables.n_features))
    estimates = np.empty((len(features), n_models))
    explained = {}
    for name, seen in (("now", known), ("final", everything)):
        inverse = np.linalg.inv(sigma[np.ix_(seen, seen)])
        explained[name] = np.empty((n_models, n_models))
        for a in range(n_models):
            for b in range(n_models):
                left, right = sigma[variables.n_features + a, seen], sigma[seen, variables.n_features + b]
                explained[name][a, b] = sum(
                    left[i] * inverse[i, j] * right[j] for i in range(len(seen)) for j in range(len(seen))
                )
    inverse = np.linalg.inv(sigma[np.ix_(known, known)])
    for row in range(len(features)):
        for j in range(n_models):
            target = variables.n_features + j
            weights = sigma[target, known] @ inverse
            estimates[row, j] = moments.mean[target] + weights @ (features[row, known] - moments.mean[known])
    return estimates, explained["final"] - explained["now"]


@pytest.mark.parametrize("at_once", [joint.MOST_RUN_SETS, 0], ids=["all run sets at once", "one by one"])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_estimates_and_updates_are_those_of_the_textbook(
    share: float, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint, "MOST_RUN_SETS", at_once)
    table = hard_queries(1, n=120)
    numbers = {"hint": table.queries["hint"]}
    responses, targets = without(table, share, 2)
    estimator = JointQuality(covariance=True).fit(numbers, responses, targets)
    fresh = hard_queries(3, n=5)
    encoded = np.hstack(
        [
            estimator._query_features.transform({"hint": fresh.queries["hint"]}, 5),
            estimator._response_features.transform(all_run(fresh), np.ones(3, dtype=bool)),
        ]
    )
    for run in run_sets(3):
        quality, update = textbook(estimator, encoded, run)
        belief = estimator.predict({"hint": fresh.queries["hint"]}, after(fresh, *run))
        np.testing.assert_allclose(belief.quality, np.clip(quality, 0.0, 1.0), rtol=0, atol=EXACT)
        assert belief.covariance is not None
        np.testing.assert_allclose(belief.covariance, estimator.update_scale_ * update, rtol=0, atol=EXACT)


def refit(features: Floats, targets: Floats, penalty: float) -> Floats:
    """Minimise |y - a - X b|^2 + penalty |b|^2 by its normal equations; give the estimates of the fitting rows."""
    centred = features - features.mean(axis=0)
    weights = np.linalg.solve(centred.T @ centred + penalty * np.eye(features.shape[1]), centred.T @ targets)
    return np.asarray(targets.mean(axis=0) + centred @ weights)


@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_without_pooling_it_is_a_regression_for_every_run_set(penalty: float) -> None:
    table = hard_queries(4, n=200)
    queries = {"hint": table.queries["hint"]}
    strengths = NONE if penalty == 0.0 else Strengths(0.0, penalty, penalty)
    estimator = JointQuality(covariance=True, strengths=strengths).fit(queries, all_run(table), table.quality)
    confidence, answer = table.responses["confidence"], table.responses["answer"]

    def regression(run: tuple[int, ...]) -> Floats:
        columns = [table.queries["hint"]] + [confidence[:, j] for j in run]
        columns += [(answer[:, i] == answer[:, j]).astype(float) for i, j in itertools.combinations(run, 2)]
        features = np.column_stack(columns)
        return refit(features / features.std(axis=0), table.quality, 200 * penalty)

    final = regression((0, 1, 2))
    for run in run_sets(3):
        now = regression(run)
        belief = estimator.predict(queries, after(table, *run))
        np.testing.assert_allclose(belief.quality, np.clip(now, 0.0, 1.0), rtol=0, atol=EXACT)
        if penalty == 0.0:
            # Least squares: the update's covariance on the fitting rows is the difference of what is explained.
            assert belief.covariance is not None
            moved = np.cov((final - now).T, bias=True)
            np.testing.assert_allclose(belief.covariance, estimator.update_scale_ * moved, rtol=0, atol=EXACT)


def test_an_order_of_runs_gives_the_same_estimates() -> None:
    table = hard_queries(5, n=100, n_models=4)
    estimator = fitted(table)
    variables, moments = estimator._variables, estimator.moments_
    sigma = moments.shrunk(variables, estimator.strengths_)
    targets = np.arange(variables.n_features, len(sigma))
    known = [variables.known_after(np.isin(np.arange(4), run)) for run in ([], [2], [0, 2], [0, 2, 3], [0, 1, 2, 3])]
    order = np.array(list(dict.fromkeys(np.concatenate(known).tolist())))
    taken = np.append(order, targets)
    factor, weights = whitened_weights(sigma[np.ix_(taken, taken)], len(order))
    np.testing.assert_allclose(factor @ factor.T, sigma[np.ix_(order, order)], atol=1e-12)
    for run, seen in zip(([], [2], [0, 2], [0, 2, 3], [0, 1, 2, 3]), known, strict=True):
        to_come = weights[len(seen) :] * moments.scale[targets]
        expected = estimator.update_scale_ * to_come.T @ to_come
        np.testing.assert_allclose(estimator.update_covariance(np.isin(np.arange(4), run)), expected, atol=1e-12)


def test_covariances_of_updates() -> None:
    table = hard_queries(6, n_models=4)
    joint, alone = fitted(table, covariance=True), fitted(table)
    previous = np.inf
    for run in ([], [1], [1, 3], [0, 1, 3], [0, 1, 2, 3]):
        covariance, variance = (
            joint.predict(table.queries, after(table, *run)).covariance,
            alone.predict(table.queries, after(table, *run)).variance,
        )
        assert covariance is not None
        assert variance is not None
        np.testing.assert_array_equal(np.diag(covariance), variance)
        assert np.linalg.eigvalsh(covariance).min() > -1e-12
        # The more has run, the less is still to come.
        assert variance.sum() < previous or run == [0, 1, 2, 3]
        previous = variance.sum()
        hr.CascadeRouting(0.01).select_batch(
            alone.predict(table.queries, after(table)).quality, table.cost, covariance=covariance
        )
    assert not joint.update_covariance([True] * 4).any()
    # All models get harder together, so their updates go together.
    assert (joint.update_covariance([False] * 4) > 0.0).all()


# Missing cells


def log_posterior(
    values: Floats, mean: Floats, sigma: Floats, pooled: Floats, diagonal: Floats, pooling: float
) -> float:
    """Log-likelihood of the known cells, row by row, and the log-density of the inverse Wishart prior."""
    total = 0.0
    for row in values:
        seen = ~np.isnan(row)
        if seen.any():
            total += multivariate_normal(mean[seen], sigma[np.ix_(seen, seen)]).logpdf(row[seen])
            total += 0.5 * seen.sum() * np.log(2.0 * np.pi)
    scale = pooling * pooled + (1.0 + pooling) * diagonal
    prior = pooling * np.linalg.slogdet(sigma)[1] + np.trace(np.linalg.inv(sigma) @ scale)
    return float(total - 0.5 * len(values) * prior)


def partial_gaussian(seed: int, n: int, share: float) -> tuple[Variables, Floats]:
    """Draw correlated variables of two models and a query, and take cells away, by model and at random."""
    rng = np.random.default_rng(seed)
    variables = Variables.of(n_models=2, of_query=1, of_model=1, of_pair=1)
    values = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6)
    gone = rng.random((n, 2)) < share
    values[(gone.astype(float) @ variables.members.T) > 0] = np.nan
    return variables, values


@pytest.mark.parametrize("prior", [PRIOR, Strengths(1.0, 0.1, 0.1), Strengths(0.0, 1e-3, 1e-3)])
def test_em_never_loses_likelihood_and_ends_at_a_maximum(prior: Strengths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "MOST_ITERATIONS", 5000)
    variables, values = partial_gaussian(1, 60, 0.4)
    moments = fit_moments(values, variables, prior, tolerance=1e-10, with_objective=True)
    assert len(moments.objective) > 10
    assert (np.diff(moments.objective) > -1e-9).all()
    standard = (values - moments.mean) / moments.scale
    sigma = moments.shrunk(variables, prior)
    diagonal = np.diag(np.where(variables.members.any(axis=1), prior.ridge, prior.query_ridge))

    def posterior(mean: Floats, covariance: Floats) -> float:
        return log_posterior(standard, mean, covariance, moments.pooled, diagonal, prior.pooling)

    best = posterior(np.zeros(6), sigma)
    # The objective is that given what is always known: here, the query.
    always = np.ix_([0], [0])
    of_query = log_posterior(
        standard[:, :1], np.zeros(1), sigma[always], moments.pooled[always], diagonal[always], prior.pooling
    )
    assert best - of_query == pytest.approx(moments.objective[-1], abs=1e-6)
    rng = np.random.default_rng(2)
    for _ in range(30):
        step = rng.normal(size=(6, 6))
        moved = sigma + 1e-3 * (step + step.T)
        assert posterior(np.zeros(6), moved) < best
        assert posterior(1e-2 * rng.normal(size=6), sigma) < best


@pytest.mark.parametrize("lowest", [-0.3, -1e-6, -1e-12, 0.0, 0.2])
def test_moments_that_do_not_fit_together_lose_their_negative_eigenvalues(lowest: float) -> None:
    rng = np.random.default_rng(3)
    vectors = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    values = np.array([lowest, 0.0, 0.0, *rng.uniform(0.1, 3.0, 9)])
    matrix = (vectors * values) @ vectors.T
    nearest = (vectors * np.maximum(values, 0.0)) @ vectors.T
    np.testing.assert_allclose(gaussian._nearest_semidefinite(matrix), nearest, atol=gaussian.NEGLIGIBLE)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 70])
def test_rows_that_know_the_same_are_grouped_in_the_order_of_their_cells(width: int) -> None:
    rng = np.random.default_rng(width)
    known = rng.random((300, width)) < np.where(np.arange(width) < 5, 0.5, 0.98)
    # By columns in memory, as a choice of columns is.
    patterns, number = patterns_of(np.asfortranarray(known))
    wanted, number_wanted = np.unique(known, axis=0, return_inverse=True)
    np.testing.assert_array_equal(patterns, wanted)
    np.testing.assert_array_equal(number, number_wanted.ravel())


@pytest.mark.parametrize("seed", range(4))
def test_few_rows_stand_for_many_that_know_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    variables, values = partial_gaussian(seed, 400, 0.3)
    # A constant, and a column that is the sum of others: their products have no inverse.
    values[:, 0] = 3.0
    values[:, 1] = np.where(np.isnan(values[:, 1]), np.nan, 2.0 * values[:, 4])
    patterns, pattern_of_row = patterns_of(~np.isnan(values))
    standard = np.where(np.isnan(values), 0.0, values)
    groups, rows, weights = gaussian._compressed(standard, patterns, pattern_of_row)
    assert len(rows) < 30
    for number, group in enumerate(groups):
        of_pattern, few = standard[pattern_of_row == number], rows[group.rows]
        assert group.n_rows == len(of_pattern)
        np.testing.assert_allclose(few.T @ few, of_pattern.T @ of_pattern, rtol=1e-12, atol=1e-10)
        np.testing.assert_allclose(weights[group.rows] @ few, of_pattern.sum(axis=0), rtol=1e-12, atol=1e-10)
    compressed = fit_moments(values, variables, with_objective=True)
    monkeypatch.setattr(gaussian, "MOST_ROWS", np.inf)
    whole = fit_moments(values, variables, with_objective=True)
    assert len(compressed.objective) == len(whole.objective) > 2
    np.testing.assert_allclose(compressed.objective, whole.objective, rtol=1e-10)
    np.testing.assert_allclose(compressed.mean, whole.mean, rtol=1e-10)
    np.testing.assert_allclose(compressed.covariance, whole.covariance, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("run", [(True, True, True), (True, False, True), (False, False, False)])
def test_many_features_have_the_regression_of_the_core(run: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "MANY_FEATURES", 0)
    rng = np.random.default_rng(7)
    variables = Variables.of(n_models=3, of_query=4, of_model=3, of_pair=2)
    root = rng.normal(size=(60, len(variables.kind)))
    covariance, members = root.T @ root / 60.0, variables.members[: variables.n_features]
    runs = np.array([run])
    found = joint._regressions(covariance, members, runs)
    for number, wanted in zip(found, regressions(covariance, members, runs), strict=True):
        np.testing.assert_allclose(number, wanted, rtol=1e-9, atol=1e-12)
        assert number.shape == wanted.shape
    # A feature that is the sum of two others.
    covariance[2] = covariance[0] + covariance[1]
    covariance[:, 2] = covariance[:, 0] + covariance[:, 1]
    with pytest.raises(ValueError, match="variable 2"):
        joint._regressions(covariance, members, runs)


def test_em_is_the_closed_form_without_missing_cells() -> None:
    variables, values = partial_gaussian(3, 50, 0.0)
    closed = fit_moments(values, variables)
    assert closed.objective == ()
    np.testing.assert_allclose(closed.mean, values.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(closed.scale, values.std(axis=0), atol=1e-12)
    np.testing.assert_allclose(closed.covariance, np.corrcoef(values.T), atol=1e-12)
    standard = closed.standardise(values)
    groups, rows, weights = gaussian._compressed(standard, *patterns_of(~np.isnan(values)))
    by_em = gaussian._expectation_maximisation(
        rows, weights, groups, closed, variables, PRIOR, 1e-3, with_objective=False
    )
    np.testing.assert_allclose(by_em.covariance, closed.covariance, atol=1e-12)
    np.testing.assert_allclose(by_em.mean, closed.mean, atol=1e-12)


def test_logs_of_a_router_mislead_less_than_their_means(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second model ran, and was labelled, only where the first one's confidence was low; it is right half the time.
    rng = np.random.default_rng(4)
    confidence = rng.normal(size=(2000, 2))
    quality = 0.5 + 0.1 * confidence[:, [0, 0]] + 0.05 * rng.normal(size=(2000, 2))
    run = np.column_stack([np.ones(2000, dtype=bool), confidence[:, 0] < -0.5])
    targets = np.where(run, quality, np.nan)
    assert np.nanmean(targets[:, 1]) < 0.4
    responses = hr.Responses(run, {"confidence": confidence})
    before = JointQuality().fit({}, responses, targets).predict({}, responses.with_run([False, False])).quality
    assert before[0, 0] == pytest.approx(0.5, abs=0.01)
    # The prior leaves some of the bias of 0.11 ...
    assert 0.43 < before[0, 1] < 0.51
    # ... and maximum likelihood nothing.
    monkeypatch.setattr(gaussian, "MOST_ITERATIONS", 2000)
    variables = Variables.of(n_models=2, of_query=0, of_model=1, of_pair=0)
    values = np.hstack([np.where(run, confidence, np.nan), targets])
    moments = fit_moments(values, variables, Strengths(0.0, 1e-5, 1e-5), tolerance=1e-7)
    assert moments.mean[3] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("share", "at_most"), [(0.5, 1.06), (0.8, 1.6)])
def test_missing_cells_cost_little(share: float, at_most: float) -> None:
    fit, fresh = hard_queries(5, n=400, n_models=4), hard_queries(6, n=1000, n_models=4)
    constant = float(np.mean((fit.quality.mean(axis=0) - fresh.quality) ** 2))
    whole = squared_error(fitted(fit), fresh)
    partial = squared_error(JointQuality().fit(fit.queries, *without(fit, share, 7)), fresh)
    assert whole < partial < at_most * whole < constant


def test_responses_of_models_that_have_not_run_are_not_seen() -> None:
    table = hard_queries(8, n=80)
    responses, targets = without(table, 0.3, 9)
    secret = {name: values.copy() for name, values in table.responses.items()}
    secret["confidence"][~responses.run] = 1e6
    secret["answer"][~responses.run] = "secret"
    honest = JointQuality().fit(table.queries, responses, targets)
    tempted = JointQuality().fit(table.queries, hr.Responses(responses.run, secret), targets)
    for run in run_sets(3):
        np.testing.assert_array_equal(
            honest.predict(table.queries, after(table, *run)).quality,
            tempted.predict(table.queries, after(table, *run)).quality,
        )


def test_labels_that_lack_where_models_have_run() -> None:
    table, fresh = hard_queries(10, n=400), hard_queries(11, n=1000)
    few = table.take(np.arange(40))
    targets = np.where(np.arange(400)[:, None] < 40, table.quality, np.nan)
    # The responses of the other queries tell what the signals look like; they don't harm.
    semi = JointQuality().fit(table.queries, all_run(table), targets)
    assert squared_error(semi, fresh) < 1.08 * squared_error(fitted(few), fresh)


def test_models_that_never_ran_together() -> None:
    # Their agreement has never been seen; that of the other pairs stands for it.
    table, fresh = hard_queries(12, n=600, n_models=4), hard_queries(13, n=2000, n_models=4)
    run = np.ones((600, 4), dtype=bool)
    run[::2, 0] = run[1::2, 1] = False
    estimator = JointQuality().fit(table.queries, table.responses_for(run), np.where(run, table.quality, np.nan))
    error = estimator.predict(fresh.queries, after(fresh, 0, 1)).quality - fresh.quality
    expected = fitted(table).predict(fresh.queries, after(fresh, 0, 1)).quality - fresh.quality
    assert np.mean(error**2) < 1.06 * np.mean(expected**2)
    agree = fresh.responses["answer"][:, 0] == fresh.responses["answer"][:, 1]
    quality = error + fresh.quality
    assert quality[agree, 1].mean() > quality[~agree, 1].mean() + 0.2


# Few labels, and how sure it is


def test_few_labels_go_further_than_in_separate_regressions() -> None:
    fresh = hard_queries(14, n=1000, n_models=6)
    gains = []
    for seed in range(15, 20):
        fit = hard_queries(seed, n=60, n_models=6)
        separate = LinearQuality().fit(fit.queries, all_run(fit), fit.quality)
        gains.append(squared_error(separate, fresh) - squared_error(fitted(fit), fresh))
    assert np.mean(gains) > 0.003
    assert min(gains) > 0.0


def test_many_labels_of_models_unlike_each_other_are_not_pooled_away() -> None:
    # The first model's confidence says the opposite of what the others' say.
    def unlike(seed: int) -> hr.Outcomes:
        table = hard_queries(seed, n=1500)
        confidence = table.responses["confidence"] * [-1.0, 1.0, 1.0]
        return hr.Outcomes(
            models=table.models, quality=table.quality, cost=[1, 2, 3], responses={"confidence": confidence}
        )

    fit, fresh = unlike(21), unlike(22)
    separate = LinearQuality().fit(fit.queries, all_run(fit), fit.quality)
    estimator = fitted(fit)
    assert estimator.strengths_.pooling <= 0.1
    assert squared_error(estimator, fresh) < 1.005 * squared_error(separate, fresh)
    pooled = fitted(fit, strengths=Strengths(10.0, 0.01, 0.01))
    assert squared_error(pooled, fresh) > 1.02 * squared_error(separate, fresh)


@pytest.mark.parametrize("n", [60, 1000])
def test_updates_are_not_overstated(n: int) -> None:
    fresh = hard_queries(23, n=2000, n_models=4)
    ratios = []
    for seed in range(24, 30):
        estimator = fitted(hard_queries(seed, n=n, n_models=4))
        assert 0.0 < estimator.update_scale_ <= 1.0
        final = estimator.predict(fresh.queries, all_run(fresh)).quality
        for run in ([], [0], [1, 2]):
            belief = estimator.predict(fresh.queries, after(fresh, *run))
            assert belief.variance is not None
            ratios.append(np.mean((final - belief.quality) ** 2) / np.mean(belief.variance))
    assert 0.9 < np.mean(ratios) < 1.15
    assert np.min(ratios) > 0.75


def test_updates_are_scaled_by_what_happens_on_held_out_rows() -> None:
    # With few queries, estimates move less on others than the fit expects.
    fresh = hard_queries(47, n=2000, n_models=6)
    ratios, scales = [], []
    for seed in range(48, 60):
        estimator = fitted(hard_queries(seed, n=100, n_models=6))
        final = estimator.predict(fresh.queries, all_run(fresh)).quality
        belief = estimator.predict(fresh.queries, after(fresh))
        assert belief.variance is not None
        scales.append(estimator.update_scale_)
        ratios.append(np.mean((final - belief.quality) ** 2) / np.mean(belief.variance))
    assert np.mean(scales) < 0.96
    assert abs(np.mean(ratios) - 1.0) < abs(np.mean(np.multiply(ratios, scales)) - 1.0)


def test_features_of_noise_are_shrunk_away() -> None:
    rng = np.random.default_rng(0)
    quality = (rng.random((400, 2)) < [0.5, 0.7]).astype(float)
    table = hr.Outcomes(
        models=["a", "b"], quality=quality, cost=[1.0, 3.0], queries={"embedding": rng.normal(size=(400, 60))}
    )
    fitting, fresh = table.take(np.arange(200)), table.take(np.arange(200, 400))
    estimator = fitted(fitting)
    error = estimator.predict(fresh.queries, after(fresh)).quality - fresh.quality
    assert np.mean(error**2) < 1.03 * np.mean((fitting.mean_quality - fresh.quality) ** 2)
    assert fitted(fitting, strengths=NONE).predict(fresh.queries, after(fresh)).quality.std() > 0.2


def test_strengths_have_the_smallest_held_out_error() -> None:
    table = hard_queries(31, n=80)
    estimator = fitted(table)
    features = np.hstack(
        [
            estimator._query_features.transform(table.queries, 80),
            estimator._response_features.transform(all_run(table), np.ones(3, dtype=bool)),
            table.quality,
        ]
    )
    chosen, scale = cross_validate(features, estimator._variables)
    assert (chosen, scale) == (estimator.strengths_, estimator.update_scale_)
    fixed = fitted(table, strengths=chosen)
    assert fixed.strengths_ == chosen
    np.testing.assert_array_equal(
        fixed.predict(table.queries, after(table, 1)).quality, estimator.predict(table.queries, after(table, 1)).quality
    )


def test_of_many_models_some_are_drawn() -> None:
    few = Variables.of(n_models=MOST_RUNS, of_query=2, of_model=1, of_pair=1)
    [everything] = _drawn(few, np.random.default_rng(0))
    np.testing.assert_array_equal(everything, np.arange(len(few.kind)))
    many = Variables.of(n_models=20, of_query=2, of_model=1, of_pair=1)
    drawn = _drawn(many, np.random.default_rng(0))
    may_run = set()
    for index in drawn:
        taken = many.take(index)
        models = np.flatnonzero(taken.members[: taken.n_features].any(axis=0))
        assert (taken.n_query, len(models)) == (2, MOST_RUNS)
        # One response each, one agreement for each pair, and the targets of all models.
        assert taken.n_features == 2 + MOST_RUNS + MOST_RUNS * (MOST_RUNS - 1) // 2
        np.testing.assert_array_equal(index[taken.n_features :], many.n_features + np.arange(20))
        may_run |= set(models.tolist())
    assert len(may_run) > MOST_RUNS


def test_strengths_of_many_models_are_found_without_all_their_agreements() -> None:
    table = hard_queries(33, n=150, n_models=16)
    estimator, fresh = fitted(table), hard_queries(34, n=600, n_models=16)
    run = [0, 4, 9]
    error = squared_error_after(estimator, fresh, run)
    assert error < squared_error_after(fitted(table, strengths=NONE), fresh, run)
    assert error < 1.05 * min(
        squared_error_after(fitted(table, strengths=Strengths(pooling, 0.1, 0.1)), fresh, run)
        for pooling in (0.0, 0.3, 3.0)
    )


# One factor


def test_one_factor_is_found() -> None:
    rng = np.random.default_rng(32)
    for k in (3, 5, 11):
        loading, own = rng.uniform(0.2, 1.0, k), rng.uniform(0.3, 1.0, k)
        found, variance = one_factor(np.outer(loading, loading) + np.diag(own))
        np.testing.assert_allclose(found, loading, atol=0.01)
        np.testing.assert_allclose(variance, own, atol=0.02)


def test_one_factor_keeps_the_variances() -> None:
    estimator = fitted(hard_queries(33, n_models=4))
    for run in run_sets(4):
        covariance = estimator.update_covariance(np.isin(np.arange(4), run))
        loading, variance = one_factor(covariance)
        np.testing.assert_allclose(loading**2 + variance, np.diag(covariance), atol=1e-12)
        assert (variance >= 0.0).all()
        error = np.outer(loading, loading) + np.diag(variance) - covariance
        assert np.abs(error).sum() <= np.abs(covariance - np.diag(np.diag(covariance))).sum() + 1e-12


# One query at a time, copies, and a router


def test_a_batch_is_a_loop() -> None:
    table = hard_queries(34)
    estimator = fitted(table)
    assert isinstance(estimator, QualityEstimator)
    batch = estimator.predict(table.queries, after(table, 0, 2))
    for row in range(0, 300, 30):
        query = {name: values[[row]] for name, values in table.queries.items()}
        single = estimator.predict(query, after(table, 0, 2).take([row]))
        np.testing.assert_allclose(single.quality[0], batch.quality[row], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(single.variance, batch.variance)
    nothing = {name: values[:0] for name, values in table.queries.items()}
    assert estimator.predict(nothing, after(table).take(np.zeros(0, dtype=int))).quality.shape == (0, 3)


def test_copies_and_another_fit_estimate_the_same() -> None:
    table = hard_queries(35, n=100)
    responses, targets = without(table, 0.2, 36)
    estimator = JointQuality().fit(table.queries, responses, targets)
    estimator.predict(table.queries, after(table, 0))
    again = JointQuality().fit(table.queries, responses, targets)
    for copied in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator)), again):
        for run in run_sets(3):
            belief, expected = (e.predict(table.queries, after(table, *run)) for e in (copied, estimator))
            np.testing.assert_array_equal(belief.quality, expected.quality)
            np.testing.assert_array_equal(belief.variance, expected.variance)


def test_a_router_uses_it() -> None:
    table, fresh = hard_queries(37, n=1000).split(0.8)
    router = hr.Router(quality=JointQuality()).fit(table, budget=5.0)
    assert router.point_.cost == pytest.approx(5.0)
    constant = hr.Router(quality=hr.estimators.ConstantQuality()).fit(table, budget=5.0)
    assert router.point_.quality > constant.point_.quality + 0.02
    session = router.start({name: column[0] for name, column in fresh.queries.items()}, id="q")
    while (model := session.next()) is not None:
        j = fresh.models.index(model)
        session.observe(model, {name: column[0, j] for name, column in fresh.responses.items()})
    assert session.answer is not None


# Tables that are hard to learn from


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_constant_features_say_nothing(share: float) -> None:
    rng = np.random.default_rng(38)
    quality = (rng.random((60, 2)) < [0.3, 0.8]).astype(float)
    table = hr.Outcomes(
        models=["a", "b"],
        quality=quality,
        cost=[1, 2],
        queries={"same": np.full(60, 7.0), "task": ["prose"] * 60, "empty": np.full(60, np.nan)},
        responses={"same": np.full((60, 2), -3.0), "empty": np.full((60, 2), np.nan)},
    )
    estimator = JointQuality().fit(table.queries, *without(table, share, 39))
    other = {"same": np.full(60, 8.0), "task": np.array(["prose"] * 60, dtype=object), "empty": np.full(60, 5.0)}
    for run in run_sets(2):
        belief = estimator.predict(other, after(table, *run))
        np.testing.assert_array_equal(belief.quality, np.tile(belief.quality[0], (60, 1)))
        np.testing.assert_allclose(belief.quality[0], quality.mean(axis=0), atol=EXACT if share == 0.0 else 0.1)
        np.testing.assert_allclose(belief.variance, 0.0, atol=EXACT)


def test_a_signal_that_was_constant_for_one_model_says_nothing_of_it() -> None:
    table = hard_queries(54)
    confidence = table.responses["confidence"].copy()
    confidence[:, 1] = 0.0
    responses = hr.Responses(np.ones((300, 3), dtype=bool), {"confidence": confidence})
    estimator = JointQuality().fit({}, responses, table.quality)
    assert estimator.strengths_.pooling > 0.0
    for run in ([0, 1], [0, 1, 2]):
        mask = np.isin(np.arange(3), run)
        changed = hr.Responses(np.tile(mask, (300, 1)), {"confidence": confidence + np.array([0.0, 5.0, 0.0])})
        expected = estimator.predict({}, responses.with_run(mask)).quality
        np.testing.assert_allclose(estimator.predict({}, changed).quality, expected, rtol=0, atol=1e-12)
    moments = estimator.moments_
    assert not moments.standardise(moments.mean + 5.0)[moments.scale == 0.0].any()
    assert moments.standardise(moments.mean + moments.scale)[moments.scale > 0.0] == pytest.approx(1.0)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_model_that_is_always_right_or_always_wrong(share: float) -> None:
    table = hard_queries(40)
    quality = table.quality.copy()
    quality[:, 0], quality[:, 2] = 0.0, 1.0
    changed = hr.Outcomes(
        models=table.models, quality=quality, cost=[1, 3, 10], queries=table.queries, responses=table.responses
    )
    estimator = JointQuality().fit(changed.queries, *without(changed, share, 41))
    fresh = hard_queries(42)
    for run in run_sets(3):
        belief = estimator.predict(fresh.queries, after(fresh, *run))
        np.testing.assert_allclose(belief.quality[:, [0, 2]], np.tile([0.0, 1.0], (len(fresh), 1)), atol=EXACT)
        assert belief.variance is not None
        np.testing.assert_allclose(belief.variance[[0, 2]], 0.0, atol=EXACT)
        assert belief.quality[:, 1].std() > 0.05


def test_an_unseen_category_is_none_of_the_known() -> None:
    table = hard_queries(43)
    estimator = fitted(table)
    kinds = np.array(["unseen", "another", "code", None], dtype=object)
    quality = estimator.predict({"hint": np.zeros(4), "kind": kinds}, after(table).take(range(4))).quality
    np.testing.assert_array_equal(quality[0], quality[1])
    assert np.isfinite(quality).all()


def test_a_missing_number_counts_as_average() -> None:
    table = hard_queries(44)
    hint, confidence = table.queries["hint"].copy(), table.responses["confidence"].copy()
    hint[::5], confidence[::7, 1] = np.nan, np.nan
    responses = hr.Responses(np.ones((300, 3), dtype=bool), {"confidence": confidence})
    estimator = JointQuality().fit({"hint": hint}, responses, table.quality)
    seen = hr.Responses([[False, True, False]] * 2, {"confidence": np.array([[0.0, np.nan, 0.0], [0.0, 1e9, 0.0]])})
    average = np.array([np.nan, np.nanmean(hint)])
    missing, _ = estimator.predict({"hint": average}, seen).quality
    mean = hr.Responses([[False, True, False]], {"confidence": np.array([[0.0, np.nanmean(confidence[:, 1]), 0.0]])})
    np.testing.assert_allclose(missing, estimator.predict({"hint": average[1:]}, mean).quality[0], atol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_fewer_queries_than_features(n: int, share: float) -> None:
    rng = np.random.default_rng(n)
    table = hr.Outcomes(
        models=["a", "b", "c"],
        quality=rng.integers(0, 2, (n, 3)).astype(float),
        cost=[1, 2, 3],
        queries={"embedding": rng.normal(size=(n, 30))},
        responses={"embedding": rng.normal(size=(n, 3, 30)), "answer": rng.choice(["A", "B"], (n, 3))},
    )
    run = rng.random((n, 3)) >= share
    run[0] = True
    targets = np.where(run, table.quality, np.nan)
    estimator = JointQuality().fit(table.queries, table.responses_for(run), targets)
    for run_set in run_sets(3):
        belief = estimator.predict(table.queries, after(table, *run_set))
        assert np.isfinite(belief.quality).all()
        assert belief.variance is not None
        assert (belief.variance >= 0.0).all()
        assert ((belief.quality >= 0.0) & (belief.quality <= 1.0)).all()


@pytest.mark.parametrize("n_models", [1, 2])
def test_nothing_to_look_at(n_models: int) -> None:
    quality = (np.random.default_rng(45).random((30, n_models)) < 0.6).astype(float)
    table = hr.Outcomes(models=["a", "b"][:n_models], quality=quality, cost=[1, 2][:n_models])
    belief = fitted(table).predict({}, after(table))
    np.testing.assert_allclose(belief.quality, np.tile(quality.mean(axis=0), (30, 1)), atol=EXACT)
    np.testing.assert_array_equal(belief.variance, np.zeros(n_models))
    holes = quality.copy()
    holes[::3, 0] = np.nan
    belief = JointQuality().fit({}, all_run(table), holes).predict({}, after(table))
    np.testing.assert_allclose(belief.quality[0], np.nanmean(holes, axis=0), atol=0.05)


# What is refused


def test_what_is_refused() -> None:
    table = hard_queries(46, n=20)
    nan = np.where(np.arange(3) == 1, np.nan, table.quality)
    cases: list[tuple[Any, str]] = [
        (nan, r"targets: expected at least 1 labelled queries of every model; models \[1\] have fewer"),
        (table.quality[:, :2], r"targets: expected the shape of responses.run, \(20, 3\), got \(20, 2\)"),
        (np.full((20, 3), np.inf), "targets: expected finite numbers, got infinity"),
    ]
    for targets, message in cases:
        with pytest.raises(ValueError, match=message):
            JointQuality().fit(table.queries, all_run(table), targets)
    with pytest.raises(ValueError, match="targets: expected at least 2 labelled queries to learn from, got 1"):
        fitted(table.take([0]))
    many = hr.datasets.simulate(70, 65)
    with pytest.raises(ValueError, match="targets: JointQuality takes at most 64 models, got 65; try LinearQuality"):
        fitted(many)
    for strengths in (Strengths(-1.0, 0.1, 0.1), Strengths(0.0, 0.0, 0.1), Strengths(0.0, 0.1, float("nan"))):
        with pytest.raises(ValueError, match="strengths: expected a pooling >= 0, ridges and a factor > 0, got"):
            fitted(table, strengths=strengths)
    estimator = fitted(table)
    mixed = table.responses_for(np.arange(60).reshape(20, 3) == 4)
    with pytest.raises(ValueError, match="responses: expected the same models to have run in all queries of a call"):
        estimator.predict(table.queries, mixed)
    with pytest.raises(ValueError, match=r"responses: column '.*', which was there in the fit, is missing"):
        estimator.predict(table.queries, hr.Responses(after(table, 0).run, {}))
    with pytest.raises(ValueError, match=r"run: expected shape \(3,\), got \(2,\)"):
        estimator.update_covariance([True, False])
