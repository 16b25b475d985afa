"""Targets: what a runner calls for a model. A function of the query will do; a server is asked by an object.

======================================  =============================================================
Target                                  It gets
======================================  =============================================================
a function, or a coroutine function     the query, as it was given: a str or a mapping
an object with ``async call(request)``  the `Request`: messages, options, time left
======================================  =============================================================

Both give a `Reply`, or anything else but None, which stands for one: a mapping of response columns (``answer``,
``cost``, ``logprob``, ...), or the answer itself. So the functions that `Outcomes.collect` asks are targets.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Protocol, TypeAlias, runtime_checkable

from headrace.runner.faults import Fault

__all__ = ["FunctionTarget", "Message", "Reply", "Request", "StreamingTarget", "Target", "TargetLike", "as_target"]

#: Calls of one function at once; threads that hang would fill the memory otherwise.
MOST_THREADS = 256

#: A message of a conversation, as OpenAI's format has it.
Message: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a target is asked.

    Attributes
    ----------
    id : str
        Id of the query.
    model : str
        The model's name in the router.
    query : str or mapping of str to value
        The query, as it was given.
    messages : tuple of mapping
        The conversation, in OpenAI's format; where none was given, the query's text.
    options : mapping of str to value
        What else the call takes, e.g. ``temperature``, ``tools``.
    timeout_s : float
        Seconds left for it.
    wanted : tuple of str
        Response columns that the decider buys after the run; see `headrace.runner.signals`.
    """

    id: str
    model: str
    query: str | Mapping[str, Any]
    messages: Sequence[Message] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 30.0
    wanted: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model returned.

    Attributes
    ----------
    answer : object
        The answer: a text, a class, anything.
    columns : mapping of str to value
        Further response columns, e.g. ``logprobs``, ``output_tokens``. Those that the fit did not have are ignored.
    cost : float or mapping of str to float, optional
        What the run cost; of several costs, the first, or each by name. By default the estimate.
    column_cost : mapping of str to float
        What columns that are bought cost, as in `Session.observe`.
    message : mapping, optional
        The message as the provider gave it, with tool calls.
    usage : mapping of str to int
        Numbers of tokens, as the provider counts them.
    finish : str, optional
        Why the model stopped, e.g. "stop", "length", "tool_calls".
    logprobs : mapping, optional
        The log-probabilities as the provider gave them.
    """

    answer: Any
    columns: Mapping[str, Any] = field(default_factory=dict)
    cost: float | Mapping[str, float] | None = None
    column_cost: Mapping[str, float] = field(default_factory=dict)
    message: Mapping[str, Any] | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    finish: str | None = None
    logprobs: Mapping[str, Any] | None = None


@runtime_checkable
class Target(Protocol):
    """Calls a model."""

    async def call(self, request: Request) -> Reply:
        """Call the model. Cancelling the coroutine ends the call.

        Raises
        ------
        Fault
            What went wrong, by kind. Other exceptions are told apart by `faults.fault_of`.
        """
        ...


@runtime_checkable
class StreamingTarget(Target, Protocol):
    """Calls a model, or streams its answer."""

    def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Any] | Reply, None]:
        """Give the chunks of the answer, as a choice's ``delta`` in OpenAI's format, and last the whole `Reply`."""
        ...


#: What a runner takes for a model.
TargetLike: TypeAlias = Target | Callable[[Any], Any]


class FunctionTarget:
    """A function of the query, as a target. One that isn't a coroutine function runs in a thread of its own.

    A thread can't be stopped: a call that is given up runs on, and what it returns is dropped.

    Parameters
    ----------
    function : callable
        ``function(query)``, plain or ``async``.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        called = getattr(function, "__call__", None)  # noqa: B004  # an object may have an async one
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
        self._running: set[Thread] = set()

    async def call(self, request: Request) -> Reply:
        """Call the function; see `Target.call`."""
        return reply_of(await self.returned(request.query))

    async def returned(self, *given: Any) -> Any:
        """Call the function of anything, and give what it returns."""
        returned = await self.function(*given) if self._is_async else await self._in_thread(*given)
        return await returned if inspect.isawaitable(returned) else returned

    async def _in_thread(self, *given: Any) -> Any:
        """Call the function in a thread that doesn't keep the program from ending."""
        if len(self._running) >= MOST_THREADS:
            raise Fault("overloaded", f"{MOST_THREADS} calls of the function are running")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        context = copy_context()

        def settle(value: Any, error: BaseException | None) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)

        def work() -> None:
            value, error = None, None
            try:
                value = context.run(self.function, *given)
            except BaseException as raised:
                # A future can't hold a StopIteration; what ends a program doesn't end this one.
                error = raised if isinstance(raised, Exception) and not isinstance(raised, StopIteration) else None
                error = error or RuntimeError(f"the function raised {type(raised).__name__}")
            finally:
                self._running.discard(thread)
            with suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(settle, value, error)

        thread = Thread(target=work, name="headrace-call", daemon=True)
        self._running.add(thread)
        thread.start()
        return await done


def as_target(name: str, given: TargetLike) -> Target:
    """Make a target of what a user gives for a model.

    Raises
    ------
    TypeError
        It is neither callable nor a target.
    """
    if isinstance(given, Target):
        return given
    if callable(given):
        return FunctionTarget(given)
    raise TypeError(
        f"targets: expected a function, or an object with an async method call(), for {name!r}; "
        f"got {type(given).__name__}"
    )


def reply_of(returned: Any) -> Reply:
    """Make a reply of what a function returned.

    Raises
    ------
    Fault
        Of kind "malformed": it returned None.

    Examples
    --------
    >>> from headrace.runner.targets import reply_of
    >>> reply = reply_of({"answer": "4", "logprob": -0.1, "cost": 0.002})
    >>> reply.answer, reply.columns, reply.cost
    ('4', {'logprob': -0.1}, 0.002)
    """
    if returned is None:
        raise Fault("malformed", "None was returned")
    if isinstance(returned, Reply):
        return returned
    if isinstance(returned, Mapping):
        columns = dict(returned)
        return Reply(answer=columns.pop("answer", None), cost=columns.pop("cost", None), columns=columns)
    return Reply(answer=returned)
