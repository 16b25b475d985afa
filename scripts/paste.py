"""Replace a block of text in a document by what comes in: ``COMMAND | python scripts/paste.py FILE NAME``.

The block is the fenced one after the line ``<!-- NAME -->``. Nothing coming in is an error: the command has failed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main() -> None:
    file, name = Path(sys.argv[1]), sys.argv[2]
    text = sys.stdin.read().rstrip()
    if not text:
        sys.exit(f"paste: nothing came in for {name}")
    before = file.read_text(encoding="utf-8")
    block = re.compile(rf"(<!-- {re.escape(name)} -->\n+```text\n).*?(\n```)", re.DOTALL)
    after, n = block.subn(lambda found: found[1] + text + found[2], before)
    if n != 1:
        sys.exit(f"paste: {n} blocks named {name} in {file}, not one")
    file.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
