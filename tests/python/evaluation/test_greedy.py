"""Greedy growth: against a plain loop, and against the search."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.evaluation import greedy
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


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 6),
    depth=st.integers(1, 6),
    scale=st.sampled_from([0.0, 0.5, 1.0]),
    kind=st.sampled_from(["certain", "independent", "shared", "one factor", "correlated"]),
    is_rounded=st.booleans(),
)
def test_all_queries_at_once_are_those_of_one_after_the_other(
    seed: int, k: int, depth: int, scale: float, kind: str, is_rounded: bool
) -> None:
    rng, n = np.random.default_rng(seed), 12
    quality, cost = rng.uniform(size=(n, k)), rng.uniform(size=(n, k))
    if is_rounded:  # so that gains and prices are often equal
        quality, cost = np.round(4.0 * quality) / 4.0, np.round(3.0 * cost) / 3.0
    uncertainty: dict[str, Floats] = {}
    if kind in ("independent", "one factor"):
        uncertainty["variance"] = rng.uniform(0.0, 0.2, (n, k))
    elif kind == "shared":
        uncertainty["variance"] = rng.uniform(0.0, 0.2, k)
    elif kind == "correlated":
        root = 0.3 * rng.normal(size=(n, k, k))
        uncertainty["covariance"] = root @ root.transpose(0, 2, 1)
    if kind == "one factor":
        uncertainty["loading"] = 0.1 * rng.normal(size=(n, k))
    run = rng.random(k) < 0.3
    lower = rng.choice([0.0, 0.2, 0.5], n)
    upper = np.where(rng.random(n) < 0.5, np.inf, lower + rng.exponential(1.0, n))
    found = GreedyRule(depth, scale).profile_batch(quality, cost, lower=lower, upper=upper, run=run, **uncertainty)
    pieces = []
    for i in range(n):
        of_row = {name: values if values.ndim < 2 else values[i] for name, values in uncertainty.items()}
        pieces += [
            (i, *piece) for piece in one_by_one(quality[i], cost[i], of_row, scale, run, lower[i], upper[i], depth)
        ]
    row, low, high, model = zip(*pieces, strict=True)
    for column, expected in zip(found, (row, low, high, model), strict=True):
        np.testing.assert_array_equal(column, expected)


def one_by_one(
    quality: Floats,
    cost: Floats,
    uncertainty: dict[str, Floats],
    scale: float,
    run: npt.NDArray[np.bool_],
    lower: float,
    upper: float,
    depth: int,
) -> list[tuple[float, float, int]]:
    """Grow the plan of one query for all cost weights: pieces of next models."""
    ran = frozenset(np.flatnonzero(run).tolist())

    def value(plan: frozenset[int]) -> float:
        index = sorted(plan)
        if plan and scale == 0.0:  # means alone count; with a covariance, the core's sum may round
            return float(quality[index].max())
        of_plan = {n: v[np.ix_(index, index)] if v.ndim == 2 else v[index] for n, v in uncertainty.items()}
        return hr.expected_max(quality[index], **of_plan, uncertainty_scale=scale) if plan else 0.0

    def grow(plan: frozenset[int], low: float, high: float) -> list[tuple[float, float, frozenset[int]]]:
        rest = sorted(set(range(len(quality))) - plan)
        if not rest or (plan and len(plan) >= depth):
            return [(low, high, plan)]
        lines = [(value(plan | {j}) - value(plan), float(cost[j]), j) for j in rest]
        if plan:
            lines = [(0.0, 0.0, -1)] + [line for line in lines if line[0] > 1e-12]
        grown = []
        for begin, end, j in highest(lines, low, high):
            grown += [(begin, end, plan)] if j < 0 else grow(plan | {j}, begin, end)
        return grown

    pieces: list[tuple[float, float, int]] = []
    for low, high, plan in grow(ran, lower, upper):
        model = min(plan - ran, key=lambda j: (cost[j], j), default=-1)
        if pieces and pieces[-1][2] == model:
            pieces[-1] = (pieces[-1][0], high, model)
        else:
            pieces.append((low, high, model))
    return pieces


def highest(lines: list[tuple[float, float, int]], low: float, high: float) -> list[tuple[float, float, int]]:
    """Follow the highest of lines (height at zero, fall, name) from `low` to `high`; of equal ones, the flattest."""
    at, pieces = low, []
    height, fall, name = max(lines, key=lambda line: (line[0] - low * line[1], -line[1], -line[2]))
    while crossings := [((height - h) / (fall - f), f, -h, n, h) for h, f, n in lines if f < fall]:
        where, next_fall, _, next_name, next_height = min(crossings)
        if not where < high:
            break
        where = max(where, at)
        if where > at:
            pieces.append((at, where, name))
        at, height, fall, name = where, next_height, next_fall, next_name
    return [*pieces, (at, high, name)]


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


@pytest.mark.parametrize("kind", ["covariance", "variance", "loading"])
def test_plans_laid_out_in_parts_have_the_values_of_all_at_once(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    rng, n, k = np.random.default_rng(5), 30, 5
    root = 0.3 * rng.normal(size=(n, k, k))
    spread: dict[str, Floats] = {"covariance": root @ root.swapaxes(1, 2)}
    if kind != "covariance":
        spread = {"variance": rng.uniform(0.0, 0.2, (n, k))}
    if kind == "loading":
        spread["loading"] = 0.2 * rng.normal(size=(n, k))
    quality, cost, run = rng.uniform(size=(n, k)), rng.uniform(size=(n, k)), np.zeros(k, dtype=bool)

    def profile() -> greedy.Profile:
        ends = {"lower": np.zeros(n), "upper": np.full(n, np.inf)}
        return GreedyRule(4).profile_batch(quality, cost, run=run, **ends, **spread)

    whole = profile()
    for most in (1, 4 * k**2, 7 * k**2 + 1):
        monkeypatch.setattr(greedy, "MOST_FLAGS", most)
        for column, expected in zip(profile(), whole, strict=True):
            np.testing.assert_array_equal(column, expected)


def test_greedy_growth_never_beats_the_search() -> None:
    table = hr.datasets.simulate(300, 4)
    fitting, test = table.split(0.5)
    router = hr.Router(quality=hr.datasets.NoisyOracle(), max_depth=3, uncertainty_scale=1.0).fit(fitting)
    result = hr.evaluate(router, test, fitting=fitting, baselines=["greedy"], n_resamples=50)
    assert result.difference("router", "greedy").high > -0.005


def test_it_grows_at_the_scale_of_the_router() -> None:
    table = hr.datasets.simulate(200, 3)
    fitting, test = table.split(0.5)
    for scale in (0.5, 1.3):
        router = hr.Router(rule="cascade-routing", uncertainty_scale=scale).fit(fitting)
        result = hr.evaluate(router, test, fitting=fitting, baselines=["greedy"], n_resamples=10, n_examples=0)
        assert result["greedy"].uncertainty_scale == scale
