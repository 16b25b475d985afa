"""The built-in estimators: against explicit refits and closed forms, and on tables whose signal is known."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.estimators import (
    ConstantCost,
    ConstantQuality,
    CostEstimator,
    LinearCost,
    LinearQuality,
    QualityEstimator,
)
from headrace.estimators.ridge import PENALTIES, fit_ridge

Floats = npt.NDArray[np.float64]

# Linear algebra of well-conditioned systems of a few dozen rows.
EXACT = 1e-8

NOTHING = [False, False]


def none_run(table: hr.Outcomes) -> hr.Responses:
    return table.responses_for(np.zeros(table.n_models, dtype=bool))


def all_run(table: hr.Outcomes) -> hr.Responses:
    return table.responses_for(np.ones(table.n_models, dtype=bool))


def after(table: hr.Outcomes, *models: int) -> hr.Responses:
    return table.responses_for(np.isin(np.arange(table.n_models), models))


def fitted(table: hr.Outcomes, **options: Any) -> LinearQuality:
    return LinearQuality(**options).fit(table.queries, all_run(table), table.quality)


def fitted_cost(table: hr.Outcomes) -> LinearCost:
    return LinearCost().fit(table.queries, all_run(table), table.cost)


def hard_queries(seed: int, n: int = 300) -> hr.Outcomes:
    """Draw queries of a hidden difficulty: before any run there is a noisy hint of it, afterwards a confidence."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=n)
    skill = np.array([-0.5, 0.3, 1.2])
    quality = (skill - difficulty[:, None] + 0.7 * rng.normal(size=(n, 3)) > 0).astype(float)
    return hr.Outcomes(
        models=["small", "medium", "large"],
        quality=quality,
        cost=[1.0, 3.0, 10.0],
        queries={"hint": difficulty + rng.normal(size=n), "kind": rng.choice(["prose", "code", "maths"], n)},
        responses={"confidence": skill - difficulty[:, None] + 0.8 * rng.normal(size=(n, 3))},
    )


# Ridge regressions


def standardise(features: Floats) -> Floats:
    return (features - features.mean(axis=0)) / features.std(axis=0)


def refit(features: Floats, target: Floats, penalty: float) -> Floats:
    """Minimise |y - a - X b|^2 + penalty |b|^2; give b and then a."""
    n, n_features = features.shape
    rows = np.vstack([np.column_stack([features, np.ones(n)]), np.sqrt(penalty) * np.eye(n_features, n_features + 1)])
    solution, *_ = np.linalg.lstsq(rows, np.append(target, np.zeros(n_features)), rcond=None)
    return np.asarray(solution)


def left_out_estimates(features: Floats, target: Floats, penalty: float) -> Floats:
    estimates = np.empty(len(target))
    for row in range(len(target)):
        others = np.arange(len(target)) != row
        solution = refit(features[others], target[others], penalty)
        estimates[row] = features[row] @ solution[:-1] + solution[-1]
    return estimates


