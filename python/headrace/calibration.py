"""Calibration: the budget path, from which any budget is answered without another fit.

Every labelled query is walked once for *all* cost weights (lambda) at the same time. Under a run set R the
rule's next model is a step function of lambda with few pieces (`Rule.profile_batch`); each piece leads to a
larger R, where the estimators are asked again, until it stops. Summing the stops of all queries gives the
realised cost and quality of every lambda: the budget path.

A budget between two neighbouring points of the path is met by mixing their rules per query (Theorems 1 to 3 of
Dekoninck, Baader and Vechev, ICML 2025: the optimum is a mixture of two rules that differ in lambda).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from headrace.arrays import BoolArray, FloatArray, IndexArray
from headrace.belief import Belief
from headrace.outcomes import Outcomes
from headrace.rules import Rule, ThresholdCascade

__all__ = ["Believer", "BudgetPath", "PathPoint", "Stops", "budget_path", "curve_area", "walk"]

IntArray = npt.NDArray[np.int64]

#: Most models of a table that is walked: run sets are kept as bits of an int64.
MOST_MODELS = 62

#: A budget may fall short of the cheapest cost by this fraction, for rounding.
ROUNDING = 1e-12


class Believer(Protocol):
    """Gives what is believed of some rows of a table once the models of one run set have run."""

    def __call__(self, rows: IndexArray, run: BoolArray) -> tuple[Belief, FloatArray]:
        """Give the belief, and the estimated costs of shape (len(rows), n_models)."""


class PathPoint(NamedTuple):
    """A point that a mixture of two neighbouring rules reaches.

    Attributes
    ----------
    cost, quality, n_runs : float
        Means per query on the calibration data: realised cost, realised quality, number of models run.
    parameters : tuple of float
        Parameter (the cost weight; for a threshold cascade, minus the threshold) of the cheaper rule and of the
        dearer one.
    share : float
        Share of the queries that the cheaper rule decides.
    """

    cost: float
    quality: float
    n_runs: float
    parameters: tuple[float, float]
    share: float


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

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.calibration import BudgetPath
    >>> path = BudgetPath(np.array([0.0, 2.0]), np.array([1.0, 0.2]), np.array([0.9, 0.6]), np.ones(2), 10)
    >>> path.at(budget=0.6)
    PathPoint(cost=0.6, quality=0.75, n_runs=1.0, parameters=(inf, 0.0), share=0.5)
    """

    parameter: FloatArray
    cost: FloatArray
    quality: FloatArray
    n_runs: FloatArray
    n_queries: int

    def __repr__(self) -> str:
        return (
            f"BudgetPath({len(self.cost)} points from {self.n_queries} queries, "
            f"cost {self.cost.min():.3g}..{self.cost.max():.3g}, "
            f"quality {self.quality.min():.3f}..{self.quality.max():.3f})"
        )

    def at(self, *, budget: float | None = None, quality: float | None = None) -> PathPoint:
        """Find the point that meets a budget, or the cheapest that meets a quality target.

        Parameters
        ----------
        budget : float, optional
            Mean cost per query that may be spent, in the unit of the costs.
        quality : float, optional
            Mean quality to be reached.

        Returns
        -------
        PathPoint
            The mixture of two neighbouring points of the path that meets it exactly. A budget that is never used up
            gives the point at cost weight zero.

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
            least = float(self.cost.min())
            if not budget >= least * (1.0 - ROUNDING):
                wanted = f"at least {_shown(least, up=True)}, the mean cost per query of the cheapest feasible policy"
                raise ValueError(f"budget: expected {wanted}; got {budget}")
            within = int(np.argmax(self.cost <= max(budget, least)))
            return self._mix(within, within - 1, self.cost, budget)
        best = float(self.quality.max())
        target = float(quality)  # type: ignore[arg-type]  # one of the two is given
        if not target <= best + ROUNDING:
            raise ValueError(
                f"quality: expected at most {_shown(best, up=False)}, the best that this rule reaches; got {quality}"
            )
        good = len(self.quality) - 1 - int(np.argmax(self.quality[::-1] >= min(target, best)))
        return self._mix(good + 1, good, self.quality, target)

    def realised(self, parameter: float) -> PathPoint:
        """Give the cost and quality of one value of the parameter, on these queries."""
        point = max(int(np.searchsorted(self.parameter, parameter, side="right")) - 1, 0)
        return self._mix(point, point, self.cost, 0.0)._replace(parameters=(parameter, parameter))

    def area(self, lowest: float, highest: float, floor: float) -> float:
        """Give the area under quality as a function of cost; see `curve_area`."""
        order = np.lexsort((self.quality, self.cost))
        return curve_area(self.cost[order], self.quality[order], lowest, highest, floor)

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
            try:
                from matplotlib.figure import Figure
            except ImportError as error:
                raise ImportError("drawing needs matplotlib: pip install 'headrace[report]'") from error
            axes = Figure(figsize=(7.0, 4.5), layout="constrained").add_subplot()
        order = np.lexsort((self.quality, self.cost))
        axes.plot(self.cost[order], self.quality[order], linewidth=1.5)
        axes.set_xscale("log")
        axes.set_xlabel("mean cost per query")
        axes.set_ylabel("mean quality")
        axes.set_title(f"Budget path, {self.n_queries} queries")
        axes.grid(alpha=0.25)
        return axes

    def to_frame(self) -> dict[str, FloatArray]:
        """Give the columns of the path, ready for any data frame."""
        return {"parameter": self.parameter, "cost": self.cost, "quality": self.quality, "n_runs": self.n_runs}

    def _mix(self, cheap: int, dear: int, values: FloatArray, wanted: float) -> PathPoint:
        """Mix two points so that the mean of `values` is as wanted; past an end of the path there is one only."""
        last = len(self.cost) - 1
        dear, cheap = max(min(dear, last), 0), min(cheap, last)
        width = float(values[dear] - values[cheap])
        share = 1.0 if width == 0.0 else float(np.clip((values[dear] - wanted) / width, 0.0, 1.0))

        def mean(values: FloatArray) -> float:
            return float(share * values[cheap] + (1.0 - share) * values[dear])

        parameters = (self._inside(cheap), self._inside(dear))
        return PathPoint(mean(self.cost), mean(self.quality), mean(self.n_runs), parameters, share)

    def _inside(self, point: int) -> float:
        """Give a parameter well inside the stretch of a point: its middle; at the path's ends, the end."""
        if point == len(self.parameter) - 1:
            return np.inf
        lower = float(self.parameter[point])
        return lower if point == 0 else 0.5 * (lower + float(self.parameter[point + 1]))


