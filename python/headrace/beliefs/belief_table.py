"""Belief tables: what estimators believe of labelled queries, under every run set that is reached by them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.asked import believed
from headrace.estimators.asked import priced as estimated_cost
from headrace.estimators.belief import Belief
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.one_table import TableRows
from headrace.estimators.protocol import CostEstimator, Estimators, QualityEstimator
from headrace.outcomes import Outcomes
from headrace.policy.hashing import folds_of
from headrace.policy.policy import weighed

__all__ = ["BeliefTable", "Kept", "Part"]

#: Estimates of run sets beyond this many bytes are forgotten, the longest unused first.
CACHE_BYTES = 128 * 2**20

#: Orders of the models in which estimates are compared with labels.
N_ORDERS = 4


class Part(NamedTuple):
    """Rows of a table, and estimators that have not seen their labels."""

    rows: IndexArray
    quality: QualityEstimator
    costs: tuple[CostEstimator, ...]


class BeliefTable:
    """What estimators believe of a table of labelled queries; computed on demand, for the rows asked for, and cached.

    The estimators of a row have never seen that row's labels: see `headrace.beliefs.fitting.cross_fit`, and `served`
    for other queries.

    Parameters
    ----------
    outcomes : Outcomes
    parts : sequence of (rows, quality estimator, tuple of cost estimators)
        Rows, and the fitted estimators that serve them, one for each cost; every row is in one part.
    rates : sequence of float, optional
        What one unit of each cost counts in the cost that is traded against quality; by default the first cost alone.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        parts: Sequence[tuple[IndexArray, QualityEstimator, tuple[CostEstimator, ...]]],
        *,
        rates: Sequence[float] = (1.0,),
    ) -> None:
        self.outcomes = outcomes
        self.rates: tuple[float, ...] = tuple(rates)
        self.parts: list[Part] = [Part(*part) for part in parts]
        self._part_of_row = np.zeros(outcomes.n_queries, dtype=np.intp)
        self._place_in_part = np.zeros(outcomes.n_queries, dtype=np.intp)
        for number, part in enumerate(self.parts):
            self._part_of_row[part.rows] = number
            self._place_in_part[part.rows] = np.arange(len(part.rows))
        self._cache = _Cache()

    @classmethod
    def served(
        cls,
        outcomes: Outcomes,
        estimators: Sequence[Estimators],
        *,
        seed: int = 0,
        rates: Sequence[float] = (1.0,),
    ) -> Self:
        """Make the table of estimators fitted on other data, each serving the queries that `fold_of` gives it.

        Parameters
        ----------
        outcomes : Outcomes
        estimators : sequence of (quality estimator, tuple of cost estimators)
            Fitted; the `estimators` of a cross-fitted table, or one pair that serves all queries.
        seed : int
            Seed of the hash.
        rates : sequence of float, optional
            As in the class.
        """
        fold_of_row = folds_of(seed, outcomes.ids, len(estimators))
        parts = [(np.flatnonzero(fold_of_row == fold), *pair) for fold, pair in enumerate(estimators)]
        return cls(outcomes, parts, rates=rates)

    def held_out_errors(self, *, max_depth: int = 5, seed: int = 0) -> FloatArray:
        """Mean squared error of each row's estimates of quality, on the way from no run to `max_depth` runs.

        Parameters
        ----------
        max_depth : int
        seed : int
            Of the orders in which models run.

        Returns
        -------
        ndarray of shape (n_queries,)
            Mean over all models, and over the run sets of some orders: each size counts the same.
        """
        n, k = self.outcomes.n_queries, self.outcomes.n_models
        rng = np.random.default_rng(seed)
        orders = [rng.permutation(k) for _ in range(N_ORDERS)]
        times: dict[bytes, int] = {}
        for order in orders:
            for n_runs in range(min(max_depth, k) + 1):
                key = np.isin(np.arange(k), order[:n_runs]).tobytes()
                times[key] = times.get(key, 0) + 1
        errors = np.zeros(n)
        for number, part in enumerate(self.parts):
            if not len(part.rows):
                continue
            for key, n_times in times.items():
                quality = self._believed(number, None, np.frombuffer(key, dtype=np.bool_)).quality
                squares = (quality - self.outcomes.quality[part.rows]) ** 2
                errors[part.rows] += n_times * np.mean(squares, axis=1)
        return errors / sum(times.values())

    @property
    def estimators(self) -> tuple[Estimators, ...]:
        """The fitted estimators, a pair for each part."""
        return tuple((part.quality, part.costs) for part in self.parts)

    @property
    def part_of_row(self) -> IndexArray:
        """Number of the part that serves each row."""
        return self._part_of_row.copy()

    def at_rates(self, rates: Sequence[float]) -> Self:
        """Give the same table, with what is known already, at other exchange rates between its costs."""
        table = copy.copy(self)
        table.rates = tuple(rates)
        return table

    def with_quality(self, quality: QualityEstimator) -> Self:
        """Give the table of another quality estimator for all parts, which shares what encoders have made of its rows.

        Parameters
        ----------
        quality : QualityEstimator
            Fitted, without the labels of these rows.
        """
        table = type(self)(self.outcomes, [part._replace(quality=quality) for part in self.parts], rates=self.rates)
        table._cache.rows = self._cache.rows
        return table

    def costs_before(self) -> FloatArray:
        """Give the estimates of all costs before any run: shape (n_costs, n_queries, n_models)."""
        rows = np.arange(self.outcomes.n_queries)
        return self._known(rows, np.zeros(self.outcomes.n_models, dtype=np.bool_))[1]

    def __call__(self, rows: IndexArray, run: BoolArray, *, priced: bool = True) -> tuple[Belief, FloatArray]:
        """Give what is believed of some rows once the models of a mask have run: a belief, and costs or zeros."""
        belief, costs = self._known(rows, run, priced=priced)
        return belief, weighed(costs, self.rates)

    def _known(self, rows: IndexArray, run: BoolArray, *, priced: bool = True) -> tuple[Belief, FloatArray]:
        """Give the belief and the costs of some rows; those that aren't known yet are estimated."""
        key = run.tobytes(), priced
        entry = self._cache.get(key)
        unknown = _rising(rows if entry is None else rows[~_among(rows, entry.rows)])
        if entry is None or len(unknown):
            with one_blas_thread:
                pieces = self._estimates(unknown, run, priced)
            entry = _joined(self.outcomes, pieces if entry is None else [entry, *pieces])
            self._cache.put(key, entry)
        if np.array_equal(rows, entry.rows):
            return entry.belief, entry.costs
        index = np.searchsorted(entry.rows, rows)
        return entry.belief.take(index), entry.costs[:, index]

    def _estimates(self, rows: IndexArray, run: BoolArray, priced: bool) -> list[_Entry]:
        """Ask the estimators of some rows, in rising order, part by part."""
        names = tuple(self.outcomes.costs)
        pieces = []
        part_of_row = self._part_of_row[rows]
        for number, part in enumerate(self.parts):
            here = rows[part_of_row == number]
            if not len(here):
                continue
            # None: all rows of the part, in this order.
            index = None if np.array_equal(part.rows, here) else self._place_in_part[here]
            belief = self._believed(number, index, run)
            costs = np.zeros((len(names), *belief.quality.shape))
            if priced:
                seen = self._rows(number)
                queries, responses = seen.queries(index), seen.responses(index, run)
                for cost, name, estimator in zip(costs, names, part.costs, strict=True):
                    cost[:] = estimated_cost(name, estimator, queries, responses)
            pieces.append(_Entry(here, belief, costs, type(part.quality).__name__))
        return pieces

    def _believed(self, number: int, index: IndexArray | None, run: BoolArray) -> Belief:
        """Ask the quality estimator of a part, of some of its rows or of all."""
        seen = self._rows(number)
        return believed(self.parts[number].quality, seen.queries(index), seen.responses(index, run))

    def _rows(self, number: int) -> TableRows:
        if number not in self._cache.rows:
            made = TableRows(self.outcomes.queries, self.outcomes.responses, self.parts[number].rows)
            self._cache.rows[number] = made
        return self._cache.rows[number]


