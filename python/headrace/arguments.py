"""Arguments that have been checked: what a caller passes, as numbers or arrays of the right kind, or a clear error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float64]
IndexArray: TypeAlias = npt.NDArray[np.intp]
Column: TypeAlias = npt.NDArray[Any]

#: Largest number in size that may be calculated with, as in the core.
LARGEST = 1e150

#: Longest whole number that a message shows: Python writes no more than 4300 digits of one.
MOST_BITS = 128

#: Most names that a message lists.
MAX_LISTED = 12  # names in a message: a wide table has hundreds


def read_only_view(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Look at an array without the right to write to it."""
    view = values.view()
    view.setflags(write=False)
    return view


def plain_value(value: Any) -> Any:
    """Turn a NumPy scalar into the Python object it stands for."""
    return value.item() if isinstance(value, np.generic) else value


def refuse_mask(label: str, values: object) -> None:
    """Refuse a masked array, in whose place the numbers behind its mask would be read."""
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{label}: expected an array without a mask (fill or drop what is masked), got a masked array")


def checked_array(label: str, values: Any, kinds: str, wanted: str) -> npt.NDArray[Any]:
    """Array with a dtype of one of `kinds`; text as objects, because a fixed width wastes memory."""
    refuse_mask(label, values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{label}: not an array: {error}") from error
    if array.dtype.kind in "UT":
        array = array.astype(object)
    if array.dtype.kind not in kinds:
        raise TypeError(f"{label}: expected {wanted}, got dtype {array.dtype}")
    return array


def checked_bools(argument: str, values: npt.ArrayLike) -> BoolArray:
    """Array of bool; nothing else is taken for one."""
    return checked_array(argument, values, "b", "a bool array")


def checked_numbers(argument: str, values: npt.ArrayLike) -> FloatArray:
    """Array of float64; NaN may be among them."""
    return checked_array(argument, values, "biuf", "numbers (NaN = missing)").astype(np.float64)


def checked_magnitudes(label: str, values: Any) -> Any:
    """Pass an array or a NumPy scalar on, if no number in it is infinite or too large to be squared; NaN may be."""
    if values.dtype.kind == "f" and values.size:
        largest = np.fmax.reduce(np.abs(values), axis=None) if values.ndim else abs(values)
        if float(largest) > LARGEST:  # in single precision LARGEST would overflow
            raise ValueError(f"{label}: expected numbers up to {LARGEST:g} in size (NaN = missing), got {largest:g}")
    return values


def checked_magnitude(label: str, number: float) -> float:
    """Pass a float on; otherwise as `checked_magnitudes`."""
    if abs(number) > LARGEST:
        raise ValueError(f"{label}: expected numbers up to {LARGEST:g} in size (NaN = missing), got {number:g}")
    return number


def broadcast_rows(argument: str, values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Array of `shape` out of one that has it, or that has a row of it."""
    if values.shape not in (shape, shape[1:]):
        wanted = f"(n_queries, n_models) = {shape} or (n_models,) = {shape[1:]}"
        raise ValueError(f"{argument}: expected shape {wanted}, got {values.shape}")
    return np.broadcast_to(values, shape)


def checked_columns(argument: str, columns: Mapping[str, Any], leading: tuple[int, ...]) -> dict[str, Column]:
    """Columns as arrays whose first axes are `leading`, with at most one axis more."""
    if not isinstance(columns, Mapping):
        raise TypeError(f"{argument}: expected a mapping of name to array, got {type(columns).__name__}")
    checked = {}
    for name, values in columns.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"{argument}: expected non-empty str as names, got {name!r}")
        label = f"{argument}: column {name!r}"
        array = checked_array(label, values, "biufO", "numbers, text or objects")
        if array.shape[: len(leading)] != leading or array.ndim > len(leading) + 1:
            raise ValueError(f"{label}: expected shape {leading}, or one axis more, got {array.shape}")
        checked[name] = array
    return checked


def row_index(rows: npt.ArrayLike, n_rows: int) -> IndexArray:
    """Give the indices of rows, from indices or a mask of bool."""
    refuse_mask("rows", rows)
    index = np.asarray(rows)
    if index.ndim != 1:
        raise ValueError(f"rows: expected one axis, got shape {index.shape}")
    if index.dtype == bool:
        if len(index) != n_rows:
            raise ValueError(f"rows: expected a mask of length {n_rows}, got {len(index)}")
        return np.flatnonzero(index)
    if index.dtype.kind not in "iu" and len(index):
        raise TypeError(f"rows: expected int or bool, got dtype {index.dtype}")
    outside = (index < -n_rows) | (index >= n_rows)
    if outside.any():
        raise ValueError(f"rows: {index[outside][0]} is out of range for {n_rows} rows")
    return index.astype(np.intp)


def listed(names: Iterable[object]) -> str:
    """Names for a message; of many, the first ones and how many there are."""
    shown = [repr(name) for name in names]
    more = f", ... ({len(shown)} in all)" if len(shown) > MAX_LISTED else ""
    return ", ".join(shown[:MAX_LISTED]) + more if shown else "none"


def checked_rng(rng: int | np.random.Generator | None) -> np.random.Generator:
    """Source of randomness from a seed, a generator, or None for seed 0."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer | None):
        raise TypeError(f"rng: expected None, an int or a numpy Generator, got {type(rng).__name__}")
    if rng is not None and rng < 0:
        raise ValueError(f"rng: expected a seed >= 0, got {rng}")
    return np.random.default_rng(0 if rng is None else int(rng))


def checked_number(argument: str, value: Any) -> float:
    """Give a number as a float; a NumPy scalar is one, a bool or a text isn't."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument}: expected a number, got {value!r}")
    try:
        return float(value)
    except OverflowError:
        # Its digits may be too many for a message, and for Python to write them.
        raise ValueError(f"{argument}: expected a number that a float can hold, got a larger one") from None


def checked_int(argument: str, value: Any, least: int) -> int:
    """Give an int, or a NumPy one, that is at least some bound."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        shown = f"{value!r}" if not isinstance(value, int) or value.bit_length() <= MOST_BITS else "one far below"
        raise ValueError(f"{argument}: expected an int >= {least}, got {shown}")
    return int(value)


def checked_seconds(argument: str, value: Any, *, above_zero: bool = False) -> float:
    """Give a time in seconds: a finite number >= 0, or above 0."""
    seconds = checked_number(argument, value)
    if not 0.0 <= seconds < math.inf or (above_zero and seconds == 0.0):
        raise ValueError(
            f"{argument}: expected seconds, a finite number {'above' if above_zero else '>='} 0, got {value}"
        )
    return seconds


def check_counts(**counts: tuple[Any, int]) -> None:
    """Refuse arguments that aren't an int of at least some bound, each given with its bound."""
    for argument, (value, least) in counts.items():
        checked_int(argument, value, least)


def answer_text(value: Any) -> Any:
    """Give an answer as answers are compared: numbers as text, whole ones without a point; NaN is no answer.

    Examples
    --------
    >>> from headrace.arguments import answer_text
    >>> [answer_text(value) for value in (7, 7.0, 0.5, "007", float("nan"))]
    ['7', '7', '0.5', '007', None]
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        return value
    number = float(value)
    if number != number:
        return None
    if isinstance(value, Integral):
        return str(int(value))
    return str(int(number)) if number.is_integer() else repr(number)


def checked_confidence(confidence: Any) -> float:
    """Give a probability strictly between 0 and 1."""
    if isinstance(confidence, bool) or not isinstance(confidence, Real) or not 0.0 < float(confidence) < 1.0:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence!r}")
    return float(confidence)
