"""The real openai client asks the gateway: answers, tools, JSON, errors, and where the receipt is."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

openai = pytest.importorskip("openai")
pytest.importorskip("prometheus_client")

from gateways import EASY, asked, serving, small_first  # noqa: E402  # they need uvicorn
from pools import MODELS  # noqa: E402

from headrace.gateway.settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from fake_provider import FakeProvider

    import headrace as hr

TOOLS: Any = [{"type": "function", "function": {"name": "reckon", "parameters": {"type": "object"}}}]
SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}


def test_an_answer_says_who_gave_it_and_what_it_cost(client: Any) -> None:
    terms = {"headrace": {"columns": {"difficulty": 0.1}, "id": "q-17"}}
    raw = client.chat.completions.with_raw_response.create(
        model="headrace", messages=asked("[id q-17] 17 + 25"), extra_body=terms
    )
    answer, told = raw.parse(), raw.headers
    receipt = answer.model_dump()["headrace"]
    assert "[id q-17]" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == receipt["model"] == told["x-headrace-model"]
    assert answer.model in MODELS
    assert answer.id == "chatcmpl-q-17"
    assert receipt["decision"] == told["x-headrace-decision"] == "q-17"
    assert receipt["cost"]["cost"] == pytest.approx(float(told["x-headrace-cost"]))
    assert receipt["cost"]["cost"] == pytest.approx(sum(one["cost"]["cost"] for one in receipt["attempts"]))
    assert receipt["runs"] == told["x-headrace-runs"].split(",")
    assert receipt["policy"] == told["x-headrace-policy"]
    assert receipt["stopped"] == "plan"
    assert answer.headrace["cost"] == receipt["cost"]
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_many_at_once_are_not_mixed_up(gateway: Any) -> None:
    async def all_of_them() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
            calls = [
                client.chat.completions.create(model="headrace", messages=asked(f"[id q-{i}] {i} + 1"), extra_body=EASY)
                for i in range(40)
            ]
            return await asyncio.gather(*calls)

    for i, answer in enumerate(asyncio.run(all_of_them())):
        assert answer.choices[0].message.content.endswith(f"[id q-{i}]")


@pytest.mark.parametrize("model", MODELS)
def test_the_name_of_a_model_pins_it(client: Any, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=asked("17 + 25"))
    assert answer.model == model
    assert answer.model_dump()["headrace"]["runs"] == [model]


def test_tools_are_called_and_answered(client: Any) -> None:
    messages = asked("use reckon on 17 + 25")
    choice = client.chat.completions.create(model="headrace", messages=messages, tools=TOOLS).choices[0]
    assert choice.finish_reason == "tool_calls"
    call = choice.message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("reckon", {"question": "17 + 25"})
    messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "42"}]
    assert client.chat.completions.create(model="headrace", messages=messages, tools=TOOLS).choices[0].message.content


def test_structured_output_comes_through(client: Any) -> None:
    answer = client.chat.completions.create(model="large", messages=asked("[id s-1] 17 + 25"), response_format=SCHEMA)
    assert json.loads(answer.choices[0].message.content.removesuffix(" [id s-1]"))["answer"]


def test_only_models_that_say_they_can_are_asked_for_tools(provider: FakeProvider, decider: hr.Decider) -> None:
    with serving(provider.url, decider, runner={"supports": {"large": {"tools"}}}) as listening:
        for tools, models in ((TOOLS, {"large"}), (None, set(MODELS))):
            body = {"messages": asked("17 + 25"), **({"tools": tools} if tools else {})}
            answer = listening.http.post("/v1/chat/completions", json=body).json()
            assert set(answer["headrace"]["runs"]) <= models


def test_log_probabilities_are_asked_for_the_fit_and_given_to_who_asks(
    provider: FakeProvider, decider: hr.Decider
) -> None:
    wanted = Settings(targets={name: {"url": provider.url, "model": name} for name in MODELS}).targets_for(decider)
    assert all(target.options == {"logprobs": True} for target in wanted.values())  # type: ignore[attr-defined]
    with serving(provider.url, decider, runner={"targets": wanted}) as listening:
        for given, shown in ((None, False), (False, False), (True, True)):
            body = {"messages": asked("17 + 25"), "logprobs": given}
            answer = listening.http.post("/v1/chat/completions", json=body).json()
            assert bool(answer["choices"][0]["logprobs"]) == shown


@pytest.mark.parametrize(
    ("terms", "error", "says"),
    [
        ({"n": 2}, openai.BadRequestError, "only one answer"),
        ({"extra_body": {"best_of": 3}}, openai.BadRequestError, "unknown field 'best_of'"),
        ({"extra_body": {"headrace": {"prices": {"large": 0.0}}}}, openai.BadRequestError, "unknown field 'prices'"),
        ({"extra_body": {"headrace": {"switching_cost": {}}}}, openai.BadRequestError, "switching_cost"),
        ({"extra_body": {"headrace": {"columns": {"colour": 1}}}}, openai.BadRequestError, "colour"),
        ({"extra_body": {"headrace": {"max_cost": 0.0}}}, openai.BadRequestError, "max_cost"),
        ({"model": "huge"}, openai.NotFoundError, "known: .headrace., .small., .medium., .large."),
        ({"messages": []}, openai.BadRequestError, "a list of messages"),
    ],
)
def test_what_is_refused(client: Any, terms: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        client.chat.completions.create(**{"model": "headrace", "messages": asked("17 + 25"), **terms})


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        ("500", openai.InternalServerError, 502),
        ("401", openai.InternalServerError, 502),
        ("cut", openai.InternalServerError, 502),
        ("429 after=0.001", openai.RateLimitError, 429),
        ("400", openai.BadRequestError, 400),
        ("context", openai.BadRequestError, 400),
    ],
)
def test_what_a_client_sees_when_all_models_fail(
    provider: FakeProvider, decider: hr.Decider, fault: str, error: Any, status: int
) -> None:
    with (
        serving(provider.url, decider) as listening,
        openai.OpenAI(base_url=f"{listening.url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(error) as caught,
    ):
        client.chat.completions.create(model="headrace", messages=asked(f"17 + 25 [fault all={fault}]"))
    assert caught.value.status_code == status
    told = caught.value.response.json()
    assert told["error"]["code"] == ("context_length_exceeded" if fault == "context" else "headrace_exhausted")
    assert {one["model"] for one in told["headrace"]["attempts"]} == set(MODELS)


@pytest.mark.parametrize("given", ["by the client", "by the server"])
def test_a_deadline_that_passes_without_an_answer_is_504(
    provider: FakeProvider, decider: hr.Decider, given: str
) -> None:
    by_client = given == "by the client"
    body = {"headrace": {"deadline_s": 0.2}} if by_client else {}
    with (
        serving(provider.url, decider, deadline_s=None if by_client else 0.2) as listening,
        openai.OpenAI(base_url=f"{listening.url}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.chat.completions.create(model="headrace", messages=asked("17 + 25 [fault all=hang]"), extra_body=body)
    assert caught.value.status_code == 504
    assert provider.is_idle()


def test_a_model_that_fails_is_followed_by_another(client: Any, decider: hr.Decider) -> None:
    text = "17 + 25 [fault small=500]"
    terms = small_first(decider, "f", text)
    answer = client.chat.completions.create(model="headrace", messages=asked(text), extra_body=terms)
    receipt = answer.model_dump()["headrace"]
    assert [one["kind"] for one in receipt["attempts"]][:2] == ["server", "server"]
    assert answer.model != "small"


def test_what_a_provider_answers_can_break_no_response(provider: FakeProvider, decider: hr.Decider) -> None:
    with serving(provider.url, decider) as listening:
        for fault in ("nan", "no_usage"):
            for stream in (False, True):
                body = {"messages": asked(f"17 + 25 [fault all={fault}]"), "logprobs": True, "stream": stream}
                answer = listening.http.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200
                assert "NaN" not in answer.text


def test_a_half_of_a_character_in_an_answer_comes_through(decider: hr.Decider) -> None:
    answering = dict.fromkeys(MODELS, lambda query: {"answer": "half \ud83d", "cost": 1.0})
    with serving("", decider, runner={"targets": answering}) as listening:
        for stream in (False, True):
            answer = listening.http.post("/v1/chat/completions", json={"messages": asked("17 + 25"), "stream": stream})
            assert answer.status_code == 200
            assert "half \\ud83d" in answer.text
