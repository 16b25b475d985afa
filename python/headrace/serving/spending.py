"""What runs cost, and the columns that are bought after them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.arguments import FloatArray, listed
from headrace.serving.columns import checked_cost

__all__ = ["bought", "checked_costs"]


def checked_costs(cost: float | Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    """Give costs by name: a number is the first one.

    Raises
    ------
    ValueError
        An unknown cost, or one that isn't a finite number >= 0.

    Examples
    --------
    >>> from headrace.serving.spending import checked_costs
    >>> checked_costs(0.5, ("usd", "seconds")), checked_costs({"seconds": 2}, ("usd", "seconds"))
    ({'usd': 0.5}, {'seconds': 2.0})
    """
    if type(cost) is float or not isinstance(cost, Mapping):
        cost = {names[0]: cost}
    elif unknown := [name for name in cost if name not in names]:
        raise ValueError(f"cost: unknown cost {unknown[0]!r}; known: {listed(names)}")
    several = len(names) > 1
    return {name: checked_cost(f"cost: {name!r}" if several else "cost", value) for name, value in cost.items()}


def bought(
    wanted: Mapping[str, FloatArray], j: int, columns: Mapping[str, Any], given: Mapping[str, float]
) -> dict[str, float]:
    """Give what the columns bought for a run cost: as given, or their mean price; those that are missing cost nothing.

    Raises
    ------
    ValueError
        A price of another column, or one that isn't a finite number >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.serving.spending import bought
    >>> prices = {"judge": np.array([0.25, 0.5]), "tests": np.array([2.0, 2.0])}
    >>> bought(prices, 1, {"answer": "4", "judge": 0.9}, {}), bought(prices, 1, {"tests": 1.0}, {"tests": 1.5})
    ({'judge': 0.5}, {'tests': 1.5})
    """
    unknown = [name for name in given if name not in wanted]
    if unknown:
        raise ValueError(f"column_cost: expected columns of wanted, {listed(wanted)}; got {unknown[0]!r}")
    return {
        name: checked_cost(f"column_cost: {name!r}", given.get(name, float(price[j])))
        for name, price in wanted.items()
        if columns.get(name) is not None
    }
