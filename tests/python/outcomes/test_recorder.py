"""Logs that a program writes itself: `Recorder`, and `Outcomes.collect`."""

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

import headrace as hr

QUESTIONS = ["1 + 1", "2 + 3", "4 + 4", "5 + 1"]


@pytest.fixture
def log(tmp_path: Path) -> hr.Recorder:
    return hr.Recorder(tmp_path / "runs.jsonl")


def read(log: hr.Recorder, **options: Any) -> hr.Outcomes:
    return hr.Outcomes.from_file(log.path, **options)


# Recorder


def test_what_is_recorded_is_read_back(log: hr.Recorder) -> None:
    query = {"text": "2 + 2?", "task": "sums", "size": 3, "vector": np.array([0.5, 1.0])}
    log.run(query, "small", {"answer": "4", "logprob": -0.5, "tokens": [-0.5, -1]}, quality=True, cost=np.float64(0.25))
    log.run(query, "large", {"answer": 4, "logprob": float("-inf")}, quality=0.5, cost=2)
    table = read(log)
    assert table.models == ("small", "large")
    assert table.quality.tolist() == [[1.0, 0.5]]
    assert table.cost.tolist() == [[0.25, 2.0]]
    assert {name: cells.tolist() for name, cells in table.queries.items()} == {
        "text": ["2 + 2?"],
        "task": ["sums"],
        "size": [3],
        "vector": [[0.5, 1.0]],
    }
    assert table.responses["answer"].tolist() == [["4", "4"]]
    assert np.array_equal(table.responses["logprob"], [[-0.5, np.nan]], equal_nan=True)
    assert table.groups is None


def test_a_query_has_the_same_id_as_in_other_logs(log: hr.Recorder, tmp_path: Path) -> None:
    key = log.run("2 + 2?", "small", "4", quality=1, cost=1)
    (tmp_path / "long.csv").write_text("text,model,quality,cost\n2 + 2?,small,1,1\n")
    pytest.importorskip("pyarrow")
    assert hr.Outcomes.from_file(tmp_path / "long.csv").ids == (key,) == read(log).ids
    assert log.run("2 + 2?", "small", "4", id=7) == "7"


def test_several_costs_and_repeats(log: hr.Recorder) -> None:
    for answer in ("a", "b"):
        log.run({"size": 1}, "small", answer, quality=answer == "a", cost={"usd": 0.5, "seconds": 2.0}, id="q")
    log.run({"size": 1}, "large", "a", quality=1, cost={"usd": 1.5, "seconds": 3.0}, id="q")
    table = read(log)
    assert list(table.costs) == ["usd", "seconds"]
    assert np.array_equal(table.quality, [[1.0, 1.0], [0.0, np.nan]], equal_nan=True)
    assert table.n_groups == 1


def test_a_failed_call_is_missing_until_it_succeeds(log: hr.Recorder) -> None:
    for model in ("small", "large"):
        log.run("a?", model, "x", quality=1, cost=1)
    log.run("b?", "small", "x", quality=0, cost=1)
    log.fail("b?", "large", "timeout")
    table = read(log)
    assert np.array_equal(table.quality, [[1.0, 1.0], [0.0, np.nan]], equal_nan=True)
    assert table.responses["answer"].tolist() == [["x", "x"], ["x", None]]
    assert table.notes == ("1 call failed: 1 cell missing for it",)
    log.run("b?", "large", "y", quality=1, cost=2)
    table = read(log)
    assert table.quality.tolist() == [[1.0, 1.0], [0.0, 1.0]]
    assert table.notes == ("1 call failed: 0 cells missing for it",)


def test_labels_may_come_later(log: hr.Recorder) -> None:
    key = log.run("a?", "small", "x", cost=1)
    assert np.isnan(read(log).quality).all()
    log.label(key, "small", 0.75)
    assert read(log).quality.tolist() == [[0.75]]
    log.label("other", "small", 1)
    with pytest.raises(ValueError, match=r"got a label alone for query 'other', model 'small' \(line 3"):
        read(log)


@pytest.mark.parametrize("kept", [1, 40, -3])
def test_a_torn_last_line_is_left_out_and_told(log: hr.Recorder, kept: int) -> None:
    for text in ("a?", "b?"):
        log.run(text, "small", "x", quality=1, cost=1)
    first, second, _ = log.path.read_bytes().split(b"\n")
    log.path.write_bytes(first + b"\n" + second[:kept])
    table = read(log)
    assert len(table) == 1
    assert table.notes == ("1 line is torn, as after an interruption: left out",)
    # What comes after it is not torn with it.
    hr.Recorder(log.path).run("c?", "small", "x", quality=1, cost=1)
    table = read(log)
    assert table.queries["text"].tolist() == ["a?", "c?"]
    assert len(table.notes) == 1


