"""Greedy set growth: a baseline that grows the plan one model at a time instead of searching for the best set.

From the set of models run, the model whose addition raises the tradeoff most is added, until none raises it; the
cheapest model of the plan that hasn't run is the next one. It looks one model ahead: where two models pay only
together, or where the first one added becomes needless by the second, it misses the best set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace._core import expected_max_batch
from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.belief import Belief

__all__ = ["GreedyRule"]

#: Gains below this count as none.
TOLERANCE = 1e-12

#: Most flags of plans that are laid out at once, one per plan and model.
MOST_FLAGS = 2**20


class Profile(NamedTuple):
    """Next models as step functions of the cost weight, one after the other; as from `Rule.profile_batch`."""

    row: npt.NDArray[np.int64]
    lower: FloatArray
    upper: FloatArray
    next: npt.NDArray[np.int32]


class GreedyRule:
    """Grow the plan one model at a time while that raises the tradeoff.

    Exact in the cost weight: a plan's growth is a step function of it, with breakpoints where two gains cross.
    O(pieces x k) expected maxima per query: for baselines, not for serving.

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
        value = _Values(Belief(quality, variance, covariance, loading), self.uncertainty_scale)
        n = len(quality)
        rows, plans = np.arange(n), np.tile(run, (n, 1))
        # Without a plan, nothing to gain upon.
        now = value(rows, plans) if run.any() else np.zeros(n)
        growing = _Stretches(rows, np.asarray(lower), np.asarray(upper), plans, now)
        grown: list[_Stretches] = []
        while len(growing.row):
            is_grown: BoolArray = np.asarray(growing.plan.all(axis=1))
            if growing.plan[0].any():  # the plans have as many models each
                is_grown |= growing.plan.sum(axis=1) >= self.max_depth
            grown.append(growing.take(is_grown))
            growing, stopped = self._grown(value, cost, growing.take(~is_grown))
            grown.append(stopped)
        every = _Stretches(*(np.concatenate(column) for column in zip(*grown, strict=True)))
        every = every.take(np.lexsort((every.lower, every.row)))
        ahead = every.plan & ~run
        step = np.where(ahead.any(axis=1), np.where(ahead, cost[every.row], np.inf).argmin(axis=1), -1)
        # Neighbouring stretches with the same next model are one.
        begins = np.append(True, (step[1:] != step[:-1]) | (every.row[1:] != every.row[:-1]))
        ends = np.append(begins[1:], True)
        return Profile(every.row[begins], every.lower[begins], every.upper[ends], step[begins].astype(np.int32))

    @staticmethod
    def _grown(value: _Values, cost: FloatArray, at: _Stretches) -> tuple[_Stretches, _Stretches]:
        """Add one model to each plan where that pays; give what has grown, and what hasn't."""
        n, k = at.plan.shape
        if not n:
            return at, at
        is_started = bool(at.plan[0].any())
        # Lines gain - weight * cost; stopping is the line at zero, but nothing has been run yet without a plan.
        height, fall = np.zeros((n, k + 1)), np.zeros((n, k + 1))
        larger = value.with_one_more(at.row, at.plan)
        height[:, 1:], fall[:, 1:] = larger - at.value[:, None], cost[at.row]
        is_line = np.concatenate([np.full((n, 1), is_started), ~at.plan], axis=1)
        if is_started:
            is_line[:, 1:] &= height[:, 1:] > TOLERANCE
        of, lower, upper, line = _envelopes(height, fall, is_line, at.lower, at.upper)
        pieces = at.take(of)._replace(lower=lower, upper=upper)
        goes_on = line > 0
        added = line[goes_on] - 1
        ahead = pieces.take(goes_on)._replace(value=larger[of[goes_on], added])
        ahead.plan[np.arange(len(added)), added] = True
        return ahead, pieces.take(~goes_on)


class _Stretches(NamedTuple):
    """Stretches of the cost weight, each with a query and a plan, a mask of models, and the plan's value."""

    row: IndexArray
    lower: FloatArray
    upper: FloatArray
    plan: BoolArray
    value: FloatArray

    def take(self, index: IndexArray | BoolArray) -> _Stretches:
        return _Stretches(self.row[index], self.lower[index], self.upper[index], self.plan[index], self.value[index])


class _Values:
    """Expected maxima of sets of models, those of many queries at once."""

    def __init__(self, belief: Belief, scale: float) -> None:
        self._belief, self._scale = belief, scale
        self._is_plain = scale == 0.0 or all(part is None for part in belief[1:])

    def __call__(self, row: IndexArray, plan: BoolArray) -> FloatArray:
        """Give the value of each plan, of one model or more."""
        if self._is_plain:
            return np.asarray(np.where(plan, self._belief.quality[row], -np.inf).max(axis=1))
        quality, variance, covariance, loading = self._belief
        return expected_max_batch(
            quality,
            plan,
            row=row,
            variance=variance,
            covariance=covariance,
            loading=loading,
            uncertainty_scale=self._scale,
        )

    def with_one_more(self, row: IndexArray, plan: BoolArray) -> FloatArray:
        """Give the values of each plan and one model more: shape (n_plans, n_models)."""
        if self._is_plain:
            now = np.where(plan, self._belief.quality[row], -np.inf).max(axis=1, keepdims=True)
            return np.asarray(np.maximum(now, self._belief.quality[row]))
        n, k = plan.shape
        values = np.zeros((n, k))
        step = max(1, MOST_FLAGS // k**2)
        for begin in range(0, n, step):
            some = slice(begin, begin + step)
            at, added = np.nonzero(~plan[some])
            larger = plan[some][at]
            larger[np.arange(len(at)), added] = True
            values[some][at, added] = self(row[some][at], larger)
        return values


def _envelopes(
    height: FloatArray, fall: FloatArray, is_line: BoolArray, lower: FloatArray, upper: FloatArray
) -> tuple[IndexArray, FloatArray, FloatArray, IndexArray]:
    """Find the highest of each row's lines (height at zero, fall) from `lower` to `upper`; of equal ones, the flattest.

    Gives the row, the ends and the line of each piece.
    """
    at, rows = lower, np.arange(len(height))
    line = _first_of(is_line, (-(height - lower[:, None] * fall), fall))
    pieces: list[tuple[IndexArray, FloatArray, FloatArray, IndexArray]] = []
    while len(rows):
        own_height, own_fall = height[rows, line][:, None], fall[rows, line][:, None]
        is_flatter = is_line[rows] & (fall[rows] < own_fall)
        where = np.full(is_flatter.shape, np.inf)
        np.divide(own_height - height[rows], own_fall - fall[rows], out=where, where=is_flatter)
        following = _first_of(is_flatter, (where, fall[rows], -height[rows]))
        crossing = where[np.arange(len(rows)), following]
        ends = ~(crossing < upper[rows])
        until = np.where(ends, upper[rows], np.maximum(crossing, at))
        kept = ends | (until > at)
        pieces.append((rows[kept], at[kept], until[kept], line[kept]))
        rows, at, line = rows[~ends], until[~ends], following[~ends]
    of, begin, end, which = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return of, begin, end, which


def _first_of(among: BoolArray, keys: tuple[FloatArray, ...]) -> IndexArray:
    """Give, of each row, the place of the smallest first key; of equal ones that of the second, and so on."""
    for key in keys:
        least = np.where(among, key, np.inf).min(axis=1, keepdims=True)
        among = among & (key == least)
    return np.asarray(among.argmax(axis=1))
