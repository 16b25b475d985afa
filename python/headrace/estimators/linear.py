"""Linear estimators: one ridge regression per run set, for all models at once, fitted when first asked for.

After R has run, the features are those of the query and of the responses of R; the targets are the qualities (or
costs) of all models. So the ex-ante signal is kept after a run, and a run says something about the other models, too.
The penalty of each target minimises the exact leave-one-out error (of more than twelve targets, that of generalised
cross-validation), and so do the scales of two blocks of features:
what a query's embedding or n-grams say, and all others (`ridge`). Scales are chosen before any run and after all; those
after all hold for every run set in between. Responses have no scale of their own: what suits after all models can
be far off in between. The update still to come is the difference between the leave-one-out estimates after all models
have run and those after R: out of sample, so that it isn't overstated. Its variance is a mean over rows; of more than
twelve models it comes from products that all run sets share, and no estimate is kept within a range there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np

from headrace.arguments import BoolArray, FloatArray
from headrace.estimators.belief import Belief
from headrace.estimators.linear_map import LinearMap
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import QualityEstimator, Queries
from headrace.estimators.query_features import QueryFeatures
from headrace.estimators.response_features import ResponseFeatures
from headrace.estimators.responses import Responses
from headrace.estimators.ridge import MOST_TARGETS
from headrace.estimators.run_set_regressions import RunSetRegressions
from headrace.estimators.state import Stateful
from headrace.estimators.targets import clipped

__all__ = ["LinearCost", "LinearQuality"]


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
            with_left_out=self.covariance or responses.run.shape[1] <= MOST_TARGETS,
            with_updates=not self.covariance,
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
        if not self.covariance and run.size > MOST_TARGETS:
            return self._regressions.update(run)
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
                plain=[name for name in responses.names if _is(responses, name, targets)], pairs=False
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
