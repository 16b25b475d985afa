"""Columns as the fit had them: what a query and a response may hold, checked when it comes."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import LARGEST, Column, IndexArray, checked_array, listed
from headrace.errors import MissingColumn, UnknownColumn
from headrace.estimators.one_query import Kinds
from headrace.estimators.responses import Responses

__all__ = [
    "Kinds",
    "above_largest",
    "alike",
    "checked_batch",
    "checked_caps",
    "checked_cell",
    "checked_cost",
    "checked_names",
    "checked_query",
    "nothing_ran",
    "sequence_of",
    "shown",
]

#: A column that the fit did not have: numbers of any shape.
NUMBERS: tuple[np.dtype[Any], None] = (np.dtype(np.float64), None)

#: A column of texts.
TEXT: tuple[np.dtype[Any], tuple[int, ...]] = (np.dtype(object), ())

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
    lacking = [name for name in known if name not in names] if needed else []
    if lacking:
        raise MissingColumn(
            f"{argument}: lacks column {lacking[0]!r}; the fit had {listed(known)} (None or null counts as average, as "
            "does strict=False)",
            column=lacking[0],
        )


def checked_query(
    query: Mapping[str, Any] | str, known: Kinds, optional: Collection[str], *, strict: bool
) -> dict[str, Any]:
    """Give the cells of a query as its columns hold them: objects, floats, or arrays of floats.

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
    {'difficulty': 0.3}
    >>> checked_query({"dificulty": 0.3}, known, (), strict=True)
    Traceback (most recent call last):
    headrace.errors.UnknownColumn: query: unknown column 'dificulty' (did you mean 'difficulty'?); the fit had ...
    """
    if type(query) is dict:
        given: Mapping[str, Any] = query
    elif isinstance(query, str):
        given = {"text": query}
    elif isinstance(query, Mapping):
        given = query
    else:
        raise TypeError(f"query: expected a mapping of columns, or a text, got {type(query).__name__}")
    if given.keys() == known.keys():
        return {
            name: value if type(value) is str and known[name] == TEXT else _query_cell(name, value, known[name])
            for name, value in given.items()
        }
    if strict:
        checked_names("query", given, known, optional)
    return {
        name: _query_cell(name, value, known.get(name, NUMBERS))
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


def checked_cell(name: str, value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[Any, bool]:
    """Give a response's value as its column holds it, and whether numbers in it were too large: they count as missing.

    Raises
    ------
    ValueError
        A value of another shape, or no number where the fit had numbers.
    """
    if dtype.kind == "O":
        if value is None or type(value) is str:
            return value, False
        return _finite_sequence(_label(name), value)
    if value is None:
        return np.full(shape, np.nan) if shape else math.nan, False
    wanted = f"numbers of shape {shape}" if shape else "a number"
    try:
        if not shape and type(value) in (float, int) and -LARGEST <= value <= LARGEST:
            return float(value), False
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        # The exception before this one shows the whole value.
        raise ValueError(f"{_label(name)}: expected {wanted}, got {shown(value)}") from None
    if array.shape != shape or isinstance(value, str):
        raise ValueError(f"{_label(name)}: expected {wanted}, got {shown(value)}")
    large = np.abs(array) > LARGEST
    array, any_large = (np.where(large, np.nan, array), True) if large.any() else (array, False)
    return (array if shape else float(array)), any_large


def checked_cost(argument: str, value: Any) -> float:
    """Give a cost as a float: a finite number >= 0, of `LARGEST` at most; a Decimal is one, a bool isn't."""
    if type(value) is float and 0.0 <= value <= LARGEST:
        return value
    try:
        if isinstance(value, bool | np.bool_) or not isinstance(value, Real | Decimal):
            raise TypeError
        cost = float(value)
    except (TypeError, ValueError, OverflowError):
        cost = math.nan
    if not 0.0 <= cost <= LARGEST:
        raise ValueError(f"{argument}: expected a finite number >= 0, got {shown(value)}{above_largest(cost)}")
    return cost


def above_largest(number: Any) -> str:
    """Say at the end of a message what is wrong with a number that is finite, but too large to calculate with."""
    return f", which is above {LARGEST:g}" if isinstance(number, int | float) and LARGEST < number < math.inf else ""


def _is_cap(limit: Any) -> bool:
    return bool(0.0 <= limit <= sys.float_info.max or limit == math.inf)  # a whole number may be beyond floats


def checked_caps(max_cost: float | Mapping[str, float] | None, costs: Sequence[str]) -> dict[str, float]:
    """Give the cap of each cost that has one; a number is that of the first."""
    if max_cost is None:
        return {}
    caps = dict(max_cost) if isinstance(max_cost, Mapping) else {costs[0]: max_cost}
    for name, limit in caps.items():
        if name not in costs:
            raise ValueError(f"max_cost: unknown cost {name!r}; known: {listed(costs)}")
        if isinstance(limit, bool) or not isinstance(limit, Real) or not _is_cap(limit):
            raise ValueError(f"max_cost: expected a number >= 0, got {shown(limit)}")
    return {name: float(limit) for name, limit in caps.items()}


def alike(rows: npt.NDArray[Any]) -> list[IndexArray]:
    """Group the numbers of equal rows."""
    if len(rows) <= 1:
        return [np.arange(1)] * len(rows)
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
    if not hasattr(names, "__iter__"):
        raise TypeError(f"{argument}: expected a sequence of names, got {type(names).__name__}")
    return list(names)


def _finite_sequence(label: str, value: Any) -> tuple[Any, bool]:
    """Take a text or an object as it is; of a sequence of numbers, such as log-probabilities, those not too large."""
    if not isinstance(value, list | tuple | np.ndarray):
        return value, False
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return value, False
    if numbers.ndim != 1:
        raise ValueError(f"{label}: expected one number per token, got shape {numbers.shape}")
    large = np.abs(numbers) > LARGEST
    return (numbers[~large], True) if large.any() else (value, False)


def _label(name: str) -> str:
    return f"response: column {name!r}"


def _query_cell(name: str, value: Any, kind: tuple[np.dtype[Any], tuple[int, ...] | None]) -> Any:
    """Give a query's value as its column holds it."""
    dtype, shape = kind
    if dtype.kind == "O":
        if shape == () and isinstance(value, list | tuple | dict | set | np.ndarray):
            label = f"query: column {name!r}"
            raise TypeError(f"{label}: expected a text or a single value, as in the fit, got {type(value).__name__}")
        return value
    if type(value) in (float, int) and shape == () and -LARGEST < value < LARGEST:
        return float(value)
    wanted = f"numbers of shape {shape}" if shape else "a number"
    try:
        array = np.full(shape or (), np.nan) if value is None else np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise _misfit(name, wanted, value) from None
    if array.shape != (array.shape if shape is None else shape) or isinstance(value, str) or np.isinf(array).any():
        raise _misfit(name, wanted, value)
    return array if array.ndim else float(array)


def _misfit(name: str, wanted: str, value: Any) -> ValueError:
    return ValueError(f"query: column {name!r}: expected {wanted}, as in the fit, got {shown(value)}")


def shown(value: Any) -> str:
    """Show a value for a message; a long text may be a user's, so that it isn't shown."""
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        return f"a text of {len(value)} characters"
    try:
        text = repr(value)
    except ValueError:
        return f"a {type(value).__name__} of too many digits"
    return text if len(text) <= 3 * LONGEST_SHOWN else f"a {type(value).__name__}"
