"""Ridge regressions of the same targets on any of the same features, each with the penalty of the smallest error.

With up to `MOST_TARGETS` targets, that is the exact leave-one-out error, which takes a product of all judged rows for
each penalty. Of more targets, which have thousands of run sets, it is the error of generalised cross-validation (Golub,
Heath and Wahba 1979), in which the mean of the leverages stands for each of them: O(d) for a target and a penalty, and
no row. The errors are those of explicit refits to 1e-9 (tests).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headrace._core import ridge
from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.gram import CONSTANT, Features, Products
from headrace.estimators.state import Stateful

__all__ = [
    "MOST_TARGETS",
    "PENALTIES",
    "Ridge",
    "RidgeRegressions",
    "Standardised",
    "fit_ridge",
    "freedom",
    "judged",
]

#: Ridge penalties tried, in units of the number of rows (features have unit variance).
PENALTIES = np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0])

#: Most rows that have leave-one-out estimates, by which a penalty is chosen; each is left out of all others.
MOST_ROWS = 2_000

#: Most targets whose penalties are chosen by leave-one-out estimates; those of more have them for so many rows.
MOST_TARGETS = 12
FEW_ROWS = 500

#: A row whose leverage is closer to 1 than this is fitted exactly, to rounding.
LEAST_FREEDOM = 1e-10

#: Most features whose products are kept: 32 MB. Of more, the features are kept, in single precision.
MOST_FEATURES = 2_000


@dataclass(frozen=True)
class Ridge(Stateful, part="ridge", kept=("weights", "intercept", "update")):
    """A fitted regression: estimates = features @ weights + intercept."""

    weights: FloatArray
    intercept: FloatArray
    #: Leave-one-out estimates of fitting rows, shape (n_estimated, n_targets); not part of the state.
    left_out: FloatArray | None = None
    #: Mean square of the difference between the last estimates and these, shape (n_targets,).
    update: FloatArray | None = None

    def predict(self, features: FloatArray) -> FloatArray:
        """Estimate from centred features; a missing one (NaN) counts as average."""
        return np.asarray(_known(features) @ self.weights + self.intercept)


def _known(features: FloatArray) -> FloatArray:
    """Count missing values (NaN) as zero; without any, nothing is copied."""
    missing = np.isnan(features)
    return np.where(missing, 0.0, features) if np.count_nonzero(missing) else features


class Standardised(NamedTuple):
    """Features of mean 0 and variance 1, shape (n, n_features), and what they were; one that is constant is 0."""

    values: FloatArray
    means: FloatArray
    sds: FloatArray
    used: BoolArray

    @classmethod
    def of(cls, features: FloatArray) -> Standardised:
        """Standardise features of shape (n, n_features), centred; a missing one counts as zero."""
        known = _known(features)
        means = known.mean(axis=0)
        values = known - means
        sds = np.sqrt(np.einsum("ij,ij->j", values, values) / len(values))
        used = sds > CONSTANT * (np.abs(means) + 1.0)
        values *= np.divide(1.0, sds, out=np.zeros_like(sds), where=used)
        return cls(values, means, sds, used)


def judged(targets: FloatArray) -> IndexArray:
    """Give the rows that have leave-one-out estimates: all, or `MOST_ROWS` at equal distances; of many targets fewer.

    Parameters
    ----------
    targets : ndarray of shape (n, n_targets)

    Examples
    --------
    >>> import numpy as np
    >>> judged(np.zeros((3, 5))).tolist(), judged(np.zeros((3_000, 5)))[:4].tolist()
    ([0, 1, 2], [0, 1, 3, 4])
    """
    n, n_targets = targets.shape
    most = MOST_ROWS if n_targets <= MOST_TARGETS else FEW_ROWS
    return np.arange(n) if n <= most else np.arange(most) * n // most


class RidgeRegressions(
    Stateful,
    part="ridge-regressions",
    kept=(
        "_n",
        "_means",
        "_sds",
        "_used",
        "_target_means",
        "_pull",
        "_source",
        "rows",
        "_residuals",
        "_sizes",
        "_last",
    ),
):
    """Ridge regressions of the same targets on any of the same features; those of `fit_ridge`, to rounding.

    Features are standardised, and their Gram matrix is found, once: O(n d^2). A choice of e features then takes
    O(e^3 + e t), and O(e m (e + t)) where leave-one-out estimates of m rows are given or choose the penalties of t
    targets. Of more features than rows, or than `MOST_FEATURES`, the features are kept instead, these in single
    precision, and the Gram matrix of a choice takes O(n e^2).

    Parameters
    ----------
    features : ndarray of shape (n, n_features), or iterable of ndarray of shape (n, some)
        Centred: a missing value (NaN) counts as zero. Blocks of them needn't be in memory all at once.
    targets : ndarray of shape (n, n_targets)
    n_features : int, optional
        Of all blocks.
    last : ndarray of shape (n_last,), optional
        Scales of the first features, on which the last estimates are regressions. Of more than `MOST_TARGETS` targets,
        each fit then tells how far it is from them.

    Attributes
    ----------
    rows : int ndarray of shape (n_estimated,)
        Those whose leave-one-out estimates are given: all, or some at equal distances.

    Examples
    --------
    >>> import numpy as np
    >>> features = np.random.default_rng(0).normal(size=(50, 3))
    >>> regressions = RidgeRegressions(features, features[:, :1])
    >>> regressions.fit(np.array([0, 2])).weights.round(3).tolist()
    [[1.0], [0.0]]
    """

    @one_blas_thread
    def __init__(
        self,
        features: FloatArray | Iterable[FloatArray],
        targets: FloatArray,
        n_features: int = 0,
        *,
        last: FloatArray | None = None,
    ) -> None:
        if isinstance(features, np.ndarray):
            n_features, features = features.shape[1], [features]
        self._n = len(targets)
        self._target_means = targets.mean(axis=0)
        residuals = targets - self._target_means
        self._means, self._sds, self._used = (np.zeros(n_features, dtype=kind) for kind in (float, float, bool))
        self._pull = np.empty((n_features, targets.shape[1]))
        standardised = np.empty((n_features, self._n), np.float64 if n_features <= MOST_FEATURES else np.float32)
        end = 0
        for block in features:
            begin, end = end, end + block.shape[1]
            values, self._means[begin:end], self._sds[begin:end], self._used[begin:end] = Standardised.of(block)
            standardised[begin:end] = values.T
            self._pull[begin:end] = values.T @ residuals
        self.rows: IndexArray = judged(targets)
        self._residuals = residuals[self.rows]
        kind = Products if n_features <= min(self._n, MOST_FEATURES) else Features
        self._source: Products | Features = kind(standardised, self.rows)
        # Sums of squares of all rows, where these choose.
        self._sizes = np.einsum("ij,ij->j", residuals, residuals) if targets.shape[1] > MOST_TARGETS else None
        self._last: tuple[FloatArray, ...] | None = None
        if self._sizes is not None and last is not None:
            self._last = self._of_last(residuals, self._sizes, last)

    @one_blas_thread
    def fit(self, columns: IndexArray, scales: FloatArray | None = None, *, left_out: bool = True) -> Ridge:
        """Fit a regression on some features.

        Parameters
        ----------
        columns : int ndarray of shape (n_chosen,)
            Of the features.
        scales : ndarray of shape (n_chosen,), optional
        left_out : bool
            Also give the leave-one-out estimates of `rows`.
        """
        here = self._used[columns]
        scale = np.ones(len(columns)) if scales is None else scales
        here &= scale > 0.0
        used, scale = columns[here], scale[here, None]
        without: FloatArray | None = None
        update: FloatArray | None = None
        if self._sizes is not None and not left_out:
            standardised, left, free = self._by_sums(used, scale, self._sizes)
        else:
            squares, turn = self._source.spectrum(used, scale)
            along = turn.T @ self._pull[used]
            rows = turn.T @ self._source.of_rows(used)
            if self._sizes is None:
                chosen = _best_shrinkage(squares, rows, along, self._residuals, self._n)
            else:
                chosen = _generalised(squares, along, self._sizes, self._n)
                left, free = _remainder(along, chosen, self._sizes, self._n)
            standardised = turn @ (chosen * along)
            if left_out:
                rest = self._residuals - rows.T @ (chosen * along)
                without = self._target_means + self._residuals - rest / freedom(rows, chosen, self._n)
        if self._last is not None:
            update = self._update(used, standardised, left, free, *self._last)
        weights = np.zeros((len(columns), len(self._target_means)))
        weights[here] = standardised / self._sds[used, None]
        return Ridge(weights, self._target_means - self._means[columns] @ weights, without, update)

    def _by_sums(
        self, used: IndexArray, scale: FloatArray, sizes: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Give weights of the standardised features, the sums of squares that are left, and the means of 1 - h."""
        if len(used) <= self._n:
            gram = self._source.gram(used) * (scale * scale.T)
            weights, left, free = ridge(gram, scale * self._pull[used], sizes, self._n, self._n * PENALTIES)
            return scale * weights, left, free
        squares, turn = self._source.spectrum(used, scale)
        along = turn.T @ self._pull[used]
        chosen = _generalised(squares, along, sizes, self._n)
        return turn @ (chosen * along), *_remainder(along, chosen, sizes, self._n)

    def _update(
        self,
        used: IndexArray,
        weights: FloatArray,
        left: FloatArray,
        free: FloatArray,
        *last: FloatArray,
    ) -> FloatArray:
        """Give the mean square of the difference between the last estimates and these, leaving each row out.

        The error e of a row is e / (1 - h) when the row is left out, and the mean of all h stands for each.
        """
        of_features, of_targets, squares = last
        both = of_targets - np.einsum("ij,ij->j", weights, of_features[used])
        return np.asarray(np.maximum(left / free**2 - 2.0 * both / free + squares, 0.0) / self._n)

    def _of_last(self, residuals: FloatArray, sizes: FloatArray, scales: FloatArray) -> tuple[FloatArray, ...]:
        """Give sums over all rows of the last estimates' errors, left out: by features, by targets, and squared."""
        here = self._used[: len(scales)] & (scales > 0.0)
        used = np.flatnonzero(here)
        weights, left, free = self._by_sums(used, scales[here, None], sizes)
        of_targets = sizes - np.einsum("ij,ij->j", self._pull[used], weights)
        return self._source.less(self._pull, used, weights, residuals) / free, of_targets / free, left / free**2


