"""The source of a table: a file or a dataframe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from headrace.outcomes.readers.files import FileLines, file_columns, refuse_pickle
from headrace.outcomes.readers.frame import frame_columns
from headrace.outcomes.readers.layouts import columns_table
from headrace.outcomes.readers.table import Reading, Table
from headrace.outcomes.rows import Rows

__all__ = ["read_file", "read_frame"]


def read_file(path: str | os.PathLike[str], reading: Reading) -> Table:
    """Read the table in a file; see `Outcomes.from_file`."""
    path = Path(path)
    refuse_pickle(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    notes: list[str] = []
    columns, loose = file_columns(path, notes)
    rows = Rows(source=str(path), line_of=FileLines(path))
    return columns_table(columns, rows, reading, loose=loose, notes=notes)


def read_frame(frame: Any, reading: Reading, *, source: str = "frame") -> Table:
    """Read the table in a dataframe or a mapping, called `source` in messages; see `Outcomes.from_frame`."""
    rows = Rows(source=source)
    return columns_table(frame_columns(frame, rows), rows, reading, loose=frozenset(), notes=[])
