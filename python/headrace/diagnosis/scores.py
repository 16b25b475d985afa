"""Scores of estimates e against labels y, and the errors with which they are known.

Calibrated estimates have E[y | e] = e, so that the mean of e - y is zero and the regression of y on e has slope 1,
whatever the labels are: these two are tested, and the reliability curve by the sum over groups of queries of like
estimates of (mean y - mean e)^2 over its variance, which is about chi-squared (Hosmer and Lemeshow 1980, for estimates
that have not seen the labels). Queries of one group of the table count as one draw: standard errors are clustered.
Where estimators differ between folds, slopes and correlations are taken within folds: the mean of a fold that is left
out is anti-correlated with the fold. On simulated estimates, the tests' sizes are checked in the tests.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.diagnosis.reliability import groups_of

__all__ = ["LEAST_PROBABILITY", "Scores", "auroc", "score"]

#: The log loss takes estimates as at least this far from 0 and 1.
LEAST_PROBABILITY = 1e-3

#: Estimates whose standard deviation is below this are the same for every query.
CONSTANT = 1e-9


class Scores(NamedTuple):
    """Scores of one model's estimates; NaN where one isn't defined.

    Attributes
    ----------
    mean_square : float
        Mean of (e - y)^2: for labels 0 and 1, the Brier score.
    r_squared : float
        1 - mean_square / variance of y: the share of the variance that is explained.
    calibration_error, error_by_chance : float
        Expected calibration error, and what calibrated estimates would have by chance with so many queries.
    log_loss, auroc : float
        For labels 0 and 1 only.
    bias, bias_error : float
        Mean of e - y, and its standard error.
    slope, slope_error : float
        Of the regression of y on e, and its standard error; below 1: over-confident.
    correlation, correlation_error : float
        Of e and y.
    spread : float
        Standard deviation of e.
    chi_squared : float
        Of the reliability curve.
    n_bins : int
        Its degrees of freedom.
    """

    mean_square: float
    r_squared: float
    calibration_error: float
    error_by_chance: float
    log_loss: float
    auroc: float
    bias: float
    bias_error: float
    slope: float
    slope_error: float
    correlation: float
    correlation_error: float
    spread: float
    chi_squared: float
    n_bins: int


def score(estimates: FloatArray, labels: FloatArray, *, part: IndexArray, cluster: IndexArray) -> Scores:
    """Score the estimates of one model.

    Parameters
    ----------
    estimates, labels : ndarray of shape (n_queries,)
    part : ndarray of int of shape (n_queries,)
        Which estimator made the estimate.
    cluster : ndarray of int of shape (n_queries,)
        Queries that don't count as different draws share a number.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.diagnosis.scores import score
    >>> e, y, rows = np.tile([0.2, 0.8], 50), np.tile([0.0, 1.0], 50), np.arange(100)
    >>> result = score(e, y, part=np.zeros(100, int), cluster=rows)
    >>> round(result.mean_square, 3), result.auroc, round(result.slope, 3)
    (0.04, 1.0, 1.667)
    """
    n = len(labels)
    binary = is_binary(labels)
    mean_square, variance = float(np.mean((estimates - labels) ** 2)), float(labels.var())
    e, y = _within(estimates, part), _within(labels, part)
    squares, products = float(e @ e), float(e @ y)
    spread = (squares / n) ** 0.5
    slope = slope_error = correlation = correlation_error = np.nan
    if spread > CONSTANT:
        slope = products / squares
        slope_error = _clustered(e * (y - slope * e), cluster) / squares
        scale = (float(y @ y) / squares) ** 0.5
        if scale > CONSTANT:
            correlation = slope / scale
            # Its influence function, of standardised values.
            e, y = e / spread, y / (scale * spread)
            correlation_error = _clustered(e * y - correlation / 2.0 * (e**2 + y**2), cluster) / n
    residual = estimates - labels
    inflation = _inflation(residual, cluster)
    bias, bias_error = float(residual.mean()), _clustered(residual - residual.mean(), cluster) / n
    variances = _bernoulli(estimates) if binary else residual**2
    if binary:
        # Where all labels agree, they don't show how they vary; calibrated estimates say it.
        bias_error = max(bias_error, float((inflation * variances.sum()) ** 0.5) / n)
    # Of estimates that are the same for every query, only the parts could be told apart.
    curve = _curve(estimates if spread > CONSTANT else np.zeros(n), residual, variances, inflation)
    return Scores(
        mean_square,
        1.0 - mean_square / variance if variance > 0.0 else np.nan,
        *curve[:2],
        _log_loss(estimates, labels) if binary else np.nan,
        auroc(estimates, labels > 0.5, part) if binary else np.nan,
        bias,
        bias_error,
        slope,
        slope_error,
        correlation,
        correlation_error,
        spread,
        *curve[2:],
    )


def auroc(estimates: FloatArray, positive: BoolArray, part: IndexArray) -> float:
    """Probability that a right answer's estimate is above a wrong one's in the same part, ties counted as half.

    Parameters
    ----------
    estimates, positive, part : ndarray of shape (n_queries,)

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.diagnosis.scores import auroc
    >>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]), np.zeros(4, int))
    0.875
    """
    above, n_pairs = 0.0, 0
    for number in np.unique(part):
        here = part == number
        right = positive[here]
        n_right = int(right.sum())
        _, place, count = np.unique(estimates[here], return_inverse=True, return_counts=True)
        rank = (np.cumsum(count) - (count - 1) / 2.0)[place.ravel()]
        above += float(rank[right].sum()) - n_right * (n_right + 1) / 2.0
        n_pairs += n_right * (len(right) - n_right)
    return above / n_pairs if n_pairs else float("nan")


def is_binary(labels: FloatArray) -> bool:
    """Tell whether all labels are 0 or 1."""
    return bool(((labels == 0.0) | (labels == 1.0)).all())


def _bernoulli(estimates: FloatArray) -> FloatArray:
    """Variance of a label that is 1 with the probability estimated; of n estimates of exactly 0 or 1, one may fail."""
    least = 1.0 / (len(estimates) + 2.0)
    inner = np.clip(estimates, least, 1.0 - least)
    return np.asarray(inner * (1.0 - inner))


def _log_loss(estimates: FloatArray, labels: FloatArray) -> float:
    inner = np.clip(estimates, LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
    return float(-np.mean(labels * np.log(inner) + (1.0 - labels) * np.log(1.0 - inner)))


def _within(values: FloatArray, part: IndexArray) -> FloatArray:
    """Centre values in each part."""
    means = np.bincount(part, weights=values) / np.maximum(np.bincount(part), 1)
    return np.asarray(values - means[part])


def _clustered(values: FloatArray, cluster: IndexArray) -> float:
    """Give the standard error of a sum of centred values, whose clusters are independent draws."""
    sums = np.bincount(cluster, weights=values)
    n_clusters = len(np.unique(cluster))
    return float((sums @ sums * n_clusters / max(n_clusters - 1, 1)) ** 0.5)


def _inflation(residual: FloatArray, cluster: IndexArray) -> float:
    """How much larger than for independent queries the variance of a mean is; at least 1."""
    centred = residual - residual.mean()
    independent, sums = float(centred @ centred), np.bincount(cluster, weights=centred)
    return max(1.0, float(sums @ sums) / independent) if independent > 0.0 else 1.0


def _curve(
    sorted_by: FloatArray, residual: FloatArray, variances: FloatArray, inflation: float
) -> tuple[float, float, float, int]:
    """Give the calibration error, that by chance, chi-squared, and its degrees of freedom."""
    group = groups_of(sorted_by)
    n = np.bincount(group)
    gap = np.bincount(group, weights=residual) / n
    variance = inflation * np.bincount(group, weights=variances) / n**2
    by_chance = float(n @ np.sqrt(2.0 * variance / np.pi) / n.sum())
    chi_squared = float(np.divide(gap**2, variance, out=np.zeros_like(gap), where=variance > 0.0).sum())
    return float(n @ np.abs(gap) / n.sum()), by_chance, chi_squared, len(n)
