"""Files, as named columns: Parquet, CSV, TSV, JSON and JSON lines.

pyarrow is imported where it is used: ``pip install 'headrace[data]'``. Pickles are refused.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from headrace.arguments import Column
from headrace.extras import imported
from headrace.json_values import json_of
from headrace.outcomes.readers.cells import boxed
from headrace.outcomes.readers.decided import decided_columns
from headrace.outcomes.readers.delimited import delimited_columns, delimited_line
from headrace.outcomes.readers.eval_logs import nested_records
from headrace.outcomes.readers.frame import frame_columns
from headrace.outcomes.readers.recorded import (
    is_recorded,
    recorded_columns,
    recorded_events,
    recorded_line,
    recorded_lines,
)
from headrace.outcomes.rows import Rows
from headrace.runner.log import events_in, is_decision_log, read_log

__all__ = ["FileLines", "file_columns", "file_line", "is_pickle", "kind_of", "refuse_pickle"]

PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".zip")
JSON_LINES = (".jsonl", ".ndjson")
DELIMITED = (".csv", ".tsv")

#: What to do about files that aren't read.
WAYS_OUT = dict.fromkeys(
    (".xlsx", ".xls", ".ods"), ": read it with pandas.read_excel, and pass the frame to Outcomes.from_frame"
)


def refuse_pickle(path: Path) -> None:
    """Refuse a pickle, and name the safe way."""
    if is_pickle(path):
        raise ValueError(
            f"{path}: a pickle is refused: it is unsafe to load, because it can run any code. RouterBench's published "
            "pickles are read without running them by headrace.datasets.load_routerbench and headrace bench "
            "routerbench; load any other yourself where you trust it (e.g. pandas.read_pickle), and save it as Parquet"
        )


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle, by its name or by its first bytes."""
    suffix = path.suffix.lower()
    content = Path(path.stem).suffix.lower() if suffix in COMPRESSIONS else suffix
    return content in PICKLES or (path.is_file() and _starts_like_a_pickle(path))


def _starts_like_a_pickle(path: Path) -> bool:
    """Whether a file begins with the opcode PROTO and a protocol number, as pickles since protocol 2 do."""
    with path.open("rb") as file:
        start = file.read(2)
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5


def kind_of(path: Path) -> str:
    """Give the suffix that says what a file holds; that of a .gz file is the one before."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix == ".gz" else suffix


def file_columns(path: Path, notes: list[str]) -> tuple[dict[str, Column], frozenset[str]]:
    """Read the columns of a file, and name those whose text may stand for numbers.

    What was left out is added to `notes`.
    """
    kind = kind_of(path)
    if kind == ".parquet" and path.suffix.lower() != ".gz":
        columns = frame_columns(_parquet(path), _rows(path))
        # What the columns were copied from is free, and would stay with Arrow.
        imported("pyarrow", "reading Parquet").default_memory_pool().release_unused()
        return columns, frozenset()
    if kind in DELIMITED:
        return delimited_columns(path, _content(path), notes)
    if kind == ".json" or kind in JSON_LINES:
        return frame_columns(_json(path, _content(path), notes), _rows(path)), frozenset()
    wanted = "expected a file that ends in .parquet, .csv, .tsv, .json or .jsonl (.gz after the last four)"
    hint = WAYS_OUT.get(kind, "")
    raise ValueError(f"{path}: {wanted}, got {path.suffix.lower()!r}{hint}")


def file_line(path: Path, row: int, model: str | None = None) -> int | None:
    """Look for the line of a file at which a row begins, for a message: the file is read once more.

    Parameters
    ----------
    path : Path
    row : int
        Row of the columns that `file_columns` gives.
    model : str, optional
        Which of the row's runs, in a log of a `Recorder`: there each has a line.

    Returns
    -------
    int or None
        Counted from 1; None for a file whose rows aren't lines (Parquet, a JSON array, a decision log), or
        that is gone.
    """
    kind = kind_of(path)
    try:
        if kind in DELIMITED:
            return delimited_line(path, _content(path), row)
        if kind in JSON_LINES:
            text, _, recorded = _json_text(path, _content(path))
            if recorded:
                return recorded_line(text, row, model)
            if is_decision_log(text):
                return None
            numbers = (number for number, line in enumerate(text.split("\n"), start=1) if line.strip())
            return next(islice(numbers, row, None), None)
    except (OSError, ValueError):
        return None
    return None


class FileLines:
    """Lines of a file as it is now, to be looked for later by `file_line`; None once the file is another one.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stamp = path, _stamp(path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileLines) and vars(self) == vars(other)

    def __call__(self, row: int, model: str | None = None) -> int | None:
        """Look for a line."""
        return file_line(self._path, row, model) if _stamp(self._path) == self._stamp else None


