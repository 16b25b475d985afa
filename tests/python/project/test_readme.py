"""The Python blocks of the README and of every page run, and print what the page says.

They run in a folder of their own, which holds the sample log of the command line. A text block right after a Python
block is what that one prints; numbers of other pages than the README to within 2%. A block that can't run here has a
comment before it, ``<!-- not run: why -->``, which readers don't see.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
pytest.importorskip("narwhals")

from headrace.commands.sample import sample_log

ROOT = Path(__file__).parents[3]

README = ROOT / "README.md"

#: Pages whose examples are run by other tests: tests/integrations/test_docs.py has the packages that they need, and
#: those of the quickstart go on from one another (tests/python/commands/test_quickstart_page.py).
ELSEWHERE = {"integrations.md", "quickstart.md"}

#: Blocks that are run by no test: the client of a gateway.
N_NOT_RUN = 1

BLOCK = re.compile(r"(<!-- not run: .+? -->\n)?^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.S | re.M)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")

PAGES = [README, *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name not in ELSEWHERE)]
BLOCKS = [
    (page, found.string[: found.start(2)].count("\n"), *found.groups())
    for page in PAGES
    if page.exists()
    for found in BLOCK.finditer(page.read_text(encoding="utf-8"))
]
RUN = [(page, line, code, printed) for page, line, left_out, code, printed in BLOCKS if not left_out]


@pytest.mark.parametrize(
    ("page", "line", "code", "printed"), RUN, ids=[f"{page.stem}-{line}" for page, line, *_ in RUN]
)
def test_example_runs(
    page: Path,
    line: int,
    code: str,
    printed: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text(sample_log(), encoding="utf-8")
    exec(compile("\n" * line + code, str(page), "exec"), {"__name__": "__main__"})
    got = capsys.readouterr().out
    if printed is not None and page == README:
        assert got == printed
    elif printed is not None:
        same_words_and_numbers(got, printed)


def same_words_and_numbers(got: str, wanted: str) -> None:
    assert NUMBER.sub("N", got) == NUMBER.sub("N", wanted)
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (got, wanted)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=1e-9)


def test_few_blocks_are_not_run() -> None:
    assert len(BLOCKS) - len(RUN) == N_NOT_RUN


def test_no_python_hides_in_another_kind_of_block() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        kinds = set(re.findall(r"^```(.*)$", text, re.MULTILINE)[::2])
        assert kinds <= {"python", "pycon", "text", "console", "toml", "yaml", "csv"}, page
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
        assert not re.search(r"^ {4}(import|from|hr\.|router = |>>> )", prose, re.M), page