def fit_ridge(
    features: FloatArray, targets: FloatArray, scales: FloatArray | None = None, *, left_out: bool = True
) -> Ridge:
    """Fit a ridge regression per target, each with the penalty of the smallest leave-one-out error.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
        Centred: a missing value (NaN) counts as zero.
    targets : ndarray of shape (n, n_targets)
    scales : ndarray of shape (n_features,), optional
        The standardised features are multiplied by these, zero or more. By default 1.
    left_out : bool
        Also give the leave-one-out estimates.

    Returns
    -------
    Ridge
        Of the features as they came.

    Notes
    -----
    With X = U S V' of the standardised features, the estimates at penalty p are mean + U D U' y, D = s^2 / (s^2 + n p).
    Leaving row i out changes its residual to (y_i - estimate_i) / (1 - h_i), h_i = 1/n + sum of u_i^2 D (Allen 1974).
    Of more than `MOST_ROWS` rows, so many at equal distances have leave-one-out estimates and choose the penalty. Of
    more than `MOST_TARGETS` targets, `FEW_ROWS` have them, and in the choice the mean of all h_i stands for each.
    """
    return RidgeRegressions(features, targets).fit(np.arange(features.shape[1]), scales, left_out=left_out)


def _best_shrinkage(
    squares: FloatArray, left: FloatArray, along: FloatArray, residuals: FloatArray, n: int
) -> FloatArray:
    """Give D for each target, at the penalty whose leave-one-out error on the rows given is the smallest."""
    least = np.full(residuals.shape[1], np.inf)
    chosen = np.zeros((len(squares), residuals.shape[1]))
    shrinkages = squares[:, None] / (squares[:, None] + n * PENALTIES)
    rows = np.ascontiguousarray(left.T)
    for shrinkage, free in zip(shrinkages.T[:, :, None], freedom(left, shrinkages, n).T, strict=True):
        errors = rows @ (shrinkage * along)
        np.subtract(residuals, errors, out=errors)
        error = free**-2 @ np.square(errors, out=errors)
        better = error < least
        least = np.where(better, error, least)
        chosen[:, better] = shrinkage
    return chosen


