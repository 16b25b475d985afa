"""The programs in examples/ run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.py"))

#: What an example needs beside the package; `make test-with-rayserve` has Ray Serve.
NEEDED = {"own_log": "pyarrow", "classifiers": "sklearn", "gateway": "uvicorn", "ray_serve": "ray.serve"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_says_something(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if path.stem in NEEDED:
        pytest.importorskip(NEEDED[path.stem])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out
