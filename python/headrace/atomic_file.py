"""Drafts: a file appears under its name once it is whole, or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["draft_of"]


@contextmanager
def draft_of(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside a file; what is written there replaces the file if all went well.

    Parameters
    ----------
    path : path-like
        The file that is to appear. The draft has its suffix.

    Yields
    ------
    Path
        Where to write.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from headrace.atomic_file import draft_of
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
    >>> with draft_of(path) as draft:
    ...     _ = draft.write_text("whole")
    ...     path.exists()
    False
    >>> path.read_text()
    'whole'
    """
    target = Path(path)
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
