"""What the sessions of a decider share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from headrace.arguments import BoolArray, FloatArray, read_only_view
from headrace.estimators.one_query import Kinds, OneResponses
from headrace.estimators.protocol import Estimators
from headrace.estimators.together import Together
from headrace.policy import Policy

__all__ = ["Served"]


class Served(NamedTuple):
    """What the sessions of a decider share, if the same estimators serve them.

    Attributes
    ----------
    policy : Policy
    estimators : Together
    response_columns : mapping of str to (dtype, tuple of int)
    answer : {"best", "last"}
    price_changes : mapping of str to ndarray of shape (n_models,)
        As in `headrace.serving.decider.Decider`.
    forecast : dict
        As in `headrace.policy.explanation.Explanation`.
    wanted : mapping of str to ndarray of shape (n_models,)
        As in `headrace.serving.decider.Decider`.
    nothing_ran : bool ndarray of shape (n_models,), read-only
    unseen : OneResponses
        What is seen while nothing has run.
    """

    policy: Policy
    estimators: Together
    response_columns: Kinds
    answer: str
    price_changes: Mapping[str, FloatArray]
    forecast: dict[str, Any]
    wanted: Mapping[str, FloatArray]
    nothing_ran: BoolArray
    unseen: OneResponses

    @classmethod
    def by(
        cls,
        policy: Policy,
        estimators: Estimators,
        response_columns: Kinds,
        answer: str,
        price_changes: Mapping[str, FloatArray],
        forecast: dict[str, Any],
        wanted: Mapping[str, FloatArray],
    ) -> Self:
        """Give what the sessions share that a pair of estimators serves."""
        quality, costs = estimators
        together = Together(quality, dict(zip(policy.costs, costs, strict=True)))
        nothing = read_only_view(np.zeros(len(policy.models), dtype=np.bool_))
        unseen = OneResponses(nothing[None, :], response_columns)
        return cls(policy, together, response_columns, answer, price_changes, forecast, wanted, nothing, unseen)
