"""The provider for litellm's SDK, called by litellm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("litellm")

import litellm
from fake_provider import FakeProvider

import headrace as hr
from headrace.integrations import litellm as integration
from headrace.integrations.litellm import HeadraceLLM

ROOT = Path(__file__).resolve().parents[2]

TOOL = {"name": "calc", "parameters": {"type": "object", "properties": {"question": {"type": "string"}}}}


@pytest.fixture(autouse=True)
def _registered(runner: hr.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    registered = [{"provider": "headrace", "custom_handler": HeadraceLLM(runner)}]
    monkeypatch.setattr(litellm, "custom_provider_map", registered)
    monkeypatch.setattr(litellm, "suppress_debug_info", True)


def asked(text: str, model: str = "headrace", **options: Any) -> dict[str, Any]:
    return {"model": f"headrace/{model}", "messages": [{"role": "user", "content": text}], **options}


async def both(**call: Any) -> list[Any]:
    """Call it by both ways."""
    return [litellm.completion(**call), await litellm.acompletion(**call)]


async def streamed(**call: Any) -> list[list[Any]]:
    whole = list(litellm.completion(**call, stream=True))
    return [whole, [chunk async for chunk in await litellm.acompletion(**call, stream=True)]]


async def test_a_response_says_who_answered_and_what_all_calls_cost() -> None:
    for response in await both(**asked("What is 17 + 25?", temperature=0.1)):
        receipt = response.headrace
        assert response.model == receipt["model"]
        assert response.choices[0].message.content
        assert response.usage.completion_tokens > 0
        assert len(receipt["runs"]) > 1
        assert response._hidden_params["response_cost"] == receipt["cost"]["cost"]
        assert receipt["cost"]["cost"] == pytest.approx(sum(a["cost"]["cost"] for a in receipt["attempts"]))
        told = response._hidden_params["additional_headers"]
        assert told["llm_provider-x-headrace-model"] == response.model


async def test_terms_come_in_the_extra_body() -> None:
    terms = {"headrace": {"id": "q-1", "deny": ["small"]}}
    for response in await both(**asked("Hi", extra_body=terms)):
        assert response.headrace["decision"] == "q-1"
        assert "small" not in response.headrace["runs"]


async def test_a_models_name_pins_it_and_log_probabilities_come_where_asked_for() -> None:
    for response in await both(**asked("17 + 25", model="large", logprobs=True)):
        assert response.headrace["runs"] == ["large"]
        assert response.choices[0].logprobs.content
    for response in await both(**asked("17 + 25", model="large")):
        assert not getattr(response.choices[0], "logprobs", None)


@pytest.mark.parametrize("mode", ["decide-first", "buffer"])
async def test_streams_are_whole_answers_in_parts(mode: str) -> None:
    call = asked("17 + 25 [id q-1]", model="large", extra_body={"headrace": {"mode": mode}})
    for chunks in await streamed(**call, stream_options={"include_usage": True}):
        whole = litellm.stream_chunk_builder(chunks)
        assert whole.choices[0].message.content == "42 [id q-1]"
        assert whole.choices[0].finish_reason == "stop"
        assert chunks[-1].usage.completion_tokens == 3
        (receipt,) = [chunk.headrace for chunk in chunks if hasattr(chunk, "headrace")]
        assert receipt["runs"] == ["large"]


async def test_tools_are_called() -> None:
    call = asked("use calc 17 + 25", model="large", tools=[{"type": "function", "function": TOOL}])
    wholes = [litellm.stream_chunk_builder(chunks) for chunks in await streamed(**call)]
    for response in [*await both(**call), *wholes]:
        assert response.choices[0].finish_reason == "tool_calls"
        (called,) = response.choices[0].message.tool_calls
        assert (called.function.name, called.function.arguments) == ("calc", '{"question": "17 + 25"}')


@pytest.mark.parametrize(
    ("text", "options", "status"),
    [
        ("[fault all=400]", {}, 400),
        ("[fault all=context]", {}, 400),
        ("[fault all=429 after=0.01]", {}, 429),
        ("[fault all=500]", {}, 502),
        ("[fault all=hang]", {"timeout": 0.3}, 504),
        ("Hi", {"model": "other"}, 404),
        ("Hi", {"extra_body": {"headrace": {"unknown": 1}}}, 400),
        ("Hi", {"extra_body": {"headrace": {"max_cost": 1e-9}}}, 400),
    ],
)
async def test_errors_have_a_status(text: str, options: dict[str, Any], status: int) -> None:
    for stream in (False, True):
        with pytest.raises(Exception) as raised:  # noqa: PT011  # litellm's, of a kind for each status
            list(litellm.completion(**asked(text, **options), stream=stream))
        assert raised.value.status_code == status
        with pytest.raises(Exception) as raised:  # noqa: PT011
            _ = [chunk async for chunk in await litellm.acompletion(**asked(text, **options), stream=True)]
        assert raised.value.status_code == status


def test_a_cascade_is_not_begun_again(provider: FakeProvider) -> None:
    before = provider.calls.total()
    with pytest.raises(litellm.BadGatewayError):
        litellm.completion(**asked("Hi [fault all=500]"))
    assert provider.calls.total() - before == 6  # three models, twice each


@pytest.fixture
def _served(tmp_path: Path, decider: hr.Decider, provider: FakeProvider, monkeypatch: Any) -> Iterator[None]:
    decider.save(tmp_path / "router.headrace")
    targets = [f'[targets.{name}]\nurl = "{provider.url}"\nmodel = "{name}"' for name in decider.models]
    (tmp_path / "serve.toml").write_text("\n".join(['router = "router.headrace"', *targets]))
    monkeypatch.setenv("HEADRACE_SERVE", str(tmp_path / "serve.toml"))
    integration._provider.cache_clear()
    yield
    integration.provider.runner.close()
    integration._provider.cache_clear()


@pytest.mark.usefixtures("_served")
def test_the_proxys_configuration_names_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    yaml = pytest.importorskip("yaml")
    utils = pytest.importorskip("litellm.proxy.types_utils.utils")
    path = ROOT / "examples" / "litellm_proxy.yaml"
    told = yaml.safe_load(path.read_text())
    (entry,) = told["litellm_settings"]["custom_provider_map"]
    handler = utils.get_instance_fn(entry["custom_handler"], str(path))
    assert isinstance(handler, HeadraceLLM)
    monkeypatch.setattr(litellm, "custom_provider_map", [entry | {"custom_handler": handler}])
    (model,) = told["model_list"]
    messages = [{"role": "user", "content": "17 + 25"}]
    assert litellm.completion(model["litellm_params"]["model"], messages).headrace["runs"]


def test_other_attributes_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        _ = integration.other
