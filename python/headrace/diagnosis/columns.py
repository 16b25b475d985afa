"""What each column of a table brings: the held-out squared error of quality estimates with it, and without it.

Estimates are ridge regressions on the features of queries and responses, those of `LinearQuality`, fitted on four
fifths of the queries and tested on the last one, in turn; rows of one group stay together. A query column's gain is
measured before any run, with all other query columns there; a response column's is measured after one to three runs,
with all other columns there. So two columns that say the same gain nothing each.

A query column is a suspect where it alone says more of quality than can be known before a run. Two signs: it explains
most of the variance of a model's quality, or of the mean over models; or choosing the model by it wins nearly all that
a perfect choice would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, checked_int, checked_rng
from headrace.estimators import QueryFeatures, ResponseFeatures
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.response_features import EncodedResponses
from headrace.estimators.ridge import fit_ridge
from headrace.outcomes import Outcomes

__all__ = ["ColumnGain", "column_gains"]

#: A kind and a name: a query column and a response column may share theirs.
Key: TypeAlias = tuple[str, str]

N_FOLDS = 5

#: Complete queries that are looked at; more make the errors of the gains smaller, and take longer.
MOST_QUERIES = 2000

#: Fewer complete queries than this say nothing of a column.
FEWEST_QUERIES = 50

#: Columns of either kind whose gain is measured; of more query columns, those that explain most alone.
MOST_COLUMNS = 24

#: Most models that have run where response columns are measured, and most run sets of each size.
MOST_RUNS, MOST_SETS = 3, 3

#: Query columns that are looked at one by one, besides those of text; of more, those that correlate most with quality.
MOST_SCREENED = 100

#: A share of the variance that a query column may explain alone. Task and text explain 1% to 16% on the logs tried, and
#: a difficulty that people assigned 50%; half a point of noise added to the mean quality itself leaves 64% and more.
IMPLAUSIBLE_SHARE = 0.55

#: A share of what a perfect choice of the model would win; a choice by task may win much of it, hardly all.
IMPLAUSIBLE_CHOICE = 0.9

#: A perfect choice that wins less than this much quality, as a share of its range, says nothing of columns.
LEAST_CHOICE = 0.02

#: Parts of equal size that a numeric column is cut into, so that a relation that isn't linear shows.
N_BINS = 10


@dataclass(frozen=True, kw_only=True)
class ColumnGain:
    """What one column brings.

    Attributes
    ----------
    name : str
    kind : {"query", "response"}
        What is known before any run, or of a model once it has run.
    gain : float or None
        Mean squared error of held-out estimates of quality without the column, minus that with it; None if it
        wasn't measured.
    std_error : float or None
        Of the gain.
    explained : float or None
        Of a query column: the share of the variance of quality that it explains alone, on held-out queries; the largest
        of those of the models and of their mean.
    suspicion : str or None
        Why it may know the outcome.
    problem : str or None
        Why no fit can use it.
    """

    name: str
    kind: str
    gain: float | None
    std_error: float | None
    explained: float | None = None
    suspicion: str | None = None
    problem: str | None = None


@one_blas_thread
def column_gains(
    outcomes: Outcomes, *, max_queries: int = MOST_QUERIES, rng: int | np.random.Generator | None = None
) -> tuple[tuple[ColumnGain, ...], float, int]:
    """Measure what each column brings; see `used_columns`.

    Parameters
    ----------
    outcomes : Outcomes
        Its complete queries count.
    max_queries : int
        Of more complete queries, so many drawn at random are looked at.
    rng : None, int or numpy.random.Generator, optional
        Source of randomness; None means seed 0.

    Returns
    -------
    tuple of ColumnGain
        Query columns, then response columns; of each kind the largest gain first.
    float
        Squared error before any run, with all query columns.
    int
        Number of queries looked at.
    """
    random = checked_rng(rng)
    table = outcomes.complete() if outcomes.n_missing else outcomes
    if len(table) > checked_int("max_queries", max_queries, FEWEST_QUERIES):
        table = table.take(np.sort(random.permutation(len(table))[:max_queries]))
    held_out = _HeldOut(table, random)
    before = [np.zeros(table.n_models, dtype=np.bool_)]
    alone: dict[Key, tuple[float, str | None]] = {}
    refused: dict[Key, str] = {}
    screened = _screened(table)
    for key in [*(("query", name) for name in screened), *(("response", name) for name in table.responses)]:
        try:
            held_out.features(key, np.ones(table.n_models, dtype=np.bool_))
        except ValueError as error:  # no fit could use it
            refused[key] = str(error)
        else:
            alone[key] = held_out.alone(key[1]) if key[0] == "query" else (0.0, None)
    queries = sorted((key for key in alone if key[0] == "query"), key=lambda key: -alone[key][0])[:MOST_COLUMNS]
    responses = [key for key in alone if key[0] == "response"][:MOST_COLUMNS]
    measured = {
        **held_out.gains(queries, queries, before),
        **held_out.gains(responses, [*queries, *responses], _run_sets(table.n_models, random)),
    }
    found = []
    skipped = [("query", name) for name in table.queries if name not in screened]
    for key in [*alone, *refused, *skipped]:
        gain, std_error = measured.get(key, (None, None))
        share, suspicion = alone.get(key, (None, None))
        found.append(
            ColumnGain(
                name=key[1],
                kind=key[0],
                gain=gain,
                std_error=std_error,
                explained=share if key[0] == "query" else None,
                suspicion=suspicion,
                problem=refused.get(key),
            )
        )
    found.sort(key=lambda column: (column.kind, 1.0 if column.gain is None else -column.gain))
    return tuple(found), float(held_out.errors(queries, before).mean()), len(table)


def _screened(table: Outcomes) -> list[str]:
    """Name the query columns that are looked at: of many columns of numbers, those that correlate most with quality."""
    numbers = [name for name, values in table.queries.items() if values.dtype != object and values.ndim == 1]
    if len(numbers) <= MOST_SCREENED:
        return list(table.queries)
    columns = np.column_stack([table.queries[name].astype(np.float64) for name in numbers])
    columns = np.where(np.isfinite(columns), columns, np.nan)
    known = ~np.isnan(columns)
    mean = np.where(known, columns, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    size = np.maximum(np.fmax.reduce(np.abs(columns), axis=0, initial=0.0), np.finfo(np.float64).tiny)
    centred = np.where(known, columns / size - mean / size, 0.0)
    quality = np.column_stack([table.quality, table.quality.mean(axis=1)])
    quality = quality - quality.mean(axis=0)
    lengths = np.linalg.norm(centred, axis=0)[:, None] * np.linalg.norm(quality, axis=0)
    strength = np.abs(centred.T @ quality / np.where(lengths > 0.0, lengths, 1.0)).max(axis=1)
    weak = {numbers[place] for place in np.argsort(-strength, kind="stable")[MOST_SCREENED:].tolist()}
    return [name for name in table.queries if name not in weak]


def _run_sets(n_models: int, random: np.random.Generator) -> list[BoolArray]:
    """Draw some run sets of each size, so that every model has run in some."""
    order = random.permutation(n_models)
    sets = []
    for size in range(1, min(MOST_RUNS, n_models) + 1):
        for start in np.unique(np.linspace(0, n_models, MOST_SETS, endpoint=False).astype(np.intp)).tolist():
            run = np.zeros(n_models, dtype=np.bool_)
            run[order[(start + np.arange(size)) % n_models]] = True
            sets.append(run)
    return sets


class _HeldOut:
    """Held-out estimates of a table's qualities, by any of its columns."""

    def __init__(self, table: Outcomes, random: np.random.Generator) -> None:
        self._table, self._quality = table, table.quality
        self._range = float(table.quality.min()), float(table.quality.max())
        fold_of_row = table.folds(min(N_FOLDS, table.n_groups), rng=random)
        folds = [fold_of_row == fold for fold in range(int(fold_of_row.max()) + 1)]
        self._parts = [(np.flatnonzero(~here), np.flatnonzero(here)) for here in folds]
        self._cluster = table.group_of_row
        self._encoded_queries: dict[tuple[str, int], FloatArray] = {}
        self._encoded_responses: dict[tuple[str, int], EncodedResponses] = {}

    def gains(
        self, keys: Sequence[Key], columns: Sequence[Key], runs: Sequence[BoolArray]
    ) -> dict[Key, tuple[float, float]]:
        """Give what each of some columns gains, and the standard error, over leaving it out of `columns`."""
        full = self.errors(columns, runs) if keys else np.empty(0)
        found = {}
        for key in keys:
            gain = self.errors([column for column in columns if column != key], runs) - full
            found[key] = float(gain.mean()), self._std_error(gain)
        return found

    def errors(self, columns: Sequence[Key], runs: Sequence[BoolArray]) -> FloatArray:
        """Give each query's squared error, the mean over the models and over some run sets."""
        total = np.zeros(len(self._quality))
        for run in runs:
            estimates = self._estimates([self.features(column, run) for column in columns])
            total += np.mean((np.clip(estimates, *self._range) - self._quality) ** 2, axis=1)
        return np.asarray(total / len(runs))

    def alone(self, name: str) -> tuple[float, str | None]:
        """Give the share of the variance of quality that a query column explains alone, and a suspicion."""
        plain = self.features(("query", name), np.zeros(self._table.n_models, dtype=np.bool_))
        cut = _cut(self._table.queries[name])
        estimates = self._estimates([plain, *([] if cut is None else [[cut] * len(self._parts)])])
        quality = self._quality
        together = np.column_stack([quality, quality.mean(axis=1)])
        variance = together.var(axis=0)
        error = np.mean((together - np.column_stack([estimates, estimates.mean(axis=1)])) ** 2, axis=0)
        shares = 1.0 - error[variance > 0.0] / variance[variance > 0.0]
        explained = float(max(0.0, *shares))
        if explained > IMPLAUSIBLE_SHARE:
            return explained, f"alone it explains {explained:.0%} of the variance of quality before any run"
        best = float(quality.mean(axis=0).max())
        to_win = float(quality.max(axis=1).mean()) - best
        if to_win > LEAST_CHOICE * (self._range[1] - self._range[0]):
            chosen = np.take_along_axis(quality, estimates.argmax(axis=1)[:, None], axis=1)
            won = (float(chosen.mean()) - best) / to_win
            if won > IMPLAUSIBLE_CHOICE:
                return explained, f"choosing the model by it alone wins {won:.0%} of what a perfect choice would"
        return explained, None

    def _estimates(self, blocks: Sequence[Sequence[FloatArray]]) -> FloatArray:
        """Estimate qualities from features: of each block, an array of all rows for each part."""
        estimates = np.empty_like(self._quality)
        for part, (others, rows) in enumerate(self._parts):
            features = np.hstack([np.empty((len(self._quality), 0)), *(block[part] for block in blocks)])
            fitted = features[others]
            known = ~np.isnan(fitted)
            centre = np.where(known, fitted, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
            ridge = fit_ridge(fitted - centre, self._quality[others])
            estimates[rows] = ridge.predict(features[rows] - centre)
        return estimates

    def features(self, key: Key, run: BoolArray) -> list[FloatArray]:
        """Encode one column of all rows, for each part as learned from its fitting rows."""
        return [self._encoded(*key, part, run) for part in range(len(self._parts))]

    def _encoded(self, kind: str, name: str, part: int, run: BoolArray) -> FloatArray:
        others = self._parts[part][0]
        if kind == "query":
            if (name, part) not in self._encoded_queries:
                values = self._table.queries[name]
                encoder = QueryFeatures().fit({name: values[others]})
                self._encoded_queries[name, part] = encoder.transform({name: values}, len(values))
            return self._encoded_queries[name, part]
        if (name, part) not in self._encoded_responses:
            shown = self._table.with_only([name]).responses_for(np.ones(self._table.n_models, dtype=np.bool_))
            self._encoded_responses[name, part] = EncodedResponses(ResponseFeatures().fit(shown.take(others)), shown)
        return self._encoded_responses[name, part].after(run)

    def _std_error(self, values: FloatArray) -> float:
        """Give the standard error of a mean whose rows go together in groups."""
        sums = np.bincount(self._cluster, weights=values - values.mean())
        n_clusters = int(self._cluster.max()) + 1
        return float(np.sqrt(sums @ sums * n_clusters / max(n_clusters - 1, 1)) / len(values))


def _cut(values: Column) -> FloatArray | None:
    """Cut a column of numbers into parts of equal size: an indicator for each; None for other columns."""
    if values.dtype == object or values.ndim > 1:
        return None
    numbers = values.astype(np.float64)
    known = numbers[~np.isnan(numbers)]
    edges = np.unique(np.quantile(known, np.arange(1, N_BINS) / N_BINS)) if len(known) else np.empty(0)
    return np.asarray(np.eye(len(edges) + 1)[np.searchsorted(edges, np.nan_to_num(numbers), side="right")])
