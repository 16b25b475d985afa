"""Calls that were begun ahead, where a deadline left no time for one after the other."""

from __future__ import annotations

import asyncio

from headrace.runner.calling import Called
from headrace.runner.targets import Reply
from headrace.runner.walk import Walk

__all__ = ["end_ahead"]


async def end_ahead(walk: Walk, ahead: dict[str, asyncio.Task[Called]]) -> None:
    """Take in what was begun ahead and isn't wanted: an answer that is there, or what the call may have cost."""
    for model, task in ahead.items():
        if task.done() and isinstance(reply := task.result().outcome, Reply):
            walk.succeeded(model, reply, task.result().seconds)
            continue
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        walk.gave_up(model)
    ahead.clear()
