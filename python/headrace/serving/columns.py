"""Columns as the fit had them: what a query and a response may hold, checked when it comes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from headrace.arguments import Column, IndexArray, checked_array, listed
from headrace.errors import MissingColumn, UnknownColumn
from headrace.estimators.responses import Responses

__all__ = [
    "Kinds",
    "alike",
    "checked_batch",
    "checked_caps",
    "checked_cell",
    "checked_cost",
    "checked_names",
    "checked_query",
    "missing_cells",
    "nothing_ran",
    "sequence_of",
]

#: Columns of a fit by name: type, and shape of a cell.
Kinds: TypeAlias = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]

#: Longest text that a message shows.
LONGEST_SHOWN = 20


def checked_names(
    argument: str,
    names: Collection[str],
    known: Collection[str],
    optional: Collection[str] = (),
    *,
    needed: bool = True,
) -> None:
    """Refuse names of columns that the fit did not have, and, where all are needed, names that lack.

    Raises
    ------
    UnknownColumn, MissingColumn
        Each names the column, and what the fit had.
    """
    unknown = [name for name in names if name not in known and name not in optional]
    if unknown:
        close = difflib.get_close_matches(str(unknown[0]), list(known), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UnknownColumn(
            f"{argument}: unknown column {unknown[0]!r}{hint}; the fit had {listed(known)}", column=unknown[0]
        )
    lacking = [name for name in known if name not in names]
    if needed and lacking:
        raise MissingColumn(
            f"{argument}: lacks column {lacking[0]!r}; the fit had {listed(known)} (strict=False counts it as average)",
            column=lacking[0],
        )


def checked_query(
    query: Mapping[str, Any] | str, known: Kinds, optional: Collection[str], *, strict: bool
) -> dict[str, Column]:
    """Make columns of one row of a query.

    Parameters
    ----------
    query : mapping of str to value, or str
        A str stands for ``{"text": ...}``.
    known : mapping of str to (dtype, tuple of int)
        Columns of the fit.
    optional : collection of str
        Columns that an estimator reads where they are there.
    strict : bool
        Refuse a query with other columns than the fit had; without it, those unknown are left out, and those that lack
        count as average.

    Raises
    ------
    TypeError, ValueError
        Other columns, or values that don't fit them.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.serving.columns import checked_query
    >>> known = {"difficulty": (np.dtype(float), ())}
    >>> checked_query({"difficulty": 0.3}, known, (), strict=True)
    {'difficulty': array([0.3])}
    >>> checked_query({"dificulty": 0.3}, known, (), strict=True)
    Traceback (most recent call last):
    headrace.errors.UnknownColumn: query: unknown column 'dificulty' (did you mean 'difficulty'?); the fit had ...
    """
    if not isinstance(query, Mapping | str):
        raise TypeError(f"query: expected a mapping of columns, or a text, got {type(query).__name__}")
    given = {"text": query} if isinstance(query, str) else query
    if strict:
        checked_names("query", given, known, optional)
    return {
        name: _one_row(f"query: column {name!r}", value, known.get(name))
        for name, value in given.items()
        if name in known or name in optional
    }


def checked_batch(
    queries: Mapping[str, npt.ArrayLike], known: Kinds, optional: Collection[str], *, strict: bool
) -> dict[str, Column]:
    """Give the columns of many queries as arrays; errors as in `checked_query`."""
    if not isinstance(queries, Mapping):
        raise TypeError(f"queries: expected a mapping of name to array, got {type(queries).__name__}")
    if strict:
        checked_names("queries", queries, known, optional)
    columns = {}
    for name, values in queries.items():
        if name not in known and name not in optional:
            continue
        label = f"queries: column {name!r}"
        array = checked_array(label, values, "biufO", "numbers, text or objects")
        if name in known:
            dtype, shape = known[name]
            if (dtype.kind == "O") != (array.dtype.kind == "O"):
                wanted = "text or objects" if dtype.kind == "O" else "numbers"
                raise TypeError(f"{label}: expected {wanted}, as in the fit, got dtype {array.dtype}")
            if array.shape[1:] != shape:
                n = len(array) if array.ndim else 0
                raise ValueError(f"{label}: expected shape {(n, *shape)}, as in the fit, got {array.shape}")
        columns[name] = array
    return columns


def checked_cell(label: str, value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[Any, bool]:
    """Give a response's value as its column holds it, and whether numbers in it were infinite: they count as missing.

    Raises
    ------
    ValueError
        A value of another shape, or no number where the fit had numbers.
    """
    if dtype.kind == "O":
        return _finite_sequence(label, value)
    if value is None:
        return np.full(shape, np.nan) if shape else math.nan, False
    wanted = f"numbers of shape {shape}" if shape else "a number"
    try:
        if not shape and type(value) in (float, int) and math.isfinite(value):
            return float(value), False
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        # The exception before this one shows the whole value.
        raise ValueError(f"{label}: expected {wanted}, got {_shown(value)}") from None
    if array.shape != shape or isinstance(value, str):
        raise ValueError(f"{label}: expected {wanted}, got {_shown(value)}")
    infinite = np.isinf(array)
    return (np.where(infinite, np.nan, array), True) if np.count_nonzero(infinite) else (array, False)


def checked_cost(argument: str, value: Any) -> float:
    """Give a cost as a float: a finite number >= 0; a Decimal is one, a bool isn't."""
    try:
        if isinstance(value, bool | np.bool_) or not isinstance(value, Real | Decimal):
            raise TypeError
        cost = float(value)
    except (TypeError, ValueError, OverflowError):
        cost = math.nan
    if not 0.0 <= cost < math.inf:
        raise ValueError(f"{argument}: expected a finite number >= 0, got {_shown(value)}")
    return cost


