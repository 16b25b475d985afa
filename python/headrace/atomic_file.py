"""Files that are whole: drafts, which appear under their name once they are on the disk, and lines of a log."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["append_line", "draft_of", "same_file"]


@contextmanager
def draft_of(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty file beside a file; what is written there replaces the file if all went well.

    A file that exists keeps its mode, and a symbolic link stays one: the file that it points to is replaced.

    Parameters
    ----------
    path : path-like
        The file that is to appear. The draft has its suffix.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    OSError
        The file can't be written, or is a folder or a device; the error names the file, not its draft.

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
    target = Path(os.path.realpath(path))
    mode = _mode_of(target)
    draft = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        # Nobody else may read the draft of a file that is kept from others.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else 0o600))
        yield draft
        if mode is not None:
            draft.chmod(mode)
        _to_disk(draft, os.O_RDWR)
        draft.replace(target)
        if os.name == "posix":
            _to_disk(target.parent, os.O_RDONLY)
    except OSError as error:
        if error.filename is not None and str(error.filename) == str(draft):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        draft.unlink(missing_ok=True)


def same_file(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    """Tell whether two paths lead to one file, by another spelling or a link as well.

    Examples
    --------
    >>> from headrace.atomic_file import same_file
    >>> same_file("log.csv", "./log.csv"), same_file("log.csv", "other.csv")
    (True, False)
    """
    if Path(a).exists() and Path(b).exists():
        return Path(a).samefile(b)
    return os.path.realpath(a) == os.path.realpath(b)


def append_line(file: int, line: bytes, path: str | os.PathLike[str]) -> None:
    """Write a line to the end of a file that other processes write to, each of which may be killed amid its line.

    Parameters
    ----------
    file : int
        Open for reading and appending.
    line : bytes
        With its end.
    path : path-like
        The file's name, for the error.

    Raises
    ------
    OSError
        The line can't be written.
    """
    if not _line_starts(file, os.fstat(file).st_size):  # torn, or another's that is being written
        line = b"\n" + line
    if not _line_starts(file, _appended(file, line, path)) and not line.startswith(b"\n"):
        # Another process was killed amid its line just now, and this line hangs on to what is torn.
        _appended(file, line, path)


def _appended(file: int, line: bytes, path: str | os.PathLike[str]) -> int:
    """Write to the end of a file; give the place where that was."""
    written = os.write(file, line)
    if written < len(line):
        raise OSError(f"{path}: only {written} of {len(line)} bytes could be written; is the disk full?")
    return os.lseek(file, 0, os.SEEK_CUR) - written


def _line_starts(file: int, place: int) -> bool:
    """Tell whether a line starts at a place: the byte before it ends one."""
    if place <= 0:
        return True
    os.lseek(file, place - 1, os.SEEK_SET)
    return os.read(file, 1) == b"\n"


def _mode_of(target: Path) -> int | None:
    """Give the permissions of a file; None if there is none yet."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, os.strerror(code), str(target))
    return stat.S_IMODE(mode)


def _to_disk(path: Path, flags: int) -> None:
    """Have what was written survive a crash of the machine."""
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)
