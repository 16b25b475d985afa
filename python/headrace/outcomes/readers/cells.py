"""Cells: numbers in text, text in numbers, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, listed
from headrace.outcomes.rows import Rows, shown

#: Words that stand for a number.
TRUTH = {"true": 1.0, "false": 0.0}

#: What other programs write in a column of numbers where they have none; in lower case.
MISSING_WORDS = frozenset({"", "-", "n/a", "na", "nan", "none", "null"})

#: Columns that are text or labels in one of the layouts: kept as text, whatever they hold.
TEXT_NAMES = frozenset(
    {
        *("query_id", "sample_id", "global index", "request_id", "group"),
        *("text", "prompt", "query", "question", "task", "eval_name", "task_name"),
        *("model", "model_name", "model_group", "prediction"),
        *("answer", "model_response", "response"),
    }
)

#: Whole numbers in text that are written as a number would be: "007" and "+1" are names.
WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")

#: A number in text begins so; "007.5" doesn't.
PADDED = re.compile(r"[+-]?0[0-9]|\+")

#: A number as a spreadsheet shows it: "$0.10", "1,234", "85%", "0.1 USD".
DRESSED = re.compile(r"([A-Z]{3}|[$\u20ac\u00a3])? ?-?[0-9][0-9.,]*(e-?[0-9]+)? ?([A-Za-z]{3}|[$\u20ac\u00a3%])?")

#: Longest word that a message repeats beside another one.
MAX_WORD = 20

#: Largest whole number up to which every one is a float.
MAX_EXACT = 2**53


def holds_text(name: str) -> bool:
    """Whether a column of this name is text whatever its cells look like; of "<model>|<name>", the name counts."""
    return name.rpartition("|")[2] in TEXT_NAMES


def boxed(cells: Sequence[Any]) -> Column:
    """Box cells: one object per cell, also where the cells are sequences that numpy would turn into axes."""
    return np.fromiter(cells, dtype=object, count=len(cells))


def shared(cells: Iterable[str | None]) -> Column:
    """Box cells of text, of equal ones the same object: answers and labels come again and again."""
    known: dict[str | None, str | None] = {}
    return boxed([known.setdefault(cell, cell) for cell in cells])


def blanked(cells: Column, missing: BoolArray) -> Column:
    """Copy cells, with None where they are missing."""
    blanked = cells.copy()
    blanked[missing] = None
    return blanked


def parsed(
    name: str,
    cells: Column,
    notes: list[str] | None = None,
    *,
    truth: bool = True,
    place: Callable[[list[int]], str] | None = None,
) -> FloatArray:
    """Give one number per row, or an error that names the column and the rows.

    Parameters
    ----------
    name : str
        The column, for messages.
    cells : ndarray of shape (n_rows,)
    notes : list of str, optional
        A note is added here where words such as "N/A" count as missing.
    truth : bool, default True
        Whether true and false stand for 1 and 0.
    place : callable, optional
        Says which rows they are, for messages; see `Rows.place`. By default their numbers.

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        If a cell isn't a number.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.readers.cells import parsed
    >>> parsed("quality", np.array(["0.5", "N/A", None, "true"], dtype=object)).tolist()
    [0.5, nan, nan, 1.0]
    """
    if cells.ndim != 1:
        raise ValueError(f"column {name!r}: expected one number per row, got shape {cells.shape}")
    if cells.dtype.kind == "b" and not truth:
        raise ValueError(f"column {name!r}: expected numbers, got true and false")
    if cells.dtype.kind != "O":
        return cells.astype(np.float64)
    given = cells.tolist()
    numbers: dict[str | None, float] = {}
    missing: set[str] = set()
    # Equal cells are read once.
    for cell in set(given):
        if cell is not None and cell.lower() in MISSING_WORDS:
            numbers[cell] = np.nan
            missing.add(cell)
            continue
        try:
            numbers[cell] = number_in(cell, truth=truth)
        except ValueError:
            continue
    if wrong := [row for row, cell in enumerate(given) if cell not in numbers]:
        which = (place or Rows(source=name).place)(wrong)
        remedy = _remedy(cells, cells[wrong[0]], truth=truth)
        raise ValueError(f"column {name!r}: expected a number, got {shown(cells[wrong[0]])}{which}{remedy}")
    if missing and notes is not None:
        words = [cell for cell in given if cell in missing]
        notes.append(f"column {name!r}: {len(words)} cells such as {words[0]!r} count as missing")
    return np.array([numbers[cell] for cell in given], dtype=np.float64)


def _remedy(cells: Column, wrong: str, *, truth: bool) -> str:
    """Say what to write instead of an amount with its unit, or of two words for good and bad; nothing of others."""
    if DRESSED.fullmatch(wrong.strip()):
        return "; leave out currency, percent sign and thousands separator (in a spreadsheet, the column's format)"
    words = {cell for cell in cells if cell is not None and cell.lower() not in MISSING_WORDS}
    if truth and len(words) == 2 and all(word.isalpha() and len(word) <= MAX_WORD for word in words):
        return f"; of {listed(sorted(words))}, write 1 for the good one, and 0"
    return ""


def number_in(cell: str | None, *, truth: bool = True) -> float:
    """Read a number strictly: nothing around the number and no underscores, both of which ``float`` lets pass."""
    if cell is None:
        return np.nan
    if truth and cell.lower() in TRUTH:
        return TRUTH[cell.lower()]
    if "_" in cell or cell != cell.strip():
        raise ValueError(cell)
    return float(cell)


def json_number(value: Any) -> float:
    """Give a value of JSON as a float; NaN for what is no number, or beyond floats.

    Examples
    --------
    >>> from headrace.outcomes.readers.cells import json_number
    >>> json_number(2), json_number("2"), json_number(10**400)
    (2.0, nan, nan)
    """
    try:
        return float(value) if isinstance(value, int | float) else float("nan")
    except OverflowError:
        return float("nan")


def numbers_if_all(cells: Column) -> Column:
    """Give numbers where every cell that is there reads as one, else the cells as they came.

    Text that a number wouldn't be written as, such as "007", stays text, and so do whole numbers of more than 64 bits.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.readers.cells import numbers_if_all
    >>> [numbers_if_all(np.array(cells, dtype=object)).tolist() for cells in (["1", "2"], ["1", "N/A"], ["007", "1"])]
    [[1, 2], [1.0, nan], ['007', '1']]
    """
    if is_numeric(cells) or not starts_with_number(cells):
        return cells
    # Equal cells are read once.
    distinct = set(cells.tolist())
    present = {cell for cell in distinct if cell is not None and cell.lower() not in MISSING_WORDS}
    if any(PADDED.match(cell) for cell in present):
        return cells
    whole = all(WHOLE.fullmatch(cell) for cell in present)
    # Python refuses to read thousands of digits, and 64 bits are 19 of them, with a sign.
    if whole and not all(len(cell) <= 20 and abs(int(cell)) < 2**63 for cell in present):
        return cells
    numbers: dict[str | None, float]
    dtype: type[np.generic] = np.float64
    if len(present) == len(distinct) and whole:
        numbers, dtype = {cell: int(cell) for cell in present}, np.int64
    elif len(present) == len(distinct) and all(cell.lower() in TRUTH for cell in present):
        numbers, dtype = {cell: cell.lower() == "true" for cell in present}, np.bool_
    else:
        try:
            numbers = {cell: number_in(cell) if cell in present else np.nan for cell in distinct}
        except ValueError:
            return cells
    return np.array([numbers[cell] for cell in cells.tolist()], dtype=dtype)


def starts_with_number(cells: Column) -> bool:
    """Whether the first cell of text that isn't missing reads as a number."""
    first = next((cell for cell in cells if cell is not None and cell.lower() not in MISSING_WORDS), None)
    try:
        return first is not None and not np.isnan(number_in(first))
    except ValueError:
        return False


def as_text(cells: Column) -> Column:
    """Give text, with None where a cell is missing; a whole number has no decimal point, also where it is a float."""
    if cells.dtype.kind == "O":
        return cells
    return boxed([exact_text(cell) for cell in cells.tolist()])


def exact_text(cell: Any) -> str | None:
    """Give one cell as text; None if it is missing.

    Examples
    --------
    >>> from headrace.outcomes.readers.cells import exact_text
    >>> exact_text(2**70), exact_text(7.0), exact_text(0.5), exact_text(float("nan"))
    ('1180591620717411303424', '7', '0.5', None)
    """
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, float | np.floating):
        number = float(cell)
        if number != number:
            return None
        if number.is_integer() and abs(number) <= MAX_EXACT:
            return str(int(number))
    return str(cell)


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
