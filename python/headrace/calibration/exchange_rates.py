"""Exchange rates between several costs: one cost is traded against quality, what another counts in it keeps its budget.

With budgets for two costs the best policy minimises quality lost plus a cost weight times (first cost + rate * second
cost), for some cost weight and some rate (Lagrange multipliers of the two budgets). For one rate a walk gives every
cost weight at once; the rate is found by bisection: the higher it is, the less is spent of the second cost. At the best
rate both budgets are used up together, or one of the costs doesn't count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from headrace.calibration.walk import Stops
from headrace.policy.budget_path import BudgetPath

__all__ = ["Walked", "balance", "one_cost"]

#: The rate is searched up to this factor above and below the ratio of the budgets.
WIDEST = 1e3

#: Halvings of the logarithm of the rate.
N_HALVINGS = 10


class Walked(NamedTuple):
    """A budget path at some exchange rates, and the stops that it sums."""

    rates: tuple[float, ...]
    path: BudgetPath
    stops: Stops


def one_cost(costs: Sequence[str], name: str) -> tuple[float, ...]:
    """Rates at which one cost alone counts.

    Examples
    --------
    >>> from headrace.calibration.exchange_rates import one_cost
    >>> one_cost(["usd", "seconds"], "usd"), one_cost(["usd", "seconds"], "seconds")
    ((1.0,), (0.0, 1.0))
    """
    return (*(0.0 for _ in range(list(costs).index(name))), 1.0)


def balance(
    walk_at: Callable[[tuple[float, ...]], Walked], budget: Mapping[str, float], costs: Sequence[str]
) -> Walked:
    """Find the exchange rates at which budgets for two costs leave the highest quality.

    Parameters
    ----------
    walk_at : callable
        Gives the path at given rates.
    budget : mapping of str to float
        One or two budgets by name of the cost.
    costs : sequence of str
        Names of all costs.

    Returns
    -------
    Walked

    Raises
    ------
    ValueError
        Budgets for more than two costs.
    """
    if len(budget) > 2:
        raise ValueError(f"budget: expected budgets for at most two costs, got {len(budget)}")
    walked = [walk_at(one_cost(costs, name)) for name in budget]
    for name, candidate in zip(budget, walked, strict=True):
        if _first_used_up(candidate.path, budget) in (name, None):
            return candidate
    first, second = budget
    middle = np.log(budget[first] / budget[second]) if min(budget.values()) > 0.0 else 0.0
    low, high = middle - np.log(WIDEST), middle + np.log(WIDEST)
    low_end, high_end = walked
    for _ in range(N_HALVINGS):
        middle = 0.5 * (low + high)
        candidate = walk_at(_rates(costs, {first: 1.0, second: float(np.exp(middle))}))
        if _first_used_up(candidate.path, budget) == first:
            high, high_end = middle, candidate
        else:
            low, low_end = middle, candidate
    return max(low_end, high_end, key=lambda walked: _quality(walked.path, budget))


def _rates(costs: Sequence[str], given: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(given.get(name, 0.0) for name in costs)


def _first_used_up(path: BudgetPath, budget: Mapping[str, float]) -> str | None:
    """Name the budget that is exceeded first as the cost weight falls; None if neither is."""
    use = {name: path.costs[name] / max(limit, 1e-300) for name, limit in budget.items()}
    kept = np.all([values <= 1.0 for values in use.values()], axis=0)
    point = int(np.argmax(kept)) - 1 if kept.any() else len(kept) - 1
    return None if point < 0 else max(use, key=lambda name: float(use[name][point]))


def _quality(path: BudgetPath, budget: Mapping[str, float]) -> float:
    try:
        return path.at(budget=budget).quality
    except ValueError:
        return -np.inf
