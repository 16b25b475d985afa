"""The runner: calls real models as a decider says, and ends every query with an answer or a typed error."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Collection, Generator, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from threading import Lock
from typing import Any, Self, Unpack, cast

from headrace.arguments import checked_number, checked_seconds, listed
from headrace.runner.accounts import Accounts
from headrace.runner.ahead import begin_ahead, end_ahead
from headrace.runner.background import BackgroundLoop
from headrace.runner.breaker import Breaker, Breakers
from headrace.runner.calling import Called, Caller, delta_of, per_model
from headrace.runner.faults import Fault
from headrace.runner.log import DecisionLog
from headrace.runner.observing import Observer
from headrace.runner.purse import Purses
from headrace.runner.queries import Asked, Query, Terms, asked_of, with_deadline
from headrace.runner.recording import Grade, Recording
from headrace.runner.result import Attempt, Delta, Result
from headrace.runner.retry import Retry
from headrace.runner.signals import SignalLike, Signals
from headrace.runner.targets import Reply, Request, TargetLike, as_target
from headrace.runner.walk import Walk
from headrace.serving import Decider, Monitor, Watch
from headrace.serving.columns import sequence_of

__all__ = ["Runner"]

#: How often calls are made again, and when a model is left alone, if nothing else is said.
RETRY, BREAKER = Retry(), Breaker()


class Runner:
    """Calls models for queries, one after the other, as a decider says.

    Parameters
    ----------
    decider : Decider
    targets : mapping of str to target
        What to call for each model: a function of the query, or an object such as `OpenAITarget`; None leaves it out.
    signals : mapping of str to callable, optional
        Buy what the decider wants to know of answers (`Session.wanted`); see `headrace.runner.signals.Signals`.
    retry : Retry
    breaker : Breaker or None
        None: every model is called, however often it fails.
    timeout_s : float or mapping of str to float, default 30
        Seconds of a call at most, those of waiting for a slot among them; for all models, or by name.
    concurrency : int or mapping of str to int, optional
        Calls of a model at once.
    supports : mapping of str to collection of str, optional
        What models can do, e.g. ``{"large": {"vision", "tools"}}``; see `requires` of `arun`.
    speculative : bool, default False
        Begin the plan's next model ahead where a deadline leaves no time to wait: one in vain counts as estimated.
    shadow : str, optional
        A model that serves every query, what would be decided being only logged. If it fails, the decider decides.
    log : DecisionLog, optional
        Where decisions are written, without any text.
    audit : float, default 0
        Share of the queries, by a hash of their ids, on which all models run after the answer; see `evaluate_log`.
    explore : float, default 0
        Share of the queries that are decided at a random point of the budget path, with the probability in the log.
    grade : callable, optional
        ``grade(query, reply)`` says how good an audited answer is, or None; `feedback` can tell it later.
    accounts : Accounts, optional
        Budgets of keys, users or conversations.
    observer : Observer, optional
        Is told of each query's calls and end, e.g. `headrace.integrations.otel.OpenTelemetry`.

    Attributes
    ----------
    decider : Decider
    monitor : Monitor or None
        Are costs still those of the fit? None where the decider doesn't hold what was promised.

    Raises
    ------
    TypeError, ValueError
        A model without a target, a target of an unknown model; settings out of range.

    Examples
    --------
    >>> import headrace as hr
    >>> table = hr.datasets.load_quickstart()
    >>> decider = hr.Router(rule="cascade").fit(table, budget=100.0).decider_
    >>> runner = hr.Runner(decider, {name: lambda query: {"answer": 7, "cost": 20.0} for name in decider.models})
    >>> result = runner.run({name: column[0] for name, column in table.queries.items()}, id="q-17")
    >>> result.answer, result.stopped, result.model in result.run
    (7, 'plan', True)
    """

    def __init__(
        self,
        decider: Decider,
        targets: Mapping[str, TargetLike | None],
        *,
        signals: Mapping[str, SignalLike] | None = None,
        retry: Retry = RETRY,
        breaker: Breaker | None = BREAKER,
        timeout_s: float | Mapping[str, float] = 30.0,
        concurrency: int | Mapping[str, int] | None = None,
        supports: Mapping[str, Collection[str]] | None = None,
        speculative: bool = False,
        shadow: str | None = None,
        log: DecisionLog | None = None,
        audit: float = 0.0,
        explore: float = 0.0,
        grade: Grade | None = None,
        accounts: Accounts | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.decider: Decider = decider
        known = decider.models
        for name in targets:
            if name not in known:
                raise ValueError(f"targets: unknown model {name!r}; the decider has {listed(known)}")
        lacking = [name for name in known if name not in targets]
        if lacking:
            raise ValueError(f"targets: expected one for each model, lacks {listed(lacking)}; None leaves a model out")
        self._left_out = tuple(name for name, target in targets.items() if target is None)
        made = {name: as_target(name, target) for name, target in targets.items() if target is not None}
        timeouts = {**dict.fromkeys(known, 30.0), **per_model("timeout_s", timeout_s, known)}
        slots = {name: int(n) for name, n in per_model("concurrency", concurrency, known, whole=True).items()}
        self._caller = Caller(made, timeouts, slots, Signals(signals or {}, decider.wanted))
        self._retry, self._breakers = retry, Breakers(breaker)
        self._supports = {name: frozenset(sequence_of("supports", able)) for name, able in (supports or {}).items()}
        self._speculative = speculative
        if shadow is not None and shadow not in made:
            raise ValueError(f"shadow: expected a model with a target, {listed(made)}; got {shadow!r}")
        self._shadow = shadow
        self._recording = Recording(log, audit=audit, explore=explore, grade=grade)
        self._accounts, self._observer = accounts, observer
        self._loop = BackgroundLoop()
        self._watching = Lock()
        self._background: set[asyncio.Task[None]] = set()
        self.swap(decider)

    def __repr__(self) -> str:
        return f"Runner({self.decider.headline})"

    def swap(self, decider: Decider) -> None:
        """Let another decider over the same models decide from now on; queries under way keep theirs.

        Raises
        ------
        ValueError
            It has other models.
        """
        if set(decider.models) != set(self.decider.models):
            raise ValueError(f"decider: expected one over {listed(self.decider.models)}, got {listed(decider.models)}")
        self._purses = Purses(self._accounts, decider)
        with suppress(ValueError):  # too many run sets to fit beforehand: each is fitted when it is first met
            decider.warm()
        self._recording.decides(decider)
        self.monitor: Monitor | None = None if decider.promised is None else Monitor(decider)
        self.decider = decider

    async def arun(self, query: Query, **terms: Unpack[Terms]) -> Result:
        """Call models for a query until the decider stops, the deadline comes, or no model is left.

        Cancelling it ends the call under way.

        Parameters
        ----------
        query : str, mapping of str to value, or sequence of messages
            The query's text, its columns as in the table of the fit, or a conversation in OpenAI's format: the text of
            its last message is then the column "text", where the fit had one.
        id : str, optional
            By default a hash of the query's columns.
        account : str, optional
            Who pays; audits are the runner's. Without one, nothing is reserved or booked.
        columns : mapping of str to value, optional
            Further columns of the query.
        options : mapping of str to value, optional
            What targets get beside the messages, e.g. ``{"temperature": 0.0}``.
        allowed, deny, max_cost, switching_cost, prices, strict : optional
            As in `Decider.start`.
        requires : collection of str, optional
            What a model must support, as the runner's `supports` says; others may not run.
        deadline_s : float, optional
            Seconds until there must be an answer: the best one so far is taken then. Where "seconds" is one of the
            fit's costs, the plan keeps it as a cap as well.

        Returns
        -------
        Result

        Raises
        ------
        Exhausted
            No model gave an answer.
        AccountEmpty
            What is left of the account covers no call.
        sqlite3.Error
            The accounts can't be read.
        CapTooSmall, UnknownColumn, MissingColumn, TypeError, ValueError
            As `Decider.start` and `Session.next`.
        """
        walk, asked, start = self._begin(query, terms)
        ahead: dict[str, asyncio.Task[Called]] = {}
        try:
            if self._shadow is not None and walk.next() is not None:
                await self._call(walk, self._request(walk, asked, self._shadow), {})
                walk.stopped = "shadow" if walk.replies else ""
            while not walk.stopped and (model := walk.next()) is not None:
                await self._call(walk, self._request(walk, asked, model), ahead)
            await end_ahead(walk, ahead)
        finally:
            for task in ahead.values():
                task.cancel()
            self._ended(walk, asked, start)
        return walk.answered()

    async def stream(
        self, query: Query, *, mode: str = "decide-first", **terms: Unpack[Terms]
    ) -> AsyncGenerator[Delta | Result, None]:
        """Answer a query in pieces: chunks as a choice's ``delta`` in OpenAI's format, and last the `Result`.

        Parameters
        ----------
        query
            As in `arun`.
        mode : {"decide-first", "buffer"}
            Decide at once for one model, by what is known before any run, and stream what it says; or run the whole
            cascade, and give its answer in one piece when it is there. Only the latter can change its mind.
        terms
            As in `arun`.

        Raises
        ------
        Exhausted
            As `arun`; a model that fails before its first piece is followed by another.
        Fault
            The model failed in the middle of its answer.
        ValueError
            Another mode; otherwise as `arun`.
        """
        if mode == "buffer":
            result = await self.arun(query, **terms)
            if result.reply is not None and result.model is not None:
                yield Delta(delta_of(result.reply), id=result.id, model=result.model, policy=result.policy)
            yield result
            return
        if mode != "decide-first":
            raise ValueError(f'mode: expected "decide-first" or "buffer", got {mode!r}')
        walk, asked, start = self._begin(query, terms)
        fixed = self._shadow
        try:
            while not walk.replies and (model := walk.next(final=True)) is not None:
                model, fixed = fixed or model, None
                request = self._request(walk, asked, model)
                if not walk.affords(model):
                    continue
                async with aclosing(self._caller.stream(request, time_left=walk.time_left)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Called):
                            self._take(walk, model, piece)
                        else:
                            walk.begun = model
                            yield Delta(piece, id=walk.session.id, model=model, policy=walk.policy)
            walk.stopped = walk.stopped or ("plan" if self._shadow is None else "shadow")
        finally:
            self._ended(walk, asked, start)
        yield walk.answered()

    def run(self, query: Query, **terms: Unpack[Terms]) -> Result:
        """Do as `arun`, from code without ``await``; threads may share the runner."""
        return self._loop.run(self.arun(query, **terms))

    def iterate(
        self, query: Query, *, mode: str = "decide-first", **terms: Unpack[Terms]
    ) -> Generator[Mapping[str, Any] | Result, None, None]:
        """Do as `stream`, from code without ``await``."""
        return self._loop.iterate(self.stream(query, mode=mode, **terms))

    def feedback(self, id: str, quality: float, model: str | None = None) -> None:
        """Write down how good an answer was, once that is known.

        Parameters
        ----------
        id : str
            Of the query.
        quality : float
        model : str, optional
            Whose answer it is; by default the one given.

        Raises
        ------
        TypeError, ValueError
            No number; there is no log.
        OSError
            The log can't be written.
        """
        self._recording.feedback(id, checked_number("quality", quality), model)

    async def drain(self) -> None:
        """Wait for the audits that are under way in this loop."""
        await asyncio.gather(*self._audits())

    def report(self) -> list[Watch]:
        """Say whether costs are still those of the fit: `Monitor.report`; empty where the decider holds no promise."""
        with self._watching:
            return [] if self.monitor is None else self.monitor.report()

    @property
    def supported(self) -> frozenset[str]:
        """What some model says that it supports."""
        return frozenset().union(*self._supports.values())

    @property
    def left_alone(self) -> tuple[str, ...]:
        """Models whose breaker is open now."""
        return self._breakers.open()

    async def aclose(self) -> None:
        """End the audits of this loop, and close its connections."""
        for task in (audits := self._audits()):
            task.cancel()
        await asyncio.gather(*audits, return_exceptions=True)
        for target in self._caller.targets.values():
            if hasattr(target, "aclose"):
                await target.aclose()

    def close(self) -> None:
        """End what `run` has begun, and close its connections."""
        if self._loop.started:
            self._loop.run(self.aclose())
            self._loop.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _audits(self) -> list[asyncio.Task[None]]:
        """Audits that are under way in this loop."""
        return [task for task in self._background if task.get_loop() is asyncio.get_running_loop()]

    def _begin(self, query: Query, terms: Terms) -> tuple[Walk, Asked, dict[str, Any]]:
        """Start the walk of a query; give also what its session was started with."""
        unknown = [name for name in terms if name not in Terms.__annotations__]
        if unknown:
            raise TypeError(f"unknown argument {unknown[0]!r}; known: {listed(Terms.__annotations__)}")
        purses, start = self._purses, cast(dict[str, Any], dict(terms))
        purse = purses.open(start.pop("account", None))
        decider = purses.decider if purse is None else purse.decider
        columns, options = start.pop("columns", None), start.pop("options", None)
        asked = asked_of(query, columns, options, decider.query_columns)
        requires = frozenset(sequence_of("requires", start.pop("requires", ())))
        unable = [name for name in decider.models if not requires <= self._supports.get(name, frozenset())]
        start["deny"] = (*(start.get("deny") or ()), *self._left_out, *(unable if requires else ()))
        deadline_s = start.pop("deadline_s", None)
        if deadline_s is not None:
            deadline_s = checked_seconds("deadline_s", deadline_s, above_zero=True)
            start["max_cost"] = with_deadline(start.get("max_cost"), deadline_s, decider.policy.costs)
        if purse is not None:
            deadline_s, start["max_cost"] = purse.deadline(deadline_s), purse.cap(start.get("max_cost"))
        session = decider.start(asked.columns, **start)
        start = {**start, "query": asked.columns, "id": session.id}
        watcher = self._recording.watcher(session.id) if decider is purses.decider else None
        if watcher is not None and watcher.decider is not decider:
            session = watcher.decider.start(**start)
        told: dict[str, Any] = {"watcher": watcher, "purse": purse, "observer": self._observer}
        walk = Walk(session, self._breakers, policy=decider.fingerprint, deadline_s=deadline_s, **told)
        return walk, asked, start

    def _ended(self, walk: Walk, asked: Asked, start: Mapping[str, Any]) -> None:
        """Write down a query that has ended, and begin its audit."""
        walk.end()
        audited = walk.stopped != "cancelled" and self._recording.audits(walk)
        self._recording.decided(walk, seconds=walk.seconds, audited=audited)
        if self.monitor is not None and walk.replies and walk.policy == self.decider.fingerprint:
            with self._watching:
                self.monitor.observe(dict(walk.session.costs))
        if audited:
            task = asyncio.get_running_loop().create_task(self._audit(walk, asked, start))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _audit(self, walk: Walk, asked: Asked, start: Mapping[str, Any]) -> None:
        """Run the models that haven't run on a query that has been answered."""
        outcomes: dict[str, Reply | Fault] = {**walk.faults, **walk.replies}
        allowed = set(start.get("allowed") or self._caller.targets) - set(start["deny"])
        lacking = [name for name in self._caller.targets if name in allowed and name not in outcomes]
        called = await asyncio.gather(
            *(self._caller.call(self._request(walk, asked, name, time_left=math.inf)) for name in lacking)
        )
        outcomes |= {name: one.outcome for name, one in zip(lacking, called, strict=True)}
        with suppress(TypeError, ValueError):  # a reply that fits no column: there is nothing to replay
            await self._recording.audited(walk, asked.given, outcomes, start)

    def _request(self, walk: Walk, asked: Asked, model: str, *, time_left: float | None = None) -> Request:
        walk.calls(model)
        return Request(
            id=walk.session.id,
            model=model,
            query=asked.given,
            messages=asked.messages,
            options=asked.options,
            timeout_s=self._caller.limit(model, walk.time_left if time_left is None else time_left),
            wanted=walk.session.wanted,
        )

    async def _call(self, walk: Walk, request: Request, ahead: dict[str, asyncio.Task[Called]]) -> None:
        """Call a model until it has answered, or isn't to be called again."""
        model, n_calls = request.model, 0
        while True:
            n_calls += 1
            if not walk.affords(model):
                return
            begun = ahead.pop(model, None)
            if self._speculative:
                begin_ahead(walk, request, self._caller, ahead)
            called = await (begun or self._caller.call(request, time_left=walk.time_left))
            wait = None
            if isinstance(called.outcome, Fault):
                wait = self._retry.wait(called.outcome, n_calls=n_calls)
                wait = None if wait is None or wait >= walk.time_left else wait
            self._take(walk, model, called, retry=wait is not None)
            if wait is None:
                return
            await asyncio.sleep(wait)
            request = replace(request, timeout_s=self._caller.limit(model, walk.time_left))

    def _take(self, walk: Walk, model: str, called: Called, *, retry: bool = False) -> None:
        """Tell the walk how a call ended."""
        if isinstance(called.outcome, Reply):
            walk.succeeded(model, called.outcome, called.seconds)
            if called.outcome.cost is not None:
                self._watch(walk.attempts[-1])
        else:
            walk.failed(model, called.outcome, called.seconds, retry=retry)

    def _watch(self, attempt: Attempt) -> None:
        """Tell the monitor what a run cost."""
        if self.monitor is not None and math.isfinite(attempt.expected_cost):
            with self._watching:
                self.monitor.ran(attempt.model, cost=next(iter(attempt.cost.values())), expected=attempt.expected_cost)
