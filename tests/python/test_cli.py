"""The command line: what it prints, writes and refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import headrace as hr
from headrace import cli

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

from headrace.commands import app
from headrace.commands.demo import efficient_models

RUNNER = CliRunner()


def saved(tmp_path: Path, outcomes: hr.Outcomes) -> str:
    path = tmp_path / "log.npz"
    outcomes.save(path)
    return str(path)


def test_demo_prints_tables_and_writes_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    data = saved(tmp_path, hr.datasets.simulate(300, 3))
    result = RUNNER.invoke(app, ["demo", "--data", data, "--out", str(picture)])
    assert result.exit_code == 0, result.output
    for words in ("Single models", "model-1", "cascade routing", "index rule", "Cascade routing beats"):
        assert words in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curve.png", "log.npz"]


def test_demo_json_holds_the_numbers(tmp_path: Path) -> None:
    data = saved(tmp_path, hr.datasets.simulate(300, 3))
    result = RUNNER.invoke(app, ["demo", "--data", data, "--json", "--out", str(tmp_path / "a.png")])
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert [model["model"] for model in numbers["models"]] == ["model-1", "model-2", "model-3"]
    areas = {method["method"]: method["area"] for method in numbers["methods"]}
    assert areas["cascade-routing"] > areas["linear interpolation"]
    assert numbers["n_fit"] + numbers["n_test"] == 300


def test_demo_takes_the_models_asked_for(tmp_path: Path) -> None:
    data = saved(tmp_path, hr.datasets.simulate(300, 4))
    chosen = ["--models", "model-4, model-1"]
    result = RUNNER.invoke(app, ["demo", "--data", data, "--json", "--out", str(tmp_path / "a.png"), *chosen])
    assert [model["model"] for model in json.loads(result.stdout)["models"]] == ["model-4", "model-1"]


def test_a_single_model_that_wins_is_said_to_win(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    quality = np.column_stack([rng.random(300) < 0.3, np.ones(300)]).astype(float)
    outcomes = hr.Outcomes(models=["weak", "perfect"], quality=quality, cost=[1.0, 1.01])
    data = saved(tmp_path, outcomes)
    result = RUNNER.invoke(app, ["demo", "--data", data, "--json", "--out", str(tmp_path / "a.png")])
    verdict = json.loads(result.stdout)["verdict"]
    assert any("cannot be told from" in line or "is beaten by" in line for line in verdict)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "no-such-file.parquet"], "no-such-file.parquet"),
        (["--models", "centroid,nobody"], "nobody"),
        (["--models", "centroid"], "at least two models"),
        (["--data", "log.pickle"], "log.pickle"),
    ],
)
def test_demo_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.pickle").write_bytes(b"\x80")
    result = RUNNER.invoke(app, ["demo", *arguments])
    assert result.exit_code == 1
    assert message in result.output
    assert "error:" in result.output
    assert not list(tmp_path.glob("*.png"))


def test_version() -> None:
    assert RUNNER.invoke(app, ["--version"]).output.strip() == hr.__version__


def test_without_typer_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "headrace.commands", raising=False)
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit, match=r"pip install 'headrace\[cli\]'"):
        cli.main()


def test_efficient_models_are_undominated_and_at_most_five() -> None:
    cost = np.geomspace(1.0, 100.0, 9)
    quality = np.array([0.1, 0.3, 0.2, 0.5, 0.6, 0.7, 0.8, 0.75, 0.9])
    outcomes = hr.Outcomes(models=list("abcdefghi"), quality=np.tile(quality, (3, 1)), cost=cost)
    chosen = efficient_models(outcomes)
    assert len(chosen) == 5
    assert chosen[0] == "a"
    assert chosen[-1] == "i"
    assert not {"c", "h"} & set(chosen)
