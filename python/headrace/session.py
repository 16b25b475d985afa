"""A session: the walk over one query, from the first model to the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.arrays import BoolArray, Column, FloatArray, listed
from headrace.belief import Belief
from headrace.estimators import CostEstimator, QualityEstimator
from headrace.policy import Policy
from headrace.responses import Responses
from headrace.rules import Decision

__all__ = ["Session"]


class Session:
    """The walk over one query: ask for the `next` model, run it, `observe` its response, until there is none.

    Made by `Router.start`.

    Attributes
    ----------
    id : str
        Id of the query.
    cost : float
        Cost of the models run so far.
    decision : Decision or None
        The last decision.
    """

    def __init__(
        self,
        policy: Policy,
        quality: QualityEstimator,
        cost: CostEstimator,
        query: Mapping[str, Any],
        *,
        id: str,  # the word that users say
        response_columns: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
        answer: str = "best",
        allowed: Sequence[str] | None = None,
        max_cost: float | None = None,
    ) -> None:
        self.id = id
        self.cost = 0.0
        self.decision: Decision | None = None
        self._policy = policy
        self._models = policy.models
        self._rule = policy.rule_for(id)
        self._quality_estimator, self._cost_estimator = quality, cost
        self._queries = {name: _one_row(value) for name, value in query.items()}
        self._columns = {
            name: _missing((1, len(self._models), *shape), dtype) for name, (dtype, shape) in response_columns.items()
        }
        self._run: BoolArray = np.zeros(len(self._models), dtype=np.bool_)
        self._order: list[int] = []
        self._responses: dict[int, Any] = {}
        self._answer = answer
        names = self._models if allowed is None else allowed
        self._allowed = [self._index("allowed", name) for name in names]
        if max_cost is not None and not max_cost >= 0.0:
            raise ValueError(f"max_cost: expected a number >= 0, got {max_cost}")
        self._max_cost = max_cost
        self._believed: tuple[Belief, FloatArray] | None = None

    def next(self) -> str | None:
        """Give the model to run now; None = stop, the answer is there.

        Raises
        ------
        ValueError
            No model may run, or none is within the cap on the cost, while none has run.
        """
        belief, cost = self._beliefs()
        left = None if self._max_cost is None else max(self._max_cost - self.cost, 0.0)
        self.decision = self._rule.select(
            belief.quality[0],
            cost[0],
            variance=_row(belief.variance, 1),
            covariance=_row(belief.covariance, 2),
            loading=_row(belief.loading, 1),
            run=self._run,
            allowed=self._allowed,
            max_cost=left,
        )
        return None if self.decision.next is None else self._models[self.decision.next]

    def observe(self, model: str, response: Any, *, cost: float | None = None) -> None:
        """Take in what a model returned.

        Parameters
        ----------
        model : str
            The model that ran; usually, but not necessarily, the one that `next` named.
        response : mapping of str to value, or anything else
            The response's columns, as in the table of the fit; a column that is lacking counts as missing. Anything but
            a mapping stands for ``{"answer": response}``.
        cost : float, optional
            What the run cost; by default the response's "cost", or else the estimate.

        Raises
        ------
        ValueError
            An unknown model, or one observed before; a column that the fit did not have; a cost below zero.
        """
        j = self._index("model", model)
        if self._run[j]:
            raise ValueError(f"model: {model!r} has been observed before in this session")
        columns = response if isinstance(response, Mapping) else {"answer": response}
        unknown = [name for name in columns if name not in {*self._columns, "cost"} and isinstance(response, Mapping)]
        if unknown:
            raise ValueError(f"response: unknown column {unknown[0]!r}; the fit had {listed(self._columns)}")
        if cost is None:
            recorded = columns.get("cost")
            cost = float(recorded) if recorded is not None else float(self._beliefs()[1][0, j])
        if not 0.0 <= cost < np.inf:
            raise ValueError(f"cost: expected a finite number >= 0, got {cost}")
        self._columns = self._with_response(j, columns)
        self.cost += float(cost)
        self._run[j] = True
        self._order.append(j)
        self._responses[j] = response
        self._believed = None

    @property
    def run(self) -> tuple[str, ...]:
        """Models that have run, in their order."""
        return tuple(self._models[j] for j in self._order)

    @property
    def model(self) -> str:
        """Model whose response is the answer.

        Raises
        ------
        ValueError
            No model has run yet.
        """
        if not self._order:
            raise ValueError("answer: no model has run yet; run the one that next() names, and observe its response")
        if self._answer == "last":
            return self._models[self._order[-1]]
        quality = np.where(self._run, self._beliefs()[0].quality[0], -np.inf)
        return self._models[int(quality.argmax())]

    @property
    def answer(self) -> Any:
        """The response of `model`, as it was observed; errors as there."""
        return self._responses[self._models.index(self.model)]

    def explain(self) -> dict[str, Any]:
        """Say why: what is believed of each model, and what was decided. Ready for JSON, without the query's text.

        Returns
        -------
        dict
            "id", "rule", "run", "cost", "next", "plan", "value", "tradeoff", "status", and under "models" one dict per
            model: "model", "quality", "sd" (of the update still to come), "cost", "run", "allowed", "in_plan".
        """
        belief, cost = self._beliefs()
        decision = self.decision
        plan = set(decision.plan) if decision is not None else set()
        if belief.variance is not None:
            variance = np.atleast_2d(belief.variance)[0]
            if belief.loading is not None:
                variance = variance + np.atleast_2d(belief.loading)[0] ** 2
        elif belief.covariance is not None:
            variance = np.diagonal(belief.covariance, axis1=-2, axis2=-1).reshape(-1, len(self._models))[0]
        else:
            variance = np.zeros(len(self._models))
        models = [
            {
                "model": name,
                "quality": float(belief.quality[0, j]),
                "sd": float(np.sqrt(variance[j])),
                "cost": float(cost[0, j]),
                "run": bool(self._run[j]),
                "allowed": j in self._allowed,
                "in_plan": j in plan,
            }
            for j, name in enumerate(self._models)
        ]
        return {
            "id": self.id,
            "rule": repr(self._rule),
            "run": list(self.run),
            "cost": self.cost,
            "next": None if decision is None or decision.next is None else self._models[decision.next],
            "plan": [self._models[j] for j in sorted(plan)],
            "value": None if decision is None else decision.value,
            # At an infinite cost weight the tradeoff is minus infinity, which JSON doesn't know.
            "tradeoff": None if decision is None or np.isinf(decision.tradeoff) else decision.tradeoff,
            "status": None if decision is None else decision.status,
            "models": models,
        }

    def _beliefs(self) -> tuple[Belief, FloatArray]:
        if self._believed is None:
            responses = Responses(self._run[None, :], self._columns)
            cost = self._cost_estimator.predict(self._queries, responses)
            self._believed = self._quality_estimator.predict(self._queries, responses), cost
        return self._believed

    def _with_response(self, j: int, response: Mapping[str, Any]) -> dict[str, Column]:
        """Copy the columns with one model's response in: a value that doesn't fit leaves no trace."""
        columns = {name: column.copy() for name, column in self._columns.items()}
        for name in columns.keys() & response.keys():
            try:
                columns[name][0, j] = response[name]
            except (TypeError, ValueError) as error:
                wanted = f"a value of shape {columns[name].shape[2:]}" if columns[name].ndim > 2 else "a number"
                raise ValueError(f"response: column {name!r} expects {wanted}, got {response[name]!r}") from error
        return columns

    def _index(self, argument: str, name: str) -> int:
        try:
            return self._models.index(name)
        except ValueError:
            raise ValueError(f"{argument}: unknown model {name!r}; known: {listed(self._models)}") from None


def _missing(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
    """Make a response column in which nothing is known: None among objects, NaN among numbers."""
    return np.full(shape, None, dtype=object) if dtype.kind == "O" else np.full(shape, np.nan)


def _one_row(value: Any) -> Column:
    """Make a column of one query."""
    array = np.asarray(value)
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)[None]
    column = np.empty(1, dtype=object)
    column[0] = value
    return column


def _row(values: FloatArray | None, axes: int) -> FloatArray | None:
    return values if values is None or values.ndim == axes else values[0]
