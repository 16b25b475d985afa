"""Single numbers that have been checked: what a caller passes, as an int or a float, or a clear error."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

__all__ = ["checked_int", "checked_number"]


def checked_number(argument: str, value: Any) -> float:
    """Give a number as a float; a NumPy scalar is one, a bool or a text isn't."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument}: expected a number, got {value!r}")
    return float(value)


def checked_int(argument: str, value: Any, least: int) -> int:
    """Give an int, or a NumPy one, that is at least some bound."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{argument}: expected an int >= {least}, got {value!r}")
    return int(value)
