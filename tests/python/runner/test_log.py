"""The file of the decision log: whole lines from many writers, through rotation and kill -9, and no text in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from decision_logs import step_of

import headrace as hr
from headrace.runner import DecisionLog, read_log
from headrace.runner.counterfactuals import Counterfactuals, Ran
from headrace.runner.events import audit_event, decision_event, feedback_event, policy_event

POSIX = pytest.mark.skipif(os.name != "posix", reason="renaming an open file, and kill -9")

#: Children of one process, each with a log of its own: they need no start of Python each.
CHILDREN = """
import itertools, os, random, signal, sys, time
from headrace.runner import DecisionLog

path, n_children, n, max_bytes = sys.argv[1], *map(int, sys.argv[2:])
reading, writing = os.pipe()

def write(name):
    log = DecisionLog(path, max_bytes=max_bytes, keep=10_000)
    log.append({"event": "policy", "policy": name})
    os.write(writing, b".")
    for i in range(n) if n else itertools.count():
        log.append({"event": "decision", "policy": name, "id": f"{name}-{i}", "padding": "x" * (i % 700)})

def begun(name):
    child = os.fork()
    if child == 0:
        write(name)
        os._exit(0)
    return child

if n:
    children = [begun(f"w{k}") for k in range(n_children)]
    sys.exit(any(os.waitpid(child, 0)[1] for child in children))
draw = random.Random(0)
for k in range(n_children):
    child = begun(f"w{k}")
    os.read(reading, 1)  # it writes
    time.sleep(draw.uniform(0.01, 0.04))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def run_children(path: Path, n_children: int, n: int, max_bytes: int) -> None:
    """Let children write `n` events each; with zero, they write until they are killed, one after the other."""
    numbers = map(str, (n_children, n, max_bytes))
    subprocess.run([sys.executable, "-c", CHILDREN, str(path), *numbers], timeout=100, check=True)


def parts_of(path: Path) -> list[Path]:
    return [part for part in path.parent.glob(f"{path.name}*") if not part.name.endswith(".lock")]


