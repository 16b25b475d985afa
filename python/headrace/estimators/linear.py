"""Linear estimators: one ridge regression per run set, for all models at once, fitted when first asked for.

After R has run, the features are those of the query and of the responses of R; the targets are the qualities (or
costs) of all models. So the ex-ante signal is kept after a run, and a run says something about the other models, too.
The penalty of each target minimises the exact leave-one-out error, and so do the scales of two blocks of features:
what a query's embedding or n-grams say, and all others (`ridge`). Scales are chosen before any run and after all; those
after all hold for every run set in between. Responses have no scale of their own: what suits after all models can
be far off in between. The update still to come is the difference between the leave-one-out estimates after all models
have run and those after R: out of sample, so that it isn't overstated.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, IndexArray
from headrace.estimators.belief import Belief
from headrace.estimators.linear_map import LinearMap
from headrace.estimators.one_query import once
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import QualityEstimator, Queries
from headrace.estimators.query_features import QueryFeatures
from headrace.estimators.response_features import EncodedResponses, ResponseFeatures
from headrace.estimators.responses import Responses
from headrace.estimators.ridge import (
    BLOCKS,
    CONTENT,
    REST,
    Ridge,
    RidgeRegressions,
    choose_scales,
    fit_ridge,
    judged,
)
from headrace.estimators.state import Stateful
from headrace.estimators.targets import checked_targets, clipped

__all__ = ["LinearCost", "LinearQuality", "RunSetRegressions", "common_run"]

#: Folds in which the estimates of another estimator are made that become features.
N_FOLDS = 5

#: Most features, those after all models, whose Gram matrix is kept: 32 MB. Of more, or of more than there are rows,
#: each run set has its own.
MOST_FEATURES = 2_000

#: Bytes of the regressions that are kept, of run sets as large as the next one; others are fitted again when met again.
MOST_BYTES = 16 * 2**20


class _ExAnteFeatures(Stateful, part="ex-ante-features", kept=("_fitted",)):
    """Estimates of another estimator, before any run, as features: for its fitting data, out of fold."""

    def __init__(
        self, estimator: QualityEstimator, queries: Queries, responses: Responses, targets: FloatArray
    ) -> None:
        unseen = responses.with_run(np.zeros(responses.run.shape[1], dtype=np.bool_))
        n = len(targets)
        fold_of_row = np.random.default_rng(0).permutation(n) % min(N_FOLDS, n)
        self.out_of_fold = np.empty_like(targets)
        for fold in range(min(N_FOLDS, n)):
            others, rows = np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold)
            fitted = copy.deepcopy(estimator).fit(_rows(queries, others), responses.take(others), targets[others])
            self.out_of_fold[rows] = fitted.predict(_rows(queries, rows), unseen.take(rows)).quality
        self._fitted = copy.deepcopy(estimator).fit(queries, responses, targets)

    def transform(self, queries: Queries, responses: Responses) -> FloatArray:
        nothing = np.zeros(responses.run.shape[1], dtype=np.bool_)
        return once(queries, self, lambda: self._fitted.predict(queries, responses.with_run(nothing)).quality)


def _rows(queries: Queries, rows: IndexArray) -> dict[str, Column]:
    return {name: values[rows] for name, values in queries.items()}


class RunSetRegressions(
    Stateful,
    part="run-set-regressions",
    kept=(
        "targets",
        "_query_features",
        "_response_features",
        "_encoded_responses",
        "_encoded",
        "_ex_ante",
        "_scales",
        "_fitted",
        "_with_left_out",
    ),
):
    """Ridge regressions on the features of queries and responses, one per run set, kept once fitted.

    What differs between run sets is which features are in: these are standardised once, for all run sets. Those
    `with_left_out` are asked for the leave-one-out estimates of each run set, once. Many models have more run sets than
    memory holds: beyond `MOST_BYTES`, the last one fitted is kept, and those that are `warm`.
    """

    #: The last one fitted that wasn't kept.
    _last: Mapping[bytes, tuple[Ridge, FloatArray]] = MappingProxyType({})

    def __init__(
        self,
        queries: Queries,
        responses: Responses,
        targets: FloatArray,
        *,
        query_features: QueryFeatures,
        response_features: ResponseFeatures,
        ex_ante: QualityEstimator | None = None,
        with_left_out: bool = False,
    ) -> None:
        self._with_left_out = with_left_out
        self.targets: FloatArray = np.ascontiguousarray(checked_targets(targets, fewest=2))
        self._query_features = query_features.fit(queries)
        self._response_features = response_features.fit(responses)
        self._encoded_responses = EncodedResponses(self._response_features, responses)
        self._encoded = self._query_features.transform(queries, len(responses))
        self._ex_ante: _ExAnteFeatures | None = None
        if ex_ante is not None:
            self._ex_ante = _ExAnteFeatures(ex_ante, queries, responses, self.targets)
            self._encoded = np.hstack([self._encoded, self._ex_ante.out_of_fold])
        nothing = np.zeros(responses.run.shape[1], dtype=np.bool_)
        before = self._chosen(nothing, np.ones(len(BLOCKS)))
        self._scales = before, self._chosen(~nothing, before)
        self._fitted: dict[bytes, tuple[Ridge, FloatArray]] = {}

    def warm(self, run: BoolArray) -> None:
        """Fit the regression for a run set, and keep it."""
        self._fitted[run.tobytes()] = self._regression(run)

    @property
    def estimated_targets(self) -> FloatArray:
        """The targets of the rows that `left_out` estimates."""
        return self.targets[judged(self.targets)]

    def left_out(self, run: BoolArray, *, keep: bool = False) -> FloatArray:
        """Give leave-one-out estimates after a run set, of the rows `judged`: shape (n_estimated, n_targets).

        Kept are those after all models, and those that will be asked for again: of thousands of run sets, a number for
        each row and target fills the memory.
        """
        ridge, centre = self._regression(run)
        # They aren't in a file; the same numbers give the same regression.
        estimates = ridge.left_out if ridge.left_out is not None else self._fit(run, left_out=True)[0].left_out
        self._keep(run, (replace(ridge, left_out=estimates if keep or run.all() else None), centre))
        return np.asarray(estimates)

    def predict(self, queries: Queries, responses: Responses) -> tuple[FloatArray, BoolArray]:
        """Give estimates, and the run set that they are for."""
        run = common_run(responses)
        ridge, centre = self._regression(run)
        blocks = [self._query_features.transform(queries, len(responses))]
        if self._ex_ante is not None:
            blocks.append(self._ex_ante.transform(queries, responses))
        blocks.append(self._response_features.transform(responses, run))
        return ridge.predict(np.concatenate(blocks, axis=1) - centre), run

    def linear_map(self, run: BoolArray, low: float | FloatArray, high: float | FloatArray) -> LinearMap | None:
        """Give the regression for a run set as a map that keeps its estimates within a range, if it is all there is."""
        if self._ex_ante is not None:
            return None
        ridge, centre = self._regression(run)
        return LinearMap(
            self._query_features, self._response_features, centre, ridge.weights, ridge.intercept, low, high
        )

    def _regression(self, run: BoolArray) -> tuple[Ridge, FloatArray]:
        key = run.tobytes()
        if key in self._fitted:
            return self._fitted[key]
        if key not in self._last:
            fitted = self._fit(run, left_out=self._with_left_out)
            self._keep(run, fitted)
            return fitted
        return self._last[key]

    def _keep(self, run: BoolArray, fitted: tuple[Ridge, FloatArray]) -> None:
        key = run.tobytes()
        if key in self._fitted or (len(self._fitted) + 1) * fitted[0].weights.nbytes <= MOST_BYTES or run.all():
            self._fitted[key] = fitted
        else:
            self._last = {key: fitted}

    def _fit(self, run: BoolArray, *, left_out: bool) -> tuple[Ridge, FloatArray]:
        shared = self._shared
        if shared is None:
            centred, centre = self._centred(run)
            scales = self._scales[int(run.any())][self._blocks(centred.shape[1])]
            return fit_ridge(centred, self.targets, scales, left_out=left_out), centre
        regressions, centres = shared
        n_before = self._encoded.shape[1]
        columns = np.append(np.arange(n_before), n_before + self._encoded_responses.columns(run))
        scales = self._scales[int(run.any())][self._blocks(len(columns))]
        return regressions.fit(columns, scales, left_out=left_out), centres[columns]

    @cached_property
    def _shared(self) -> tuple[RidgeRegressions, FloatArray] | None:
        """The regressions on any of all features, and their averages; None where these are too many."""
        n, k = self.targets.shape
        everything = np.ones(k, dtype=np.bool_)
        if self._encoded.shape[1] + len(self._encoded_responses.columns(everything)) > min(n, MOST_FEATURES):
            return None
        centred, centres = self._centred(everything)
        return RidgeRegressions(centred, self.targets), centres

    def __getstate__(self) -> dict[str, Any]:
        # A pickle needn't carry what can be computed again.
        return {name: value for name, value in vars(self).items() if name not in ("_shared", "_last")}

    def _chosen(self, run: BoolArray, start: FloatArray) -> FloatArray:
        centred, _ = self._centred(run)
        return choose_scales(centred, self.targets, self._blocks(centred.shape[1]), start, optional=[CONTENT])

    def _centred(self, run: BoolArray) -> tuple[FloatArray, FloatArray]:
        """Give the features of a run set without their averages, and the averages."""
        features = np.hstack([self._encoded, self._encoded_responses.after(run)])
        known = ~np.isnan(features)
        centre = np.where(known, features, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        return features - centre, centre

    def _blocks(self, n_features: int) -> IndexArray:
        """Give the block of each feature."""
        blocks = np.full(n_features, REST, dtype=np.intp)
        blocks[: self._query_features.width][self._query_features.of_content] = CONTENT
        return blocks


def common_run(responses: Responses) -> BoolArray:
    """Give the models that have run, which must be the same for all queries."""
    if not len(responses):
        return np.zeros(responses.run.shape[1], dtype=np.bool_)
    run: BoolArray = responses.run[0]
    if len(responses) > 1 and (responses.run != run).any():
        raise ValueError("responses: expected the same models to have run in all queries of a call")
    return run


class LinearQuality(Parameters, Stateful, part="linear-quality", kept=("_regressions", "_range", "_updates")):
    """Quality by ridge regressions on features of the query and of the responses seen, one per run set.

    Estimates are kept within the range of the targets. Regressions are fitted when a run set is first met.

    Parameters
    ----------
    covariance : bool, default False
        Give the covariance of the updates still to come instead of their variances. Decisions take longer.
    n_grams : bool, default False
        Use what query texts say, by hashed n-grams, not their length alone. A column of embeddings says more.
    equal : callable, optional
        Whether two answers agree: ``equal(a, b) -> bool``. By default ``a == b``.
    ex_ante : QualityEstimator, optional
        Unfitted, such as `KNeighborsQuality`; its estimates before any run, out of fold, become features.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.estimators import LinearQuality
    >>> table = hr.datasets.load_quickstart()
    >>> estimator = LinearQuality().fit(table.queries, table.responses_for([True] * 5), table.quality)
    >>> before = estimator.predict(table.queries, table.responses_for([False] * 5))
    >>> before.quality.shape, before.variance.shape
    ((3600, 5), (5,))
    """

    def __init__(
        self,
        *,
        covariance: bool = False,
        n_grams: bool = False,
        equal: Callable[[Any, Any], bool] | None = None,
        ex_ante: QualityEstimator | None = None,
    ) -> None:
        self.covariance = covariance
        self.n_grams = n_grams
        self.equal = equal
        self.ex_ante = ex_ante

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Keep the labelled queries; regressions are fitted when asked for.

        Raises
        ------
        ValueError
            Fewer than two labelled queries; a quality that is missing.
        """
        self._regressions = RunSetRegressions(
            queries,
            responses,
            targets,
            query_features=QueryFeatures(n_grams=self.n_grams),
            response_features=ResponseFeatures(equal=self.equal),
            ex_ante=self.ex_ante,
            with_left_out=True,
        )
        self._range = self._regressions.targets.min(), self._regressions.targets.max()
        self._updates: dict[bytes, FloatArray] = {}
        return self

    def predict(self, queries: Queries, responses: Responses) -> Belief:
        """Estimate for queries in all of which the same models have run."""
        estimates, run = self._regressions.predict(queries, responses)
        quality = clipped(estimates, *self._range)
        update = self._update(run)
        return Belief(quality, covariance=update) if self.covariance else Belief(quality, variance=update)

    def linear_map(self, run: BoolArray) -> LinearMap | None:
        """Give what `predict` does after a run set; see `headrace.estimators.linear_map`."""
        made = self._regressions.linear_map(run, *self._range)
        if made is None:
            return None
        update = self._update(run)
        return made._replace(covariance=update) if self.covariance else made._replace(variance=update)

    def warm(self, runs: BoolArray) -> None:
        """Fit the regressions of run sets, a row each, which otherwise are fitted when first met."""
        for run in runs:
            self._regressions.warm(run)
            self._update(run)

    def _update(self, run: BoolArray) -> FloatArray:
        """Covariance, or variances, of (estimate after all models) - (estimate after `run`)."""
        key = run.tobytes()
        if key not in self._updates:
            final = np.clip(self._regressions.left_out(np.ones_like(run)), *self._range)
            update = final - np.clip(self._regressions.left_out(run), *self._range)
            self._updates[key] = update.T @ update / len(update) if self.covariance else np.mean(update**2, axis=0)
        return self._updates[key]


