"""What a response becomes, whatever it holds: providers differ, and some send what isn't in the format."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.runner import Fault, Reply
from headrace.runner.replies import Completion, error_code, parsed, reply_of_completion


def completion(message: Any, *, finish: Any = "stop", usage: Any = None, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": finish, **choice}], "usage": usage}


def reply(body: Any, **options: Any) -> Reply:
    return reply_of_completion(body, seconds=0.1, **options)


def test_cached_tokens_have_their_own_price() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 600}}
    body = completion({"content": "x"}, usage=usage)
    assert reply(body, prices={"input": 2.0, "output": 10.0}).cost == pytest.approx(3000e-6)
    assert reply(body, prices={"input": 2.0, "output": 10.0, "cached": 0.5}).cost == pytest.approx(2100e-6)
    assert reply(body, prices={"input": 2.0, "output": 10.0}, cost=0.5).cost == 0.5
    assert reply(body).cost is None


@pytest.mark.parametrize(
    "usage",
    [None, [], "many", {}, {"prompt_tokens": 3}]
    + [{"prompt_tokens": count, "completion_tokens": 5} for count in (None, -1, 2.5, "3", True, math.nan, 10**400)],
)
def test_usage_that_is_none_costs_nothing_known(usage: Any) -> None:
    assert reply(completion({"content": "x"}, usage=usage), prices={"input": 1.0, "output": 1.0}).cost is None


def test_numbers_that_are_none_are_left_out_of_log_probabilities() -> None:
    values = [-0.5, math.nan, -math.inf, None, "-1", True, -1.5, 10**400]
    tokens = [{"token": "x", "logprob": value} for value in values]
    columns = reply(completion({"content": "x"}, logprobs={"content": [*tokens, {}, "x"]})).columns
    assert (columns["logprobs"], columns["logprob"]) == ([-0.5, -1.5], -1.0)
    for nothing in (None, {}, {"content": None}, {"content": [{"logprob": math.nan}]}):
        assert set(reply(completion({"content": "x"}, logprobs=nothing)).columns) == {"seconds", "finish"}


def test_text_comes_in_parts_and_refusals_in_their_own_field() -> None:
    parts = [{"type": "text", "text": "4"}, {"type": "thinking"}, {"type": "text", "text": "2"}]
    assert reply(completion({"content": parts})).answer == "42"
    assert reply(completion({"content": None, "refusal": "I can't."})).answer == "I can't."


def test_the_same_calls_are_the_same_answer() -> None:
    def called(call_id: str, arguments: Any) -> Any:
        function = {"name": "reckon", "arguments": arguments}
        return reply(completion({"content": None, "tool_calls": [{"id": call_id, "function": function}]})).answer

    assert called("a", '{"x": 1, "y": 2}') == called("b", '{"y":2,"x":1}') == called("c", {"x": 1, "y": 2})
    assert called("a", '{"x": 1') == '[{"arguments": "{\\"x\\": 1", "name": "reckon"}]'


def test_errors_under_a_good_status_keep_their_kind() -> None:
    for body, kind in [
        ({"error": {"code": 429, "message": "slow down"}}, "rate_limited"),
        ({"error": {"code": "server_error", "message": "oh"}}, "server"),
        ({"error": {"code": 400, "type": "context_length_exceeded"}}, "context"),
        ({"error": {"code": 200}}, "server"),
        ({"error": "oh"}, "malformed"),
    ]:
        for make in (reply, Completion().add):
            with pytest.raises(Fault) as caught:
                make(body)
            assert caught.value.kind == kind


def test_codes_of_errors_are_found_where_servers_put_them() -> None:
    words = "This model's maximum context length is 4096 tokens."
    assert error_code({"object": "error", "message": words, "code": 400}) == "context_length_exceeded"
    assert error_code({"error": {"code": 400, "type": "exceed_context_size_error"}}) == "exceed_context_size_error"
    for body in (None, [], "no", {}, {"error": None}, {"error": {"code": None}}):
        assert error_code(body) is None


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"1" * 10_000])
def test_what_is_no_json_is_malformed(data: bytes) -> None:
    with pytest.raises(Fault, match="not JSON") as caught:
        parsed(data)
    assert caught.value.__context__ is None


WORDS = ["choices", "message", "delta", "content", "usage", "error", "code", "logprobs", "logprob", "finish_reason"]
WORDS += ["tool_calls", "index", "function", "arguments", "name", "prompt_tokens", "completion_tokens"]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=15,
)


@given(JSON | JSON.map(lambda choice: {"choices": [choice]}))
@settings(max_examples=50, deadline=None)
def test_nothing_that_a_provider_sends_ends_in_another_error(body: Any) -> None:
    whole = Completion()
    with suppress(Fault):
        reply(body, prices={"input": 1.0, "output": 1.0})
    with suppress(Fault):
        whole.add(body)
    with suppress(Fault):
        reply(whole.body)
