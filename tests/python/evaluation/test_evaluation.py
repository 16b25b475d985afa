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
from headrace.calibration.settings import calibrate
from headrace.calibration.walk import walk
from headrace.estimators import ConstantCost, ConstantQuality, LinearCost, LinearQuality
from headrace.evaluation import Evaluation, replayed
from headrace.evaluation import evaluation as evaluation_module
from headrace.evaluation.arguments import checked_baselines
from headrace.evaluation.baselines import BASELINES
from headrace.evaluation.bootstrap import Estimate, estimate, interval
from headrace.evaluation.curves import cross_fitted
from headrace.evaluation.metrics import cost_at_quality, quality_at_cost
from headrace.evaluation.replay import join, replay
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


def test_a_baseline_with_the_fitting_table_is_a_router_fitted_on_it(evaluation: Evaluation, digits: Tables) -> None:
    fitting, test = digits
    other = hr.evaluate(hr.Router(rule="index").fit(fitting, budget=60.0), test, baselines=[], n_resamples=20)
    same = np.isin(other.budgets, evaluation.budgets)
    here = np.isin(evaluation.budgets, other.budgets)
    assert same.sum() > 15
    np.testing.assert_allclose(other["router"].quality[same], evaluation["index"].quality[here], atol=EXACT)
    np.testing.assert_allclose(other["router"].cost[same], evaluation["index"].cost[here], rtol=EXACT)


@pytest.mark.parametrize("rule", RULES)
def test_all_baselines_are_all_that_are_not_the_router_itself(rule: str) -> None:
    """A router's cascade runs all models; the baseline of that name chooses its chain."""
    itself = {rule} & {"cascade-routing", "index"}
    assert set(checked_baselines("all", rule)) == set(BASELINES) - itself


def test_without_the_fitting_table_each_half_calibrates_the_other(router: hr.Router, digits: Tables) -> None:
    test = digits[1]
    result = hr.evaluate(router, test, baselines=["index", "linear interpolation"], n_resamples=20)
    assert result.calibrated_on == "the other half of the test queries"
    half = test.folds(2, rng=0)
    expected = np.zeros(len(result.budgets))
    for h in (0, 1):
        known, asked = (BeliefTable.served(test.take(half == g), router.estimators_) for g in (1 - h, h))
        chosen = calibrate("index", known)
        path, stops = chosen.path, walk(make_rule("index", 0.0, chosen.settings), asked.outcomes, asked)
        for i, budget in enumerate(result.budgets):
            point = path.at(budget=max(budget, path.cost.min()))
            cheap, costly = (stops.cost[stops.at(parameter)].sum() for parameter in point.parameters)
            expected[i] += (point.share * cheap + (1.0 - point.share) * costly) / test.n_queries
    np.testing.assert_allclose(result["index"].cost, expected, rtol=EXACT)


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


# Results as text and numbers


def test_the_summary_names_everything(evaluation: Evaluation) -> None:
    text = evaluation.summary()
    for word in ("this router", "oracle", "svm", "threshold cascade", "area", "answered by"):
        assert word in text
    assert text.startswith(evaluation.verdict[0])
    assert repr(evaluation).startswith("Evaluation(cascade-routing, 240 queries, 12 methods: ")


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
        assert any("quality target of 80.0%" in sentence for sentence in result.verdict)
        assert result.flows.sum(axis=(1, 2)) == pytest.approx(1.0)
    promised = hr.Router().fit(fitting, budget=150.0, confidence=0.8)
    judged = hr.evaluate(promised, test, baselines=[], n_resamples=20)
    guarantee = judged.to_dict()["chosen"]["guarantee"]
    assert guarantee["limits"] == {"cost": 150.0}
    assert promised.guarantee_ is not None
    assert guarantee["condition"] == promised.guarantee_.condition
    assert f"guaranteed with probability 0.8, {promised.guarantee_.condition}" in judged.summary()


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
            type(result)(*values)  # type: ignore[call-arg, misc]


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
        with pytest.raises(ValueError, match=r"queries that the fit has not seen[;,]"):
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


def test_the_estimators_of_the_own_fit_are_those_fitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fitting, test = hr.datasets.simulate(300, 3).split(0.5)
    router = hr.Router(rule="cascade-routing").fit(fitting, budget=1.0)
    fits: list[int] = []

    def counted(*tables: Any, **settings: Any) -> Any:
        fits.append(1)
        return cross_fitted(*tables, **settings)

    monkeypatch.setattr(evaluation_module, "cross_fitted", counted)
    own = hr.evaluate(router, test, fitting=fitting, n_resamples=20, n_examples=0)
    assert not fits
    # The same queries in a table of its own: nothing tells that the router knows them.
    again = hr.evaluate(router, test, fitting=fitting.take(np.arange(len(fitting))), n_resamples=20, n_examples=0)
    assert fits
    assert [method.name for method in own.methods] == [method.name for method in again.methods]
    for mine, other in zip(own.methods, again.methods, strict=True):
        np.testing.assert_allclose(mine.resampled, other.resampled, atol=1e-12)


def test_a_recalibrated_router_is_judged_by_estimators_fitted_again() -> None:
    fitting, rest = hr.datasets.simulate(450, 3).split(0.34)
    new, test = rest.split(0.5)
    router = hr.Router(rule="cascade-routing").fit(fitting, budget=1.0).recalibrate(new)
    names = ["routing", "greedy"]
    own, again = (
        hr.evaluate(router, test, fitting=table, baselines=names, n_resamples=20, n_examples=0)
        for table in (new, new.take(np.arange(len(new))))
    )
    for name in names:
        np.testing.assert_allclose(own[name].resampled, again[name].resampled, atol=1e-12)
