"""Ex-ante estimators: quality from the query alone, by neighbours, by clusters, or by boosted trees.

They don't look at responses, so no run moves their estimates and their beliefs have no variance. For routing they stand
on their own; in cascade routing they serve as features: ``LinearQuality(ex_ante=KNeighborsQuality())``. Their targets
may be missing (NaN) in part: a new model needs only a few dozen scored queries.
"""

from __future__ import annotations

import importlib
from typing import Any, Self

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray, checked_int
from headrace.estimators.belief import Belief
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import Queries
from headrace.estimators.query_features import QueryFeatures
from headrace.estimators.responses import Responses
from headrace.estimators.state import Stateful
from headrace.estimators.targets import checked_targets
from headrace.estimators.trees import BoostedTrees

__all__ = ["BoostingQuality", "ClusterQuality", "KNeighborsQuality"]

#: Numbers of neighbours tried.
NEIGHBORS = (5, 10, 20, 40, 80, 160, 320)

#: Weight of a model's mean quality among the labels of a neighbourhood or cluster, in labels.
PRIOR = 2.0

#: Queries whose distances are in memory together.
CHUNK = 256

#: A block of features whose standard deviation is below this fraction of its size is constant.
CONSTANT = 1e-9


class _Space(Stateful, part="query-space", kept=("_features", "_centre", "_scale")):
    """Queries as points: each column's block of features has a total variance of 1."""

    def fit(self, queries: Queries, n_queries: int, *, n_grams: bool) -> FloatArray:
        """Learn the scales of the columns, and give the points of the fitting data."""
        self._features = QueryFeatures(n_grams=n_grams).fit(queries)
        raw = self._features.transform(queries, n_queries)
        known = ~np.isnan(raw)
        self._centre = np.where(known, raw, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        variance = np.mean(np.where(known, raw - self._centre, 0.0) ** 2, axis=0)
        ends = np.cumsum(self._features.widths_)
        blocks = [slice(end - width, end) for end, width in zip(ends, self._features.widths_, strict=True)]
        self._scale = np.zeros(raw.shape[1])
        for block in blocks:
            spread = np.sqrt(variance[block].sum())
            if spread > CONSTANT * (np.abs(self._centre[block]).max(initial=0.0) + 1.0):
                self._scale[block] = 1.0 / spread
        return self._scaled(raw)

    def place(self, queries: Queries, n_queries: int) -> FloatArray:
        """Give the points of queries: shape (n_queries, n_dimensions)."""
        return self._scaled(self._features.transform(queries, n_queries))

    def _scaled(self, raw: FloatArray) -> FloatArray:
        points = (raw - self._centre) * self._scale
        points[np.isnan(points)] = 0.0
        return np.asarray(points)


class KNeighborsQuality(
    Parameters, Stateful, part="neighbors-quality", kept=("n_neighbors_", "_labels", "_space", "_points", "_squares")
):
    """Mean quality of the nearest labelled queries, pulled a little towards each model's mean.

    Every column of the queries counts alike in the distance, whether a number, a category, text or an embedding. All
    labelled queries are kept, and each estimate looks at all of them: for up to some ten thousand.

    Parameters
    ----------
    n_neighbors : int, optional
        By default the one of 5, 10, 20, ..., 320 with the smallest leave-one-out squared error.
    n_grams : bool, default True
        Compare query texts by hashed n-grams, not by their length alone.

    Attributes
    ----------
    n_neighbors_ : int
        The number used.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.estimators import KNeighborsQuality
    >>> table = hr.datasets.load_quickstart()
    >>> near = KNeighborsQuality(n_neighbors=20).fit(table.queries, table.responses_for([True] * 5), table.quality)
    >>> near.predict(table.queries, table.responses_for([False] * 5)).quality.shape
    (3600, 5)
    """

    n_neighbors_: int

    #: Labels, and responses of models that never ran, may be missing in a fit.
    accepts_missing = True

    def __init__(self, *, n_neighbors: int | None = None, n_grams: bool = True) -> None:
        self.n_neighbors = n_neighbors
        self.n_grams = n_grams

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Keep the labelled queries, and choose the number of neighbours.

        Raises
        ------
        ValueError
            A model without a label; `n_neighbors` below 1.
        """
        if self.n_neighbors is not None:
            checked_int("n_neighbors", self.n_neighbors, 1)
        values = checked_targets(targets, partly=True)
        self._labels = _Labels(values)
        self._space = _Space()
        self._points = self._space.fit(queries, len(values), n_grams=self.n_grams)
        self._squares = (self._points**2).sum(axis=1)
        self.n_neighbors_ = min(self.n_neighbors or self._best_number(values), len(values))
        return self

    def predict(self, queries: Queries, responses: Responses) -> Belief:
        """Estimate from the queries alone."""
        points = self._space.place(queries, len(responses))
        quality = np.empty((len(points), len(self._labels.mean)))
        for start in range(0, len(points), CHUNK):
            distance = self._distances(points[start : start + CHUNK])
            quality[start : start + CHUNK] = self._labels.means(_nearest(distance, self.n_neighbors_))
        return Belief(quality)

    def _distances(self, points: FloatArray) -> FloatArray:
        """Squared distances to all labelled queries, but for a constant per row."""
        return np.asarray(self._squares - 2.0 * (points @ self._points.T))

    def _best_number(self, values: FloatArray) -> int:
        candidates = [number for number in NEIGHBORS if number < len(values)]
        if not candidates or not self._points.any():
            return len(values)
        error = np.zeros(len(candidates))
        for start in range(0, len(values), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(values)))
            distance = self._distances(self._points[rows])
            distance[np.arange(len(rows)), rows] = np.inf
            nearest = _nearest(distance, candidates[-1])
            ranked = np.take_along_axis(
                nearest, np.take_along_axis(distance, nearest, axis=1).argsort(axis=1, kind="stable"), axis=1
            )
            for which, number in enumerate(candidates):
                error[which] += np.nansum((self._labels.means(ranked[:, :number]) - values[rows]) ** 2)
        return candidates[int(error.argmin())]


def _nearest(distance: FloatArray, number: int) -> IndexArray:
    """Give the indices of the smallest distances of each row, in no order."""
    if number >= distance.shape[1]:
        return np.tile(np.arange(distance.shape[1]), (len(distance), 1))
    return np.argpartition(distance, number - 1, axis=1)[:, :number]


class _Labels(Stateful, part="labels", kept=("_known", "_values", "_complete", "mean")):
    """Qualities, possibly missing, with their means over any rows, pulled towards the mean of all."""

    def __init__(self, values: FloatArray) -> None:
        self._known: BoolArray = ~np.isnan(values)
        self._values = np.where(self._known, values, 0.0)
        self._complete = bool(self._known.all())
        self.mean = self._values.sum(axis=0) / self._known.sum(axis=0)

    def means(self, rows: IndexArray) -> FloatArray:
        """Means over rows of shape (m, number): shape (m, n_models)."""
        count = rows.shape[1] if self._complete else self._known[rows].sum(axis=1)
        return np.asarray((self._values[rows].sum(axis=1) + PRIOR * self.mean) / (count + PRIOR))


class ClusterQuality(Parameters, Stateful, part="cluster-quality", kept=("means_", "_space", "_centres")):
    """Mean quality in the query's cluster, pulled a little towards each model's mean.

    The clusters are found without labels, by k-means of scikit-learn; one mean per cluster and model is all there is to
    learn, so that few labels go far.

    Parameters
    ----------
    n_clusters : int, default 20
        Fewer where there are not so many different queries.
    n_grams : bool, default True
        Compare query texts by hashed n-grams, not by their length alone.

    Attributes
    ----------
    means_ : ndarray of shape (n_clusters, n_models)

    Examples
    --------
    >>> import numpy as np
    >>> from headrace import Responses
    >>> from headrace.estimators import ClusterQuality
    >>> queries = {"x": np.repeat([0.0, 1.0], 40)}
    >>> targets = np.column_stack([np.repeat([1.0, 0.0], 40), np.full(80, 0.5)])
    >>> targets[::2, 0] = np.nan  # a new model: half the labels are missing
    >>> seen = Responses(np.ones((80, 2), bool), {})
    >>> estimator = ClusterQuality(n_clusters=2).fit(queries, seen, targets)
    >>> estimator.predict({"x": np.array([0.1])}, seen.take([0])).quality.round(2).tolist()
    [[0.95, 0.5]]
    """

    means_: FloatArray

    #: Labels, and responses of models that never ran, may be missing in a fit.
    accepts_missing = True

    def __init__(self, *, n_clusters: int = 20, n_grams: bool = True) -> None:
        self.n_clusters = n_clusters
        self.n_grams = n_grams

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Find the clusters, and take the means of the targets in each.

        Raises
        ------
        ValueError
            A model without a label; `n_clusters` below 1.
        ModuleNotFoundError
            scikit-learn is not installed.
        """
        if self.n_clusters is not None:
            checked_int("n_clusters", self.n_clusters, 1)
        values = checked_targets(targets, partly=True)
        self._space = _Space()
        points = self._space.fit(queries, len(values), n_grams=self.n_grams)
        from threadpoolctl import threadpool_limits

        cluster = _sklearn("cluster")
        n_clusters = min(self.n_clusters, len(np.unique(points, axis=0)))
        if points.shape[1]:
            # Threads that wait for each other take forty times as long on a busy machine.
            with threadpool_limits(1, user_api="openmp"):
                self._centres = cluster.KMeans(n_clusters, n_init=4, random_state=0).fit(points).cluster_centers_
        else:
            self._centres = np.empty((1, 0))
        labels, own = _Labels(values), self._nearest_centre(points)
        members = [np.flatnonzero(own == c)[None, :] for c in range(len(self._centres))]
        self.means_ = np.vstack([labels.means(rows) for rows in members])
        return self

    def predict(self, queries: Queries, responses: Responses) -> Belief:
        """Estimate from the queries alone."""
        points = self._space.place(queries, len(responses))
        return Belief(self.means_[self._nearest_centre(points)])

    def _nearest_centre(self, points: FloatArray) -> IndexArray:
        distance = (self._centres**2).sum(axis=1) - 2.0 * (points @ self._centres.T)
        return np.asarray(distance.argmin(axis=1))


def as_points(queries: Queries, n_queries: int, others: Queries, n_others: int) -> tuple[FloatArray, FloatArray]:
    """Give queries as the points between which `ClusterQuality` measures, and other queries in the same space.

    Parameters
    ----------
    queries : mapping of str to ndarray
        Those that the scales of the columns, and the directions of texts, are learned from.
    n_queries : int
    others : mapping of str to ndarray
    n_others : int

    Returns
    -------
    tuple of ndarray of shape (n_queries, n_dimensions) and (n_others, n_dimensions)

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.ex_ante import as_points
    >>> points, others = as_points({"x": np.array([0.0, 2.0])}, 2, {"x": np.array([3.0])}, 1)
    >>> points.tolist(), others.tolist()
    ([[-1.0], [1.0]], [[2.0]])
    """
    space = _Space()
    return space.fit(queries, n_queries, n_grams=True), space.place(others, n_others)


class BoostingQuality(Parameters, Stateful, part="boosting-quality", kept=("_space", "_range", "_trees")):
    """Quality by gradient-boosted trees on the query's features, one model of scikit-learn per target.

    For some thousand labelled queries and more.

    Parameters
    ----------
    n_trees : int, default 60
        Small trees, at a learning rate of 0.05.
    n_grams : bool, default True
        Use what query texts say, by hashed n-grams, not their length alone.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.estimators import BoostingQuality
    >>> table = hr.datasets.load_quickstart().take(range(400))
    >>> trees = BoostingQuality(n_trees=5).fit(table.queries, table.responses_for([True] * 5), table.quality)
    >>> trees.predict(table.queries, table.responses_for([False] * 5)).quality.shape
    (400, 5)
    """

    #: Labels, and responses of models that never ran, may be missing in a fit.
    accepts_missing = True

    def __init__(self, *, n_trees: int = 60, n_grams: bool = True) -> None:
        self.n_trees = n_trees
        self.n_grams = n_grams

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Grow the trees.

        Raises
        ------
        ValueError
            A model without a label; `n_trees` below 1.
        ModuleNotFoundError
            scikit-learn is not installed.
        """
        checked_int("n_trees", self.n_trees, 1)
        values = checked_targets(targets, partly=True)
        self._space = _Space()
        encoded = self._with_intercept(self._space.fit(queries, len(values), n_grams=self.n_grams))
        self._range = np.nanmin(values), np.nanmax(values)
        known = ~np.isnan(values)
        self._trees = BoostedTrees.of(
            [self._regressor().fit(encoded[rows], column[rows]) for column, rows in zip(values.T, known.T, strict=True)]
        )
        return self

    def predict(self, queries: Queries, responses: Responses) -> Belief:
        """Estimate from the queries alone."""
        encoded = self._with_intercept(self._space.place(queries, len(responses)))
        return Belief(np.clip(self._trees(encoded), *self._range))

    def _regressor(self) -> Any:
        return _sklearn("ensemble").HistGradientBoostingRegressor(
            max_iter=self.n_trees, learning_rate=0.05, max_leaf_nodes=8, early_stopping=False, random_state=0
        )

    @staticmethod
    def _with_intercept(encoded: FloatArray) -> FloatArray:
        """Add a constant: scikit-learn wants at least one feature."""
        return np.column_stack([np.zeros(len(encoded)), encoded])


def _sklearn(module: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ModuleNotFoundError as error:
        message = "this estimator learns with scikit-learn; install it with: pip install 'headrace[estimators]'"
        raise ModuleNotFoundError(message, name=error.name) from error
