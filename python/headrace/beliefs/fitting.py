"""Fits of estimators on labelled queries, by folds: what estimates a query has never seen its labels."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from headrace.arguments import FloatArray, IndexArray
from headrace.beliefs.belief_table import BeliefTable, Part
from headrace.estimators.asked import named_on_error
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.protocol import CostEstimator, Estimators, QualityEstimator
from headrace.outcomes import Outcomes

__all__ = ["CrossFit", "best_cross_fit", "cross_fit", "fit_estimators", "fit_quality", "outside_groups", "refitted"]


#: A candidate is out of the race when it would have to gain so many standard errors on the rows that are left; and from
#: fewer rows than these, none is.
BEHIND = 3.0
FEWEST_ROWS = 30


class CrossFit(NamedTuple):
    """The quality estimator with the smallest error on held-out queries, and what it believes of them.

    Attributes
    ----------
    table : BeliefTable
    quality : QualityEstimator
        Unfitted.
    errors : tuple of float
        Mean squared error of each candidate; empty where there is one only. Of one that was out of the race before the
        end: the best one's, and the mean difference on the queries that both were judged by.
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

    Notes
    -----
    A race: the candidates are fitted fold by fold, and one that is clearly behind after a fold is not fitted again.
    With the mean difference d and its standard deviation s on the m of n rows judged so far, the final mean difference
    is about d, with standard error s sqrt(1/m - 1/n). A candidate is out when the difference at which it would be taken
    is more than `BEHIND` of these away.
    """
    folds = _folds(outcomes, n_folds, seed, partial)
    errors = np.full((len(qualities), outcomes.n_queries), np.nan)
    parts: list[list[Part]] = [[] for _ in qualities]
    running = list(range(len(qualities)))
    judged = np.zeros(outcomes.n_queries, dtype=np.bool_)
    for fold in folds:
        costs = _fit_costs(fold.others, cost)
        for number in running:
            fitted = fit_quality(fold.others, qualities[number], fold.partial)
            parts[number].append(Part(fold.rows, fitted, costs))
        if len(running) == 1:
            continue
        judged[fold.rows] = True
        held_out = outcomes.take(fold.rows)
        every = np.arange(len(fold.rows))
        seen = BeliefTable(held_out, [(every, *parts[running[0]][-1][1:])])
        for number in running:
            table = seen.with_quality(parts[number][-1].quality)
            errors[number, fold.rows] = table.held_out_errors(max_depth=max_depth)
        running = _running(errors[:, judged], running, outcomes.n_queries)
    best = running[_best([errors[number] for number in running])] if len(running) > 1 else running[0]
    table = BeliefTable(outcomes, parts[best])
    return CrossFit(table, qualities[best], _mean_errors(errors, best) if len(qualities) > 1 else ())


def _running(errors: FloatArray, running: Sequence[int], n_queries: int) -> list[int]:
    """Give the candidates that may still be taken, by the errors of shape (n_candidates, n_judged) so far."""
    n = errors.shape[1]
    if n < FEWEST_ROWS or n == n_queries:
        return list(running)
    leader = running[_best([errors[number] for number in running])]
    kept = []
    for number in running:
        gain = errors[leader] - errors[number]
        # A later one must be better by a standard error, an earlier one may be worse by one.
        wanted = (1.0 if number > leader else -1.0) / np.sqrt(n_queries)
        open_ended = BEHIND * np.sqrt(1.0 / n - 1.0 / n_queries)
        if number == leader or gain.mean() >= (wanted - open_ended) * gain.std():
            kept.append(number)
    return kept


def _mean_errors(errors: FloatArray, best: int) -> tuple[float, ...]:
    """Give the mean error of the best one, and from it those of the others, on the rows that both were judged by."""
    mean = np.nanmean(errors[best])
    return tuple(float(mean + np.nanmean(other - errors[best])) for other in errors)


class _Fold(NamedTuple):
    """Rows held out, the others, and the incomplete ones that belong to these."""

    rows: IndexArray
    others: Outcomes
    partial: Outcomes | None


def _folds(outcomes: Outcomes, n_folds: int, seed: int, partial: Outcomes | None) -> Iterator[_Fold]:
    n_folds = min(n_folds, outcomes.n_groups)
    fold_of_row = outcomes.folds(n_folds, rng=seed)
    for fold in range(n_folds):
        rows = np.flatnonzero(fold_of_row == fold)
        yield _Fold(rows, outcomes.take(fold_of_row != fold), outside_groups(partial, outcomes.take(rows)))


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
    parts = [
        (fold.rows, *fit_estimators(fold.others, quality, cost, fold.partial))
        for fold in _folds(outcomes, n_folds, seed, partial)
    ]
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
    costs = _fit_costs(outcomes, cost)
    return fit_quality(outcomes, quality, partial), costs


def _fit_costs(outcomes: Outcomes, cost: CostEstimator) -> tuple[CostEstimator, ...]:
    everything = outcomes.responses_for(np.ones(outcomes.n_models, dtype=np.bool_))
    with one_blas_thread, named_on_error("cost", cost):
        return tuple(copy.deepcopy(cost).fit(outcomes.queries, everything, c) for c in outcomes.costs.values())


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
    held = set(held_out.groups.tolist())
    rows = np.array([group not in held for group in partial.groups.tolist()], dtype=np.bool_)
    return partial.take(rows) if rows.any() else None


def _best(errors: Sequence[FloatArray]) -> int:
    """Which errors are the smallest on average; the first ones, unless others are by more than a standard error."""
    best = 0
    for other in range(1, len(errors)):
        gain = errors[best] - errors[other]
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            best = other
    return best
