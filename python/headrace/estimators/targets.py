"""Targets: the realised qualities or costs that an estimator learns from, and their range."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headrace.arguments import FloatArray

__all__ = ["checked_targets", "clipped"]


def checked_targets(targets: npt.ArrayLike, *, fewest: int = 1, partly: bool = False) -> FloatArray:
    """Give targets as an array of float.

    Parameters
    ----------
    targets : array-like of shape (n_queries, n_models)
    fewest : int
        Fewest labelled queries, of every model.
    partly : bool
        Whether some may be missing (NaN).

    Raises
    ------
    ValueError
        Another shape; too few queries; infinite or missing numbers.
    """
    values = np.asarray(targets, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"targets: expected shape (n_queries, n_models), got {values.shape}")
    if np.isinf(values).any():
        raise ValueError("targets: expected finite numbers, got infinity")
    missing = np.isnan(values)
    if missing.any() and not partly:
        raise ValueError(f"targets: expected a number for every query and model, {missing.sum()} are missing")
    if len(values) < fewest:
        raise ValueError(f"targets: expected at least {fewest} labelled queries to learn from, got {len(values)}")
    short = np.flatnonzero((~missing).sum(axis=0) < fewest)
    if len(short):
        wanted = f"at least {fewest} labelled queries of every model"
        raise ValueError(f"targets: expected {wanted}; models {short.tolist()} have fewer")
    return values


def clipped(values: FloatArray, least: float | FloatArray, largest: float | FloatArray) -> FloatArray:
    """Keep numbers, such as estimates, within a range: as `np.clip`, which takes longer for a few numbers."""
    return np.asarray(np.minimum(np.maximum(values, least), largest))
