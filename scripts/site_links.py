"""Make links of the pages that the pages name: ``docs/serving.md`` becomes a link to it; a hook of mkdocs.yml."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"

#: A page or a folder with an index, as text or as code; not one within a link or a longer path.
NAMED = re.compile(r"`docs/([\w/.-]*?)`|(?<![\w/`(\[.])docs/([\w/-]+\.md)\b")


def linked(text: str, page: str) -> str:
    """Give the Markdown of `page`, a path in docs/, with links for the pages that it names outside of code blocks."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else NAMED.sub(lambda m: _link(m, page), part) for part in parts)


def _link(match: re.Match[str], page: str) -> str:
    target = match[1] if match[1] is not None else match[2]
    path = target if target.endswith(".md") else posixpath.join(target, "index.md")
    if not (DOCS / path).is_file():
        return match[0]
    heading = re.search(r"^# (.+)$", (DOCS / path).read_text(encoding="utf-8"), flags=re.MULTILINE)
    title = heading[1].split(":")[0] if heading else target
    return f"[{title}]({posixpath.relpath(path, posixpath.dirname(page) or '.')})"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return linked(markdown, page.file.src_uri)
