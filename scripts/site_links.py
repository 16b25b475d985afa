"""Make links of the pages that a page names: ``docs/serving.md`` becomes a link to it. A hook of mkdocs.yml."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"

#: A page as ``docs/...`` or by a name in its own folder, or a folder with an index; text or code, and not in a link.
NAMED = re.compile(
    r"(?<!\]\()(?<![\w/`])(?:`docs/([\w/-]+(?:\.md|/))`|`([\w-]+\.md)`|docs/([\w/-]+\.md)\b|([\w-]+\.md)\b)"
)


def linked(text: str, page: str) -> str:
    """Give the Markdown of `page`, a path in docs/, with links for the pages that it names outside of code blocks."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else NAMED.sub(lambda m: _link(m, page), part) for part in parts)


def _link(match: re.Match[str], page: str) -> str:
    folder = posixpath.dirname(page)
    rooted, near = match[1] or match[3], match[2] or match[4]
    path = posixpath.normpath(rooted or posixpath.join(folder, near))
    if rooted and rooted.endswith("/"):
        path = posixpath.join(path, "index.md")
    if not (DOCS / path).is_file() or path == page:
        return match[0]
    title = (DOCS / path).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").partition(":")[0]
    return f"[{title}]({posixpath.relpath(path, folder or '.')})"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Give mkdocs the Markdown of a page."""
    return linked(markdown, page.file.src_uri)
