"""Gram matrices of standardised features, of which a regression uses some: from all their products, or the features.

Features are kept a row each, shape (n_features, n), for n queries.
"""

from __future__ import annotations

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.state import Stateful

__all__ = ["CONSTANT", "Features", "Products", "eigen"]

#: What is below this fraction of its size is zero, to rounding: a standard deviation, an eigenvalue.
CONSTANT = 1e-9

#: Features multiplied at a time, of many.
BLOCK = 512


class Products(Stateful, part="feature-products", kept=("_gram", "_of_rows")):
    """The products of standardised features with each other, and the features of some rows."""

    def __init__(self, features: FloatArray, rows: IndexArray) -> None:
        self._gram, self._of_rows = features @ features.T, np.ascontiguousarray(features[:, rows])

    def gram(self, used: IndexArray) -> FloatArray:
        """Give the products of the features used."""
        return np.asarray(self._gram[np.ix_(used, used)])

    def spectrum(self, used: IndexArray, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Give the squares of S of the scaled features used, and the scaled V / S, which makes U of the plain ones."""
        squares, right = eigen(self.gram(used) * (scale * scale.T))
        return squares, scale * right / np.sqrt(squares)

    def of_rows(self, used: IndexArray) -> FloatArray:
        """Give the features used, a row each."""
        return np.asarray(self._of_rows[used])

    def less(self, pull: FloatArray, used: IndexArray, weights: FloatArray, _: FloatArray) -> FloatArray:
        """Give the products of all features with what estimates leave of targets, of which `pull` are the products."""
        return np.asarray(pull - self._gram[:, used] @ weights)


class Features(
    Stateful,
    part="standardised-features",
    kept=("_values", "_bits", "_ends", "_has_two", "_place", "_rows"),
):
    """The standardised features themselves, a row each: where they are more than rows, or have too many products.

    One that has two values only, as the agreement of two answers has, is kept as a bit for each query.
    """

    def __init__(self, features: FloatArray, rows: IndexArray) -> None:
        low, high = features.min(axis=1, keepdims=True), features.max(axis=1, keepdims=True)
        is_high = features == high
        self._has_two: BoolArray = (is_high | (features == low)).all(axis=1)
        self._place = np.where(self._has_two, np.cumsum(self._has_two), np.cumsum(~self._has_two)) - 1
        self._values = features[~self._has_two]
        self._bits = np.packbits(is_high[self._has_two], axis=1)
        self._ends = np.concatenate([low, high], axis=1)[self._has_two]
        self._rows = rows

    def _of(self, used: IndexArray) -> FloatArray:
        """Give the features used, a row each, as they came."""
        has_two, place = self._has_two[used], self._place[used]
        if not has_two.any():
            return np.asarray(self._values[place])
        n = self._values.shape[1]
        values = np.empty((len(used), n), self._values.dtype)
        values[~has_two] = self._values[place[~has_two]]
        those = place[has_two]
        # Exact, as one of the two products is zero; `np.where` takes three times as long.
        is_high = np.unpackbits(self._bits[those], axis=1, count=n).astype(values.dtype)
        values[has_two] = (1.0 - is_high) * self._ends[those, :1] + is_high * self._ends[those, 1:]
        return values

    def gram(self, used: IndexArray) -> FloatArray:
        """As of `Products`."""
        values = self._of(used)
        return (values @ values.T).astype(np.float64, copy=False)

    def spectrum(self, used: IndexArray, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
        """As of `Products`; of more features than rows, the Gram matrix of the rows is the smaller one."""
        if len(used) <= self._values.shape[1]:
            squares, right = eigen(self.gram(used) * (scale * scale.T))
        else:
            values = self._of(used)
            values *= scale.astype(values.dtype)
            squares, left = eigen((values.T @ values).astype(np.float64))
            right = values @ (left / np.sqrt(squares))
        return squares, scale * right / np.sqrt(squares)

    def of_rows(self, used: IndexArray) -> FloatArray:
        """As of `Products`."""
        return self._of(used)[:, self._rows].astype(np.float64)

    def less(self, _: FloatArray, used: IndexArray, weights: FloatArray, targets: FloatArray) -> FloatArray:
        """As of `Products`."""
        left = (targets - self._of(used).T @ weights).astype(self._values.dtype)
        every = np.arange(len(self._place))
        blocks = [self._of(every[begin : begin + BLOCK]) @ left for begin in range(0, len(every), BLOCK)]
        return np.concatenate(blocks).astype(np.float64)


def eigen(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give the eigenvalues of a Gram matrix that aren't zero to rounding, and their vectors."""
    squares, vectors = np.linalg.eigh(gram)
    kept = squares > CONSTANT * max(float(squares.max(initial=0.0)), 1.0)
    return squares[kept], vectors[:, kept]
