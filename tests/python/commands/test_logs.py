"""``headrace logs``: evaluate, recalibrate, tail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import headrace as hr
from headrace.datasets import simulate
from headrace.runner import DecisionLog

pytest.importorskip("typer")

from command_line import RUNNER, invoked
from decision_logs import BUDGET, logged

from headrace.commands import app


@pytest.fixture(scope="module")
def decider() -> hr.Decider:
    return hr.Router(quality="linear").fit(simulate(300, 3, rng=1), budget=BUDGET).decider_


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory, decider: hr.Decider) -> Path:
    path = tmp_path_factory.mktemp("logs") / "decisions.jsonl"
    writer = DecisionLog(path, max_bytes=50_000, keep=100)
    for event in logged(decider, simulate(160, 3, rng=2), audit=1.0):
        writer.append(event)
    assert path.with_name("decisions.jsonl.2").exists()
    return path


def failed(*arguments: str) -> str:
    result = RUNNER.invoke(app, ["logs", *arguments])
    assert result.exit_code == 1
    return result.stderr


def test_evaluate_shows_cost_and_quality_with_intervals(log: Path) -> None:
    result = RUNNER.invoke(app, ["logs", "evaluate", str(log), "--budget", "0.0015", "--budget", "0.003"])
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.strip().startswith("0.00")]
    assert len(rows) == 2
    assert rows[1].count("[") == 2
    assert rows[1].split()[-2:] == ["160", "160"]
    numbers = invoked("logs", "evaluate", str(log), "--budget", "0.003")["estimates"][0]
    low, high = numbers["cost"]["interval"]
    assert low < BUDGET < high
    assert numbers["cost"]["n"] == 160
    assert numbers["expected"]["cost"] == pytest.approx(BUDGET)


def test_evaluate_says_what_it_cannot(log: Path, tmp_path: Path, decider: hr.Decider) -> None:
    assert "error: budget: expected at least" in failed("evaluate", str(log), "--budget", "1e-9")
    assert "needs decisions made with exploration" in failed("evaluate", str(log), "--budget", "1", "--method", "ips")
    assert "error: no such file" in failed("evaluate", str(tmp_path / "none.jsonl"), "--budget", "1")
    short = DecisionLog(tmp_path / "short.jsonl")
    for event in logged(decider, simulate(5, 3), audit=1.0):
        short.append(event)
    assert "expected at least 30 audited queries, got 5" in failed("evaluate", str(short.path), "--budget", "0.003")


def test_recalibrate_replaces_the_router_or_writes_another(log: Path, tmp_path: Path, decider: hr.Decider) -> None:
    router, out = tmp_path / "router.headrace", tmp_path / "new.headrace"
    decider.save(router)
    before = router.read_bytes()
    assert invoked("logs", "recalibrate", str(log), str(router), "--out", str(out))["written"] == str(out)
    assert router.read_bytes() == before
    assert "exists; name another file" in failed("recalibrate", str(log), str(router), "--out", str(out))
    result = RUNNER.invoke(app, ["logs", "recalibrate", str(log), str(router)])
    assert result.exit_code == 0, result.output
    assert "before: cascade-routing, 3 models, budget 0.003: mean cost 0.003" in result.stdout
    anew = hr.load(router)
    assert anew.path.cost.tolist() == hr.load(out).path.cost.tolist()
    assert anew.path.n_queries == 160
    # Its log has begun anew.
    assert "expected at least 100 audited queries of this router" in failed("recalibrate", str(log), str(router))


def test_tail_prints_a_line_per_decision(log: Path, tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["logs", "tail", str(log), "-n", "3"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["157", "158", "159"]
    assert all(line.endswith("plan, audited") for line in lines)
    own = DecisionLog(tmp_path / "own.jsonl")
    steps = [{"model": "small", "kind": "timeout"}, {"model": "large", "kind": "ok"}, {"model": "other", "kind": "ok"}]
    told = {"event": "decision", "cost": {"usd": 0.5}}
    own.append({**told, "id": "q-1", "steps": steps, "model": "large", "stopped": "deadline"})
    own.append({**told, "id": "q-2", "steps": steps[:1], "model": None, "stopped": "exhausted"})
    first, second = RUNNER.invoke(app, ["logs", "tail", str(own.path)]).stdout.splitlines()
    assert first == "q-1              small!timeout > large > other (answer: large) usd 0.5  deadline"
    assert second.split() == ["q-2", "small!timeout", "(no", "answer)", "usd", "0.5", "exhausted"]


@pytest.mark.skipif(os.name != "posix", reason="signals are sent")
def test_tail_follows_through_renames_even_when_it_is_slow(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl", max_bytes=400)
    event = {"event": "decision", "steps": [], "model": "small", "cost": {"usd": 0.5}, "stopped": "plan"}
    log.append({**event, "id": "q-0"})
    command = [sys.executable, "-c", "from headrace.cli import main; main()", "logs", "tail", "--follow", str(log.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("q-0 ")
        # The reader stands still while the file is renamed three times, then goes on.
        process.send_signal(signal.SIGSTOP)
        for number in range(1, 12):
            log.append({**event, "id": f"q-{number}"})
        assert (tmp_path / "decisions.jsonl.3").exists()
        assert not (tmp_path / "decisions.jsonl.5").exists()
        process.send_signal(signal.SIGCONT)
        seen = [process.stdout.readline().split()[0] for _ in range(11)]
        assert seen == [f"q-{number}" for number in range(1, 12)]
        log.append({**event, "id": "q-12"})
        assert process.stdout.readline().startswith("q-12 ")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