def targets_of_all_sizes_of_noise(rng: np.random.Generator, features: Floats) -> Floats:
    """Draw targets that ask for small and for large penalties."""
    signal = features @ rng.normal(size=features.shape[1])
    noise = rng.normal(size=(len(features), 5))
    return signal[:, None] * [1.0, 1.0, 1.0, 0.2, 0.0] + noise * [0.0, 0.01, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("seed", range(6))
def test_ridge_equals_explicit_refits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, n_features = int(rng.integers(12, 40)), int(rng.integers(1, 7))
    features = rng.normal(size=(n, n_features)) * rng.uniform(0.01, 100.0, n_features) + rng.normal(size=n_features)
    targets = targets_of_all_sizes_of_noise(rng, standardise(features))
    ridge = fit_ridge(features, targets)
    fresh = features[:3] + 0.5
    chosen = []
    for j, target in enumerate(targets.T):
        left_out = [left_out_estimates(standardise(features), target, n * penalty) for penalty in PENALTIES]
        best = int(np.argmin([np.mean((target - estimates) ** 2) for estimates in left_out]))
        chosen.append(best)
        np.testing.assert_allclose(ridge.left_out[:, j], left_out[best], rtol=0, atol=EXACT)
        solution = refit(standardise(features), target, n * PENALTIES[best])
        weights = solution[:-1] / features.std(axis=0)
        np.testing.assert_allclose(ridge.weights[:, j] * features.std(axis=0), solution[:-1], rtol=0, atol=EXACT)
        expected = (fresh - features.mean(axis=0)) @ weights + solution[-1]
        np.testing.assert_allclose(ridge.predict(fresh)[:, j], expected, rtol=0, atol=EXACT)
    assert len(set(chosen)) > 1


def test_ridge_in_closed_form() -> None:
    # One feature of variance 1 and n = 4: b = X'y / (n + n p), here 4 / (4 + 4 p) = 1 / (1 + p).
    features = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    targets = np.array([[2.0], [2.0], [4.0], [4.0]])
    ridge = fit_ridge(features, targets)
    # Without noise the smallest penalty has the smallest leave-one-out error.
    slope = 1.0 / (1.0 + PENALTIES[0])
    assert ridge.weights[0, 0] == pytest.approx(slope, abs=1e-14)
    np.testing.assert_allclose(ridge.predict(np.array([[0.0], [3.0]])), [[3.0], [3.0 + 3.0 * slope]], atol=1e-13)


def test_ridge_without_a_feature_gives_left_out_means() -> None:
    targets = np.array([[1.0, 0.0], [2.0, 0.0], [6.0, 0.0]])
    for features in (np.empty((3, 0)), np.full((3, 2), 7.0), np.full((3, 1), np.nan)):
        ridge = fit_ridge(features, targets)
        np.testing.assert_allclose(ridge.left_out, [[4.0, 0.0], [3.5, 0.0], [1.5, 0.0]], atol=1e-14)
        np.testing.assert_allclose(ridge.predict(features + 1.0), [[3.0, 0.0]] * 3, atol=1e-14)


def test_ridge_counts_a_missing_value_as_zero() -> None:
    rng = np.random.default_rng(3)
    features, targets = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    holes = np.where(rng.random((20, 3)) < 0.2, np.nan, features)
    with_holes, filled = fit_ridge(holes, targets), fit_ridge(np.nan_to_num(holes, nan=0.0), targets)
    np.testing.assert_array_equal(with_holes.weights, filled.weights)
    np.testing.assert_array_equal(with_holes.predict(holes), filled.predict(np.nan_to_num(holes, nan=0.0)))


def test_ridge_copes_with_copies_of_a_feature() -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(30, 2))
    targets = features @ np.array([[1.0], [-2.0]]) + 0.1 * rng.normal(size=(30, 1))
    copied = fit_ridge(np.hstack([features, features[:, :1]]), targets)
    np.testing.assert_allclose(copied.weights[0], copied.weights[2], atol=EXACT)
    assert np.mean((copied.left_out - targets) ** 2) < 0.02


def test_ridge_with_more_features_than_rows_equals_explicit_refits() -> None:
    rng = np.random.default_rng(4)
    n = 10
    features, target = rng.normal(size=(n, 40)), rng.normal(size=n)
    left_out = [left_out_estimates(standardise(features), target, n * penalty) for penalty in PENALTIES]
    best = min(left_out, key=lambda estimates: float(np.mean((target - estimates) ** 2)))
    ridge = fit_ridge(features, target[:, None])
    # It meets every row, but must not look perfect: there is nothing to learn.
    assert np.mean((ridge.left_out[:, 0] - target) ** 2) > 0.3 * target.var()
    np.testing.assert_allclose(ridge.left_out[:, 0], best, rtol=0, atol=1e-6)


# Protocols


def test_the_estimators_have_the_protocols_methods() -> None:
    for estimator in (LinearQuality(), LinearQuality(covariance=True), ConstantQuality()):
        assert isinstance(estimator, QualityEstimator)
    for other in (LinearCost(), ConstantCost()):
        assert isinstance(other, CostEstimator)
    assert not isinstance(object(), QualityEstimator)
    assert not isinstance(object(), CostEstimator)


def test_fit_returns_the_estimator_and_forgets_what_it_knew() -> None:
    first, second = hard_queries(0), hard_queries(1)
    for estimator, fields in [(LinearQuality(), "quality"), (LinearCost(), "cost"), (ConstantQuality(), "quality")]:
        assert estimator.fit(first.queries, all_run(first), getattr(first, fields)) is estimator  # type: ignore[attr-defined]
        estimator.predict(first.queries, after(first, 0))
        estimator.fit(second.queries, all_run(second), getattr(second, fields))
        fresh = type(estimator)().fit(second.queries, all_run(second), getattr(second, fields))
        for run in ([], [0], [0, 1, 2]):
            again = estimator.predict(second.queries, after(second, *run))
            expected = fresh.predict(second.queries, after(second, *run))
            for got, wanted in zip(again, expected, strict=True):
                np.testing.assert_array_equal(got, wanted)


