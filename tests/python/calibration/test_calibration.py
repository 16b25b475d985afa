"""Budget paths against a plain loop over queries and steps, hand-computed numbers and dense integrals."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.beliefs.fitting import cross_fit
from headrace.calibration.walk import MOST_MODELS, Stops, budget_path, walk, walk_together
from headrace.estimators import LinearCost, LinearQuality
from headrace.policy.budget_path import BudgetPath, PathPoint, curve_area, curve_areas

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

N_MODELS = 4

# Next to an end of a stretch, either neighbour is right to the accuracy of the values (test_rules.py).
NEAR_AN_END = 1e-5

# With covariances, a decision may ask a closed form where the path asks points; the latter are off by about so much.
NEAR_AN_END_ON_POINTS = 5e-3

# Sums of a few hundred numbers near 1, in another order.
ROUNDING = 1e-12

# One rule of each kind at one value of its parameter.
MAKERS: dict[str, Callable[[float], hr.Rule]] = {
    "Routing": hr.Routing,
    "ThresholdCascade": lambda parameter: hr.ThresholdCascade(-parameter, order=[2, 0, 3, 1]),
    "Cascade": lambda cost_weight: hr.Cascade(cost_weight, order=[1, 3, 0, 2]),
    "CascadeRouting": hr.CascadeRouting,
    "CascadeRouting, two deep": lambda cost_weight: hr.CascadeRouting(cost_weight, max_depth=2, uncertainty_scale=0.5),
    "IndexRule": hr.IndexRule,
}
UNCERTAINTIES = ["none", "variance", "variance per row", "covariance", "covariance per row"]


class Estimates:
    """Given estimates, some before a model has run and others after, and a table on which they are not quite right."""

    def __init__(self, seed: int, n_queries: int = 12, n_models: int = N_MODELS, uncertainty: str = "variance") -> None:
        rng = np.random.default_rng(seed)
        shape = (n_queries, n_models)
        self.outcomes = hr.Outcomes(
            models=[f"m{j}" for j in range(n_models)],
            quality=rng.uniform(size=shape),
            cost=rng.uniform(0.05, 0.6, shape),
        )
        self.before = rng.uniform(0.3, 0.9, shape)
        self.after = rng.uniform(0.1, 1.0, shape)
        self.costs = rng.uniform(0.05, 0.6, (2, *shape))
        self.uncertainty = uncertainty
        leading = (n_queries,) if uncertainty.endswith("per row") else ()
        self.sd = rng.uniform(0.02, 0.4, (*leading, n_models))
        factor = rng.normal(size=(*leading, n_models, n_models)) / math.sqrt(n_models)
        self.sign = np.where(np.arange(n_models) % 3 == 1, -0.7, 0.7)
        self.joint = 0.1 * factor @ np.swapaxes(factor, -1, -2)

    def __call__(self, rows: Rows, run: Mask, *, priced: bool = True) -> tuple[hr.Belief, Floats]:
        quality = np.where(run, self.after, self.before)[rows]
        cost = self.costs[int(run.any())][rows]
        if self.uncertainty == "none":
            return hr.Belief(quality), cost
        per_row = self.uncertainty.endswith("per row")
        if self.uncertainty.startswith("variance"):
            variance = np.where(run, 0.0, self.sd**2)
            return hr.Belief(quality, variance=variance[rows] if per_row else variance), cost
        if self.uncertainty.startswith("loading"):
            own, loading = np.where(run, 0.0, self.sd**2 / 2), np.where(run, 0.0, self.sd * self.sign)
            if per_row:
                own, loading = own[rows], loading[rows]
            return hr.Belief(quality, variance=own, loading=loading), cost
        covariance = np.where(run[:, None] | run[None, :], 0.0, self.joint)
        return hr.Belief(quality, covariance=covariance[rows] if per_row else covariance), cost


def first_row(values: Floats | None, axes: int) -> Any:
    return values[0] if values is not None and values.ndim > axes else values


def simulate(rule: hr.Rule, estimates: Estimates, row: int, answer: str) -> tuple[float, float, int, int]:
    """Decide step by step what one query costs: realised cost and quality, number of runs, and the answer's model."""
    ran: list[int] = []
    while True:
        run = np.isin(np.arange(estimates.outcomes.n_models), ran)
        belief, cost = estimates(np.array([row]), run)
        decision = rule.select(
            belief.quality[0],
            cost[0],
            variance=first_row(belief.variance, 1),
            covariance=first_row(belief.covariance, 2),
            loading=first_row(belief.loading, 1),
            run=ran,
        )
        if decision.next is None:
            break
        ran.append(decision.next)
    answered = ran[-1] if answer == "last" else max(ran, key=lambda j: float(belief.quality[0, j]))
    outcomes = estimates.outcomes
    return float(sum(outcomes.cost[row, ran])), float(outcomes.quality[row, answered]), len(ran), answered