def _rows(path: Path) -> Rows:
    return Rows(source=str(path), line_of=FileLines(path))


def _stamp(path: Path) -> tuple[int, int] | None:
    """Give what changes with a file: when it was written, and its size."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _content(path: Path) -> bytes:
    """Read a file, uncompressed."""
    if path.suffix.lower() != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: can't be read as gzip: {error}") from error


def _parquet(path: Path) -> Any:
    arrow = imported("pyarrow", "reading Parquet")
    parquet = imported("pyarrow.parquet", "reading Parquet")
    with path.open("rb") as file:
        try:
            table = parquet.ParquetFile(file).read()  # `read_table` would import pandas, where that is installed
            table.validate(full=True)  # damaged text would surface later, without the file's name
            return table
        except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: can't be read as Parquet: {error}") from error


def _json(path: Path, content: bytes, notes: list[str]) -> dict[str, Column]:
    """Read records: an array of objects, one object per line, or the records that an evaluation tool nests."""
    try:
        text, in_lines, recorded = _json_text(path, content)
        decided = in_lines and is_decision_log(text)
        records = [] if recorded or decided else _lines(text) if in_lines else json_of(text)
    except ValueError as error:
        raise ValueError(f"{path}: can't be read as JSON: {error}") from error
    if decided:
        renamed_too = path.suffix.lower() != ".gz"
        decisions = read_log(path) if renamed_too else events_in(content.splitlines(), str(path))
        return {name: _record_column(cells) for name, cells in decided_columns(decisions, str(path), notes).items()}
    if recorded:
        events = recorded_events(text, str(path), notes)
        columns = recorded_columns(events, str(path), notes, line_of=lambda row: recorded_lines(text)[row])
        return {name: _record_column(cells) for name, cells in columns.items()}
    if isinstance(records, dict):
        records = nested_records(records, str(path), notes)
    if not isinstance(records, list):
        raise ValueError(f"{path}: expected an array of objects, or one object per line, got {type(records).__name__}")
    if others := [row for row, record in enumerate(records) if not isinstance(record, dict)]:
        place = _rows(path).place(others)
        raise ValueError(f"{path}: expected an object, got {type(records[others[0]]).__name__}{place}")
    if not records:
        raise ValueError(f"{path} has no rows")
    names = dict.fromkeys(name for record in records for name in record)
    return {name: _record_column(record.get(name) for record in records) for name in names}


def _json_text(path: Path, content: bytes) -> tuple[str, bool, bool]:
    """Decode a file of JSON; say whether its lines are records, and whether a `Recorder` wrote them."""
    text = content.decode("utf-8-sig")
    in_lines = kind_of(path) in JSON_LINES or not text.strip()
    # Parts of both kinds may have been joined.
    return text, in_lines, in_lines and is_recorded(text) and not is_decision_log(text)


def _lines(text: str) -> list[Any]:
    """Decode one JSON value per line; the error says which line."""
    records = []
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split at U+2028 within a text
        if line.strip():
            try:
                records.append(json_of(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return records


def _record_column(cells: Iterable[Any]) -> Column:
    """Box the cells of one name; what nests becomes JSON text, but for vectors of numbers."""
    return boxed([json.dumps(cell, sort_keys=True) if _nests(cell) else cell for cell in cells])


def _nests(cell: Any) -> bool:
    if isinstance(cell, list):
        return not cell or not all(part is None or isinstance(part, int | float) for part in cell)
    return isinstance(cell, dict)
