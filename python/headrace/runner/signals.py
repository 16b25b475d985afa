"""Signals that are bought: what a judge or a test says of an answer, asked after the model's run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from headrace.arguments import listed
from headrace.runner.targets import FunctionTarget, Reply, Request

__all__ = ["SignalLike", "Signals"]

logger: logging.Logger = logging.getLogger("headrace")

#: What a runner takes for a column: a function of the query and the answer, plain or ``async``.
SignalLike: TypeAlias = Callable[[Any, Any], Any]


class Signals:
    """Functions that a runner asks for the columns that its decider wants.

    Parameters
    ----------
    functions : mapping of str to callable
        By column: ``function(query, answer)`` gives the column's value, or a mapping of the column and ``cost``, what
        it cost; by default the mean price of the fit.
    wanted : collection of str
        Columns that the decider buys. Functions of others stay unasked: at another budget it may buy those.

    Raises
    ------
    TypeError
        Something else.
    ValueError
        A column that isn't wanted, while one that is has no function.
    """

    def __init__(self, functions: Mapping[str, SignalLike], wanted: Collection[str]) -> None:
        unwanted = [name for name in functions if name not in wanted]
        if unwanted and (lacking := [name for name in wanted if name not in functions]):
            got = f"got one for {unwanted[0]!r}, and none for {lacking[0]!r}"
            raise ValueError(f"signals: expected functions for {listed(wanted)}, which the router buys; {got}")
        wrong = [name for name, function in functions.items() if not callable(function)]
        if wrong:
            raise TypeError(f"signals: expected a function of the query and the answer for {wrong[0]!r}")
        self._functions = {name: FunctionTarget(function) for name, function in functions.items()}
        self._told: set[str] = set()

    async def bought(self, request: Request, reply: Reply, seconds_left: float) -> Reply:
        """Add the columns that are wanted and lack; one whose function fails, or is too slow, stays missing."""
        ends = asyncio.get_running_loop().time() + max(seconds_left, 0.0)
        values: dict[str, Any] = {}
        costs: dict[str, float] = {}
        for name in request.wanted:
            if name in reply.columns:
                continue
            if name not in self._functions:
                self._tell(name, f"give signals={{{name!r}: ...}}; known: {listed(self._functions) or 'none'}")
                continue
            try:
                async with asyncio.timeout_at(ends):
                    value = await self._functions[name].returned(request.query, reply.answer)
            except Exception as error:
                logger.warning("column %r of %s was not bought: %s", name, request.model, type(error).__name__)
                continue
            if isinstance(value, Mapping):
                costs |= {name: value["cost"]} if "cost" in value else {}
                value = value.get(name)
            values[name] = value
        return replace(reply, columns={**reply.columns, **values}, column_cost={**reply.column_cost, **costs})

    def _tell(self, name: str, why: str) -> None:
        """Say once what lacks."""
        if name not in self._told:
            self._told.add(name)
            logger.warning("column %r isn't bought: %s", name, why)
