"""What an observer is told: each call once, and the end once, whatever happens; and the runner without ``await``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from functools import wraps
from typing import Any, cast

import pools
import pytest

import headrace as hr
from headrace.runner import Attempt, Exhausted, Fault, Reply, Request, Result
from headrace.runner.breaker import Breakers
from headrace.runner.walk import Walk


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test in a loop of its own."""

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.calls: list[tuple[str, str]] = []
        self.tokens = 0
        self.results: list[Result] = []

    def begin(self, id: str) -> Recorder:
        self.ids.append(id)
        return self

    def called(self, attempt: Attempt, usage: Mapping[str, int]) -> None:
        self.calls.append((attempt.model, attempt.kind))
        self.tokens += usage.get("completion_tokens", 0)

    def ended(self, result: Result) -> None:
        assert [(a.model, a.kind) for a in result.attempts] == self.calls
        self.results.append(result)


class Streams:
    """Streams two pieces; with ``breaks``, fails between them; with ``hangs``, waits there."""

    def __init__(self, how: str = "") -> None:
        self.how = how

    async def call(self, request: Request) -> Reply:
        return Reply(answer="of it", cost=1.0, usage={"completion_tokens": 2})

    async def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Any] | Reply, None]:
        yield {"content": "of "}
        if self.how == "breaks":
            raise Fault("connection")
        if self.how == "hangs":
            await asyncio.sleep(60)
        yield {"content": "it"}
        yield await self.call(request)


def runner_of(target: Any, recorder: Any, **options: Any) -> hr.Runner:
    return hr.Runner(pools.fitted(), dict.fromkeys(pools.MODELS, target), observer=recorder, **options)


def test_each_call_and_the_end_are_told_once() -> None:
    recorder = Recorder()
    with runner_of(Streams(), recorder) as runner:
        result = runner.run(pools.query(3), id="q-3")
    assert recorder.ids == ["q-3"]
    assert recorder.calls == [(model, "ok") for model in result.run]
    assert recorder.tokens == 2 * len(result.run)
    assert recorder.results[0].model == result.model


def test_queries_without_an_answer_end_too() -> None:
    def fails(_: Any) -> Any:
        raise Fault("bad_request")

    recorder = Recorder()
    with runner_of(fails, recorder) as runner, pytest.raises(Exhausted):
        runner.run(pools.query(3))
    assert [kind for _, kind in recorder.calls] == ["bad_request"] * 3
    assert [result.model for result in recorder.results] == [None]


@in_loop
async def test_a_stream_that_breaks_off_is_a_call_that_failed() -> None:
    recorder = Recorder()
    async with runner_of(Streams("breaks"), recorder) as runner:
        with pytest.raises(Fault):
            _ = [piece async for piece in runner.stream(pools.query(3), allowed=["large"])]
    assert recorder.calls == [("large", "connection")]
    assert recorder.results[0].costs == {"cost": 0.0}


@in_loop
async def test_calls_that_are_cut_off_are_cancelled() -> None:
    recorder = Recorder()
    runner = runner_of(Streams("hangs"), recorder)
    async with runner, aclosing(runner.stream(pools.query(3), allowed=["large"])) as pieces:
        assert await anext(pieces) == {"content": "of "}
    assert recorder.calls == [("large", "cancelled")]
    assert recorder.results[0].stopped == "cancelled"


@in_loop
async def test_a_call_begun_ahead_is_cancelled_with_its_query() -> None:
    async def hangs(_: Any) -> None:
        live.append(None)
        try:
            await asyncio.sleep(60)
        finally:
            live.pop()

    live: list[None] = []
    recorder = Recorder()
    async with runner_of(hangs, recorder, speculative=True) as runner:
        for name in pools.MODELS:
            runner._caller.took(name, 30.0)
        task = asyncio.create_task(runner.arun(pools.query(3, 0.9), deadline_s=30.0))
        while len(live) < 2:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not live
    assert len(recorder.calls) == 2
    assert {kind for _, kind in recorder.calls} == {"cancelled"}


def test_a_call_that_the_account_does_not_cover_has_not_begun() -> None:
    class Empty:
        left = 0.0

        def reserve(self, *_: Any) -> bool:
            return False

        def close(self, begun: str | None) -> None:
            pass

    walk = Walk(pools.fitted().start(pools.query(3)), Breakers(None), policy="", purse=cast(Any, Empty()))
    walk.calls("large")
    assert not walk.reserves("large")
    walk.end()
    assert not walk.attempts


def test_an_observer_that_fails_ends_no_query(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def begin(self, id: str) -> Any:
            return self

        def called(self, *_: Any) -> None:
            raise RuntimeError

        ended = called

    with runner_of(Streams(), Broken()) as runner:
        assert runner.run(pools.query(3)).answer == "of it"
    assert "observer failed" in caplog.text


@pytest.mark.parametrize("mode", ["decide-first", "buffer"])
def test_streams_are_read_without_await(mode: str) -> None:
    with runner_of(Streams(), None) as runner:
        *pieces, result = runner.iterate(pools.query(3), mode=mode)
    assert "".join(piece["content"] for piece in pieces) == "of it"
    assert isinstance(result, Result)


def test_whoever_stops_reading_ends_the_call() -> None:
    recorder = Recorder()
    with runner_of(Streams("hangs"), recorder) as runner:
        for piece in runner.iterate(pools.query(3)):
            assert piece == {"content": "of "}
            break
        assert [kind for _, kind in recorder.calls] == ["cancelled"]
