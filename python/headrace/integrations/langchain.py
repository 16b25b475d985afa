"""LangChain: a chat model whose every answer is routed."""

# ruff: noqa: E402

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing, contextmanager
from typing import Any, Literal

from headrace.extras import imported

imported("langchain_core", "HeadraceChatModel")  # or say how to get it

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers.openai_tools import make_invalid_tool_call, parse_tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from headrace.gateway.wire import ROUTED, Asked, read_request, receipt
from headrace.runner import Result, Runner

__all__ = ["HeadraceChatModel"]


class HeadraceChatModel(BaseChatModel):  # type: ignore[misc]  # Any, where langchain isn't installed
    """Answers by a runner's models. Needs langchain-core.

    A message's ``response_metadata`` has ``model_name``, the model chosen, and ``headrace``, the receipt: decision,
    runs, what all of them cost. Its ``usage_metadata`` counts the tokens of the call that answers.

    Parameters
    ----------
    runner : Runner
    model : str, default "headrace"
        A model's name lets that one answer; also per call, ``invoke(..., model="large")``.
    temperature : float, optional
    max_tokens : int, optional
    stop : list of str, optional
    stream_mode : {"decide-first", "buffer"}
        How answers are streamed: see `Runner.stream`.
    terms : mapping of str to value
        On what terms queries are answered: ``deadline_s``, ``max_cost``, ``columns``, ... of `Runner.arun`; per call as
        ``invoke(..., headrace={...})``, which comes before these.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.integrations.langchain import HeadraceChatModel  # doctest: +SKIP
    >>> chat = HeadraceChatModel(runner=hr.Runner(decider, targets), temperature=0.0)  # doctest: +SKIP
    >>> chat.invoke("Why?").response_metadata["model_name"]  # doctest: +SKIP
    'small'
    """

    runner: Runner = Field(exclude=True, repr=False)
    model: str = ROUTED
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    stream_mode: Literal["decide-first", "buffer"] = "decide-first"
    terms: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "headrace"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("model", "temperature", "max_tokens", "stop", "terms")}
        return {**own, "policy": self.runner.decider.fingerprint}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        told = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        return LangSmithParams(**{**told, "ls_provider": "headrace", "ls_model_name": kwargs.get("model", self.model)})

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Give models tools.

        Parameters
        ----------
        tools : sequence
            As `convert_to_openai_tool` takes them.
        tool_choice : str, dict or bool, optional
            "any" or True: one of them must be called; a name: that one; "auto", "none", or as OpenAI's format has it.
        **kwargs
            Bound as well.
        """
        if tool_choice in ("any", True):
            tool_choice = "required"
        elif isinstance(tool_choice, str) and tool_choice not in ("auto", "none", "required"):
            tool_choice = {"type": "function", "function": {"name": tool_choice}}
        if tool_choice:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        asked = self._asked(messages, stop, kwargs)
        with _apart():
            return _whole(self.runner.run(asked.messages, **asked.terms))

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        asked = self._asked(messages, stop, kwargs)
        with _apart():
            return _whole(await self.runner.arun(asked.messages, **asked.terms))

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        asked = self._asked(messages, stop, kwargs)
        pieces = self.runner.iterate(asked.messages, mode=asked.mode or self.stream_mode, **asked.terms)
        with closing(pieces):
            while True:
                with _apart():  # not around the yield: what is around there is the caller's
                    piece = next(pieces, None)
                if piece is None:
                    return
                yield _part(piece)

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = self._asked(messages, stop, kwargs)
        async with aclosing(
            self.runner.stream(asked.messages, mode=asked.mode or self.stream_mode, **asked.terms)
        ) as pieces:
            while True:
                with _apart():
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield _part(piece)

    def _asked(self, messages: list[BaseMessage], stop: list[str] | None, given: dict[str, Any]) -> Asked:
        own = {"model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens}
        body = {
            **{name: value for name, value in own.items() if value is not None},
            **given,
            "messages": convert_to_openai_messages(messages),
            "headrace": {**self.terms, **given.get("headrace", {})},
        }
        if stop := stop or self.stop:
            body["stop"] = stop
        asked = read_request(body, self.runner.decider.models, self.runner.supported)
        asked.terms.setdefault("strict", "columns" in asked.terms)
        return asked


@contextmanager
def _apart() -> Iterator[None]:
    """Keep the callbacks of this run from models that targets may call with LangChain: theirs are no tokens of it."""
    token = var_child_runnable_config.set(None)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _whole(result: Result) -> ChatResult:
    message = {} if result.reply is None else result.reply.message or {}
    calls, invalid = [], []
    for call in message.get("tool_calls") or ():
        try:
            calls.append(parse_tool_call(call))
        except OutputParserException as error:
            invalid.append(make_invalid_tool_call(call, str(error)))
    answer = AIMessage(
        content=_text(message) if message else str(result.answer),
        tool_calls=[call for call in calls if call is not None],
        invalid_tool_calls=invalid,
        **_told(result),
    )
    return ChatResult(generations=[ChatGeneration(message=answer)])


def _part(piece: Mapping[str, Any] | Result) -> ChatGenerationChunk:
    if isinstance(piece, Result):
        last = AIMessageChunk(content="", chunk_position="last", **_told(piece))
        return ChatGenerationChunk(message=last)
    calls = []
    for i, part in enumerate(piece.get("tool_calls") or ()):
        function = part.get("function") or {}
        name, arguments = function.get("name") or None, function.get("arguments")
        calls.append(tool_call_chunk(name=name, args=arguments, id=part.get("id"), index=part.get("index", i)))
    return ChatGenerationChunk(message=AIMessageChunk(content=_text(piece), tool_call_chunks=calls))


def _text(message: Mapping[str, Any]) -> Any:
    """Give the content, which may be in parts."""
    content = message.get("content") or message.get("refusal") or ""
    return content if isinstance(content, str | list) else str(content)


def _told(result: Result) -> dict[str, Any]:
    """Say whose answer it is, its tokens, and the receipt."""
    usage = {} if result.reply is None else result.reply.usage
    told: dict[str, Any] = {
        "response_metadata": {
            "model_name": result.model,
            "finish_reason": (result.reply.finish if result.reply else None) or "stop",
            "headrace": receipt(result),
        }
    }
    if {"prompt_tokens", "completion_tokens"} <= set(usage):
        told["usage_metadata"] = UsageMetadata(
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            total_tokens=usage["prompt_tokens"] + usage["completion_tokens"],
            input_token_details={"cache_read": usage.get("cached_tokens", 0)},
        )
    return told
