"""A session: the walk over one query, from the first model to the answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, listed
from headrace.estimators.belief import Belief
from headrace.estimators.protocol import CostEstimator, QualityEstimator
from headrace.estimators.responses import Responses
from headrace.notebook import html_table
from headrace.policy import Policy
from headrace.policy.explanation import Explanation, explain
from headrace.policy.policy import weighed
from headrace.rules import Decision

__all__ = ["Session"]


class Session:
    """The walk over one query: ask for the `next` model, run it, `observe` its response, until there is none.

    Made by `Decider.start`.

    Attributes
    ----------
    id : str
        Id of the query.
    cost : float
        Cost of the models run so far; of several costs, the first.
    costs : dict of str to float
        The same, of each cost by name.
    decision : Decision or None
        The last decision.
    """

    def __init__(
        self,
        policy: Policy,
        quality: QualityEstimator,
        costs: Sequence[CostEstimator],
        query: Mapping[str, Any],
        *,
        id: str,  # the word that users say
        response_columns: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
        answer: str = "best",
        allowed: Sequence[str] | None = None,
        max_cost: float | Mapping[str, float] | None = None,
        switching_cost: Mapping[str, float] | None = None,
    ) -> None:
        self.id = id
        self.costs = dict.fromkeys(policy.costs, 0.0)
        self.decision: Decision | None = None
        self._policy = policy
        self._models = policy.models
        self._rule = policy.rule_for(id)
        self._quality_estimator, self._cost_estimators = quality, tuple(costs)
        self._queries = {name: _one_row(value) for name, value in query.items()}
        self._columns = {
            name: _missing((1, len(self._models), *shape), dtype) for name, (dtype, shape) in response_columns.items()
        }
        self._run: BoolArray = np.zeros(len(self._models), dtype=np.bool_)
        self._order: list[int] = []
        self._responses: dict[int, Any] = {}
        self._answer = answer
        every = range(len(self._models))
        self._allowed = list(every) if allowed is None else [self._index("allowed", name) for name in allowed]
        self._caps = checked_caps(max_cost, policy.costs)
        self._switching = np.zeros(len(self._models))
        for name, added in (switching_cost or {}).items():
            if not isinstance(added, Real) or not 0.0 <= float(added) < np.inf:
                raise ValueError(f"switching_cost: expected finite numbers >= 0, got {added!r} for {name!r}")
            self._switching[self._index("switching_cost", name)] = added
        self._believed: tuple[Belief, FloatArray] | None = None

    @property
    def cost(self) -> float:
        """Cost of the models run so far; of several costs, the first."""
        return self.costs[self._policy.costs[0]]

    def next(self) -> str | None:
        """Give the model to run now; None = stop, the answer is there.

        Raises
        ------
        ValueError
            No model may run, or none is within the cap on the cost, while none has run.
        """
        belief, costs = self._beliefs()
        # Caps on other costs than the one that is traded say what may run next.
        traded = self._traded()
        self.decision = self._rule.select(
            belief.quality[0],
            weighed(costs[:, 0], self._policy.rates),
            variance=_row(belief.variance, 1),
            covariance=_row(belief.covariance, 2),
            loading=_row(belief.loading, 1),
            run=self._run,
            allowed=self._within_caps(costs[:, 0], set(self._caps) - {traded}),
            max_cost=self._left(traded) if traded in self._caps else None,
        )
        return None if self.decision.next is None else self._models[self.decision.next]

    def observe(self, model: str, response: Any, *, cost: float | Mapping[str, float] | None = None) -> None:
        """Take in what a model returned.

        Parameters
        ----------
        model : str
            The model that ran; usually, but not necessarily, the one that `next` named.
        response : mapping of str to value, or anything else
            The response's columns, as in the table of the fit; a column that is lacking counts as missing. Anything but
            a mapping stands for ``{"answer": response}``.
        cost : float or mapping of str to float, optional
            What the run cost; of several costs, the first, or each by name. By default the response's column of that
            name (of the first, also "cost"), or else the estimate.

        Raises
        ------
        ValueError
            An unknown model, or one observed before; a column that the fit did not have; a cost that isn't a finite
            number >= 0.
        """
        j = self._index("model", model)
        if self._run[j]:
            raise ValueError(f"model: {model!r} has been observed before in this session")
        columns = response if isinstance(response, Mapping) else {"answer": response}
        known = {*self._columns, *self.costs, "cost"}
        unknown = [name for name in columns if name not in known and isinstance(response, Mapping)]
        if unknown:
            raise ValueError(f"response: unknown column {unknown[0]!r}; the fit had {listed(self._columns)}")
        spent = self._spent(j, columns, cost)
        self._columns = self._with_response(j, columns)
        for name, value in spent.items():
            self.costs[name] += value
        self._run[j] = True
        self._order.append(j)
        self._responses[j] = response
        self._believed = None
        self.decision = None

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

    def why(self) -> Explanation:
        """Say what is believed of each model, what is decided now, what that beats, and what would flip it.

        Returns
        -------
        Explanation
            Print it, or take its `to_dict`, which is ready for JSON and goes without the query's text.

        Raises
        ------
        ValueError
            As `next`.
        """
        belief, costs = self._beliefs()
        traded = self._traded()
        allowed = self._within_caps(costs[:, 0], set(self._caps) - {traded})
        return explain(
            self._policy,
            belief.quality[0],
            costs[:, 0],
            variance=_row(belief.variance, 1),
            covariance=_row(belief.covariance, 2),
            loading=_row(belief.loading, 1),
            run=self.run,
            allowed=[self._models[j] for j in allowed],
            max_cost=self._left(traded) if traded in self._caps else None,
            spent=self.costs,
            id=self.id,
        )

    def __repr__(self) -> str:
        ran = f"ran {', '.join(self.run)}" if self._order else "nothing has run"
        state = "" if self.decision is None else f"; next: {self._name(self.decision.next)}"
        spent = ", ".join(f"{name} {value:.4g}" for name, value in self.costs.items())
        return f"Session({self.id!r}: {ran}{state}; {spent} spent)"

    def _repr_html_(self) -> str:
        why = self.why()
        rows = [
            (row["model"], f"{row['quality']:.3f}", f"{row['sd']:.3f}", f"{row['cost']:.4g}", _state(row, why.next))
            for row in why.models
        ]
        return html_table(repr(self), rows, ("model", "quality", "sd", "cost", ""))

    def _name(self, model: int | None) -> str:
        return "stop" if model is None else self._models[model]

    def _traded(self) -> str | None:
        """Name the cost whose cap the rule itself keeps: the very one that it trades for the whole plan."""
        return self._policy.costs[0] if self._policy.rates == (1.0,) else None

    def _beliefs(self) -> tuple[Belief, FloatArray]:
        """Beliefs, and the estimates of each cost: shape (n_costs, 1, n_models)."""
        if self._believed is None:
            responses = Responses(self._run[None, :], self._columns)
            costs = np.array([estimator.predict(self._queries, responses) for estimator in self._cost_estimators])
            costs[0] += self._switching
            self._believed = self._quality_estimator.predict(self._queries, responses), costs
        return self._believed

    def _left(self, name: str) -> float:
        """How much of a capped cost may still be spent."""
        return max(self._caps[name] - self.costs[name], 0.0)

    def _within_caps(self, costs: FloatArray, capped: Collection[str]) -> list[int]:
        """Models that may run, and whose costs, by estimate, are within what is left of each cap."""
        allowed = self._allowed
        for name, cost in zip(self.costs, costs, strict=True):
            if name not in capped:
                continue
            left = self._left(name)
            within = [j for j in allowed if self._run[j] or cost[j] <= left]
            if not within and not self._order:
                least = min((float(cost[j]) for j in allowed), default=0.0)
                raise ValueError(
                    f"max_cost: expected at least {least:.6g} for {name!r}, which the cheapest model that may run is "
                    f"expected to take; got {left:.6g}"
                )
            allowed = within
        return allowed

    def _spent(self, j: int, columns: Mapping[str, Any], cost: float | Mapping[str, float] | None) -> dict[str, float]:
        """Give what a run cost, of each cost by name."""
        first = self._policy.costs[0]
        given = dict(cost) if isinstance(cost, Mapping) else {} if cost is None else {first: cost}
        unknown = [name for name in given if name not in self.costs]
        if unknown:
            raise ValueError(f"cost: unknown cost {unknown[0]!r}; known: {listed(self.costs)}")
        spent = {}
        for number, name in enumerate(self.costs):
            value = given.get(name, columns.get(name))
            if value is None and name == first:
                value = columns.get("cost")
            if value is None:
                value = self._beliefs()[1][number, 0, j]
            if not isinstance(value, Real) or not 0.0 <= float(value) < np.inf:
                of = "" if len(self.costs) == 1 else f" for {name!r}"
                raise ValueError(f"cost: expected a finite number >= 0{of}, got {value!r}")
            spent[name] = float(value)
        return spent

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


def _state(row: Mapping[str, Any], following: str | None) -> str:
    """Say what is to be said of a model in a table."""
    if row["run"]:
        return "has run"
    if not row["allowed"]:
        return "may not run"
    return "next" if row["model"] == following else "in plan" if row["in_plan"] else ""


def checked_caps(max_cost: float | Mapping[str, float] | None, costs: Sequence[str]) -> dict[str, float]:
    """Give the cap of each cost that has one; a number is that of the first."""
    if max_cost is None:
        return {}
    caps = dict(max_cost) if isinstance(max_cost, Mapping) else {costs[0]: max_cost}
    for name, limit in caps.items():
        if name not in costs:
            raise ValueError(f"max_cost: unknown cost {name!r}; known: {listed(costs)}")
        if not isinstance(limit, Real) or not float(limit) >= 0.0:
            raise ValueError(f"max_cost: expected a number >= 0, got {limit!r}")
    return {name: float(limit) for name, limit in caps.items()}


def _missing(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
    """Make a response column in which nothing is known: None among objects, NaN among numbers."""
    return np.full(shape, None, dtype=object) if dtype.kind == "O" else np.full(shape, np.nan)


def _one_row(value: Any) -> Column:
    """Make a column of one query."""
    # A long text takes time as an array.
    if not isinstance(value, str):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            return array.astype(np.float64)[None]
    column = np.empty(1, dtype=object)
    column[0] = value
    return column


def _row(values: FloatArray | None, axes: int) -> FloatArray | None:
    return values if values is None or values.ndim == axes else values[0]
