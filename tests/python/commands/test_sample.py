"""The sample log, and the commands of the README on it, as typed in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import headrace as hr

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

from command_line import RUNNER, invoked, saved

from headrace.commands import app
from headrace.commands.sample import MODELS, N_QUERIES, sample_log

README = Path(__file__).parents[3] / "README.md"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(sample_log(), encoding="utf-8")
    return path


def test_the_sample_is_the_same_every_time_and_whole(log: Path, tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["sample"]).stdout == sample_log()
    out = tmp_path / "other.csv"
    assert RUNNER.invoke(app, ["sample", "--out", str(out)]).exit_code == 0
    assert out.read_bytes() == log.read_bytes()
    again = RUNNER.invoke(app, ["sample", "--out", str(out)])
    assert again.exit_code == 1
    assert "exists; name another file, or replace it with --force" in again.stderr
    assert RUNNER.invoke(app, ["sample", "--out", str(out), "--force"]).exit_code == 0
    outcomes = hr.Outcomes.from_file(log)
    assert outcomes.quality.shape == (N_QUERIES, len(MODELS))
    assert not outcomes.n_missing
    assert set(outcomes.queries) == {"text", "task"}
    assert set(outcomes.responses) == {"answer", "logprob", "cost"}
    assert outcomes.responses["answer"].dtype == object


def test_a_router_pays_on_the_sample(log: Path) -> None:
    fitting, test = hr.Outcomes.from_file(log).split(0.5)
    evaluation = hr.evaluate(hr.Router().fit(fitting), test, fitting=fitting)
    assert evaluation.summary().startswith("This router pays")
    assert hr.diagnosis.used_columns(fitting).suspects == ()


@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are typed into a shell")
@pytest.mark.skipif(not README.exists(), reason="the tests run without the source tree")
@pytest.mark.timeout(300)
def test_the_commands_of_the_readme_run_as_typed_in_an_empty_folder(tmp_path: Path) -> None:
    programs, folder = tmp_path / "bin", tmp_path / "empty"
    programs.mkdir()
    folder.mkdir()
    headrace = programs / "headrace"
    code = "from headrace.cli import main; main()"
    headrace.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
    headrace.chmod(headrace.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "TERM": "dumb", "COLUMNS": "200"}
    blocks = re.findall(r"```console\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ headrace ")]
    # RouterBench isn't here; the demonstrations are tested by themselves.
    elsewhere = ("headrace serve", "headrace demo")
    commands = [line for line in lines if "--data DIR" not in line and not line.startswith(elsewhere)]
    assert [command.split()[1] for command in commands] == [
        *["sample", "evaluate"],
        *["sample", "convert", "path", "fit"],
        *["show", "evaluate", "evaluate", "explain"],
    ]
    said = {}
    for command in commands:
        run = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert run.returncode == 0, (command, run.stdout, run.stderr)
        assert "Traceback" not in run.stderr
        said[command.split()[1]] = run.stdout
    assert {path.name for path in folder.iterdir()} == {
        "log.csv",
        "log.parquet",
        "path.png",
        "router.headrace",
        "page.html",
    }
    assert (folder / "path.png").read_bytes().startswith(b"\x89PNG")
    assert hr.load(folder / "router.headrace").models == tuple(model.name for model in MODELS)
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "<html" in page
    assert not re.search(r"(src|href)=\"https?://", page)
    assert "what columns bring" in said["convert"]
    assert "guarantee: mean cost at most 0.002" in said["fit"]
    assert said["evaluate"].startswith("This router pays")
    assert "Run small: cascade-routing" in said["explain"]


# What columns bring, on the command line


@pytest.fixture
def leaking(tmp_path: Path, log: Path) -> str:
    outcomes = hr.Outcomes.from_file(log)
    winner = [outcomes.models[j] for j in outcomes.quality.argmax(axis=1)]
    return saved(tmp_path, hr.Outcomes(**{**fields(outcomes), "queries": {**outcomes.queries, "winner": winner}}))


def fields(outcomes: hr.Outcomes) -> dict[str, object]:
    names = ("models", "quality", "cost", "ids", "queries", "responses")
    return {name: getattr(outcomes, name) for name in names}


def test_a_leak_is_named_by_every_command_that_reads_a_log(leaking: str, tmp_path: Path) -> None:
    for arguments in (
        ["convert", leaking, str(tmp_path / "t.csv")],
        ["fit", leaking, "--budget", "0.002", "--out", str(tmp_path / "p.json")],
        ["evaluate", leaking],
    ):
        result = RUNNER.invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert "suspect: the query column 'winner' may know the outcome" in result.output
        assert "--ignore winner" in result.output


def test_columns_are_chosen_and_told_as_json(leaking: str, tmp_path: Path) -> None:
    out, policy = str(tmp_path / "t.csv"), str(tmp_path / "p.json")
    told = invoked("convert", leaking, out)["used_columns"]
    assert [oddity["kind"] for oddity in told["oddities"]][:1] == ["suspect"]
    assert {column["name"] for column in told["columns"]} == {"text", "task", "winner", "answer", "logprob", "cost"}
    kept = invoked("convert", leaking, out, "--ignore", "winner,logprob", "--force")
    assert set(kept["outcomes"]["queries"]) == {"text", "task"}
    assert not [oddity for oddity in kept["used_columns"]["oddities"] if oddity["kind"] == "suspect"]
    fitted = invoked("fit", leaking, "--budget", "0.002", "--features", "task,answer", "--out", policy)
    assert [column["name"] for column in fitted["used_columns"]["columns"]] == ["task", "answer"]
    assert fitted["unused_models"] == []
    unknown = RUNNER.invoke(app, ["evaluate", leaking, "--ignore", "winers"])
    assert unknown.exit_code == 1
    assert "columns: unknown 'winers' (did you mean 'winner'?)" in unknown.stderr
    both = RUNNER.invoke(app, ["evaluate", leaking, "--ignore", "a", "--features", "b"])
    assert both.exit_code == 1
    assert "--features, --ignore: expected one of them, got both" in both.stderr
