"""A runner against a real server, fault by fault: what each becomes, and what the cascade does about it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pools
import pytest
from fault_matrix import MATRIX, NAMES, small_first
from pools import MODELS

import headrace as hr
from headrace.runner import Breaker, Exhausted, OpenAITarget, Retry, Runner

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

if TYPE_CHECKING:
    from fake_provider import FakeProvider

PRICES = {"small": 0.1, "medium": 1.0, "large": 10.0}


@pytest.fixture(scope="module")
def decider() -> hr.Decider:
    return pools.fitted()


def targets(provider: FakeProvider) -> dict[str, OpenAITarget]:
    return {
        name: OpenAITarget(
            provider.url,
            name,
            prices={"input": PRICES[name], "output": PRICES[name]},
            options={"logprobs": True},
            max_bytes=1_000_000,
        )
        for name in MODELS
    }


def ask(provider: FakeProvider, decider: hr.Decider, text: str, id: str, **terms: Any) -> Any:
    async def main() -> Any:
        retry = Retry(attempts=2, base_s=0.001, cap_s=1.0)
        async with Runner(decider, targets(provider), retry=retry, timeout_s=terms.pop("timeout_s", 5.0)) as runner:
            return await runner.arun(text, id=id, columns={"difficulty": 0.1}, **terms)

    return asyncio.run(main())


@pytest.mark.parametrize(("fault", "kind", "n_calls"), MATRIX, ids=NAMES)
def test_each_fault_has_its_kind_and_another_model_answers(
    provider: FakeProvider, decider: hr.Decider, fault: str, kind: str, n_calls: int
) -> None:
    id, text = small_first(decider, f"m-{kind}", fault)
    result = ask(provider, decider, text, id, timeout_s={"small": 0.3} if fault == "hang" else 20.0)
    faulty = [attempt for attempt in result.attempts if attempt.model == "small"]
    assert [attempt.kind for attempt in faulty] == [kind] * n_calls
    assert result.model != "small"
    assert f"[id {id}]" in result.answer
    assert result.session.failed == {"small": kind}
    assert "small" not in result.why().run
    assert provider.is_idle()


@pytest.mark.parametrize("fault", ["no_usage", "nan", "slow after=0.05"])
def test_what_is_odd_but_an_answer_is_taken(provider: FakeProvider, decider: hr.Decider, fault: str) -> None:
    result = ask(provider, decider, f"17 + 25 [id o-1] [fault all={fault}]", "o-1")
    assert {attempt.kind for attempt in result.attempts} == {"ok"}
    assert result.cost > 0.0


def test_a_fault_that_passes_is_retried_and_both_calls_are_in_the_bill(
    provider: FakeProvider, decider: hr.Decider
) -> None:
    id, text = small_first(decider, "once", "500 times=1")
    result = ask(provider, decider, text, id)
    assert [attempt.kind for attempt in result.attempts[:2]] == ["server", "ok"]


def test_all_models_down_is_a_typed_error_and_says_no_word_of_the_query(
    provider: FakeProvider, decider: hr.Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Exhausted) as raised:
        ask(provider, decider, "PLANTED 17 + 25 [fault all=500]", "down-1")
    shown = "".join([str(raised.value), repr(raised.value), repr(raised.value.__cause__), repr(raised.value.result)])
    assert "PLANTED" not in shown
    assert {attempt.kind for attempt in raised.value.result.attempts} == {"server"}


def test_a_cancelled_query_leaves_nothing_running_upstream(provider: FakeProvider, decider: hr.Decider) -> None:
    async def main() -> None:
        async with Runner(decider, targets(provider)) as runner:
            text = "17 + 25 [fault all=hang]"
            task = asyncio.create_task(runner.arun(text, id="gone-1", columns={"difficulty": 0.1}))
            while not sum(provider.live.values()):
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(provider.is_idle)

    asyncio.run(main())


@pytest.mark.parametrize("breaker", [None, Breaker(min_calls=10, cooldown_s=0.5)], ids=["no breaker", "breaker"])
def test_under_load_with_faults_every_query_ends_and_none_is_mixed_up(
    provider: FakeProvider, decider: hr.Decider, breaker: Breaker | None
) -> None:
    kinds = ("429 after=0.01", "500", "hang", "cut", "bad_json", "empty")
    deadline_s, n = 40.0, 120

    async def one(runner: Runner, row: int) -> tuple[str, float]:
        fault = f" [fault small={kinds[row % 6]}]" if row % 5 == 0 else ""
        begun = time.monotonic()
        text = f"{row} + 25 [id l-{row}]{fault}"
        try:
            result = await runner.arun(text, id=f"l-{row}", columns={"difficulty": 0.1}, deadline_s=deadline_s)
        except Exhausted as error:
            return error.result.stopped, time.monotonic() - begun
        assert f"[id l-{row}]" in result.answer
        return "answered", time.monotonic() - begun

    async def main() -> list[tuple[str, float]]:
        retry = Retry(attempts=2, base_s=0.01)
        settings = {"retry": retry, "breaker": breaker, "timeout_s": 4.0}
        async with Runner(decider, targets(provider), **settings) as runner:
            return await asyncio.gather(*(one(runner, row) for row in range(n)))

    ended = asyncio.run(main())
    assert [how for how, _ in ended] == ["answered"] * n
    assert max(seconds for _, seconds in ended) < deadline_s + 1.0
    assert provider.is_idle()
