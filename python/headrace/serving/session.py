"""A session: the walk over one query, from the first model to the answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from headrace.arguments import LARGEST, FloatArray, answer_text
from headrace.errors import NoModelLeft
from headrace.estimators.belief import Belief
from headrace.estimators.one_query import OneQuery, OneResponses
from headrace.policy.explanation import Explanation, explain
from headrace.policy.policy import weighed
from headrace.rules import Decision, Rule
from headrace.serving.columns import checked_cell, checked_names
from headrace.serving.limits import Limits, index_of
from headrace.serving.resumed import kept
from headrace.serving.served import Served
from headrace.serving.session_table import session_table
from headrace.serving.spending import bought, checked_costs

__all__ = ["Session"]


class Session:
    """The walk over one query: ask for the `next` model, run it, `observe` its response, until there is none.

    Made by `Decider.start`. A run that failed is told by `fail`.

    Attributes
    ----------
    id : str
        Id of the query.
    costs : dict of str to float
        Cost of all runs so far, of each cost by name; runs that failed count with what they cost.
    decision : Decision or None
        The last decision.
    failed : dict of str to str
        Models whose run failed, and how; one that may run again isn't among them.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.datasets import NoisyOracle, simulate
    >>> table = simulate(300, 3)
    >>> decider = hr.Router(quality=NoisyOracle()).fit(table, budget=0.003).decider_
    >>> session = decider.start({name: column[0] for name, column in table.queries.items()}, id="q-1")
    >>> first = session.next()
    >>> session.fail(first, kind="timeout")
    >>> second = session.next()
    >>> session.observe(second, {}, cost=0.001)
    >>> second != first, session.model == second, session.failed == {first: "timeout"}
    (True, True, True)
    """

    def __init__(self, served: Served, query: OneQuery, limits: Limits, id: str) -> None:  # id: the word that users say
        policy = served.policy
        self.id = id
        self.costs: dict[str, float] = dict.fromkeys(policy.costs, 0.0)
        self.decision: Decision | None = None
        self.failed: dict[str, str] = {}
        self._served = served
        self._models = policy.models
        self._limits = limits
        self._rule = policy.rule_for(id)
        self._query = query
        # Both are the session's own from its first response on.
        self._run = served.nothing_ran
        #: What models have returned, as estimators see it.
        self._seen = served.unseen
        #: By index of the model, in the order of the runs: what it returned, what it cost, and what was bought.
        self._ran: dict[int, tuple[Any, dict[str, float], dict[str, float]]] = {}
        self._notes: list[str] = []
        self._believed: tuple[Belief, FloatArray] | None = None
        #: The last estimates of quality that there were: the answer doesn't depend on new ones.
        self._last_quality: FloatArray | None = None

    @property
    def cost(self) -> float:
        """Cost of the models run so far; of several costs, the first."""
        return self.costs[self._served.policy.costs[0]]

    def next(self, *, final: bool = False) -> str | None:
        """Give the model to run now; None = stop, the answer is there.

        Parameters
        ----------
        final : bool, default False
            Whether the model must answer, as where its answer is streamed at once: no other can run after it.

        Raises
        ------
        NoModelLeft
            No model may run any more, and none has given an answer.
        CapTooSmall
            None is within a cap on the cost, while none has run.
        ValueError
            Prices or switching costs with which a cost is beyond 1e150.
        """
        left = self._left_to_run()
        if not left and not self._ran:
            failed = ", ".join(f"{name!r} ({kind})" for name, kind in self.failed.items()) or "none"
            raise NoModelLeft(f"next: no model is left to run; failed: {failed}")
        rule = self._served.policy.final_rule_for(self.id) if final else self._rule
        self.decision = decision = self._decided(rule, left)
        return None if decision.next is None else self._models[decision.next]

    def decided(self, rule: Rule) -> Decision:
        """Give what another rule decides now, within the session's caps; the session stays as it is.

        Raises
        ------
        CapTooSmall
            As `next`.
        """
        return self._decided(rule, self._left_to_run())

    def _decided(self, rule: Rule, left: list[int]) -> Decision:
        belief, costs = self.estimates()
        within, max_cost = self._limits.caps.applied(left, costs, self.costs, self._run)
        return rule.select(
            belief.quality,
            weighed(costs, self._served.policy.rates),
            variance=belief.variance,
            covariance=belief.covariance,
            loading=belief.loading,
            run=self._run.tolist() if self._ran else None,  # read in less time than an array
            allowed=None if len(within) == len(self._models) else within,
            max_cost=max_cost,
        )

    def observe(
        self,
        model: str,
        response: Any,
        *,
        cost: float | Mapping[str, float] | None = None,
        column_cost: Mapping[str, float] | None = None,
        extra: str = "refuse",
    ) -> None:
        """Take in what a model returned. What is refused leaves no trace.

        Parameters
        ----------
        model : str
            The model that ran; usually, but not necessarily, the one that `next` named.
        response : mapping of str to value, or anything else but None
            The response's columns; what is lacking, or beyond 1e150, counts as missing (`why` notes it). Anything but a
            mapping stands for ``{"answer": response}``.
        cost : float or mapping of str to float, optional
            What the run alone cost; of several costs, the first, or each by name. By default the response's column of
            that name (of the first, also "cost"), or else the estimate.
        column_cost : mapping of str to float, optional
            What columns of `wanted` cost here, in the first cost; by default their mean price in the fit. A column that
            is missing cost nothing.
        extra : {"refuse", "ignore"}
            What becomes of columns that the fit did not have.

        Raises
        ------
        UnknownColumn
            A column that the fit did not have.
        TypeError, ValueError
            None: a run that failed is told by `fail`. An unknown model, or one observed before; a value that doesn't
            fit its column; a cost that isn't a finite number >= 0.
        """
        j = self._not_run(model)
        if response is None:
            raise TypeError(f"response: expected what {model!r} returned, got None; a failed run is told by fail()")
        if extra not in ("refuse", "ignore"):
            raise ValueError(f'extra: expected "refuse" or "ignore", got {extra!r}')
        is_named = type(response) is dict or isinstance(response, Mapping)
        columns = dict(response) if is_named else {"answer": response}
        if is_named and extra == "refuse" and not columns.keys() <= self._seen.kinds.keys():
            checked_names("response", columns, self._seen.kinds, {*self.costs, "cost"}, needed=False)
        spent = self._spent(j, columns, cost)
        paid = bought(self._served.wanted, j, columns, column_cost or {})
        cells, too_large = self._cells_of(j, columns, spent)
        if not self._ran:
            self._run = self._run.copy()
            self._seen = OneResponses(self._run[None, :], self._served.response_columns)
        self._seen.cells[j] = cells
        if too_large:
            self._notes += [f"{name} of {model}: numbers beyond {LARGEST:g} count as missing" for name in too_large]
        self.costs = {name: value + spent.get(name, 0.0) for name, value in self.costs.items()}
        if self._served.wanted:
            self.costs[self._served.policy.costs[0]] += sum(paid.values())
            self._notes += [f"{name} of {model} was not bought" for name in self.wanted if name not in paid]
        self._run[j] = True
        self._ran[j] = response, spent, paid
        # An answer that comes late is an answer.
        self.failed.pop(model, None)
        self._believed = self.decision = None

    def fail(
        self, model: str, *, kind: str = "error", cost: float | Mapping[str, float] = 0.0, retry: bool = False
    ) -> None:
        """Tell that a model's run failed: it is never the answer, and says nothing of quality.

        Parameters
        ----------
        model : str
        kind : str
            What happened, e.g. "timeout"; for `why`.
        cost : float or mapping of str to float
            What the run cost all the same; of several costs, the first, or each by name.
        retry : bool, default False
            Whether the model may run again; by default it leaves the pool, and the plan is made anew.

        Raises
        ------
        ValueError
            An unknown model, or one that has been observed; a cost that isn't a finite number >= 0.
        """
        self._not_run(model)
        spent = checked_costs(cost, self._served.policy.costs)
        self.costs = {name: value + spent.get(name, 0.0) for name, value in self.costs.items()}
        if retry:
            self._notes.append(f"{model} failed ({kind}), and may run again")
        else:
            self.failed[model] = str(kind)
        self.decision = None

    def readmit(self, model: str) -> None:
        """Let a model that has failed run again."""
        self.failed.pop(model, None)
        self.decision = None

    def expected(self, model: str) -> tuple[float, dict[str, float]]:
        """Give what is believed of a model now: its quality, and what running it costs, by name of the cost.

        Raises
        ------
        ValueError
            An unknown model.
        """
        j = index_of("model", model, self._models)
        belief, costs = self.estimates()
        return float(belief.quality[j]), dict(zip(self.costs, costs[:, j].tolist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Give the session as JSON knows it, for a store; `Decider.resume` goes on with it, here or elsewhere.

        It holds the query's columns and the responses: keep it as you keep those.

        Raises
        ------
        TypeError
            A response that JSON can't hold, or that nests on more than 97 levels.

        Examples
        --------
        See `Decider.resume`.
        """
        return kept(self)

    @property
    def models(self) -> tuple[str, ...]:
        """All models of the decider."""
        return self._models

    @property
    def run(self) -> tuple[str, ...]:
        """Models that have run, in their order; without those that failed."""
        return tuple(self._models[j] for j in self._ran)

    @property
    def wanted(self) -> tuple[str, ...]:
        """Response columns to buy after each run, and to give to `observe` with the rest."""
        return tuple(self._served.wanted)

    @property
    def plan(self) -> tuple[str, ...]:
        """Models of the last decision's plan, those that have run among them; empty where there is none."""
        return () if self.decision is None else tuple(self._models[j] for j in self.decision.plan)

    @property
    def model(self) -> str:
        """Model whose response is the answer.

        Raises
        ------
        ValueError
            No model has run yet.
        """
        if not self._ran:
            raise ValueError("answer: no model has run yet; run the one that next() names, and observe its response")
        if self._served.answer == "last":
            return self.run[-1]
        try:
            quality: FloatArray | None = self.estimates()[0].quality
        except Exception:
            # An answer that was paid for is had, whatever becomes of an estimate.
            quality = self._last_quality
        if quality is None:
            return self.run[-1]
        return self._models[int(np.where(self._run, quality, -np.inf).argmax())]

    @property
    def answer(self) -> Any:
        """The response of `model`, as it was observed; errors as there."""
        return self._ran[self._models.index(self.model)][0]

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
        belief, costs = self.estimates()
        left = self._left_to_run()
        within, max_cost = self._limits.caps.applied(left, costs, self.costs, self._run)
        return explain(
            self._served.policy,
            belief.quality,
            costs,
            variance=belief.variance,
            covariance=belief.covariance,
            loading=belief.loading,
            run=self.run,
            allowed=[self._models[j] for j in within],
            max_cost=max_cost,
            spent=self.costs,
            excluded=self._excluded(left, within),
            notes=self._notes,
            id=self.id,
            forecast=self._served.forecast,
        )

    def __repr__(self) -> str:
        ran = f"ran {', '.join(self.run)}" if self._ran else "nothing has run"
        failed = f"; failed: {', '.join(self.failed)}" if self.failed else ""
        chosen = None if self.decision is None else self.decision.next
        state = "" if self.decision is None else f"; next: {'stop' if chosen is None else self._models[chosen]}"
        spent = ", ".join(f"{name} {value:.4g}" for name, value in self.costs.items())
        return f"Session({self.id!r}: {ran}{failed}{state}; {spent} spent)"

    def _repr_html_(self) -> str:
        return session_table(repr(self), self.why())

    def _left_to_run(self) -> list[int]:
        """Models that may run, or have run."""
        return (
            [j for j in self._limits.allowed if self._models[j] not in self.failed]
            if self.failed
            else self._limits.allowed
        )

    def _excluded(self, left: Collection[int], within: Collection[int]) -> dict[str, str]:
        """Say of each model that may not run what excludes it."""
        excluded = {name: "not allowed here" for j, name in enumerate(self._models) if j not in self._limits.allowed}
        excluded |= {name: f"failed: {kind}" for name, kind in self.failed.items()}
        return excluded | {self._models[j]: "above a cap on the cost" for j in left if j not in within}

    def estimates(self) -> tuple[Belief, FloatArray]:
        """Give what is believed now: the belief, of shape (n_models,), and each cost, of shape (n_costs, n_models)."""
        if self._believed is None:
            belief, costs = self._served.estimators.estimates(self._query, self._seen, self._run)
            if self._limits.prices is not None or self._limits.switching is not None:
                costs[0] = self._limits.charged(costs[0], sum(self._served.wanted.values()), self._models)
            self._believed, self._last_quality = (belief, costs), belief.quality
        return self._believed

    def _spent(self, j: int, columns: Mapping[str, Any], cost: float | Mapping[str, float] | None) -> dict[str, float]:
        """Give what a run cost, of each cost by name."""
        first = self._served.policy.costs[0]
        spent = {} if cost is None else checked_costs(cost, self._served.policy.costs)
        for number, name in enumerate(self.costs):
            if name in spent:
                continue
            value = columns.get(name)
            if value is None and name == first:
                value = columns.get("cost")
            if value is None:
                estimate = float(self.estimates()[1][number, j])
                switching = 0.0 if number or self._limits.switching is None else float(self._limits.switching[j])
                bought = 0.0 if number else sum(float(price[j]) for price in self._served.wanted.values())
                value = max(estimate - switching - bought, 0.0)
            spent |= checked_costs({name: value}, self._served.policy.costs)
        return spent

    def _cells_of(
        self, j: int, response: Mapping[str, Any], spent: Mapping[str, float]
    ) -> tuple[dict[str, Any], list[str]]:
        """Give one model's response as columns hold it; name the columns with numbers that are too large."""
        first = self._served.policy.costs[0]
        cells, too_large = {}, []
        for name, (dtype, shape) in self._seen.kinds.items():
            is_cost = name in self.costs or name == "cost"
            if name not in response and not is_cost:
                continue
            value = response[name] if name in response else spent[name if name in spent else first]
            value = answer_text(value) if name == "answer" and dtype.kind == "O" else value
            cell, is_too_large = checked_cell(name, value, dtype, shape)
            if is_cost and dtype.kind != "O":
                cell = checked_cell(name, cell / self._price_factor(name, j), dtype, shape)[0]
            cells[name] = cell
            if is_too_large:
                too_large.append(name)
        return cells, too_large

    def _price_factor(self, column: str, j: int) -> float:
        """How much a model's cost has changed since the fit: a cost is evidence at the prices of the fit only."""
        name = column if column in self.costs else self._served.policy.costs[0]
        factor = float(self._served.price_changes[name][j]) if name in self._served.price_changes else 1.0
        if name == self._served.policy.costs[0] and self._limits.prices is not None:
            factor *= float(self._limits.prices[j])
        return factor or 1.0

    def _not_run(self, model: str) -> int:
        """Give the index of a model that hasn't run."""
        j = index_of("model", model, self._models)
        if j in self._ran:
            raise ValueError(f"model: {model!r} has been observed before in this session")
        return j
