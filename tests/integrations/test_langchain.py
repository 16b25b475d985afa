"""LangChain's own tests of chat models, and ours, with the runner's provider behind them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

pytest.importorskip("langchain_core")
pytest.importorskip("langchain_tests")

import fake_provider
from fake_provider import FakeProvider
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableLambda
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

import headrace as hr
from headrace.integrations.langchain import HeadraceChatModel
from headrace.runner import Exhausted


def obliging_calls(text: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Call the tool that is asked for, or the first, with arguments after its schema: no marker is in these texts."""
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or ()}
    if not tools or body["messages"][-1]["role"] == "tool":
        return []
    choice = body.get("tool_choice")
    name = choice["function"]["name"] if isinstance(choice, dict) else next(iter(tools))
    number = re.search(r"\((-?\d+)\)", text)
    arguments = {}
    for key, told in (tools[name].get("parameters") or {}).get("properties", {}).items():
        kind = told.get("type") or told["anyOf"][0]["type"]
        arguments[key] = int(number[1]) if number and kind == "integer" else 1 if kind == "integer" else text[-200:]
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return [{"id": "call_1", "type": "function", "function": function}]


@pytest.fixture(scope="session", autouse=True)
def _obliging() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_provider, "_tool_calls", obliging_calls)
        yield


class _Standard:
    """What both suites are told of the model."""

    @pytest.fixture(autouse=True)
    def _given(self, runner: hr.Runner) -> None:
        self.runner = runner

    @property
    def chat_model_class(self) -> type[HeadraceChatModel]:
        return HeadraceChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"runner": self.runner}

    @property
    def model_override_value(self) -> str:
        return "large"


class TestUnit(_Standard, ChatModelUnitTests):
    """The standard unit tests."""


class TestIntegration(_Standard, ChatModelIntegrationTests):
    """The standard integration tests."""


def chat(runner: hr.Runner, **options: Any) -> HeadraceChatModel:
    return HeadraceChatModel(runner=runner, **options)


def test_a_message_says_who_answered_and_what_it_cost(runner: hr.Runner) -> None:
    message = chat(runner).invoke("What is 17 + 25?")
    receipt = message.response_metadata["headrace"]
    assert message.response_metadata["model_name"] == receipt["model"]
    assert receipt["runs"]
    assert receipt["cost"]["cost"] > 0
    assert message.usage_metadata["output_tokens"] > 0
    pinned = chat(runner).invoke("What is 17 + 25?", model="large")
    assert pinned.response_metadata["headrace"]["runs"] == ["large"]
    assert chat(runner, model="medium").invoke("Hi").response_metadata["model_name"] == "medium"


def test_terms_are_taken_from_the_model_and_from_the_call(runner: hr.Runner) -> None:
    model = chat(runner, terms={"deny": ["small"], "id": "q-1"})
    receipt = model.invoke("Hi", headrace={"id": "q-2"}).response_metadata["headrace"]
    assert receipt["decision"] == "q-2"
    assert "small" not in receipt["runs"]
    with pytest.raises(ValueError, match="no such model"):
        chat(runner).invoke("Hi", model="other")
    with pytest.raises(ValueError, match="unknown field"):
        chat(runner).invoke("Hi", temperatur=1.0)


@pytest.mark.parametrize("mode", ["decide-first", "buffer"])
async def test_streams_are_whole_answers_in_parts(runner: hr.Runner, mode: Any) -> None:
    model = chat(runner, stream_mode=mode, model="large")
    for chunks in (list(model.stream("What is 17 + 25?")), [c async for c in model.astream("What is 17 + 25?")]):
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        assert isinstance(whole, AIMessageChunk)
        assert whole.content == model.invoke("What is 17 + 25?").content
        assert chunks[-1].chunk_position == "last"
        assert whole.response_metadata["headrace"]["runs"] == ["large"]


async def test_failures_are_those_of_the_runner(runner: hr.Runner, provider: FakeProvider) -> None:
    with pytest.raises(Exhausted):
        chat(runner).invoke("Hi [fault all=400]")
    with pytest.raises(Exhausted):
        await chat(runner).ainvoke("Hi [fault all=400]")
    with pytest.raises(Exhausted):
        list(chat(runner).stream("Hi [fault all=400]"))
    assert "small" not in chat(runner).invoke("Hi [fault small=500]").response_metadata["headrace"]["runs"]
    stream = chat(runner, model="large").stream("Hi [fault large=hang]")
    next(stream)
    stream.close()
    assert provider.is_idle()


async def test_models_inside_are_not_this_runs(decider: hr.Decider) -> None:
    """A target that asks a model by LangChain: its tokens are none of the outer run."""

    class Starts(BaseCallbackHandler):
        n_started = 0

        def on_chat_model_start(self, *_: Any, **__: Any) -> None:
            self.n_started += 1

    async def inside(query: Any) -> str:
        model = GenericFakeChatModel(messages=iter([AIMessage("of the inner one")]))
        return (await model.ainvoke("Hi")).content

    runner = hr.Runner(decider, dict.fromkeys(decider.models, inside))
    starts = Starts()
    async with runner:
        model = RunnableLambda(lambda text: text) | chat(runner, model="small")
        answers = [(await model.ainvoke("Hi", {"callbacks": [starts]})).content]
        answers += ["".join([c.content async for c in model.astream("Hi", {"callbacks": [starts]})])]
        with runner:
            answers += [model.invoke("Hi", {"callbacks": [starts]}).content]
    assert answers == ["of the inner one"] * 3
    assert starts.n_started == 3
