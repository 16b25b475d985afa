"""Curves on held-out queries: the baseline by hand, areas and intervals, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import cross_fit
from headrace.calibration.settings import calibrate, rule_settings
from headrace.calibration.walk import Stops, walk
from headrace.estimators import ConstantCost, ConstantQuality, LinearCost, LinearQuality
from headrace.evaluation import Curves, replayed
from headrace.evaluation.bootstrap import N_RESAMPLES
from headrace.evaluation.curves import METHODS, budget_grid, cross_fitted
from headrace.evaluation.hull import mixed, singles
from headrace.evaluation.metrics import concave_hull
from headrace.rules import make_rule

Floats = npt.NDArray[np.float64]

LINEAR = "linear interpolation"

# Sums of a few hundred numbers, in another order.
EXACT = 1e-9


def compare(
    fitting: hr.Outcomes,
    test: hr.Outcomes,
    *,
    methods: Any = METHODS,
    quality: Any = None,
    cost: Any = None,
    seed: int = 0,
    progress: Any = None,
) -> Curves:
    tables = cross_fitted(fitting, test, quality or LinearQuality(), cost or LinearCost(), seed=seed)
    return replayed(*tables, methods, seed=seed, progress=progress)


@pytest.fixture(scope="module")
def digits() -> tuple[hr.Outcomes, hr.Outcomes]:
    fitting, test = hr.datasets.load_quickstart().select(["svm", "centroid", "network"]).split(0.5)
    return fitting.take(np.arange(300)), test.take(np.arange(270))


@pytest.fixture(scope="module")
def told() -> list[tuple[str, float]]:
    return []


@pytest.fixture(scope="module")
def curves(digits: tuple[hr.Outcomes, hr.Outcomes], told: list[tuple[str, float]]) -> Curves:
    return compare(*digits, progress=lambda method, share: told.append((method, share)))


def area_under(cost: Floats, quality: Floats, test: hr.Outcomes) -> float:
    """Integrate by the midpoint rule, from the worst single quality on the left, flat on the right."""
    order = np.lexsort((quality, cost))
    lowest, highest = test.mean_cost.min(), test.mean_cost.max()
    at = lowest + (np.arange(200_000) + 0.5) / 200_000 * (highest - lowest)
    cost, quality = cost[order], quality[order]
    if cost[0] > lowest:
        cost, quality = np.append(lowest, cost), np.append(test.mean_quality.min(), quality)
    return float(np.interp(at, cost, quality).mean())


# Hull and budgets


@pytest.mark.parametrize(
    ("cost", "quality", "hull"),
    [
        ([1.0], [0.5], [0]),
        ([1.0, 2.0], [0.5, 0.6], [0, 1]),
        # More expensive and no better; the cheapest is always the first.
        ([1.0, 2.0], [0.5, 0.5], [0]),
        ([1.0, 2.0], [0.5, 0.4], [0]),
        # Below, on and above the line between its neighbours.
        ([1.0, 2.0, 3.0], [0.25, 0.375, 0.75], [0, 2]),
        ([1.0, 2.0, 3.0], [0.25, 0.5, 0.75], [0, 2]),
        ([1.0, 2.0, 3.0], [0.25, 0.625, 0.75], [0, 1, 2]),
        # In any order of the models; the better of two that cost the same.
        ([3.0, 1.0, 2.0], [0.75, 0.25, 0.625], [1, 2, 0]),
        ([1.0, 1.0, 2.0], [0.25, 0.5, 0.75], [1, 2]),
        # The second last is dropped once the last is known, and then the one before it.
        ([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.9], [0, 3]),
        ([1.0, 2.0, 3.0, 4.0], [0.5, 0.55, 0.8, 0.7], [0, 2]),
        ([0.0, 1.0], [0.5, 0.75], [0, 1]),
    ],
)
def test_the_hull_of_single_models_by_hand(cost: list[float], quality: list[float], hull: list[int]) -> None:
    assert concave_hull(np.array(cost), np.array(quality)).tolist() == hull


@pytest.mark.parametrize("seed", range(20))
def test_no_model_is_above_the_hull(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost, quality = rng.uniform(size=(2, int(rng.integers(2, 12))))
    hull = concave_hull(cost, quality)
    assert hull[0] == cost.argmin()
    assert quality[hull[-1]] == quality.max()
    slopes = np.diff(quality[hull]) / np.diff(cost[hull])
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 0).all()
    assert (quality <= np.interp(cost, cost[hull], quality[hull]) + 1e-15).all()


def grid(cost: list[float], quality: list[float]) -> Floats:
    return budget_grid(hr.Outcomes(models=[f"m{j}" for j in range(len(cost))], quality=[quality], cost=cost))


def test_budgets_by_hand() -> None:
    expected = [1.0 + 0.1 * step for step in range(10)] + [2.0 + step for step in range(10)] + [12.0]
    np.testing.assert_allclose(grid([1.0, 2.0, 12.0], [0.1, 0.5, 0.9]), expected, atol=1e-14)
    # Up to the most expensive model, on the hull or not.
    np.testing.assert_allclose(grid([1.0, 2.0, 12.0], [0.1, 0.5, 0.4]), expected, atol=1e-14)
    np.testing.assert_allclose(grid([1.0, 2.0], [0.5, 0.4]), expected[:11], atol=1e-14)
    assert grid([1.0], [0.5]).tolist() == [1.0]


# Results


def test_curves_describe_themselves(curves: Curves, digits: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    assert (curves.n_fit, curves.n_test) == (300, 270)
    assert [method.name for method in curves.methods] == [LINEAR, *METHODS]
    np.testing.assert_array_equal(curves.budgets, budget_grid(digits[0]))
    for method in curves.methods:
        n_budgets = len(curves.budgets)
        assert method.cost.shape == method.quality.shape == method.n_runs.shape == method.feasible.shape == (n_budgets,)
        assert method.resampled.shape == (N_RESAMPLES,)
        assert (method.uncertainty_scale is None) == (method.name in (LINEAR, "routing", "threshold-cascade"))
    with pytest.raises(KeyError, match="lottery"):
        curves["lottery"]


def test_linear_interpolation_by_hand(curves: Curves, digits: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    _, test = digits
    linear = curves[LINEAR]
    # Every model costs the same on all queries: from 6.4 by 23 to 208, by rising cost centroid, network, svm.
    np.testing.assert_allclose(linear.cost, curves.budgets, rtol=1e-12)
    by_cost = [1, 2, 0]
    expected = np.interp(curves.budgets, test.mean_cost[by_cost], test.mean_quality[by_cost])
    np.testing.assert_allclose(linear.quality, expected, atol=1e-12)
    assert linear.n_runs.tolist() == [1.0] * len(curves.budgets)
    assert linear.feasible.all()
    assert linear.excess == pytest.approx(0.0, abs=1e-12)
    costs, qualities = test.mean_cost[by_cost], test.mean_quality[by_cost]
    area = np.sum(np.diff(costs) * (qualities[1:] + qualities[:-1]) / 2) / (costs[-1] - costs[0])
    assert linear.area == pytest.approx(area, abs=1e-12)


def test_linear_interpolation_leaves_an_expensive_and_bad_model_out() -> None:
    rng = np.random.default_rng(1)
    chances = [0.2, 0.3, 0.9, 0.5]
    quality = (rng.random((200, 4)) < chances).astype(float)
    table = hr.Outcomes(models=["a", "b", "c", "d"], quality=quality, cost=[1.0, 2.0, 3.0, 5.0])
    fitting, test = table.split(0.5)
    result = compare(fitting, test, methods=[])
    linear = result[LINEAR]
    assert result.budgets[-1] == 5.0
    inside = result.budgets <= 3.0
    np.testing.assert_allclose(linear.cost, np.minimum(result.budgets, 3.0), rtol=1e-12)
    share = (result.budgets[inside] - 1.0) / 2.0
    a, _, c, _ = test.mean_quality
    np.testing.assert_allclose(linear.quality[inside], (1 - share) * a + share * c, atol=1e-12)
    np.testing.assert_allclose(linear.quality[~inside], c, atol=1e-12)


def test_a_budget_that_falls_short_by_rounding_only_allows_the_cheapest_model(
    digits: tuple[hr.Outcomes, hr.Outcomes],
) -> None:
    cheapest = float(digits[0].mean_cost.min())
    budgets = cheapest * np.array([1.0 - 1e-9, 1.0 - 1e-14, 1.0])
    found = mixed("x", singles(*digits), digits[1], budgets)
    assert found.feasible.tolist() == [False, True, True]


def test_areas_and_intervals(curves: Curves, digits: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    for method in curves.methods:
        assert 0.0 <= method.area <= 1.0
        low, high = method.interval
        assert 0.0 <= low <= method.area <= high <= 1.0
        assert method.area == pytest.approx(area_under(method.cost, method.quality, digits[1]), abs=1e-4)
        assert method.interval == pytest.approx(tuple(np.quantile(method.resampled, [0.025, 0.975])), abs=1e-12)
        assert method.resampled.mean() == pytest.approx(method.area, abs=0.01)
    for name in ("routing", "cascade-routing"):
        assert curves[name].area > curves[LINEAR].area


def test_excess_is_the_mean_overspending_of_feasible_budgets(curves: Curves) -> None:
    for method in curves.methods:
        pairs = zip(method.cost[method.feasible], curves.budgets[method.feasible], strict=True)
        over = [max(cost / budget - 1.0, 0.0) for cost, budget in pairs]
        assert method.excess == pytest.approx(np.mean(over), abs=1e-12)
    assert curves["routing"].excess < 0.1


def test_a_difference_is_antisymmetric_and_paired(curves: Curves) -> None:
    for a in (LINEAR, "routing", "cascade-routing"):
        for b in ("routing", "index"):
            difference, low, high = curves.difference(a, b)
            assert difference == curves[a].area - curves[b].area
            reverse = curves.difference(b, a)
            assert reverse == pytest.approx((-difference, -high, -low), abs=1e-12)
            assert low <= high
    assert curves.difference("routing", "routing") == (0.0, 0.0, 0.0)
    # The same resamples for all methods: the difference is surer than either area.
    _, low, high = curves.difference("cascade-routing", "routing")
    first, second = curves["cascade-routing"].interval, curves["routing"].interval
    assert high - low < 0.7 * math.hypot(first[1] - first[0], second[1] - second[0])
    with pytest.raises(KeyError, match="lottery"):
        curves.difference("routing", "lottery")


def test_progress_is_told_per_method(curves: Curves, told: list[tuple[str, float]]) -> None:
    assert list(dict.fromkeys(method for method, _ in told)) == list(METHODS)
    for name in METHODS:
        shares = [share for method, share in told if method == name]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert all(0.0 < share <= 1.0 for share in shares)


def stopped_at(stops: Stops, row: int, parameter: float, field: str) -> float:
    """Look up where one query stops; below infinity, the end of a stretch belongs to the next one."""
    beyond = stops.upper == parameter if math.isinf(parameter) and parameter > 0 else parameter < stops.upper
    [value] = getattr(stops, field)[(stops.row == row) & (stops.lower <= parameter) & beyond]
    return float(value)


def test_what_a_method_realises_is_what_its_walk_says(curves: Curves, digits: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    """Calibrate by hand for each budget, then look at one test query after the other."""
    fitting, test = digits
    table = cross_fit(fitting, LinearQuality(), LinearCost(), n_folds=5, seed=0)
    held_out = BeliefTable.served(test, table.estimators, seed=0)
    for name in ("index", "cascade-routing"):
        calibration = calibrate(name, table, settings=rule_settings(name, fitting))
        stops = walk(make_rule(name, 0.0, calibration.settings), test, held_out)
        method = curves[name]
        for i, budget in enumerate(curves.budgets.tolist()):
            if not method.feasible[i]:
                continue
            point = calibration.path.at(budget=budget)
            for field, realised in (("cost", method.cost), ("quality", method.quality), ("n_runs", method.n_runs)):
                means = [
                    float(np.mean([stopped_at(stops, row, parameter, field) for row in range(test.n_queries)]))
                    for parameter in point.parameters
                ]
                expected = point.share * means[0] + (1.0 - point.share) * means[1]
                assert realised[i] == pytest.approx(expected, abs=EXACT)


def two_models(seed: int, costly: float, n: int = 300) -> tuple[hr.Outcomes, hr.Outcomes]:
    rng = np.random.default_rng(seed)
    return hr.Outcomes(
        models=["a", "b"],
        quality=(rng.random((n, 2)) < [0.4, 0.8]).astype(float),
        cost=rng.uniform(0.5, 1.5, (n, 2)) * [1.0, costly],
        queries={"hint": rng.normal(size=n)},
    ).split(0.5)


class Mistaken(ConstantCost):
    """Takes the expensive model for the cheap one."""

    def predict(self, queries: Any, responses: hr.Responses) -> Floats:
        return super().predict(queries, responses)[:, ::-1]


def test_a_budget_below_the_cheapest_policy_gets_that_policy() -> None:
    fitting, test = two_models(2, costly=4.0)
    routing = compare(fitting, test, methods=["routing"], cost=Mistaken())["routing"]
    # At any price it runs the model that it takes for the cheap one, and that seems the better one, too.
    assert routing.feasible.tolist() == [False] * 10 + [bool(routing.feasible[-1])]
    np.testing.assert_allclose(routing.cost, test.mean_cost[1], rtol=1e-12)
    np.testing.assert_allclose(routing.quality, test.mean_quality[1], rtol=1e-12)
    assert routing.excess == 0.0 or routing.feasible[-1]


def test_the_cost_of_the_cheapest_model_is_a_feasible_budget() -> None:
    for seed in range(10):
        assert compare(*two_models(seed, costly=1000.0), methods=["routing"])["routing"].feasible.all()


def test_the_same_seed_gives_the_same_numbers(digits: tuple[hr.Outcomes, hr.Outcomes], curves: Curves) -> None:
    again = compare(*digits, methods=["routing"])
    np.testing.assert_array_equal(again["routing"].cost, curves["routing"].cost)
    np.testing.assert_array_equal(again["routing"].resampled, curves["routing"].resampled)
    other = compare(*digits, methods=["routing"], seed=1)
    assert (other["routing"].resampled != curves["routing"].resampled).any()


def test_methods_and_estimators_are_chosen(digits: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    result = compare(*digits, methods=["index", "routing"], quality=ConstantQuality(), cost=ConstantCost())
    assert [method.name for method in result.methods] == [LINEAR, "index", "routing"]
    # Nothing is known of a query: no method can beat mixing by more than the folds' noise.
    assert result["routing"].area <= result[LINEAR].area + 0.02


# The bootstrap


def one_query_per_group(seed: int) -> tuple[hr.Outcomes, hr.Outcomes]:
    rng = np.random.default_rng(seed)
    hint = rng.normal(size=240)
    table = hr.Outcomes(
        models=["a", "b"],
        quality=(rng.normal([-0.5, 1.0], size=(240, 2)) > hint[:, None]).astype(float),
        cost=[1.0, 4.0],
        queries={"hint": hint},
        groups=[f"g{number:03d}" for number in range(240)],
    )
    return table.take(np.arange(120)), table.take(np.arange(120, 240))


class Hinted:
    """Needs no fit, so that it doesn't matter which fold's estimators serve a query."""

    def fit(self, queries: Any, responses: hr.Responses, targets: Floats) -> Self:
        return self

    def predict(self, queries: Any, responses: hr.Responses) -> hr.Belief:
        return hr.Belief(np.clip(0.15 * (np.array([2.0, 5.0]) - queries["hint"][:, None]), 0.0, 1.0))


def test_groups_are_resampled_whole() -> None:
    fitting, test = one_query_per_group(3)
    doubled = test.take(np.repeat(np.arange(120), 2))
    once = compare(fitting, test, methods=["routing"], quality=Hinted())
    twice = compare(fitting, doubled, methods=["routing"], quality=Hinted())
    # A second copy of every query in its group adds nothing ...
    for name in (LINEAR, "routing"):
        np.testing.assert_allclose(twice[name].resampled, once[name].resampled, atol=1e-12)
        assert twice[name].interval == pytest.approx(once[name].interval, abs=1e-12)
    # ... but seems to, where copies count as queries of their own.
    apart = compare(fitting, dataclasses.replace(doubled, groups=None), methods=["routing"], quality=Hinted())
    ratio = apart["routing"].resampled.std() / once["routing"].resampled.std()
    assert ratio == pytest.approx(math.sqrt(0.5), abs=0.08)


def test_groups_of_any_size_and_order_are_resampled_whole() -> None:
    fitting, test = one_query_per_group(4)
    # One group holds all but one query: in a resample, either it is there or not.
    lumped = dataclasses.replace(test, groups=["z" if row != 60 else "a" for row in range(120)])
    result = compare(fitting, lumped, methods=["routing"])
    assert len(np.unique(result["routing"].resampled.round(9))) <= 3


def test_the_interval_covers_the_bootstrap_of_plain_means() -> None:
    fitting, test = one_query_per_group(5)
    single = compare(fitting, dataclasses.replace(test, groups=None), methods=[])[LINEAR]
    # The area of linear interpolation between two models is the mean of their two qualities.
    assert single.area == pytest.approx(test.mean_quality.mean(), abs=1e-12)
    std_error = test.quality.mean(axis=1).std() / math.sqrt(120)
    assert single.resampled.std() == pytest.approx(std_error, rel=0.15)


# What is refused


def test_one_model_leaves_nothing_to_trade(digits: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, test = (part.select(["svm"]) for part in digits)
    with pytest.raises(ValueError, match="calibration: expected at least two models of different mean cost"):
        compare(fitting, test)


def test_equal_costs_leave_nothing_to_trade(digits: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    fitting, test = (dataclasses.replace(part, cost=[2.0, 2.0, 2.0]) for part in digits)
    with pytest.raises(ValueError, match="calibration: expected at least two models of different mean cost"):
        compare(fitting, test)


def with_a_hole(table: hr.Outcomes) -> hr.Outcomes:
    quality = table.quality.copy()
    quality[3, 1] = math.nan
    return dataclasses.replace(table, quality=quality)


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        (lambda fitting, test: (fitting, test.select(["network", "centroid", "svm"])), "held_out"),
        (lambda fitting, test: (fitting, test.select(["svm", "centroid"])), "held_out"),
        (lambda fitting, test: (fitting, with_a_hole(test)), "held_out"),
        (lambda fitting, test: (with_a_hole(fitting), test), "calibration"),
    ],
    ids=["order of models", "fewer models", "hole in test", "hole in fitting"],
)
def test_tables_that_do_not_fit_are_refused(
    change: Any, argument: str, digits: tuple[hr.Outcomes, hr.Outcomes]
) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: "):
        compare(*change(*digits), methods=["routing"], quality=ConstantQuality(), cost=ConstantCost())


@pytest.mark.parametrize("methods", [["lottery"], "routing"])
def test_unknown_methods_are_refused(methods: Any, digits: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    with pytest.raises((ValueError, TypeError), match="methods: "):
        compare(*digits, methods=methods)


def test_a_model_may_be_free(digits: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    free = [dataclasses.replace(part, cost=[2.0, 0.0, 1.0]) for part in digits]
    result = compare(*free, methods=["routing"])
    assert np.isfinite([method.excess for method in result.methods]).all()
