"""Calling targets: slots, timeouts and faults, and how long each model takes."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from headrace.arguments import checked_int, checked_seconds, listed
from headrace.runner.faults import Fault, fault_of
from headrace.runner.signals import Signals
from headrace.runner.targets import Reply, Request, StreamingTarget, Target, reply_of

__all__ = ["Called", "Caller", "delta_of", "per_model"]

#: Weight of the newest call in the running mean of a model's seconds.
NEWEST = 0.1


@dataclass(frozen=True)
class Called:
    """How a call ended: with a reply or a fault, after some seconds."""

    outcome: Reply | Fault
    seconds: float


class Caller:
    """Calls the targets of models.

    Parameters
    ----------
    targets : mapping of str to Target
    timeout_s : mapping of str to float
        Seconds of a call at most, those of waiting for a slot among them.
    concurrency : mapping of str to int
        Calls at once; models that aren't named have no limit.
    signals : Signals
        Buys what a request wants to know of an answer, in what is left of the call's seconds.
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        timeout_s: Mapping[str, float],
        concurrency: Mapping[str, int],
        signals: Signals,
    ) -> None:
        self.targets = targets
        self._signals = signals
        self._timeout_s = timeout_s
        self._concurrency = concurrency
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()
        self._seconds: dict[str, float] = {}

    def limit(self, model: str, time_left: float) -> float:
        """Seconds that a call may take."""
        return min(self._timeout_s[model], max(time_left, 0.0))

    def usual_seconds(self, model: str) -> float:
        """How long a call usually takes: a running mean; 0 before the first."""
        return self._seconds.get(model, 0.0)

    async def call(self, request: Request, *, time_left: float = math.inf) -> Called:
        """Call a model; only a cancellation is raised.

        Parameters
        ----------
        request : Request
        time_left : float
            Seconds until the query's deadline.
        """
        begun = time.monotonic()
        outcome: Reply | Fault
        try:
            async with asyncio.timeout(request.timeout_s) as cutoff, self._slot(request.model):
                outcome = reply_of(await self.targets[request.model].call(request))
        except Exception as error:
            if isinstance(error, TimeoutError) and cutoff.expired():
                outcome = Fault("deadline" if time_left <= request.timeout_s else "timeout")
            else:
                outcome = fault_of(error)
            outcome.__cause__ = None if outcome is error else error
        if isinstance(outcome, Reply) and request.wanted:
            # An answer that is there is not lost to a judge that is slow.
            outcome = await self._signals.bought(request, outcome, begun + request.timeout_s - time.monotonic())
        seconds = time.monotonic() - begun
        if isinstance(outcome, Reply):
            self.took(request.model, seconds)
        return Called(outcome, seconds)

    async def stream(
        self, request: Request, *, time_left: float = math.inf
    ) -> AsyncGenerator[Mapping[str, Any] | Called, None]:
        """Give the pieces of a model's answer, and last how the call ended.

        A target that can't stream gives one piece. `Request.timeout_s` is the longest wait for a piece.

        Raises
        ------
        Fault
            The call failed after its first piece: raised after the `Called`.
        """
        target = self.targets[request.model]
        if not isinstance(target, StreamingTarget):
            called = await self.call(request, time_left=time_left)
            if isinstance(called.outcome, Reply):
                yield delta_of(called.outcome)
            yield called
            return
        begun, ends, n_pieces = time.monotonic(), time.monotonic() + time_left, 0
        reply: Reply | None = None
        outcome: Reply | Fault
        try:
            async with self._slot(request.model), aclosing(target.stream(request)) as pieces:
                while True:
                    wait = min(request.timeout_s, ends - time.monotonic())
                    async with asyncio.timeout(wait) as cutoff:
                        piece = await anext(pieces, None)
                    if piece is None:
                        break
                    if isinstance(piece, Reply):
                        reply = piece
                    else:
                        n_pieces += 1
                        yield piece
            outcome = reply or Fault("malformed", "the stream ended without a reply")
        except Exception as error:
            if isinstance(error, TimeoutError) and cutoff.expired():
                outcome = Fault("deadline" if ends <= time.monotonic() else "timeout")
            else:
                outcome = fault_of(error)
            outcome.__cause__ = None if outcome is error else error
        yield Called(outcome, time.monotonic() - begun)
        if isinstance(outcome, Fault) and n_pieces:
            raise outcome

    def took(self, model: str, seconds: float) -> None:
        """Take in how long a call took."""
        usual = self._seconds.get(model)
        self._seconds[model] = seconds if usual is None else usual + NEWEST * (seconds - usual)

    def _slot(self, model: str) -> asyncio.Semaphore | _Free:
        if model not in self._concurrency:
            return _FREE
        slots = self._slots.setdefault(asyncio.get_running_loop(), {})
        if model not in slots:
            slots[model] = asyncio.Semaphore(self._concurrency[model])
        return slots[model]


class _Free:
    """A slot where there is no limit."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


_FREE = _Free()


def delta_of(reply: Reply) -> Mapping[str, Any]:
    """Make one piece of a whole reply."""
    message = reply.message or {"role": "assistant", "content": reply.answer}
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    numbered = [{"index": i, **call} for i, call in enumerate(calls) if isinstance(call, Mapping)]
    return {**message, "tool_calls": numbered}


def per_model(
    argument: str, given: float | Mapping[str, float] | None, models: tuple[str, ...], *, whole: bool = False
) -> dict[str, float]:
    """Give a number of each model: from one for all, or from those that are named.

    Raises
    ------
    TypeError, ValueError
        An unknown model; no number above 0.
    """
    if given is None:
        return {}
    numbers = dict(given) if isinstance(given, Mapping) else dict.fromkeys(models, given)
    unknown = [name for name in numbers if name not in models]
    if unknown:
        raise ValueError(f"{argument}: unknown model {unknown[0]!r}; known: {listed(models)}")
    if whole:
        return {name: checked_int(argument, value, 1) for name, value in numbers.items()}
    return {name: checked_seconds(argument, value, above_zero=True) for name, value in numbers.items()}
