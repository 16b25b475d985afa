"""`make stale` names the pages of results that are older than what they measure."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "scripts" / "stale.py"
RESULTS = ROOT / "docs" / "results"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the tests run without the source tree")

stale = runpy.run_path(str(SCRIPT)) if SCRIPT.exists() else {}


@pytest.mark.parametrize("page", sorted({*RESULTS.glob("*.md")} - {RESULTS / "index.md"}), ids=lambda page: page.stem)
def test_every_page_of_results_names_its_command(page: Path) -> None:
    measured = stale["measured"](page.read_text(encoding="utf-8"))
    # A bench, and something that it measures.
    assert len(measured) > 1


def test_what_a_bench_measures_is_what_it_imports() -> None:
    rooms = {path.as_posix() for path in stale["rooms"](Path("benches/python/drift.py"))}
    assert {"python/headrace/serving", "python/headrace/router.py", "python/headrace/beliefs"} <= rooms
    assert "rust_src" not in rooms
    assert Path("rust_src") in stale["rooms"](Path("benches/python/pooling.py"))


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_page_is_stale_once_its_bench_or_a_room_has_changed(tmp_path: Path) -> None:
    def write(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def commit() -> None:
        who = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
        for arguments in (["add", "-A"], [*who, "commit", "-qm", "x"]):
            subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    write("python/headrace/__init__.py", "")
    write("python/headrace/serving/one.py", "")
    write("benches/python/a.py", "from headrace.serving import one")
    write("benches/python/b.py", "")
    write("docs/results/a.md", "`python benches/python/a.py`\n\n| n |\n|---|\n| 1 |\n")
    write("docs/results/b.md", "`python benches/python/b.py`\n\n| n |\n|---|\n| 1 |\n")
    commit()
    assert stale["report"](tmp_path) == ["all 2 pages of docs/results are as new as what they measure"]
    write("python/headrace/serving/one.py", "changed = 1")
    commit()
    # Words alone don't make a page newer.
    write("docs/results/a.md", "`python benches/python/a.py`, in words\n\n| n |\n|---|\n| 1 |\n")
    commit()
    lines = stale["report"](tmp_path)
    assert lines[0].startswith("1 of 2 pages")
    assert [line.split() for line in lines[2:]] == [["a.md", lines[2].split()[1], "serving", "1"]]
    write("docs/results/a.md", "`python benches/python/a.py`, in words\n\n| n |\n|---|\n| 2 |\n")
    write("benches/python/b.py", "changed = 1")
    commit()
    assert [line.split()[0] for line in stale["report"](tmp_path)[2:]] == ["b.md"]


def test_without_history_it_says_so(tmp_path: Path) -> None:
    assert stale["report"](tmp_path)[0].startswith("stale: not known")