class _Entry(NamedTuple):
    """What is known of some rows, in rising order, under one run set; and the name of the quality estimator."""

    rows: IndexArray
    belief: Belief
    costs: FloatArray
    estimator: str


def _rising(rows: IndexArray) -> IndexArray:
    """Give rows in rising order, each once."""
    return rows if (rows[1:] > rows[:-1]).all() else np.unique(rows)


def _among(rows: IndexArray, known: IndexArray) -> BoolArray:
    """Tell which rows are among those known, which are in rising order."""
    if np.array_equal(rows, known):
        return np.ones(len(rows), dtype=np.bool_)
    if not len(known):
        return np.zeros(len(rows), dtype=np.bool_)
    at = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    return np.asarray(known[at] == rows)


def _joined(outcomes: Outcomes, pieces: Sequence[_Entry]) -> _Entry:
    """Put pieces together, in rising order of their rows; without any, there are no rows."""
    k, n_costs = outcomes.n_models, len(outcomes.costs)
    if not pieces:
        return _Entry(np.zeros(0, dtype=np.intp), Belief(np.empty((0, k))), np.empty((n_costs, 0, k)), "")
    first = pieces[0].belief
    if len(pieces) == 1 and (first.variance is None or first.covariance is None):
        return pieces[0]
    rows = np.concatenate([piece.rows for piece in pieces])
    order = np.argsort(rows, kind="stable")
    quality = np.concatenate([piece.belief.quality for piece in pieces])[order]
    costs = np.concatenate([piece.costs for piece in pieces], axis=1)[:, order]
    beliefs = [piece.belief for piece in pieces]
    variance = _spread([b.variance for b in beliefs], pieces, order, (k,))
    covariance = _spread([b.covariance for b in beliefs], pieces, order, (k, k))
    loading = _spread([b.loading for b in beliefs], pieces, order, (k,))
    if variance is not None and covariance is not None:
        name = pieces[-1].estimator
        raise ValueError(f"quality: expected variances, or covariances, of all folds; {name} gives both")
    return _Entry(rows[order], Belief(quality, variance, covariance, loading), costs, pieces[-1].estimator)


