"""Calls begun ahead: the plan's next model, where a deadline leaves no time for one after the other."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from headrace.runner.calling import Called, Caller
from headrace.runner.targets import Reply, Request
from headrace.runner.walk import Walk

__all__ = ["begin_ahead", "end_ahead"]

#: A deadline is tight where two calls, one after the other, usually take more than its rest over this.
HASTE = 1.5


def begin_ahead(walk: Walk, request: Request, caller: Caller, ahead: dict[str, asyncio.Task[Called]]) -> None:
    """Begin the best of the plan's further models, where the deadline is tight and the account covers it."""
    later = walk.later(request.model)
    if ahead or not later:
        return
    model, usual = later[0], caller.usual_seconds
    if walk.time_left >= HASTE * (usual(request.model) + usual(model)):
        return
    walk.calls(model)
    if not walk.reserves(model):
        return
    begun = replace(request, model=model, timeout_s=caller.limit(model, walk.time_left))
    ahead[model] = asyncio.create_task(caller.call(begun, time_left=walk.time_left))


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
