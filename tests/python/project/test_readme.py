"""The examples of the README run, and print what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[3] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[2][:40])
def test_example_runs(code: str) -> None:
    exec(compile(code, str(README), "exec"), {})


def test_first_example_prints_the_decision_shown(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("python")[0], str(README), "exec"), {})
    assert capsys.readouterr().out == blocks("text")[0]
