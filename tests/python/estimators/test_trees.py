"""Boosted trees as numbers, against scikit-learn's own predictions."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.estimators.trees import CHUNK, BoostedTrees

ensemble = pytest.importorskip("sklearn.ensemble")


@pytest.mark.parametrize(("n_trees", "n_leaves"), [(1, 2), (30, 8), (7, 31)])
def test_estimates_are_those_of_scikit_learn_bit_for_bit(n_trees: int, n_leaves: int) -> None:
    rng = np.random.default_rng(n_trees)
    points = rng.normal(size=(600, 6)).round(1)
    targets = np.column_stack([points[:, 0] ** 2 + rng.normal(size=600), points[:, 1] > 0.3, np.full(600, 0.7)])
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        regressors = [
            ensemble.HistGradientBoostingRegressor(
                max_iter=n_trees, max_leaf_nodes=n_leaves, early_stopping=False, random_state=0
            ).fit(points, column)
            for column in targets.T
        ]
        fresh = np.vstack([points, rng.normal(size=(CHUNK, 6)) * 3.0])
        wanted = np.column_stack([regressor.predict(fresh) for regressor in regressors])
    trees = BoostedTrees.of(regressors)
    np.testing.assert_array_equal(trees(fresh), wanted)
    np.testing.assert_array_equal(np.vstack([trees(row[None]) for row in fresh[:50]]), wanted[:50])
    assert trees(fresh[:0]).shape == (0, 3)
