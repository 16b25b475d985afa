"""The scores of two public leaderboards: RouterBench's average improvement in quality, and RouterArena's score."""

from __future__ import annotations

import math

from headrace.arguments import FloatArray
from headrace.evaluation.metrics import concave_hull
from headrace.policy.budget_path import curve_area

__all__ = ["aiq", "arena_score"]

#: Weight of the costs in RouterArena's score.
ARENA_BETA = 0.1


def aiq(cost: FloatArray, quality: FloatArray, lowest: float, highest: float, floor: float) -> float:
    """Average improvement in quality: mean height of the curve's non-decreasing concave hull over a range of costs.

    Parameters
    ----------
    cost, quality : ndarray of shape (n_points,)
        The curve, in any order.
    lowest, highest, floor : float
        As in `headrace.policy.budget_path.curve_area`.

    Returns
    -------
    float

    Notes
    -----
    AIQ = integral of the hull from c_min to c_max, over c_max - c_min (Hu et al., RouterBench, 2024, arXiv 2403.12031,
    section 3). Two choices are ours, so that all methods are averaged over one range: c_min and c_max are the mean
    costs of the cheapest and of the most expensive single model, and a curve that starts to the right of c_min is
    joined to the worst single model there. RouterBench's published code (evaluation/AIQ.py) divides by the largest cost
    instead of the width and counts nothing to the left of the first point, so its numbers differ from these.

    The hull's corners are the lucky ones of the test queries: AIQ is optimistic, more so for curves of many points.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.benchmarks.metrics import aiq
    >>> round(aiq(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.4, 0.9]), 1.0, 3.0, 0.4), 6)
    0.7
    """
    hull = concave_hull(cost, quality)
    return curve_area(cost[hull], quality[hull], lowest, highest, floor)


def arena_score(cost: float, quality: float, lowest: float, highest: float, *, beta: float = ARENA_BETA) -> float:
    """RouterArena's score of one policy: a weighted harmonic mean of quality and of cheapness on a logarithmic scale.

    Parameters
    ----------
    cost : float
        Mean cost per query, in the unit of the two ends.
    quality : float
        Mean quality, from 0 to 1.
    lowest, highest : float
        Costs that count as 1 and as 0. RouterArena's own are 0.0044 and 200 dollars per 1,000 queries: 4.4e-6 and 0.2
        per query.
    beta : float, default 0.1

    Returns
    -------
    float
        S = (1 + beta) A C / (beta A + C), with C = (log highest - log cost) / (log highest - log lowest), cut off
        at 0 and 1; 0 for a quality or a cheapness of 0, NaN where the score has no meaning: a quality outside of 0 to
        1, or a range of costs that isn't one.

    Notes
    -----
    Lu et al., RouterArena, 2025 (arXiv 2510.00202); formula and constants as in the project's published code
    (router_evaluation, compute_arena_score), which doesn't cut C off.

    Examples
    --------
    >>> from headrace.benchmarks.metrics import arena_score
    >>> round(arena_score(0.311e-3, 0.7167, 4.4e-6, 0.2), 4)
    0.7046
    """
    if not 0.0 < lowest < highest or not 0.0 <= quality <= 1.0:
        return math.nan
    cheapness = (math.log(highest) - math.log(max(cost, lowest))) / (math.log(highest) - math.log(lowest))
    cheapness = max(cheapness, 0.0)
    if quality == 0.0 or cheapness == 0.0:
        return 0.0
    return (1.0 + beta) * quality * cheapness / (beta * quality + cheapness)