def checked_caps(max_cost: float | Mapping[str, float] | None, costs: Sequence[str]) -> dict[str, float]:
    """Give the cap of each cost that has one; a number is that of the first."""
    if max_cost is None:
        return {}
    caps = dict(max_cost) if isinstance(max_cost, Mapping) else {costs[0]: max_cost}
    for name, limit in caps.items():
        if name not in costs:
            raise ValueError(f"max_cost: unknown cost {name!r}; known: {listed(costs)}")
        if isinstance(limit, bool) or not isinstance(limit, Real) or not float(limit) >= 0.0:
            raise ValueError(f"max_cost: expected a number >= 0, got {limit!r}")
    return {name: float(limit) for name, limit in caps.items()}


def missing_cells(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
    """Make a response column in which nothing is known: None among objects, NaN among numbers."""
    return np.full(shape, None, dtype=object) if dtype.kind == "O" else np.full(shape, np.nan)


def alike(rows: npt.NDArray[Any]) -> list[IndexArray]:
    """Group the numbers of equal rows."""
    if not len(rows):
        return []
    _, group = np.unique(rows, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    return np.split(order, np.cumsum(np.bincount(group.ravel()))[:-1])


def nothing_ran(n_queries: int, n_models: int, kinds: Kinds) -> Responses:
    """Give the responses of queries of which no model has run."""
    shape = n_queries, n_models
    columns = {name: np.empty((*shape, *cell), dtype=dtype) for name, (dtype, cell) in kinds.items()}
    return Responses(np.zeros(shape, dtype=np.bool_), columns)


def sequence_of(argument: str, names: Collection[str]) -> list[str]:
    """Give names as a list; a text alone is none."""
    if isinstance(names, str):
        raise TypeError(f"{argument}: expected a sequence of names, got the text {names!r}")
    return list(names)


def _finite_sequence(label: str, value: Any) -> tuple[Any, bool]:
    """Take a text or an object as it is; of a sequence of numbers, such as log-probabilities, the finite ones."""
    if isinstance(value, str) or not isinstance(value, list | tuple | np.ndarray):
        return value, False
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return value, False
    if numbers.ndim != 1:
        raise ValueError(f"{label}: expected one number per token, got shape {numbers.shape}")
    infinite = np.isinf(numbers)
    return (numbers[~infinite], True) if infinite.any() else (value, False)


def _one_row(label: str, value: Any, kind: tuple[np.dtype[Any], tuple[int, ...]] | None) -> Column:
    """Make a column of one query."""
    if kind is None:
        return np.asarray(value, dtype=np.float64)[None]
    dtype, shape = kind
    if dtype.kind == "O":
        if shape == () and isinstance(value, list | tuple | dict | set | np.ndarray):
            raise TypeError(f"{label}: expected a text or a single value, as in the fit, got {type(value).__name__}")
        column = np.empty((1, *shape), dtype=object)
        column[0] = value
        return column
    wanted = f"numbers of shape {shape}" if shape else "a number"
    try:
        array = np.full(shape, np.nan) if value is None else np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{label}: expected {wanted}, as in the fit, got {_shown(value)}") from None
    if array.shape != shape or isinstance(value, str) or np.isinf(array).any():
        raise ValueError(f"{label}: expected {wanted}, as in the fit, got {_shown(value)}")
    return array[None]


def _shown(value: Any) -> str:
    """Show a value for a message; a long text may be a user's, so that it isn't shown."""
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        return f"a text of {len(value)} characters"
    try:
        text = repr(value)
    except ValueError:
        return f"a {type(value).__name__} of too many digits"
    return text if len(text) <= 3 * LONGEST_SHOWN else f"a {type(value).__name__}"
