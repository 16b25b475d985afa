"""Values as JSON knows them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["plain"]


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
