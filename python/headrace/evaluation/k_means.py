"""k-means: centres of clusters of points, such that the squared distances to the nearest centre have a small sum.

The first centres are drawn far from each other (k-means++: Arthur and Vassilvitskii, SODA 2007), of several candidates
each time the one that leaves the smallest sum; then every centre moves to the mean of the points that are nearest to
it, again and again (Lloyd 1982). Cost: O(n k d) per move for n points in d dimensions and k centres.
"""

from __future__ import annotations

import math

import numpy as np

from headrace.arguments import FloatArray, IndexArray

__all__ = ["k_means", "nearest"]

#: Starts, of which the one with the smallest sum counts.
N_STARTS = 2

#: Most moves of a start; it ends earlier where the centres stand still.
MOST_MOVES = 300

#: Centres stand still where their squared moves have a smaller sum than this share of the mean variance of an axis.
STILL = 1e-4


def k_means(points: FloatArray, n_clusters: int, *, seed: int = 0) -> FloatArray:
    """Find the centres of clusters.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_dimensions)
        At least one; finite.
    n_clusters : int
    seed : int
        Of the first centres.

    Returns
    -------
    ndarray of shape (<= n_clusters, n_dimensions)
        Fewer where there are not so many different points.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.k_means import k_means
    >>> sorted(k_means(np.array([[0.0], [1.0], [8.0], [9.0]]), 2).ravel().tolist())
    [0.5, 8.5]
    """
    rng = np.random.default_rng(seed)
    squares = (points**2).sum(axis=1)
    still = STILL * float(points.var(axis=0).mean()) if points.size else 0.0
    best, least = points[:1], math.inf
    for _ in range(N_STARTS):
        centres = _moved(points, points[_first(points, squares, n_clusters, rng)], still)
        total = float(_distances(points, centres).min(axis=1).sum())
        if total < least:
            best, least = centres, total
    return best


def nearest(points: FloatArray, centres: FloatArray) -> IndexArray:
    """Give the nearest centre of each point; of equally near ones, the first: shape (n_points,).

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.k_means import nearest
    >>> nearest(np.array([[0.25], [0.875]]), np.array([[0.0], [1.0]])).tolist()
    [0, 1]
    """
    return np.asarray(_distances(points, centres).argmin(axis=1))


def _distances(points: FloatArray, centres: FloatArray) -> FloatArray:
    """Squared distances, but for a constant per point."""
    distance = points @ (-2.0 * centres.T)
    distance += (centres**2).sum(axis=1)
    return np.asarray(distance)


def _first(points: FloatArray, squares: FloatArray, n_clusters: int, rng: np.random.Generator) -> IndexArray:
    """Draw the points at which the centres begin: all different."""
    n_tried = 2 + int(math.log(n_clusters))
    chosen = [int(rng.integers(len(points)))]
    left = _apart(points, squares, chosen)[0]
    # Rounding leaves no point where there is none: a point is no farther from itself than from its copies.
    while len(chosen) < n_clusters and left.max() > 0.0:
        total = np.cumsum(left)
        drawn = np.searchsorted(total, rng.random(n_tried) * total[-1], side="right")
        tried = np.minimum(drawn, np.flatnonzero(left)[-1])
        rest = np.minimum(left, _apart(points, squares, tried))
        best = int(rest.sum(axis=1).argmin())
        chosen.append(int(tried[best]))
        left = rest[best]
    return np.array(chosen)


def _apart(points: FloatArray, squares: FloatArray, some: IndexArray | list[int]) -> FloatArray:
    """Squared distances of some points to all, zero within rounding: shape (n_some, n_points)."""
    both = squares + squares[some, None]
    distance = (points @ (-2.0 * points[some].T)).T + both
    both *= 1e-12
    distance[distance <= both] = 0.0
    return distance


def _moved(points: FloatArray, centres: FloatArray, still: float) -> FloatArray:
    """Move centres to the means of their points until they stand still; one without points stays."""
    from scipy.sparse import csr_array

    before: IndexArray | None = None
    each, ends = np.ones(len(points)), np.arange(len(points) + 1)
    for _ in range(MOST_MOVES):
        own = nearest(points, centres)
        if before is not None and np.array_equal(own, before):
            break
        before = own
        number = np.bincount(own, minlength=len(centres))[:, None]
        # A row for each point, with a one in the column of its centre: it adds them up in their order.
        sums = csr_array((each, own, ends), shape=(len(points), len(centres))).T @ points
        moved = np.where(number > 0, sums / np.maximum(number, 1), centres)
        shift = float(((moved - centres) ** 2).sum())
        centres = moved
        if shift <= still:
            break
    return centres
