"""Evaluation of a fitted router: curves, scores and intervals against plain loops, known cases, what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration.walk import budget_path, walk
from headrace.estimators import ConstantCost, ConstantQuality, LinearCost, LinearQuality
from headrace.evaluation import Evaluation, replayed
from headrace.evaluation.baselines import BASELINES
from headrace.evaluation.bootstrap import Estimate, estimate, interval, resampling_weights
from headrace.evaluation.curves import cross_fitted
from headrace.evaluation.greedy import GreedyRule
from headrace.evaluation.metrics import cost_at_quality, quality_at_cost
from headrace.evaluation.replay import join, replay
from headrace.evaluation.traffic import entropy, reliability, served, walked_session
from headrace.rules import RULES, make_rule

Floats = npt.NDArray[np.float64]
Tables = tuple[hr.Outcomes, hr.Outcomes]

# Sums of a few hundred numbers, in another order.
EXACT = 1e-9


@pytest.fixture(scope="module")
def digits() -> Tables:
    fitting, test = hr.datasets.load_quickstart().select(["svm", "centroid", "network"]).split(0.5)
    return fitting.take(np.arange(300)), test.take(np.arange(240))


@pytest.fixture(scope="module")
def router(digits: Tables) -> hr.Router:
    return hr.Router().fit(digits[0], budget=60.0)


@pytest.fixture(scope="module")
def evaluation(router: hr.Router, digits: Tables) -> Evaluation:
    return hr.evaluate(router, digits[1], fitting=digits[0])


# Metrics


def test_reading_a_curve() -> None:
    cost, quality = np.array([4.0, 1.0, 2.0]), np.array([0.8, 0.4, 0.6])
    assert quality_at_cost(cost, quality, 3.0) == pytest.approx(0.7)
    assert quality_at_cost(cost, quality, 9.0) == 0.8
    assert quality_at_cost(cost, quality, 0.5) == -math.inf
    assert cost_at_quality(cost, quality, 0.5) == pytest.approx(1.5)
    assert cost_at_quality(cost, quality, 0.3) == 1.0
    assert cost_at_quality(cost, quality, 0.9) == math.inf
    # Means of the same queries, summed in another order, are the same.
    assert quality_at_cost(cost, quality, 1.0 - 1e-14) == 0.4
    assert quality_at_cost(cost, quality, 1.0 - 1e-9) == -math.inf
    assert cost_at_quality(cost, quality, 0.8 + 1e-14) == 4.0
    assert cost_at_quality(cost, quality, 0.8 + 1e-9) == math.inf
    # The first crossing counts, on a curve that falls again.
    assert cost_at_quality(np.array([1.0, 2.0, 3.0]), np.array([0.4, 0.8, 0.5]), 0.6) == pytest.approx(1.5)


def test_intervals_of_resamples_that_are_not_finite() -> None:
    low, high = interval(np.array([-math.inf] * 50 + [1.0] * 150))
    assert (low, high) == (-math.inf, 1.0)
    assert estimate(0.5, np.full(10, 0.5)) == Estimate(0.5, 0.5, 0.5)


# Greedy growth


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


# Replays


def walk_one(table: BeliefTable, rule: hr.Rule, row: int, answer: str) -> tuple[float, float, int, int, int]:
    """Walk one query at one parameter: cost, quality, number of runs, answer, first model."""
    outcomes = table.outcomes
    run = np.zeros(outcomes.n_models, dtype=np.bool_)
    order: list[int] = []
    while True:
        belief, cost = table(np.array([row]), run)
        decision = rule.select(belief.quality[0], cost[0], variance=np.atleast_2d(belief.variance)[0], run=run)
        if decision.next is None:
            break
        order.append(decision.next)
        run[decision.next] = True
    best = order[-1] if answer == "last" else int(np.where(run, belief.quality[0], -np.inf).argmax())
    return float(outcomes.cost[row, order].sum()), float(outcomes.quality[row, best]), len(order), best, order[0]


def test_the_router_is_replayed_query_by_query(evaluation: Evaluation, router: hr.Router, digits: Tables) -> None:
    test = digits[1]
    table = BeliefTable.served(test, router.estimators_)
    settings = {"max_depth": 5, "uncertainty_scale": router.uncertainty_scale_}
    curve = evaluation["router"]
    for i in range(0, len(evaluation.budgets), 3):
        point = router.path_.at(budget=max(evaluation.budgets[i], router.path_.cost.min()))
        means = np.zeros(3)
        answers, flow = np.zeros(3), np.zeros((3, 3))
        for parameter, share in zip(point.parameters, (point.share, 1.0 - point.share), strict=True):
            rule = make_rule("cascade-routing", parameter, settings)
            for row in range(test.n_queries):
                cost, quality, n_runs, answer, first = walk_one(table, rule, row, "best")
                means += share / test.n_queries * np.array([cost, quality, n_runs])
                answers[answer] += share / test.n_queries
                flow[first, answer] += share / test.n_queries
        assert [curve.cost[i], curve.quality[i], curve.n_runs[i]] == pytest.approx(means, abs=EXACT)
        np.testing.assert_allclose(evaluation.answers[i], answers, atol=EXACT)
        np.testing.assert_allclose(evaluation.flows[i], flow, atol=EXACT)
        assert evaluation.runs[i].sum() == pytest.approx(curve.n_runs[i], abs=EXACT)


def test_the_chosen_policy_is_the_routers(evaluation: Evaluation, router: hr.Router, digits: Tables) -> None:
    test, chosen = digits[1], evaluation.chosen
    assert (chosen.budget, chosen.assumed) == ({"cost": 60.0}, False)
    assert evaluation.budgets[evaluation.at] == 60.0
    assert chosen.costs["cost"].value == pytest.approx(evaluation["router"].cost[evaluation.at], abs=EXACT)
    assert chosen.quality.value == pytest.approx(evaluation["router"].quality[evaluation.at], abs=EXACT)
    assert (chosen.predicted_cost, chosen.predicted_quality) == (router.point_.cost, router.point_.quality)
    excess = chosen.costs["cost"].value / 60.0 - 1.0
    assert chosen.excess["cost"].value == pytest.approx(excess, abs=EXACT)
    assert chosen.excess["cost"].low <= excess <= chosen.excess["cost"].high
    assert len(test.ids) == evaluation.n_test


def test_baselines_with_the_fitting_table_are_routers_fitted_on_it(evaluation: Evaluation, digits: Tables) -> None:
    fitting, test = digits
    for rule in ("routing", "cascade", "index"):
        other = hr.evaluate(hr.Router(rule=rule).fit(fitting, budget=60.0), test, baselines=[], n_resamples=20)
        same = np.isin(other.budgets, evaluation.budgets)
        here = np.isin(evaluation.budgets, other.budgets)
        assert same.sum() > 15
        np.testing.assert_allclose(other["router"].quality[same], evaluation[rule].quality[here], atol=EXACT)
        np.testing.assert_allclose(other["router"].cost[same], evaluation[rule].cost[here], rtol=EXACT)


def test_without_the_fitting_table_each_half_calibrates_the_other(router: hr.Router, digits: Tables) -> None:
    test = digits[1]
    result = hr.evaluate(router, test, baselines=["routing", "linear interpolation"], n_resamples=20)
    assert result.calibrated_on == "the other half of the test queries"
    half = test.folds(2, rng=0)
    expected = np.zeros(len(result.budgets))
    for h in (0, 1):
        known, asked = (BeliefTable.served(test.take(half == g), router.estimators_) for g in (1 - h, h))
        rule = make_rule("routing", 0.0, {})
        path = budget_path(walk(rule, known.outcomes, known), known.outcomes.costs)
        stops = walk(rule, asked.outcomes, asked)
        for i, budget in enumerate(result.budgets):
            point = path.at(budget=max(budget, path.cost.min()))
            cheap, costly = (stops.cost[stops.at(parameter)].sum() for parameter in point.parameters)
            expected[i] += (point.share * cheap + (1.0 - point.share) * costly) / test.n_queries
    np.testing.assert_allclose(result["routing"].cost, expected, rtol=EXACT)


def test_joined_replays_keep_the_order_of_rows(router: hr.Router, digits: Tables) -> None:
    test = digits[1]
    table = BeliefTable.served(test, router.estimators_)
    rule = make_rule("routing", 0.0, {})
    points = [router.path_.realised(0.001), router.path_.realised(0.01)]
    whole = replay("x", points, walk(rule, test, table), test)
    rows = [np.arange(0, 240, 2), np.arange(1, 240, 2)]
    parts = []
    for index in rows:
        part = BeliefTable.served(test.take(index), router.estimators_)
        parts.append(replay("x", points, walk(rule, part.outcomes, part), part.outcomes))
    joined = join(parts, rows)
    for name in ("cost", "quality", "n_runs", "answers", "runs"):
        np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), atol=EXACT)


def test_the_oracle_is_a_bound_on_one_model_per_query(evaluation: Evaluation, digits: Tables) -> None:
    test, oracle = digits[1], evaluation["oracle"]
    # At the most expensive budget, the best quality of each query, at the least cost.
    assert oracle.quality[-1] == pytest.approx(test.quality.max(axis=1).mean())
    best = np.where(test.quality == test.quality.max(axis=1, keepdims=True), test.cost, np.inf).min(axis=1)
    assert oracle.cost[-1] == pytest.approx(best.mean())
    assert (oracle.cost <= evaluation.budgets + EXACT).all()
    assert (oracle.quality >= evaluation["routing"].quality - 0.01).all()
    assert all(oracle.area >= method.area for method in evaluation.methods)


def test_no_expected_max_is_the_scale_zero(evaluation: Evaluation) -> None:
    assert evaluation["no-expected-max"].uncertainty_scale == 0.0
    assert [method.name for method in evaluation.methods] == [
        "router",
        *(name for name in BASELINES if name != "cascade-routing"),
    ]


# Numbers with intervals


def test_savings_and_gains_against_plain_loops(evaluation: Evaluation, digits: Tables) -> None:
    test, curve = digits[1], evaluation["router"]
    weights = resampling_weights(test, 0)
    order = np.lexsort((curve.quality, curve.cost))
    cost, quality = curve.cost[order], curve.quality[order]
    for j, single in enumerate(evaluation.singles):
        assert single.cost.value == pytest.approx(test.cost[:, j].mean())
        assert single.quality.value == pytest.approx(test.quality[:, j].mean())
        assert single.quality[1:] == pytest.approx(np.quantile(weights @ test.quality[:, j], [0.025, 0.975]))
        wanted = test.quality[:, j].mean()
        reached = math.inf
        for i in range(len(cost)):
            if quality[i] >= wanted:
                reached = cost[i]
                if i:
                    share = (wanted - quality[i - 1]) / (quality[i] - quality[i - 1])
                    reached = cost[i - 1] + share * (cost[i] - cost[i - 1])
                break
        assert single.saving.value == pytest.approx(1.0 - reached / test.cost[:, j].mean())
        assert single.near_saving.value >= single.saving.value
        curves = zip(curve.resampled_cost, curve.resampled_quality, weights @ test.quality[:, j], strict=True)
        spent = np.array([cost_at_quality(c, q, quality - 0.005) for c, q, quality in curves])
        assert single.near_saving[1:] == pytest.approx(interval(1.0 - spent / (weights @ test.cost[:, j])))
        if single.gain.value > -math.inf:
            here = np.interp(test.cost[:, j].mean(), cost, quality)
            assert single.gain.value == pytest.approx(here - wanted)
    assert evaluation.best_single.model == "svm"


class Loaded:
    """A noisy oracle whose updates share a factor."""

    def fit(self, queries: Any, responses: Any, quality: Any) -> Loaded:
        self.oracle = hr.datasets.NoisyOracle().fit(queries, responses, quality)
        return self

    def predict(self, queries: Any, responses: Any) -> Any:
        belief = self.oracle.predict(queries, responses)
        assert belief.variance is not None
        return belief._replace(variance=0.1 * belief.variance, loading=np.sqrt(0.9 * belief.variance))


def test_flows_follow_beliefs_of_one_factor() -> None:
    fitting, test = hr.datasets.simulate(600, 4).split(0.5)
    router = hr.Router(quality=Loaded(), mix="deterministic").fit(fitting, budget=float(np.median(fitting.mean_cost)))
    chosen = hr.evaluate(router, test, fitting=fitting, baselines=[], n_resamples=10, n_examples=0).chosen
    walked = [walked_session(router, test, row) for row in range(test.n_queries)]
    flow = np.zeros((4, 4))
    for session in walked:
        flow[test.models.index(session.run[0]), test.models.index(session.model)] += 1.0 / test.n_queries
    np.testing.assert_allclose(chosen.flow, flow, atol=EXACT)


def test_differences_are_paired(evaluation: Evaluation) -> None:
    one, other = evaluation["router"], evaluation["routing"]
    difference = evaluation.difference("router", "routing")
    assert difference.value == one.area - other.area
    assert difference[1:] == pytest.approx(np.quantile(one.resampled - other.resampled, [0.025, 0.975]))
    at = evaluation.quality_difference("router", "routing")
    assert at.value == one.quality[evaluation.at] - other.quality[evaluation.at]
    assert at.low <= at.value <= at.high
    with pytest.raises(KeyError, match="lottery"):
        evaluation["lottery"]


def test_one_model_that_is_best_and_cheapest_wins() -> None:
    rng = np.random.default_rng(4)
    table = hr.Outcomes(
        models=["small", "large"],
        quality=(rng.random((400, 2)) < [0.9, 0.6]).astype(float),
        cost=[1.0, 5.0],
        queries={"hint": rng.normal(size=400)},
    )
    fitting, test = table.split(0.5)
    result = hr.evaluate(hr.Router().fit(fitting), test, n_resamples=100)
    assert result.verdict[0].startswith("Use small alone: ")
    assert "nothing to trade" in result.verdict[0]
    assert any(sentence.startswith("Collapse: small answers 100%") for sentence in result.verdict)
    assert result.chosen.assumed
    assert result.singles[0].gain.value == pytest.approx(0.0, abs=0.02)


def test_a_router_that_is_worse_than_one_model_is_told_so() -> None:
    """Estimates that are noise on the fitting part and opposite to the truth on the test part."""
    rng = np.random.default_rng(5)
    hint = rng.normal(size=600)
    right = np.stack([hint > 0, np.ones(600) > 0], axis=1).astype(float)
    fitting, test = (
        hr.Outcomes(models=["a", "b"], quality=q, cost=[1.0, 2.0], queries={"hint": hint}, ids=range(n, n + 600))
        for n, q in ((0, right), (600, np.stack([hint < 0, np.ones(600) > 0], axis=1).astype(float)))
    )
    result = hr.evaluate(hr.Router(rule="routing").fit(fitting, budget=1.5), test, n_resamples=100)
    # At the expensive model's cost it still sends half of the queries to the cheap one, all of them wrong.
    assert result.best_single.model == "b"
    assert result.best_single.gain.high <= 0.0
    assert result.difference("router", "linear interpolation").high < 0.0
    assert "is beaten by mixing single models" in " ".join(result.verdict)


@pytest.mark.parametrize("edge", [0.4, -0.4])
def test_a_router_that_knows_pays(edge: float) -> None:
    rng = np.random.default_rng(6)
    hint = rng.normal(size=600)
    # Each model is right where the other one is wrong; the expensive one a little more often, or less.
    quality = np.stack([hint > edge, hint <= edge], axis=1).astype(float)
    table = hr.Outcomes(models=["a", "b"], quality=quality, cost=[1.0, 2.0], queries={"hint": hint})
    fitting, test = table.split(0.5)
    result = hr.evaluate(hr.Router(rule="routing").fit(fitting, budget=1.5), test, n_resamples=100)
    assert result.best_single.model == ("b" if edge > 0 else "a")
    assert result.verdict[0].startswith("This router pays: ")
    if edge > 0:
        assert result.best_single.gain.low > 0.2
        assert result.best_single.saving.low > 0.0
        assert "at the cost of the best single model, b, it is better by +" in result.verdict[0]
    assert result["router"].area > result["linear interpolation"].area + 0.1


def test_a_router_that_knows_nothing_doesnt_pay() -> None:
    # Half a point below the better, more expensive model is to be had for less by mixing the two at random, too.
    rng = np.random.default_rng(8)
    quality = (rng.random((400, 2)) < [0.4, 0.8]).astype(float)
    table = hr.Outcomes(models=["a", "b"], quality=quality, cost=[1.0, 2.0], queries={"hint": rng.normal(size=400)})
    fitting, test = table.split(0.5)
    router = hr.Router(quality=ConstantQuality(), cost=ConstantCost()).fit(fitting, budget=1.5)
    for baselines in (["linear interpolation"], []):
        result = hr.evaluate(router, test, fitting=fitting, baselines=baselines, n_resamples=100)
        assert result.best_single.near_saving.low > 0.0
        assert result.verdict[0].startswith("No gain over b alone is shown by these 200 queries: ")


# What estimates cost, and how long runs take


@pytest.mark.parametrize("per", ["query", "decision"])
def test_the_cost_of_estimates_moves_the_curves(per: str, evaluation: Evaluation, digits: Tables) -> None:
    fitting, test = digits
    router = hr.Router().fit(fitting, budget=60.0)
    costly = hr.evaluate(router, test, fitting=fitting, estimation_cost=2.0, estimation_per=per)
    for method, free in zip(costly.methods, evaluation.methods, strict=True):
        decisions = {
            "linear interpolation": 0.0 * free.n_runs,
            "oracle": 0.0 * free.n_runs,
            "routing": np.ones_like(free.n_runs),
            "threshold-cascade": free.n_runs if per == "decision" else np.ones_like(free.n_runs),
        }.get(method.name, free.n_runs + 1.0 if per == "decision" else np.ones_like(free.n_runs))
        np.testing.assert_allclose(method.cost, free.cost + 2.0 * decisions, rtol=EXACT)
        np.testing.assert_array_equal(method.quality, free.quality)
        # Budgets are about the models.
        assert method.excess == free.excess
        assert (method.area < free.area) == (decisions.max() > 0.0)
    assert costly.chosen.costs == evaluation.chosen.costs
    assert costly.best_single.saving.value < evaluation.best_single.saving.value or math.isinf(
        costly.best_single.saving.value
    )


@pytest.mark.parametrize("per", ["query", "decision"])
@pytest.mark.parametrize("rule", ["routing", "threshold-cascade", "cascade-routing"])
def test_seconds_of_estimates_are_measured(rule: str, per: str, digits: Tables) -> None:
    fitting, test = (dataclasses.replace(part, cost={"usd": part.cost, "seconds": part.cost}) for part in digits)
    router = hr.Router(rule=rule).fit(fitting, budget=60.0)
    keywords: dict[str, Any] = {"baselines": [], "n_resamples": 20, "n_examples": 0, "estimation_per": per}
    free = hr.evaluate(router, test, **keywords)
    timed = hr.evaluate(router, test, estimation_cost={"usd": 3.0, "seconds": "measured"}, **keywords)
    assert (free.estimation_cost, free.estimation_seconds, timed.estimation_cost) == (0.0, 0.0, 3.0)
    # A decision takes microseconds to milliseconds, an estimate too.
    assert 1e-6 < timed.estimation_seconds < 1.0
    decisions = 1.0
    if per == "decision" and rule != "routing":
        steps = [stopped(router, test, row) for row in range(test.n_queries)]
        decisions = float(np.mean(steps)) + (rule == "cascade-routing")
    added = timed.latency[0].mean - free.latency[0].mean
    assert added == pytest.approx(timed.estimation_seconds * decisions, rel=1e-6)
    assert timed.latency[1:] == free.latency[1:]
    assert (timed["router"].cost > free["router"].cost).all()


def stopped(router: hr.Router, test: hr.Outcomes, row: int) -> int:
    return len(walked_session(router, test, row).run)


def test_measured_seconds_are_on_the_curves_where_seconds_are_the_cost(digits: Tables) -> None:
    fitting, test = (dataclasses.replace(part, cost={"seconds": part.cost}) for part in digits)
    router = hr.Router(rule="routing").fit(fitting, budget=60.0)
    keywords: dict[str, Any] = {"baselines": [], "n_resamples": 20, "n_examples": 0}
    timed = hr.evaluate(router, test, estimation_cost="measured", **keywords)
    free = hr.evaluate(router, test, **keywords)
    assert timed.estimation_cost == timed.estimation_seconds > 0.0
    np.testing.assert_allclose(timed["router"].cost, free["router"].cost + timed.estimation_cost, rtol=EXACT)


def test_seconds_of_sequential_runs_add_up(digits: Tables) -> None:
    timed = [dataclasses.replace(part, cost={"usd": part.cost, "seconds": part.cost**0.5}) for part in digits]
    # Constant estimates: the two rules that are mixed are far from each other.
    router = hr.Router(quality=ConstantQuality(), cost=ConstantCost()).fit(timed[0], budget=60.0)
    result = hr.evaluate(router, timed[1], baselines=["routing", "linear interpolation"], n_resamples=20)
    assert [row.name for row in result.latency] == ["router", "svm", "centroid", "network"]
    seconds = []
    for row in range(timed[1].n_queries):
        query = {name: column[row] for name, column in timed[1].queries.items()}
        session = router.start(query, id=timed[1].ids[row])
        total = 0.0
        while (model := session.next()) is not None:
            j = timed[1].models.index(model)
            session.observe(model, {name: column[row, j] for name, column in timed[1].responses.items()})
            total += timed[1].costs["seconds"][row, j]
        seconds.append(total)
    row = result.latency[0]
    assert (row.mean, row.median) == pytest.approx((np.mean(seconds), np.median(seconds)))
    assert row.percentile_95 == pytest.approx(np.quantile(seconds, 0.95))
    single = timed[1].costs["seconds"][:, 0]
    assert result.latency[1].mean == pytest.approx(single.mean())
    for method in result.methods:
        assert method.further_costs["seconds"].shape == method.cost.shape
    assert set(result.chosen.costs) == {"usd", "seconds"}
    assert "seconds, router" in result.summary()


def test_served_stops_are_those_of_sessions() -> None:
    table = hr.datasets.simulate(200, 3)
    fitting, test = table.split(0.5)
    # Nothing is known of a query, so the two rules that are mixed are far from each other.
    router = hr.Router(quality=ConstantQuality(), cost=ConstantCost(), max_depth=1).fit(fitting, budget=0.002)
    assert 0.2 < router.point_.share < 0.8
    held_out = BeliefTable.served(test, router.estimators_)
    stops = walk(make_rule("cascade-routing", 0.0, dict(router.policy_.settings)), test, held_out)
    run = stops.run[served(router, test, stops)]
    assert len(np.unique(run)) > 1
    for row in range(test.n_queries):
        session = router.start({"noisy_quality_before": test.queries["noisy_quality_before"][row]}, id=test.ids[row])
        session.observe(first := session.next() or "", {})
        assert session.next() is None
        assert run[row] == 1 << test.models.index(first)


def test_without_seconds_there_is_no_latency(evaluation: Evaluation) -> None:
    assert evaluation.latency == ()


# Diagnostics


def test_reliability_by_hand(router: hr.Router, digits: Tables) -> None:
    test = digits[1]
    table = BeliefTable.served(test, router.estimators_)
    entries = reliability(table)
    assert [(entry.model, entry.stage) for entry in entries] == [
        (model, stage) for model in test.models for stage in ("before", "after")
    ]
    estimates = table(np.arange(240), np.zeros(3, dtype=np.bool_))[0].quality[:, 1]
    entry = entries[2]
    assert entry.n.sum() == 240
    assert len(entry.n) == 10
    assert len(np.unique(estimates)) == 240
    assert (entry.n == 24).all()
    ranked = np.argsort(estimates, kind="stable")
    start = 0
    for size, estimated, realised in zip(entry.n, entry.estimate, entry.quality, strict=True):
        rows = ranked[start : start + size]
        assert estimated == pytest.approx(estimates[rows].mean())
        assert realised == pytest.approx(test.quality[rows, 1].mean())
        start += size
    assert entry.error == pytest.approx(sum(entry.n * abs(entry.estimate - entry.quality)) / 240)


def test_entropy() -> None:
    assert entropy(np.array([0.25] * 4)) == pytest.approx(1.0)
    assert entropy(np.array([0.5, 0.5, 0.0, 0.0])) == pytest.approx(0.5)
    assert entropy(np.array([1.0])) == 0.0


def test_examples_are_what_the_router_does(evaluation: Evaluation, router: hr.Router, digits: Tables) -> None:
    test = digits[1]
    assert 1 <= len(evaluation.examples) <= 6
    counts = [example["n_alike"] for example in evaluation.examples]
    assert counts == sorted(counts, reverse=True)
    for example in evaluation.examples:
        row = test.ids.index(example["id"])
        assert example["quality"] == test.quality[row, test.models.index(example["answer"])]
        assert example["cost"] == pytest.approx(sum(test.cost[row, test.models.index(m)] for m in example["run"]))
        assert [step["next"] for step in example["steps"]] == [*example["run"], None]
        assert example["text"] is None
    assert sum(counts) <= test.n_queries
    assert hr.evaluate(router, test, baselines=[], n_examples=0, n_resamples=2).examples == ()


# Results as text and numbers


def test_the_summary_names_everything(evaluation: Evaluation) -> None:
    text = evaluation.summary()
    for word in ("this router", "oracle", "svm", "threshold cascade", "area", "answered by"):
        assert word in text
    assert text.startswith(evaluation.verdict[0])
    assert repr(evaluation).startswith("Evaluation(cascade-routing, 240 queries, 9 methods: ")


def test_the_numbers_are_json(evaluation: Evaluation) -> None:
    numbers = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    router = numbers["methods"][0]
    assert router["method"] == "router"
    assert router["area"] == {
        "value": evaluation["router"].area,
        "low": evaluation["router"].interval[0],
        "high": evaluation["router"].interval[1],
    }
    assert router["cost"] == evaluation["router"].cost.tolist()
    assert len(numbers["budgets"]) == len(router["quality"]) == len(numbers["flows"])
    assert numbers["best_single_model"] == "svm"
    assert set(numbers["chosen"]["costs"]["cost"]) == {"value", "low", "high"}
    assert numbers["verdict"] == evaluation.verdict
    assert numbers["beats_mixing"] in (True, False)
    assert "text" not in numbers["examples"][0]


def test_rows_with_missing_cells_are_left_out(router: hr.Router, digits: Tables) -> None:
    quality = digits[1].quality.copy()
    quality[:7, 1] = np.nan
    result = hr.evaluate(router, dataclasses.replace(digits[1], quality=quality), baselines=[], n_resamples=2)
    assert (result.n_test, result.n_dropped) == (233, 7)


def test_groups_are_resampled_whole(router: hr.Router, digits: Tables) -> None:
    lumped = dataclasses.replace(digits[1], groups=["a" if row else "b" for row in range(240)])
    result = hr.evaluate(router, lumped, baselines=[])
    assert len(np.unique(result["router"].resampled.round(9))) <= 3


def test_every_rule_and_kind_of_target_is_evaluated(digits: Tables) -> None:
    fitting, test = digits
    for rule in RULES:
        answer = "last" if rule == "threshold-cascade" else "best"
        fitted = hr.Router(rule=rule, answer=answer).fit(fitting, quality_target=0.8)
        result = hr.evaluate(fitted, test, baselines=["oracle"], n_resamples=20)
        assert result.chosen.quality_target == 0.8
        assert any("quality target 0.8" in sentence for sentence in result.verdict)
        assert result.flows.sum(axis=(1, 2)) == pytest.approx(1.0)
    promised = hr.Router().fit(fitting, budget=150.0, confidence=0.8)
    guarantee = hr.evaluate(promised, test, baselines=[], n_resamples=20).to_dict()["chosen"]["guarantee"]
    assert guarantee["limits"] == {"cost": 150.0}


def test_the_same_seed_gives_the_same_numbers(evaluation: Evaluation, router: hr.Router, digits: Tables) -> None:
    again = hr.evaluate(router, digits[1], fitting=digits[0], baselines=["routing"])
    assert again["routing"].interval == evaluation["routing"].interval
    other = hr.evaluate(router, digits[1], fitting=digits[0], baselines=["routing"], seed=1)
    assert other["routing"].interval != evaluation["routing"].interval


def test_budgets_of_ones_own_are_joined_by_the_routers(
    router: hr.Router, digits: Tables, evaluation: Evaluation
) -> None:
    fitting, test = digits
    own = [200.0, 30.0, float(evaluation.budgets[3])]
    result = hr.evaluate(router, test, fitting=fitting, budgets=own, baselines=["routing"], n_resamples=10)
    assert result.budgets.tolist() == sorted([*own, 60.0])
    assert result.budgets[result.at] == 60.0
    assert (result.n_fit, result.n_test) == (300, 240)
    at = int(np.searchsorted(result.budgets, own[2]))
    for name in ("router", "routing"):
        assert result[name].cost[at] == evaluation[name].cost[3]
        assert result[name].quality[at] == evaluation[name].quality[3]


def test_the_curves_of_a_replay_are_those_of_an_evaluation(evaluation: Evaluation, digits: Tables) -> None:
    fitting, test = digits
    router = hr.Router(quality="linear").fit(fitting, budget=60.0)
    curves = replayed(*cross_fitted(fitting, test, LinearQuality(), LinearCost()), ["cascade-routing", "index"])
    result = hr.evaluate(router, test, fitting=fitting, budgets=curves.budgets, baselines=["index"])
    here = np.isin(result.budgets, curves.budgets)
    for name, same in (("router", "cascade-routing"), ("index", "index")):
        np.testing.assert_array_equal(result[name].cost[here], curves[same].cost)
        np.testing.assert_array_equal(result[name].resampled_quality[:, here], curves[same].resampled_quality)


def test_means_are_summed_in_the_order_of_the_table() -> None:
    fitting, test = hr.datasets.simulate(2000, 3).split(0.5)
    router = hr.Router(rule="routing", quality=ConstantQuality(), cost=ConstantCost()).fit(fitting)
    result = hr.evaluate(router, test, baselines=[], n_resamples=2, n_examples=0)
    # Equal to the last bit, and not so with the columns picked one by one.
    assert [single.cost.value for single in result.singles] == test.mean_cost.tolist()
    assert test.select(test.models).mean_cost.tolist() != test.mean_cost.tolist()


def test_results_are_made_by_keywords_only(evaluation: Evaluation) -> None:
    for result in (evaluation, evaluation.methods[0], evaluation.chosen):
        values = [getattr(result, field.name) for field in dataclasses.fields(result)]
        with pytest.raises(TypeError, match="positional"):
            type(result)(*values)  # type: ignore[misc]


def test_progress_is_told(router: hr.Router, digits: Tables) -> None:
    told: list[tuple[str, float]] = []
    hr.evaluate(router, digits[1], baselines=["routing"], n_resamples=2, progress=lambda *args: told.append(args))
    assert {name for name, _ in told} == {"routing"}
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[0] > 0.0
    assert shares[-1] == 1.0


# What is refused


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"baselines": "routing"}, 'baselines: expected "all" or some of'),
        ({"baselines": ["routing", "lottery"]}, "got 'lottery'"),
        ({"estimation_cost": -1.0}, "estimation_cost: expected a finite number >= 0, got -1.0"),
        ({"estimation_cost": math.inf}, "estimation_cost: expected a finite number >= 0"),
        ({"estimation_cost": "2"}, "estimation_cost: expected a number, got '2'"),
        (
            {"estimation_cost": "measured"},
            "estimation_cost: only \"seconds\" can be measured, got 'measured' for 'cost'",
        ),
        ({"estimation_cost": {"usd": 1.0}}, "estimation_cost: unknown cost 'usd'; the table has 'cost'"),
        ({"estimation_per": "token"}, 'estimation_per: expected "query" or "decision"'),
        ({"budgets": [1.0, -2.0]}, "budgets: expected finite numbers >= 0, got -2"),
        ({"budgets": [1.0, math.nan]}, "budgets: expected finite numbers >= 0, got nan"),
        ({"budgets": []}, r"budgets: expected shape \(n_budgets,\), at least one, got \(0,\)"),
        ({"budgets": "many"}, "budgets: expected numbers, got 'many'"),
        ({"n_resamples": 1}, "n_resamples: expected an int >= 2, got 1"),
        ({"n_examples": -1}, "n_examples: expected an int >= 0, got -1"),
        ({"fitting": "table"}, "fitting: expected an Outcomes table, got str"),
    ],
)
def test_arguments_are_checked(keywords: dict[str, Any], message: str, router: hr.Router, digits: Tables) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        hr.evaluate(router, digits[1], **keywords)


def test_queries_of_the_fit_are_refused(router: hr.Router, digits: Tables) -> None:
    fitting, test = digits
    for seen in (fitting, test.concat(fitting.take(np.arange(40)))):
        with pytest.raises(ValueError, match=r"queries that the fit has not seen, got \d+ that are in `fitting`, too"):
            hr.evaluate(router, seen, fitting=fitting)
    # Two tables whose rows are numbered alike are not the same queries.
    numbered = [dataclasses.replace(part, ids=range(len(part))) for part in digits]
    again = hr.Router(rule="routing").fit(numbered[0], budget=60.0)
    assert hr.evaluate(again, numbered[1], fitting=numbered[0], baselines=[], n_resamples=10).n_test == len(test)


def test_tables_and_routers_are_checked(router: hr.Router, digits: Tables) -> None:
    test = digits[1]
    with pytest.raises(TypeError, match="router: expected a Router, got str"):
        hr.evaluate("router", test)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="router: expected a fitted router; call fit first"):
        hr.evaluate(hr.Router(), test)
    with pytest.raises(TypeError, match="outcomes: expected an Outcomes table, got list"):
        hr.evaluate(router, [])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown 'network'"):
        hr.evaluate(router, test.select(["svm", "centroid"]))
    with pytest.raises(ValueError, match=r"outcomes: expected the costs \('cost',\), got \('usd',\)"):
        hr.evaluate(router, dataclasses.replace(test, cost={"usd": test.cost}))
    with pytest.raises(
        ValueError, match=r"at least two models of different mean cost; all cost 1, so .* 'svm' has the best"
    ):
        hr.evaluate(router, dataclasses.replace(test, cost=np.ones(3)))
    alone = hr.Router().fit(digits[0].select(["svm"]))
    with pytest.raises(ValueError, match="outcomes: expected at least two models, got one, 'svm'; nothing to choose"):
        hr.evaluate(alone, test)
    with pytest.raises(ValueError, match="outcomes: expected at least 4 complete queries, got 2"):
        hr.evaluate(router, test.take([0, 1]))
