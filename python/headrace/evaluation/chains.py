"""Chains: the sequences of models that a cascade may run, and the search for the best of them.

A chain is a choice of models by rising mean cost. Of m models there are 2^m - m - 1 chains of two and more. Up to
`MOST_MODELS` models all of them are tried; of more, all pairs are tried, and then the best `BEAM` chains of each length
grow by one model, as long as a longer one is better: O(m^2) chains of each length.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from headrace.outcomes import Outcomes

__all__ = ["BEAM", "MOST_MODELS", "Chain", "by_cost", "search_chains"]

#: Indices of models, in the order in which they run.
Chain: TypeAlias = tuple[int, ...]

#: Most models of which every chain is tried: 57 chains.
MOST_MODELS = 6

#: Chains of each length that grow where not all are tried.
BEAM = 3


def by_cost(outcomes: Outcomes) -> Chain:
    """Give all models by rising mean cost.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.evaluation.chains import by_cost
    >>> by_cost(hr.Outcomes(models=["a", "b"], quality=[[0.75, 0.25]], cost=[2.0, 1.0]))
    (1, 0)
    """
    return tuple(np.argsort(outcomes.mean_cost, kind="stable").tolist())


def search_chains(
    order: Sequence[int], score: Callable[[Chain], float], progress: Callable[[float], None] = lambda share: None
) -> Chain:
    """Find the chain of the highest score.

    Parameters
    ----------
    order : sequence of int
        All models, in the order in which they may run; two at least.
    score : callable
        ``score(chain)``; called once for each chain that is tried.
    progress : callable, optional
        Called with the share done, of the chains that may be tried.

    Returns
    -------
    tuple of int
        The best chain of two models and more; of equal ones, the first tried: short ones come first.

    Examples
    --------
    >>> from headrace.evaluation.chains import search_chains
    >>> worth = {0: 0.25, 1: -1.0, 2: 0.5}
    >>> search_chains([0, 1, 2], lambda chain: sum(worth[j] for j in chain))
    (0, 2)
    """
    m = len(order)
    longest: list[Chain] = list(itertools.combinations(range(m), 2))
    most = 2**m - m - 1 if m <= MOST_MODELS else len(longest) + BEAM * (m - 1) * (m - 2) // 2
    scores: dict[Chain, float] = {}

    def tried(places: Chain) -> float:
        if places not in scores:
            scores[places] = score(tuple(order[place] for place in places))
            progress(len(scores) / most)
        return scores[places]

    if m <= MOST_MODELS:
        for size in range(2, m + 1):
            for places in itertools.combinations(range(m), size):
                tried(places)
    else:
        while longest:
            best = max(scores.values(), default=-np.inf)
            if not max(map(tried, longest)) > best:
                break
            top = sorted(longest, key=tried, reverse=True)[:BEAM]
            longest = list(
                dict.fromkeys(
                    tuple(sorted((*places, place))) for places in top for place in range(m) if place not in places
                )
            )
    best_places = max(scores, key=lambda places: scores[places])
    return tuple(order[place] for place in best_places)
