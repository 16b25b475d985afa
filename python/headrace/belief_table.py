"""Belief tables: what estimators believe of labelled queries, under every run set that is reached."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Self, TypeAlias

import numpy as np

from headrace.arrays import BoolArray, FloatArray, IndexArray
from headrace.belief import Belief
from headrace.blas import one_blas_thread
from headrace.estimators import CostEstimator, QualityEstimator
from headrace.outcomes import Outcomes
from headrace.policy import folds_of

__all__ = ["BeliefTable", "Estimators", "Kept", "fit_estimators", "outside_groups", "weighed"]

#: A fitted quality estimator, and a fitted cost estimator for each of the table's costs.
Estimators: TypeAlias = tuple[QualityEstimator, tuple[CostEstimator, ...]]

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

    The estimators of a row have never seen that row's labels: see `cross_fit`, and `served` for other queries.

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
        self._parts = [Part(*part) for part in parts]
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

    @classmethod
    def cross_fit(
        cls,
        outcomes: Outcomes,
        quality: QualityEstimator,
        cost: CostEstimator,
        *,
        n_folds: int,
        seed: int,
        partial: Outcomes | None = None,
    ) -> Self:
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
        return cls(outcomes, parts)

    def refitted(self, quality: QualityEstimator, partial: Outcomes | None = None) -> Self:
        """Give the table of another quality estimator, fitted for each part on the rows of the others, as `cross_fit`.

        Parameters
        ----------
        quality : QualityEstimator
            Unfitted; copies of it are fitted. The cost estimators stay.
        partial : Outcomes, optional
            As in `cross_fit`.
        """
        parts = []
        for part in self._parts:
            held_out = self.outcomes.take(part.rows)
            others = self.outcomes.take(np.setdiff1d(np.arange(self.outcomes.n_queries), part.rows))
            fitted = fit_quality(others, quality, outside_groups(partial, held_out))
            parts.append(part._replace(quality=fitted))
        return type(self)(self.outcomes, parts, rates=self.rates)

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
        return tuple((part.quality, part.costs) for part in self._parts)

    @property
    def part_of_row(self) -> IndexArray:
        """Number of the part that serves each row."""
        numbers = np.zeros(self.outcomes.n_queries, dtype=np.intp)
        for number, part in enumerate(self._parts):
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
        for rows, quality_estimator, cost_estimators in self._parts:
            if not len(rows):
                continue
            queries = {name: column[rows] for name, column in self.outcomes.queries.items()}
            responses = self.outcomes.responses_for(run).take(rows)
            belief = quality_estimator.predict(queries, responses)
            quality[rows] = _checked("quality", belief.quality, len(rows), k)
            for cost, name, estimator in zip(costs, names, cost_estimators, strict=True):
                cost[rows] = _checked(name, estimator.predict(queries, responses), len(rows), k)
            values = belief.covariance if belief.variance is None else belief.variance
            if values is not None:
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


def weighed(costs: FloatArray, rates: Sequence[float]) -> FloatArray:
    """Add up several costs, an array whose first axis is theirs, at exchange rates; rates that lack are zero.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.belief_table import weighed
    >>> weighed(np.array([[1.0, 2.0], [10.0, 0.0]]), (1.0, 0.5)).tolist()
    [6.0, 2.0]
    """
    if tuple(rates) == (1.0,):
        return np.asarray(costs[0])
    total = np.zeros(costs.shape[1:])
    for rate, cost in zip(rates, costs, strict=False):
        total += rate * cost
    return total


def _bytes(entry: tuple[Belief, FloatArray]) -> int:
    return sum(array.nbytes for array in (*entry[0], entry[1]) if array is not None)


def fit_estimators(
    outcomes: Outcomes, quality: QualityEstimator, cost: CostEstimator, partial: Outcomes | None = None
) -> Estimators:
    """Fit copies of two estimators on a complete table, that of costs for each of its costs.

    A quality estimator whose `accepts_missing` is True also gets the queries of `partial`, with NaN where a quality is
    missing, and the responses of the models that have one.
    """
    everything = outcomes.responses_for(np.ones(outcomes.n_models, dtype=np.bool_))
    with one_blas_thread:
        costs = tuple(copy.deepcopy(cost).fit(outcomes.queries, everything, c) for c in outcomes.costs.values())
    return fit_quality(outcomes, quality, partial), costs


def fit_quality(outcomes: Outcomes, quality: QualityEstimator, partial: Outcomes | None = None) -> QualityEstimator:
    """Fit a copy of a quality estimator, as `fit_estimators`."""
    labelled = outcomes
    if partial is not None and getattr(quality, "accepts_missing", False):
        labelled = outcomes.joined(partial)
    seen = labelled.responses_for(~np.isnan(labelled.quality))
    with one_blas_thread:
        return copy.deepcopy(quality).fit(labelled.queries, seen, labelled.quality)


def outside_groups(partial: Outcomes | None, held_out: Outcomes) -> Outcomes | None:
    """Give the rows of a table whose group has no row in a held-out one; None where there are none."""
    if partial is None or partial.groups is None or held_out.groups is None:
        return partial
    rows = ~np.isin(partial.groups, held_out.groups)
    return partial.take(rows) if rows.any() else None


def _checked(name: str, values: FloatArray, n: int, k: int) -> FloatArray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (n, k):
        raise ValueError(f"{name}: expected the estimator to give shape ({n}, {k}), got {values.shape}")
    return values
