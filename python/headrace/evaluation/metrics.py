"""Readings of a curve of cost against quality.

A curve is a few points (cost, quality), one for each budget, joined by straight lines: a mixture of two neighbouring
policies reaches each point between them. Besides these, `headrace.policy.budget_path.curve_area` is the area under a
curve, and `headrace.benchmarks.metrics` has the scores of public leaderboards.
"""

from __future__ import annotations

import math

import numpy as np

from headrace.arguments import FloatArray, IndexArray
from headrace.policy.budget_path import ROUNDING

__all__ = ["concave_hull", "cost_at_quality", "quality_at_cost"]


def concave_hull(cost: FloatArray, quality: FloatArray) -> IndexArray:
    """Give the points on the upper concave hull that never falls, by rising cost: what random mixing reaches.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.metrics import concave_hull
    >>> concave_hull(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 0.55, 0.8, 0.7])).tolist()
    [0, 2]
    """
    order = np.lexsort((-quality, cost))
    highest = np.maximum.accumulate(quality[order])
    order = order[np.append(True, highest[1:] > highest[:-1])[: len(order)]]
    x, y = cost[order].tolist(), quality[order].tolist()
    kept: list[int] = []
    for j in range(len(order)):
        while len(kept) >= 2 and (
            (y[kept[-1]] - y[kept[-2]]) * (x[j] - x[kept[-1]]) <= (y[j] - y[kept[-1]]) * (x[kept[-1]] - x[kept[-2]])
        ):
            kept.pop()
        kept.append(j)
    return np.asarray(order[kept], dtype=np.intp)


def quality_at_cost(cost: FloatArray, quality: FloatArray, wanted: float) -> float:
    """Quality of a curve at one cost; flat to the right of its last point, minus infinity left of its first.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.metrics import quality_at_cost
    >>> quality_at_cost(np.array([1.0, 3.0]), np.array([0.5, 0.75]), 2.0)
    0.625
    """
    order = np.lexsort((quality, cost))
    cost, quality = cost[order], quality[order]
    if wanted < cost[0] * (1.0 - ROUNDING):
        return -math.inf
    return float(np.interp(wanted, cost, quality))


def cost_at_quality(cost: FloatArray, quality: FloatArray, wanted: float) -> float:
    """Least cost at which a curve reaches a quality; infinity where it never does.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.metrics import cost_at_quality
    >>> cost_at_quality(np.array([1.0, 3.0]), np.array([0.5, 0.75]), 0.625)
    2.0
    """
    order = np.lexsort((quality, cost))
    cost, quality = cost[order], quality[order]
    good = quality >= wanted - ROUNDING * abs(wanted)
    if not good.any():
        return math.inf
    first = int(np.argmax(good))
    if first == 0:
        return float(cost[0])
    share = (wanted - quality[first - 1]) / (quality[first] - quality[first - 1])
    return float(cost[first - 1] + min(share, 1.0) * (cost[first] - cost[first - 1]))
