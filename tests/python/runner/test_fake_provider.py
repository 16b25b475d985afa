"""The pretend provider speaks OpenAI's format: the real client understands it, and its faults are what they say."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

pytest.importorskip("openai")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import openai
from fake_provider import STRENGTHS, FakeProvider, is_right

TOOLS: list[Any] = [{"type": "function", "function": {"name": "reckon", "parameters": {"type": "object"}}}]


def asked(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def client(provider: FakeProvider) -> Any:
    with openai.OpenAI(base_url=provider.url, api_key="sk-none", max_retries=0, timeout=30.0) as made:
        yield made


def test_models_are_listed(client: Any) -> None:
    assert [model.id for model in client.models.list()] == list(STRENGTHS)


def test_an_answer_carries_its_id_usage_and_log_probabilities(client: Any) -> None:
    answer = client.chat.completions.create(model="large", messages=asked("[id q-17] 17 + 25"), logprobs=True)
    assert answer.choices[0].message.content == "42 [id q-17]"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "large"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, 3)
    tokens = answer.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == "42 [id q-17]"
    assert all(-0.1 < token.logprob < 0.0 for token in tokens)


def test_models_are_right_as_often_as_their_strength_and_unsure_when_wrong(client: Any) -> None:
    questions = [f"{i} + {3 * i + 1}" for i in range(400)]
    for model, strength in STRENGTHS.items():
        assert sum(is_right(model, question) for question in questions) == pytest.approx(400 * strength, abs=30)
    wrong = next(question for question in questions if not is_right("small", question))
    answers = [
        client.chat.completions.create(model="small", messages=asked(f"What is {wrong}?"), logprobs=True)
        for _ in range(2)
    ]
    contents = [answer.choices[0].message.content for answer in answers]
    assert contents[0] == contents[1] != str(sum(map(int, wrong.split(" + "))))
    assert answers[0].choices[0].logprobs.content[0].logprob < -0.4


def test_streams_end_with_the_usage_if_asked_for(client: Any) -> None:
    stream = client.chat.completions.create(
        model="large",
        messages=asked("[id q-3] 20 * 3"),
        logprobs=True,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "60 [id q-3]"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 3
    assert sum(len(chunk.choices[0].logprobs.content) for chunk in chunks[:-1] if chunk.choices[0].logprobs) == 3
    without = list(client.chat.completions.create(model="large", messages=asked("20 * 3"), stream=True))
    assert without[-1].choices[0].finish_reason == "stop"


def test_tools_are_called_and_answered(client: Any) -> None:
    messages = asked("use reckon on 17 + 25")
    answer = client.chat.completions.create(model="large", messages=messages, tools=TOOLS)
    message = answer.choices[0].message
    assert message.content is None
    assert answer.choices[0].finish_reason == "tool_calls"
    call = message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("reckon", {"question": "17 + 25"})
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "42"}]
    assert client.chat.completions.create(model="large", messages=messages, tools=TOOLS).choices[0].message.content


def test_tools_are_called_in_streams(client: Any) -> None:
    with client.chat.completions.stream(model="large", messages=asked("use reckon on 17 + 25"), tools=TOOLS) as stream:
        message = stream.get_final_completion().choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments) == {"question": "17 + 25"}


def test_json_is_given_where_it_is_asked_for(client: Any) -> None:
    answer = client.chat.completions.create(
        model="large", messages=asked("17 + 25"), response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content) == {"answer": "42"}


def test_the_asynchronous_client_asks_many_at_once(provider: FakeProvider) -> None:
    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(base_url=provider.url, api_key="sk-none", max_retries=0) as client:
            calls = [
                client.chat.completions.create(model="small", messages=asked(f"[id q-{i}] {i} + 1")) for i in range(40)
            ]
            return [answer.choices[0].message.content for answer in await asyncio.gather(*calls)]

    for i, content in enumerate(asyncio.run(all_of_them())):
        assert content.endswith(f"[id q-{i}]")


def test_a_fault_happens_as_often_as_it_says(client: Any) -> None:
    messages = asked("[id often] [fault small=429 after=0.05 times=2] 1 + 1")
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="small", messages=messages)
        assert caught.value.response.headers["retry-after"] == "0.05"
        assert caught.value.code == "rate_limit_exceeded"
    for model in STRENGTHS:
        assert client.chat.completions.create(model=model, messages=messages).choices


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("400", "BadRequestError"),
        ("401", "AuthenticationError"),
        ("500", "InternalServerError"),
        ("503", "InternalServerError"),
        ("529", "InternalServerError"),
        ("context", "BadRequestError"),
        ("cut", "APIConnectionError"),
    ],
)
def test_faults_reach_the_client(client: Any, fault: str, error: str) -> None:
    with pytest.raises(getattr(openai, error)):
        client.chat.completions.create(model="small", messages=asked(f"[fault all={fault}] 1 + 1"))


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_leaves_nothing_running(provider: FakeProvider, stream: bool) -> None:
    async def given_up() -> None:
        async with openai.AsyncOpenAI(base_url=provider.url, api_key="sk-none", max_retries=0) as client:
            answer = await client.chat.completions.create(
                model="small", messages=asked("[fault all=hang] 1 + 1"), stream=stream
            )
            async for _ in answer:
                pass

    async def run() -> int:
        task = asyncio.create_task(given_up())
        while not provider.live.total():
            await asyncio.sleep(0.01)
        live = provider.live.total()
        task.cancel()
        await asyncio.wait([task])
        return live

    assert asyncio.run(run()) == 1
    assert provider.is_idle()


def test_a_server_that_stops_leaves_no_thread_and_no_client_waiting() -> None:
    before = threading.active_count()
    with FakeProvider(latency_s=0.0, key="sk-right") as server:
        with (
            openai.OpenAI(base_url=server.url, api_key="sk-wrong", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.chat.completions.create(model="small", messages=asked("1 + 1"))
        assert server.calls == {"small": 1}
        assert server.is_idle()
    assert threading.active_count() == before
