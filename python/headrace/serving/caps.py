"""Caps on the costs of one query: what may still run within them, by estimate, at every step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from headrace.arguments import BoolArray, FloatArray
from headrace.errors import CapTooSmall

__all__ = ["NO_CAPS", "Caps"]


@dataclass(frozen=True)
class Caps:
    """Limits on the costs of all runs of one query together.

    Attributes
    ----------
    limits : mapping of str to float
        The most of each cost that has a cap.
    traded : str or None
        The cost that the rule trades against quality, if it is one alone: of that, the rule itself keeps the cap, for
        the whole plan. Caps on other costs say what may run next.
    """

    limits: Mapping[str, float]
    traded: str | None

    def applied(
        self, left: list[int], estimates: FloatArray, spent: Mapping[str, float], run: BoolArray
    ) -> tuple[list[int], float | None]:
        """Give the models within what is left of the caps that no rule keeps, and what is left of the cap of the rule.

        Parameters
        ----------
        left : list of int
            Models that may run, or have run.
        estimates : ndarray of shape (n_costs, n_models)
            In the order of `spent`.
        spent : mapping of str to float
            What all runs cost so far, of each cost by name.
        run : bool ndarray of shape (n_models,)

        Returns
        -------
        list of int
            Models whose costs, by estimate, are within.
        float or None
            For the rule; None where it keeps no cap.

        Raises
        ------
        CapTooSmall
            No model is within a cap, and none has run.
        """
        if not self.limits:
            return left, None
        allowed = left
        for name, cost in zip(spent, estimates, strict=True):
            if name not in self.limits or name == self.traded:
                continue
            limit = self._left(name, spent)
            within = [j for j in allowed if run[j] or cost[j] <= limit]
            if not within and not run.any():
                self._require_one(name, limit, spent, [float(cost[j]) for j in allowed])
            allowed = within
        if self.traded is None or self.traded not in self.limits:
            return allowed, None
        limit = self._left(self.traded, spent)
        if not run.any():
            self._require_one(self.traded, limit, spent, [float(estimates[0, j]) for j in left])
        return allowed, limit

    def _left(self, name: str, spent: Mapping[str, float]) -> float:
        return max(self.limits[name] - spent[name], 0.0)

    def _require_one(self, name: str, limit: float, spent: Mapping[str, float], costs: Collection[float]) -> None:
        """Refuse a cap that lets no model run at all."""
        least = min(costs, default=0.0)
        if least > limit:
            raise CapTooSmall(
                f"max_cost: expected at least {least:.6g} for {name!r}, which the cheapest model that may run is "
                f"expected to take; got {limit:.6g}",
                needed=least + spent[name],
            )


#: Where no cost has a cap.
NO_CAPS = Caps({}, None)
