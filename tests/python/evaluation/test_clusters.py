"""k-means routing: against a plain loop over clusters and cost weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.estimators import ConstantCost, ConstantQuality
from headrace.evaluation import clusters
from headrace.evaluation.clusters import ClusterMeans, cluster_means, replay_clusters
from headrace.evaluation.curves import cross_fitted
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.hull import Policies
from headrace.evaluation.metrics import concave_hull


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
    # The four kinds of queries are far from each other, so they are the clusters.
    kind = known.queries["x"].astype(int)
    quality, cost = np.empty((2, *known.quality.shape))
    for row in range(known.n_queries):
        rest = number != number[row]
        alike = rest & (kind == kind[row])
        for values, means in ((known.quality, quality), (known.cost, cost)):
            means[row] = (values[alike].sum(axis=0) + 2.0 * values[rest].mean(axis=0)) / (alike.sum() + 2.0)
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
    parts = both.split(0.5)
    budgets = np.array([3.0, 5.0])
    found = []
    for tables, rates in ((table.split(0.5), (1.0,)), (parts, (1.0, 0.5)), (parts, (0.0, 0.5))):
        known, held_out = cross_fitted(*tables, ConstantQuality(), ConstantCost(), rates=rates)
        fold = Fold(known, held_out, np.arange(held_out.outcomes.n_queries))
        found.append(replay_clusters("x", fold, Wanted(budgets, 5, "best", lambda share: None)))
    # One cost is twice the other: however they are weighed, the same policies come out.
    for other in found[1:]:
        np.testing.assert_allclose(other.cost, found[0].cost)
        np.testing.assert_allclose(other.quality, found[0].quality)
    np.testing.assert_allclose(found[1].further_costs["seconds"], 2.0 * found[1].cost.mean(axis=1))


def test_no_label_of_a_query_is_in_its_own_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = folds_of(table_of_kinds(240))
    known = fold.calibration.outcomes
    seen: list[ClusterMeans] = []
    played = clusters._played

    def listening(table: hr.Outcomes, test: hr.Outcomes, calibration: ClusterMeans, held_out: ClusterMeans) -> Policies:
        seen.append(calibration)
        return played(table, test, calibration, held_out)

    monkeypatch.setattr(clusters, "_played", listening)
    wanted = Wanted(np.array([3.0]), 5, "best", lambda share: None)
    replay_clusters("x", fold, wanted)
    before, number = [each.quality.copy() for each in seen], known.folds(5, rng=0)
    # Labels of one fold change: the estimates of its own queries don't.
    other = dataclasses.replace(known, quality=np.where((number == 2)[:, None], 1.0 - known.quality, known.quality))
    fold.calibration.outcomes = other
    seen.clear()
    replay_clusters("x", fold, wanted)
    for old, new in zip(before, seen, strict=True):
        np.testing.assert_array_equal(old[number == 2], new.quality[number == 2])
        assert (old[number != 2] != new.quality[number != 2]).any()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 30), k=st.integers(1, 6))
def test_means_of_clusters_are_those_of_a_plain_loop(seed: int, n: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    own, others, targets = rng.integers(0, k, n), rng.integers(0, k + 1, 9), rng.normal(size=(n, 3))
    found = cluster_means(own, targets, others)
    for row, c in enumerate(others):
        members = [target for number, target in zip(own, targets, strict=True) if number == c]
        expected = (np.sum(members, axis=0) + 2.0 * targets.mean(axis=0)) / (len(members) + 2.0)
        np.testing.assert_allclose(found[row], expected, atol=1e-12)
