"""k-means routing: against a plain loop over clusters and cost weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import headrace as hr
from headrace.estimators import ClusterQuality, ConstantCost, ConstantQuality
from headrace.evaluation import baselines, clusters
from headrace.evaluation.baselines import lacking
from headrace.evaluation.clusters import means_of_others, replay_clusters
from headrace.evaluation.curves import cross_fitted
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.metrics import concave_hull

pytest.importorskip("sklearn")


def table_of_kinds(n: int) -> hr.Outcomes:
    """Four kinds of queries, told by a number; each model is good at some."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 4, n)
    chance = np.array([[0.9, 0.9, 0.9], [0.1, 0.8, 0.9], [0.1, 0.1, 0.8], [0.6, 0.1, 0.2]])[kind]
    quality = (rng.random((n, 3)) < chance).astype(float)
    cost = np.array([1.0, 3.0, 10.0]) * rng.uniform(0.5, 1.5, (n, 3))
    return hr.Outcomes(models=["a", "b", "c"], quality=quality, cost=cost, queries={"x": kind + 0.1 * rng.random(n)})


def folds_of(table: hr.Outcomes) -> Fold:
    known, held_out = cross_fitted(*table.split(0.5), ConstantQuality(), ConstantCost())
    return Fold(known, held_out, np.arange(held_out.outcomes.n_queries))


def test_the_best_model_of_each_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "N_CLUSTERS", (4,))
    fold = folds_of(table_of_kinds(240))
    known = fold.calibration.outcomes
    number = known.folds(5, rng=0)
    quality, cost = np.empty((2, *known.quality.shape))
    for part in range(5):
        out, rest = number == part, number != part
        labels = np.hstack([known.quality, known.cost])[rest]
        queries = {"x": known.queries["x"][rest]}
        fitted = ClusterQuality(n_clusters=4).fit(queries, known.take(rest).responses_for([True] * 3), labels)
        means = fitted.predict({"x": known.queries["x"][out]}, known.take(out).responses_for([True] * 3)).quality
        quality[out], cost[out] = means[:, :3], means[:, 3:]
    rows, points = np.arange(known.n_queries), list(zip(known.mean_cost, known.mean_quality, strict=True))
    for weight in np.geomspace(1e-3, 3.0, 4000):
        chosen = (quality - weight * cost).argmax(axis=1)
        points.append((known.cost[rows, chosen].mean(), known.quality[rows, chosen].mean()))
    costs, qualities = np.array(points).T
    hull = concave_hull(costs, qualities)
    budgets = np.linspace(costs[hull[0]], costs[hull[-1]], 30)
    shares: list[float] = []
    fold = Fold(fold.calibration, fold.calibration, rows)
    found = replay_clusters("x", fold, Wanted(budgets, 5, "best", shares.append))
    # Replayed on the calibration queries, by clusters that know them: near, and never more than the single best model.
    np.testing.assert_allclose(found.quality.mean(axis=1), np.interp(budgets, costs[hull], qualities[hull]), atol=0.02)
    np.testing.assert_allclose(found.cost.mean(axis=1), budgets, rtol=0.05)
    assert (found.n_runs == 1.0).all()
    assert (found.n_decisions == 1.0).all()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_it_beats_mixing_where_models_are_specialised() -> None:
    fold = folds_of(table_of_kinds(800))
    test = fold.held_out.outcomes
    budgets = np.array([3.0, 5.0])
    found = replay_clusters("x", fold, Wanted(budgets, 5, "best", lambda share: None))
    best = np.interp(budgets, test.mean_cost, test.mean_quality)
    assert (found.quality.mean(axis=1) > best + 0.1).all()


def test_several_costs_are_weighed() -> None:
    table = table_of_kinds(200)
    both = dataclasses.replace(table, cost={"usd": table.cost, "seconds": 2.0 * table.cost})
    one, two = *means_of_others(table, table, [4], (1.0,)), *means_of_others(both, both, [4], (1.0, 0.5))
    np.testing.assert_allclose(two.cost, 2.0 * one.cost)
    np.testing.assert_allclose(two.quality, one.quality)


def test_without_scikit_learn_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of_kinds(20)
    assert lacking("clusters", table) is None
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    reason = lacking("clusters", table)
    assert reason is not None
    assert "pip install 'headrace[estimators]'" in reason
