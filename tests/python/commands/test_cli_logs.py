"""The command line on logs of every kind, on bad files and on odd tables."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace as hr

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

from command_line import RUNNER, invoked, saved

from headrace.commands import app

# Logs of every kind, end to end


def runs(n_queries: int = 80) -> list[dict[str, Any]]:
    """Draw runs of two models: the expensive one is right more often, most of all on long queries."""
    rng = np.random.default_rng(0)
    drawn = []
    for number in range(n_queries):
        hard = rng.random() < 0.5
        text = f"Question {number}: " + ("prove that " * 9 if hard else "add")
        for model, cost, chance in (("small", 0.001, 0.2 if hard else 0.9), ("large", 0.01, 0.85)):
            drawn.append(
                {"text": text, "model": model, "cost": cost, "quality": int(rng.random() < chance), "n": len(drawn)}
            )
    return drawn


def spend_row(run: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": run["text"]}]
    names = {"request_id": f"r{run['n']}", "model": "deployment", "model_group": run["model"], "spend": run["cost"]}
    return {**names, "messages": messages, "startTime": "2026-04-21T10:00:00", "endTime": "2026-04-21T10:00:01"}


LONG_ROWS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "llmrouter.jsonl": lambda run: {
        "query": run["text"],
        "model_name": run["model"],
        "performance": run["quality"],
        "token_num": 1000 * run["cost"],
        "task_name": "t",
        "response": "r",
    },
    "nvidia.csv": lambda run: {
        "question": run["text"],
        "model": run["model"],
        "isCorrect": run["quality"],
        "output_tokens": round(100_000 * run["cost"]),
    },
    "routerarena.json": lambda run: {
        "global index": run["text"][:12],
        "prompt": run["text"],
        "prediction": run["model"],
        "generated_result": {"generated_answer": "x"},
        "cost": run["cost"],
        "accuracy": run["quality"],
        "for_optimality": False,
    },
    "spend.json": spend_row,
    "long.jsonl": lambda run: run,
}


def wide_frame(*, routerbench: bool = False) -> dict[str, list[Any]]:
    drawn = runs()
    quality, cost = ("", "|total_cost") if routerbench else ("|quality", "|cost")
    frame: dict[str, list[Any]] = {"prompt" if routerbench else "text": [run["text"] for run in drawn[::2]]}
    for number, model in enumerate(("small", "large")):
        frame[f"{model}{quality}"] = [run["quality"] for run in drawn[number::2]]
        frame[f"{model}{cost}"] = [run["cost"] for run in drawn[number::2]]
    return frame


def log_of(tmp_path: Path, name: str) -> list[str]:
    """Write a small log of a kind; gives the arguments that name it."""
    path = tmp_path / name
    if name in LONG_ROWS:
        rows = [LONG_ROWS[name](run) for run in runs()]
        if path.suffix == ".csv":
            write_csv(path, {column: [row[column] for row in rows] for column in rows[0]})
        else:
            lines = path.suffix == ".jsonl"
            path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".csv":
        write_csv(path, wide_frame(routerbench=name.startswith("routerbench")))
    else:
        hr.Outcomes.from_frame(wide_frame()).save(path)
    if name != "spend.json":
        return [str(path)]
    labels = {"request_id": [f"r{run['n']}" for run in runs()], "quality": [run["quality"] for run in runs()]}
    write_csv(tmp_path / "labels.csv", labels)
    return [str(path), "--labels", str(tmp_path / "labels.csv")]


def write_csv(path: Path, columns: dict[str, list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


KINDS = [*LONG_ROWS, "wide.parquet", "wide.csv", "wide.jsonl", "routerbench.csv"]


@pytest.mark.parametrize("name", KINDS)
def test_a_log_of_every_kind_is_read_fitted_and_explained(tmp_path: Path, name: str) -> None:
    log, policy = log_of(tmp_path, name), str(tmp_path / "policy.json")
    fitted = invoked("fit", *log, "--quality-target", "0.75", "--out", policy)
    assert [row["model"] for row in fitted["outcomes"]["models"]] == ["small", "large"]
    assert fitted["outcomes"]["n_complete"] == 80
    small, large = fitted["outcomes"]["models"]
    assert fitted["point"]["quality"] == pytest.approx(0.75, abs=0.02)
    assert small["cost"] <= fitted["point"]["cost"] <= small["cost"] + large["cost"]
    costs = f"{small['cost']},{large['cost']}"
    why = invoked("explain", policy, "--quality", "0.95,0.9", "--cost", costs)
    assert why["next"] == "small"
    assert hr.Policy.load(policy).models == ("small", "large")


@pytest.mark.parametrize("name", KINDS)
def test_a_log_of_every_kind_is_evaluated_and_reported(tmp_path: Path, name: str) -> None:
    log, page = log_of(tmp_path, name), tmp_path / "page.html"
    numbers = invoked("evaluate", *log, "--report", str(page))
    assert [row["model"] for row in numbers["outcomes"]["models"]] == ["small", "large"]
    assert (numbers["n_test"], numbers["n_dropped"]) == (40, 0)
    assert numbers["written"] == str(page)
    qualities = [single["quality"]["value"] for single in numbers["single_models"]]
    rows = np.array([run["quality"] for run in runs()]).reshape(-1, 2)
    # The half that tests, by the seed of the command.
    test = hr.Outcomes(models=["s", "l"], quality=rows, cost=[1.0, 2.0]).split(0.5, rng=0)[1]
    assert qualities == pytest.approx(test.mean_quality.tolist())
    text = page.read_text(encoding="utf-8")
    assert numbers["verdict"][0].split(":")[0] in text
    assert "small" in text


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_log_of_every_kind_is_converted(tmp_path: Path, name: str, suffix: str) -> None:
    log, out = log_of(tmp_path, name), tmp_path / f"converted.{suffix}"
    converted = invoked("convert", log[0], str(out), *log[1:])
    table = hr.Outcomes.from_file(out)
    expected = np.array([run["quality"] for run in runs()]).reshape(-1, 2)
    np.testing.assert_array_equal(table.quality, expected)
    assert table.queries["text"][0] == runs()[0]["text"]
    assert table.mean_cost.tolist() == pytest.approx([row["cost"] for row in converted["outcomes"]["models"]])


# Bad files

TABLE = hr.datasets.simulate(60, 2)


def truncated(path: Path) -> None:
    TABLE.save(path)
    path.write_bytes(path.read_bytes()[:-200])


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a|quality": [1]}))


def csv_of(**columns: list[Any]) -> Callable[[Path], None]:
    return lambda path: write_csv(path, {name.replace("_", "|"): cells for name, cells in columns.items()})


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("t.parquet", truncated, "can't be read as Parquet"),
        ("t.jsonl", truncated, "can't be read as JSON"),
        ("t.pkl", pickled, "a pickle is refused"),
        ("t.parquet", pickled, "save it as Parquet"),
        ("t.csv", csv_of(x=[1], y=[2]), "no known layout"),
        ("t.csv", csv_of(a_quality=[], a_cost=[]), "has no rows"),
        ("t.csv", csv_of(a_quality=[1, 0], a_cost=[1, -2]), "expected a finite number >= 0, or NaN, got -2.0"),
        ("t.csv", csv_of(a_quality=[1, 0], a_cost=["$1", "$2"]), "expected a number, got '$1' for"),
        ("t.csv", csv_of(a_quality=[1, 0], a_tokens=[1, 2]), "name the column that serves as cost"),
        ("t.csv", csv_of(a_quality=[1, 0], a_cost=[1, 2]), "complete queries"),
        ("t.csv", csv_of(a_quality=[], b_quality=[], a_cost=[], b_cost=[]), "has no rows"),
        (
            "t.csv",
            csv_of(a_quality=[1, ""] * 9, b_quality=["", 1] * 9, a_cost=[1] * 18, b_cost=[1] * 18),
            "no query has",
        ),
        ("t.json", lambda path: path.write_text("{"), "can't be read as JSON"),
        ("missing.csv", lambda path: None, "no such file"),
        ("folder.parquet", Path.mkdir, "folder.parquet"),
        ("t.xlsx", lambda path: path.write_text("x"), "pandas.read_excel"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "path", "evaluate"])
def test_bad_files_are_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str, make: Callable[[Path], None], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name)
    wanted = {
        "fit": ["--budget", "1", "--out", "policy.json"],
        "path": ["--out", "path.csv"],
        "evaluate": ["--report", "page.html"],
    }
    result = RUNNER.invoke(app, [command, name, *wanted[command]])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert message in result.stderr
    assert "error:" in result.stderr
    assert "Traceback" not in result.output
    assert not {"policy.json", "path.csv", "page.html"} & {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("columns", "verdict"),
    [
        ({"b_cost": [3e-4] * 120}, "are they in one unit?"),
        ({"a_quality": [1] * 120, "b_quality": [1] * 120}, "every cell is 1; the cheapest model is as good as any"),
        ({"b_quality": None, "b_cost": None}, "there is one model only"),
        ({"b_cost": [400] * 120, "b_quality": [0] * 120}, "a alone is as good (50.0%) at no more cost: use that one"),
    ],
)
def test_odd_tables_get_a_verdict(tmp_path: Path, columns: dict[str, Any], verdict: str) -> None:
    frame = {"a_quality": [1, 0] * 60, "b_quality": [1] * 120, "a_cost": [40] * 120, "b_cost": [80] * 120, **columns}
    csv_of(**{name: cells for name, cells in frame.items() if cells is not None})(tmp_path / "t.csv")
    arguments = ["fit", str(tmp_path / "t.csv"), "--budget", "100", "--out", str(tmp_path / "policy.json")]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert verdict in result.output


@pytest.mark.parametrize(
    ("columns", "code", "verdict"),
    [
        ({"b_cost": [3e-4] * 120}, 0, "are they in one unit?"),
        ({"b_quality": [100, 0] * 60}, 0, "are they on one scale?"),
        (
            {"a_quality": [1] * 120, "b_quality": [1] * 120},
            0,
            "Use a alone: on these 60 queries it is the best model and",
        ),
        ({"a_quality": [1] * 120}, 0, "so there is nothing to trade"),
        ({"b_quality": None, "b_cost": None}, 1, "expected at least two models, got one, 'a'; nothing to choose"),
        ({"b_cost": [40] * 120}, 1, "all cost 40, so there is nothing to trade, and 'b' has the best mean quality"),
        ({"b_quality": ["", 1] * 60}, 0, "only 60 of 120 queries have every model's quality and cost"),
        ({"query_id": ["q"] * 120}, 0, "rows of one query need a column 'group'"),
        ({"group": ["g"] * 120}, 1, "expected queries of at least two groups"),
    ],
)
def test_odd_tables_are_evaluated_or_refused_in_words(
    tmp_path: Path, columns: dict[str, Any], code: int, verdict: str
) -> None:
    frame = {"a_quality": [1, 0] * 60, "b_quality": [1] * 120, "a_cost": [40] * 120, "b_cost": [80] * 120, **columns}
    names = {"query_id": "query_id"}
    kept = {names.get(name, name.replace("_", "|")): cells for name, cells in frame.items() if cells is not None}
    write_csv(tmp_path / "t.csv", kept)
    result = RUNNER.invoke(app, ["evaluate", str(tmp_path / "t.csv")])
    assert result.exit_code == code, result.output
    assert verdict in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("n_queries", [1, 7])
def test_too_few_queries_are_refused_by_their_number(tmp_path: Path, n_queries: int) -> None:
    data = saved(tmp_path, hr.datasets.simulate(n_queries, 2))
    result = RUNNER.invoke(app, ["evaluate", data])
    assert result.exit_code == 1
    assert "expected at least 8 complete queries, one half to fit and one to test on" in result.stderr
    assert f"got {n_queries}" in result.stderr
