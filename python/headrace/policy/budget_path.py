"""The budget path: realised cost and quality of a rule at every value of its parameter.

Any budget, or any quality target, is answered from it by interpolation, without another fit: a budget between two
neighbouring points is met by mixing their rules per query (Theorems 1 to 3 of Dekoninck, Baader and Vechev, ICML 2025:
the optimum is a mixture of two rules that differ in lambda).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import FloatArray, checked_number, listed
from headrace.extras import imported
from headrace.notebook import html_table

__all__ = ["BudgetPath", "PathPoint", "curve_area", "curve_areas"]

#: A budget may fall short of the cheapest cost by this fraction, for rounding.
ROUNDING = 1e-12

#: Points that a notebook shows.
N_SHOWN = 11


class PathPoint(NamedTuple):
    """A point that a mixture of two neighbouring rules reaches.

    Attributes
    ----------
    cost, quality, n_runs : float
        Means per query on the calibration data: realised cost, realised quality, number of models run.
    parameters : tuple of float
        Parameter (the cost weight; for a threshold cascade, minus the threshold) of the cheaper rule and of the
        more expensive one.
    share : float
        Share of the queries that the cheaper rule decides.
    further_costs : mapping of str to float
        Means of the costs after the first, by name, where there are several.
    """

    cost: float
    quality: float
    n_runs: float
    parameters: tuple[float, float]
    share: float
    further_costs: Mapping[str, float] = MappingProxyType({})

    def forecast(self, cost_name: str) -> dict[str, Any]:
        """Give the means of quality and costs (by name) for an explanation.

        Examples
        --------
        >>> from headrace.policy.budget_path import PathPoint
        >>> PathPoint(0.6, 0.75, 1.0, (2.0, 2.0), 1.0).forecast("usd")
        {'quality': 0.75, 'costs': {'usd': 0.6}}
        """
        return {"quality": self.quality, "costs": {cost_name: self.cost, **self.further_costs}}


@dataclass(frozen=True, eq=False, repr=False)
class BudgetPath:
    """Realised cost and quality of a rule at every value of its parameter, on labelled queries.

    Attributes
    ----------
    parameter : ndarray of shape (n_points,)
        Lower end of the stretch of cost weights on which a point holds, rising; a stretch ends where the next begins,
        and the last one is unbounded. For a threshold cascade, minus the threshold.
    cost, quality, n_runs : ndarray of shape (n_points,)
        Means per query.
    n_queries : int
        Number of queries walked.
    cost_name : str
        Name of the cost.
    further_costs : mapping of str to ndarray of shape (n_points,)
        Means of the costs after the first, by name, where there are several.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.policy.budget_path import BudgetPath
    >>> path = BudgetPath(np.array([0.0, 2.0]), np.array([1.0, 0.2]), np.array([0.9, 0.6]), np.ones(2), 10)
    >>> path.at(budget=0.6)
    PathPoint(cost=0.6, quality=0.75, n_runs=1.0, parameters=(inf, 0.0), share=0.5, further_costs={})
    """

    parameter: FloatArray
    cost: FloatArray
    quality: FloatArray
    n_runs: FloatArray
    n_queries: int
    _: KW_ONLY
    cost_name: str = "cost"
    further_costs: Mapping[str, FloatArray] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"BudgetPath({len(self.cost)} points from {self.n_queries} queries, "
            f"cost {self.cost.min():.3g}..{self.cost.max():.3g}, "
            f"quality {self.quality.min():.3f}..{self.quality.max():.3f})"
        )

    def _repr_html_(self) -> str:
        order = np.unique(np.linspace(0, len(self.cost) - 1, N_SHOWN).round().astype(int))[::-1]
        rows = [(f"{self.cost[i]:.4g}", f"{self.quality[i]:.4f}", f"{self.n_runs[i]:.2f}") for i in order.tolist()]
        return html_table(repr(self), rows, (f"mean {self.cost_name}", "mean quality", "runs per query"))

    @property
    def costs(self) -> dict[str, FloatArray]:
        """All mean costs by name, the first one first."""
        return {self.cost_name: self.cost, **self.further_costs}

    def at(self, *, budget: float | Mapping[str, float] | None = None, quality: float | None = None) -> PathPoint:
        """Find the point that meets a budget, or the cheapest that meets a quality target.

        Parameters
        ----------
        budget : float or mapping of str to float, optional
            Mean cost per query that may be spent, in the unit of the costs; of several costs, that of the first, or of
            each that is named.
        quality : float, optional
            Mean quality to be reached.

        Returns
        -------
        PathPoint
            The mixture of two neighbouring points of the path that meets it exactly (of several budgets, the one that
            is used up first). A budget that is never used up gives the point at cost weight zero.

        Raises
        ------
        ValueError
            Neither or both given; a budget below the cheapest feasible cost, or a target above the best quality that
            the rule reaches: the message states that bound.

        Notes
        -----
        Neighbours, and not the path's concave hull: with some thousand points, the hull's corners are the lucky ones,
        and policies chosen there did worse on held-out queries (docs/decisions/0002-neighbours-not-hull.md).
        """
        if (budget is None) == (quality is None):
            raise ValueError("budget, quality: expected exactly one of them")
        if budget is not None:
            return self._within(checked_budget(budget, self.costs))
        return self.reaching(checked_number("quality", quality), "quality")

    def reaching(self, target: float, argument: str) -> PathPoint:
        """Find the cheapest point that meets a quality target, which messages call as its argument."""
        best = float(self.quality.max())
        if not target <= best + ROUNDING:
            raise ValueError(
                f"{argument}: expected at most {rounded(best, up=False)}, the best that this rule reaches; got {target}"
            )
        good = len(self.quality) - 1 - int(np.argmax(self.quality[::-1] >= min(target, best)))
        if good == len(self.quality) - 1:
            return self._mix(good, good, 1.0)
        high, low = float(self.quality[good]), float(self.quality[good + 1])
        return self._mix(good + 1, good, max(high - target, 0.0) / (high - low))

    def _within(self, budget: dict[str, float]) -> PathPoint:
        """Find the lowest cost weight that keeps all budgets, mixed with its neighbour that doesn't."""
        costs = self.costs
        kept = np.ones(len(self.cost), dtype=np.bool_)
        for name, limit in budget.items():
            least = float(costs[name].min())
            if not limit >= least * (1.0 - ROUNDING):
                raise ValueError(
                    f"{'budget' if len(costs) == 1 else f'budget {name!r}'}: "
                    f"expected at least {rounded(least, up=True)}, the mean cost per query of the cheapest feasible "
                    f"policy (the most expensive: {float(costs[name].max()):.6g}); got {limit:.6g}"
                )
            kept &= costs[name] <= max(limit, least)
        if not kept.any():
            raise ValueError(f"budget: no policy keeps all of {shown_limits(budget)} at these exchange rates")
        within = int(np.argmax(kept))
        if within == 0:
            return self._mix(0, 0, 1.0)
        # Of the cheaper rule, as much as the budget that the more expensive one exceeds most asks for.
        ends = [(limit, float(costs[name][within - 1]), float(costs[name][within])) for name, limit in budget.items()]
        shares = [(high - limit) / (high - low) for limit, high, low in ends if high > limit and high > low]
        return self._mix(within, within - 1, min(max(shares), 1.0))

    def realised(self, parameter: float) -> PathPoint:
        """Give the cost and quality of one value of the parameter, on these queries."""
        point = max(int(np.searchsorted(self.parameter, parameter, side="right")) - 1, 0)
        return self._mix(point, point, 1.0)._replace(parameters=(parameter, parameter))

    def area(self, lowest: float, highest: float, floor: float) -> float:
        """Give the area under quality as a function of cost; see `curve_area`."""
        order = np.lexsort((self.quality, self.cost))
        return curve_area(self.cost[order], self.quality[order], lowest, highest, floor)

    def chosen(
        self,
        budget: float | Mapping[str, float] | None = None,
        *,
        quality_target: float | None = None,
        mix: str = "per-query",
    ) -> PathPoint:
        """Find the point for a budget or a quality target, as `at`; with "deterministic", one rule alone."""
        if quality_target is not None:
            point = self.reaching(checked_number("quality_target", quality_target), "quality_target")
        else:
            point = self.at(budget=budget)
        return point if mix == "per-query" else self.alone(point, for_quality=quality_target is not None)

    def alone(self, point: PathPoint, *, for_quality: bool) -> PathPoint:
        """Replace a mixture by the one of its rules that keeps the budget, or the quality target."""
        cheap, costly = point.parameters
        return self.realised(costly if for_quality else cheap)

    def plot(self, axes: Any = None) -> Any:
        """Draw quality against cost, on a logarithmic axis of costs.

        Parameters
        ----------
        axes : matplotlib axes, optional
            Where to draw; a new figure's by default.

        Returns
        -------
        matplotlib axes

        Raises
        ------
        ImportError
            matplotlib is not installed; the message says how to get it.
        """
        if axes is None:
            axes = (
                imported("matplotlib.figure", "a picture")
                .Figure(figsize=(7.0, 4.5), layout="constrained")
                .add_subplot()
            )
        order = np.lexsort((self.quality, self.cost))
        axes.plot(self.cost[order], self.quality[order], linewidth=1.5)
        axes.set_xscale("log")
        axes.set_xlabel("mean cost per query")
        axes.set_ylabel("mean quality")
        axes.set_title(f"Budget path, {self.n_queries} queries")
        axes.grid(alpha=0.25)
        return axes

    def to_dict(self) -> dict[str, FloatArray]:
        """Give the columns of the path, ready for any data frame: ``pandas.DataFrame(path.to_dict())``."""
        return {"parameter": self.parameter, **self.costs, "quality": self.quality, "n_runs": self.n_runs}

    def _mix(self, cheap: int, costly: int, share: float) -> PathPoint:
        """Mix two points: a share of the cheaper one."""

        def mix(values: FloatArray) -> float:
            return float(share * values[cheap] + (1.0 - share) * values[costly])

        parameters = (self.inside(cheap), self.inside(costly))
        further = {name: mix(values) for name, values in self.further_costs.items()}
        return PathPoint(mix(self.cost), mix(self.quality), mix(self.n_runs), parameters, share, further)

    def inside(self, point: int) -> float:
        """Give a parameter well inside the stretch of a point: its middle; at the path's ends, the end."""
        if point == len(self.parameter) - 1:
            return np.inf
        lower = float(self.parameter[point])
        return lower if point == 0 else 0.5 * (lower + float(self.parameter[point + 1]))


