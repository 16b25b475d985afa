"""What a runner writes into the decision log, and what is learned from it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pools
import pytest
from pools import COSTS, MODELS, query, reply

import headrace as hr
from headrace.evaluation import evaluate_log
from headrace.runner import DecisionLog, Exhausted, Fault, Reply, Retry, Runner, read_log

#: One call of each model at most.
ONCE = Retry(attempts=1)


@pytest.fixture(scope="module")
def decider() -> hr.Decider:
    return pools.fitted()


def asked(name: str) -> Any:
    """Make a target that is sure of easy questions, and says a planted text."""

    def ask(given: Any) -> dict[str, Any]:
        return {**reply(name, sure=given["difficulty"] < 0.5), "answer": f"PLANTED of {name}"}

    return ask


def events_of(
    decider: hr.Decider, path: Path, rows: range, targets: dict[str, Any] | None = None, **settings: Any
) -> list[dict[str, Any]]:
    log = DecisionLog(path / "decisions.jsonl")

    async def main() -> None:
        async with Runner(
            decider, targets or {name: asked(name) for name in MODELS}, retry=ONCE, log=log, **settings
        ) as runner:
            for row in rows:
                try:
                    await runner.arun({**query(row), "text": f"PLANTED {row}"}, id=f"q-{row}")
                except Exhausted:
                    continue
            await runner.drain()

    asyncio.run(main())
    assert b"PLANTED" not in log.path.read_bytes()
    return list(read_log(log.path))


def test_each_query_is_a_decision_with_its_steps(decider: hr.Decider, tmp_path: Path) -> None:
    targets = {name: asked(name) for name in MODELS}
    targets["medium"] = lambda _: (_ for _ in ()).throw(Fault("server", cost=0.5))
    policy, *decisions = events_of(decider, tmp_path, range(20), targets)
    assert (policy["event"], policy["policy"]) == ("policy", decider.fingerprint)
    assert [event["event"] for event in decisions] == ["decision"] * 20
    for event in decisions:
        assert event["policy"] == decider.fingerprint
        assert sum(step["cost"] for step in event["steps"]) == pytest.approx(event["cost"]["cost"])
        for step in event["steps"]:
            assert step["model"] in step["plan"]
            assert step["kind"] == ("server" if step["model"] == "medium" else "ok")
            assert step["expected"] == pytest.approx(COSTS[step["model"]], rel=0.4)
    assert any(step["model"] == "medium" for event in decisions for step in event["steps"])


def test_a_query_without_an_answer_is_written_down_too(decider: hr.Decider, tmp_path: Path) -> None:
    def failing(_: Any) -> Any:
        raise Fault("server")

    _, decision = events_of(decider, tmp_path, range(1), dict.fromkeys(MODELS, failing))
    assert (decision["model"], decision["stopped"], len(decision["steps"])) == (None, "exhausted", 3)


def test_a_cancelled_query_is_written_down_with_the_call_that_it_ended(decider: hr.Decider, tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl")

    begun = asyncio.Event()

    async def hanging(_: Any) -> None:
        begun.set()
        await asyncio.sleep(60.0)

    async def main() -> None:
        async with Runner(decider, dict.fromkeys(MODELS, hanging), log=log) as runner:
            task = asyncio.create_task(runner.arun(query(0), id="q-0"))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    _, decision = read_log(log.path)
    assert (decision["stopped"], [step["kind"] for step in decision["steps"]]) == ("cancelled", ["cancelled"])


def test_audits_run_every_model_after_the_answer(decider: hr.Decider, tmp_path: Path) -> None:
    def grade(given: Any, got: Reply) -> float:
        assert set(given) == {"difficulty", "text"}
        return float(got.answer.endswith("large") or given["difficulty"] < 0.5)

    events = events_of(decider, tmp_path, range(200), audit=0.3, grade=grade)
    decisions = {event["id"]: event for event in events if event["event"] == "decision"}
    audits = [event for event in events if event["event"] == "audit"]
    assert 30 < len(audits) < 90
    assert {id for id, event in decisions.items() if event["audited"]} == {event["id"] for event in audits}
    for event in audits:
        assert {name: run["cost"] for name, run in event["models"].items()} == COSTS
        assert set(event["quality"]) == set(MODELS)
        served = decisions[event["id"]]
        walk = [[step["model"] for step in served["steps"]], served["model"], [served["cost"]["cost"]]]
        assert walk in [list(replay[1:]) for replay in event["replays"]]
    low, high = evaluate_log(events, [2.0, 9.0])
    assert low.cost.value < high.cost.value
    assert low.quality is not None
    assert high.quality is not None
    assert low.quality.value <= high.quality.value


def test_a_model_that_fails_in_an_audit_is_written_down_as_failed(decider: hr.Decider, tmp_path: Path) -> None:
    targets = {name: asked(name) for name in MODELS}
    targets["large"] = lambda _: None
    audits = [e for e in events_of(decider, tmp_path, range(20), targets, audit=1.0) if e["event"] == "audit"]
    assert len(audits) == 20
    assert {event["models"]["large"]["kind"] for event in audits} == {"malformed"}


def test_an_audit_calls_no_model_that_the_query_may_not_have(decider: hr.Decider, tmp_path: Path) -> None:
    called: list[str] = []
    log = DecisionLog(tmp_path / "decisions.jsonl")

    async def main() -> None:
        targets = {name: lambda given, name=name: called.append(name) or asked(name)(given) for name in MODELS}
        async with Runner(decider, targets, log=log, audit=1.0) as runner:
            await runner.arun(query(0), id="q-0", allowed=["small", "medium"])
            await runner.arun(query(1), id="q-1", deny=["large"])
            await runner.drain()

    asyncio.run(main())
    assert set(called) == {"small", "medium"}
    assert [set(e["models"]) for e in read_log(log.path) if e["event"] == "audit"] == [{"small", "medium"}] * 2


def test_exploring_decides_some_queries_elsewhere_and_says_how_likely_that_was(
    decider: hr.Decider, tmp_path: Path
) -> None:
    events = events_of(decider, tmp_path, range(120), explore=0.5)
    drawn = [event["explored"] for event in events if event["event"] == "decision"]
    assert all(one["rate"] == 0.5 for one in drawn)
    assert 30 < sum(one["point"] is not None for one in drawn) < 90
    for one in drawn:
        assert (one["own"] if one["point"] is None else one["point"]) in one["agree"]
    explored = {event["id"]: event for event in events if event["event"] == "decision"}
    for row in range(120):
        if explored[f"q-{row}"]["explored"]["point"] is None:
            session = decider.start({**query(row), "text": f"PLANTED {row}"}, id=f"q-{row}")
            assert explored[f"q-{row}"]["steps"][0]["model"] == session.next()


def test_in_shadow_a_fixed_model_serves_and_the_plan_is_only_logged(decider: hr.Decider, tmp_path: Path) -> None:
    _, *decisions = events_of(decider, tmp_path, range(10), shadow="large")
    for row, event in enumerate(decisions):
        assert [step["model"] for step in event["steps"]] == ["large"]
        assert event["stopped"] == "shadow"
        session = decider.start({**query(row), "text": f"PLANTED {row}"}, id=f"q-{row}")
        session.next()
        assert tuple(event["steps"][0]["plan"]) == session.plan
    targets = {name: asked(name) for name in MODELS}

    async def streamed() -> Any:
        async with Runner(decider, targets, shadow="large") as runner:
            return [piece async for piece in runner.stream(query(0), id="q-0")][-1]

    result = asyncio.run(streamed())
    assert (result.model, result.stopped) == ("large", "shadow")
    failing = {**targets, "large": lambda _: None}
    (tmp_path / "down").mkdir()
    _, decision = events_of(decider, tmp_path / "down", range(1), failing, shadow="large")
    assert decision["steps"][0]["kind"] == "malformed"
    assert decision["model"] in ("small", "medium")


def test_feedback_is_kept_and_a_log_that_cannot_be_written_ends_no_query(
    decider: hr.Decider, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl")
    with Runner(decider, {name: asked(name) for name in MODELS}, log=log) as runner:
        runner.run(query(0), id="q-0")
        runner.feedback("q-0", 1.0)
        assert list(read_log(log.path))[-1]["quality"] == 1.0
        with pytest.raises(TypeError, match="quality"):
            runner.feedback("q-0", "good")  # type: ignore[arg-type]

        def full(_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(log, "append", full)
        with caplog.at_level(logging.ERROR, "headrace"):
            assert runner.run(query(1), id="q-1").answer.startswith("PLANTED")
    assert "No space left" in caplog.text
    with pytest.raises(ValueError, match="feedback: this runner has no log"):
        Runner(decider, {name: asked(name) for name in MODELS}).feedback("q-0", 1.0)


def test_settings_are_checked(decider: hr.Decider, tmp_path: Path) -> None:
    targets = {name: asked(name) for name in MODELS}
    with pytest.raises(ValueError, match="audit: expected a log"):
        Runner(decider, targets, audit=0.1)
    with pytest.raises(ValueError, match="explore: expected a share"):
        Runner(decider, targets, log=DecisionLog(tmp_path / "d.jsonl"), explore=1.5)
    with pytest.raises(ValueError, match="shadow: expected a model with a target"):
        Runner(decider, targets, shadow="huge")


def test_an_alias_that_has_become_more_expensive_raises_an_alarm(decider: hr.Decider) -> None:
    def ask(name: str) -> Any:
        return lambda _: {**reply(name), "cost": COSTS[name] * (1.5 if name == "small" else 1.0)}

    with Runner(decider, {name: ask(name) for name in MODELS}) as runner:
        for row in range(300):
            runner.run(query(row), id=f"q-{row}")
        verdicts = {watch.name: watch.verdict for watch in runner.report()}
    assert verdicts["cost of small"] == "above"