def curve_area(cost: FloatArray, quality: FloatArray, lowest: float, highest: float, floor: float) -> float:
    """Trapezoid area under a curve on [lowest, highest], divided by the width.

    Parameters
    ----------
    cost, quality : ndarray of shape (n_points,)
        The curve, by rising cost. Right of its last point it is held flat.
    lowest, highest : float
        Ends of the range, usually the mean costs of the cheapest and of the dearest single model.
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
    >>> from headrace.calibration import curve_area
    >>> round(curve_area(np.array([1.0, 2.0]), np.array([0.5, 0.7]), 1.0, 3.0, 0.5), 6)
    0.65
    """
    if not lowest < highest:
        raise ValueError(f"highest: expected more than lowest = {lowest}, got {highest}")
    cost = np.concatenate([[min(lowest, float(cost[0]))], cost, [max(highest, float(cost[-1]))]])
    quality = np.concatenate([[floor], quality, [quality[-1]]])
    # Piece by piece, the parts outside of the range cut off; a step has no width, so it adds nothing.
    width = np.diff(cost)
    from_cost, to_cost = np.clip(cost[:-1], lowest, highest), np.clip(cost[1:], lowest, highest)
    reach = 0.5 * (from_cost + to_cost) - cost[:-1]
    inside = from_cost < to_cost
    middle = quality[:-1] + np.diff(quality) * np.divide(reach, width, out=np.zeros_like(width), where=inside)
    return float(np.sum((to_cost - from_cost) * middle) / (highest - lowest))


def _shown(bound: float, *, up: bool) -> str:
    """Write a bound with six digits, rounded to the side on which it holds."""
    for shown in (f"{bound:.6g}", f"{bound + (1 if up else -1) * 5e-6 * abs(bound):.6g}"):
        if (float(shown) >= bound) if up else (float(shown) <= bound):
            return shown
    return repr(bound)


class _Walkers(NamedTuple):
    """Stretches of the parameter that have led to the same place: a query, a run set (as bits), a last model."""

    row: IntArray
    run: IntArray
    lower: FloatArray
    upper: FloatArray
    last: IntArray

    def take(self, index: npt.NDArray[np.int64] | BoolArray) -> _Walkers:
        return _Walkers(self.row[index], self.run[index], self.lower[index], self.upper[index], self.last[index])

    @staticmethod
    def join(parts: list[_Walkers]) -> _Walkers:
        row, run, lower, upper, last = (np.concatenate(column) for column in zip(*parts, strict=True))
        return _Walkers(row, run, lower, upper, last)


class Stops(NamedTuple):
    """Where walks ended: for stretches of the parameter, what a query cost and which answer it got.

    Attributes
    ----------
    row : ndarray of int of shape (n_stops,)
        The query.
    lower, upper : ndarray of shape (n_stops,)
        Ends of the stretch; those of one query leave no gaps.
    cost, quality : ndarray of shape (n_stops,)
        Realised cost of all models run, and realised quality of the answer.
    n_runs, answer : ndarray of int of shape (n_stops,)
        Number of models run, and the model whose answer is returned.
    """

    row: IntArray
    lower: FloatArray
    upper: FloatArray
    cost: FloatArray
    quality: FloatArray
    n_runs: IntArray
    answer: IntArray

    def at(self, parameter: float) -> IntArray:
        """Index of the stop of each query at one value of the parameter, in the order of the queries."""
        last = np.isinf(self.upper) & (parameter == np.inf)
        here = np.flatnonzero(((self.lower <= parameter) & (parameter < self.upper)) | last)
        return here[np.argsort(self.row[here], kind="stable")]


