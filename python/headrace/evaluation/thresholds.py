"""Threshold cascades as strong as they get: a threshold for each step, and whichever models serve.

A chain runs its models one after the other. After each run but the last, it stops where the estimated quality of the
answer at hand reaches the threshold t_j of that step. For a cost weight w, thresholds maximise, over labelled queries,

    sum of (realised quality of the last answer - w * realised cost of all runs).

Given the other thresholds, the best t_j is found exactly: of the queries that reach step j, sorted by their estimate,
the first p stop, and the gain over going on is a sum of p terms. Sweeps from the last step to the first never lower the
objective, and end where no single threshold can be bettered. The first sweep begins at all ways of stopping none or
half of the queries at the first steps; of what it finds for all cost weights, each takes what is best for it, and
sweeps on. For two models that is the optimum; for longer chains nearly so: the tests compare with all thresholds.

Corners of the concave hull over all chains, their thresholds and the single models are mixed to meet a budget.
Cost: O(2^(d-2) * d * w * n) per sweep for d models, w cost weights and n queries.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.evaluation.chains import Chain, by_cost, search_chains
from headrace.evaluation.fold import Fold, Wanted
from headrace.evaluation.hull import Ends, Policies, hull_area, mixed, singles, together
from headrace.evaluation.replay import Replay
from headrace.outcomes import Outcomes

__all__ = ["Steps", "fit_thresholds", "replay_thresholds", "steps_of", "stop_steps"]

#: Cost weights for which thresholds are fitted, besides zero.
N_WEIGHTS = 30

#: Least share of the range of qualities that a model must gain to be run, on average, at the lowest of these weights.
LEAST_GAIN = 0.003

#: First steps whose share of stops is varied where the sweeps begin.
MOST_VARIED = 2

#: Most sweeps after the first; they end earlier where none of the thresholds moves.
MOST_SWEEPS = 10


class Steps(NamedTuple):
    """What a chain of d models meets on n queries, step by step.

    Attributes
    ----------
    confidence : ndarray of shape (d - 1, n_queries)
        Estimated quality of the model just run, once it and all earlier ones have run.
    quality : ndarray of shape (d, n_queries)
        Realised quality of each model.
    cost : ndarray of shape (d, n_queries)
        Realised cost of the models up to each.
    """

    confidence: FloatArray
    quality: FloatArray
    cost: FloatArray


def steps_of(table: BeliefTable, chain: Chain) -> Steps:
    """Look up what a chain meets on a table's queries."""
    outcomes = table.outcomes
    models = list(chain)
    return Steps(
        confidence_of(table, chain), outcomes.quality[:, models].T, np.cumsum(outcomes.cost[:, models].T, axis=0)
    )


def confidence_of(table: BeliefTable, chain: Chain) -> FloatArray:
    """Give the estimates after each run of a chain but the last: shape (d - 1, n_queries)."""
    outcomes = table.outcomes
    rows, run = np.arange(outcomes.n_queries), np.zeros(outcomes.n_models, np.bool_)
    confidence = np.empty((len(chain) - 1, outcomes.n_queries))
    for step, model in enumerate(chain[:-1]):
        run[model] = True
        confidence[step] = table(rows, run)[0].quality[:, model]
    return confidence


def stop_steps(confidence: FloatArray, thresholds: FloatArray) -> IndexArray:
    """Give the step at which each query stops.

    Parameters
    ----------
    confidence : ndarray of shape (d - 1, n_queries)
    thresholds : ndarray of shape (n_policies, d - 1)

    Returns
    -------
    ndarray of int of shape (n_policies, n_queries)

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.thresholds import stop_steps
    >>> stop_steps(np.array([[0.9, 0.2, 0.2], [0.1, 0.8, 0.3]]), np.array([[0.5, 0.5]])).tolist()
    [[0, 1, 2]]
    """
    steps = np.full((len(thresholds), confidence.shape[1]), len(confidence), np.intp)
    for step in range(len(confidence) - 1, -1, -1):
        steps[confidence[step] >= thresholds[:, step, None]] = step
    return steps


