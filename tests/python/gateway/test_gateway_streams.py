"""Streams, in both modes, and clients that leave."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

openai = pytest.importorskip("openai")
pytest.importorskip("prometheus_client")

from gateways import asked, serving, small_first  # noqa: E402  # they need uvicorn
from pools import MODELS  # noqa: E402

if TYPE_CHECKING:
    from fake_provider import FakeProvider

    import headrace as hr

MODES = ("decide-first", "buffer")
TOOLS: Any = [{"type": "function", "function": {"name": "reckon", "parameters": {"type": "object"}}}]


def told(mode: str, **terms: Any) -> dict[str, Any]:
    return {"headrace": {"columns": {"difficulty": 0.1}, "mode": mode, **terms}}


@pytest.mark.parametrize("mode", MODES)
def test_every_chunk_says_whose_it_is_and_the_last_one_what_it_cost(client: Any, mode: str) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="headrace",
        messages=asked("[id s-1] 17 + 25"),
        stream=True,
        stream_options={"include_usage": True},
        extra_body=told(mode, id="s-1"),
    )
    chunks = list(raw.parse())
    assert "".join(one.choices[0].delta.content or "" for one in chunks[:-1]).endswith("[id s-1]")
    assert {one.id for one in chunks} == {"chatcmpl-s-1"}
    assert {one.model for one in chunks} == {raw.headers["x-headrace-model"]}
    assert raw.headers["x-headrace-decision"] == "s-1"
    assert [one.choices[0].finish_reason for one in chunks[:-1] if one.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    receipt = chunks[-1].model_dump()["headrace"]
    assert receipt["model"] == chunks[0].model
    assert receipt["policy"] == raw.headers["x-headrace-policy"]
    assert receipt["cost"]["cost"] > 0.0


@pytest.mark.parametrize("mode", MODES)
def test_without_being_asked_no_usage_is_told(client: Any, mode: str) -> None:
    chunks = list(
        client.chat.completions.create(model="headrace", messages=asked("17 + 25"), stream=True, extra_body=told(mode))
    )
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(one.usage is None for one in chunks)


@pytest.mark.parametrize("mode", MODES)
def test_tool_calls_are_streamed(client: Any, mode: str) -> None:
    with client.chat.completions.stream(
        model="headrace", messages=asked("use reckon on 17 + 25"), tools=TOOLS, extra_body=told(mode)
    ) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"question": "17 + 25"}


@pytest.mark.parametrize("mode", MODES)
def test_log_probabilities_come_at_the_end_where_they_are_asked_for(client: Any, mode: str) -> None:
    for wanted in (True, False):
        chunks = list(
            client.chat.completions.create(
                model="large", messages=asked("17 + 25"), stream=True, logprobs=wanted, extra_body=told(mode)
            )
        )
        given = [one.choices[0].logprobs for one in chunks if one.choices[0].logprobs]
        assert len(given) == wanted


def test_a_model_that_fails_before_its_first_word_is_followed_by_another(client: Any, decider: hr.Decider) -> None:
    text = "17 + 25 [fault small=500]"
    terms = small_first(decider, "sf", text)
    chunks = list(client.chat.completions.create(model="headrace", messages=asked(text), stream=True, extra_body=terms))
    assert {one.model for one in chunks} < {"medium", "large"}


@pytest.mark.parametrize("mode", MODES)
def test_before_the_first_word_errors_have_their_status(client: Any, mode: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(
            model="headrace", messages=asked("1 + 1 [fault all=400]"), stream=True, extra_body=told(mode)
        )
    assert caught.value.status_code == 400


def test_a_stream_that_breaks_off_ends_with_an_error(client: Any) -> None:
    stream = client.chat.completions.create(
        model="large", messages=asked("17 + 25 [id b-1] [fault all=cut]"), stream=True, extra_body=told("decide-first")
    )
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "upstream_connection"


@pytest.mark.parametrize("stream", [None, *MODES])
def test_a_client_that_leaves_ends_what_runs_for_it(gateway: Any, provider: FakeProvider, stream: str | None) -> None:
    terms = {"stream": True, "extra_body": told(stream)} if stream else {}

    async def leaving() -> None:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:

            async def asking() -> None:
                answer = await client.chat.completions.create(
                    model="headrace", messages=asked("17 + 25 [fault all=hang]"), **terms
                )
                async for _ in answer:
                    pass

            task = asyncio.create_task(asking())
            while not provider.live.total():
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.1)
            assert provider.live.total()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    assert provider.is_idle()
    asyncio.run(leaving())
    assert provider.is_idle()


def test_a_client_that_leaves_a_stream_in_its_middle_ends_it(gateway: Any, provider: FakeProvider) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="large", messages=asked("17 + 25 [fault all=hang]"), stream=True, extra_body=told("decide-first")
        )
        assert next(iter(stream)).model == "large"
        assert provider.live.total()
        stream.close()
    assert provider.is_idle()


def test_the_server_says_which_mode_is_the_default(provider: FakeProvider, decider: hr.Decider) -> None:
    text = "17 + 25 [fault small=empty]"
    runs = {}
    for mode in MODES:
        with (
            serving(provider.url, decider, stream_mode=mode) as listening,
            openai.OpenAI(base_url=f"{listening.url}/v1", api_key="none", max_retries=0) as client,
        ):
            chunks = client.chat.completions.create(
                model="headrace",
                messages=asked(text),
                stream=True,
                stream_options={"include_usage": True},
                extra_body=small_first(decider, "dm", text),
            )
            *_, last = chunks
            runs[mode] = last.model_dump()["headrace"]["runs"]
    assert len(runs["decide-first"]) == 1
    assert set(runs["buffer"]) <= set(MODELS)
