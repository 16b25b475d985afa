"""Reliability: estimates in groups of like size, against what was realised."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.arguments import FloatArray, IndexArray

__all__ = ["Reliability", "binned", "groups_of"]

#: Groups of equal size into which estimates are sorted.
N_BINS = 10

#: Fewest queries in a group.
FEWEST_IN_BIN = 10


class Reliability(NamedTuple):
    """Estimated against realised quality of one model.

    Attributes
    ----------
    model : str
    stage : str
        What the estimates had seen: "before" any run, "after" the model's own run, "after 2 runs" of any models.
    estimate, quality : ndarray of shape (n_bins,)
        Means over groups of queries of like estimates, by rising estimate.
    quality_error : ndarray of shape (n_bins,)
        Standard errors of the realised means.
    n : ndarray of int of shape (n_bins,)
        Sizes of the groups.
    error : float
        Expected calibration error: mean distance of the two over the queries.
    """

    model: str
    stage: str
    estimate: FloatArray
    quality: FloatArray
    quality_error: FloatArray
    n: IndexArray
    error: float


def binned(model: str, stage: str, estimates: FloatArray, quality: FloatArray) -> Reliability:
    """Sort queries by an estimate into groups, and compare means.

    Parameters
    ----------
    model, stage : str
        For the record.
    estimates, quality : ndarray of shape (n_queries,)

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.diagnosis.reliability import binned
    >>> entry = binned("a", "before", np.repeat([0.2, 0.8], 10), np.repeat([0.0, 1.0], 10))
    >>> entry.quality.tolist(), entry.n.tolist(), round(entry.error, 3)
    ([0.0, 1.0], [10, 10], 0.2)
    """
    group = groups_of(estimates)
    n = np.bincount(group)
    means = [np.bincount(group, weights=values) / n for values in (estimates, quality)]
    squares = np.bincount(group, weights=(quality - means[1][group]) ** 2)
    error = float(np.abs(means[0] - means[1]) @ n / n.sum())
    return Reliability(model, stage, means[0], means[1], squares**0.5 / n, n, error)


def groups_of(estimates: FloatArray) -> IndexArray:
    """Give the number of each query's group, by rising estimate; equal estimates are in one group."""
    n_bins = int(np.clip(len(estimates) // FEWEST_IN_BIN, 1, N_BINS))
    edges = np.unique(np.quantile(estimates, np.linspace(0.0, 1.0, n_bins + 1)[1:-1], method="lower"))
    group = np.searchsorted(edges, estimates, side="left")
    return np.asarray(np.unique(group, return_inverse=True)[1], dtype=np.intp)
