"""What the router asks of an estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self, TypeAlias, runtime_checkable

from headrace.arguments import Column, FloatArray
from headrace.estimators.belief import Belief
from headrace.estimators.responses import Responses

#: Columns that are known before any model runs, by name: arrays whose first axis is that of the queries.
Queries: TypeAlias = Mapping[str, Column]


@runtime_checkable
class QualityEstimator(Protocol):
    """Estimates the quality of every model's answer.

    An attribute ``accepts_missing = True`` says that labels may be missing (NaN) in a fit, and responses not run.

    Three more methods are optional. ``get_state()`` and the class method ``from_state(state)`` let a router with the
    estimator be saved: see `headrace.estimators.state`; the class must be registered, so that a file can name it.
    ``warm(runs)`` fits at once what would be fitted when a run set is first met: `runs`, of shape (n_run_sets,
    n_models), has a row for each.
    """

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Learn from labelled queries.

        Parameters
        ----------
        queries : mapping of str to ndarray of shape (n_queries, ...)
        responses : Responses
            Of all models: every one has run.
        targets : ndarray of shape (n_queries, n_models)
            Realised qualities.
        """
        ...

    def predict(self, queries: Queries, responses: Responses) -> Belief:
        """Estimate, from the queries and from what the models that have run returned.

        Parameters
        ----------
        queries : mapping of str to ndarray of shape (m, ...)
        responses : Responses
            Of m queries, after the same models have run in all of them. ``responses.run`` may be all False.

        Returns
        -------
        Belief
            Of m queries.
        """
        ...


@runtime_checkable
class CostEstimator(Protocol):
    """Estimates the cost of running every model now. Optional methods: those of `QualityEstimator`."""

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Learn from labelled queries; `targets` are realised costs. Otherwise as `QualityEstimator.fit`."""
        ...

    def predict(self, queries: Queries, responses: Responses) -> FloatArray:
        """Give costs of shape (m, n_models), >= 0. Otherwise as `QualityEstimator.predict`."""
        ...


#: A fitted quality estimator, and a fitted cost estimator for each of the costs.
Estimators: TypeAlias = tuple[QualityEstimator, tuple[CostEstimator, ...]]
