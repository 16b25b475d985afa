"""The walk of one query: which model to call next, what came of it, what is known in the end. It calls nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from headrace.errors import CapTooSmall, NoModelLeft
from headrace.runner.breaker import Breakers
from headrace.runner.counterfactuals import Watcher
from headrace.runner.faults import KINDS, Fault
from headrace.runner.observing import Observed, Observer
from headrace.runner.purse import Purse
from headrace.runner.result import Attempt, Exhausted, Result
from headrace.runner.targets import Reply
from headrace.serving.session import Session

__all__ = ["Walk"]


class Walk:
    """One query's way from model to model.

    Parameters
    ----------
    session : Session
    breakers : Breakers
    policy : str
        Fingerprint of the decider.
    deadline_s : float, optional
        Seconds from now on that the query may take.
    watcher : Watcher, optional
        Is told of every decision, where exploration is on.
    purse : Purse, optional
        What pays, where the query has an account.
    observer : Observer, optional
        Is told of every call, and of the end.
    clock : callable
        Gives seconds.

    Attributes
    ----------
    session : Session
    policy : str
    watcher : Watcher or None
    attempts : list of Attempt
        What was called so far.
    replies : dict of str to Reply
        What models returned.
    plan : tuple of str
        The models that the last decision would run, those that have run among them.
    stopped : str
        See `Result`; "" while it goes on.
    faults : dict of str to Fault
        The last fault of each model that failed.
    begun : str or None
        The model whose answer has begun to be streamed.
    """

    def __init__(
        self,
        session: Session,
        breakers: Breakers,
        *,
        policy: str,
        deadline_s: float | None = None,
        watcher: Watcher | None = None,
        purse: Purse | None = None,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session: Session = session
        self.attempts: list[Attempt] = []
        self.replies: dict[str, Reply] = {}
        self.stopped: str = ""
        self.faults: dict[str, Fault] = {}
        self._breakers = breakers
        self.policy: str = policy
        self.watcher: Watcher | None = watcher
        self.begun: str | None = None
        self._purse = purse
        self._clock = clock
        self._begun = clock()
        self._deadline = math.inf if deadline_s is None else self._begun + deadline_s
        self._left_alone: list[str] = []
        self._admits_all = False
        self._expected: dict[str, tuple[float, dict[str, float]]] = {}
        self._under_way: set[str] = set()
        self._observed = Observed(observer, session.id)
        self.plan: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._begun

    @property
    def time_left(self) -> float:
        """Seconds until the deadline."""
        return self._deadline - self._clock()

    def next(self, *, final: bool = False) -> str | None:
        """Give the model to call now; None = the walk has ended, and `stopped` says why.

        Parameters
        ----------
        final : bool, default False
            Whether the model must answer: no other can be called after it.

        Raises
        ------
        CapTooSmall
            No model is within a cap.
        AccountEmpty
            That cap is what is left of the account.
        """
        while True:
            model, self.stopped = self._decided(final)
            if model is None or self._admits_all or self._breakers.admits(model):
                return model
            self._book(model, "breaker", {}, 0.0, "")
            self.session.fail(model, kind="breaker")
            self._left_alone.append(model)

    def later(self, model: str) -> list[str]:
        """Give the plan's other models that may still be called, the best first."""
        done = {model, *self.session.run, *self.session.failed}
        left = [name for name in self.plan if name not in done]
        return sorted(left, key=lambda name: -self.session.expected(name)[0])

    def calls(self, model: str) -> None:
        """Note what is expected of a model that is about to be called."""
        with suppress(Exception):  # what is only told must not end a walk
            self._expected[model] = self.session.expected(model)

    def reserves(self, model: str) -> bool:
        """Tell whether the account covers a call of a model: then it is reserved, and the call begins."""
        _, costs = self._expected.get(model, (math.nan, {}))
        if self._purse is not None and not self._purse.reserve(model, next(iter(costs.values()), math.nan)):
            return False
        self._under_way.add(model)
        return True

    def affords(self, model: str) -> bool:
        """Do as `reserves`; a model that the account doesn't cover leaves the walk."""
        if self.reserves(model):
            return True
        self._book(model, "account", {}, 0.0, "")
        self.session.fail(model, kind="account")
        return False

    def succeeded(self, model: str, reply: Reply, seconds: float) -> None:
        """Take in what a model returned."""
        self._breakers.count(model, failed=False)
        self.replies[model] = reply
        before = dict(self.session.costs)
        detail = self._observe(model, reply, seconds)
        spent = {name: value - before[name] for name, value in self.session.costs.items()}
        self._book(model, "ok", spent, seconds, detail, reply.usage)

    def failed(self, model: str, fault: Fault, seconds: float, *, retry: bool) -> None:
        """Take in that a call failed; with `retry`, the model may be called again."""
        self.faults[model] = fault
        if KINDS[fault.kind].breaks:
            self._breakers.count(model, failed=True)
        before = dict(self.session.costs)
        try:
            self.session.fail(model, kind=fault.kind, cost=fault.cost, retry=retry)
        except (TypeError, ValueError):
            self.session.fail(model, kind=fault.kind, retry=retry)
        spent = {name: value - before[name] for name, value in self.session.costs.items()}
        self._book(model, fault.kind, spent, seconds, fault.detail)

    def gave_up(self, model: str) -> None:
        """Take in that a call begun ahead isn't wanted any more: it counts with what it was expected to cost."""
        _, costs = self._expected.get(model, (math.nan, {}))
        self.failed(model, Fault("cancelled", "begun ahead", cost=costs), math.nan, retry=False)

    def end(self) -> None:
        """Take in that the query has ended: calls under way have been cancelled, and what is reserved still is free."""
        if self._purse is not None:
            self._purse.close(self.begun)
        for model in sorted(self._under_way):
            self.failed(model, Fault("cancelled"), math.nan, retry=False)
        self.stopped = self.stopped or "cancelled"
        self._observed.ended(self.result())

    def result(self) -> Result:
        """Give what came of the query so far."""
        model = self.session.model if self.replies else None
        reply = None if model is None else self.replies[model]
        return Result(
            id=self.session.id,
            model=model,
            answer=None if reply is None else reply.answer,
            reply=reply,
            costs=dict(self.session.costs),
            seconds=self.seconds,
            attempts=tuple(self.attempts),
            stopped=self.stopped,
            policy=self.policy,
            session=self.session,
            left=None if self._purse is None else self._purse.left,
        )

    def answered(self) -> Result:
        """Give the result, which must have an answer.

        Raises
        ------
        AccountEmpty
            It has none, since the account covers no call.
        Exhausted
            It has none for another reason.
        """
        result = self.result()
        if result.model is None:
            kinds = {attempt.kind for attempt in self.attempts}
            if self._purse is not None and self._purse.refusal is not None and kinds <= {"account", "breaker"}:
                raise self._purse.refusal
            raise Exhausted(result) from next(reversed(self.faults.values()), None)
        return result

    def _decided(self, final: bool) -> tuple[str | None, str]:
        """Ask the session for the next model; where there is none, say why."""
        if self.time_left <= 0.0:
            return None, "deadline"
        try:
            model = self.session.next(final=final)
        except NoModelLeft:
            if not self._left_alone:
                return None, "exhausted"
            # A breaker never takes the last model away.
            self._admits_all = True
            while self._left_alone:
                self.session.readmit(self._left_alone.pop())
            return self._decided(final)
        except Exception as error:
            if self._purse is not None and isinstance(error, CapTooSmall) and not self.replies:
                raise self._purse.told(error) from error
            if not self.replies:
                raise
            return None, "error"  # an answer that was paid for is had, whatever becomes of an estimate
        self.plan = self.session.plan
        if self.watcher is not None:
            self.watcher.saw(self.session)
        return model, "plan" if model is None else ""

    def _observe(self, model: str, reply: Reply, seconds: float) -> str:
        """Tell the session; what doesn't fit its column is left out, since the answer is there and paid for."""
        columns: dict[str, Any] = {"seconds": seconds, **reply.columns, "answer": reply.answer}
        nothing: Mapping[str, float] = dict.fromkeys(self.session.costs, 0.0)
        tries: list[tuple[dict[str, Any], Any, str]] = [
            (columns, reply.cost, ""),
            ({"seconds": seconds, "answer": reply.answer}, reply.cost, "columns that don't fit were left out"),
            ({"seconds": seconds, "answer": reply.answer}, None, "columns and a cost that don't fit were left out"),
            ({}, nothing, "what it returned fits no column"),
        ]
        for response, cost, detail in tries:
            try:
                paid = {name: reply.column_cost[name] for name in reply.column_cost if name in self.session.wanted}
                self.session.observe(model, response, cost=cost, column_cost=paid, extra="ignore")
            except (TypeError, ValueError):
                continue
            return detail
        raise AssertionError("an empty response always fits")

    def _book(
        self,
        model: str,
        kind: str,
        spent: dict[str, float],
        seconds: float,
        detail: str,
        usage: Mapping[str, int] | None = None,
    ) -> None:
        self._under_way.discard(model)
        quality, costs = self._expected.get(model, (math.nan, {}))
        # What a stream that broke off has cost isn't known: its whole reservation is booked at the end.
        if self._purse is not None and (kind == "ok" or model != self.begun):
            self._purse.settle(model, next(iter(spent.values()), 0.0))
        attempt = Attempt(
            model=model,
            kind=kind,
            cost=spent or dict.fromkeys(self.session.costs, 0.0),
            seconds=seconds,
            detail=detail,
            expected_quality=quality,
            expected_cost=next(iter(costs.values()), math.nan),
            plan=self.plan,
        )
        self.attempts.append(attempt)
        self._observed.called(attempt, usage or {})
