"""Ridge regressions whose penalty, and whose scale of each block of features, minimise the exact leave-one-out error.

Multiplying the standardised features of a block by s before a ridge regression of penalty p gives them the penalty
p / s^2, and with s = 0 leaves them out. So a block of noise costs little; embeddings and n-grams have to lower the
error by more than its standard error.
Scales are those of `SCALES`, the same for all targets; penalties are each target's own. They minimise the mean, over
targets, of leave-one-out error over variance: by coordinate descent, which from 60 rows on misses less than 0.5% of
the best of all combinations (tests; with 14 rows it can miss 9%).

Features are standardised and their Gram matrix is found once, O(n d^2); each choice of scales tried takes another
O(n d^2 + d^3). The errors are those of explicit refits to 1e-9 (tests).

Of more than `MOST_TARGETS` targets, which have thousands of run sets, penalties minimise the error of generalised
cross-validation (Golub, Heath and Wahba 1979) instead, which needs no row: O(d) for each target and penalty.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.state import Stateful

__all__ = [
    "BLOCKS",
    "CONTENT",
    "PENALTIES",
    "REST",
    "SCALES",
    "Ridge",
    "RidgeRegressions",
    "choose_scales",
    "fit_ridge",
    "judged",
]

#: Ridge penalties tried, in units of the number of rows (features have unit variance).
PENALTIES = np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0])

#: Most rows that have leave-one-out estimates, by which a penalty is chosen; each is left out of all others.
MOST_ROWS = 2_000

#: Most targets whose penalties are chosen by leave-one-out estimates; those of more have them for so many rows.
MOST_TARGETS = 12
FEW_ROWS = 500

#: Scales of a block that are tried, in units of the standard deviation of its features.
SCALES = (1.0, 0.3, 0.1, 0.03, 0.0)

#: The blocks: a query's embedding or its text's n-grams; and the rest, which are its other columns and the responses.
BLOCKS = REST, CONTENT = 0, 1

#: A row whose leverage is closer to 1 than this is fitted exactly, to rounding.
LEAST_FREEDOM = 1e-10

#: A feature whose standard deviation is below this fraction of its size is constant.
CONSTANT = 1e-9

#: Other scales must lower the error by this fraction of it: less is rounding.
LEAST_GAIN = 1e-9


@dataclass(frozen=True)
class Ridge(Stateful, part="ridge", kept=("weights", "intercept")):
    """A fitted regression: estimates = features @ weights + intercept."""

    weights: FloatArray
    intercept: FloatArray
    #: Leave-one-out estimates of fitting rows, shape (n_estimated, n_targets); not part of the state.
    left_out: FloatArray | None = None

    def predict(self, features: FloatArray) -> FloatArray:
        """Estimate from centred features; a missing one (NaN) counts as average."""
        return np.asarray(_known(features) @ self.weights + self.intercept)


def _known(features: FloatArray) -> FloatArray:
    """Count missing values (NaN) as zero; without any, nothing is copied."""
    missing = np.isnan(features)
    return np.where(missing, 0.0, features) if np.count_nonzero(missing) else features


class _Standardised(NamedTuple):
    """Features of mean 0 and variance 1, shape (n, n_features), and what they were; one that is constant is 0."""

    values: FloatArray
    means: FloatArray
    sds: FloatArray
    used: BoolArray

    @classmethod
    def of(cls, features: FloatArray) -> _Standardised:
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
        "_gram",
        "rows",
        "_of_rows",
        "_residuals",
        "_sizes",
    ),
):
    """Ridge regressions of the same targets on any of the same features; those of `fit_ridge`, to rounding.

    Features are standardised, and their Gram matrix is found, once: O(n d^2). A choice of e features then takes
    O(e^3 + e t), and O(e m (e + t)) where leave-one-out estimates of m rows are given or choose the penalties of t
    targets.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
        Centred: a missing value (NaN) counts as zero.
    targets : ndarray of shape (n, n_targets)

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

    #: The features, where there are more of them than rows; such regressions have no state.
    _wide: FloatArray | None = None

    @one_blas_thread
    def __init__(self, features: FloatArray, targets: FloatArray) -> None:
        self._n, n_features = features.shape
        standardised, self._means, self._sds, self._used = _Standardised.of(features)
        self._target_means = targets.mean(axis=0)
        residuals = targets - self._target_means
        self._pull = standardised.T @ residuals
        if n_features > self._n:
            # The Gram matrix of the rows is the smaller one; it is another for each choice.
            self._wide, self._gram = standardised, np.empty((0, 0))
        else:
            self._gram = standardised.T @ standardised
        self.rows: IndexArray = judged(targets)
        self._of_rows = np.ascontiguousarray(standardised[self.rows].T)
        self._residuals = residuals[self.rows]
        # Sums of squares of all rows, where these choose.
        self._sizes = np.einsum("ij,ij->j", residuals, residuals) if targets.shape[1] > MOST_TARGETS else None

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
        squares, right = self._spectrum(used, scale)
        # V / S of the scaled features, by which they become U.
        turn = scale * right / np.sqrt(squares)
        along = turn.T @ self._pull[used]
        left = turn.T @ self._of_rows[used] if left_out or self._sizes is None else np.empty((0, 0))
        if self._sizes is None:
            chosen = _best_shrinkage(squares, left, along, self._residuals, self._n)
        else:
            chosen = _generalised(squares, along, self._sizes, self._n)
        without: FloatArray | None = None
        if left_out:
            rest = self._residuals - left.T @ (chosen * along)
            without = self._target_means + self._residuals - rest / _freedom(left, chosen, self._n)
        weights = np.zeros((len(columns), len(self._target_means)))
        weights[here] = turn @ (chosen * along) / self._sds[used, None]
        return Ridge(weights, self._target_means - self._means[columns] @ weights, without)

    def _spectrum(self, used: IndexArray, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Give the squares of S, and V, of the scaled features."""
        if self._wide is None:
            return _eigen(self._gram[np.ix_(used, used)] * (scale * scale.T))
        scaled = self._wide[:, used] * scale.T
        squares, left = _eigen(scaled @ scaled.T)
        return squares, scaled.T @ (left / np.sqrt(squares))


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
    for shrinkage, freedom in zip(shrinkages.T[:, :, None], _freedom(left, shrinkages, n).T, strict=True):
        errors = rows @ (shrinkage * along)
        np.subtract(residuals, errors, out=errors)
        error = freedom**-2 @ np.square(errors, out=errors)
        better = error < least
        least = np.where(better, error, least)
        chosen[:, better] = shrinkage
    return chosen


def _generalised(squares: FloatArray, along: FloatArray, sizes: FloatArray, n: int) -> FloatArray:
    """Give D for each target, at the penalty whose error of generalised cross-validation is the smallest."""
    shrinkages = squares[:, None] / (squares[:, None] + n * PENALTIES)
    # The residuals y - U D U' y have the squares y'y - sum of (2 D - D^2) (U'y)^2.
    errors = np.maximum(sizes - (shrinkages * (2.0 - shrinkages)).T @ along**2, 0.0)
    freedom = np.maximum(1.0 - (1.0 + shrinkages.sum(axis=0)) / n, LEAST_FREEDOM)
    return np.asarray(shrinkages[:, (errors / freedom[:, None] ** 2).argmin(axis=0)])


def _freedom(left: FloatArray, shrinkages: FloatArray, n: int) -> FloatArray:
    """Give 1 - h of each row, for each column of shrinkages; `left` is U'."""
    return np.maximum(1.0 - 1.0 / n - (left**2).T @ shrinkages, LEAST_FREEDOM)


def _eigen(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give the eigenvalues of a Gram matrix that aren't zero to rounding, and their vectors."""
    squares, vectors = np.linalg.eigh(gram)
    kept = squares > CONSTANT * max(float(squares.max(initial=0.0)), 1.0)
    return squares[kept], vectors[:, kept]


@one_blas_thread
def choose_scales(
    features: FloatArray,
    targets: FloatArray,
    blocks: IndexArray,
    start: FloatArray,
    *,
    optional: Collection[int] = (),
) -> FloatArray:
    """Choose the scale of each block of features, by the exact leave-one-out error, for all targets together.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
        Centred: a missing value (NaN) counts as zero.
    targets : ndarray of shape (n, n_targets)
    blocks : int ndarray of shape (n_features,)
        The block of each feature.
    start : ndarray of shape (n_blocks,)
        Scales to begin with.
    optional : collection of int
        Blocks that are left out, unless that makes the error larger by more than the standard error of the difference.

    Returns
    -------
    ndarray of shape (n_blocks,)
        No scale of `SCALES` for one block alone makes the error smaller, but for blocks left out. Those of blocks
        without a feature are as they were, and all of them where there are features in one block only: there, a scale
        does what the penalty does.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> signal, noise = rng.normal(size=(200, 2)), rng.normal(size=(200, 50))
    >>> target = signal.sum(axis=1, keepdims=True) + rng.normal(size=(200, 1))
    >>> choose_scales(np.hstack([signal, noise]), target, np.repeat([0, 1], [2, 50]), np.ones(2)).tolist()
    [1.0, 0.03]
    """
    scales = start.copy()
    present = np.unique(blocks)
    if len(present) < 2:
        return scales
    regressions = LeaveOneOut(features, targets)
    least, tried = regressions.error(scales[blocks]), {tuple(scales)}
    moved = True
    while moved:
        moved = False
        for block in present:
            for scale in SCALES:
                other = scales.copy()
                other[block] = scale
                if tuple(other) in tried:
                    continue
                tried.add(tuple(other))
                error = regressions.error(other[blocks])
                if error < (1.0 - LEAST_GAIN) * least:
                    least, scales, moved = error, other, True
    for block in set(optional) & set(present.tolist()):
        without = scales.copy()
        without[block] = 0.0
        if scales[block] > 0.0 and not regressions.is_surely_smaller(scales[blocks], without[blocks]):
            scales = without
    return scales


class LeaveOneOut:
    """The leave-one-out error of ridge regressions under any scales of their features; parameters as in `fit_ridge`."""

    def __init__(self, features: FloatArray, targets: FloatArray) -> None:
        values, _, _, self._used = _Standardised.of(features)
        self._standardised = values[:, self._used]
        self._gram = self._standardised.T @ self._standardised
        residuals = targets - targets.mean(axis=0)
        size = np.sqrt(np.mean(residuals**2, axis=0))
        varied = size > CONSTANT * (np.abs(targets.mean(axis=0)) + size)
        self._residuals = residuals[:, varied] / size[varied]

    def error(self, scales: FloatArray) -> float:
        """Give the mean over targets of the error at the best penalty, in units of the target's variance.

        Parameters
        ----------
        scales : ndarray of shape (n_features,)
        """
        errors = self._errors(scales)
        mean_squares = np.einsum("ipj,ipj->pj", errors, errors) / len(errors)
        return float(mean_squares.min(axis=0).mean()) if errors.size else 0.0

    def is_surely_smaller(self, scales: FloatArray, other: FloatArray) -> bool:
        """Tell whether scales have a smaller error than others, by more than the standard error of the difference."""
        if not self._residuals.size:
            return False
        gain = self._of_rows(other) - self._of_rows(scales)
        return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))

    def _of_rows(self, scales: FloatArray) -> FloatArray:
        """Give each row's share of `error`."""
        squares = self._errors(scales) ** 2
        best = squares.mean(axis=0).argmin(axis=0)
        return np.asarray(np.take_along_axis(squares, best[None, None, :], axis=1).mean(axis=(1, 2)))

    def _errors(self, scales: FloatArray) -> FloatArray:
        """Give the errors of each row left out, at each penalty, for each target."""
        n, n_targets = self._residuals.shape
        scales = scales[self._used]
        used = np.flatnonzero(scales)
        scales = scales[used]
        squares, right = _eigen(self._gram[np.ix_(used, used)] * np.outer(scales, scales))
        left = self._standardised[:, used] @ (scales[:, None] * right / np.sqrt(squares))
        shrink = squares[:, None] / (squares[:, None] + n * PENALTIES)
        freedom = _freedom(left.T, shrink, n)
        along = left.T @ self._residuals
        # All penalties in one product: (kept, penalties, targets) as one wide matrix.
        fitted = left @ (shrink[:, :, None] * along[:, None, :]).reshape(len(squares), len(PENALTIES) * n_targets)
        errors = self._residuals[:, None, :] - fitted.reshape(n, len(PENALTIES), n_targets)
        errors /= freedom[:, :, None]
        return np.asarray(errors)
