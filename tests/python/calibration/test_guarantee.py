"""Guarantees: kept as often as was promised, by simulation, and evidence against a plain loop."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from routing_simulation import means_of, routed, worst_rate

import headrace as hr
from headrace.calibration.guarantee import cost_evidence, fixed_sequence, mean_upper_bound, quality_evidence
from headrace.datasets import NoisyOracle, simulate
from headrace.estimators import ConstantCost
from headrace.serving import Monitor

Floats = npt.NDArray[np.float64]

N_POPULATION, N_DRAWN, N_REPEATS = 4_000, 200, 400
CONFIDENCE = 0.8
BUDGET, TARGET = 0.003, 0.7


class Simulated(NamedTuple):
    """True means over the population, one for each repetition; NaN where nothing could be promised."""

    cost: Floats
    cost_unguarded: Floats
    price: Floats
    quality: Floats
    quality_unguarded: Floats
    quality_price: Floats


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    population = simulate(N_POPULATION, 3, rng=1)
    rng = np.random.default_rng(0)
    found = np.full((N_REPEATS, 6), np.nan)
    for repeat in range(N_REPEATS):
        table = population.take(rng.integers(0, N_POPULATION, N_DRAWN))
        router = routed(seed=repeat).fit(table, budget=BUDGET, confidence=CONFIDENCE)
        assert router.guarantee_ is not None
        found[repeat, :3] = (
            means_of(router, population)[0],
            means_of(router.with_budget(BUDGET), population)[0],
            router.guarantee_.price,
        )
        found[repeat, 4] = means_of(router.with_quality_target(TARGET), population)[1]
        try:
            router = router.with_quality_target(TARGET, confidence=CONFIDENCE)
        except ValueError:  # too near to the best quality for so few queries
            continue
        assert router.guarantee_ is not None
        found[repeat, [3, 5]] = means_of(router, population)[1], router.guarantee_.price
    return Simulated(*found.T)


# Kept as often as was promised


def test_a_budget_is_kept_as_often_as_was_promised(simulated: Simulated) -> None:
    assert (simulated.cost > BUDGET).mean() <= worst_rate(CONFIDENCE, N_REPEATS)
    # The cheapest policy would keep it, too: it costs a thirtieth of the budget.
    assert simulated.cost.mean() > 0.6 * BUDGET
    assert simulated.price.mean() > 0.0


def test_without_a_guarantee_a_budget_is_exceeded_half_of_the_time(simulated: Simulated) -> None:
    assert 0.4 < (simulated.cost_unguarded > BUDGET).mean() < 0.6


def test_a_quality_target_is_kept_as_often_as_was_promised(simulated: Simulated) -> None:
    promised = ~np.isnan(simulated.quality)
    assert promised.mean() > 0.8
    assert (simulated.quality[promised] < TARGET).sum() / N_REPEATS <= worst_rate(CONFIDENCE, N_REPEATS)
    # The most expensive policy reaches 0.83.
    assert simulated.quality[promised].mean() < 0.78
    assert simulated.quality_price[promised].mean() > 0.0


def test_without_a_guarantee_a_quality_target_is_missed_more_often(simulated: Simulated) -> None:
    assert (simulated.quality_unguarded < TARGET).mean() > 2.0 * (1.0 - CONFIDENCE)


def test_a_sorted_table_is_promised_no_more_than_a_shuffled_one() -> None:
    population = simulate(4000, 3, rng=2)
    rng = np.random.default_rng(3)
    n_broken = 0
    n_repeats = 100
    for _ in range(n_repeats):
        rows = rng.integers(0, len(population), 300)
        table = population.take(rows[population.queries["size"][rows].argsort()])
        router = hr.Router(rule="routing", n_folds=2, quality=NoisyOracle(fusion=True), cost=ConstantCost())
        router.fit(table, budget=0.001, confidence=CONFIDENCE)
        n_broken += means_of(router, population)[0] > 0.001
    assert n_broken / n_repeats <= worst_rate(CONFIDENCE, n_repeats)


def broken(population: hr.Outcomes, *, grouped: bool, n_repeats: int) -> float:
    """Share of the fits whose budget is broken, where each query comes twenty times."""
    budget, rng = 0.006, np.random.default_rng(4)
    n_broken = 0
    for repeat in range(n_repeats):
        rows = np.repeat(rng.integers(0, len(population), 80), 20)
        groups = np.arange(1600) // 20 if grouped else None
        table = dataclasses.replace(population.take(rows), groups=groups)
        # Halves with no query in common: only the number of independent bets is another.
        fitting, calibration = table.take(np.arange(800)), table.take(np.arange(800, 1600))
        router = routed(seed=repeat).fit(fitting, calibration=calibration, budget=budget, confidence=0.9)
        n_broken += means_of(router, population)[0] > budget
    return n_broken / n_repeats


def test_of_queries_that_depend_on_each_other_each_group_is_one_bet() -> None:
    population, n_repeats = simulate(2000, 3, rng=5), 80
    assert broken(population, grouped=True, n_repeats=n_repeats) <= worst_rate(0.9, n_repeats)
    assert broken(population, grouped=False, n_repeats=n_repeats) > worst_rate(0.9, n_repeats)


# Evidence


def test_bets_of_groups_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(0)
    costs, groups = rng.uniform(size=40), np.append(rng.integers(0, 9, size=32), np.arange(8))
    groups[groups == 8] = 0
    largest = max(int((groups == group).sum()) for group in range(8))
    slack = np.array([sum(0.6 - costs[row] for row in range(40) if groups[row] == g) / largest for g in range(8)])
    wanted = evidence_of_a_loop(slack, 0.4, 0.2, CONFIDENCE)
    assert cost_evidence(costs, 0.6, 1.0, sd=0.2, confidence=CONFIDENCE, groups=groups) == pytest.approx(wanted)
    missed = evidence_of_a_loop(-slack, 0.6, 0.2, CONFIDENCE)
    of_quality = quality_evidence(costs, 0.6, 0.0, 1.0, sd=0.2, confidence=CONFIDENCE, groups=groups)
    assert of_quality == pytest.approx(missed)
    # Groups of one each are no groups.
    alone = cost_evidence(costs, 0.6, 1.0, sd=0.2, confidence=CONFIDENCE, groups=np.arange(40))
    assert alone == pytest.approx(cost_evidence(costs, 0.6, 1.0, sd=0.2, confidence=CONFIDENCE))


def evidence_of_a_loop(slack: Floats, worst: float, sd: float, confidence: float) -> float:
    """Bet one query after the other, and give the logarithm of the largest capital."""
    needed = math.log(1.0 / (1.0 - confidence))
    stake = min(0.99, worst * math.sqrt(2.0 * needed / len(slack)) / sd) if sd > 0.0 else 0.99
    capital = most = 1.0
    for value in slack.tolist():
        capital *= 1.0 + stake * value / worst
        most = max(most, capital)
    return math.log(most)


@pytest.mark.parametrize("sd", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.99])
def test_evidence_is_that_of_a_loop(confidence: float, sd: float) -> None:
    rng = np.random.default_rng(0)
    for limit, target in ((0.9, 0.3), (1.1, 0.6), (1.6, 0.75)):
        cost = rng.exponential(size=80)
        loop = evidence_of_a_loop(limit - np.minimum(cost, 3.0), 3.0 - limit, sd, confidence)
        assert cost_evidence(cost, limit, 3.0, sd=sd, confidence=confidence) == pytest.approx(loop, abs=1e-10)
        quality = rng.uniform(-0.2, 1.3, 80)
        loop = evidence_of_a_loop(np.clip(quality, 0.1, 1.0) - target, target - 0.1, sd, confidence)
        found = quality_evidence(quality, target, 0.1, 1.0, sd=sd, confidence=confidence)
        assert found == pytest.approx(loop, abs=1e-10)


def test_a_limit_that_no_query_can_break_needs_no_evidence() -> None:
    nothing = np.array([0.1])
    assert cost_evidence(nothing, 2.0, 2.0, sd=0.0, confidence=0.9) == math.inf
    assert cost_evidence(nothing, 2.0, 2.1, sd=0.0, confidence=0.9) < 3.0
    assert quality_evidence(nothing, 0.0, 0.0, 1.0, sd=0.0, confidence=0.9) == math.inf
    assert quality_evidence(nothing, 0.1, 0.0, 1.0, sd=0.0, confidence=0.9) < 3.0


def test_costs_count_up_to_the_largest() -> None:
    cost = np.array([0.1, 0.2, 50.0, 0.1])
    clipped = np.minimum(cost, 2.0)
    found = [cost_evidence(values, 0.5, 2.0, sd=0.5, confidence=0.9) for values in (cost, clipped)]
    assert found[0] == found[1]
    assert math.isfinite(found[0])
    assert mean_upper_bound(cost, 2.0, sd=0.5, confidence=0.9) <= 2.0


def test_qualities_below_the_least_count_as_the_least() -> None:
    # Unclipped, the capital would be negative after the first query.
    quality = np.array([-5.0, 0.9, 1.0, 0.9, 7.0])
    clipped = np.clip(quality, 0.4, 1.0)
    found = [quality_evidence(values, 0.5, 0.4, 1.0, sd=0.01, confidence=0.9) for values in (quality, clipped)]
    assert found[0] == found[1]
    assert math.isfinite(found[0])


SKEWED: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "exponential": lambda rng, n: np.minimum(rng.exponential(size=n), 8.0),
    "one in twenty": lambda rng, n: 8.0 * (rng.uniform(size=n) < 0.05),
    "lognormal": lambda rng, n: np.minimum(rng.lognormal(-0.5, 1.2, n), 8.0),
}


@pytest.mark.parametrize("sd", [0.2, 1.0])
@pytest.mark.parametrize("name", SKEWED)
def test_bounds_of_a_mean_hold_as_often_as_they_should(name: str, sd: float) -> None:
    draw = SKEWED[name]
    mean = float(draw(np.random.default_rng(99), 2_000_000).mean())
    if name == "one in twenty":
        mean = 0.4
    rng = np.random.default_rng(4)
    # A bound is below the mean where there is evidence for a limit that is the mean: the claim is then false.
    draws = [draw(rng, 200) for _ in range(1000)]
    n_wrong = sum(fixed_sequence([cost_evidence(cost, mean, 8.0, sd=sd, confidence=0.8)], 0.8) for cost in draws)
    assert n_wrong / 1000 <= worst_rate(0.8, 1000)
    # But it isn't of no use.
    bounds = [mean_upper_bound(cost, 8.0, sd=sd, confidence=0.8) for cost in draws[:50]]
    assert np.mean(bounds) < mean + 1.0


def test_a_bound_is_the_smallest_limit_with_evidence() -> None:
    cost = np.random.default_rng(5).exponential(size=300)
    bound = mean_upper_bound(cost, 9.0, sd=1.0, confidence=0.9)
    needed = math.log(10.0)
    assert cost_evidence(cost, bound, 9.0, sd=1.0, confidence=0.9) >= needed - 1e-12
    limits = np.linspace(float(cost.mean()), bound - 1e-6, 50)
    assert all(cost_evidence(cost, limit, 9.0, sd=1.0, confidence=0.9) < needed for limit in limits.tolist())


@pytest.mark.parametrize(
    ("evidence", "n_passed"),
    [([], 0), ([2.9], 0), ([3.0], 1), ([9.0, 2.9, 9.0], 1), ([math.inf, 3.0, 4.0, 0.0, 4.0], 3)],
)
def test_a_sequence_ends_before_its_first_failure(evidence: list[float], n_passed: int) -> None:
    # log(20) is 2.9957.
    assert fixed_sequence(evidence, 0.95) == n_passed


def test_nothing_is_tested_after_the_first_failure() -> None:
    asked = []

    def ask() -> Any:
        for value in (9.0, 0.0, 9.0):
            asked.append(value)
            yield value

    assert fixed_sequence(ask(), 0.9) == 1
    assert asked == [9.0, 0.0]


# What a router says


def test_a_guarantee_says_what_was_promised() -> None:
    table = simulate(300, 3, rng=6)
    router = routed().fit(table, budget=BUDGET, confidence=0.9)
    guarantee = router.guarantee_
    assert guarantee is not None
    assert (guarantee.limits, guarantee.confidence, guarantee.n_queries) == ({"cost": BUDGET}, 0.9, 150)
    assert guarantee.largest["cost"] <= table.cost.max()
    plain = router.with_budget(BUDGET)
    assert plain.guarantee_ is None
    assert guarantee.price == pytest.approx(plain.point_.quality - router.point_.quality, abs=1e-12)
    assert router.point_.cost < plain.point_.cost == pytest.approx(BUDGET)
    # One rule decides all queries: it is what was tested.
    assert router.policy_.share == 1.0


def test_a_higher_confidence_leaves_more_room() -> None:
    router = routed().fit(simulate(600, 3, rng=7), budget=BUDGET, confidence=0.5)
    costs = [router.with_budget(BUDGET, confidence=level).point_.cost for level in (0.5, 0.8, 0.95, 0.999)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_another_budget_gets_a_guarantee_of_its_own() -> None:
    table = simulate(400, 3, rng=8)
    router = routed().fit(table, budget=0.002, confidence=0.9)
    again = router.with_budget(0.004, confidence=0.9)
    assert again.policy_ == routed().fit(table, budget=0.004, confidence=0.9).policy_
    assert again.guarantee_ is not None
    assert again.guarantee_.limits == {"cost": 0.004}
    assert router.point_.cost < again.point_.cost < 0.004


def test_given_calibration_needs_no_confidence_in_the_fit() -> None:
    fitting, calibration = simulate(500, 3, rng=9).split(0.4)
    router = routed().fit(fitting, calibration=calibration).with_budget(BUDGET, confidence=0.9)
    assert router.guarantee_ is not None
    assert router.guarantee_.n_queries == 300


@pytest.mark.parametrize("seed", range(6))
def test_too_small_a_budget_names_one_that_can_be_promised(seed: int) -> None:
    router = routed(seed=seed).fit(simulate(200, 3, rng=seed), calibration=simulate(60, 3, rng=100 + seed))
    budget = 1.001 * float(router.path_.cost.min())
    with pytest.raises(ValueError, match=r"^budget: .* can be promised with confidence 0.9 from 60 calib") as error:
        router.with_budget(budget, confidence=0.9)
    named = float(re.findall(r"at least (\S+),", str(error.value))[0])
    assert budget < named
    guaranteed = router.with_budget(named, confidence=0.9)
    assert guaranteed.guarantee_ is not None
    with pytest.raises(ValueError, match=r"can be promised"):
        router.with_budget(0.999 * named, confidence=0.9)


@pytest.mark.parametrize("seed", range(6))
def test_too_high_a_target_names_one_that_can_be_promised(seed: int) -> None:
    router = routed(seed=seed).fit(simulate(200, 3, rng=seed), calibration=simulate(60, 3, rng=100 + seed))
    target = float(router.path_.quality.max()) - 0.001
    with pytest.raises(ValueError, match=r"^quality_target: expected at most .* can be promised") as error:
        router.with_quality_target(target, confidence=0.9)
    named = float(re.findall(r"at most (\S+),", str(error.value))[0])
    assert named < target
    assert router.with_quality_target(named, confidence=0.9).guarantee_ is not None
    with pytest.raises(ValueError, match=r"can be promised"):
        router.with_quality_target(named + 0.002, confidence=0.9)


def test_qualities_outside_of_those_of_the_fitting_queries() -> None:
    fitting, calibration = simulate(300, 3, rng=10).split(0.5)
    narrow = dataclasses.replace(fitting, quality=0.4 + 0.2 * fitting.quality)
    router = routed().fit(narrow, calibration=calibration, quality_target=0.45, confidence=0.8)
    assert math.isfinite(router.point_.cost)


def test_a_confidence_needs_calibration_apart() -> None:
    router = routed().fit(simulate(100, 3), budget=BUDGET)
    for ask in (router.with_budget, router.with_quality_target):
        with pytest.raises(ValueError, match=r"confidence: expected a fit that kept calibration apart"):
            ask(0.5, confidence=0.9)


def test_a_confidence_needs_something_to_promise() -> None:
    with pytest.raises(ValueError, match=r"confidence: expected a budget or a quality_target"):
        routed().fit(simulate(100, 3), confidence=0.9)


@pytest.mark.parametrize("confidence", [0, 1, 0.0, 1.0, -0.1, 1.5, math.nan, True, "0.9"])
def test_a_confidence_is_between_0_and_1(confidence: Any) -> None:
    table = simulate(100, 3)
    router = routed().fit(table, budget=BUDGET, confidence=0.5)
    for ask in (
        lambda: routed().fit(table, budget=BUDGET, confidence=confidence),
        lambda: router.with_budget(BUDGET, confidence=confidence),
        lambda: router.with_quality_target(0.6, confidence=confidence),
        lambda: Monitor(router.decider_, confidence=confidence),
    ):
        with pytest.raises(ValueError, match=r"confidence: expected a number between 0 and 1"):
            ask()


def test_too_few_queries_for_two_halves() -> None:
    with pytest.raises(ValueError, match=r"outcomes: expected at least 8 complete queries for a confidence, got 7"):
        routed().fit(simulate(7, 2), budget=BUDGET, confidence=0.9)
