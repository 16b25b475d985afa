"""What the commands write: refused before the work where it can't be written, and no reason to lose the result."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

__all__ = ["Output", "attempted", "check_writable"]


class Output(NamedTuple):
    """A file that was to be written.

    Attributes
    ----------
    path : Path or None
        Where it is; None if it isn't there.
    failure : Exception or None
        Why it isn't.
    """

    path: Path | None = None
    failure: Exception | None = None


def check_writable(option: str, path: Path) -> None:
    """Refuse a file that can't be written, before there is anything to write.

    Parameters
    ----------
    option : str
        Which option named it, for the message.
    path : Path

    Raises
    ------
    OSError
        Its folder isn't there or can't be written to, or it is a folder itself.

    Examples
    --------
    >>> from pathlib import Path
    >>> from headrace.commands.outputs import check_writable
    >>> check_writable("--out", Path("no/curve.png"))
    Traceback (most recent call last):
    OSError: --out: expected a file in a folder that can be written to, got no/curve.png (No such file or directory)
    """
    reason = "it is a folder" if path.is_dir() else None
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        reason = reason or error.strerror or str(error)
    if reason is not None:
        raise OSError(f"{option}: expected a file in a folder that can be written to, got {path} ({reason})")


def attempted(write: Callable[[], Path]) -> Output:
    """Write a file; whatever fails is for the caller to raise once the result is printed, so that no work is lost."""
    try:
        return Output(write())
    except Exception as error:
        return Output(failure=error)
