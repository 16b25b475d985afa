"""The source of a table: a file or a dataframe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.outcomes.readers.files import file_columns, refuse_pickle
from headrace.outcomes.readers.frame import frame_columns
from headrace.outcomes.readers.layouts import columns_table
from headrace.outcomes.readers.table import Table

__all__ = ["read_file", "read_frame"]


def read_file(
    path: str | os.PathLike[str],
    *,
    layout: str | None,
    cost: str | Sequence[str] | None,
    verified: bool,
    labels: str | os.PathLike[str] | None,
) -> Table:
    """Read the table in a file; see `Outcomes.from_file`."""
    path = Path(path)
    refuse_pickle(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    return columns_table(
        file_columns(path),
        str(path),
        layout=layout,
        cost=cost,
        verified=verified,
        typed=path.suffix.lower() != ".csv",
        labels=None if labels is None else Path(labels),
    )


def read_frame(
    frame: Any,
    *,
    source: str = "frame",
    layout: str | None = None,
    cost: str | Sequence[str] | None = None,
    verified: bool = False,
) -> Table:
    """Read the table in a dataframe or a mapping, called `source` in messages; see `Outcomes.from_frame`."""
    columns = frame_columns(frame, source)
    return columns_table(columns, source, layout=layout, cost=cost, verified=verified, typed=True)
