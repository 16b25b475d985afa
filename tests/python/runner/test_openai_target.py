"""The target for OpenAI's format: what a response becomes, faults by kind, no secret told, nothing left running."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import aclosing, closing
from typing import Any

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from fake_provider import FAULTS, STATUSES, FakeProvider, is_right

from headrace.runner import KINDS, Fault, OpenAITarget, Reply, Request, StreamingTarget, Target

PRICES = {"input": 1.0, "output": 10.0}
TOOLS = [{"type": "function", "function": {"name": "reckon", "parameters": {"type": "object"}}}]

#: Kind of each fault of the provider; None where there is a reply all the same.
KIND_OF = {
    "400": "bad_request",
    "401": "auth",
    "429": "rate_limited",
    "500": "server",
    "503": "overloaded",
    "529": "overloaded",
    "context": "context",
    "filter_400": "filtered",
    "hang": "timeout",
    "slow": None,
    "cut": "connection",
    "bad_json": "malformed",
    "no_choices": "malformed",
    "empty": "malformed",
    "big": "malformed",
    "no_usage": None,
    "nan": None,
    "filter": "filtered",
}


def request(text: str = "17 + 25", *, timeout_s: float = 20.0, **options: Any) -> Request:
    return Request(id="q-17", model="small", query=text, options=options, timeout_s=timeout_s)


def called(target: OpenAITarget, asked: Request) -> Reply:
    async def run() -> Reply:
        try:
            return await target.call(asked)
        finally:
            await target.aclose()

    return asyncio.run(run())


def streamed(target: OpenAITarget, asked: Request) -> tuple[list[Mapping[str, Any]], Reply]:
    async def run() -> list[Any]:
        try:
            async with aclosing(target.stream(asked)) as parts:
                return [part async for part in parts]
        finally:
            await target.aclose()

    *deltas, reply = asyncio.run(run())
    assert not any(isinstance(delta, Reply) for delta in deltas)
    return deltas, reply


def replied(target: OpenAITarget, asked: Request, stream: bool) -> Reply:
    return streamed(target, asked)[1] if stream else called(target, asked)


STREAM = pytest.mark.parametrize("stream", [False, True], ids=["call", "stream"])


@STREAM
def test_a_reply_holds_what_the_provider_told(provider: FakeProvider, stream: bool) -> None:
    target = OpenAITarget(provider.url, "large", prices=PRICES, options={"logprobs": True})
    assert isinstance(target, Target)
    assert isinstance(target, StreamingTarget)
    reply = replied(target, request("[id q-17] 17 + 25"), stream)
    assert reply.answer == "42 [id q-17]"
    assert reply.message == {"role": "assistant", "content": "42 [id q-17]"}
    assert reply.usage == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, "cached_tokens": 0}
    assert reply.cost == pytest.approx(35e-6)
    assert reply.finish == "stop"
    columns = dict(reply.columns)
    assert 0.0 < columns.pop("seconds") < 5.0
    logprobs = columns.pop("logprobs")
    assert len(logprobs) == 3
    assert columns.pop("logprob") == pytest.approx(sum(logprobs) / 3)
    assert columns == {"input_tokens": 5, "output_tokens": 3, "finish": "stop"}


def test_log_probabilities_come_only_if_asked_for_and_tell_right_from_wrong(provider: FakeProvider) -> None:
    questions = [f"{i} + {i}" for i in range(20)]
    assert "logprobs" not in called(OpenAITarget(provider.url, "small"), request()).columns
    target = OpenAITarget(provider.url, "small", options={"logprobs": True})
    for question in questions[:6]:
        sure = called(target, request(question)).columns["logprob"] > -0.2
        assert sure == is_right("small", question)


def test_options_of_the_request_come_before_those_of_the_target(provider: FakeProvider) -> None:
    target = OpenAITarget(provider.url, "small", options={"logprobs": True, "stream": True})
    assert "logprobs" not in called(target, request(logprobs=False, model="large", messages=[])).columns


def test_messages_are_sent_as_they_are(provider: FakeProvider) -> None:
    messages = ({"role": "system", "content": "[id q-9]"}, {"role": "user", "content": "2 * 3"})
    target = OpenAITarget(provider.url, "large")
    asked = Request(id="q-9", model="large", query={"text": "not this"}, messages=messages)
    assert called(target, asked).answer == "6 [id q-9]"
    asked = Request(id="q-9", model="large", query={"text": "[id q-10] 2 * 3", "difficulty": 0.3})
    assert called(target, asked).answer == "6 [id q-10]"
    with pytest.raises(Fault, match="no messages, and no text in the query"):
        called(target, Request(id="q-9", model="large", query={"difficulty": 0.3}))


@STREAM
def test_calls_of_tools_are_the_answer_where_there_is_no_text(provider: FakeProvider, stream: bool) -> None:
    reply = replied(OpenAITarget(provider.url, "large"), request("use reckon on 17 + 25", tools=TOOLS), stream)
    assert reply.answer == '[{"arguments": {"question": "17 + 25"}, "name": "reckon"}]'
    assert reply.finish == "tool_calls"
    assert reply.message is not None
    assert reply.message["content"] is None
    assert reply.message["tool_calls"][0]["id"].startswith("call_")
    assert reply.message["tool_calls"][0]["function"]["arguments"] == '{"question": "17 + 25"}'


@STREAM
def test_json_is_checked_where_it_was_asked_for(provider: FakeProvider, stream: bool) -> None:
    target = OpenAITarget(provider.url, "large", options={"response_format": {"type": "json_object"}})
    assert replied(target, request("17 + 25"), stream).columns["valid_json"] is True
    assert replied(target, request("[id q-2] 17 + 25"), stream).columns["valid_json"] is False  # the id comes after it


def test_deltas_are_the_answer_piece_by_piece(provider: FakeProvider) -> None:
    deltas, reply = streamed(OpenAITarget(provider.url, "large"), request("[id q-17] 17 + 25"))
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta["content"] for delta in deltas) == reply.answer == "42 [id q-17]"


def test_every_fault_of_the_provider_is_in_the_table() -> None:
    assert KIND_OF.keys() == FAULTS.keys()
    assert {kind for kind in KIND_OF.values() if kind} < set(KINDS)


@STREAM
@pytest.mark.parametrize("name", KIND_OF)
def test_faults_have_their_kind(provider: FakeProvider, name: str, stream: bool) -> None:
    target = OpenAITarget(provider.url, "small", prices=PRICES, options={"logprobs": True})
    asked = request(f"[fault small={name} after=0.05] 17 + 25", timeout_s=0.3 if name == "hang" else 20.0)
    if KIND_OF[name] is None:
        reply = replied(target, asked, stream)
        assert reply.answer
        assert ("logprobs" in reply.columns) == ("logprob" in reply.columns) == (name != "nan")
        assert (reply.cost is None) == (name == "no_usage")
        return
    with pytest.raises(Fault) as caught:
        replied(target, asked, stream)
    assert caught.value.kind == KIND_OF[name]
    assert caught.value.retry_after_s == (0.05 if name in STATUSES else None)
    # What was used is paid for, also where it brought nothing.
    assert (caught.value.cost != 0.0) == (name in ("empty", "filter", "no_choices"))
    assert provider.is_idle()


def test_nothing_that_listens_is_a_fault_of_the_connection() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Fault) as caught:
        called(OpenAITarget(f"http://127.0.0.1:{port}/v1", "small"), request())
    assert caught.value.kind == "connection"


@pytest.mark.parametrize("name", ["cut", "hang", "bad_json", "big", "500", "401", "filter", "no_choices"])
@STREAM
def test_no_secret_is_told(
    provider: FakeProvider,
    name: str,
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HEADRACE_TEST_KEY", "sk-secret-1\n")
    caplog.set_level(logging.DEBUG)
    url = provider.url.replace("http://", "http://me:pass-secret-2@")
    target = OpenAITarget(url + "?tag=secret-3", "small", key_env="HEADRACE_TEST_KEY", max_bytes=100_000)
    asked = request(f"[fault small={name}] secret-4 is 17 + 25", timeout_s=0.2)
    with pytest.raises(Fault) as caught:
        replied(target, asked, stream)
    assert caught.value.__cause__ is caught.value.__context__ is None
    told = "".join(traceback.format_exception(caught.value)) + repr(target) + repr(caught.value)
    assert "secret" not in told.replace("?tag=secret-3", "").replace("test_no_secret_is_told", "")
    logged = "".join(record.getMessage() + repr(record.args) for record in caplog.records)
    assert "secret" not in logged.replace("?tag=secret-3", "").replace("b'/v1/chat/completions?tag=secret-3'", "")
    assert "secret" not in "".join(capfd.readouterr())


def test_the_key_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="the environment variable HEADRACE_TEST_KEY is not set"):
        OpenAITarget("http://localhost/v1", "small", key_env="HEADRACE_TEST_KEY")
    with FakeProvider(key="sk-right") as server:
        monkeypatch.setenv("HEADRACE_TEST_KEY", "sk-wrong")
        target = OpenAITarget(server.url, "large", key_env="HEADRACE_TEST_KEY")
        with pytest.raises(Fault, match=r"the key is refused \(status 401, invalid_api_key\)"):
            called(target, request())
        monkeypatch.setenv("HEADRACE_TEST_KEY", "sk-right\n")
        assert called(target, request()).answer == "42"
        for value, told in (("", "is not set"), ("sk-ü", "holds no key"), ("sk-1\nsk-2", "holds no key")):
            monkeypatch.setenv("HEADRACE_TEST_KEY", value)
            with pytest.raises(Fault, match=f"HEADRACE_TEST_KEY {told}") as caught:
                called(target, request())
            assert caught.value.kind == "auth"


def test_user_and_password_are_sent_where_there_is_no_key() -> None:
    with FakeProvider(key="Basic bWU6cEBzcw==") as server:
        target = OpenAITarget(server.url.replace("http://", "http://me:p%40ss@"), "large")
        assert called(target, request()).answer == "42"
        assert repr(target) == f"OpenAITarget({server.url!r}, 'large')"


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://me:secret@host/v1", "http://me:se/cret@host", "http://", ""])
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url: expected a URL such as 'https://api.openai.com/v1'$"):
        OpenAITarget(url, "small")


@pytest.mark.parametrize(
    "prices",
    [
        {},
        {"input": 1.0},
        {"input": 1.0, "output": -1.0},
        {"input": 1.0, "output": 2.0, "outptu": 3.0},
        {"input": float("nan"), "output": 1.0},
        {"input": "1", "output": 1.0},
    ],
)
def test_prices_that_are_none_are_refused(prices: Any) -> None:
    with pytest.raises(ValueError, match="prices: expected"):
        OpenAITarget("http://localhost/v1", "small", prices=prices)


def test_options_that_are_no_json_are_a_bad_request(provider: FakeProvider) -> None:
    target = OpenAITarget(provider.url, "small")
    for value in (object(), float("nan")):
        with pytest.raises(Fault) as caught:
            called(target, request(temperature=value))
        assert caught.value.kind == "bad_request"
    assert called(target, request("\ud800 17 + 25")).answer  # half a pair of surrogates


@STREAM
def test_cancelling_ends_the_call_upstream(provider: FakeProvider, stream: bool) -> None:
    target = OpenAITarget(provider.url, "small")

    async def consume() -> None:
        asked = request("[fault small=hang] 17 + 25", timeout_s=60.0)
        if not stream:
            await target.call(asked)
        async for _ in target.stream(asked):
            pass

    async def run() -> None:
        tasks = [asyncio.create_task(consume()) for _ in range(5)]
        while provider.live.total() < 5:
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        done, _ = await asyncio.wait(tasks)
        assert all(task.cancelled() for task in done)
        while provider.live.total():
            await asyncio.sleep(0.01)
        assert (await target.call(request())).answer  # the connections that were cut are no one's trouble
        await target.aclose()

    asyncio.run(asyncio.wait_for(run(), 30.0))


def test_a_stream_that_is_left_ends_upstream(provider: FakeProvider) -> None:
    target = OpenAITarget(provider.url, "small")

    async def run() -> None:
        async with aclosing(target.stream(request("[fault small=hang] 17 + 25"))) as parts:
            async for _ in parts:
                break
        while provider.live.total():
            await asyncio.sleep(0.01)
        await target.aclose()

    asyncio.run(asyncio.wait_for(run(), 10.0))


def test_connections_are_used_again(provider: FakeProvider) -> None:
    target = OpenAITarget(provider.url, "large")

    async def run() -> None:
        # Those of other tests go first: the system may give a port of theirs again.
        provider.ports.clear()
        for i in range(5):
            await target.call(request(f"{i} + 1"))
            assert [part async for part in target.stream(request(f"{i} + 1"))][-1]
        await target.aclose()
        assert len(provider.ports) == 1

    asyncio.run(run())


def test_connections_of_many_calls_at_once_are_used_again(provider: FakeProvider) -> None:
    target = OpenAITarget(provider.url, "large")

    async def run() -> list[int]:
        opened = []
        provider.ports.clear()
        for _ in range(6):
            before = len(provider.ports)
            asked = request("[fault large=slow after=0.2] 17 + 25")
            await asyncio.gather(*(target.call(asked) for _ in range(150)))
            opened.append(len(provider.ports) - before)
        await target.aclose()
        return opened

    first, *later = asyncio.run(run())
    assert first <= 150
    assert sum(later) < 50, later


def test_many_calls_at_once_are_not_mixed_up(provider: FakeProvider) -> None:
    target = OpenAITarget(provider.url, "small")

    async def run() -> list[Reply]:
        asked = [request(f"[id q-{i}] {i} + 1") for i in range(150)]
        replies = await asyncio.gather(*map(target.call, asked))
        await target.aclose()
        return replies

    for i, reply in enumerate(asyncio.run(run())):
        assert reply.answer.endswith(f" [id q-{i}]")


def test_each_event_loop_has_its_own_client_and_none_is_kept() -> None:
    with FakeProvider() as server:
        target = OpenAITarget(server.url, "large")

        async def run() -> int:
            assert (await target.call(request())).answer == "42"
            n_clients = len(target._clients)
            await target.aclose()
            await target.aclose()
            return n_clients

        assert [asyncio.run(run()) for _ in range(3)] == [1, 1, 1]
        assert not target._clients
        gc.collect()


def test_httpx_is_needed_only_for_calls() -> None:
    code = (
        "import sys, asyncio\n"
        "sys.modules['httpx'] = None\n"
        "from headrace.runner import OpenAITarget, Request\n"
        "target = OpenAITarget('http://localhost/v1', 'small')\n"
        "try:\n"
        "    asyncio.run(target.call(Request(id='q', model='small', query='hi')))\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout == "OpenAITarget needs httpx: pip install 'headrace[serve]'\n", run.stderr