# Constant estimators


def test_constant_estimators_give_means() -> None:
    table = hard_queries(2)
    quality = ConstantQuality().fit(table.queries, all_run(table), table.quality)
    cost = ConstantCost().fit(table.queries, all_run(table), table.cost)
    for responses in (none_run(table), after(table, 1), all_run(table).take([4, 2])):
        belief = quality.predict(table.queries, responses)
        assert (belief.variance, belief.covariance) == (None, None)
        np.testing.assert_allclose(belief.quality, np.tile(table.mean_quality, (len(responses), 1)), rtol=1e-14)
        np.testing.assert_array_equal(cost.predict(table.queries, responses), table.cost[: len(responses)])


# What linear estimators learn


def test_an_obvious_signal_before_any_run_is_learned() -> None:
    rng = np.random.default_rng(5)
    n = 400
    hard, task = rng.random(n) < 0.5, rng.choice(["prose", "code"], n)
    quality = np.column_stack([~hard, task == "code", np.ones(n, bool)]).astype(float)
    table = hr.Outcomes(
        models=["a", "b", "c"], quality=quality, cost=[1, 2, 3], queries={"hard": hard.astype(float), "task": task}
    )
    fit, fresh = table.take(np.arange(200)), table.take(np.arange(200, 400))
    belief = fitted(fit).predict(fresh.queries, none_run(fresh))
    np.testing.assert_allclose(belief.quality, fresh.quality, atol=0.01)


def test_a_run_tells_of_its_own_model_and_of_the_others() -> None:
    fit, fresh = hard_queries(6, 600), hard_queries(7, 600)
    estimator = fitted(fit)
    errors = [
        np.mean((estimator.predict(fresh.queries, after(fresh, *run)).quality - fresh.quality) ** 2, axis=0)
        for run in ([], [0], [0, 1, 2])
    ]
    before, one, everything = errors
    assert (one < before - 0.005).all()
    assert (everything <= one + 0.005).all()
    assert everything.mean() < one.mean()


@pytest.mark.parametrize("joint", [False, True])
def test_more_runs_leave_less_to_come(joint: bool) -> None:
    table = hard_queries(8, 800)
    estimator = fitted(table, covariance=joint)

    def left(*run: int) -> Floats:
        belief = estimator.predict(table.queries, after(table, *run))
        return np.diag(belief.covariance) if joint else np.asarray(belief.variance)

    chain = [left(), left(1), left(1, 0), left(1, 0, 2)]
    for more, less in zip(chain[1:], chain[:-1], strict=True):
        assert (more <= less + 0.003).all()
    assert (chain[0] > 0.005).all()
    np.testing.assert_array_equal(chain[-1], 0.0)


def test_the_update_variance_is_that_of_fresh_updates() -> None:
    fit, fresh = hard_queries(9, 1500), hard_queries(10, 1500)
    estimator = fitted(fit)
    last = estimator.predict(fresh.queries, all_run(fresh)).quality
    for run in ([], [0], [0, 2]):
        belief = estimator.predict(fresh.queries, after(fresh, *run))
        np.testing.assert_allclose(belief.variance, np.mean((last - belief.quality) ** 2, axis=0), rtol=0.2, atol=1e-4)


def test_the_update_variance_is_not_that_of_fits_that_have_seen_the_labels() -> None:
    """With features of pure noise, estimates that have seen their labels would move a lot."""
    rng = np.random.default_rng(11)
    n = 60
    table = hr.Outcomes(
        models=["a", "b"],
        quality=rng.normal(size=(n, 2)),
        cost=[1, 2],
        responses={"noise": rng.normal(size=(n, 2, 15))},
    )
    variance = fitted(table).predict(table.queries, none_run(table)).variance
    seen = fit_ridge(np.hstack([table.responses["noise"][:, j] for j in (0, 1)]), table.quality)
    moved = np.mean((seen.left_out - seen.left_out.mean(axis=0)) ** 2, axis=0)
    assert variance is not None
    assert (variance < 0.35).all()
    np.testing.assert_allclose(variance, moved, rtol=0.25, atol=0.01)


