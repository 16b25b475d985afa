"""The paired bootstrap over test queries: the same resamples for all methods, so that differences are sharp."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.arguments import FloatArray
from headrace.outcomes import Outcomes

__all__ = ["CONFIDENCE", "N_RESAMPLES", "Estimate", "estimate", "interval", "resampling_weights"]

#: Resamples.
N_RESAMPLES = 500

#: Confidence of the intervals.
CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A number and the ends of its 95% bootstrap interval."""

    value: float
    low: float
    high: float


def estimate(value: float, resampled: FloatArray) -> Estimate:
    """Join a number and the interval of its resamples."""
    return Estimate(float(value), *interval(resampled))


def interval(resampled: FloatArray) -> tuple[float, float]:
    """Give the ends of the percentile interval; NaN where a resample is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.bootstrap import interval
    >>> low, high = interval(np.arange(201.0))
    >>> round(low, 6), round(high, 6)
    (5.0, 195.0)
    """
    ends = [(1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0]
    if np.isfinite(resampled).all():
        low, high = np.quantile(resampled, ends)
    else:
        # Interpolating between infinite resamples would give NaN.
        low, high = np.quantile(resampled, ends, method="nearest")
    return float(low), float(high)


def resampling_weights(test: Outcomes, seed: int, n_resamples: int = N_RESAMPLES) -> FloatArray:
    """Weights of the queries in each resample; whole groups are drawn.

    Returns
    -------
    ndarray of shape (n_resamples, n_queries)
        Each row sums to 1: a resampled mean is a product with it.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.evaluation.bootstrap import resampling_weights
    >>> weights = resampling_weights(hr.datasets.simulate(40, 2), seed=0)
    >>> weights.shape, bool(abs(weights.sum(axis=1) - 1.0).max() < 1e-12)
    ((500, 40), True)
    """
    rng, n_groups, group_of_row = np.random.default_rng(seed), test.n_groups, test.group_of_row
    weights = np.empty((n_resamples, test.n_queries))
    # One after the other: the counts of all of them would take as much memory as the weights.
    for weight in weights:
        weight[:] = rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups))[group_of_row]
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
