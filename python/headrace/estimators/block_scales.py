"""Scales of blocks of features in ridge regressions, chosen by the exact leave-one-out error.

Multiplying the standardised features of a block by s before a ridge regression of penalty p gives them the penalty
p / s^2, and with s = 0 leaves them out. So a block of noise costs little; embeddings and n-grams have to lower the
error by more than its standard error.
Scales are those of `SCALES`, the same for all targets; penalties are each target's own. They minimise the mean, over
targets, of leave-one-out error over variance: by coordinate descent, which from 60 rows on misses less than 0.5% of
the best of all combinations (tests; with 14 rows it can miss 9%).

Features are standardised and their Gram matrix is found once, O(n d^2); each choice of scales tried takes another
O(n d^2 + d^3). The errors are those of explicit refits to 1e-9 (tests).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from headrace.arguments import FloatArray, IndexArray
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.gram import CONSTANT, eigen
from headrace.estimators.ridge import PENALTIES, Standardised, freedom

__all__ = ["BLOCKS", "CONTENT", "REST", "SCALES", "LeaveOneOut", "choose_scales"]

#: Scales of a block that are tried, in units of the standard deviation of its features.
SCALES = (1.0, 0.3, 0.1, 0.03, 0.0)

#: The blocks: a query's embedding or its text's n-grams; and the rest, which are its other columns and the responses.
BLOCKS = REST, CONTENT = 0, 1

#: Other scales must lower the error by this fraction of it: less is rounding.
LEAST_GAIN = 1e-9


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
        values, _, _, self._used = Standardised.of(features)
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
        squares, right = eigen(self._gram[np.ix_(used, used)] * np.outer(scales, scales))
        left = self._standardised[:, used] @ (scales[:, None] * right / np.sqrt(squares))
        shrink = squares[:, None] / (squares[:, None] + n * PENALTIES)
        free = freedom(left.T, shrink, n)
        along = left.T @ self._residuals
        # All penalties in one product: (kept, penalties, targets) as one wide matrix.
        fitted = left @ (shrink[:, :, None] * along[:, None, :]).reshape(len(squares), len(PENALTIES) * n_targets)
        errors = self._residuals[:, None, :] - fitted.reshape(n, len(PENALTIES), n_targets)
        errors /= free[:, :, None]
        return np.asarray(errors)
