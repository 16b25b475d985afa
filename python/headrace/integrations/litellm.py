"""litellm: a provider of its SDK, and of its proxy, whose every answer is routed.

The proxy's configuration names `provider`: a `HeadraceLLM` made, when it is first asked for, of the serve.toml that the
environment variable HEADRACE_SERVE names.
"""

# ruff: noqa: E402

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from functools import cache
from typing import Any

from headrace.extras import imported

imported("litellm", "HeadraceLLM")  # or say how to get it

from litellm import CustomLLM, ModelResponse
from litellm.llms.custom_llm import CustomLLMError

from headrace.gateway.settings import settings_from_environment
from headrace.gateway.wire import FORWARDED, Asked, completion, error_of, headers, read_request, receipt
from headrace.runner import Result, Runner

__all__ = ["HeadraceLLM"]


class HeadraceLLM(CustomLLM):  # type: ignore[misc]  # Any, where litellm isn't installed
    """Answers by a runner's models. Needs litellm.

    ``model="headrace/headrace"`` routes, ``"headrace/large"`` lets that model answer. Of a response, ``model`` is the
    one chosen, ``_hidden_params["response_cost"]`` what all calls cost together, ``headrace`` the receipt. Terms of
    `Runner.arun` come as ``extra_body={"headrace": {...}}``, and litellm's ``timeout`` is the deadline.

    Parameters
    ----------
    runner : Runner
        Its costs must be dollars, as litellm takes them for such.
    stream_mode : {"decide-first", "buffer"}
        How answers are streamed: see `Runner.stream`.

    Examples
    --------
    >>> import headrace as hr
    >>> import litellm  # doctest: +SKIP
    >>> from headrace.integrations.litellm import HeadraceLLM  # doctest: +SKIP
    >>> provider = HeadraceLLM(hr.Runner(decider, targets))  # doctest: +SKIP
    >>> litellm.custom_provider_map = [{"provider": "headrace", "custom_handler": provider}]  # doctest: +SKIP
    >>> litellm.completion("headrace/headrace", [{"role": "user", "content": "Why?"}]).model  # doctest: +SKIP
    'small'
    """

    def __init__(self, runner: Runner, *, stream_mode: str = "decide-first") -> None:
        super().__init__()
        self.runner = runner
        self.stream_mode = stream_mode

    def completion(self, **call: Any) -> ModelResponse:
        """Answer; litellm calls it."""
        try:
            asked = self._asked(call)
            return _response(self.runner.run(asked.messages, **asked.terms), asked)
        except Exception as error:
            raise _refusal(error) from None

    async def acompletion(self, **call: Any) -> ModelResponse:
        """Answer; litellm calls it."""
        try:
            asked = self._asked(call)
            return _response(await self.runner.arun(asked.messages, **asked.terms), asked)
        except Exception as error:
            raise _refusal(error) from None

    def streaming(self, **call: Any) -> Iterator[Mapping[str, Any]]:
        """Answer in pieces; litellm calls it."""
        try:
            asked = self._asked(call)
            with closing(self.runner.iterate(asked.messages, mode=self._mode(asked), **asked.terms)) as pieces:
                for piece in pieces:
                    yield from _chunks(piece)
        except Exception as error:
            raise _refusal(error) from None

    async def astreaming(self, **call: Any) -> AsyncIterator[Mapping[str, Any]]:
        """Answer in pieces; litellm calls it."""
        try:
            asked = self._asked(call)
            async with aclosing(self.runner.stream(asked.messages, mode=self._mode(asked), **asked.terms)) as pieces:
                async for piece in pieces:
                    for chunk in _chunks(piece):
                        yield chunk
        except Exception as error:
            raise _refusal(error) from None

    def _mode(self, asked: Asked) -> str:
        return asked.mode or self.stream_mode

    def _asked(self, call: Mapping[str, Any]) -> Asked:
        given = dict(call.get("optional_params") or {})
        given |= given.pop("extra_body", None) or {}
        own = FORWARDED | {"headrace", "logprobs", "n"}  # the rest is litellm's
        body = {name: value for name, value in given.items() if name in own}
        body |= {"model": call["model"], "messages": call["messages"]}
        asked = read_request(body, self.runner.decider.models, self.runner.supported)
        asked.terms.setdefault("strict", "columns" in asked.terms)
        if isinstance(timeout := call.get("timeout"), int | float):
            asked.terms.setdefault("deadline_s", timeout)
        return asked


def __getattr__(name: str) -> HeadraceLLM:
    """Make `provider`."""
    if name == "provider":
        return _provider()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _provider() -> HeadraceLLM:
    settings = settings_from_environment()
    return HeadraceLLM(settings.runner(), stream_mode=settings.stream)


def _response(result: Result, asked: Asked) -> ModelResponse:
    response = ModelResponse(**completion(result, logprobs=asked.logprobs))
    response._hidden_params = {"response_cost": result.cost, "additional_headers": headers(result)}
    return response


def _chunks(piece: Mapping[str, Any] | Result) -> Iterator[dict[str, Any]]:
    """Make litellm's chunks, each of which holds a text or one part of a call."""
    chunk: dict[str, Any] = {"text": "", "is_finished": False, "finish_reason": "", "usage": None, "index": 0}
    if isinstance(piece, Result):
        told = completion(piece, logprobs=False)
        yield {
            **chunk,
            "is_finished": True,
            "finish_reason": told["choices"][0]["finish_reason"],
            "usage": told["usage"],
            "provider_specific_fields": {"headrace": receipt(piece)},
        }
        return
    if text := piece.get("content") or piece.get("refusal"):
        yield {**chunk, "text": str(text)}
    for i, part in enumerate(piece.get("tool_calls") or ()):
        yield {**chunk, "tool_use": {"index": i, "type": "function", **part}}


def _refusal(error: Exception) -> CustomLLMError:
    """Say with a status what went wrong."""
    status, body, _ = error_of(error)
    return CustomLLMError(status, body["error"]["message"])