def walk(
    rule: Rule,
    outcomes: Outcomes,
    believe: Believer,
    *,
    answer: str = "best",
    progress: Callable[[float], None] | None = None,
) -> Stops:
    """Walk every query of a table for all values of a rule's parameter at once.

    Parameters
    ----------
    rule : Rule
        The rule; its own parameter is ignored.
    outcomes : Outcomes
        Complete table of labelled queries, of at most 62 models.
    believe : Believer
        ``believe(rows, run)`` gives the belief and the estimated costs of the given rows once the models of the mask
        `run` have run.
    answer : {"best", "last"}
        Which answer is returned: that of the model with the highest estimate among those run, or of the last.
    progress : callable, optional
        Called with the share of the steps done.

    Returns
    -------
    Stops

    Raises
    ------
    ValueError
        Too many models, or what the rule refuses.
    """
    n_queries, n_models = outcomes.n_queries, outcomes.n_models
    if n_models > MOST_MODELS:
        raise ValueError(f"outcomes: expected at most {MOST_MODELS} models in a calibration, got {n_models}")
    if answer not in ("best", "last"):
        raise ValueError(f'answer: expected "best" or "last", got {answer!r}')
    bits = np.int64(1) << np.arange(n_models, dtype=np.int64)
    start = -np.inf if isinstance(rule, ThresholdCascade) else 0.0
    nothing = np.zeros(n_queries, np.int64)
    walkers = _Walkers(
        np.arange(n_queries), nothing, np.full(n_queries, start), np.full(n_queries, np.inf), nothing - 1
    )
    stopped, answers = [], []
    for step in range(n_models + 1):
        if progress is not None:
            progress(step / (n_models + 1))
        going = []
        for run_set in np.unique(walkers.run).tolist():
            here = walkers.take(walkers.run == run_set)
            ahead, ended, chosen = _step(rule, here, (run_set & bits) != 0, believe)
            going.append(ahead._replace(run=ahead.run | bits[ahead.last]))
            stopped.append(ended)
            answers.append(chosen if answer == "best" else ended.last)
        walkers = _Walkers.join(going)
        if not len(walkers.row):
            break
    ended = _Walkers.join(stopped)
    answered = np.concatenate(answers)
    ran = (ended.run[:, None] & bits) != 0
    cost = np.where(ran, outcomes.cost[ended.row], 0.0).sum(axis=1)
    quality = outcomes.quality[ended.row, answered]
    return Stops(ended.row, ended.lower, ended.upper, cost, quality, ran.sum(axis=1), answered)


def _step(rule: Rule, here: _Walkers, run: BoolArray, believe: Believer) -> tuple[_Walkers, _Walkers, IntArray]:
    """Move walkers that share a run set by one decision: those that go on, those that stop, and their best answers."""
    rows, of_row = np.unique(here.row, return_inverse=True)
    belief, cost = believe(rows, run)
    each = belief.take(of_row)
    piece, lower, upper, model = rule.profile_batch(
        each.quality,
        cost[of_row],
        lower=here.lower,
        upper=here.upper,
        run=run,
        variance=each.variance,
        covariance=each.covariance,
        loading=each.loading,
    )
    pieces = here.take(piece)._replace(lower=lower, upper=upper)
    best = np.where(run, each.quality, -np.inf).argmax(axis=1)[piece]
    stops = model < 0
    ahead = pieces._replace(last=model.astype(np.int64)).take(~stops)
    return ahead, pieces.take(stops), best[stops]


def budget_path(stops: Stops, n_queries: int) -> BudgetPath:
    """Sum the stops of all queries to one path.

    Parameters
    ----------
    stops : Stops
        From `walk`.
    n_queries : int
        Number of queries walked.

    Returns
    -------
    BudgetPath
    """
    parameter, place = np.unique(np.concatenate([stops.lower, stops.upper]), return_inverse=True)

    def mean(values: npt.NDArray[np.float64] | IntArray) -> FloatArray:
        steps = np.bincount(place, weights=np.concatenate([-values, values]), minlength=len(parameter))
        # Summed from the cheap end, where the sums are small, so that rounding is small there.
        return np.asarray(np.cumsum(steps[::-1])[::-1][1:] / n_queries)

    return BudgetPath(parameter[:-1], mean(stops.cost), mean(stops.quality), mean(stops.n_runs), n_queries)