def checked_budget(budget: float | Mapping[str, float], costs: Iterable[str]) -> dict[str, float]:
    """Give the budget of each cost; a number is that of the first."""
    costs = tuple(costs)
    named = dict(budget) if isinstance(budget, Mapping) else {costs[0]: budget}
    if not named:
        raise ValueError("budget: expected at least one cost, got an empty mapping")
    for name in named:
        if name not in costs:
            raise ValueError(f"budget: unknown cost {name!r}; known: {listed(costs)}")
    return {name: checked_number("budget", limit) for name, limit in named.items()}


def shown_limits(limits: Mapping[str, float | str]) -> str:
    """Write limits for a message; the name of a single one goes without saying."""
    shown = {name: limit if isinstance(limit, str) else f"{limit:.6g}" for name, limit in limits.items()}
    return " and ".join(shown.values() if len(shown) == 1 else (f"{name} = {limit}" for name, limit in shown.items()))


def curve_area(cost: FloatArray, quality: FloatArray, lowest: float, highest: float, floor: float) -> float:
    """Trapezoid area under a curve on [lowest, highest], divided by the width.

    Parameters
    ----------
    cost, quality : ndarray of shape (n_points,)
        The curve, by rising cost. Right of its last point it is held flat.
    lowest, highest : float
        Ends of the range, usually the mean costs of the cheapest and of the most expensive single model.
    floor : float
        Quality at `lowest`, for a curve that starts to the right of it.

    Returns
    -------
    float
        Mean quality over the range of costs: the metric of Dekoninck, Baader and Vechev (ICML 2025), section 5.

    Raises
    ------
    ValueError
        `highest` is not above `lowest`.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.policy.budget_path import curve_area
    >>> round(curve_area(np.array([1.0, 2.0]), np.array([0.5, 0.7]), 1.0, 3.0, 0.5), 6)
    0.65
    """
    return float(curve_areas(cost, quality, lowest, highest, floor))


