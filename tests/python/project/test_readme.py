"""The examples of the README and of the pages on serving run; the first one prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

README = ROOT / "README.md"

#: Pages whose examples run.
PAGES = [README, *(path for path in (ROOT / "docs").glob("*.md") if path.stem in ("serving",))]


def blocks(language: str, page: Path = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize(
    ("page", "code"),
    [(page, code) for page in PAGES for code in blocks("python", page)],
    ids=lambda given: given.stem if isinstance(given, Path) else given.splitlines()[2][:40],
)
def test_example_runs(page: Path, code: str) -> None:
    exec(compile(code, str(page), "exec"), {})


def test_first_example_prints_the_decision_shown(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("python")[0], str(README), "exec"), {})
    assert capsys.readouterr().out == blocks("text")[0]
