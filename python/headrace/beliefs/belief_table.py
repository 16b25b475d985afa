"""Belief tables: what estimators believe of labelled queries, under every run set that is reached."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.asked import believed, priced
from headrace.estimators.belief import Belief
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.protocol import CostEstimator, Estimators, QualityEstimator
from headrace.outcomes import Outcomes
from headrace.policy.hashing import folds_of
from headrace.policy.policy import weighed

__all__ = ["BeliefTable", "Kept"]

#: Estimates of run sets beyond this many bytes are forgotten, the longest unused first.
CACHE_BYTES = 256 * 2**20

#: Orders of the models in which estimates are compared with labels.
N_ORDERS = 4


class Part(NamedTuple):
    """Rows of a table, and estimators that have not seen their labels."""

    rows: IndexArray
    quality: QualityEstimator
    costs: tuple[CostEstimator, ...]


class BeliefTable:
    """What estimators believe of a table of labelled queries; computed on demand, one call per run set, and cached.

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
        self.rates = tuple(rates)
        self.parts = [Part(*part) for part in parts]
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
        rows = np.arange(n)
        errors = []
        for order in [rng.permutation(k) for _ in range(N_ORDERS)]:
            for n_runs in range(min(max_depth, k) + 1):
                belief, _ = self(rows, np.isin(np.arange(k), order[:n_runs]))
                errors.append(np.mean((belief.quality - self.outcomes.quality) ** 2, axis=1))
        return np.asarray(np.mean(errors, axis=0))

    @property
    def estimators(self) -> tuple[Estimators, ...]:
        """The fitted estimators, a pair for each part."""
        return tuple((part.quality, part.costs) for part in self.parts)

    @property
    def part_of_row(self) -> IndexArray:
        """Number of the part that serves each row."""
        numbers = np.zeros(self.outcomes.n_queries, dtype=np.intp)
        for number, part in enumerate(self.parts):
            numbers[part.rows] = number
        return numbers

    def at_rates(self, rates: Sequence[float]) -> Self:
        """Give the same table, with what is known already, at other exchange rates between its costs."""
        table = copy.copy(self)
        table.rates = tuple(rates)
        return table

    def costs_before(self) -> FloatArray:
        """Give the estimates of all costs before any run: shape (n_costs, n_queries, n_models)."""
        return self._entry(np.zeros(self.outcomes.n_models, dtype=np.bool_))[1]

    def __call__(self, rows: IndexArray, run: BoolArray) -> tuple[Belief, FloatArray]:
        """Give what is believed of some rows once the models of a mask have run: a belief and costs."""
        belief, costs = self._entry(run)
        return belief.take(rows), weighed(costs[:, rows], self.rates)

    def _entry(self, run: BoolArray) -> tuple[Belief, FloatArray]:
        key = run.tobytes()
        entry = self._cache.get(key)
        if entry is None:
            with one_blas_thread:
                entry = self._estimate(run)
            self._cache.put(key, entry)
        return entry

    def _estimate(self, run: BoolArray) -> tuple[Belief, FloatArray]:
        n, k = self.outcomes.n_queries, self.outcomes.n_models
        names = tuple(self.outcomes.costs)
        quality, costs = np.empty((n, k)), np.empty((len(names), n, k))
        spread: FloatArray | None = None
        loading: FloatArray | None = None
        joint = False
        for rows, quality_estimator, cost_estimators in self.parts:
            if not len(rows):
                continue
            queries = {name: column[rows] for name, column in self.outcomes.queries.items()}
            responses = self.outcomes.responses_for(run).take(rows)
            belief = believed(quality_estimator, queries, responses)
            quality[rows] = belief.quality
            for cost, name, estimator in zip(costs, names, cost_estimators, strict=True):
                cost[rows] = priced(name, estimator, queries, responses)
            values = belief.covariance if belief.variance is None else belief.variance
            if values is not None:
                if spread is not None and joint != (belief.variance is None):
                    name = type(quality_estimator).__name__
                    raise ValueError(f"quality: expected variances, or covariances, of all folds; {name} gives both")
                joint = belief.variance is None
                if spread is None:
                    spread = np.zeros((n, k, k) if joint else (n, k))
                spread[rows] = values
            if belief.loading is not None:
                if loading is None:
                    loading = np.zeros((n, k))
                loading[rows] = belief.loading
        if spread is None:
            return Belief(quality, loading=loading), costs
        if joint:
            return Belief(quality, covariance=spread), costs
        return Belief(quality, variance=spread, loading=loading), costs


class Kept:
    """A table, without its cache, that is at hand while its process lives: a pickle goes without labelled queries."""

    def __init__(self, table: BeliefTable | None = None) -> None:
        self.table = copy.copy(table)
        if self.table is not None:
            self.table._cache = _Cache()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


class _Cache:
    """Estimates by run set, of at most `CACHE_BYTES` together; the longest unused are forgotten first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, tuple[Belief, FloatArray]] = OrderedDict()
        self._n_bytes = 0

    def get(self, key: bytes) -> tuple[Belief, FloatArray] | None:
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: bytes, entry: tuple[Belief, FloatArray]) -> None:
        self._entries[key] = entry
        self._n_bytes += _bytes(entry)
        while self._n_bytes > CACHE_BYTES and len(self._entries) > 1:
            self._n_bytes -= _bytes(self._entries.popitem(last=False)[1])

    def __reduce__(self) -> tuple[type[_Cache], tuple[()]]:
        # A pickle needn't carry what can be computed again.
        return _Cache, ()


def _bytes(entry: tuple[Belief, FloatArray]) -> int:
    return sum(array.nbytes for array in (*entry[0], entry[1]) if array is not None)