@pytest.mark.parametrize("run", [[], [1], [0, 2], [0, 1, 2]])
def test_a_joint_estimator_gives_a_covariance(run: list[int]) -> None:
    table = hard_queries(12)
    joint = fitted(table, covariance=True).predict(table.queries, after(table, *run))
    single = fitted(table).predict(table.queries, after(table, *run))
    np.testing.assert_array_equal(joint.quality, single.quality)
    assert joint.variance is None
    assert single.covariance is None
    assert joint.covariance is not None
    assert joint.covariance.shape == (3, 3)
    np.testing.assert_array_equal(joint.covariance, joint.covariance.T)
    np.testing.assert_allclose(np.diag(joint.covariance), single.variance, rtol=1e-12, atol=1e-15)
    assert np.linalg.eigvalsh(joint.covariance).min() >= -1e-12
    # All models get harder together, so their updates go together.
    assert run == [0, 1, 2] or joint.covariance[0, 1] > 0.0
    hr.CascadeRouting(0.01).select_batch(joint.quality, table.cost, covariance=joint.covariance)


def test_estimates_are_within_the_range_of_the_targets() -> None:
    fit, fresh = hard_queries(13), hard_queries(14)
    wild = {"kind": fresh.queries["kind"], "hint": 1e6 * fresh.queries["hint"]}
    quality = fitted(fit).predict(wild, after(fresh, 0)).quality
    assert (quality.min(), quality.max()) == (0.0, 1.0)
    priced = hr.Outcomes(
        models=["a", "b"],
        quality=np.zeros((50, 2)),
        cost=np.column_stack([np.linspace(1.0, 2.0, 50), np.linspace(30.0, 10.0, 50)]),
        queries={"x": np.linspace(0.0, 1.0, 50)},
    )
    cost = fitted_cost(priced).predict({"x": np.array([-1e9, 0.5, 1e9])}, priced.responses_for(NOTHING).take([0, 1, 2]))
    np.testing.assert_allclose(cost, [[1.0, 30.0], [1.5, 20.0], [2.0, 10.0]], rtol=1e-2)
    assert (cost >= [1.0, 10.0]).all()
    assert (cost <= [2.0, 30.0]).all()


def test_costs_that_are_constant_are_exact_and_others_are_learned() -> None:
    table = hard_queries(15)
    for run in ([], [0], [0, 1, 2]):
        cost = fitted_cost(table).predict(table.queries, after(table, *run))
        np.testing.assert_allclose(cost, table.cost, rtol=1e-12)
    rng = np.random.default_rng(16)
    length = rng.integers(10, 2000, 400)
    priced = hr.Outcomes(
        models=["a", "b"],
        quality=np.zeros((400, 2)),
        cost=np.log1p(length)[:, None] * [1.0, 10.0],
        queries={"text": ["x" * n for n in length]},
    )
    cost = fitted_cost(priced.take(np.arange(200))).predict(
        {"text": priced.queries["text"][200:]}, priced.responses_for(NOTHING).take(np.arange(200, 400))
    )
    np.testing.assert_allclose(cost, priced.cost[200:], rtol=0.02)


# Features of responses


def agreeing(seed: int, n: int = 400) -> tuple[hr.Outcomes, npt.NDArray[np.bool_]]:
    """Draw answers that say nothing on their own: both models are right where they agree, and wrong elsewhere."""
    rng = np.random.default_rng(seed)
    answers = rng.choice(["yes", "no"], (n, 2))
    agree = answers[:, 0] == answers[:, 1]
    quality = np.column_stack([agree, agree]).astype(float)
    return hr.Outcomes(models=["a", "b"], quality=quality, cost=[1, 2], responses={"answer": answers}), agree


def test_agreement_of_answers_matters() -> None:
    (fit, _), (fresh, agree) = agreeing(17), agreeing(18)
    estimator = fitted(fit)
    for run in ([], [0], [1]):
        quality = estimator.predict(fresh.queries, after(fresh, *run)).quality
        np.testing.assert_allclose(quality, np.tile(fit.mean_quality, (len(fresh), 1)), atol=0.02)
    quality = estimator.predict(fresh.queries, all_run(fresh)).quality
    np.testing.assert_allclose(quality[agree], 1.0, atol=0.01)
    np.testing.assert_allclose(quality[~agree], 0.0, atol=0.01)
    variance = estimator.predict(fresh.queries, after(fresh, 0)).variance
    np.testing.assert_allclose(variance, 0.25, atol=0.02)


