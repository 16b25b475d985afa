"""Tables written in our wide layout, as Parquet, CSV or JSON lines, so that they are read back without options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from headrace.arguments import Column
from headrace.atomic_file import draft_of
from headrace.extras import imported
from headrace.outcomes.readers.cells import is_numeric, require_text
from headrace.outcomes.readers.table import COST_PREFIX, PRICE_PREFIX, Table

__all__ = ["SUFFIXES", "wide_columns", "write_file"]

#: Kinds of files that a table is written to.
SUFFIXES = (".parquet", ".csv", ".jsonl")

RESERVED = ("query_id", "group")


def write_file(path: Path, table: Table) -> None:
    """Write a table to a file of the kind that its suffix names; see `Outcomes.save`."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"path: expected a name that ends in {', '.join(SUFFIXES)}, got {path.name!r}")
    columns = wide_columns(table)
    if suffix == ".csv":
        vectors = [name for name, cells in columns.items() if cells.ndim > 1]
        if vectors:
            raise ValueError(f"path: CSV holds no vectors, as in column {vectors[0]!r}; write .parquet or .jsonl")
    if suffix == ".jsonl":
        with draft_of(path) as draft:
            _write_lines(draft, columns)
        return
    arrow = imported("pyarrow", f"writing {suffix}")
    writer = imported("pyarrow.parquet" if suffix == ".parquet" else "pyarrow.csv", f"writing {suffix}")
    try:
        frame = arrow.table({name: _arrow_array(arrow, name, cells) for name, cells in columns.items()})
    except UnicodeEncodeError as error:
        raise ValueError("path: a name of a column isn't valid Unicode; write .jsonl") from error
    with draft_of(path) as draft:
        if suffix == ".parquet":
            writer.write_table(frame, draft, compression="zstd")
        else:
            writer.write_csv(frame, draft)


def _write_lines(path: Path, columns: dict[str, Column]) -> None:
    """Write one JSON object per row; what is missing is null."""
    infinite = [name for name, column in columns.items() if column.dtype.kind == "f" and np.isinf(column).any()]
    if infinite:
        raise ValueError(f"path: JSON holds no infinite numbers, as in column {infinite[0]!r}; write .parquet or .csv")
    cells = [_with_none(column) for column in columns.values()]
    with path.open("w", encoding="utf-8") as file:
        for row in zip(*cells, strict=True):
            file.write(json.dumps(dict(zip(columns, row, strict=True)), allow_nan=False) + "\n")


def _with_none(cells: Column) -> list[Any]:
    """Give the cells of a column with None in place of NaN, also within vectors."""
    boxed: list[Any]
    if cells.dtype.kind == "f":
        doubles = cells.astype(np.float64)
        boxed = np.where(np.isnan(doubles), np.array(None, dtype=object), doubles.astype(object)).tolist()
    else:
        boxed = cells.tolist()
    return boxed


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
    >>> empty = {"queries": {}, "responses": {}, "column_cost": {}, "groups": None}
    >>> columns = wide_columns({**one, "ids": ["q"], **empty})
    >>> {name: cells.tolist() for name, cells in columns.items()}
    {'query_id': ['q'], 'a|quality': [1.0], 'a|cost:usd': [0.5]}
    """
    columns: dict[str, Column] = {"query_id": np.array([str(label) for label in table["ids"] or ()], dtype=object)}
    if table["groups"] is not None:
        columns["group"] = table["groups"]
    for name, cells in table["queries"].items():
        if "|" in name or name in RESERVED:
            raise ValueError(f"queries: the wide layout can't hold a column {name!r}; rename it")
        columns[name] = _plain(f"queries: column {name!r}", cells, 1)
    for name, cells in _run_columns(table).items():
        for j, model in enumerate(table["models"]):
            columns[f"{model}|{name}"] = cells[:, j]
    return columns


def _run_columns(table: Table) -> dict[str, Column]:
    """Give quality, costs and responses, each of shape (n_queries, n_models[, d]).

    A column "cost" alone is both the cost and what a run shows of it, as in most logs; else the costs say their names.
    """
    runs: dict[str, Column] = {"quality": table["quality"]}
    shown = table["responses"].get("cost")
    if list(table["cost"]) != ["cost"] or shown is None or not _same(shown, table["cost"]["cost"]):
        for name, cells in table["cost"].items():
            _require_no_bar("cost", name)
            runs[f"{COST_PREFIX}{name}"] = cells
    for name, cells in table["responses"].items():
        _require_no_bar("responses", name)
        plain = _plain(f"responses: column {name!r}", cells, 2)
        if name not in runs and not name.startswith(COST_PREFIX):
            runs[name] = plain
        elif name not in runs or not _same(runs[name], plain):
            raise ValueError(f"responses: column {name!r} differs from that of the same name; rename it")
    for name, price in table["column_cost"].items():
        if f"{PRICE_PREFIX}{name}" in runs:
            raise ValueError(f"responses: the wide layout can't hold a column {PRICE_PREFIX + name!r}; rename it")
        runs[f"{PRICE_PREFIX}{name}"] = np.asarray(price)
    return runs


def _require_no_bar(label: str, name: str) -> None:
    if "|" in name:
        raise ValueError(f"{label}: the wide layout can't hold a column {name!r}; rename it")


def _same(a: Column, b: Column) -> bool:
    return is_numeric(a) and is_numeric(b) and np.array_equal(a.astype(np.float64), b.astype(np.float64), True)


def _plain(label: str, cells: Column, axes: int) -> Column:
    if not is_numeric(cells):
        if cells.ndim > axes:
            raise ValueError(f"{label}: a file holds vectors of numbers, not of text; give each part a column")
        require_text(label, cells.ravel().tolist())
    return cells


def _arrow_array(arrow: Any, name: str, cells: Column) -> Any:
    """Make an Arrow array: what is missing is null, and vectors are lists."""
    if is_numeric(cells):
        return arrow.array(_with_none(cells) if cells.ndim > 1 else _wide_floats(cells), from_pandas=True)
    try:
        return arrow.array(cells.tolist(), type=arrow.string())
    except UnicodeEncodeError as error:
        raise ValueError(f"path: column {name!r} holds text that isn't valid Unicode; write .jsonl") from error


def _wide_floats(cells: Column) -> Column:
    """Give floats in double precision: the digits of a shorter one stand for another number in double."""
    return np.ascontiguousarray(cells.astype(np.float64) if cells.dtype.kind == "f" else cells)
