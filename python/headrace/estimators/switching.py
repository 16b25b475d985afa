"""Switching costs: what it costs to leave the model that a session has been served by."""

from __future__ import annotations

import copy
from typing import Self

import numpy as np

from headrace.arguments import BoolArray, FloatArray, checked_numbers
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import CostEstimator, Queries
from headrace.estimators.responses import Responses
from headrace.estimators.state import Stateful

__all__ = ["SwitchingCost"]

#: Query column of the costs to be added.
COLUMN = "switching_cost"


class SwitchingCost(Parameters, Stateful, part="switching-cost", kept=("_base",)):
    """Adds a cost per query and model, such as that of a lost prompt cache, to what another estimator gives.

    It is read from the query column "switching_cost", of shape (n_queries, n_models): 0 for the model that holds the
    session. Without the column nothing is added. The other estimator doesn't see the column, and is fitted to costs
    less what the column says.

    Parameters
    ----------
    base : CostEstimator
        Unfitted.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace import Responses
    >>> from headrace.estimators import ConstantCost, SwitchingCost
    >>> seen = Responses(np.ones((2, 2), bool), {})
    >>> cost = SwitchingCost(ConstantCost()).fit({}, seen, np.array([[1.0, 4.0], [3.0, 4.0]]))
    >>> cost.predict({"switching_cost": np.array([[0.0, 0.5]])}, seen.take([0])).tolist()
    [[2.0, 4.5]]
    """

    def __init__(self, base: CostEstimator) -> None:
        self.base = base

    @property
    def optional_queries(self) -> tuple[str, ...]:
        """Columns of queries that may be there in service without having been in the fit."""
        return (COLUMN, *getattr(self.base, "optional_queries", ()))

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Fit a copy of the other estimator.

        Raises
        ------
        ValueError
            If the column has another shape, or a number that isn't finite and >= 0.
        """
        costs = np.asarray(targets, dtype=np.float64)
        own = np.maximum(costs - _added(queries, costs.shape), 0.0)
        self._base = copy.deepcopy(self.base).fit(_others(queries), responses, own)
        return self

    def predict(self, queries: Queries, responses: Responses) -> FloatArray:
        """Add the column to the other estimates; errors as in `fit`."""
        costs = self._base.predict(_others(queries), responses)
        return np.asarray(costs + _added(queries, costs.shape))

    def warm(self, runs: BoolArray) -> None:
        """Let the other estimator fit what it would otherwise fit when a run set is first met."""
        if hasattr(self._base, "warm"):
            self._base.warm(runs)


def _others(queries: Queries) -> Queries:
    if COLUMN not in queries:
        return queries
    return {name: values for name, values in queries.items() if name != COLUMN}


def _added(queries: Queries, shape: tuple[int, ...]) -> FloatArray:
    if COLUMN not in queries:
        return np.zeros(shape)
    added = checked_numbers(f"queries: column {COLUMN!r}", queries[COLUMN])
    if added.shape != shape:
        raise ValueError(
            f"queries: column {COLUMN!r}: expected shape (n_queries, n_models) = {shape}, got {added.shape}"
        )
    if not ((added >= 0.0) & np.isfinite(added)).all():
        raise ValueError(f"queries: column {COLUMN!r}: expected finite numbers >= 0")
    return added