def _generalised(squares: FloatArray, along: FloatArray, sizes: FloatArray, n: int) -> FloatArray:
    """Give D for each target, at the penalty whose error of generalised cross-validation is the smallest."""
    shrinkages = squares[:, None] / (squares[:, None] + n * PENALTIES)
    errors = np.maximum(sizes - (shrinkages * (2.0 - shrinkages)).T @ along**2, 0.0)
    free = np.maximum(1.0 - (1.0 + shrinkages.sum(axis=0)) / n, LEAST_FREEDOM)
    return np.asarray(shrinkages[:, (errors / free[:, None] ** 2).argmin(axis=0)])


def _remainder(along: FloatArray, chosen: FloatArray, sizes: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Give the sum of squares y'y - sum of (2 D - D^2) (U'y)^2 of each target's residuals, and its mean of 1 - h."""
    left = sizes - np.einsum("ij,ij->j", chosen * (2.0 - chosen), along**2)
    return np.maximum(left, 0.0), np.maximum(1.0 - (1.0 + chosen.sum(axis=0)) / n, LEAST_FREEDOM)


def freedom(left: FloatArray, shrinkages: FloatArray, n: int) -> FloatArray:
    """Give 1 - h of each row, for each column of shrinkages; `left` is U'."""
    return np.maximum(1.0 - 1.0 / n - (left**2).T @ shrinkages, LEAST_FREEDOM)