def probable(seed: int, n: int = 600) -> tuple[hr.Outcomes, Floats, npt.NDArray[np.bool_]]:
    """Draw probabilities of three classes: model 0 is right as often as its largest says, model 1 where they agree."""
    rng = np.random.default_rng(seed)
    likeliest, largest = rng.integers(0, 3, (n, 2)), rng.uniform(0.4, 1.0, (n, 2))
    rest = (1.0 - largest) / 2.0
    probabilities = np.where(np.arange(3) == likeliest[..., None], largest[..., None], rest[..., None])
    agree = likeliest[:, 0] == likeliest[:, 1]
    quality = np.column_stack([rng.random(n) < largest[:, 0], agree]).astype(float)
    table = hr.Outcomes(models=["a", "b"], quality=quality, cost=[1, 2], responses={"probabilities": probabilities})
    return table, largest, agree


def test_probabilities_and_their_agreement_matter() -> None:
    (fit, _, _), (fresh, largest, agree) = probable(19), probable(20)
    estimator = fitted(fit)
    one = estimator.predict(fresh.queries, after(fresh, 0)).quality
    assert np.abs(one[:, 0] - largest[:, 0]).mean() < 0.05
    assert one[:, 1].std() < 0.05
    both = estimator.predict(fresh.queries, all_run(fresh)).quality
    assert np.abs(both[:, 0] - largest[:, 0]).mean() < 0.06
    assert both[agree, 1].min() > 0.9
    assert both[~agree, 1].max() < 0.1


def test_what_has_not_run_is_not_seen() -> None:
    table = hard_queries(21)
    estimator = fitted(table)
    belief = estimator.predict(table.queries, after(table, 1))
    secret = table.responses["confidence"].copy()
    secret[:, [0, 2]] = 1e9
    hidden = hr.Responses(after(table, 1).run, {"confidence": secret})
    np.testing.assert_array_equal(estimator.predict(table.queries, hidden).quality, belief.quality)
    told = hr.Responses(after(table, 1).run, {"confidence": table.responses["confidence"] + 1.0})
    assert (estimator.predict(table.queries, told).quality != belief.quality).any()


