"""Values as JSON knows them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

__all__ = ["MOST_LEVELS", "json_of", "nests_deeper", "plain"]

#: Most levels of lists and objects in what is read: far more than anybody writes, and far fewer than Python's limit on
#: recursion lets any later step go down.
MOST_LEVELS = 100


def json_of(text: str | bytes, **options: Any) -> Any:
    """Parse JSON text, as `json.loads` does with its options.

    Parameters
    ----------
    text : str or bytes
    **options
        Of `json.loads`, such as ``parse_float=``.

    Raises
    ------
    ValueError
        No JSON; a number of more than 4300 digits; more than `MOST_LEVELS` levels of lists and objects.

    Examples
    --------
    >>> from headrace.json_values import json_of
    >>> json_of('{"a": [1]}')
    {'a': [1]}
    >>> json_of("[" * 101 + "]" * 101)
    Traceback (most recent call last):
        ...
    ValueError: expected at most 100 levels of lists and objects, got more
    """
    openings = (b"[", b"{") if isinstance(text, bytes) else ("[", "{")
    try:
        value = json.loads(text, **options)
        # Most texts have too few brackets for it.
        if sum(map(text.count, openings)) <= MOST_LEVELS or not nests_deeper(value, MOST_LEVELS):  # type: ignore[arg-type]
            return value
    except RecursionError:
        pass
    raise ValueError(f"expected at most {MOST_LEVELS} levels of lists and objects, got more")


def nests_deeper(value: Any, levels: int) -> bool:
    """Tell whether lists, tuples and dicts stand in each other on more levels than some, without going down by calls.

    Examples
    --------
    >>> from headrace.json_values import nests_deeper
    >>> nests_deeper({"a": [1]}, 2), nests_deeper({"a": [1]}, 1), nests_deeper(1, 0)
    (False, True, False)
    """
    boxes = [value] if isinstance(value, dict | list | tuple) else []
    for _ in range(levels):
        if not boxes:
            return False
        boxes = [
            part
            for box in boxes
            for part in (box.values() if isinstance(box, dict) else box)
            if isinstance(part, dict | list | tuple)
        ]
    return bool(boxes)


def plain(value: Any, *, infinity: str | None = None) -> Any:
    """Turn arrays, tuples and named tuples into what JSON knows; a number that isn't finite becomes None.

    Parameters
    ----------
    value : object
    infinity : str, optional
        With "inf", infinite numbers become the texts "inf" and "-inf" instead.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.json_values import plain
    >>> plain({"a": (1, np.float64("inf")), "b": np.arange(2)})
    {'a': [1, None], 'b': [0, 1]}
    >>> plain([float("-inf"), float("nan")], infinity="inf")
    ['-inf', None]
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None if infinity is None or math.isnan(value) else str(value)
    if isinstance(value, dict):
        return {str(key): plain(item, infinity=infinity) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict(), infinity=infinity)
    if isinstance(value, list | tuple):
        return [plain(item, infinity=infinity) for item in value]
    return value
