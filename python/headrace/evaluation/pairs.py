"""Pairs: a cheap model, and for some queries a second one, by the difference that it is expected to make.

After model a has run, model b runs if q_b - q_a > w c_b, by the estimates of quality q and of cost c that know what a
answered: the post-hoc rule of Jitkrittum et al., "When does confidence-based cascade deferral suffice?" (NeurIPS 2023).
The answer is that of the last model. All pairs (b costs more than a on average), all cost weights w >= 0 and the single
models are mixed on their concave hull. Cost: O(m^2 n log n) for m models and n queries.
"""

from __future__ import annotations

import itertools

import numpy as np

from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.evaluation.chains import by_cost
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.hull import Ends, Policies, mixed, singles, together
from headrace.evaluation.metrics import concave_hull
from headrace.evaluation.replay import Replay

__all__ = ["gain_per_cost", "replay_pairs"]


def gain_per_cost(table: BeliefTable, first: int, second: int) -> FloatArray:
    """Give what the second model is expected to gain per unit of its cost, once the first has run.

    Parameters
    ----------
    table : BeliefTable
    first, second : int
        The models.

    Returns
    -------
    ndarray of shape (n_queries,)
        The second one runs where the cost weight is below it; infinite where a gain costs nothing, never NaN.
    """
    outcomes = table.outcomes
    belief, cost = table(np.arange(outcomes.n_queries), np.arange(outcomes.n_models) == first)
    gain, price = belief.quality[:, second] - belief.quality[:, first], cost[:, second]
    free = np.where(gain > 0.0, np.inf, -np.inf)
    return np.divide(gain, price, out=free, where=price > 0.0)


def replay_pairs(name: str, fold: Fold, wanted: Wanted) -> Replay:
    """Calibrate all pairs on one part of the queries, and replay their best mixtures on the other."""
    known, test = fold.calibration.outcomes, fold.held_out.outcomes
    order = by_cost(known)
    pairs = list(itertools.combinations(order, 2))
    parts = [singles(known, test)]
    for done, (first, second) in enumerate(pairs):
        parts.append(_pair(fold, first, second))
        wanted.progress((done + 1) / len(pairs))
    return mixed(name, together(parts), test, wanted.budgets, estimates="after")


def _pair(fold: Fold, first: int, second: int) -> Policies:
    """Give the policies of a pair on its own hull, one for each cost weight at which some query goes on."""
    known, test = fold.calibration.outcomes, fold.held_out.outcomes
    ratio = gain_per_cost(fold.calibration, first, second)
    by_ratio = np.argsort(-ratio, kind="stable")
    ranked = ratio[by_ratio]
    # The first p + 1 queries go on; between equal ratios there is no cost weight, and there is none below zero.
    above, below = ranked, np.maximum(np.append(ranked[1:], -np.inf), 0.0)
    gain = (known.quality[:, second] - known.quality[:, first])[by_ratio]
    quality = known.mean_quality[first] + np.cumsum(gain) / known.n_queries
    cost = known.mean_cost[first] + np.cumsum(known.cost[by_ratio, second]) / known.n_queries
    kept = np.flatnonzero(above > below)
    kept = kept[concave_hull(cost[kept], quality[kept])]
    middle = 0.5 * (above[kept] + below[kept])
    weights = np.where(middle < above[kept], middle, below[kept])
    of_test: list[FloatArray] = []

    def play(policy: int) -> Ends:
        if not of_test:
            of_test.append(gain_per_cost(fold.held_out, first, second))
        on = of_test[0] > weights[policy]
        run = np.zeros((test.n_queries, test.n_models), np.bool_)
        run[:, first], run[:, second] = True, on
        return Ends(run, np.where(on, second, first))

    return Policies(cost[kept], quality[kept], play)
