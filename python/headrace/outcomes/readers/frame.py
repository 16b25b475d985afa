"""Columns of a dataframe or a mapping, as arrays.

Numbers keep a numeric dtype, text is an object array of str and None, and one vector per row makes a 2-D array.
narwhals is imported where it is used: ``pip install 'headrace[data]'``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, listed
from headrace.extras import imported
from headrace.outcomes.readers.cells import MAX_EXACT, blanked, boxed, exact_text, holds_text, shared
from headrace.outcomes.rows import Rows

#: How Arrow names the numbers that lie in memory as those of NumPy do.
ARROW_NUMBERS: dict[str, np.dtype[Any]] = {"float": np.dtype(np.float32), "double": np.dtype(np.float64)}
ARROW_NUMBERS |= {f"{sign}int{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)}


def frame_columns(frame: Any, rows: Rows) -> dict[str, Column]:
    """Give the columns of a mapping, or of any eager dataframe that narwhals understands; `rows` are for messages."""
    source = str(rows)
    if isinstance(frame, Mapping):
        _require_text_names(frame, source)
        columns = {name: _array_column(rows, name, values) for name, values in frame.items()}
    else:
        narwhals = imported("narwhals", "reading a dataframe")
        try:
            eager = narwhals.from_native(frame, eager_only=True)
        except narwhals.exceptions.DuplicateError as error:
            raise ValueError(f"{source}: {error}") from error
        except TypeError as error:
            wanted = "an eager dataframe (collect a lazy one first) or a mapping of column name to array"
            raise TypeError(f"{source}: expected {wanted}, got {type(frame).__name__}") from error
        _require_text_names(eager.columns, source)
        columns = {series.name: _series_column(narwhals, rows, series) for series in eager.iter_columns()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{source}: columns differ in length: {lengths}")
    if lengths and not any(lengths.values()):
        raise ValueError(f"{source} has no rows")
    return columns


def _require_text_names(names: Iterable[object], source: str) -> None:
    others = [name for name in names if not isinstance(name, str)]
    if others:
        raise TypeError(f"{source}: expected str as names of columns, got {listed(others)}")


def _series_column(narwhals: Any, rows: Rows, series: Any) -> Column:
    dtype = series.dtype
    if dtype.is_numeric() or dtype == narwhals.Boolean:
        values = _numeric(series)
        if values.dtype.kind in "biuf":
            return values
        return np.asarray(series.cast(narwhals.Float64).to_numpy(), dtype=np.float64)
    if dtype in (narwhals.Categorical, narwhals.Enum):
        series = series.cast(narwhals.String)
    cells = (shared if series.dtype == narwhals.String else boxed)(series.to_list())
    cells[np.array(series.is_null().to_list(), dtype=np.bool_)] = None
    return _object_column(rows, series.name, cells)


def _numeric(series: Any) -> Column:
    """Give numbers; of booleans of which some are missing, objects.

    Arrow's own `to_numpy` imports pandas, where that is installed: more time, and more memory, than most tables take.
    """
    native = series.to_native()
    of_arrow = type(native).__module__.startswith("pyarrow")
    dtype = ARROW_NUMBERS.get(str(native.type)) if of_arrow else None
    if dtype is None:
        return np.asarray(series.to_numpy())
    if native.null_count and dtype.kind != "f":
        native, dtype = native.cast("double", safe=False), np.dtype(np.float64)
    return np.concatenate([np.empty(0, dtype), *(_chunk(chunk, dtype) for chunk in native.chunks if len(chunk))])


def _chunk(chunk: Any, dtype: np.dtype[Any]) -> Column:
    """Copy numbers of Arrow's, with NaN for what its bits say is missing."""
    bits, numbers = chunk.buffers()
    begin, end = chunk.offset, chunk.offset + len(chunk)
    values = np.frombuffer(numbers, dtype, end)[begin:].copy()
    if chunk.null_count:
        known = np.unpackbits(np.frombuffer(bits, np.uint8), count=end, bitorder="little")[begin:]
        values[known == 0] = np.nan
    return values


def _array_column(rows: Rows, name: str, values: Any) -> Column:
    if holds_text(name) and isinstance(values, list | tuple):
        values = boxed(values)  # numpy would make floats of whole numbers that are long
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths, or vectors with None among them
        array = boxed(list(values))
    if array.ndim == 0:
        raise ValueError(f"{rows}: {name!r}: expected one value per row, got {values!r}")
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind in "Mm":
        return blanked(array.astype(str).astype(object), np.isnat(array))
    if array.dtype.kind != "O":
        return array.astype(str).astype(object)
    return _object_column(rows, name, array if array.ndim == 1 else boxed(list(array)))


def _object_column(rows: Rows, name: str, cells: Column) -> Column:
    """Numbers, vectors or text out of an object array of shape (n_rows,) in which None or NaN is missing."""
    missing = np.array([cell is None or (isinstance(cell, float) and cell != cell) for cell in cells], bool)
    cells = blanked(cells, missing)
    present = cells[~missing]
    if not len(present):
        return cells
    if holds_text(name):
        return boxed([exact_text(cell) for cell in cells])
    if all(isinstance(cell, Real | Decimal | np.bool_) for cell in present):
        return _numbers(cells, missing)
    if all(isinstance(cell, list | tuple | np.ndarray) for cell in present):
        vectors = [np.asarray([np.nan if part is None else part for part in cell]) for cell in present]
        if all(vector.dtype.kind in "biuf" and vector.ndim == 1 for vector in vectors):
            return _stacked(rows, name, vectors, missing)
    return boxed([cell if cell is None or isinstance(cell, str) else str(cell) for cell in cells])


def _numbers(cells: Column, missing: BoolArray) -> Column:
    """Give numbers: whole ones as integers where none is missing, and as text where a float can't hold them."""
    present = cells[~missing].tolist()
    bools = [isinstance(cell, bool | np.bool_) for cell in present]
    if all(bools) and not missing.any():
        return np.array([bool(cell) for cell in present])
    if all(isinstance(cell, Integral) for cell in present) and not any(bools):
        largest = max(abs(int(cell)) for cell in present)
        if not missing.any() and largest < 2**63:
            return np.array([int(cell) for cell in present], dtype=np.int64)
        if largest > MAX_EXACT:
            return boxed([exact_text(cell) for cell in cells])
    numbers = np.full(len(cells), np.nan)
    try:
        numbers[~missing] = [float(cell) for cell in present]
    except OverflowError:  # a whole number beyond all floats, beside fractions
        return boxed([exact_text(cell) for cell in cells])
    return numbers


def _stacked(rows: Rows, name: str, vectors: Sequence[Column], missing: BoolArray) -> FloatArray:
    lengths = np.array([len(vector) for vector in vectors])
    counts = np.bincount(lengths)
    usual = int(counts.argmax())
    if (lengths != usual).any():
        other = int(lengths[lengths != usual][0])
        place = rows.place(np.flatnonzero(~missing)[lengths != usual])
        found = f"{usual} in {counts[usual]} rows, and {other}{place}"
        raise ValueError(f"{rows}: {name!r}: expected vectors of one length, got {found}")
    stacked = np.full((len(missing), usual), np.nan)
    stacked[~missing] = vectors
    return stacked
