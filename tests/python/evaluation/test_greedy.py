"""Greedy growth: against a plain loop, and against the search."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.evaluation.greedy import GreedyRule

Floats = npt.NDArray[np.float64]
Tables = tuple[hr.Outcomes, hr.Outcomes]

# Sums of a few hundred numbers, in another order.
EXACT = 1e-9


def grown(
    quality: Floats, cost: Floats, variance: Floats, run: npt.NDArray[np.bool_], weight: float, depth: int
) -> int:
    """Grow a plan at one cost weight, the plain way."""
    ran = set(np.flatnonzero(run).tolist())
    plan = set(ran)

    def value(models: set[int]) -> float:
        index = sorted(models)
        return hr.expected_max(quality[index], variance=variance[index]) if index else 0.0

    while len(plan) < depth:
        rest = set(range(len(quality))) - plan
        gains = {j: value(plan | {j}) - value(plan) - weight * cost[j] for j in rest}
        best = max(gains, key=lambda j: gains[j], default=-1)
        if best < 0 or (plan and gains[best] <= 1e-12):
            break
        plan.add(best)
    return min(plan - ran, key=lambda j: cost[j], default=-1)


@pytest.mark.parametrize("run", [[False] * 4, [False, True, False, False], [True, True, True, False]])
def test_greedy_growth_is_that_of_a_plain_loop_at_every_weight(run: list[bool]) -> None:
    rng = np.random.default_rng(2)
    quality, cost, variance = rng.uniform(size=(40, 4)), rng.uniform(0.01, 1.0, (40, 4)), rng.uniform(0, 0.2, (40, 4))
    mask = np.array(run)
    profile = GreedyRule(3).profile_batch(
        quality, cost, lower=np.zeros(40), upper=np.full(40, np.inf), run=mask, variance=variance
    )
    for row in range(40):
        here = profile.row == row
        assert profile.lower[here][0] == 0.0
        assert profile.upper[here][-1] == math.inf
        np.testing.assert_array_equal(profile.lower[here][1:], profile.upper[here][:-1])
        for weight in rng.exponential(0.7, 25):
            [model] = profile.next[here & (profile.lower <= weight) & (weight < profile.upper)]
            assert model == grown(quality[row], cost[row], variance[row], mask, weight, 3)


def test_greedy_growth_never_beats_the_search() -> None:
    table = hr.datasets.simulate(300, 4)
    fitting, test = table.split(0.5)
    router = hr.Router(quality=hr.datasets.NoisyOracle(), max_depth=3, uncertainty_scale=1.0).fit(fitting)
    result = hr.evaluate(router, test, fitting=fitting, baselines=["greedy"], n_resamples=50)
    assert result.difference("router", "greedy").high > -0.005
