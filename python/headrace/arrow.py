"""Columns of Arrow tables as arrays, without a copy where the layout allows."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.arrays import Column

__all__ = ["arrow_table", "column_of"]


def arrow_table(frame: Any) -> Any:
    """Take a table, or anything that gives one by the Arrow PyCapsule interface, as a ``pyarrow.Table``.

    Parameters
    ----------
    frame : pyarrow.Table, pyarrow.RecordBatch, or a data frame (polars, pandas, DuckDB, ...)

    Raises
    ------
    ImportError
        pyarrow is missing.
    TypeError
        Something else.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from headrace.arrow import arrow_table
    >>> arrow_table(pa.record_batch({"id": ["a", "b"]})).num_rows
    2
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ImportError("Arrow tables need pyarrow: pip install 'headrace[data]'") from error
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.table(frame)
    raise TypeError(f"frame: expected an Arrow table or a data frame, got {type(frame).__name__}")


def column_of(table: Any, name: str) -> Column:
    """Give a column of an Arrow table as an array.

    Numbers without a null, and lists of as many numbers in each row (a fixed-size list, or a list of equal lengths),
    are seen where they are, if the column is one chunk: no copy. A null becomes NaN, or None among objects.

    Parameters
    ----------
    table : pyarrow.Table
    name : str

    Returns
    -------
    ndarray of shape (n_rows,), or (n_rows, d) for lists

    Raises
    ------
    ValueError
        No such column; lists of different lengths.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from headrace.arrow import column_of
    >>> table = pa.table({"quality": pa.array([[0.5, 0.75], [0.25, 1.0]], pa.list_(pa.float64(), 2))})
    >>> column_of(table, "quality").tolist()
    [[0.5, 0.75], [0.25, 1.0]]
    """
    import pyarrow as pa

    if name not in table.column_names:
        raise ValueError(f"column {name!r}: not in the table; it has {', '.join(table.column_names)}")
    chunks = table.column(name)
    array = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        # What is too large for one array stays in chunks.
        array = pa.concat_arrays(array.chunks)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or _is_fixed(array.type)):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    if array.null_count:
        rows = array.is_valid().to_numpy(zero_copy_only=False)
        known = _stacked(name, array.drop_null())
        filled = np.full((len(array), known.shape[1]), np.nan)
        filled[rows] = known
        return filled
    return _stacked(name, array)


def _stacked(name: str, lists: Any) -> Column:
    """Stack lists of one length, without a null among them."""
    n = len(lists)
    if _is_fixed(lists.type):
        width = lists.type.list_size
    else:
        lengths = np.diff(lists.offsets.to_numpy(zero_copy_only=False))
        width = int(lengths[0]) if n else 0
        if (lengths != width).any():
            other = int(lengths[lengths != width][0])
            raise ValueError(f"column {name!r}: expected lists of one length, got {width} and {other}")
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False)).reshape(n, width)


def _is_fixed(type_: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_fixed_size_list(type_))