def curve_areas(cost: FloatArray, quality: FloatArray, lowest: float, highest: float, floor: float) -> FloatArray:
    """Areas under several curves, each as from `curve_area`.

    Parameters
    ----------
    cost, quality : ndarray of shape (..., n_points)
        The curves, each by rising cost.
    lowest, highest, floor : float
        As in `curve_area`.

    Returns
    -------
    ndarray of shape (...)

    Raises
    ------
    ValueError
        `highest` is not above `lowest`.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.policy.budget_path import curve_areas
    >>> curve_areas(np.array([[1.0, 2.0], [1.0, 3.0]]), np.array([[0.5, 0.7]] * 2), 1.0, 3.0, 0.5).round(6).tolist()
    [0.65, 0.6]
    """
    if not lowest < highest:
        raise ValueError(f"highest: expected more than lowest = {lowest}, got {highest}")
    ends = np.minimum(cost[..., :1], lowest), np.maximum(cost[..., -1:], highest)
    cost = np.concatenate([ends[0], cost, ends[1]], axis=-1)
    quality = np.concatenate([np.full_like(quality[..., :1], floor), quality, quality[..., -1:]], axis=-1)
    # Piece by piece, the parts outside of the range cut off; a step has no width, so it adds nothing.
    width = np.diff(cost)
    from_cost, to_cost = np.clip(cost[..., :-1], lowest, highest), np.clip(cost[..., 1:], lowest, highest)
    reach = 0.5 * (from_cost + to_cost) - cost[..., :-1]
    inside = from_cost < to_cost
    middle = quality[..., :-1] + np.diff(quality) * np.divide(reach, width, out=np.zeros_like(width), where=inside)
    return np.asarray(np.sum((to_cost - from_cost) * middle, axis=-1) / (highest - lowest))


def rounded(bound: float, *, up: bool) -> str:
    """Write a bound with six digits, rounded to the side on which it holds."""
    for shown in (f"{bound:.6g}", f"{bound + (1 if up else -1) * 5e-6 * abs(bound):.6g}"):
        if (float(shown) >= bound) if up else (float(shown) <= bound):
            return shown
    return repr(bound)
