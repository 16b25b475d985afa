"""A race of settings: all are walked on a part of the queries, and those that are surely worse are dropped.

Of large tables, whose walks take long, those that are likely worse are dropped, and some already after a part of the
part.

The area under a path is a smooth function of means over queries. Its jackknife over blocks of queries b = 1, ..., B
gives, of two settings, the standard error of the difference d of their areas on the same queries (Efron 1982, section
3): SE^2 = (B - 1)/B sum_b (d_b - mean d)^2, d_b without block b. The blocks' paths are had on one grid of the
parameter, so a setting costs O(n_stops + B * `N_POINTS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.calibration.walk import Stops, budget_path
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import BudgetPath, curve_areas

__all__ = ["Race", "is_large_table", "left_out_areas", "race_of", "worse"]

#: Below so many queries, a part of them says too little.
FEWEST = 600

#: One query of so many is in the part, and at most so many queries or groups.
SHARE = 3
MOST = 2_000

#: Blocks of the jackknife.
N_BLOCKS = 30

#: Points of a path, at equal distances of cost, from which areas without a block are had.
N_POINTS = 100

#: Standard errors behind the best at which a setting is dropped; of a table of more cells than `LARGE`, the second one.
SURELY, LIKELY = 3.0, 1.0

#: Cells, which are queries times models.
LARGE = 25_000


class Race(NamedTuple):
    """Queries of a table in parts: after each but the last, settings are dropped.

    Attributes
    ----------
    parts : tuple of ndarray of int
        Rows, each in rising order.
    block : ndarray of int of shape (n_queries,)
        Number of each row's block, from 0 to `N_BLOCKS` - 1. A group of queries is in one part and in one block.
    """

    parts: tuple[IndexArray, ...]
    block: IndexArray

    def still_in(self, walked: Sequence[Stops], number: int, outcomes: Outcomes) -> BoolArray:
        """Tell which settings to walk on.

        Parameters
        ----------
        walked : sequence of Stops, of length n_settings
            Of the parts so far.
        number : int
            Of the last of them.
        outcomes : Outcomes
            The whole table.

        Returns
        -------
        ndarray of bool of shape (n_settings,)
        """
        rows = np.sort(np.concatenate(self.parts[: number + 1]))
        part, walked = outcomes.take(rows), [stops.of(rows) for stops in walked]
        lowest, highest = float(part.mean_cost.min()), float(part.mean_cost.max())
        if not highest > lowest:
            return np.ones(len(walked), dtype=np.bool_)
        paths = [budget_path(stops, {part.cost_name: part.cost}) for stops in walked]
        areas = [path.area(lowest, highest, float(part.mean_quality.min())) for path in paths]
        block = self.block[rows]
        left_out = [left_out_areas(stops, path, part, block) for stops, path in zip(walked, paths, strict=True)]
        return ~worse(areas, left_out, LIKELY if is_large_table(outcomes) else SURELY)


def is_large_table(outcomes: Outcomes) -> bool:
    """Tell whether a table has more than `LARGE` cells."""
    return outcomes.n_queries * outcomes.n_models > LARGE


def race_of(outcomes: Outcomes) -> Race | None:
    """Draw the first rows, a third of all queries or groups, or `MOST` of them; the same at each call.

    Of a large table, a third of these comes before the others.

    Parameters
    ----------
    outcomes : Outcomes

    Returns
    -------
    Race or None
        None of a table of fewer than `FEWEST` queries, or of fewer groups than give each block of the third one.

    Examples
    --------
    >>> from headrace.calibration.race import race_of
    >>> from headrace.datasets import simulate
    >>> race = race_of(simulate(900, 2))
    >>> [len(rows) for rows in race.parts], int(race.block.max()), race_of(simulate(500, 2))
    ([300, 600], 29, None)
    """
    n_groups = outcomes.n_groups
    if outcomes.n_queries < FEWEST or n_groups < SHARE * N_BLOCKS:
        return None
    place = np.random.default_rng(0).permutation(n_groups)[outcomes.group_of_row]
    first = min(n_groups // SHARE, MOST)
    ends = [first, n_groups]
    if is_large_table(outcomes) and first >= SHARE * N_BLOCKS:
        ends.insert(0, first // SHARE)
    part_of_row = np.searchsorted(ends, place, side="right")
    return Race(tuple(np.flatnonzero(part_of_row == part) for part in range(len(ends))), place % N_BLOCKS)


def left_out_areas(stops: Stops, path: BudgetPath, outcomes: Outcomes, block: IndexArray) -> FloatArray:
    """Give the areas under a path without each block of its queries, over the range of costs of the single models.

    Parameters
    ----------
    stops : Stops
        Of the queries of `outcomes`.
    path : BudgetPath
        Their sum.
    outcomes : Outcomes
        Whose models cost differently on average.
    block : ndarray of int of shape (n_queries,)
        From 0 to `N_BLOCKS` - 1.

    Returns
    -------
    ndarray of shape (N_BLOCKS,)
    """
    lowest, highest = float(outcomes.mean_cost.min()), float(outcomes.mean_cost.max())
    wanted = np.linspace(lowest, highest, N_POINTS)
    # Costs fall as the parameter rises, up to rounding and a belief's errors: any points of the path will do.
    falling = np.minimum.accumulate(path.cost)[::-1]
    points = np.unique(len(falling) - 1 - np.minimum(np.searchsorted(falling, wanted), len(falling) - 1))
    parameters = path.parameter[np.union1d(points, [0, len(path.parameter) - 1])]
    begin = np.searchsorted(parameters, stops.lower)
    end = np.where(np.isinf(stops.upper), len(parameters), np.searchsorted(parameters, stops.upper))
    width = len(parameters) + 1
    at = np.concatenate([block[stops.row] * width + place for place in (begin, end)])

    def sums(values: FloatArray) -> FloatArray:
        steps = np.bincount(at, weights=np.concatenate([values, -values]), minlength=N_BLOCKS * width)
        here = np.cumsum(steps.reshape(N_BLOCKS, width), axis=1)[:, :-1]
        return np.asarray(here.sum(axis=0) - here)

    others = (len(block) - np.bincount(block, minlength=N_BLOCKS))[:, None]
    floor = float(outcomes.mean_quality.min())
    cost, quality = sums(stops.cost) / others, sums(stops.quality) / others
    order = np.lexsort((quality, cost))
    cost, quality = (np.take_along_axis(values, order, axis=-1) for values in (cost, quality))
    return curve_areas(cost, quality, lowest, highest, floor)


def worse(areas: Sequence[float], left_out: Sequence[FloatArray], margin: float) -> BoolArray:
    """Tell which settings are behind the best by more than so many standard errors of the difference.

    Parameters
    ----------
    areas : sequence of float, of length n_settings
        On the same queries.
    left_out : sequence of ndarray of shape (N_BLOCKS,)
        The same without each block.
    margin : float
        In standard errors.

    Returns
    -------
    ndarray of bool of shape (n_settings,)

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.calibration.race import N_BLOCKS, worse
    >>> noise = np.linspace(-0.01, 0.01, N_BLOCKS)
    >>> worse([0.7, 0.6, 0.3], [0.7 + noise, 0.6 - noise, 0.3 - noise], 3.0).tolist()
    [False, False, True]
    """
    behind = max(areas) - np.asarray(areas)
    differences = left_out[int(np.argmin(behind))] - np.asarray(left_out)
    spread = np.sum((differences - differences.mean(axis=1, keepdims=True)) ** 2, axis=1)
    return np.asarray(behind > margin * np.sqrt((N_BLOCKS - 1) / N_BLOCKS * spread))
