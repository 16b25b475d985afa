"""The source of a table: a file or a dataframe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.outcomes.readers.files import file_columns, refuse_pickle
from headrace.outcomes.readers.frame import frame_columns
from headrace.outcomes.readers.layouts import columns_table
from headrace.outcomes.readers.npz import read_npz
from headrace.outcomes.readers.pickled_frame import pickled_columns
from headrace.outcomes.readers.table import Table, with_observed_quality

__all__ = ["read_file", "read_frame", "read_pickled_frame"]


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
    if path.suffix.lower() == ".npz":
        if (layout, cost, labels) != (None, None, None):
            named = "leave layout and cost None" if labels is None else "leave layout, cost and labels None"
            raise ValueError(f"{path}: an .npz file has its own layout and cost; {named}")
        table = read_npz(path)
        return with_observed_quality(table) if verified else table
    return columns_table(
        file_columns(path),
        str(path),
        layout=layout,
        cost=cost,
        verified=verified,
        typed=path.suffix.lower() != ".csv",
        labels=None if labels is None else Path(labels),
    )


def read_frame(frame: Any, *, layout: str | None, cost: str | Sequence[str] | None, verified: bool) -> Table:
    """Read the table in a dataframe or a mapping; see `Outcomes.from_frame`."""
    columns = frame_columns(frame, "frame")
    return columns_table(columns, "frame", layout=layout, cost=cost, verified=verified, typed=True)


def read_pickled_frame(path: Path, *, layout: str) -> Table:
    """Read the table in a pickled DataFrame, running nothing of it; see `headrace.outcomes.readers.pickled_frame`."""
    columns = frame_columns(pickled_columns(path), str(path))
    return columns_table(columns, str(path), layout=layout, cost=None, verified=False, typed=True)
