"""Cells: numbers in text, text in numbers, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray

#: Words that stand for a number.
TRUTH = {"true": 1.0, "false": 0.0}


def boxed(cells: Sequence[Any]) -> Column:
    """Box cells: one object per cell, also where the cells are sequences that numpy would turn into axes."""
    boxed = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells):
        boxed[row] = cell
    return boxed


def blanked(cells: Column, missing: BoolArray) -> Column:
    """Copy cells, with None where they are missing."""
    blanked = cells.copy()
    blanked[missing] = None
    return blanked


def parsed(name: str, cells: Column) -> FloatArray:
    """Give one number per row, or an error that names the column and the row."""
    if cells.ndim != 1:
        raise ValueError(f"column {name!r}: expected one number per row, got shape {cells.shape}")
    if cells.dtype.kind != "O":
        return cells.astype(np.float64)
    numbers = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            numbers[row] = number_in(cell)
        except ValueError as error:
            raise ValueError(f"column {name!r}: expected a number at row {row}, got {cell!r}") from error
    return numbers


def number_in(cell: str | None) -> float:
    """Read a number strictly: nothing around the number and no underscores, both of which ``float`` lets pass."""
    if cell is None:
        return np.nan
    if cell.lower() in TRUTH:
        return TRUTH[cell.lower()]
    if "_" in cell or cell != cell.strip():
        raise ValueError(cell)
    return float(cell)


def numbers_if_all(cells: Column) -> Column:
    """Give numbers where every cell that is there reads as one, else the cells as they came."""
    if is_numeric(cells) or is_empty(cells):
        return cells
    try:
        return np.array([number_in(cell) for cell in cells])
    except ValueError:
        return cells


def as_text(cells: Column) -> Column:
    """Give text, with None where a cell is missing."""
    if cells.dtype.kind == "O":
        return cells
    return boxed([None if cell != cell else str(cell) for cell in cells.tolist()])


def is_numeric(cells: Column) -> bool:
    """Whether a column holds numbers."""
    return cells.dtype.kind in "biuf"


def is_empty(cells: Column) -> bool:
    """Whether every cell of a column is missing."""
    if cells.dtype.kind == "O":
        return all(cell is None for cell in cells)
    return cells.dtype.kind == "f" and bool(np.isnan(cells).all())


def require_text(label: str, cells: Sequence[Any]) -> None:
    """Refuse cells other than text and None: they could only be saved as a pickle."""
    for cell in cells:
        if cell is not None and not isinstance(cell, str):
            raise TypeError(f"{label}: expected text or None in order to save, got {type(cell).__name__}")