@POSIX
def test_eight_processes_write_while_files_are_renamed(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    run_children(path, 8, 1000, 100_000)
    assert len(parts_of(path)) > 20
    for part in parts_of(path):
        known = set()
        for line in filter(None, part.read_text().splitlines()):
            event = json.loads(line)
            known |= {event["policy"]} if event["event"] == "policy" else set()
            # Each part says what its fingerprints stand for, by every process.
            assert event["policy"] in known
        assert part == path or part.stat().st_size >= 100_000
    events = [event for event in read_log(path) if event["event"] == "decision"]
    assert len(events) == 8000
    assert len({event["id"] for event in events}) == 8000
    for k in range(8):
        own = [event["id"] for event in events if event["policy"] == f"w{k}"]
        assert own == [f"w{k}-{i}" for i in range(1000)]


@POSIX
def test_kill_9_tears_no_line_but_the_last(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    run_children(path, 20, 0, 20_000)
    torn = 0
    for part in parts_of(path):
        for line in part.read_bytes().splitlines():
            try:
                json.loads(line)
            except ValueError:
                torn += bool(line)
    assert torn <= 20
    events = list(read_log(path))
    assert len(events) > 20
    for k in range(20):
        numbers = [int(event["id"].split("-")[1]) for event in events if event.get("id", "").startswith(f"w{k}-")]
        assert numbers == list(range(len(numbers)))
    # The next one writes on, below what is torn.
    DecisionLog(path).append({"event": "feedback", "id": "after", "quality": 1.0})
    assert list(read_log(path))[-1]["id"] == "after"


def test_threads_share_a_log(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl", max_bytes=5000, keep=500)
    threads = [
        threading.Thread(target=lambda t=t: [log.append({"event": "decision", "id": f"{t}-{i}"}) for i in range(200)])
        for t in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len({event["id"] for event in read_log(log.path)}) == 800


def test_old_files_go(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl", max_bytes=1000, keep=2)
    for i in range(200):
        log.append({"event": "decision", "id": i})
    assert {part.name for part in parts_of(log.path)} == {f"decisions.jsonl{end}" for end in ("", ".1", ".2")}
    ids = [event["id"] for event in read_log(log.path)]
    assert ids == list(range(ids[0], 200))


@pytest.mark.parametrize("torn", [b'{"headrace":"decision-log-1","ev', b'{"he', b"\xff\xfe"])
def test_what_is_torn_is_skipped_and_tears_nothing_else(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "decisions.jsonl"
    log = DecisionLog(path)
    log.append({"event": "decision", "id": "a"})
    with path.open("ab") as file:
        file.write(torn)
    assert [event["id"] for event in read_log(path)] == ["a"]
    log.append({"event": "decision", "id": "b"})
    assert [event["id"] for event in read_log(path)] == ["a", "b"]


def test_a_first_line_that_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(b'{"headr')
    DecisionLog(path).append({"event": "decision", "id": "a"})
    assert [event["id"] for event in read_log(path)] == ["a"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    with pytest.raises(ValueError, match="holds something else than a decision log; name another file"):
        DecisionLog(path)
    with pytest.raises(ValueError, match="expected the lines of a decision log, got something else"):
        list(read_log(path))
    with pytest.raises(ValueError, match=r"expected a name that ends in \.jsonl, got 'log\.csv'"):
        DecisionLog(tmp_path / "log.csv")
    with pytest.raises(FileNotFoundError, match="no such file"):
        list(read_log(tmp_path / "none.jsonl"))
    with pytest.raises(ValueError, match="max_bytes"):
        DecisionLog(tmp_path / "log.jsonl", max_bytes=0)
    path.write_text('{"headrace":"decision-log-2","event":"decision"}\n')
    with pytest.raises(ValueError, match="got 'decision-log-2'; update headrace"):
        list(read_log(path))
    recorder = hr.Recorder(tmp_path / "runs.jsonl")
    recorder.run("2 + 2?", "small", "4", quality=1, cost=1)
    with pytest.raises(ValueError, match="holds something else than a decision log"):
        DecisionLog(recorder.path)
    log = DecisionLog(tmp_path / "new.jsonl")
    log.append({"event": "decision", "id": "a"})
    with pytest.raises(ValueError, match="holds something else than the lines of a Recorder"):
        hr.Recorder(log.path)


def some_table(n: int = 120) -> hr.Outcomes:
    rng = np.random.default_rng(0)
    right = rng.uniform(size=(n, 2)) < [0.6, 0.9]
    answer = np.where(right, "PLANTED-ANSWER right", "PLANTED-ANSWER wrong").astype(object)
    return hr.Outcomes(
        models=["small", "large"],
        quality=right.astype(float),
        cost=[1.0, 5.0] * rng.uniform(0.9, 1.1, size=(n, 2)),
        queries={"text": np.array([f"PLANTED-QUERY {i}?" for i in range(n)], dtype=object)},
        responses={"answer": answer, "logprob": np.where(right, -0.2, -1.0)},
    )


def test_no_text_of_a_query_or_an_answer_is_in_a_log(tmp_path: Path) -> None:
    table = some_table()
    decider = hr.Router(quality="linear").fit(table, budget=3.0).decider_
    counterfactuals, policy = Counterfactuals(decider), decider.fingerprint
    log = DecisionLog(tmp_path / "decisions.jsonl")
    log.append(policy_event(counterfactuals))
    kinds = {"small": "ok", "large": "timeout"}
    for row in range(40):
        query = {name: cells[row] for name, cells in table.queries.items()}
        responses = [{name: cells[row, j] for name, cells in table.responses.items()} for j in range(2)]
        watcher = counterfactuals.watch(f"q-{row}", 0.5)
        session = watcher.decider.start(query, id=f"q-{row}")
        steps: list[dict[str, Any]] = []
        while True:
            model = session.next()
            watcher.saw(session)
            if model is None:
                break
            steps.append({**step_of(session, model), "kind": "ok", "cost": 1.0, "seconds": 0.1})
            session.observe(model, responses[decider.models.index(model)], cost=1.0)
        log.append(
            decision_event(
                session, policy=policy, steps=steps, stopped="plan", seconds=0.2, watcher=watcher, audited=True
            )
        )
        runs = {
            model: Ran(kinds[model], response, 1.0) for model, response in zip(table.models, responses, strict=True)
        }
        replays = counterfactuals.replays(query, runs, id=f"q-{row}")
        log.append(audit_event(f"q-{row}", policy=policy, runs=runs, replays=replays, quality={"small": 1.0}))
        log.append(feedback_event(f"q-{row}", 1.0))
    assert b"PLANTED" not in log.path.read_bytes()
    events = list(read_log(log.path))
    assert [event["event"] for event in events[:4]] == ["policy", "decision", "audit", "feedback"]
    decision = events[1]
    assert set(decision) == {
        *("headrace", "event", "time", "id", "policy", "query", "pool", "steps", "model", "cost", "stopped", "seconds"),
        *("explored", "audited"),
    }
    assert set(decision["steps"][0]) == {"model", "expected", "quality", "plan", "kind", "cost", "seconds"}
    assert decision["pool"] == ["small", "large"]
    # The same columns give the same hash: the id of a query that has none.
    assert decision["query"] == decider.start({name: cells[0] for name, cells in table.queries.items()}).id


def test_labelled_decisions_are_a_table(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl", max_bytes=300)
    ran = [{"model": model, "kind": "ok", "cost": cost} for model, cost in (("small", 0.1), ("large", 2.0))]
    failed = {"model": "small", "kind": "timeout", "cost": 0.5}
    for id, steps in (("a", ran[:1]), ("b", ran), ("c", [failed, ran[1]]), ("unlabelled", ran)):
        log.append({"event": "decision", "id": id, "steps": steps, "model": steps[-1]["model"]})
    models = {step["model"]: {"kind": "ok", "cost": step["cost"]} for step in ran}
    log.append({"event": "audit", "id": "d", "models": models, "quality": {"small": 0.0, "large": 1.0}})
    for id, quality in (("a", 1.0), ("b", 0.0), ("c", 1.0), ("lost", 1.0)):
        log.append(feedback_event(id, quality))
    log.append(feedback_event("b", 1.0, model="small"))
    assert len(parts_of(log.path)) > 2
    table = hr.Outcomes.from_file(log.path)
    assert table.models == ("small", "large")
    assert list(table.ids) == ["a", "b", "c", "d"]
    assert np.array_equal(table.quality, [[1.0, np.nan], [1.0, 0.0], [np.nan, 1.0], [0.0, 1.0]], equal_nan=True)
    assert np.array_equal(table.cost, [[0.1, np.nan], [0.1, 2.0], [np.nan, 2.0], [0.1, 2.0]], equal_nan=True)
    assert dict(table.queries) == {}
    assert table.notes == ("1 of 4 queries have no label: left out",)


def test_a_log_without_labels_is_no_table(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl")
    log.append({"event": "decision", "id": "a", "steps": [], "model": None})
    with pytest.raises(ValueError, match="a decision log without a label; tell the quality of answers by feedback"):
        hr.Outcomes.from_file(log.path)


def test_a_log_that_another_program_wrote_anew_is_the_same_table(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl")
    log.append({"event": "decision", "id": "a", "steps": [{"model": "m", "kind": "ok", "cost": 1.0}], "model": "m"})
    log.append(feedback_event("a", 1.0))
    anew = [json.dumps(json.loads(line)) for line in log.path.read_text().splitlines()]
    for n_anew in (1, 2):
        path = tmp_path / f"{n_anew}.jsonl"
        path.write_text("\n".join([*anew[:n_anew], *log.path.read_text().splitlines()[n_anew:]]))
        table = hr.Outcomes.from_file(path)
        assert (table.ids, table.quality.tolist(), table.cost.tolist()) == (("a",), [[1.0]], [[1.0]])


@pytest.mark.parametrize("kind", ["decision log", "recorder"])
def test_a_line_that_hangs_on_to_what_is_torn_is_written_again(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write, lengths = tmp_path / "log.jsonl", os.write, [30]

    def written(file: int, data: bytes) -> int:
        if lengths:  # another process is killed amid its line, between the look at the last byte and the write
            write(file, data[: lengths.pop()])
        return write(file, data)

    if kind == "recorder":
        recorder = hr.Recorder(path)
        recorder.run("1 + 1?", "small", "2", quality=1, cost=1, id="a")
        monkeypatch.setattr(os, "write", written)
        recorder.run("2 + 2?", "small", "4", quality=1, cost=1, id="b")
        assert hr.Outcomes.from_file(path).ids == ("a", "b")
    else:
        log = DecisionLog(path)
        log.append({"event": "decision", "id": "a"})
        monkeypatch.setattr(os, "write", written)
        log.append({"event": "decision", "id": "b"})
        assert [event["id"] for event in read_log(path)] == ["a", "b"]
