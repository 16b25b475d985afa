"""A model of any provider that litellm knows, as a target."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from headrace.extras import imported
from headrace.runner.faults import fault_of
from headrace.runner.replies import messages_of, reply_of_completion, wants_json
from headrace.runner.targets import Reply, Request

__all__ = ["LitellmTarget"]


class LitellmTarget:
    """A model that litellm calls, without its retries, as the runner has its own. Needs litellm.

    What a response becomes, see `headrace.runner.replies`; its cost is litellm's. Keys are found by litellm, in the
    environment variables of each provider. How long a response may be is up to litellm.

    Parameters
    ----------
    model : str
        The model as litellm names it, e.g. "anthropic/claude-haiku-4-5".
    **options : value
        Options of every call, e.g. ``temperature=0``, ``api_base=...``; those of a request come before them. What a
        provider doesn't know is dropped.

    Examples
    --------
    >>> from headrace.runner import LitellmTarget
    >>> LitellmTarget("openai/gpt-5-mini", api_key="sk-secret")
    LitellmTarget('openai/gpt-5-mini')
    """

    def __init__(self, model: str, **options: Any) -> None:
        self.model = model
        self.options = options
        self._litellm: Any = None

    def __repr__(self) -> str:
        return f"LitellmTarget({self.model!r})"

    async def call(self, request: Request) -> Reply:
        """Call the model.

        Parameters
        ----------
        request : Request

        Returns
        -------
        Reply

        Raises
        ------
        Fault
            What went wrong, by kind.
        ImportError
            litellm isn't installed.
        """
        if self._litellm is None:  # importing it takes seconds, in which others are served
            self._litellm = await asyncio.to_thread(imported, "litellm", "LitellmTarget")
            self._litellm.suppress_debug_info = True  # else it prints a hint at every fault
        options = self.options | dict(request.options)
        ours = {
            "model": self.model,
            "messages": messages_of(request),
            "timeout": request.timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,
            "stream": False,
        }
        started = time.perf_counter()
        response: Any = None
        fault = None
        try:
            async with asyncio.timeout(request.timeout_s):
                response = await self._litellm.acompletion(**options | ours)
        except Exception as error:
            fault = fault_of(error)  # raised below, without the exception: its text repeats what the provider wrote
        if fault is not None:
            raise fault
        hidden = getattr(response, "_hidden_params", None) or {}
        return reply_of_completion(
            response.model_dump(),
            seconds=time.perf_counter() - started,
            cost=hidden.get("response_cost"),
            json_wanted=wants_json(options),
        )