def fit_thresholds(steps: Steps, cost_weights: FloatArray) -> FloatArray:
    """Find the best thresholds of a chain for each cost weight.

    Parameters
    ----------
    steps : Steps
    cost_weights : ndarray of shape (n_weights,)

    Returns
    -------
    ndarray of shape (n_weights, d - 1)
        Halfway between the estimates of neighbouring queries; minus infinity stops all, infinity none.

    Examples
    --------
    The estimate tells which answer of the first model is right, so that only the other query goes on.

    >>> import numpy as np
    >>> from headrace.evaluation.thresholds import Steps, fit_thresholds
    >>> steps = Steps(np.array([[0.75, 0.25]]), np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 1.0], [3.0, 3.0]]))
    >>> fit_thresholds(steps, np.array([0.0625, 1.0])).tolist()
    [[0.5], [-inf]]
    """
    return _Fit(steps, cost_weights).thresholds()


class _Fit:
    """Thresholds of a chain as numbers of queries: at each step the first p in the order of confidence stop."""

    def __init__(self, steps: Steps, cost_weights: FloatArray) -> None:
        self.confidence, self.quality, self.cost = steps
        self.weights = cost_weights
        # Worth of stopping at each step: shape (d, n_weights, n_queries).
        self.worth = self.quality[:, None] - cost_weights[None, :, None] * self.cost[:, None]
        d, n = self.quality.shape
        self.order = np.argsort(-self.confidence, axis=1, kind="stable")
        self.rank = np.empty_like(self.order)
        np.put_along_axis(self.rank, self.order, np.broadcast_to(np.arange(n), (d - 1, n)), axis=1)
        ranked = np.take_along_axis(self.confidence, self.order, axis=1)
        # Between equal estimates there is no threshold.
        self.parted = np.ones((d - 1, n + 1), np.bool_)
        self.parted[:, 1:-1] = ranked[:, :-1] > ranked[:, 1:]
        self.ranked = np.concatenate([np.full((d - 1, 1), np.inf), ranked, np.full((d - 1, 1), -np.inf)], axis=1)

    def thresholds(self) -> FloatArray:
        d, n = self.quality.shape
        n_varied = min(d - 2, MOST_VARIED)
        every = np.arange(len(self.weights))
        found = []
        for start in itertools.product((0, n // 2), repeat=n_varied):
            cuts = np.zeros((len(every), d - 1), np.intp)
            cuts[:, :n_varied] = start
            found.append(self._sweep(cuts, every)[0])
        best = np.concatenate(found)
        # The only threshold of a pair is at its best.
        if d > 2:
            best = self._swept(best[self._exchanged(best)])
        above, below = (np.take_along_axis(self.ranked, best.T + side, axis=1).T for side in (0, 1))
        middle = 0.5 * (above + below)
        # Neighbouring floats have no number between them.
        return np.where((middle > below) | (best == n), middle, above)

    def _swept(self, cuts: IndexArray) -> IndexArray:
        """Better the thresholds of each cost weight, one after the other, until none moves."""
        moving = np.arange(len(cuts))
        cuts, worth = self._sweep(cuts, moving)
        for _ in range(MOST_SWEEPS):
            if not len(moving):
                break
            cuts[moving], better = self._sweep(cuts[moving], moving)
            moved = better > worth[moving] + 1e-12
            worth[moving] = better
            moving = moving[moved]
        return cuts

    def _sweep(self, cuts: IndexArray, which: IndexArray) -> tuple[IndexArray, FloatArray]:
        """Better each threshold once, from the last to the first, for some of the cost weights."""
        # Who comes to each step but the first, to which all come.
        reach: list[BoolArray] = []
        for step in range(len(self.rank) - 1):
            goes_on = self.rank[step] >= cuts[:, step, None]
            reach.append(reach[-1] & goes_on if reach else goes_on)
        cuts, onward = cuts.copy(), self.worth[-1, which]
        gain, total = np.empty_like(onward), np.empty((len(cuts), onward.shape[1] + 1))
        for step in range(len(self.rank) - 1, -1, -1):
            worth = self.worth[step, which]
            np.subtract(worth, onward, out=gain)
            if step:
                gain *= reach[step - 1]
            cuts[:, step] = self._best_cut(step, gain, total)
            np.copyto(onward, worth, where=self.rank[step] < cuts[:, step, None])
        return cuts, onward.mean(axis=1)

    def _best_cut(self, step: int, gain: FloatArray, total: FloatArray) -> IndexArray:
        """Give how many queries should stop, by what each gains by stopping: shape (n_weights, n_queries)."""
        total[:, 0] = 0.0
        np.cumsum(np.take(gain, self.order[step], axis=1), axis=1, out=total[:, 1:])
        if not self.parted[step].all():
            total[:, ~self.parted[step]] = -np.inf
        return np.asarray(total.argmax(axis=1))

    def _exchanged(self, cuts: IndexArray) -> IndexArray:
        """Give, for each cost weight, which of the thresholds found are the best for it."""
        n = self.quality.shape[1]
        at = np.full((len(cuts), n), len(self.rank), np.int8)
        for step in range(len(self.rank) - 1, -1, -1):
            at[self.rank[step] < cuts[:, step, None]] = step
        quality, cost = (values[at, np.arange(n)].mean(axis=1) for values in (self.quality, self.cost))
        return np.asarray((quality[None] - self.weights[:, None] * cost[None]).argmax(axis=1))


def cost_weights(outcomes: Outcomes) -> FloatArray:
    """Give the cost weights for which thresholds are fitted: shape (n_weights,).

    Zero, and then from a weight at which the most expensive model need gain next to nothing, to one at which no model
    but the cheapest can be worth its mean cost.
    """
    spread = float(outcomes.quality.max() - outcomes.quality.min())
    costs = np.sort(outcomes.mean_cost)
    second = costs[costs > costs[0]]
    if not spread > 0.0 or not len(second):
        return np.zeros(1)
    lowest, highest = LEAST_GAIN * spread / float(costs[-1]), spread / float(second[0])
    return np.append(0.0, np.geomspace(lowest, highest, N_WEIGHTS))


def replay_thresholds(name: str, fold: Fold, wanted: Wanted) -> Replay:
    """Calibrate thresholds of all chains on one part of the queries, and replay their best mixtures on the other."""
    known, test = fold.calibration.outcomes, fold.held_out.outcomes
    parts = [singles(known, test)]
    weights = cost_weights(known)

    def score(chain: Chain) -> float:
        parts.append(_chain(fold, chain, weights))
        return hull_area(together([parts[0], parts[-1]]), known)

    search_chains(by_cost(known), score, wanted.progress)
    return mixed(name, together(parts), test, wanted.budgets, estimates="after")


def _chain(fold: Fold, chain: Chain, weights: FloatArray) -> Policies:
    """Give the policies of a chain, one for each cost weight."""
    known, test = fold.calibration.outcomes, fold.held_out.outcomes
    steps = steps_of(fold.calibration, chain)
    thresholds = np.unique(fit_thresholds(steps, weights), axis=0)
    at, rows = stop_steps(steps.confidence, thresholds), np.arange(known.n_queries)
    models = np.array(chain)

    def play(policy: int) -> Ends:
        step = stop_steps(confidence_of(fold.held_out, chain), thresholds[policy : policy + 1])[0]
        run = np.zeros((test.n_queries, test.n_models), np.bool_)
        run[:, models] = np.arange(len(models)) <= step[:, None]
        return Ends(run, models[step])

    return Policies(steps.cost[at, rows].mean(axis=1), steps.quality[at, rows].mean(axis=1), play)
