"""Greedy set growth: a baseline that grows the plan one model at a time instead of searching for the best set.

From the set of models run, the model whose addition raises the tradeoff most is added, until none raises it; the
cheapest model of the plan that hasn't run is the next one. It looks one model ahead: where two models pay only
together, or where the first one added becomes needless by the second, it misses the best set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arguments import BoolArray, FloatArray
from headrace.estimators.belief import Belief
from headrace.rules import expected_max

__all__ = ["GreedyRule"]

#: Gains below this count as none.
TOLERANCE = 1e-12


class Profile(NamedTuple):
    """Next models as step functions of the cost weight, one after the other; as from `Rule.profile_batch`."""

    row: npt.NDArray[np.int64]
    lower: FloatArray
    upper: FloatArray
    next: npt.NDArray[np.int32]


class GreedyRule:
    """Grow the plan one model at a time while that raises the tradeoff.

    Exact in the cost weight: a plan's growth is a step function of it, with breakpoints where two gains cross.
    O(pieces x k) expected maxima per query, called one by one: for baselines, not for serving.

    Parameters
    ----------
    max_depth : int
        Most models of a plan.
    uncertainty_scale : float, default 1.0
        Factor of the standard deviations.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.greedy import GreedyRule
    >>> profile = GreedyRule(2).profile_batch(
    ...     np.array([[0.6, 0.8]]), np.array([[0.1, 0.4]]), lower=np.zeros(1), upper=np.full(1, np.inf),
    ...     run=np.zeros(2, dtype=bool),
    ... )
    >>> profile.next.tolist(), profile.lower.round(6).tolist()
    ([1, 0], [0.0, 0.666667])
    """

    def __init__(self, max_depth: int, uncertainty_scale: float = 1.0) -> None:
        self.max_depth = max_depth
        self.uncertainty_scale = uncertainty_scale

    def profile_batch(
        self,
        quality: FloatArray,
        cost: FloatArray,
        *,
        lower: FloatArray,
        upper: FloatArray,
        run: BoolArray,
        variance: FloatArray | None = None,
        covariance: FloatArray | None = None,
        loading: FloatArray | None = None,
    ) -> Profile:
        """Give the next model of each query at every cost weight between `lower` and `upper`.

        Parameters
        ----------
        quality, cost : ndarray of shape (n_queries, n_models)
        lower, upper : ndarray of shape (n_queries,)
        run : ndarray of bool of shape (n_models,)
            The models run, of all queries.
        variance : ndarray of shape ([n_queries, ]n_models), optional
        covariance : ndarray of shape ([n_queries, ]n_models, n_models), optional
        loading : ndarray of shape ([n_queries, ]n_models), optional
        """
        pieces: list[tuple[int, float, float, int]] = []
        started = sum(1 << j for j in np.flatnonzero(run).tolist())
        for i in range(len(quality)):
            parts = _of_row(variance, i, 2), _of_row(covariance, i, 3), _of_row(loading, i, 2)
            value = _Values(Belief(quality[i], *parts), self.uncertainty_scale)
            prices: list[float] = cost[i].tolist()
            before: int | None = None
            for low, high, plan in self._grow(value, prices, started, float(lower[i]), float(upper[i])):
                step = min(_members(plan & ~started), key=lambda j: (prices[j], j), default=-1)
                if step == before:
                    pieces[-1] = (i, pieces[-1][1], high, step)
                else:
                    pieces.append((i, low, high, step))
                before = step
        row, lows, highs, model = zip(*pieces, strict=True)
        return Profile(np.array(row, np.int64), np.array(lows), np.array(highs), np.array(model, np.int32))

    def _grow(
        self, value: _Values, cost: list[float], plan: int, low: float, high: float
    ) -> Iterator[tuple[float, float, int]]:
        """Yield the final plans between two cost weights, by rising weight; bit j of a plan stands for model j."""
        rest = [j for j in range(len(cost)) if not plan >> j & 1]
        if not rest or (plan and plan.bit_count() >= self.max_depth):
            yield low, high, plan
            return
        now = value(plan) if plan else 0.0
        # Lines gain - weight * cost; stopping is the line at zero, but nothing has been run yet without a plan.
        lines = [(value(plan | 1 << j) - now, cost[j], j) for j in rest]
        if plan:
            lines = [(gain, price, j) for gain, price, j in lines if gain > TOLERANCE]
            lines.append((0.0, 0.0, -1))
        for start, end, j in _envelope(lines, low, high):
            if j < 0:
                yield start, end, plan
            else:
                yield from self._grow(value, cost, plan | 1 << j, start, end)


class _Values:
    """Expected maxima of sets of one query's models, each taken once."""

    def __init__(self, belief: Belief, scale: float) -> None:
        # Lists: for a few numbers, they reach the core in half the time that arrays take.
        self._quality = belief.quality.tolist()
        self._uncertainty = [None if part is None else part.tolist() for part in belief[1:]]
        self._scale = scale
        self._known: dict[int, float] = {}

    def __call__(self, plan: int) -> float:
        if plan not in self._known:
            index = _members(plan)
            variance, covariance, loading = self._uncertainty
            self._known[plan] = expected_max(
                [self._quality[j] for j in index],
                variance=None if variance is None else [variance[j] for j in index],
                covariance=None if covariance is None else [[covariance[i][j] for j in index] for i in index],
                loading=None if loading is None else [loading[j] for j in index],
                uncertainty_scale=self._scale,
            )
        return self._known[plan]


def _members(plan: int) -> list[int]:
    return [j for j in range(plan.bit_length()) if plan >> j & 1]


def _envelope(lines: list[tuple[float, float, int]], low: float, high: float) -> Iterator[tuple[float, float, int]]:
    """Yield the highest of lines (height at zero, fall, name) from `low` to `high`; of equal ones, the flattest."""
    at = low
    height, fall, name = max(lines, key=lambda line: (line[0] - low * line[1], -line[1], -line[2]))
    while True:
        crossings = [((height - h) / (fall - f), f, -h, n, h) for h, f, n in lines if f < fall]
        if not crossings:
            break
        where, next_fall, _, next_name, next_height = min(crossings)
        if not where < high:
            break
        where = max(where, at)
        if where > at:
            yield at, where, name
        at, height, fall, name = where, next_height, next_fall, next_name
    yield at, high, name


def _of_row(values: FloatArray | None, row: int, axes: int) -> FloatArray | None:
    """Give the part of one row of values that have one for each row, or all of what the rows share."""
    return values if values is None or values.ndim < axes else np.asarray(values[row])
