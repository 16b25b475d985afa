"""k-means: against plain loops over points and centres."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.evaluation import k_means as module
from headrace.evaluation.k_means import k_means, nearest

Floats = npt.NDArray[np.float64]


def squares_to(points: Floats, centres: Floats) -> Floats:
    """Squared distances, the plain way."""
    return np.array([[sum((a - b) ** 2 for a, b in zip(p, c, strict=True)) for c in centres] for p in points])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), d=st.integers(1, 4), k=st.integers(1, 8))
def test_centres_are_the_means_of_their_points(seed: int, n: int, d: int, k: int) -> None:
    points = np.random.default_rng(seed).normal(size=(n, d))
    centres = k_means(points, k)
    assert centres.shape == (min(n, k), d)
    own = squares_to(points, centres).argmin(axis=1)
    np.testing.assert_array_equal(nearest(points, centres), own)
    for number, centre in enumerate(centres):
        # The last move may be left out where it is small.
        least = np.sqrt(module.STILL * points.var(axis=0).mean() * n) + 1e-9
        assert np.linalg.norm(points[own == number].mean(axis=0) - centre) <= least


def test_the_best_of_all_partitions_of_a_few_points() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([centre + 0.1 * rng.normal(size=(3, 2)) for centre in np.array([[0, 0], [2, 0], [0, 3]])])

    def total(labels: tuple[int, ...]) -> float:
        parts = [points[np.array(labels) == c] for c in set(labels)]
        return sum(float(((part - part.mean(axis=0)) ** 2).sum()) for part in parts)

    best = min(total(labels) for labels in itertools.product(range(3), repeat=len(points)))
    found = squares_to(points, k_means(points, 3)).min(axis=1).sum()
    assert found == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize(
    ("points", "n_centres"),
    [
        (np.zeros((5, 2)), 1),
        (np.repeat([[0.1], [0.7], [1e6]], 4, axis=0), 3),
        (np.empty((4, 0)), 1),
        (np.array([[3.0]]), 1),
    ],
)
def test_never_more_centres_than_different_points(points: Floats, n_centres: int) -> None:
    centres = k_means(points, 7)
    assert len(centres) == n_centres
    assert np.abs(squares_to(points, centres).min(axis=1)).max(initial=0.0) == 0.0
    assert nearest(points, centres).max() == n_centres - 1


def test_a_centre_without_points_stays_where_it_is() -> None:
    points, centres = np.array([[0.0], [1.0]]), np.array([[0.25], [9.0]])
    np.testing.assert_array_equal(module._moved(points, centres, 0.0), [[0.5], [9.0]])


def test_the_sum_is_near_that_of_scikit_learn() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    points = np.random.default_rng(1).normal(size=(400, 5))
    theirs = cluster.KMeans(12, n_init=10, random_state=0).fit(points).inertia_
    assert squares_to(points, k_means(points, 12)).min(axis=1).sum() < 1.1 * theirs
