"""Reductions: text, and columns of many numbers, as a few numbers each.

Both project onto the directions of largest variance of the fitting data (Halko, Martinsson and Tropp 2011, algorithm
4.4): the regressions that use them stay small. Text is first hashed to counts of its runs of 4 bytes, in any language
and without a vocabulary (Weinberger et al. 2009), then weighted by tf-idf. A text of 1,000 characters takes some
fifteen microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from headrace._core import project_texts
from headrace.arguments import FloatArray
from headrace.estimators.state import Stateful

__all__ = ["TextReduction", "WideReduction", "leading_directions"]

#: Directions kept. On real logs 16 to 64 do equally well; more only cost time.
N_DIRECTIONS = 32

#: Directions beyond those kept, and iterations, of the randomised decomposition.
OVERSAMPLING = 10
N_ITERATIONS = 4

#: A direction whose singular value is below this fraction of the largest is rounding.
LEAST_SHARE = 1e-7

#: Texts are hashed to this many counts: 2 to the power of N_BITS.
N_BITS = 12

#: Bytes of a text that are looked at: it bounds the time that a long text takes.
LONGEST = 20_000

#: Knuth's multiplier for 32 bits (the prime next to 2^32 / golden ratio).
MULTIPLIER = np.uint32(2_654_435_761)


def leading_directions(matrix: Any, n_directions: int = N_DIRECTIONS) -> FloatArray:
    """Give the leading right singular vectors of a matrix, by randomised subspace iteration with a fixed seed.

    Parameters
    ----------
    matrix : ndarray or sparse array of shape (n, d)
    n_directions : int
        Fewer are given where the rank is lower.

    Returns
    -------
    ndarray of shape (d, <= n_directions)
        Orthonormal columns.
    """
    n, d = matrix.shape
    width = min(n_directions + OVERSAMPLING, n, d)
    basis = np.random.default_rng(0).normal(size=(d, width))
    for _ in range(N_ITERATIONS):
        basis = np.linalg.qr(matrix.T @ (matrix @ basis))[0]
    _, scale, right = np.linalg.svd(matrix @ basis, full_matrices=False)
    kept = scale[:n_directions] > LEAST_SHARE * max(float(scale.max(initial=0.0)), LEAST_SHARE)
    return np.ascontiguousarray(basis @ right[:n_directions][kept].T)


class WideReduction(Stateful, part="wide-reduction", kept=("_centre", "_directions")):
    """A column of many numbers, such as an embedding, in its principal components; missing values count as average."""

    def fit(self, values: FloatArray) -> Self:
        """Learn from values of shape (n, d)."""
        known = ~np.isnan(values)
        self._centre = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        self._directions = leading_directions(np.where(known, values - self._centre, 0.0))
        return self

    def transform(self, values: FloatArray) -> FloatArray:
        """Give shape (n, n_directions)."""
        centred = values - self._centre
        centred[np.isnan(centred)] = 0.0
        return np.asarray(centred @ self._directions)


class TextReduction(Stateful, part="text-reduction", kept=("_rarity", "_directions")):
    """Hashed 4-byte runs of text, weighted by tf-idf, in their directions of largest variance.

    The weight of a run that a text has c times is log(1 + c) * (1 + log((1 + n) / (1 + texts with it))); each text has
    length 1. A text without a run that the fit has seen is all zeros.

    Examples
    --------
    >>> from headrace.estimators.reduction import TextReduction
    >>> texts = ["sum the odd numbers", "sum the even numbers", "who wrote this poem?", "who painted this?"]
    >>> vectors = TextReduction().fit(texts).transform(texts)
    >>> bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])
    True
    """

    def fit(self, texts: Sequence[str]) -> Self:
        """Learn weights and directions."""
        from scipy.sparse import csr_array

        columns, counts, ends = _counted(texts)
        n_texts = np.bincount(columns, minlength=2**N_BITS)
        rarity = (1.0 + np.log((1.0 + len(texts)) / (1.0 + n_texts))) * (n_texts > 0)
        weights = np.log1p(counts)
        weights *= rarity[columns]
        weighted = csr_array((weights, columns, ends), shape=(len(texts), 2**N_BITS))
        lengths = np.sqrt(np.asarray((weighted**2).sum(axis=1)))
        weighted.data /= np.repeat(np.maximum(lengths, LEAST_SHARE), np.diff(ends))
        self._rarity = rarity
        self._directions = (leading_directions(weighted) * rarity[:, None]).astype(np.float32)
        return self

    def transform(self, texts: Sequence[str]) -> FloatArray:
        """Give shape (n_texts, n_directions)."""
        return project_texts([_bytes(text) for text in texts], self._rarity, self._directions)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:LONGEST]


def _counted(texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], FloatArray, npt.NDArray[np.int32]]:
    """Count the hashes of each text: the hashes of all, rising in each text, how often each is there, and row ends.

    One text after the other: the hashes of all texts together would take some ten times as much memory as the counts.
    """
    hashes, counts, ends = [np.zeros(0, np.uint16)], [np.zeros(0)], np.zeros(len(texts) + 1, np.int32)
    for number, text in enumerate(texts):
        times = np.bincount(_buckets(text), minlength=2**N_BITS)
        met = np.flatnonzero(times)
        hashes.append(met.astype(np.uint16))
        counts.append(times[met].astype(np.float64))
        ends[number + 1] = ends[number] + len(met)
    return np.concatenate(hashes).astype(np.int32), np.concatenate(counts), ends


def _buckets(text: str) -> npt.NDArray[np.uint16]:
    """Hash every run of 4 bytes to N_BITS bits."""
    data = _bytes(text)
    if len(data) < 4:
        return np.zeros(0, dtype=np.uint16)
    # An overlapping view: one 32-bit number starts at every byte.
    runs = np.ndarray((len(data) - 3,), dtype="<u4", buffer=data, strides=(1,))
    return ((runs * MULTIPLIER) >> np.uint32(32 - N_BITS)).astype(np.uint16)