class LinearCost(Parameters, Stateful, part="linear-cost", kept=("_regressions", "_range")):
    """Cost by ridge regressions on features of the query and of the responses seen, one per run set.

    Estimates are kept within the range of each model's costs. A response column that holds the costs themselves is
    taken as it is, without logarithms: costs in other units give the same estimates in those units.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.estimators import LinearCost
    >>> table = hr.datasets.load_quickstart()
    >>> estimator = LinearCost().fit(table.queries, table.responses_for([True] * 5), table.cost)
    >>> cost = estimator.predict(table.queries, table.responses_for([False] * 5))
    >>> bool((abs(cost - table.cost) < 1e-9 * table.cost).all())
    True
    """

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Keep the labelled queries; regressions are fitted when asked for."""
        self._regressions = RunSetRegressions(
            queries,
            responses,
            targets,
            query_features=QueryFeatures(),
            response_features=ResponseFeatures(
                plain=[name for name in responses.names if _is(responses, name, targets)]
            ),
        )
        costs = self._regressions.targets
        self._range = costs.min(axis=0), costs.max(axis=0)
        return self

    def predict(self, queries: Queries, responses: Responses) -> FloatArray:
        """Estimate for queries in all of which the same models have run."""
        estimates, _ = self._regressions.predict(queries, responses)
        return clipped(estimates, *self._range)

    def linear_map(self, run: BoolArray) -> LinearMap | None:
        """Give what `predict` does after a run set; see `headrace.estimators.linear_map`."""
        return self._regressions.linear_map(run, *self._range)

    def warm(self, runs: BoolArray) -> None:
        """Fit the regressions of run sets, a row each, which otherwise are fitted when first met."""
        for run in runs:
            self._regressions.warm(run)


def _is(responses: Responses, name: str, targets: FloatArray) -> bool:
    """Tell whether a column holds the targets of the models that have run."""
    values, expected = responses.column(name), np.where(responses.run, targets, np.nan)
    return values.dtype != object and np.array_equal(values, expected, equal_nan=True)
