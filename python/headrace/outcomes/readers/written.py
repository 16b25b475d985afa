"""Tables written in our wide layout, as Parquet or CSV, so that they are read back without options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headrace.arguments import Column
from headrace.atomic_file import draft_of
from headrace.outcomes.readers.cells import is_numeric, require_text
from headrace.outcomes.readers.frame import needed_module
from headrace.outcomes.readers.npz import write_npz
from headrace.outcomes.readers.table import Table

__all__ = ["SUFFIXES", "wide_columns", "write_file"]

#: Kinds of files that a table is written to.
SUFFIXES = (".parquet", ".csv", ".npz")

RESERVED = ("query_id", "group")


def write_file(path: Path, table: Table) -> None:
    """Write a table to a file of the kind that its suffix names; see `Outcomes.save`."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"path: expected a name that ends in .parquet, .csv or .npz, got {path.name!r}")
    if suffix == ".npz":
        write_npz(path, table)
        return
    arrow = needed_module("pyarrow", f"writing {suffix}")
    columns = wide_columns(table)
    if suffix == ".csv":
        vectors = [name for name, cells in columns.items() if cells.ndim > 1]
        if vectors:
            raise ValueError(f"path: CSV holds no vectors, as in column {vectors[0]!r}; write .parquet or .npz")
    frame = arrow.table({name: _arrow_array(arrow, cells) for name, cells in columns.items()})
    writer = needed_module("pyarrow.parquet" if suffix == ".parquet" else "pyarrow.csv", f"writing {suffix}")
    with draft_of(path) as draft:
        if suffix == ".parquet":
            writer.write_table(frame, draft, compression="zstd")
        else:
            writer.write_csv(frame, draft)


def wide_columns(table: Table) -> dict[str, Column]:
    """Give a table's columns in our wide layout.

    Raises
    ------
    TypeError, ValueError
        A name that the layout can't hold, or cells other than numbers and text.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.readers.written import wide_columns
    >>> one = {"models": ["a"], "quality": np.ones((1, 1)), "cost": {"usd": np.full((1, 1), 0.5)}}
    >>> columns = wide_columns({**one, "ids": ["q"], "queries": {}, "responses": {}, "groups": None})
    >>> {name: cells.tolist() for name, cells in columns.items()}
    {'query_id': ['q'], 'a|quality': [1.0], 'a|cost': [0.5], 'a|usd': [0.5]}
    """
    columns: dict[str, Column] = {"query_id": np.array([str(label) for label in table["ids"] or ()], dtype=object)}
    if table["groups"] is not None:
        columns["group"] = table["groups"]
    for name, cells in table["queries"].items():
        if "|" in name or name in RESERVED:
            raise ValueError(f"queries: the wide layout can't hold a column {name!r}; write .npz")
        columns[name] = _plain(f"queries: column {name!r}", cells)
    for name, cells in _run_columns(table).items():
        for j, model in enumerate(table["models"]):
            columns[f"{model}|{name}"] = cells[:, j]
    return columns


def _run_columns(table: Table) -> dict[str, Column]:
    """Give quality, costs and responses, each of shape (n_queries, n_models[, d])."""
    first = next(iter(table["cost"].values()))
    runs: dict[str, Column] = {"quality": table["quality"], "cost": first}
    for label, columns in (("cost", table["cost"]), ("responses", table["responses"])):
        for name, cells in columns.items():
            if "|" in name:
                raise ValueError(f"{label}: the wide layout can't hold a column {name!r}; write .npz")
            plain = _plain(f"{label}: column {name!r}", cells)
            if name in runs and not _same(runs[name], plain):
                raise ValueError(f"{label}: column {name!r} differs from that of the same name; write .npz")
            runs[name] = plain
    return runs


def _same(a: Column, b: Column) -> bool:
    return is_numeric(a) and is_numeric(b) and np.array_equal(a.astype(np.float64), b.astype(np.float64), True)


def _plain(label: str, cells: Column) -> Column:
    if not is_numeric(cells):
        require_text(label, cells.ravel().tolist())
    return cells


def _arrow_array(arrow: Any, cells: Column) -> Any:
    """Make an Arrow array: NaN stays NaN, None is null, and vectors are lists."""
    if cells.ndim > 1:
        return arrow.array(cells.tolist())
    if is_numeric(cells):
        return arrow.array(np.ascontiguousarray(cells))
    return arrow.array(cells.tolist(), type=arrow.string())
