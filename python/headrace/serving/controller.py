"""The budget controller: keeps the spend on target while prices and queries drift.

It steers by the budget path: what has been spent beyond the budget so far, the debt, is paid back over the next
`horizon` queries, by asking the path for that much less. If the real mean cost is some multiple of the one on the path,
the debt settles where the multiple is made up for, and doesn't grow: the mean cost tends to the budget like 1/n. The
state is one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.arguments import checked_int, checked_number
from headrace.serving.decider import Decider
from headrace.serving.session import Session

__all__ = ["BudgetController"]


class BudgetController:
    """Nudges a decider's cost weight after each query, so that the mean cost stays on budget.

    Parameters
    ----------
    decider : Decider
        With a budget.
    horizon : int, default 200
        Number of queries over which a debt is paid back: fewer react faster, and swing more.

    Attributes
    ----------
    decider : Decider
        The one that serves the next query.
    debt : float
        What has been spent beyond the budget; negative: what is left over.
    n : int
        Number of queries observed.

    Raises
    ------
    ValueError
        The decider has no budget, or budgets for several costs; a horizon below 1.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.datasets import NoisyOracle, simulate
    >>> from headrace.serving import BudgetController
    >>> router = hr.Router(quality=NoisyOracle()).fit(simulate(500, 3), budget=0.002)
    >>> controller = BudgetController(router.decider_)
    >>> controller.observe(0.012)
    >>> round(controller.debt, 6), round(controller.decider.point.cost, 6)
    (0.01, 0.00195)
    """

    def __init__(self, decider: Decider, *, horizon: int = 200) -> None:
        budget = decider.budget
        if budget is None or len(budget) != 1:
            raise ValueError(f"decider: expected one with a budget for one cost, got {budget}")
        ((self._cost, self._budget),) = budget.items()
        self.decider: Decider = decider
        self.debt: float = 0.0
        self.n: int = 0
        self._horizon = checked_int("horizon", horizon, 1)
        costs = decider.path.costs[self._cost]
        self._least, self._most = float(costs.min()), float(costs.max())

    def start(self, query: Mapping[str, Any] | str, **options: Any) -> Session:
        """Start the walk over one query under the present cost weight; as `Decider.start`."""
        return self.decider.start(query, **options)

    def observe(self, run: Session | float) -> None:
        """Take in what a query cost: a session that has ended, or a number, and set the cost weight anew."""
        cost = run.costs[self._cost] if isinstance(run, Session) else checked_number("run", run)
        if not 0.0 <= cost < float("inf"):
            raise ValueError(f"run: expected a finite cost >= 0, got {cost}")
        self.debt += cost - self._budget
        self.n += 1
        wanted = min(max(self._budget - self.debt / self._horizon, self._least), self._most)
        self.decider = self.decider.with_budget({self._cost: wanted})
