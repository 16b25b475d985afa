"""The decision log: one line of JSON per event, written by several threads and processes, without any text in it.

An event is one write at the end of the file, so an interruption tears at most the line of its process, which reading
leaves out.
A file that has grown too large becomes ``<name>.1``, the one before ``<name>.2``, and so on. What the events hold is
said in `headrace.runner.events`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from headrace.arguments import checked_int
from headrace.atomic_file import append_line
from headrace.json_values import json_of, plain

if sys.platform != "win32":
    import fcntl

__all__ = ["MARK", "DecisionLog", "events_in", "is_decision_log", "open_parts", "read_log"]

#: First key of every line, and the format.
MARK = ("headrace", "decision-log-1")

#: How every line begins; a later format only differs in its number.
BEGINNING = f'{{"{MARK[0]}":"decision-log-'

#: How a file is opened: for appending, and for looking at its last byte.
FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


class DecisionLog:
    """Appends events to a log that `read_log` reads.

    Parameters
    ----------
    path : path-like
        Ends in .jsonl; what is in the file stays, and new lines come below it.
    max_bytes : int, default 64 MiB
        A file of this size is renamed, and a new one begun.
    keep : int, default 5
        How many renamed files are kept.

    Raises
    ------
    TypeError, ValueError
        Another suffix, a file that holds something else, numbers below 1.
    OSError
        The file can't be written.

    Notes
    -----
    A line is on its way to the disk when the call returns: it survives the end of the program, not always that of the
    machine. On Windows a file that another process holds open isn't renamed, and grows on.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from headrace.runner.log import DecisionLog, read_log
    >>> log = DecisionLog(pathlib.Path(tempfile.mkdtemp()) / "decisions.jsonl")
    >>> log.append({"event": "feedback", "id": "q-17", "quality": 1.0})
    >>> [(event["id"], event["quality"]) for event in read_log(log.path)]
    [('q-17', 1.0)]
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = 64 * 2**20, keep: int = 5) -> None:
        self.path: Path = Path(path)
        self.max_bytes: int = checked_int("max_bytes", max_bytes, 1)
        self.keep: int = checked_int("keep", keep, 1)
        if self.path.suffix.lower() not in (".jsonl", ".ndjson"):
            raise ValueError(f"path: expected a name that ends in .jsonl, got {self.path.name!r}")
        self._lock = threading.Lock()
        self._file: int | None = None
        #: Lines of policies by fingerprint, and those that the file has got from here.
        self._policies: dict[str, bytes] = {}
        self._told: set[str] = set()
        with self._lock:
            start = self._start(self._opened())
        if not BEGINNING.startswith(start) and not is_decision_log(start):  # a line may be torn at once
            self.close()
            raise ValueError(f"path: {self.path} holds something else than a decision log; name another file")

    def __repr__(self) -> str:
        return f"DecisionLog({str(self.path)!r})"

    def append(self, event: Mapping[str, Any]) -> None:
        """Append an event; it gets the time. A policy is written again whenever a new file is begun.

        Parameters
        ----------
        event : mapping of str to value
            Values are what JSON knows, or arrays; a number that isn't finite becomes null, or "inf".

        Raises
        ------
        OSError
            The line can't be written.
        """
        stamped = {MARK[0]: MARK[1], "event": event["event"], "time": round(time.time(), 3), **event}
        line = json.dumps(plain(stamped, infinity="inf"), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        policy = event.get("policy")
        with self._lock:
            file = self._opened()
            if event["event"] == "policy":
                self._policies[event["policy"]] = line
            elif policy in self._policies and policy not in self._told:
                line = self._policies[policy] + line
            append_line(file, line, self.path)
            if policy is not None:
                self._told.add(policy)

    def close(self) -> None:
        """Close the file; the next event opens it again."""
        with self._lock:
            self._closed()

    def _closed(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None
        self._told.clear()

    def _opened(self) -> int:
        """Give the file of now: another process may have renamed the one before, and a full one is renamed here."""
        if self._file is not None:
            held = os.fstat(self._file)
            current = _stat(self.path)
            if current is None or not os.path.samestat(held, current):
                self._closed()
            elif held.st_size >= self.max_bytes:
                self._closed()
                self._rotate()
        if self._file is None:
            self._file = os.open(self.path, FLAGS, 0o666)
        return self._file

    def _rotate(self) -> None:
        """Rename the full file and those before it, unless another process just has."""
        with _alone(self.path), suppress(PermissionError):
            current = _stat(self.path)
            if current is None or current.st_size < self.max_bytes:
                return
            # Up to the first gap only, as a process that ended amid this leaves one.
            parts = [self.path]
            while parts[-1].exists() and len(parts) <= self.keep:
                parts.append(_part(self.path, len(parts)))
            for older, newer in zip(parts[:0:-1], parts[-2::-1], strict=True):
                newer.replace(older)

    @staticmethod
    def _start(file: int) -> str:
        os.lseek(file, 0, os.SEEK_SET)
        return os.read(file, 4096).decode(errors="replace")


def read_log(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Read the events of a log and of its renamed files, the oldest first. Lines that are torn are left out.

    Parameters
    ----------
    path : path-like
        The file that is written now.

    Yields
    ------
    dict

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A line of a newer version, or without an event's name; lines, and none of a decision log.

    Examples
    --------
    See `DecisionLog`.
    """
    path = Path(path)
    with ExitStack() as stack:
        files = [stack.enter_context(file) for file in open_parts(path)]
        if not files:
            raise FileNotFoundError(f"no such file: {path}")
        n_lines = n_events = 0
        for file in reversed(files):
            for line in file:
                n_lines += 1
                for event in events_in([line], str(path)):
                    n_events += 1
                    yield event
        if n_lines > 1 and not n_events:
            raise ValueError(f"{path}: expected the lines of a decision log, got something else")


def open_parts(path: Path) -> list[BinaryIO]:
    """Open the file that is written now and the renamed ones, the newest first, each file once.

    The caller closes them.

    Examples
    --------
    >>> import pathlib
    >>> from headrace.runner.log import open_parts
    >>> open_parts(pathlib.Path("no-such.jsonl"))
    []
    """
    numbers = [int(part.suffix[1:]) for part in path.parent.glob(f"{path.name}.*") if part.suffix[1:].isdecimal()]
    # The newest first: a file that is renamed meanwhile is met twice, and known by its number on the disk.
    files: dict[tuple[int, int], BinaryIO] = {}
    for part in [path, *(_part(path, number) for number in sorted(numbers))]:
        with suppress(FileNotFoundError):
            file = part.open("rb")
            found = os.fstat(file.fileno())
            if files.setdefault((found.st_dev, found.st_ino), file) is not file:
                file.close()
    return list(files.values())


def events_in(lines: Iterable[bytes], source: str) -> Iterator[dict[str, Any]]:
    r"""Read the lines that are whole.

    Raises
    ------
    ValueError
        A line of a newer version, or without an event's name.

    Examples
    --------
    >>> from headrace.runner.log import events_in
    >>> list(events_in([b'{"headrace":"decision-log-1","event":"audit"}\n', b'{"headrace":"decision-l'], "log"))
    [{'headrace': 'decision-log-1', 'event': 'audit'}]
    """
    for line in lines:
        try:
            event = json_of(line)
        except ValueError:
            continue
        if not isinstance(event, dict) or not str(event.get(MARK[0])).startswith("decision-log-"):
            continue
        if event[MARK[0]] != MARK[1]:
            raise ValueError(f"{source}: expected lines of {MARK[1]!r}, got {event[MARK[0]]!r}; update headrace")
        if not isinstance(event.get("event"), str):
            raise ValueError(f"{source}: expected an event's name as 'event', got {event.get('event')!r:.40}")
        yield event


def is_decision_log(text: str) -> bool:
    """Tell whether text holds lines of a decision log; the first one may be torn.

    Examples
    --------
    >>> from headrace.runner.log import is_decision_log
    >>> is_decision_log('{"headrace":"decision-log-1","event":"policy"}'), is_decision_log("a,b")
    (True, False)
    """
    # Other programs write a space after a colon.
    return any(line.replace(": ", ":", 1).startswith(BEGINNING) for line in text.split("\n", 2)[:2])


def _part(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process renames; a process that ends lets go."""
    if sys.platform == "win32":
        yield
        return
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