def test_a_batch_is_a_loop() -> None:
    table = hard_queries(22)
    quality, cost = fitted(table), fitted_cost(table)
    batch, costs = quality.predict(table.queries, after(table, 0, 2)), cost.predict(table.queries, after(table, 0, 2))
    for row in range(0, 300, 30):
        query = {name: values[[row]] for name, values in table.queries.items()}
        responses = after(table, 0, 2).take([row])
        single = quality.predict(query, responses)
        np.testing.assert_allclose(single.quality[0], batch.quality[row], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(single.variance, batch.variance)
        np.testing.assert_allclose(cost.predict(query, responses)[0], costs[row], rtol=1e-12)


def test_a_batch_may_be_empty() -> None:
    table = hard_queries(22)
    nothing = {name: values[:0] for name, values in table.queries.items()}
    responses = after(table).take(np.zeros(0, dtype=int))
    assert fitted(table).predict(nothing, responses).quality.shape == (0, 3)
    assert fitted_cost(table).predict(nothing, responses).shape == (0, 3)


def test_copies_estimate_the_same() -> None:
    table = hard_queries(23)
    estimator = fitted(table)
    estimator.predict(table.queries, after(table, 0))
    for copied in (copy.deepcopy(estimator), pickle.loads(pickle.dumps(estimator))):
        for run in ([], [0], [1, 2]):
            belief, expected = (e.predict(table.queries, after(table, *run)) for e in (copied, estimator))
            np.testing.assert_array_equal(belief.quality, expected.quality)
            np.testing.assert_array_equal(belief.variance, expected.variance)


def test_estimates_do_not_depend_on_which_run_sets_were_asked_for_first() -> None:
    table = hard_queries(24)
    forwards, backwards = fitted(table), fitted(table)
    runs = [[], [0], [0, 1], [0, 1, 2]]
    first = [forwards.predict(table.queries, after(table, *run)) for run in runs]
    second = [backwards.predict(table.queries, after(table, *run)) for run in reversed(runs)]
    for belief, other in zip(first, reversed(second), strict=True):
        np.testing.assert_array_equal(belief.quality, other.quality)
        np.testing.assert_array_equal(belief.variance, other.variance)


# Tables that are hard to learn from


def test_constant_features_say_nothing() -> None:
    rng = np.random.default_rng(25)
    quality = (rng.random((40, 2)) < [0.3, 0.8]).astype(float)
    table = hr.Outcomes(
        models=["a", "b"],
        quality=quality,
        cost=[1, 2],
        queries={"same": np.full(40, 7.0), "task": ["prose"] * 40, "large": np.full(40, 1e9)},
        responses={"same": np.full((40, 2), -3.0), "answer": np.full((40, 2), "yes")},
    )
    estimator = fitted(table)
    for run in ([], [0], [0, 1]):
        belief = estimator.predict(table.queries, after(table, *run))
        np.testing.assert_allclose(belief.quality, np.tile(quality.mean(axis=0), (40, 1)), atol=EXACT)
        np.testing.assert_allclose(belief.variance, 0.0, atol=EXACT)


def test_a_model_that_is_always_right_or_always_wrong() -> None:
    table = hard_queries(26)
    quality = table.quality.copy()
    quality[:, 0], quality[:, 2] = 0.0, 1.0
    changed = hr.Outcomes(
        models=table.models, quality=quality, cost=[1, 3, 10], queries=table.queries, responses=table.responses
    )
    fresh = hard_queries(27)
    for run in ([], [1], [0, 1, 2]):
        belief = fitted(changed).predict(fresh.queries, after(fresh, *run))
        np.testing.assert_allclose(belief.quality[:, [0, 2]], np.tile([0.0, 1.0], (len(fresh), 1)), atol=EXACT)
        assert belief.variance is not None
        np.testing.assert_allclose(belief.variance[[0, 2]], 0.0, atol=EXACT)


def one_column(name: str, values: Any, n: int = 40) -> hr.Outcomes:
    rng = np.random.default_rng(28)
    return hr.Outcomes(
        models=["a", "b"], quality=(rng.random((n, 2)) < [0.4, 0.7]).astype(float), cost=[1, 2], queries={name: values}
    )


def estimate_of(table: hr.Outcomes, name: str, values: list[Any]) -> Floats:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    responses = table.responses_for(NOTHING).take(np.arange(len(values)))
    quality = fitted(table).predict({name: column}, responses).quality
    assert np.isfinite(quality).all()
    return quality


def test_an_unseen_category_is_none_of_the_known() -> None:
    table = one_column("task", ["prose", "code", "maths", "chess"] * 10)
    first, second, known = estimate_of(table, "task", ["unseen", "another", "code"])
    np.testing.assert_array_equal(first, second)
    assert (first != known).any()
    assert ((first >= 0.0) & (first <= 1.0)).all()


def test_no_text_and_empty_text_are_text() -> None:
    table = one_column("text", [None, ""] + [f"Query {number}?" * number for number in range(38)])
    none, empty, other = estimate_of(table, "text", [None, "", "A new query\nof two lines."])
    np.testing.assert_array_equal(none, empty)
    assert (none != other).any()
    for values in ([None] * 40, [""] * 40):
        nothing = one_column("text", np.array(values, dtype=object))
        np.testing.assert_allclose(estimate_of(nothing, "text", [None, "new"])[0], nothing.mean_quality, atol=EXACT)


def test_absent_answers_are_features() -> None:
    rng = np.random.default_rng(29)
    there = rng.random((200, 2)) < 0.5
    answers = np.where(there, "an answer", rng.choice(np.array([None, ""], dtype=object), (200, 2)))
    table = hr.Outcomes(
        models=["a", "b"], quality=there.astype(float), cost=[1, 2], responses={"answer": answers.astype(object)}
    )
    quality = fitted(table).predict(table.queries, after(table, 0)).quality
    np.testing.assert_allclose(quality[:, 0], there[:, 0], atol=0.01)


def test_a_missing_number_counts_as_average() -> None:
    rng = np.random.default_rng(30)
    x = rng.normal(5.0, 1.0, 200)
    y = rng.normal(size=(200, 2))
    holes = rng.random(200) < 0.2
    table = hr.Outcomes(
        models=["a", "b"],
        quality=0.1 * np.column_stack([x, -x]) + 0.1 * y,
        cost=[1, 2],
        queries={"x": np.where(holes, np.nan, x), "none": np.full(200, np.nan)},
        responses={"y": np.where(rng.random((200, 2)) < 0.2, np.nan, y)},
    )
    estimator = fitted(table)
    average = float(x[~holes].mean())
    queries = {"x": np.array([np.nan, average, average + 1.0]), "none": np.full(3, np.nan)}
    responses = table.responses_for(NOTHING).take([0, 1, 2])
    missing, mean, more = estimator.predict(queries, responses).quality
    np.testing.assert_allclose(missing, mean, atol=1e-12)
    assert abs(more[0] - mean[0]) > 0.05
    # A column that is lacking counts as missing throughout.
    lacking = estimator.predict({}, responses).quality
    np.testing.assert_allclose(lacking, np.tile(mean, (3, 1)), atol=1e-12)
    seen = estimator.predict(table.queries, all_run(table)).quality
    assert np.isfinite(seen).all()


def test_numbers_of_many_orders_of_magnitude_are_taken_in_logarithms() -> None:
    rng = np.random.default_rng(31)
    tokens = np.exp(rng.uniform(0.0, 12.0, 400))
    table = hr.Outcomes(
        models=["a", "b"],
        quality=np.column_stack([np.log1p(tokens) / 12.0, 1.0 - np.log1p(tokens) / 12.0]),
        cost=[1, 2],
        queries={"tokens": tokens},
    )
    quality = fitted(table).predict(table.queries, none_run(table)).quality
    np.testing.assert_allclose(quality, table.quality, atol=0.01)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_fewer_queries_than_features(n: int) -> None:
    rng = np.random.default_rng(n)
    table = hr.Outcomes(
        models=["a", "b"],
        quality=rng.integers(0, 2, (n, 2)).astype(float),
        cost=rng.uniform(1.0, 2.0, (n, 2)),
        queries={"embedding": rng.normal(size=(n, 30))},
        responses={"embedding": rng.normal(size=(n, 2, 30))},
    )
    for run in ([], [0], [0, 1]):
        belief = fitted(table).predict(table.queries, after(table, *run))
        assert np.isfinite(belief.quality).all()
        assert belief.variance is not None
        assert (belief.variance >= 0.0).all()
        assert (belief.variance <= 1.0).all()
        assert (fitted_cost(table).predict(table.queries, after(table, *run)) >= 1.0).all()


# What is refused


def test_rows_with_different_run_sets_are_refused() -> None:
    table = hard_queries(32)
    run = np.zeros((300, 3), dtype=bool)
    run[7, 1] = True
    for estimator in (fitted(table), fitted_cost(table)):
        with pytest.raises(ValueError, match="responses: expected the same models to have run in all queries"):
            estimator.predict(table.queries, table.responses_for(run))


def test_one_labelled_query_is_too_few() -> None:
    table = hard_queries(33).take([0])
    for fit in (fitted, fitted_cost):
        with pytest.raises(ValueError, match="targets: expected at least 2 labelled queries to learn from, got 1"):
            fit(table)


def test_a_response_column_of_the_fit_is_needed() -> None:
    table = hard_queries(34)
    nothing = hr.Responses(after(table, 0).run, {})
    with pytest.raises(ValueError, match=r"responses: column '.*', which was there in the fit, is missing"):
        fitted(table).predict(table.queries, nothing)


def test_features_of_noise_are_shrunk_away() -> None:
    rng = np.random.default_rng(0)
    quality = (rng.random((400, 2)) < [0.5, 0.7]).astype(float)
    table = hr.Outcomes(
        models=["a", "b"], quality=quality, cost=[1.0, 3.0], queries={"embedding": rng.normal(size=(400, 300))}
    )
    fitting, fresh = table.take(np.arange(200)), table.take(np.arange(200, 400))
    nothing, everything = [False] * 2, [True] * 2
    estimator = LinearQuality().fit(fitting.queries, fitting.responses_for(everything), fitting.quality)
    error = estimator.predict(fresh.queries, fresh.responses_for(nothing)).quality - fresh.quality
    constant = fitting.mean_quality - fresh.quality
    assert np.mean(error**2) < 1.03 * np.mean(constant**2)
