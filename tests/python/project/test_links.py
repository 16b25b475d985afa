"""Links between the pages, and the paths and numbers that they name, are right; mkdocs isn't needed for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import headrace as hr

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the tests run without the source tree")

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob(".github/**/*.md"), *DOCS.rglob("*.md")])
BY_NAME = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())

INDEX = DOCS / "results" / "index.md"
ROWS = re.findall(r"^\| \[.+$", INDEX.read_text(encoding="utf-8"), re.M) if INDEX.exists() else []

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(<?([^)\s>]+)>?\)|^\[[^\]]+\]: (\S+)$", re.M)
PATH = re.compile(r"(?<![\w/.*-])(?:docs|tests|benches|scripts|examples|python|rust_src)/[\w./-]*\w/?(?![\w*<{])")
ONE = r"[+-]?\d[\d,]*(?:\.\d+)?"
NUMBER = re.compile(r"(?<![\d.])[+-]?\d[\d,]*\.\d+")


def prose(page: Path) -> str:
    """Give the text without code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def anchors(page: Path) -> set[str]:
    """Give the anchors of the headings, as mkdocs and GitHub make them of plain words."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def broken(page: Path) -> list[str]:
    """Give the links within the repository that lead nowhere."""
    found = []
    for groups in LINK.findall(prose(page)):
        target = groups[0] or groups[1]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            found.append(target)
    return found


@BY_NAME
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_wrong_link_and_a_wrong_anchor_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One: two\n\n[a](page.md#one-two) [b](#three) [c](no.md) [d](https://e.org/no)\n\n```text\n[e](no)\n```\n"
    )
    assert broken(page) == ["#three", "no.md"]


@BY_NAME
def test_every_path_that_is_named_exists(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("it tells what was")
    named = {path.removesuffix("::") for path in PATH.findall(prose(page))}
    named |= {
        f"docs/{path}"
        for path in re.findall(r"(?<!\]\()(?<![\w/.-])([\w-]+\.md)\b", prose(page))
        if DOCS in page.parents
    }
    here = page.parent.relative_to(ROOT).as_posix()
    lacking = [
        path for path in named if not any((ROOT / p).exists() for p in (path, path.replace("docs/", f"{here}/", 1)))
    ]
    assert lacking == []


def test_every_page_is_in_the_navigation() -> None:
    named = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]))
    assert named == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}


def test_every_page_of_results_and_decisions_is_in_its_index() -> None:
    for folder in ("results", "decisions"):
        index = (DOCS / folder / "index.md").read_text(encoding="utf-8")
        pages = {page.name for page in (DOCS / folder).glob("*.md")} - {"index.md"}
        assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == pages


@pytest.mark.parametrize("line", ROWS)
def test_the_numbers_of_the_index_of_results_stand_on_their_pages(line: str) -> None:
    name, sentence, number = re.fullmatch(r"\| \[.+?\]\(([\w-]+\.md)\) \| (.+) \| (.+) \|", line).groups()  # type: ignore[union-attr]
    page = (DOCS / "results" / name).read_text(encoding="utf-8")
    wanted = set(NUMBER.findall(sentence)) | set(re.findall(rf"{ONE}%?(?: \[.+?\]| (?:±|\+-) {ONE})?", number))
    assert [one for one in wanted if not re.search(rf"(?<![\d.]){re.escape(one)}(?![\d.]*\d)", page)] == []


def test_the_numbers_of_the_faq_stand_on_the_pages_that_it_names() -> None:
    for answer in prose(DOCS / "faq.md").split("\n## ")[1:]:
        named = re.findall(r"docs/([\w/-]+\.md)", answer)
        pages = "\n".join((DOCS / name).read_text(encoding="utf-8") for name in named)
        for number in NUMBER.findall(re.sub(r"`[^`]*`", "", answer)):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", pages), (number, answer.partition("\n")[0])


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    shown = set(re.findall(r"^::: headrace\.(\w+)", text, re.M))
    # A room that is shown shows what it lists.
    with_rooms = {name for room in shown for name in getattr(getattr(hr, room, None), "__all__", ())}
    assert set(hr.__all__) - shown - with_rooms - {"__version__"} == set()
