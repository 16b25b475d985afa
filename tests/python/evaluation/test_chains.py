"""Chains: the search for the best one, against all of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import headrace as hr
from headrace.evaluation.chains import BEAM, MOST_MODELS, Chain, by_cost, search_chains


@pytest.mark.parametrize("m", range(2, MOST_MODELS + 1))
def test_all_chains_of_few_models_are_tried_once(m: int) -> None:
    order = np.random.default_rng(m).permutation(m).tolist()
    worth = np.random.default_rng(m).random(1 << m)
    tried: list[Chain] = []
    shares: list[float] = []

    def score(chain: Chain) -> float:
        tried.append(chain)
        return float(worth[sum(1 << j for j in chain)])

    best = search_chains(order, score, shares.append)
    chains = [chain for size in range(2, m + 1) for chain in itertools.combinations(order, size)]
    assert sorted(tried) == sorted(chains)
    assert best == max(chains, key=lambda chain: worth[sum(1 << j for j in chain)])
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_of_many_models_the_best_chains_grow() -> None:
    m = 9
    gains = np.array([0.3, -0.1, 0.2, -0.2, 0.4, -0.3, 0.1, -0.1, -0.5])
    tried: list[Chain] = []
    shares: list[float] = []

    def score(chain: Chain) -> float:
        tried.append(chain)
        return float(gains[list(chain)].sum())

    order = list(range(m))[::-1]
    assert search_chains(order, score, shares.append) == (6, 4, 2, 0)
    assert len(tried) == len(set(tried)) <= m * (m - 1) // 2 + 4 * BEAM * m
    # None of five models is better, so none of six is tried.
    assert max(map(len, tried)) == 5
    assert shares == sorted(shares)
    assert shares[-1] <= 1.0


def test_of_equal_chains_the_shortest_is_taken() -> None:
    assert search_chains([2, 0, 1], lambda chain: 1.0) == (2, 0)
    assert search_chains(range(8), lambda chain: 1.0) == (0, 1)


def test_models_by_rising_mean_cost() -> None:
    table = hr.Outcomes(models=["a", "b", "c"], quality=[[0.5, 0.5, 0.5]], cost=[3.0, 1.0, 2.0])
    assert by_cost(table) == (1, 2, 0)