@pytest.mark.parametrize("torn", [b'{"headrace": 1, "ev', b'{"he'])
def test_a_torn_first_line(log: hr.Recorder, torn: bytes) -> None:
    log.path.write_bytes(torn)
    log = hr.Recorder(log.path)
    log.run("a?", "small", "x", quality=1, cost=1)
    assert len(read(log)) == 1


KILLED = """
import multiprocessing, random, sys, time
import headrace as hr

context, draw = multiprocessing.get_context("fork"), random.Random(0)
done = context.RawArray("q", 20)

def write(number):
    log = hr.Recorder(sys.argv[1])
    for i in range(10**9):
        log.run("x" * (i * 37 % 700 + 1), "small", "y", quality=1, cost=1, id=f"{number}-{i}")
        done[number] = i + 1

def begun(number):
    process = context.Process(target=write, args=(number,), daemon=True)
    process.start()
    return process

writers = [begun(number) for number in range(4)]
for number in range(4, 20):
    enough, at = sum(done) + draw.randrange(20, 300), draw.randrange(4)
    while sum(done) < enough:
        time.sleep(0.001)
    writers[at].kill()
    writers[at].join()
    writers[at] = begun(number)
for writer in writers:
    writer.kill()
    writer.join()
print(*done)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it needs os.fork")
def test_what_was_recorded_survives_kill_9_of_any_writer(log: hr.Recorder) -> None:
    command = [sys.executable, "-c", KILLED, str(log.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    recorded = {f"{number}-{i}" for number, n in enumerate(map(int, done.stdout.split())) for i in range(n)}
    assert recorded
    assert recorded <= set(read(log).ids)


def test_threads_and_processes_share_a_file(log: hr.Recorder) -> None:
    long = "x" * 20_000
    code = (
        "import sys, headrace as hr\n"
        "log = hr.Recorder(sys.argv[1])\n"
        "for i in range(40): log.run(f'{sys.argv[2]}-{i}', 'small', 'y' * 20_000, quality=1, cost=1)\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(log.path), name]) for name in "ab"]
    threads = [
        threading.Thread(target=lambda t=t: [log.run(f"{t}-{i}", "small", long, quality=1, cost=1) for i in range(40)])
        for t in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(timeout=60) for other in others] == [0, 0]
    # Who sees the line of another half written begins a line of its own: that may leave an empty one.
    lines = [line for line in log.path.read_text().splitlines() if line]
    assert len([json.loads(line) for line in lines]) == 160
    assert len(read(log)) == 160
    assert read(log).notes == ()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("a?", "m", None), {}, ValueError, "response: expected what the model returned, got None"),
        (("a?", "", "x"), {}, TypeError, "model: expected a name, got ''"),
        ((3, "m", "x"), {}, TypeError, "query: expected a str, or a mapping of column to value, got int"),
        (({}, "m", "x"), {}, ValueError, "query: expected at least one column, or an id"),
        (({"group": "g"}, "m", "x"), {}, ValueError, "query: a column 'group' has another meaning"),
        (("a?", "m", {"cost": 1}), {}, ValueError, "response: a column 'cost' has another meaning"),
        (("a?", "m", {"a|b": 1}), {}, ValueError, "response: expected a name without '|' or 'cost:', got 'a|b'"),
        (("a?", "m", {"when": {}}), {}, TypeError, "response: column 'when': expected a number, text or a list"),
        (("a?", "m", "x"), {"quality": "good"}, TypeError, "quality: expected a number, got 'good'"),
        (("a?", "m", "x"), {"quality": float("inf")}, ValueError, "quality: expected a finite number, or NaN, got inf"),
        (("a?", "m", "x"), {"cost": -1}, ValueError, "cost: expected a finite number >= 0, or NaN, got -1"),
        (("a?", "m", "x"), {"cost": {}}, ValueError, "cost: expected at least one"),
        (("a?", "m", "x"), {"cost": {"usd": "2"}}, TypeError, "cost 'usd': expected a number"),
        (("a?", "m", "x"), {"id": 1.5}, TypeError, "id: expected str or int, got 1.5"),
    ],
)
def test_what_is_refused_leaves_no_trace(
    log: hr.Recorder, arguments: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("|", r"\|")):
        log.run(*arguments, **options)
    assert log.path.read_bytes() == b""


def test_paths_are_checked_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path: expected a name that ends in \.jsonl, got 'runs\.csv'"):
        hr.Recorder(tmp_path / "runs.csv")
    with pytest.raises(OSError, match="missing"):
        hr.Recorder(tmp_path / "missing" / "runs.jsonl")


def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"text": "a?", "m|quality": 1, "m|cost": 1}\n')
    with pytest.raises(ValueError, match=r"path: .*log.jsonl holds something else than the lines of a Recorder"):
        hr.Recorder(path)
    with pytest.raises(ValueError, match="holds something else"):
        collect({"small": Model()}, path=path)
    assert len(hr.Outcomes.from_file(path)) == 1


def test_a_newer_format_is_refused(log: hr.Recorder) -> None:
    log.path.write_text('{"headrace": 2, "event": "run"}\n')
    with pytest.raises(ValueError, match="expected lines of version 1, got 2 in line 1; update headrace"):
        read(log)


def test_a_short_write_is_told(log: hr.Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:10]))
    with pytest.raises(OSError, match=r"only 10 of [0-9]+ bytes could be written; is the disk full"):
        log.run("a?", "small", "x")
    monkeypatch.undo()
    log.run("b?", "small", "x", quality=1, cost=1)
    assert read(log).queries["text"].tolist() == ["b?"]


# Outcomes.collect


def right(text: str) -> str:
    return str(eval(text))


def judge(query: Any, returned: Any, reference: str) -> bool:
    answer = returned["answer"] if isinstance(returned, dict) else returned
    return bool(answer == reference)


class Model:
    """Answers sums, counts its calls, and fails where it is told to."""

    def __init__(self, *fails: str, wrong: str = "") -> None:
        self.fails, self.wrong, self.asked = set(fails), wrong, list[str]()

    def __call__(self, text: str) -> str:
        self.asked.append(text)
        if text in self.fails:
            raise TimeoutError("too slow")
        return "0" if text == self.wrong else right(text)


def collect(models: dict[str, Any], **options: Any) -> hr.Outcomes:
    arguments: dict[str, Any] = {
        "quality": judge,
        "references": list(map(right, QUESTIONS)),
        "cost": dict.fromkeys(models, 0.5),
    }
    return hr.Outcomes.collect(QUESTIONS, models, **(arguments | options))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_collect_runs_measures_and_judges(n_threads: int) -> None:
    models = {"small": Model(wrong=QUESTIONS[1]), "large": Model()}
    table = collect(models, n_threads=n_threads, cost={"small": 0.5, "large": lambda text, answer: len(text)})
    assert table.models == ("small", "large")
    assert table.quality.tolist() == [[1, 1], [0, 1], [1, 1], [1, 1]]
    assert table.cost.tolist() == [[0.5, 5.0]] * 4
    assert table.queries["text"].tolist() == QUESTIONS
    assert set(table.queries) == {"text"}
    assert set(table.responses) == {"answer", "seconds", "cost"}
    assert (table.responses["seconds"] >= 0.0).all()
    assert table.notes == ()


def test_failures_are_missing_and_run_again(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    first = collect({"small": Model(QUESTIONS[2]), "large": Model()}, path=path)
    assert np.isnan(first.quality).tolist() == [[False] * 2, [False] * 2, [True, False], [False] * 2]
    assert first.responses["answer"][2].tolist() == [None, "8"]
    assert first.notes == ("1 call failed: 1 cell missing for it",)
    models = {"small": Model(), "large": Model(), "huge": Model()}
    second = collect(models, path=path)
    assert [model.asked for model in models.values()] == [[QUESTIONS[2]], [], QUESTIONS]
    assert (second.quality == 1.0).all()
    assert second.models == tuple(models)
    again = hr.Outcomes.from_file(path)
    assert set(again.models) == set(second.models)
    assert again.select(second.models).quality.tolist() == second.quality.tolist()
    idle = {name: Model() for name in models}
    assert collect(idle, path=path).ids == second.ids
    assert not any(model.asked for model in idle.values())


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_interruption_loses_no_run(tmp_path: Path, n_threads: int) -> None:
    path = tmp_path / "runs.jsonl"

    def interrupted(text: str) -> str:
        if text == QUESTIONS[2]:
            raise KeyboardInterrupt
        return right(text)

    with pytest.raises(KeyboardInterrupt):
        collect({"small": interrupted}, path=path, n_threads=n_threads)
    n_logged = len(path.read_text().splitlines())
    assert n_logged >= 2
    model = Model()
    table = collect({"small": model}, path=path)
    assert len(model.asked) == len(QUESTIONS) - n_logged
    assert QUESTIONS[2] in model.asked
    assert table.queries["text"].tolist() == QUESTIONS
    assert (table.quality == 1.0).all()


def test_a_model_that_only_fails_stops_the_collection(tmp_path: Path) -> None:
    model = Model(*QUESTIONS)
    with pytest.raises(ValueError, match=r"the first 3 calls of 'small' failed.*TimeoutError: too slow") as caught:
        collect({"small": model}, path=tmp_path / "runs.jsonl")
    assert len(model.asked) == 3
    assert isinstance(caught.value.__cause__, TimeoutError)


def test_none_is_a_failed_call() -> None:
    table = collect({"small": lambda text: None if text == QUESTIONS[0] else "1", "large": Model()})
    assert np.isnan(table.quality[:, 0]).tolist() == [True, False, False, False]


def test_a_judge_that_fails_is_told_and_its_run_is_not_logged(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"

    def strict(query: str, answer: str, reference: str) -> bool:
        if query == QUESTIONS[1]:
            raise ZeroDivisionError("judge")
        return answer == reference

    with pytest.raises(ZeroDivisionError, match="judge"):
        collect({"small": Model()}, path=path, quality=strict)
    assert len(path.read_text().splitlines()) == 1


def test_queries_may_have_columns_and_answers_too() -> None:
    asked = []

    def model(query: dict[str, Any]) -> dict[str, Any]:
        asked.append(query)
        return {"answer": query["text"], "cost": 2.0, "logprob": -0.5, "seconds": 7}

    queries = {"text": ["a", "a"], "size": np.array([1, 2])}
    table = hr.Outcomes.collect(queries, {"m": model}, quality=lambda query, returned: returned["answer"] == "a")
    assert asked == [{"text": "a", "size": 1}, {"text": "a", "size": 2}]
    assert table.quality.tolist() == [[1.0], [1.0]]
    assert table.responses["seconds"].tolist() == [[7], [7]]
    assert table.cost.tolist() == [[2.0], [2.0]]
    rows = [{"text": "a", "size": 1}, {"text": "a", "size": 2}]
    timed = hr.Outcomes.collect(rows, {"m": model}, quality=lambda query, returned: None, cost="seconds")
    assert timed.ids == table.ids
    assert timed.cost.tolist() == [[7.0], [7.0]]
    assert np.isnan(timed.quality).all()


def test_equal_queries_stay_apart_and_share_a_group(tmp_path: Path) -> None:
    options: dict[str, Any] = {"quality": lambda query, answer: 1, "cost": {"m": 1}, "path": tmp_path / "runs.jsonl"}
    table = hr.Outcomes.collect(["a", "b", "a"], {"m": str.upper}, **options)
    assert len(table) == 3
    assert table.n_groups == 2
    assert hr.Outcomes.collect(["a", "b", "a"], {"m": Model(*"ab")}, **options).ids == table.ids


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"queries": "text"}, TypeError, "queries: expected a sequence of texts or mappings, or columns, got str"),
        ({"queries": []}, ValueError, "queries: expected at least one, got none"),
        ({"queries": {"a": [1], "b": [1, 2]}}, ValueError, "queries: expected columns of one length"),
        ({"models": {}}, TypeError, "models: expected a mapping of name to function"),
        ({"models": {"m": "gpt"}}, TypeError, "models: expected a mapping of name to function"),
        ({"quality": 1}, TypeError, "quality: expected a function of query and response, got int"),
        ({"cost": {"n": 1}}, ValueError, "cost: expected a price for every model, got none for 'm'"),
        ({"cost": 3}, TypeError, "cost: expected a mapping of model to price, or the name of a column, got 3"),
        ({"cost": None}, ValueError, "cost: 'm' returned no 'cost'; give the price of each model"),
        ({"references": ["x", "y"]}, ValueError, "references: expected one for each of 1 queries, got 2"),
        ({"ids": ["x", "y"]}, ValueError, "ids: expected one for each of 1 queries, got 2"),
        ({"n_threads": 0}, ValueError, "n_threads: expected an int >= 1, got 0"),
        ({"path": "runs.csv"}, ValueError, "path: expected a name that ends in .jsonl"),
    ],
)
def test_collect_names_what_is_wrong(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"queries": ["a"], "models": {"m": str.upper}, "cost": {"m": 1}}
    arguments = arguments | {"quality": lambda query, answer: 1} | changes
    with pytest.raises(error, match=message.replace(".", r"\.")):
        hr.Outcomes.collect(arguments.pop("queries"), arguments.pop("models"), **arguments)


# Fewer columns


def test_columns_are_left_out_by_name() -> None:
    table = hr.datasets.load_quickstart().take(range(5))
    less = table.without(["noise", "answer"])
    assert "noise" not in less.queries
    assert list(less.responses) == ["probabilities"]
    assert list(table.with_only(["answer", "noise"]).queries) == ["noise"]
    assert list(table.with_only("answer").responses) == ["answer"]
    assert table.without([]).queries.keys() == table.queries.keys()
    assert not table.with_only([]).responses
    with pytest.raises(ValueError, match=r"columns: unknown 'nose' \(did you mean 'noise'\?\); known: 'brightness'"):
        table.without(["nose"])
    with pytest.raises(TypeError, match="columns: expected names of columns, got"):
        table.with_only([3])  # type: ignore[list-item]  # that is refused
