"""Estimators that look at nothing: every query is the average query."""

from __future__ import annotations

from typing import Self

import numpy as np

from headrace.arguments import FloatArray
from headrace.estimators.belief import Belief
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import Queries
from headrace.estimators.responses import Responses
from headrace.estimators.state import Stateful
from headrace.estimators.targets import checked_targets

__all__ = ["ConstantCost", "ConstantQuality"]


class ConstantQuality(Parameters, Stateful, part="constant-quality", kept=("mean_",)):
    """The mean quality of each model, whatever the query; no run changes it, so its uncertainty is zero.

    Attributes
    ----------
    mean_ : ndarray of shape (n_models,)

    Examples
    --------
    >>> import numpy as np
    >>> from headrace import Responses
    >>> from headrace.estimators import ConstantQuality
    >>> seen = Responses(np.ones((2, 2), bool), {})
    >>> ConstantQuality().fit({}, seen, np.array([[0.0, 1.0], [1.0, 1.0]])).predict({}, seen).quality.tolist()
    [[0.5, 1.0], [0.5, 1.0]]
    """

    mean_: FloatArray

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Take the means of the targets; some may be missing (NaN), but not all of a model's."""
        self.mean_ = np.nanmean(checked_targets(targets, fewest=1, partly=True), axis=0)
        return self

    def predict(self, queries: Queries, responses: Responses) -> Belief:
        """Give the means, for every query."""
        return Belief(np.tile(self.mean_, (len(responses), 1)))


class ConstantCost(Parameters, Stateful, part="constant-cost", kept=("mean_",)):
    """The mean cost of each model, whatever the query.

    Attributes
    ----------
    mean_ : ndarray of shape (n_models,)

    Examples
    --------
    >>> import numpy as np
    >>> from headrace import Responses
    >>> from headrace.estimators import ConstantCost
    >>> seen = Responses(np.ones((2, 2), bool), {})
    >>> ConstantCost().fit({}, seen, np.array([[1.0, 4.0], [3.0, 4.0]])).predict({}, seen).tolist()
    [[2.0, 4.0], [2.0, 4.0]]
    """

    mean_: FloatArray

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Take the means of the targets; some may be missing (NaN), but not all of a model's."""
        self.mean_ = np.nanmean(checked_targets(targets, fewest=1, partly=True), axis=0)
        return self

    def predict(self, queries: Queries, responses: Responses) -> FloatArray:
        """Give the means, for every query."""
        return np.tile(self.mean_, (len(responses), 1))
