"""Of many models, those worth fitting a cascade on: each query has some that are good for it, at every cost weight.

Of a set S of models, cost weights w and estimates q (quality) and c (cost) before any run, the worth is

    sum over w of the mean over queries of B v_1 + (B - 1) v_2 + ... + v_B,

where v_1, v_2, ... are the largest q_j - w c_j with j in S, in falling order, B is `N_BEST`, and the value of the
query's worst model stands for what S lacks. That is monotone and submodular in S, as it adds up the sums of the r
largest, each the weight of a set in a uniform matroid. One more model, of value v, adds the sum over r of (v - v_r)+.
So models that are added one by one, each time the one that gains most, reach at least 1 - 1/e of the worth of the best
set of their number (Nemhauser, Wolsey and Fisher, Mathematical Programming 14, 1978, section 4). The best alone would
do for routing; a cascade goes on with the next ones (docs/decisions/0025-shortlist.md).

Models that are the best alone at some cost weight, by their labels, come first: what an evaluation compares with is
among the models. Estimates are out of fold, by ridge regressions on the query's features. A gain can only fall as
models are added, so that one is computed again only where it would be the largest.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np

from headrace.arguments import FloatArray, IndexArray, checked_int
from headrace.calibration.parts import Parts
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.linear import LinearCost, LinearQuality
from headrace.estimators.responses import Responses
from headrace.outcomes import Outcomes

__all__ = ["best_alone", "cost_weights", "shortlist", "shortlisted"]

#: The best models of a query that count, each by one time more than the next.
N_BEST = 4

#: Most queries that models are chosen by, and the number of cost weights for each cost.
MOST_QUERIES = 2_000
N_WEIGHTS = 16

#: Weighed costs of this size and more are not added up.
LARGEST = 1e200

#: The least cost weight takes this share of the range of mean qualities from the most expensive model, the largest one
#: this many times that range from the cheapest.
LEAST, MOST = 0.05, 2.0


def shortlist(
    quality: FloatArray, costs: FloatArray, number: int, *, first: Sequence[int] | IndexArray = ()
) -> IndexArray:
    """Choose models of which each query has several that are good for it, over a range of cost weights.

    Parameters
    ----------
    quality : ndarray of shape (n_queries, n_models)
        Estimates before any run.
    costs : ndarray of shape (n_costs, n_queries, n_models)
        The same of each cost, each in its unit. Each is traded against quality by itself.
    number : int
        How many models, from 1 on; all, if there are fewer.
    first : sequence of int
        Models that are chosen before all others; those beyond `number` are not.

    Returns
    -------
    ndarray of int of shape (min(number, n_models),)
        In rising order.

    Examples
    --------
    Each query has a good model among the first two; the third is as good as the first, for more:

    >>> import numpy as np
    >>> from headrace.calibration.shortlist import shortlist
    >>> quality = np.array([[0.9, 0.2, 0.9, 0.1], [0.3, 0.8, 0.3, 0.1]])
    >>> shortlist(quality, np.array([[[1.0, 1.0, 9.0, 1.0]] * 2]), 2).tolist()
    [0, 1]
    """
    (n, k), number = quality.shape, min(number, quality.shape[1])
    weighed = [(cost, weight) for cost in costs for weight in cost_weights(quality, cost)]
    # By model, cost weight and query.
    worth = np.stack([(quality - weight * cost).T for cost, weight in weighed], axis=1)
    # By rank, cost weight and query: the best of the models chosen.
    best = np.repeat(worth.min(axis=0)[None], N_BEST, axis=0)
    gains, known_after, chosen = np.full(k, np.inf), np.full(k, -1), list(map(int, first[:number]))
    gains[chosen] = -np.inf
    for added in chosen:
        best = _with(best, worth[added])
    while len(chosen) < number:
        j = int(gains.argmax())
        if known_after[j] < len(chosen):
            gains[j], known_after[j] = np.maximum(worth[j] - best, 0.0).sum() / n, len(chosen)
            continue
        chosen.append(j)
        gains[j] = -np.inf
        best = _with(best, worth[j])
    return np.sort(np.array(chosen, dtype=np.intp))


def _with(best: FloatArray, worth: FloatArray) -> FloatArray:
    """Give the largest values, in falling order, with one more among them."""
    ranked = np.sort(np.concatenate([best, worth[None]]), axis=0)
    return np.asarray(ranked[:0:-1])


def cost_weights(quality: FloatArray, cost: FloatArray) -> FloatArray:
    """Give cost weights from which the best model wins to those from which the cheapest does.

    Parameters
    ----------
    quality, cost : ndarray of shape (n_queries, n_models)

    Returns
    -------
    ndarray of shape (N_WEIGHTS,) or (1,)
        At equal ratios, of quality per unit of cost; zero alone where all models are equally good, none costs anything,
        or a weighed cost would be beyond what floats hold.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.calibration.shortlist import cost_weights
    >>> cost_weights(np.array([[0.5, 0.9]]), np.array([[1.0, 10.0]]))[[0, -1]].round(6).tolist()
    [0.002, 0.8]
    """
    means, spread = cost.mean(axis=0), float(np.ptp(quality.mean(axis=0)))
    paid = means[means > 0.0]
    if not len(paid):
        return np.zeros(1)
    lowest, highest = float(paid.min()), float(paid.max())
    least, most = LEAST * spread / highest, MOST * spread / lowest
    return np.geomspace(least, most, N_WEIGHTS) if least > 0.0 and most * highest < LARGEST else np.zeros(1)


def best_alone(quality: FloatArray, costs: FloatArray) -> IndexArray:
    """Give the models that are the best alone at some cost weight.

    Parameters
    ----------
    quality : ndarray of shape (n_queries, n_models)
    costs : ndarray of shape (n_costs, n_queries, n_models)
        Labels, none of them missing.

    Returns
    -------
    ndarray of int
        Without any twice; that of the highest mean quality comes first.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.calibration.shortlist import best_alone
    >>> best_alone(np.array([[0.5, 0.6, 0.9]]), np.array([[[1.0, 9.0, 10.0]]])).tolist()
    [2, 0]
    """
    means = quality.mean(axis=0)
    weighed = [(cost.mean(axis=0), weight) for cost in costs for weight in (0.0, *cost_weights(quality, cost))]
    found = dict.fromkeys(int((means - weight * cost).argmax()) for cost, weight in weighed)
    return np.array(list(found), dtype=np.intp)


def shortlisted(parts: Parts, models: Sequence[str] | int | None, *, n_folds: int, seed: int) -> Parts:
    """Give the same labelled queries, of the models worth most.

    Those that fit choose; a calibration kept apart has no say, so that what it promises isn't biased.

    Parameters
    ----------
    parts : Parts
        Labelled queries by their use.
    models : sequence of str, or int; optional
        How many models, from 1 on; names, or None, for those that are there.
    n_folds, seed : int
        As in `headrace.Router`.

    Returns
    -------
    Parts
        The same rows: a query that lacks a cell of a model left out is still one with a missing cell.

    Raises
    ------
    ValueError
        A number below 1.
    """
    fitting = parts.fitting
    if not isinstance(models, Integral):
        return parts
    number = checked_int("models", models, 1)
    if number >= fitting.n_models:
        return parts
    first = best_alone(fitting.quality, np.stack(list(fitting.costs.values())))
    chosen = shortlist(*_estimates(fitting, n_folds, seed), number, first=first)
    return parts.of_models([fitting.models[j] for j in chosen.tolist()])


def _estimates(fitting: Outcomes, n_folds: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Give estimates out of fold, of quality and of each cost, for `MOST_QUERIES` of the queries at most."""
    if fitting.n_queries > MOST_QUERIES:
        fitting = fitting.take(np.sort(np.random.default_rng(seed).permutation(fitting.n_queries)[:MOST_QUERIES]))
    n, k = fitting.n_queries, fitting.n_models
    n_folds = min(n_folds, n // 2, fitting.n_groups)
    fold_of_row = fitting.folds(n_folds, rng=seed)
    quality, costs = np.empty((n, k)), np.empty((len(fitting.costs), n, k))
    for fold in range(n_folds):
        held = fold_of_row == fold
        others, here = ({name: column[rows] for name, column in fitting.queries.items()} for rows in (~held, held))
        # Regressions before any run would make nothing of responses.
        seen, unseen = Responses(np.ones((n - held.sum(), k), bool), {}), Responses(np.zeros((held.sum(), k), bool), {})
        with one_blas_thread:
            quality[held] = LinearQuality().fit(others, seen, fitting.quality[~held]).predict(here, unseen).quality
            for estimates, cost in zip(costs, fitting.costs.values(), strict=True):
                estimates[held] = LinearCost().fit(others, seen, cost[~held]).predict(here, unseen)
    return quality, costs
