"""Ridge regressions of the same targets for every run set, fitted when first asked for, from what all of them share."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, IndexArray
from headrace.estimators.block_scales import BLOCKS, CONTENT, REST, choose_scales
from headrace.estimators.linear_map import LinearMap
from headrace.estimators.one_query import once
from headrace.estimators.protocol import QualityEstimator, Queries
from headrace.estimators.query_features import QueryFeatures
from headrace.estimators.response_features import EncodedResponses, ResponseFeatures, columns_after
from headrace.estimators.responses import Responses
from headrace.estimators.ridge import MOST_FEATURES, Ridge, RidgeRegressions, judged
from headrace.estimators.state import Stateful
from headrace.estimators.targets import checked_targets

__all__ = ["RunSetRegressions", "common_run"]

#: Folds in which the estimates of another estimator are made that become features.
N_FOLDS = 5

#: Bytes of the regressions that are kept, of run sets as large as the next one; others are fitted again when met again.
MOST_BYTES = 4 * 2**20


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


def _centred(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give features without their averages, and the averages."""
    known = ~np.isnan(features)
    centre = np.where(known, features, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return features - centre, centre


class RunSetRegressions(
    Stateful,
    part="run-set-regressions",
    kept=(
        "targets",
        "_query_features",
        "_response_features",
        "_ex_ante",
        "_widths",
        "_regressions",
        "_centres",
        "_scales",
        "_fitted",
        "_with_left_out",
    ),
):
    """Ridge regressions on the features of queries and responses, one per run set, kept once fitted.

    What differs between run sets is which features are in: their products are computed once, for all run sets. Those
    `with_left_out` are asked for the leave-one-out estimates of each run set, once; those `with_updates`, of many
    targets, for how far its estimates are from the last ones. Many models have more run sets than memory holds: beyond
    `MOST_BYTES`, the last one fitted is kept, and those that are `warm`.
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
        with_updates: bool = False,
    ) -> None:
        self._with_left_out = with_left_out
        self.targets: FloatArray = np.ascontiguousarray(checked_targets(targets, fewest=2))
        self._query_features = query_features.fit(queries)
        self._response_features = response_features.fit(responses)
        encoded = self._query_features.transform(queries, len(responses))
        self._ex_ante: _ExAnteFeatures | None = None
        if ex_ante is not None:
            self._ex_ante = _ExAnteFeatures(ex_ante, queries, responses, self.targets)
            encoded = np.hstack([encoded, self._ex_ante.out_of_fold])
        seen = EncodedResponses(self._response_features, responses)
        self._widths = encoded.shape[1], *seen.widths
        n_models = responses.run.shape[1]
        before = self._chosen(_centred(encoded)[0], np.ones(len(BLOCKS)))
        n_alone = encoded.shape[1] + n_models * seen.widths[0]
        n_features = len(self._columns(np.ones(n_models, dtype=np.bool_)))
        blocks: Iterable[FloatArray] = chain([encoded], seen.blocks())
        # Of so many features, the scales before any run hold after all runs, too.
        after = before
        if n_features <= MOST_FEATURES:
            blocks = list(blocks)
            after = self._chosen(_centred(np.hstack(blocks))[0], before)
        self._scales = before, after
        centres: list[FloatArray] = []

        def centred() -> Iterator[FloatArray]:
            for block in blocks:
                features, centre = _centred(block)
                centres.append(centre)
                yield features

        last = after[self._blocks(n_features if n_features <= MOST_FEATURES else n_alone)] if with_updates else None
        self._regressions = RidgeRegressions(centred(), self.targets, n_features, last=last)
        self._centres = np.concatenate(centres)
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

    def update(self, run: BoolArray) -> FloatArray:
        """Give the mean squares of the last estimates' differences from those after a run set, of many targets.

        Asked of regressions `with_updates`.
        """
        return np.asarray(self._regression(run)[0].update)

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
        # Taken once: another thread may put another one in its place.
        found = self._fitted.get(key) or self._last.get(key)
        if found is None:
            found = self._fit(run, left_out=self._with_left_out)
            self._keep(run, found)
        return found

    def _keep(self, run: BoolArray, fitted: tuple[Ridge, FloatArray]) -> None:
        key = run.tobytes()
        if key in self._fitted or (len(self._fitted) + 1) * fitted[0].weights.nbytes <= MOST_BYTES or run.all():
            self._fitted[key] = fitted
        else:
            self._last = {key: fitted}

    def _fit(self, run: BoolArray, *, left_out: bool) -> tuple[Ridge, FloatArray]:
        columns = self._columns(run)
        scales = self._scales[int(run.any())][self._blocks(len(columns))]
        return self._regressions.fit(columns, scales, left_out=left_out), self._centres[columns]

    def _columns(self, run: BoolArray) -> IndexArray:
        """Give where the features of a run set are: those of pairs of responses are the last."""
        before, of_model, of_pair = self._widths
        return np.concatenate([np.arange(before), before + columns_after(run, of_model, of_pair)])

    def __getstate__(self) -> dict[str, Any]:
        # A pickle needn't carry what can be computed again.
        return {name: value for name, value in vars(self).items() if name != "_last"}

    def _chosen(self, centred: FloatArray, start: FloatArray) -> FloatArray:
        return choose_scales(centred, self.targets, self._blocks(centred.shape[1]), start, optional=[CONTENT])

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