def _spread(
    values: Sequence[FloatArray | None], pieces: Sequence[_Entry], order: IndexArray, shape: tuple[int, ...]
) -> FloatArray | None:
    """Give each row's variances, covariance or loadings, zero where a piece has none; None if no piece has any."""
    if all(value is None for value in values):
        return None
    blocks = [
        np.broadcast_to(0.0 if value is None else value, (len(piece.rows), *shape))
        for value, piece in zip(values, pieces, strict=True)
    ]
    return np.asarray(np.concatenate(blocks)[order])


class Kept:
    """A table, without its cache, that is at hand while its process lives: a pickle goes without labelled queries."""

    def __init__(self, table: BeliefTable | None = None) -> None:
        self.table: BeliefTable | None = copy.copy(table)
        if self.table is not None:
            self.table._cache = _Cache()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


class _Cache:
    """Estimates by run set, with costs or without; at most `CACHE_BYTES` together, the longest unused are forgotten.

    And the rows of each part, with what encoders have made of them.
    """

    def __init__(self) -> None:
        self.rows: dict[int, TableRows] = {}
        self._entries: OrderedDict[tuple[bytes, bool], _Entry] = OrderedDict()
        self._n_bytes = 0

    def get(self, key: tuple[bytes, bool]) -> _Entry | None:
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: tuple[bytes, bool], entry: _Entry) -> None:
        if key in self._entries:
            self._n_bytes -= _bytes(self._entries.pop(key))
        self._entries[key] = entry
        self._n_bytes += _bytes(entry)
        while self._n_bytes > CACHE_BYTES and len(self._entries) > 1:
            self._n_bytes -= _bytes(self._entries.popitem(last=False)[1])

    def __reduce__(self) -> tuple[type[_Cache], tuple[()]]:
        # A pickle needn't carry what can be computed again.
        return _Cache, ()


def _bytes(entry: _Entry) -> int:
    return sum(array.nbytes for array in (*entry.belief, entry.costs, entry.rows) if array is not None)