def drawn_parameters(seed: int, kind: str, stops: Stops, n: int, near: float = NEAR_AN_END) -> Iterable[float]:
    """Draw parameters from all over the path; its two outer ends come first."""
    rng = np.random.default_rng(seed)
    threshold = kind == "ThresholdCascade"
    drawn = rng.uniform(-1.1, 0.0, n) if threshold else np.exp(rng.uniform(math.log(0.01), math.log(20.0), n))
    ends = np.concatenate([stops.lower, stops.upper])
    for parameter in [-math.inf if threshold else 0.0, math.inf, *drawn.tolist()]:
        if math.isinf(parameter) or parameter == 0.0 or np.abs(ends - parameter).min() > near:
            yield parameter


def walked(kind: str, estimates: Estimates, answer: str = "best") -> tuple[Stops, BudgetPath]:
    # The rule's own parameter is to be ignored.
    stops = walk(
        MAKERS[kind](0.37 if kind != "ThresholdCascade" else -0.37), estimates.outcomes, estimates, answer=answer
    )
    return stops, budget_path(stops, estimates.outcomes.costs)


# The path is what a loop over queries and steps would do


@pytest.mark.parametrize("answer", ["best", "last"])
@pytest.mark.parametrize(
    ("kind", "uncertainty"),
    [
        *((kind, uncertainty) for uncertainty in UNCERTAINTIES for kind in MAKERS),
        ("Cascade", "loading"),
        ("CascadeRouting", "loading"),
        ("CascadeRouting", "loading per row"),
    ],
)
def test_a_path_is_what_a_loop_over_queries_and_steps_gives(kind: str, uncertainty: str, answer: str) -> None:
    estimates = Estimates(seed=5, uncertainty=uncertainty)
    stops, path = walked(kind, estimates, answer)
    n_distinct = set()
    near = NEAR_AN_END_ON_POINTS if uncertainty.startswith("covariance") else NEAR_AN_END
    for parameter in drawn_parameters(11, kind, stops, 120, near):
        rule = MAKERS[kind](parameter)
        loop = [simulate(rule, estimates, row, answer) for row in range(len(estimates.outcomes))]
        here = stops.at(parameter)
        assert stops.row[here].tolist() == list(range(len(estimates.outcomes)))
        assert list(zip(stops.n_runs[here].tolist(), stops.answer[here].tolist(), strict=True)) == [
            (n_runs, model) for _, _, n_runs, model in loop
        ], parameter
        np.testing.assert_allclose(stops.cost[here], [cost for cost, *_ in loop], rtol=0, atol=ROUNDING)
        np.testing.assert_array_equal(stops.quality[here], [quality for _, quality, *_ in loop])
        mean = np.mean(np.array(loop), axis=0)
        point = path.realised(parameter)
        np.testing.assert_allclose([point.cost, point.quality, point.n_runs], mean[:3], rtol=0, atol=ROUNDING)
        assert point.parameters == (parameter, parameter)
        n_distinct.add(point.cost)
    assert len(n_distinct) > 5


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", MAKERS)
def test_paths_of_other_tables_are_what_the_loop_gives(kind: str, seed: int) -> None:
    n_models = 4 if kind in ("ThresholdCascade", "Cascade") else 2 + seed
    estimates = Estimates(seed, n_queries=6 + seed, n_models=n_models)
    stops, path = walked(kind, estimates)
    for parameter in drawn_parameters(seed, kind, stops, 20):
        rule = MAKERS[kind](parameter)
        loop = [simulate(rule, estimates, row, "best") for row in range(len(estimates.outcomes))]
        point = path.realised(parameter)
        mean = np.mean(np.array(loop), axis=0)
        np.testing.assert_allclose([point.cost, point.quality, point.n_runs], mean[:3], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("kind", ["Routing", "CascadeRouting, two deep"])
def test_paths_of_more_models_than_an_int64_has_bits_are_what_the_loop_gives(kind: str) -> None:
    estimates = Estimates(0, n_queries=3, n_models=80)
    stops, _ = walked(kind, estimates)
    # A model beyond the bits of an int64 runs somewhere.
    assert stops.run_sets[stops.run, 64:].any()
    for parameter in drawn_parameters(0, kind, stops, 5):
        at = stops.at(parameter)
        expected = [simulate(MAKERS[kind](parameter), estimates, row, "best") for row in range(3)]
        found = zip(stops.cost[at], stops.quality[at], stops.n_runs[at], stops.answer[at], strict=True)
        np.testing.assert_allclose(list(found), expected, rtol=0.0, atol=ROUNDING)


@pytest.mark.parametrize("answer", ["best", "last"])
def test_the_index_rule_at_cost_weight_zero(answer: str) -> None:
    estimates = Estimates(seed=5)
    stops, _ = walked("IndexRule", estimates, answer)
    loop = [simulate(hr.IndexRule(0.0), estimates, row, answer) for row in range(len(estimates.outcomes))]
    assert stops.answer[stops.at(0.0)].tolist() == [model for *_, model in loop]


@pytest.mark.parametrize("answer", ["best", "last"])
def test_a_threshold_that_an_estimate_meets_exactly_stops(answer: str) -> None:
    estimates = Estimates(seed=5)
    stops, path = walked("ThresholdCascade", estimates, answer)
    for threshold in estimates.after[:, 2].tolist():
        rule = MAKERS["ThresholdCascade"](-threshold)
        loop = [simulate(rule, estimates, row, answer) for row in range(len(estimates.outcomes))]
        assert path.realised(-threshold).cost == pytest.approx(np.mean([cost for cost, *_ in loop]), abs=ROUNDING)
        assert stops.n_runs[stops.at(-threshold)].tolist() == [n_runs for _, _, n_runs, _ in loop]


# Stops


@pytest.mark.parametrize("uncertainty", ["none", "variance", "covariance per row"])
@pytest.mark.parametrize("kind", MAKERS)
def test_the_stops_of_a_query_leave_no_gaps(kind: str, uncertainty: str) -> None:
    estimates = Estimates(seed=7, uncertainty=uncertainty)
    stops, path = walked(kind, estimates)
    lowest = -math.inf if kind == "ThresholdCascade" else 0.0
    assert (stops.lower < stops.upper).all()
    for row in range(len(estimates.outcomes)):
        ends = sorted((stops.lower[i], stops.upper[i]) for i in np.flatnonzero(stops.row == row))
        assert ends[0][0] == lowest
        assert ends[-1][1] == math.inf
        assert all(upper == lower for (_, upper), (lower, _) in itertools.pairwise(ends))
    assert path.parameter[0] == lowest
    assert (np.diff(path.parameter) > 0).all()
    assert np.isfinite(path.parameter[1:]).all()


@pytest.mark.parametrize("kind", MAKERS)
def test_every_parameter_has_one_stop_per_query_in_order(kind: str) -> None:
    stops, path = walked(kind, Estimates(seed=7))
    everyone = list(range(12))
    for parameter in [*path.parameter.tolist(), *(path.parameter[1:] + 1e-9).tolist(), 1e9, math.inf]:
        assert stops.row[stops.at(parameter)].tolist() == everyone
    # An end belongs to the stretch that it begins.
    end = float(path.parameter[len(path.parameter) // 2])
    assert (stops.lower[stops.at(end)] == end).any()
    assert not (stops.upper[stops.at(end)] == end).any()


# Hand-computed paths


def given_once(quality: Any, cost: Any) -> Callable[[Rows, Mask], tuple[hr.Belief, Floats]]:
    """Give estimates that no run changes."""
    means, costs = np.array(quality, dtype=float), np.array(cost, dtype=float)
    return lambda rows, run, priced: (hr.Belief(means[rows]), costs[rows])


@pytest.fixture
def two_queries() -> BudgetPath:
    # Query 0 leaves model 1 at (0.75 - 0.5) / (2 - 1) = 0.25, query 1 at 0.5.
    estimates = given_once([[0.5, 0.75], [0.25, 0.75]], [[1, 2], [1, 2]])
    outcomes = hr.Outcomes(models=["a", "b"], quality=[[0.0, 1.0], [0.5, 1.0]], cost=[[1.0, 4.0], [2.0, 3.0]])
    return budget_path(walk(hr.Routing(0.0), outcomes, estimates), outcomes.costs)


def test_a_path_by_hand(two_queries: BudgetPath) -> None:
    frame = two_queries.to_dict()
    assert {name: values.tolist() for name, values in frame.items()} == {
        "parameter": [0.0, 0.25, 0.5],
        "cost": [3.5, 2.0, 1.5],
        "quality": [1.0, 0.5, 0.25],
        "n_runs": [1.0, 1.0, 1.0],
    }
    assert repr(two_queries) == "BudgetPath(3 points from 2 queries, cost 1.5..3.5, quality 0.250..1.000)"


@pytest.mark.parametrize(
    ("wanted", "point"),
    [
        # Two thirds of the way from 3.5 down to 2; the middle of a stretch stands for it, and its end for an outer one.
        ({"budget": 2.5}, PathPoint(2.5, 2 / 3, 1.0, (0.375, 0.0), 2 / 3)),
        ({"budget": 2.0}, PathPoint(2.0, 0.5, 1.0, (0.375, 0.0), 1.0)),
        ({"budget": 1.75}, PathPoint(1.75, 0.375, 1.0, (math.inf, 0.375), 0.5)),
        ({"budget": 1.5}, PathPoint(1.5, 0.25, 1.0, (math.inf, 0.375), 1.0)),
        ({"budget": 3.5}, PathPoint(3.5, 1.0, 1.0, (0.0, 0.0), 1.0)),
        ({"budget": 99.0}, PathPoint(3.5, 1.0, 1.0, (0.0, 0.0), 1.0)),
        ({"budget": math.inf}, PathPoint(3.5, 1.0, 1.0, (0.0, 0.0), 1.0)),
        ({"quality": 0.875}, PathPoint(3.125, 0.875, 1.0, (0.375, 0.0), 0.25)),
        ({"quality": 1.0}, PathPoint(3.5, 1.0, 1.0, (0.375, 0.0), 0.0)),
        ({"quality": 0.3125}, PathPoint(1.625, 0.3125, 1.0, (math.inf, 0.375), 0.75)),
        ({"quality": 0.1}, PathPoint(1.5, 0.25, 1.0, (math.inf, math.inf), 1.0)),
    ],
)
def test_points_of_a_path_by_hand(two_queries: BudgetPath, wanted: dict[str, float], point: PathPoint) -> None:
    found = two_queries.at(**wanted)
    assert found.parameters == point.parameters
    np.testing.assert_allclose([*found[:3], found.share], [*point[:3], point.share], rtol=0, atol=ROUNDING)


def test_values_of_the_parameter_by_hand(two_queries: BudgetPath) -> None:
    assert two_queries.realised(0.3) == PathPoint(2.0, 0.5, 1.0, (0.3, 0.3), 1.0)
    assert [two_queries.realised(weight).cost for weight in (0.0, 0.24, 0.25, 0.49, 0.5, math.inf)] == [
        3.5, 3.5, 2.0, 2.0, 1.5, 1.5,
    ]  # fmt: skip


@pytest.mark.parametrize("n_queries", [1, 8])
def test_identical_queries_mix_two_models_so_that_the_mean_cost_is_the_budget(n_queries: int) -> None:
    outcomes = hr.Outcomes(models=["a", "b"], quality=[[0.5, 0.75]] * n_queries, cost=[1.0, 3.0])
    estimates = given_once(outcomes.quality, outcomes.cost)
    path = budget_path(walk(hr.Routing(0.0), outcomes, estimates), outcomes.costs)
    assert (path.parameter.tolist(), path.cost.tolist()) == ([0.0, 0.125], [3.0, 1.0])
    point = path.at(budget=1.5)
    # The cheaper model answers three quarters of the queries: 3/4 * 1 + 1/4 * 3 = 1.5.
    assert point == PathPoint(1.5, 0.5625, 1.0, (math.inf, 0.0), 0.75)
    cheap, costly = (hr.Routing(weight).select([0.5, 0.75], [1.0, 3.0]).next for weight in point.parameters)
    assert (cheap, costly) == (0, 1)
    assert path.at(budget=2.75).share == 0.125
    assert path.at(quality=0.6875).share == 0.25


def test_models_that_tie_are_no_choice() -> None:
    outcomes = hr.Outcomes(models=["a", "b"], quality=[[0.5, 0.5]] * 3, cost=[2.0, 2.0])
    path = budget_path(walk(hr.Routing(0.0), outcomes, given_once(outcomes.quality, outcomes.cost)), outcomes.costs)
    assert (len(path.cost), path.cost[0]) == (1, 2.0)
    assert path.at(budget=2.0).cost == path.at(budget=5.0).cost == 2.0
    with pytest.raises(ValueError, match="budget: expected at least 2,"):
        path.at(budget=1.9)


def test_a_table_of_one_query_and_one_model() -> None:
    outcomes = hr.Outcomes(models=["only"], quality=[[0.25]], cost=[2.0])
    for make in (hr.Routing, hr.Cascade, hr.CascadeRouting, hr.IndexRule, hr.ThresholdCascade):
        stops = walk(make(0.5), outcomes, given_once(outcomes.quality, outcomes.cost))
        path = budget_path(stops, outcomes.costs)
        assert path.at(budget=2.0)[:3] == (2.0, 0.25, 1.0)
        assert (stops.answer == 0).all()


# Budgets and targets


@pytest.mark.parametrize("kind", MAKERS)
def test_a_mixture_meets_a_budget_exactly(kind: str) -> None:
    _, path = walked(kind, Estimates(seed=3, n_queries=40))
    rng = np.random.default_rng(3)
    n_mixed = 0
    for budget in rng.uniform(path.cost.min(), path.cost[0], 50).tolist():
        point = path.at(budget=budget)
        cheap, costly = (path.realised(parameter) for parameter in point.parameters)
        assert cheap.cost <= budget <= costly.cost
        for field in ("cost", "quality", "n_runs"):
            mixed = point.share * getattr(cheap, field) + (1 - point.share) * getattr(costly, field)
            assert getattr(point, field) == pytest.approx(mixed, abs=ROUNDING)
        assert point.cost == pytest.approx(budget, abs=ROUNDING)
        assert point.parameters[0] >= point.parameters[1]
        n_mixed += 0 < point.share < 1
    assert n_mixed > 40


@pytest.mark.parametrize("kind", MAKERS)
def test_a_mixture_meets_a_quality_target_exactly(kind: str) -> None:
    _, path = walked(kind, Estimates(seed=3, n_queries=40))
    rng = np.random.default_rng(4)
    for target in rng.uniform(path.quality[-1], path.quality.max(), 50).tolist():
        point = path.at(quality=target)
        cheap, costly = (path.realised(parameter) for parameter in point.parameters)
        assert cheap.quality <= target <= costly.quality
        assert point.quality == pytest.approx(target, abs=ROUNDING)
        assert point.cost == pytest.approx(point.share * cheap.cost + (1 - point.share) * costly.cost, abs=ROUNDING)
        # No smaller cost weight is needed: all larger ones fall short.
        assert (path.quality[path.parameter > point.parameters[0]] < target).all()


@pytest.mark.parametrize("kind", MAKERS)
def test_the_inner_parameters_are_well_inside_their_stretches(kind: str) -> None:
    _, path = walked(kind, Estimates(seed=3, n_queries=40))
    ends = path.parameter
    for budget in np.linspace(path.cost.min(), path.cost[0], 30).tolist():
        for parameter in path.at(budget=budget).parameters:
            if not math.isinf(parameter) and parameter != 0.0:
                i = int(np.searchsorted(ends, parameter)) - 1
                assert parameter == pytest.approx((ends[i] + ends[i + 1]) / 2, rel=1e-12)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_slack_budget_gives_cost_weight_zero(kind: str) -> None:
    _, path = walked(kind, Estimates(seed=3))
    slack = -math.inf if kind == "ThresholdCascade" else 0.0
    for budget in (float(path.cost.max()), 1e6, math.inf):
        point = path.at(budget=budget)
        assert (point.parameters, point.share) == ((slack, slack), 1.0)
        assert point == path.realised(slack)


def stated(error: pytest.ExceptionInfo[ValueError], pattern: str) -> float:
    found = re.search(pattern + r" ([-+.\de]+),", str(error.value))
    assert found is not None, str(error.value)
    return float(found[1])


def path_between(least: float, best: float) -> BudgetPath:
    return BudgetPath(np.array([0.0, 2.0]), np.array([9.0 * least, least]), np.array([best, 0.0]), np.ones(2), 10)


@pytest.mark.parametrize("budget", [0.0, 0.1, -1.0, -math.inf, math.nan])
def test_a_budget_below_the_cheapest_policy_is_an_error_that_states_its_cost(budget: float) -> None:
    with pytest.raises(ValueError, match=r"^budget: expected at least 0\.125, .*cheapest feasible policy .*; got"):
        path_between(0.125, 0.75).at(budget=budget)


def test_the_cost_of_the_cheapest_model_is_a_feasible_budget() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        cost = rng.uniform(0.5, 1.5, (3000, 2)) * [1.0, 1000.0]
        outcomes = hr.Outcomes(models=["a", "b"], quality=rng.random((3000, 2)), cost=cost)
        estimates = given_once(rng.uniform([0.0, 0.5], [0.5, 1.0], (3000, 2)), cost)
        path = budget_path(walk(hr.Routing(0.0), outcomes, estimates), outcomes.costs)
        assert path.at(budget=float(outcomes.mean_cost[0])).parameters[0] == math.inf


@pytest.mark.parametrize("target", [0.76, 2.0, math.inf, math.nan])
def test_a_target_above_the_best_policy_is_an_error_that_states_its_quality(target: float) -> None:
    with pytest.raises(ValueError, match=r"^quality: expected at most 0\.75, the best .*; got"):
        path_between(0.125, 0.75).at(quality=target)


# Numbers that six digits round to the wrong side.
@pytest.mark.parametrize("least", [1 / 3, 0.1234561, 4e-7 / 3, 12345612.3])
def test_the_cheapest_feasible_cost_that_is_stated_works(least: float) -> None:
    path = path_between(least, 0.5)
    with pytest.raises(ValueError, match="budget") as error:
        path.at(budget=least / 2)
    point = path.at(budget=stated(error, "at least"))
    assert point.cost == pytest.approx(least, rel=1e-5)


@pytest.mark.parametrize("best", [2 / 3, 0.9876549, 1 - 1e-9])
def test_the_best_quality_that_is_stated_works(best: float) -> None:
    path = path_between(1.0, best)
    with pytest.raises(ValueError, match="quality") as error:
        path.at(quality=1.5)
    assert path.at(quality=stated(error, "at most")).quality == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("wanted", [{}, {"budget": 1.0, "quality": 0.5}])
def test_exactly_one_of_budget_and_quality_is_wanted(two_queries: BudgetPath, wanted: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="budget, quality: expected exactly one"):
        two_queries.at(**wanted)


# Limits and progress


def test_a_table_of_more_models_than_a_rule_takes_is_refused() -> None:
    for n_models in (MOST_MODELS, MOST_MODELS + 1):
        quality = np.linspace(0.1, 0.9, n_models)[None]
        outcomes = hr.Outcomes(models=[f"m{j}" for j in range(n_models)], quality=quality, cost=np.arange(n_models) + 1)
        estimates = given_once(quality, outcomes.cost)
        if n_models > MOST_MODELS:
            with pytest.raises(ValueError, match="outcomes: expected at most 128 models in a calibration, got 129"):
                walk(hr.Routing(0.0), outcomes, estimates)
        else:
            # In all of them, the last one ends with all models.
            stops = walk(hr.ThresholdCascade(0.0), outcomes, estimates)
            assert sorted(stops.n_runs.tolist()) == list(range(1, MOST_MODELS + 1))
            assert sorted(stops.answer.tolist()) == list(range(MOST_MODELS))


def test_progress_rises_from_zero() -> None:
    told: list[float] = []
    estimates = Estimates(seed=1)
    walk(hr.CascadeRouting(0.0), estimates.outcomes, estimates, progress=told.append)
    assert told[0] == 0.0
    assert told == sorted(told)
    assert all(0.0 <= share < 1.0 for share in told)


def test_what_the_rule_refuses_is_an_error() -> None:
    outcomes = hr.Outcomes(models=["a", "b"], quality=[[0.5, 0.75]], cost=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"quality: expected finite numbers, got NaN"):
        walk(hr.Routing(0.0), outcomes, given_once([[0.5, math.nan]], outcomes.cost))
    with pytest.raises(ValueError, match="cost"):
        walk(hr.Routing(0.0), outcomes, given_once(outcomes.quality, [[1.0, -2.0]]))


# Areas


@pytest.mark.parametrize(
    ("cost", "quality", "lowest", "highest", "floor", "area"),
    [
        ([1.0, 3.0], [0.4, 0.8], 1.0, 3.0, 0.4, 0.6),
        # Held flat on the right: (0.6 * 2 + 0.8 * 2) / 4.
        ([1.0, 3.0], [0.4, 0.8], 1.0, 5.0, 0.4, 0.7),
        # From the floor on the left: (0.4 * 1 + 0.6 * 1) / 2.
        ([1.0, 2.0], [0.6, 0.6], 0.0, 2.0, 0.2, 0.5),
        # The parts outside of the range don't count.
        ([0.0, 4.0], [0.0, 0.8], 1.0, 3.0, 0.0, 0.4),
        ([0.0, 1.0, 2.0, 9.0], [0.9, 0.5, 0.7, 0.7], 1.0, 2.0, 0.1, 0.6),
        # One point: from the floor to it, then flat.
        ([2.0], [0.8], 1.0, 3.0, 0.4, 0.7),
        # All to the left of the range, all to the right of it.
        ([0.5, 1.0], [0.2, 0.6], 2.0, 3.0, 0.1, 0.6),
        ([4.0, 5.0], [0.8, 0.9], 0.0, 2.0, 0.0, 0.2),
        # Falling.
        ([1.0, 2.0, 3.0], [0.8, 0.4, 0.6], 1.0, 3.0, 0.2, 0.55),
    ],
)
def test_areas_by_hand(
    cost: list[float], quality: list[float], lowest: float, highest: float, floor: float, area: float
) -> None:
    assert curve_area(np.array(cost), np.array(quality), lowest, highest, floor) == pytest.approx(area, abs=1e-14)


def test_a_step_of_the_curve_has_no_width() -> None:
    cost, quality = np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.2, 0.2, 0.8, 0.8])
    assert curve_area(cost, quality, 0.0, 2.0, 0.2) == pytest.approx(0.5, abs=1e-14)


def test_a_piece_may_be_as_narrow_as_numbers_are() -> None:
    cost, quality = np.array([0.0, 5e-324, 2.0]), np.array([0.2, 0.8, 0.8])
    assert curve_area(cost, quality, 0.0, 2.0, 0.2) == pytest.approx(0.8, abs=1e-14)


# Some of the costs are alike: there the curve has a step.
COSTS = st.one_of(st.integers(0, 10), st.floats(0.0, 10.0, allow_subnormal=False))
CURVES = st.lists(st.tuples(COSTS, st.floats(0.0, 1.0)), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(points=CURVES, lowest=st.floats(0.0, 9.0), width=st.floats(0.1, 6.0), floor=st.floats(0.0, 1.0))
def test_an_area_is_the_mean_height_of_the_curve(
    points: list[tuple[float, float]], lowest: float, width: float, floor: float
) -> None:
    cost, quality = np.array(sorted(points), dtype=float).T
    highest = lowest + width
    area = curve_area(cost, quality, lowest, highest, floor)
    n_slices = 4000
    at = lowest + (np.arange(n_slices) + 0.5) / n_slices * width
    if cost[0] > lowest:
        cost, quality = np.append(lowest, cost), np.append(floor, quality)
    heights = np.interp(at, cost, quality)
    # The midpoint rule is off by at most a slice of the total variation.
    variation = 2.0 * float(np.abs(np.diff(quality)).sum())
    assert area == pytest.approx(heights.mean(), abs=variation / n_slices + 1e-12)
    assert 0.0 <= area <= 1.0 + 1e-12


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n_points=st.integers(1, 150))
def test_several_areas_are_those_of_one_after_the_other(seed: int, n_points: int) -> None:
    rng = np.random.default_rng(seed)
    cost, quality = np.sort(rng.choice([0.5, 1.0, *rng.random(9)], (7, n_points)), axis=1), rng.random((7, n_points))
    areas = curve_areas(cost, quality, 0.2, 0.9, 0.1)
    assert areas.tolist() == [curve_area(c, q, 0.2, 0.9, 0.1) for c, q in zip(cost, quality, strict=True)]


def test_an_area_needs_a_range() -> None:
    for highest in (1.0, 0.5, math.nan):
        with pytest.raises(ValueError, match=r"highest: expected more than lowest = 1\.0, got"):
            curve_area(np.array([1.0]), np.array([0.5]), 1.0, highest, 0.0)


def test_the_area_of_a_path_is_that_of_its_points_by_rising_cost(two_queries: BudgetPath) -> None:
    # (1.5, 0.25), (2, 0.5), (3.5, 1): 0.5 * 0.375 + 1.5 * 0.75, over 2.
    assert two_queries.area(1.5, 3.5, 0.25) == pytest.approx((0.1875 + 1.125) / 2, abs=1e-14)
    assert two_queries.area(1.0, 4.0, 0.0) == pytest.approx((0.0625 + 0.1875 + 1.125 + 0.5) / 3, abs=1e-14)


# Together


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("uncertainty", UNCERTAINTIES)
def test_rules_walked_together_stop_where_each_stops_alone(seed: int, uncertainty: str) -> None:
    estimates = Estimates(seed, n_queries=30, uncertainty=uncertainty)
    asked: list[bytes] = []

    def counted(rows: Rows, run: Mask, *, priced: bool = True) -> Any:
        asked.append(run.tobytes())
        return estimates(rows, run)

    # Some of them end long before the others.
    made = [make(0.0) for make in MAKERS.values()]
    answer = ("best", "last")[seed % 2]
    together = walk_together(made, estimates.outcomes, counted, answer=answer)
    assert len(asked) == len(set(asked))
    for rule, got in zip(made, together, strict=True):
        alone = walk(rule, estimates.outcomes, estimates, answer=answer)
        for name, expected in alone._asdict().items():
            columns = zip(expected, got.runs, strict=True) if name == "runs" else [(expected, getattr(got, name))]
            for mine, theirs in columns:
                np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", MAKERS)
def test_no_cost_is_asked_for_where_no_model_may_run(name: str) -> None:
    estimates, rule = Estimates(3, n_queries=30), MAKERS[name](0.0)
    most = {"Routing": 1, "CascadeRouting, two deep": 2}.get(name, N_MODELS)
    asked: dict[int, set[bool]] = {}

    def guessed(rows: Rows, run: Mask, *, priced: bool = True) -> tuple[hr.Belief, Floats]:
        asked.setdefault(int(run.sum()), set()).add(priced)
        belief, cost = estimates(rows, run)
        return belief, cost if priced else np.full_like(cost, 1e-9)

    got, expected = (walk(rule, estimates.outcomes, believe) for believe in (guessed, estimates))
    assert asked == {n_runs: {n_runs < most} for n_runs in range(most + 1)}
    for column in ("row", "lower", "upper", "cost", "quality", "answer"):
        np.testing.assert_array_equal(getattr(got, column), getattr(expected, column))


def test_a_table_gives_costs_once_they_are_asked_for() -> None:
    outcomes = hr.datasets.load_quickstart().take(np.arange(60))
    rows, run = np.arange(0, 60, 2), np.arange(5) == 1
    tables = [cross_fit(outcomes, LinearQuality(), LinearCost(), n_folds=2, seed=0) for _ in range(2)]
    bare, none = tables[0](rows, run, priced=False)
    assert not none.any()
    for table in tables:
        belief, costs = table(rows, run)
        np.testing.assert_array_equal(belief.quality, bare.quality)
        assert (costs > 0.0).all()
