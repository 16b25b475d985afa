"""The runner against functions: what is called, what is booked, and that every query ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pools
import pytest
from pools import COSTS, MODELS, query, reply

import headrace as hr
from headrace.errors import CapTooSmall, MissingColumn, NoModelLeft
from headrace.runner import Breaker, Exhausted, Fault, Reply, Request, Retry, Runner

QUICK = Retry(attempts=2, base_s=0.001, cap_s=0.05)


@pytest.fixture(scope="module")
def decider() -> hr.Decider:
    return pools.fitted()


class Pool:
    """Three async targets that do what is told, and count."""

    def __init__(self, **told: Any) -> None:
        self.told = told
        self.calls: list[str] = []
        self.live = 0
        self.ended = 0

    def targets(self) -> dict[str, Any]:
        return {name: self._target(name) for name in MODELS}

    def _target(self, name: str) -> Any:
        pool = self

        class One:
            async def call(self, request: Request) -> Reply:
                pool.calls.append(name)
                pool.live += 1
                try:
                    done = pool.told.get(name, {})
                    done = done(request) if callable(done) else done
                    if isinstance(done, Mapping):
                        await asyncio.sleep(done.get("after", 0.0))
                        done = done.get("then", {"sure": True})
                    if isinstance(done, BaseException):
                        raise done
                    if isinstance(done, Mapping):
                        given = reply(name, **done)
                        return Reply(answer=given.pop("answer"), cost=given.pop("cost"), columns=given)
                    return done
                finally:
                    pool.live -= 1
                    pool.ended += 1

        return One()


def run(
    decider: hr.Decider, pool: Pool, row: int = 0, *, settings: Mapping[str, Any] | None = None, **terms: Any
) -> Any:
    async def main() -> Any:
        async with Runner(decider, pool.targets(), retry=QUICK, **(settings or {})) as runner:
            return await runner.arun(query(row), **{"id": f"q-{row}", **terms})

    return asyncio.run(main())


def unsure(model: str) -> dict[str, Any]:
    return {model: {"then": {"sure": False}}}


# The way of a query


def test_it_calls_what_a_session_says(decider: hr.Decider) -> None:
    for row in range(40):
        told = {name: {"then": {"sure": (row + j) % 2 == 0}} for j, name in enumerate(MODELS)}
        result = run(decider, Pool(**told), row)
        session = decider.start(query(row), id=f"q-{row}")
        while (model := session.next()) is not None:
            response = reply(model, **told[model]["then"])
            cost = response.pop("cost")
            session.observe(model, response, cost=cost)
        assert (result.run, result.model, result.costs) == (session.run, session.model, session.costs)
        assert (result.answer, result.stopped, result.id) == (f"of {result.model}", "plan", f"q-{row}")


def test_plain_functions_get_the_query_as_it_was_given(decider: hr.Decider) -> None:
    seen: list[Any] = []

    def called(name: str) -> Callable[[Any], Any]:
        return lambda given: seen.append(given) or reply(name)

    with Runner(decider, {name: called(name) for name in MODELS}) as runner:
        result = runner.run(query(3))
        runner.run("Question 3?", columns={"difficulty": 0.2})
    assert seen[0] == query(3)
    assert seen[-1] == "Question 3?"
    assert result.answer == f"of {result.model}"


def test_a_conversation_is_the_text_of_its_last_message(decider: hr.Decider) -> None:
    seen: list[Request] = []
    pool = Pool(**{name: lambda request: seen.append(request) or {} for name in MODELS})
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Question 5?"}]

    async def main() -> Any:
        async with Runner(decider, pool.targets()) as runner:
            options = {"temperature": 0.0}
            return await runner.arun(
                messages, columns={"difficulty": query(5)["difficulty"]}, options=options, id="q-5"
            )

    result = asyncio.run(main())
    assert result.run == run(decider, Pool(), 5).run
    assert list(seen[0].messages) == messages
    assert (seen[0].options, seen[0].id, seen[0].model) == ({"temperature": 0.0}, "q-5", result.attempts[0].model)


def test_eight_threads_get_what_one_gets(decider: hr.Decider) -> None:
    def told(name: str) -> Callable[[Any], Any]:
        return lambda given: reply(name, sure=given["difficulty"] < 0.4)

    rows = range(48)
    with Runner(decider, {name: told(name) for name in MODELS}) as runner:
        serial = [runner.run(query(row), id=f"q-{row}") for row in rows]
        found: dict[int, Any] = {}

        def some(start: int) -> None:
            for row in rows[start::8]:
                found[row] = runner.run(query(row), id=f"q-{row}")

        threads = [threading.Thread(target=some, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for row in rows:
        assert (found[row].run, found[row].model, found[row].costs) == (
            serial[row].run,
            serial[row].model,
            serial[row].costs,
        )


# Faults


def test_a_model_that_fails_is_followed_by_another_and_its_cost_is_booked(decider: hr.Decider) -> None:
    first = run(decider, Pool()).attempts[0].model
    pool = Pool(**{first: Fault("context", cost=0.5)})
    result = run(decider, pool)
    assert result.attempts[0].kind == "context"
    assert result.attempts[0].cost == {"cost": 0.5}
    assert pool.calls.count(first) == 1
    assert result.model != first
    assert result.costs["cost"] == pytest.approx(0.5 + sum(COSTS[name] for name in result.run))
    assert result.session.failed == {first: "context"}


def test_what_may_pass_is_tried_again_and_both_calls_are_booked(decider: hr.Decider) -> None:
    first = run(decider, Pool()).attempts[0].model
    faults = [Fault("server", cost=0.25)]
    result = run(decider, Pool(**{first: lambda _: faults.pop() if faults else {}}))
    assert [(a.model, a.kind) for a in result.attempts[:2]] == [(first, "server"), (first, "ok")]
    assert result.costs["cost"] == pytest.approx(0.25 + sum(COSTS[name] for name in result.run))


def test_a_short_retry_after_is_waited_for_and_a_long_one_is_not(decider: hr.Decider) -> None:
    first = run(decider, Pool()).attempts[0].model
    faults = [Fault("rate_limited", retry_after_s=0.03)]
    begun = time.monotonic()
    result = run(decider, Pool(**{first: lambda _: faults.pop() if faults else {}}))
    assert time.monotonic() - begun >= 0.03
    assert result.attempts[1].model == first
    pool = Pool(**{first: Fault("rate_limited", retry_after_s=3600.0)})
    assert run(decider, pool).model != first
    assert pool.calls.count(first) == 1


def test_no_answer_at_all_is_a_typed_error_with_all_that_was_tried(decider: hr.Decider) -> None:
    pool = Pool(**{name: Fault("server") for name in MODELS})
    with pytest.raises(Exhausted, match=r"q-0.*exhausted.*server") as raised:
        run(decider, pool)
    assert isinstance(raised.value, NoModelLeft)
    assert raised.value.result.answer is None
    assert len(raised.value.result.attempts) == len(pool.calls) == 6
    assert isinstance(raised.value.__cause__, Fault)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (KeyError("text"), "error"),
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "connection"),
        (StopIteration(), "error"),
        (SystemExit(3), "error"),
    ],
)
def test_exceptions_of_functions_are_faults(decider: hr.Decider, raised: BaseException, kind: str) -> None:
    first = run(decider, Pool()).attempts[0].model

    def called(name: str) -> Any:
        if name == first:
            raise raised
        return reply(name)

    with Runner(
        decider, {name: lambda _, name=name: called(name) for name in MODELS}, retry=Retry(attempts=1)
    ) as runner:
        result = runner.run(query(0), id="q-0")
    assert result.attempts[0].kind == kind
    assert result.answer == f"of {result.model}"


@pytest.mark.parametrize("returned", [None, {"answer": "x", "cost": -1.0}, {"logprob": "high", "answer": "x"}, {}])
def test_what_a_function_returns_amiss_ends_no_query(decider: hr.Decider, returned: Any) -> None:
    with Runner(decider, {name: lambda _: returned for name in MODELS}, retry=Retry(attempts=1)) as runner:
        if returned is None:
            with pytest.raises(Exhausted, match="malformed"):
                runner.run(query(0), id="q-0")
            return
        result = runner.run(query(0), id="q-0")
    assert result.answer == returned.get("answer")
    assert result.cost > 0.0


# Time


def test_a_call_that_hangs_times_out_and_nothing_is_left_running(decider: hr.Decider) -> None:
    first = run(decider, Pool()).attempts[0].model
    pool = Pool(**{first: {"after": 60.0}})
    result = run(decider, pool, settings={"timeout_s": {first: 0.05}})
    assert (result.attempts[0].model, result.attempts[0].kind) == (first, "timeout")
    assert result.model != first
    assert pool.live == 0


def test_the_best_answer_so_far_is_given_at_the_deadline(decider: hr.Decider) -> None:
    row = next(r for r in range(60) if len(run(decider, Pool(**unsure("small")), r).run) > 1)
    second = run(decider, Pool(**unsure("small")), row).run[1]
    pool = Pool(**unsure("small"), **{second: {"after": 60.0}})
    result = run(decider, pool, row, deadline_s=1.0)
    assert (result.stopped, result.run, result.model) == ("deadline", ("small",), "small")
    assert result.attempts[-1].kind == "deadline"
    assert result.seconds < 30.0
    assert pool.live == 0


def test_a_deadline_without_any_answer_is_a_typed_error(decider: hr.Decider) -> None:
    with pytest.raises(Exhausted, match="deadline"):
        run(decider, Pool(**{name: {"after": 60.0} for name in MODELS}), deadline_s=0.05)


def test_cancelling_ends_the_call_under_way(decider: hr.Decider) -> None:
    pool = Pool(**{name: {"after": 60.0} for name in MODELS})

    async def main() -> None:
        async with Runner(decider, pool.targets()) as runner:
            task = asyncio.create_task(runner.arun(query(0)))
            while not pool.live:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert pool.live == 0

    asyncio.run(main())


def test_no_more_calls_at_once_than_slots(decider: hr.Decider) -> None:
    most = 0
    pool = Pool()

    def watched(_: Request) -> Mapping[str, Any]:
        nonlocal most
        most = max(most, pool.live)
        return {"after": 0.002}

    pool.told = dict.fromkeys(MODELS, watched)

    async def main() -> None:
        async with Runner(decider, pool.targets(), concurrency=2) as runner:
            await asyncio.gather(*(runner.arun(query(row), id=f"q-{row}", allowed=["small"]) for row in range(20)))

    asyncio.run(main())
    assert most == 2


#: What the runner is told that calls usually take: two of them don't fit into it.
USUAL_S = 30.0


def after_another(
    decider: hr.Decider, row: int, *, sure: bool, takes_s: float = 0.0, speculative: bool, deadline_s: float
) -> Any:
    """Ask where the small model answers once another one has begun, which then takes some seconds."""

    async def main() -> Any:
        begun, live = asyncio.Event(), []

        async def small(_: Any) -> Any:
            await begun.wait()
            return reply("small", sure=sure)

        def other(name: str) -> Any:
            async def called(_: Any) -> Any:
                begun.set()
                live.append(name)
                try:
                    await asyncio.sleep(takes_s)
                finally:
                    live.remove(name)
                return reply(name, sure=True)

            return called

        targets = {"small": small, "medium": other("medium"), "large": other("large")}
        async with Runner(decider, targets, speculative=speculative) as runner:
            for name in MODELS:
                runner._caller.took(name, USUAL_S)
            result = await runner.arun(query(row), id=f"q-{row}", deadline_s=deadline_s)
        assert not live
        return result

    return asyncio.run(main())


def test_a_tight_deadline_begins_the_next_model_ahead(decider: hr.Decider) -> None:
    row = next(r for r in range(60) if len(run(decider, Pool(**unsure("small")), r).run) > 1)
    planned = run(decider, Pool(**unsure("small")), row).run

    def main(*, speculative: bool, deadline_s: float) -> Any:
        return after_another(decider, row, sure=False, speculative=speculative, deadline_s=deadline_s)

    # The first answers once another has begun: without a call ahead, never.
    assert main(speculative=True, deadline_s=USUAL_S).run == planned[:2]
    with pytest.raises(Exhausted, match="deadline"):
        main(speculative=False, deadline_s=0.2)


def test_a_call_ahead_that_is_not_wanted_is_ended_and_counts_with_its_estimate(decider: hr.Decider) -> None:
    row = next(r for r in range(60) if len(run(decider, Pool(**unsure("small")), r).attempts[0].plan) > 1)
    result = after_another(decider, row, sure=True, takes_s=60.0, speculative=True, deadline_s=USUAL_S)
    first, ahead = result.attempts
    assert (first.kind, ahead.kind) == ("ok", "cancelled")
    assert ahead.cost["cost"] == pytest.approx(COSTS[ahead.model], rel=0.3)
    assert result.costs["cost"] == pytest.approx(first.cost["cost"] + ahead.cost["cost"])


# Breakers


def test_an_open_breaker_leaves_a_model_alone_but_never_takes_the_last_one_away(decider: hr.Decider) -> None:
    pool = Pool(**{name: Fault("server") for name in MODELS})

    async def main() -> None:
        breaker = Breaker(min_calls=2, cooldown_s=60.0)
        async with Runner(decider, pool.targets(), retry=Retry(attempts=1), breaker=breaker) as runner:
            for row in range(2):
                with pytest.raises(Exhausted):
                    await runner.arun(query(row), id=f"q-{row}")
            n_calls = len(pool.calls)
            with pytest.raises(Exhausted):
                await runner.arun(query(2), id="q-2")
            assert len(pool.calls) == n_calls + 3
            pool.told = {"small": {}, "medium": {}, "large": {}}
            results = [await runner.arun(query(row), id=f"q-{row}") for row in range(3, 20)]
            assert all(result.answer is not None for result in results)

    asyncio.run(main())


def test_a_breaker_spares_the_other_models_and_their_users_the_wait(decider: hr.Decider) -> None:
    first = run(decider, Pool()).attempts[0].model
    pool = Pool(**{first: Fault("server")})

    async def main() -> None:
        breaker = Breaker(min_calls=4, cooldown_s=60.0)
        async with Runner(decider, pool.targets(), retry=Retry(attempts=1), breaker=breaker) as runner:
            results = [await runner.arun(query(row), id=f"q-{row}") for row in range(40)]
        assert all(result.answer is not None for result in results)
        assert pool.calls.count(first) == 4
        skipped = [a for result in results for a in result.attempts if a.kind == "breaker"]
        assert skipped
        assert all(a.cost == {"cost": 0.0} for a in skipped)

    asyncio.run(main())


# Swapping, terms, errors


def test_swapping_leaves_walks_under_way_with_their_decider(decider: hr.Decider) -> None:
    other = decider.with_budget(9.0)
    pool = Pool(**{name: {"after": 0.05} for name in MODELS})

    async def main() -> None:
        async with Runner(decider, pool.targets()) as runner:
            task = asyncio.create_task(runner.arun(query(0), id="q-0"))
            while not pool.live:
                await asyncio.sleep(0.001)
            runner.swap(other)
            after = await runner.arun(query(1), id="q-1")
            assert ((await task).policy, after.policy) == (decider.fingerprint, other.fingerprint)
            with pytest.raises(ValueError, match="decider: expected one over 'small', 'medium', 'large'"):
                runner.swap(hr.Router(quality="linear").fit(pools.table().select(MODELS[:2]), budget=2.0).decider_)

    asyncio.run(main())
    assert decider.fingerprint != other.fingerprint


def test_terms_reach_the_session(decider: hr.Decider) -> None:
    supports = {"large": {"vision", "tools"}, "medium": {"tools"}}
    settings = {"supports": supports}
    assert run(decider, Pool(), settings=settings, requires={"vision"}).run == ("large",)
    assert run(decider, Pool(), allowed=["medium"]).run == ("medium",)
    assert "small" not in run(decider, Pool(), deny=["small"]).run
    with pytest.raises(CapTooSmall):
        run(decider, Pool(), max_cost=0.01)
    with pytest.raises(NoModelLeft):
        run(decider, Pool(), settings=settings, requires={"wings"})
    with pytest.raises(TypeError, match="requires: expected a sequence of names, got the text 'vision'"):
        run(decider, Pool(), settings=settings, requires="vision")
    with pytest.raises(TypeError, match="supports: expected a sequence of names"):
        run(decider, Pool(), settings={"supports": {"large": "vision"}})
    with pytest.raises(TypeError, match="options: expected a mapping of names to values, got str"):
        run(decider, Pool(), options="cold")
    with pytest.raises(TypeError, match="unknown argument 'alowed'"):
        run(decider, Pool(), alowed=["small"])
    with pytest.raises(ValueError, match="deadline_s: expected seconds"):
        run(decider, Pool(), deadline_s=0.0)
    with pytest.raises(MissingColumn), Runner(decider, Pool().targets()) as runner:
        runner.run("Question?")


def test_settings_are_checked(decider: hr.Decider) -> None:
    targets = Pool().targets()
    with pytest.raises(ValueError, match="targets: expected one for each model, lacks 'large'"):
        Runner(decider, {name: targets[name] for name in MODELS[:2]})
    with pytest.raises(ValueError, match="targets: unknown model 'huge'"):
        Runner(decider, {**targets, "huge": targets["large"]})
    with pytest.raises(TypeError, match=r"targets: expected a function.*'large'; got str"):
        Runner(decider, {**targets, "large": "gpt"})
    with pytest.raises(ValueError, match="timeout_s: expected seconds"):
        Runner(decider, targets, timeout_s=0.0)
    with pytest.raises(ValueError, match="concurrency"):
        Runner(decider, targets, concurrency=0)
    with pytest.raises(ValueError, match="share"):
        Breaker(share=0.0)
    with pytest.raises(ValueError, match="attempts"):
        Retry(attempts=0)
    left_out = Runner(decider, {**targets, "small": None})
    assert "small" not in asyncio.run(left_out.arun(query(0))).run


def test_within_its_own_loop_run_is_refused(decider: hr.Decider) -> None:
    runner: Runner

    async def inside(_: Any) -> Any:
        with pytest.raises(RuntimeError, match="arun"):
            runner.run(query(1))
        return reply("small")

    runner = Runner(decider, dict.fromkeys(MODELS, inside))
    with runner:
        assert runner.run(query(0)).answer == "of small"


# Streams


async def pieces_of(runner: Runner, **terms: Any) -> list[Any]:
    return [piece async for piece in runner.stream(query(0), id="q-0", **terms)]


class Streaming:
    """Streams two pieces, then the reply; fails before piece number `fails`."""

    def __init__(self, name: str, fails: int | None = None) -> None:
        self.name, self.fails = name, fails
        self.n_open = 0

    async def call(self, request: Request) -> Reply:
        raise AssertionError("it was to stream")

    async def stream(self, request: Request) -> Any:
        self.n_open += 1
        try:
            for number, text in enumerate(("of ", self.name)):
                if number == self.fails:
                    raise Fault("server")
                yield {"content": text}
            yield Reply(answer=f"of {self.name}", cost=COSTS[self.name], columns={"logprob": -0.1})
        finally:
            self.n_open -= 1


def test_decide_first_streams_one_model(decider: hr.Decider) -> None:
    async def main() -> None:
        async with Runner(decider, {name: Streaming(name) for name in MODELS}) as runner:
            *texts, result = await pieces_of(runner)
        assert "".join(piece["content"] for piece in texts) == result.answer == f"of {result.model}"
        assert result.run == (result.model,)
        assert result.cost == COSTS[result.model]

    asyncio.run(main())


def test_a_stream_that_fails_before_its_first_piece_is_followed_by_another_model(decider: hr.Decider) -> None:
    async def main() -> None:
        async with Runner(decider, {name: Streaming(name) for name in MODELS}) as runner:
            first = (await pieces_of(runner))[-1].model
        async with Runner(decider, {n: Streaming(n, 0 if n == first else None) for n in MODELS}) as runner:
            *texts, result = await pieces_of(runner)
        assert result.model != first
        assert "".join(piece["content"] for piece in texts) == result.answer
        async with Runner(decider, {n: Streaming(n, 1) for n in MODELS}) as runner:
            with pytest.raises(Fault, match="the provider failed"):
                await pieces_of(runner)
        async with Runner(decider, {n: Streaming(n, 0) for n in MODELS}) as runner:
            with pytest.raises(Exhausted):
                await pieces_of(runner)

    asyncio.run(main())


def test_leaving_a_stream_closes_it(decider: hr.Decider) -> None:
    async def main() -> None:
        targets = {name: Streaming(name) for name in MODELS}
        async with Runner(decider, targets) as runner:
            stream = runner.stream(query(0), id="q-0")
            await anext(stream)
            assert sum(target.n_open for target in targets.values()) == 1
            await stream.aclose()
            assert sum(target.n_open for target in targets.values()) == 0

    asyncio.run(main())


def test_buffer_runs_the_cascade_and_then_gives_its_answer(decider: hr.Decider) -> None:
    async def main() -> None:
        async with Runner(decider, Pool(**unsure("small")).targets()) as runner:
            piece, result = await pieces_of(runner, mode="buffer")
            assert piece == {"role": "assistant", "content": result.answer}
            assert result.run == (await runner.arun(query(0), id="q-0")).run
            with pytest.raises(ValueError, match="mode"):
                await pieces_of(runner, mode="both")

    asyncio.run(main())


# What is told


def test_results_are_readable_and_keep_the_answer_to_themselves(decider: hr.Decider) -> None:
    told = {name: Reply(answer="PLANTED", cost=1.0) for name in MODELS[1:]}
    result = run(decider, Pool(small=Fault("server"), **told))
    assert result.answer == "PLANTED"
    assert "PLANTED" not in repr(result) + result._repr_html_()
    assert "small (server) > small (server)" in repr(result)
    assert str(result.why()).startswith("Stop")
