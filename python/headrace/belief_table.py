"""Belief tables: what estimators believe of labelled queries, under every run set that is reached."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from headrace.arrays import BoolArray, FloatArray, IndexArray
from headrace.belief import Belief
from headrace.estimators import CostEstimator, QualityEstimator
from headrace.outcomes import Outcomes
from headrace.policy import fold_of

__all__ = ["BeliefTable"]

#: Estimates of run sets beyond this many bytes are forgotten, the longest unused first.
CACHE_BYTES = 256 * 2**20


class Part(NamedTuple):
    """Rows of a table, and estimators that have not seen their labels."""

    rows: IndexArray
    quality: QualityEstimator
    cost: CostEstimator


class BeliefTable:
    """What estimators believe of a table of labelled queries; computed on demand, one call per run set, and cached.

    The estimators of a row have never seen that row's labels: see `cross_fit`, and `served` for other queries.

    Parameters
    ----------
    outcomes : Outcomes
    parts : sequence of (rows, quality estimator, cost estimator)
        Rows, and the fitted estimators that serve them; every row is in one part.
    """

    def __init__(self, outcomes: Outcomes, parts: Sequence[tuple[IndexArray, QualityEstimator, CostEstimator]]) -> None:
        self.outcomes = outcomes
        self._parts = [Part(*part) for part in parts]
        self._cache: OrderedDict[bytes, tuple[Belief, FloatArray]] = OrderedDict()
        self._cached_bytes = 0

    @classmethod
    def served(
        cls, outcomes: Outcomes, estimators: Sequence[tuple[QualityEstimator, CostEstimator]], *, seed: int = 0
    ) -> Self:
        """Make the table of estimators fitted on other data, each serving the queries that `fold_of` gives it.

        Parameters
        ----------
        outcomes : Outcomes
        estimators : sequence of (quality estimator, cost estimator)
            Fitted; the `estimators` of a cross-fitted table, or one pair that serves all queries.
        seed : int
            Seed of the hash.
        """
        fold_of_row = np.array([fold_of(seed, query_id, len(estimators)) for query_id in outcomes.ids])
        return cls(outcomes, [(np.flatnonzero(fold_of_row == fold), *pair) for fold, pair in enumerate(estimators)])

    @classmethod
    def cross_fit(
        cls, outcomes: Outcomes, quality: QualityEstimator, cost: CostEstimator, *, n_folds: int, seed: int
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
        """
        n_units = outcomes.n_queries if outcomes.groups is None else len(np.unique(outcomes.groups))
        n_folds = min(n_folds, n_units)
        fold_of_row = outcomes.folds(n_folds, rng=seed)
        parts = []
        for fold in range(n_folds):
            others = outcomes.take(fold_of_row != fold)
            fitted = fit_estimators(others, quality, cost)
            parts.append((np.flatnonzero(fold_of_row == fold), *fitted))
        return cls(outcomes, parts)

    @property
    def estimators(self) -> tuple[tuple[QualityEstimator, CostEstimator], ...]:
        """The fitted estimators, a pair for each part."""
        return tuple((part.quality, part.cost) for part in self._parts)

    def __call__(self, rows: IndexArray, run: BoolArray) -> tuple[Belief, FloatArray]:
        """Give what is believed of some rows once the models of a mask have run: a belief and costs."""
        key = run.tobytes()
        if key not in self._cache:
            entry = self._estimate(run)
            self._cache[key] = entry
            self._cached_bytes += _bytes(entry)
            while self._cached_bytes > CACHE_BYTES and len(self._cache) > 1:
                self._cached_bytes -= _bytes(self._cache.popitem(last=False)[1])
        self._cache.move_to_end(key)
        belief, cost = self._cache[key]
        return belief.take(rows), cost[rows]

    def _estimate(self, run: BoolArray) -> tuple[Belief, FloatArray]:
        n, k = self.outcomes.n_queries, self.outcomes.n_models
        quality, cost = np.empty((n, k)), np.empty((n, k))
        spread: FloatArray | None = None
        loading: FloatArray | None = None
        joint = False
        for rows, quality_estimator, cost_estimator in self._parts:
            if not len(rows):
                continue
            queries = {name: column[rows] for name, column in self.outcomes.queries.items()}
            responses = self.outcomes.responses_for(run).take(rows)
            belief = quality_estimator.predict(queries, responses)
            quality[rows] = _checked("quality", belief.quality, len(rows), k)
            cost[rows] = _checked("cost", cost_estimator.predict(queries, responses), len(rows), k)
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
            return Belief(quality, loading=loading), cost
        if joint:
            return Belief(quality, covariance=spread), cost
        return Belief(quality, variance=spread, loading=loading), cost


def _bytes(entry: tuple[Belief, FloatArray]) -> int:
    return sum(array.nbytes for array in (*entry[0], entry[1]) if array is not None)


def fit_estimators(
    outcomes: Outcomes, quality: QualityEstimator, cost: CostEstimator
) -> tuple[QualityEstimator, CostEstimator]:
    """Fit copies of two estimators on a complete table."""
    everything = outcomes.responses_for(np.ones(outcomes.n_models, dtype=np.bool_))
    return (
        copy.deepcopy(quality).fit(outcomes.queries, everything, outcomes.quality),
        copy.deepcopy(cost).fit(outcomes.queries, everything, outcomes.cost),
    )


def _checked(name: str, values: FloatArray, n: int, k: int) -> FloatArray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (n, k):
        raise ValueError(f"{name}: expected the estimator to give shape ({n}, {k}), got {values.shape}")
    return values
