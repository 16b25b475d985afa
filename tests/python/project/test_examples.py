"""The programs in examples/ run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_says_something(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if path.stem == "own_log":
        pytest.importorskip("pyarrow")
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out
