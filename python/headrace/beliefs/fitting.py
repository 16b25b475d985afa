"""Fits of estimators on labelled queries, by folds: what estimates a query has never seen its labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.estimators.asked import named_on_error
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.protocol import CostEstimator, Estimators, QualityEstimator
from headrace.outcomes import Outcomes

__all__ = ["CrossFit", "best_cross_fit", "cross_fit", "fit_estimators", "fit_quality", "outside_groups", "refitted"]


class CrossFit(NamedTuple):
    """The quality estimator with the smallest error on held-out queries, and what it believes of them.

    Attributes
    ----------
    table : BeliefTable
    quality : QualityEstimator
        Unfitted.
    errors : tuple of float
        Mean squared error of each candidate; empty where there is one only.
    """

    table: BeliefTable
    quality: QualityEstimator
    errors: tuple[float, ...]


def best_cross_fit(
    outcomes: Outcomes,
    qualities: Sequence[QualityEstimator],
    cost: CostEstimator,
    *,
    n_folds: int,
    seed: int,
    max_depth: int,
    partial: Outcomes | None = None,
) -> CrossFit:
    """Cross-fit some quality estimators, and take the best.

    Parameters
    ----------
    outcomes, cost, n_folds, seed, partial
        As in `cross_fit`.
    qualities : sequence of QualityEstimator
        Unfitted. A later one is taken only if its error is smaller by more than the standard error of the difference.
    max_depth : int
        Errors count with up to so many runs; see `BeliefTable.held_out_errors`.

    Returns
    -------
    CrossFit
    """
    table = cross_fit(outcomes, qualities[0], cost, n_folds=n_folds, seed=seed, partial=partial)
    if len(qualities) == 1:
        return CrossFit(table, qualities[0], ())
    tables = [table, *(refitted(table, other, partial) for other in qualities[1:])]
    errors = [table.held_out_errors(max_depth=max_depth) for table in tables]
    best = _best(errors)
    return CrossFit(tables[best], qualities[best], tuple(float(error.mean()) for error in errors))


def cross_fit(
    outcomes: Outcomes,
    quality: QualityEstimator,
    cost: CostEstimator,
    *,
    n_folds: int,
    seed: int,
    partial: Outcomes | None = None,
) -> BeliefTable:
    """Make the table of estimators that are fitted, for each fold of the rows, on the other folds.

    Parameters
    ----------
    outcomes : Outcomes
        Complete table.
    quality, cost : estimator
        Unfitted; copies of them are fitted.
    n_folds : int
        Number of folds; fewer where there are not so many queries, or groups.
    seed : int
        Seed of the folds.
    partial : Outcomes, optional
        More labelled queries, with missing cells, for estimators that accept them.
    """
    n_folds = min(n_folds, outcomes.n_groups)
    fold_of_row = outcomes.folds(n_folds, rng=seed)
    parts = []
    for fold in range(n_folds):
        others = outcomes.take(fold_of_row != fold)
        held_out = outcomes.take(fold_of_row == fold)
        fitted = fit_estimators(others, quality, cost, outside_groups(partial, held_out))
        parts.append((np.flatnonzero(fold_of_row == fold), *fitted))
    return BeliefTable(outcomes, parts)


def refitted(table: BeliefTable, quality: QualityEstimator, partial: Outcomes | None = None) -> BeliefTable:
    """Give the table of another quality estimator, fitted for each part on the rows of the others, as `cross_fit`.

    Parameters
    ----------
    table : BeliefTable
    quality : QualityEstimator
        Unfitted; copies of it are fitted. The cost estimators stay.
    partial : Outcomes, optional
        As in `cross_fit`.
    """
    parts = []
    for part in table.parts:
        held_out = table.outcomes.take(part.rows)
        others = table.outcomes.take(np.setdiff1d(np.arange(table.outcomes.n_queries), part.rows))
        fitted = fit_quality(others, quality, outside_groups(partial, held_out))
        parts.append(part._replace(quality=fitted))
    return BeliefTable(table.outcomes, parts, rates=table.rates)


def fit_estimators(
    outcomes: Outcomes, quality: QualityEstimator, cost: CostEstimator, partial: Outcomes | None = None
) -> Estimators:
    """Fit copies of two estimators on a complete table, that of costs for each of its costs.

    A quality estimator whose `accepts_missing` is True also gets the queries of `partial`, with NaN where a quality is
    missing, and the responses of the models that have one.
    """
    everything = outcomes.responses_for(np.ones(outcomes.n_models, dtype=np.bool_))
    with one_blas_thread, named_on_error("cost", cost):
        costs = tuple(copy.deepcopy(cost).fit(outcomes.queries, everything, c) for c in outcomes.costs.values())
    return fit_quality(outcomes, quality, partial), costs


def fit_quality(outcomes: Outcomes, quality: QualityEstimator, partial: Outcomes | None = None) -> QualityEstimator:
    """Fit a copy of a quality estimator, as `fit_estimators`."""
    labelled = outcomes
    if partial is not None and getattr(quality, "accepts_missing", False):
        labelled = outcomes.concat(partial)
    seen = labelled.responses_for(~np.isnan(labelled.quality))
    with one_blas_thread, named_on_error("quality", quality):
        return copy.deepcopy(quality).fit(labelled.queries, seen, labelled.quality)


def outside_groups(partial: Outcomes | None, held_out: Outcomes) -> Outcomes | None:
    """Give the rows of a table whose group has no row in a held-out one; None where there are none."""
    if partial is None or partial.groups is None or held_out.groups is None:
        return partial
    rows = ~np.isin(partial.groups, held_out.groups)
    return partial.take(rows) if rows.any() else None


def _best(errors: Sequence[FloatArray]) -> int:
    """Which errors are the smallest on average; the first ones, unless others are by more than a standard error."""
    best = 0
    for other in range(1, len(errors)):
        gain = errors[best] - errors[other]
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            best = other
    return best
