"""Several costs: tables that hold them, budgets and caps on each, and the exchange rates between them."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.calibration.exchange_rates import Walked, balance, one_cost
from headrace.calibration.walk import budget_path, walk
from headrace.policy import Policy
from headrace.policy.budget_path import BudgetPath
from headrace.rules import make_rule

Floats = npt.NDArray[np.float64]

MODELS = ("small", "medium", "large")
SEVERAL = {"usd": [1.0, 3.0, 10.0], "seconds": [4.0, 0.5, 2.0]}


class Given:
    """Estimates that are columns of the query."""

    def fit(self, queries: Mapping[str, Any], responses: hr.Responses, targets: Floats) -> Self:
        return self

    def predict(self, queries: Mapping[str, Any], responses: hr.Responses) -> hr.Belief:
        quality = np.where(responses.run, queries["after"], queries["before"])
        return hr.Belief(quality, variance=np.where(responses.run[0], 0.0, [0.09, 0.04, 0.02]))


class ExactCost:
    """What each cost will be: which one it is, is told by the targets of the fit."""

    def fit(self, queries: Mapping[str, Any], responses: hr.Responses, targets: Floats) -> Self:
        self.name = next(name for name in SEVERAL if np.array_equal(queries[name], targets))
        return self

    def predict(self, queries: Mapping[str, Any], responses: hr.Responses) -> Floats:
        return np.array(queries[self.name], dtype=np.float64)


def two_costs(seed: int = 0, n: int = 150, **fields: Any) -> hr.Outcomes:
    """Draw queries of which the cheapest model is the slowest, and estimates that are right on average."""
    rng = np.random.default_rng(seed)
    before = rng.uniform([0.2, 0.3, 0.4], [0.7, 0.8, 0.9], (n, 3))
    after = np.clip(before + rng.normal(size=(n, 3)) * [0.3, 0.2, 0.14], 0.0, 1.0)
    costs = {name: rng.uniform(0.5, 1.5, (n, 3)) * means for name, means in SEVERAL.items()}
    filled: dict[str, Any] = {
        "models": MODELS,
        "quality": (rng.uniform(size=(n, 3)) < after).astype(float),
        "cost": costs,
        "queries": {"before": before, "after": after, **costs},
    }
    return hr.Outcomes(**filled | fields)


def fitted(table: hr.Outcomes, rule: str = "cascade-routing", **options: Any) -> hr.Router:
    scale = {"uncertainty_scale": 1.0} if rule not in ("routing", "threshold-cascade") else {}
    router = hr.Router(quality=Given(), cost=ExactCost(), rule=rule, n_folds=2, **scale)
    return router.fit(table, **options)


def play(router: hr.Router, table: hr.Outcomes, row: int, **options: Any) -> hr.Session:
    query = {name: values[row] for name, values in table.queries.items()}
    session = router.start(query, **{"id": table.ids[row]} | options)
    while (model := session.next()) is not None:
        j = table.models.index(model)
        session.observe(model, {}, cost={name: float(cost[row, j]) for name, cost in table.costs.items()})
    return session


def served_costs(router: hr.Router, table: hr.Outcomes) -> dict[str, Floats]:
    sessions = [play(router, table, row) for row in range(len(table))]
    return {name: np.array([session.costs[name] for session in sessions]) for name in table.costs}


# Tables


def assert_same_costs(found: hr.Outcomes, costs: Mapping[str, Floats]) -> None:
    assert list(found.costs) == list(costs)
    for name, values in costs.items():
        np.testing.assert_array_equal(found.costs[name], values)
    first = next(iter(costs))
    assert found.cost_name == first
    np.testing.assert_array_equal(found.cost, costs[first])
    assert list(found.further_costs) == list(costs)[1:]


def test_a_table_holds_all_costs() -> None:
    table = two_costs()
    assert_same_costs(table, {name: table.queries[name] for name in SEVERAL})
    np.testing.assert_array_equal(table.mean_cost, table.costs["usd"].mean(axis=0))
    with pytest.raises(ValueError, match="read-only"):
        table.costs["seconds"][0, 0] = 1.0


def test_a_row_of_a_cost_holds_for_every_query() -> None:
    table = hr.Outcomes(models=["a", "b"], quality=np.ones((3, 2)), cost={"usd": [1, 2], "seconds": np.full((3, 2), 5)})
    assert table.costs["usd"].tolist() == [[1.0, 2.0]] * 3
    assert table.costs["seconds"].shape == (3, 2)


def test_all_costs_go_where_the_table_goes(tmp_path: Path) -> None:
    table = two_costs()
    costs = dict(table.costs)
    columns, rows = [2, 0], np.array([5, 3, 3, 7])
    assert_same_costs(table.select(["large", "small"]), {name: v[:, columns] for name, v in costs.items()})
    assert_same_costs(table.take(rows), {name: v[rows] for name, v in costs.items()})
    for part in table.split(0.3, rng=1):
        rows = np.array([int(name) for name in part.ids])
        assert_same_costs(part, {name: v[rows] for name, v in costs.items()})
    assert_same_costs(dataclasses.replace(table, quality=1.0 - table.quality), costs)
    assert_same_costs(pickle.loads(pickle.dumps(table)), costs)
    table.save(tmp_path / "table.jsonl")
    assert_same_costs(hr.Outcomes.from_file(tmp_path / "table.jsonl"), costs)


def test_a_replaced_cost_leaves_the_others() -> None:
    table = two_costs()
    doubled = dataclasses.replace(table, cost=2.0 * table.cost)
    assert_same_costs(doubled, {"usd": 2.0 * table.cost, "seconds": table.costs["seconds"]})


def test_several_columns_of_a_frame_are_costs() -> None:
    frame = {
        "a|quality": [1, 0],
        "b|quality": [1, 1],
        "a|usd": [0.1, 0.2],
        "b|usd": [1.0, 2.0],
        "a|seconds": [5, 6],
        "b|seconds": [7.0, None],
    }
    table = hr.Outcomes.from_frame(frame, cost=["seconds", "usd"])
    assert_same_costs(table, {"seconds": np.array([[5, 7], [6, np.nan]]), "usd": np.array([[0.1, 1.0], [0.2, 2.0]])})
    assert table.n_missing == 1
    np.testing.assert_array_equal(table.responses["usd"], table.costs["usd"])
    for wrong in ([], ["usd", "usd"], [1]):
        with pytest.raises(TypeError, match=r"cost: expected None, the name of a per-model column, or several"):
            hr.Outcomes.from_frame(frame, cost=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no per-model column 'eur'"):
        hr.Outcomes.from_frame(frame, cost=["usd", "eur"])


def test_a_further_cost_that_is_missing_counts_as_missing() -> None:
    seconds = two_costs(n=6).costs["seconds"].copy()
    seconds[2, 1] = np.nan
    table = dataclasses.replace(two_costs(n=6), further_costs={"seconds": seconds})
    assert table.n_missing == 1
    assert table.complete().ids == ("0", "1", "3", "4", "5")
    assert hr.Router(quality=Given(), n_folds=2).fit(table).n_dropped_ == 1


def test_a_model_without_any_further_cost_is_named() -> None:
    seconds = two_costs(n=20).costs["seconds"].copy()
    seconds[:, 1] = np.nan
    table = dataclasses.replace(two_costs(n=20), further_costs={"seconds": seconds})
    with pytest.raises(ValueError, match=r"outcomes: no quality or no cost at all for 'medium'; leave it out"):
        hr.Router(quality=Given()).fit(table)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"cost": {}}, ValueError, "cost: expected at least one cost"),
        ({"cost": {"usd": [1.0, 2.0, -3.0], "seconds": [1, 1, 1]}}, ValueError, "cost 'usd': .*model 'large'"),
        ({"cost": {"usd": [1, 1, 1], "seconds": [1.0, math.inf, 1]}}, ValueError, "cost 'seconds': .*model 'medium'"),
        ({"cost": {"usd": [1, 1]}}, ValueError, "cost: expected shape"),
        ({"cost": {"usd": [1, 1, 1], "seconds": [1, 1]}}, ValueError, "cost 'seconds': expected shape"),
        ({"cost": {"": [1, 1, 1]}}, TypeError, "cost: expected non-empty str"),
        ({"cost": {"quality": [1, 1, 1]}}, ValueError, "cost: expected another name"),
        ({"cost": {"usd": [1, 1, 1]}, "further_costs": {"s": [1, 1, 1]}}, ValueError, "expected all costs in one"),
        ({"cost": [1, 1, 1], "further_costs": {"cost": [1, 1, 1]}}, ValueError, "expected different names"),
    ],
)
def test_costs_that_make_no_sense_are_refused(fields: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        two_costs(**fields)


# Budgets


BUDGETS = {"usd": 3.5, "seconds": 2.0}


@pytest.mark.parametrize("rule", ["routing", "cascade-routing", "index"])
@pytest.mark.parametrize("budget", [BUDGETS, {"seconds": 1.5, "usd": 4.0}, {"usd": 3.0, "seconds": 3.0}])
def test_two_budgets_are_kept_and_one_is_used_up(rule: str, budget: dict[str, float]) -> None:
    router = fitted(two_costs(), rule, budget=budget)
    point = router.point_
    spent = {"usd": point.cost, **point.further_costs}
    assert all(spent[name] <= limit * (1.0 + 1e-12) for name, limit in budget.items())
    assert any(spent[name] == pytest.approx(limit, rel=1e-9) for name, limit in budget.items())
    assert router.budget_ == budget


def best_of_a_grid(table: hr.Outcomes, rule: str, settings: dict[str, Any], budget: dict[str, float]) -> float:
    """Try many exchange rates, and each policy of their paths."""
    best = -math.inf

    def believe(rate: float, rows: Any, run: Any, *, priced: bool = True) -> tuple[hr.Belief, Floats]:
        queries = {name: values[rows] for name, values in table.queries.items()}
        belief = Given().predict(queries, table.responses_for(run).take(rows))
        return belief, queries["usd"] + rate * queries["seconds"]

    for rate in np.geomspace(1e-3, 1e3, 120).tolist():
        stops = walk(make_rule(rule, 0.0, settings), table, functools.partial(believe, rate))
        path = budget_path(stops, table.costs)
        kept = np.all([path.costs[name] <= limit for name, limit in budget.items()], axis=0)
        best = max(best, float(path.quality[kept].max(initial=-math.inf)))
    return best


@pytest.mark.parametrize(("rule", "seconds"), [("routing", 1.5), ("cascade-routing", 2.0)])
def test_two_budgets_leave_the_quality_that_a_grid_finds(rule: str, seconds: float) -> None:
    binding = {"usd": 3.5, "seconds": seconds}
    table = two_costs(1, n=200)
    # Without the luck of draws of 0 and 1, of which the grid would find the best.
    table = dataclasses.replace(table, quality=table.queries["after"])
    router = fitted(table, rule)
    settings = {} if rule == "routing" else {"max_depth": 5, "uncertainty_scale": 1.0}
    for budget in (binding, {"usd": 6.0, "seconds": 2.2}):
        chosen = router.with_budget(budget)
        best = best_of_a_grid(table, rule, settings, budget)
        assert best - 0.01 < chosen.point_.quality < best + 0.002
    # Both budgets bind: one alone would exceed the other.
    assert router.with_budget({"usd": 3.5}).point_.further_costs["seconds"] > seconds
    assert router.with_budget({"seconds": seconds}).point_.cost > 3.5
    both = router.with_budget(binding)
    assert len(both.policy_.rates) == 2
    assert 0.0 < both.policy_.rates[1] < math.inf
    assert both.point_.cost == pytest.approx(3.5, rel=0.02)
    assert both.point_.further_costs["seconds"] == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize(("slack", "binding"), [("usd", {"seconds": 2.0}), ("seconds", {"usd": 3.5})])
def test_a_slack_budget_leaves_the_answer_for_the_other(slack: str, binding: dict[str, float]) -> None:
    router = fitted(two_costs(2))
    both, one = router.with_budget({slack: 1e6, **binding}), router.with_budget(binding)
    assert both.policy_ == one.policy_
    assert both.point_ == one.point_


def test_the_first_cost_alone_is_as_in_a_table_without_the_other() -> None:
    table = two_costs(3)
    single = dataclasses.replace(table, further_costs={})
    one, of_two = fitted(single, budget=3.5), fitted(table, budget=3.5)
    assert of_two.policy_.parameters == one.policy_.parameters
    assert of_two.policy_.share == one.policy_.share
    assert of_two.point_._replace(further_costs={}) == one.point_
    assert of_two.with_budget({"usd": 3.5}).policy_ == of_two.policy_


def test_both_budgets_slack_give_the_best_answer_at_any_price() -> None:
    router = fitted(two_costs(4), budget={"usd": 1e9, "seconds": math.inf})
    assert router.policy_.parameters == (0.0, 0.0)


def test_a_budget_that_one_cost_cannot_meet_names_it() -> None:
    router = fitted(two_costs(5))
    for name, other in (("usd", "seconds"), ("seconds", "usd")):
        with pytest.raises(ValueError, match=rf"^budget '{name}': expected at least [\d.]+, .*; got 0.01"):
            router.with_budget({name: 0.01, other: 100.0})
        with pytest.raises(ValueError, match=rf"^budget '{name}': expected at least"):
            router.with_budget({other: 100.0, name: 0.01})


def test_budgets_that_cannot_be_met_together_say_what_can() -> None:
    router = fitted(two_costs(6))
    wanted = {"usd": 1.2, "seconds": 0.6}
    for name, limit in wanted.items():
        assert router.with_budget({name: limit}).point_.quality > 0.0
    with pytest.raises(ValueError, match=r"^budget: no policy found that keeps usd = 1.2 and seconds = 0.6 together"):
        router.with_budget(wanted)


@pytest.mark.parametrize(
    ("budget", "error", "message"),
    [
        ({"eur": 1.0}, ValueError, r"budget: unknown cost 'eur'; known: 'usd', 'seconds'"),
        ({}, ValueError, r"budget: expected at least one cost"),
        ({"usd": "3"}, TypeError, r"budget: expected a number, got '3'"),
        ({"usd": True}, TypeError, r"budget: expected a number, got True"),
        ("3.5", TypeError, r"budget: expected a number, got '3.5'"),
        (True, TypeError, r"budget: expected a number, got True"),
        (math.nan, ValueError, r"budget 'usd': expected at least"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(budget: Any, error: type[Exception], message: str) -> None:
    router = fitted(two_costs(n=20))
    for ask in (lambda: router.with_budget(budget), lambda: fitted(two_costs(n=20), budget=budget)):
        with pytest.raises(error, match=message):
            ask()


def test_budgets_of_three_costs_are_too_many() -> None:
    table = two_costs(n=20)
    more = dataclasses.replace(table, further_costs={"seconds": table.costs["seconds"], "tokens": 2.0 * table.cost})
    with pytest.raises(ValueError, match=r"budget: expected budgets for at most two costs, got 3"):
        hr.Router(quality=Given(), n_folds=2).fit(more, budget={"usd": 5.0, "seconds": 2.0, "tokens": 9.0})


def test_a_budget_in_the_wrong_unit_states_the_range() -> None:
    router = fitted(dataclasses.replace(two_costs(7), further_costs={}))
    low, high = float(router.path_.cost.min()), float(router.path_.cost.max())
    with pytest.raises(ValueError, match=r"expected at least") as error:
        router.with_budget(0.0035)
    least = float(re.findall(r"at least (\S+),", str(error.value))[0])
    assert low <= least < 1.00002 * low
    assert f"{high:.6g}" in str(error.value)


def test_other_copies_of_a_router_do_not_change_this_one() -> None:
    table = two_costs(8, n=300)
    router = fitted(table, budget={"usd": 5.0, "seconds": 3.0}, confidence=0.8)
    before = router.with_budget({"usd": 5.0, "seconds": 3.0}, confidence=0.8)
    router.with_budget({"seconds": 1.5})
    after = router.with_budget({"usd": 5.0, "seconds": 3.0}, confidence=0.8)
    assert before.policy_ == after.policy_ == router.policy_
    assert before.guarantee_ == after.guarantee_ == router.guarantee_
    assert after.recalibrate(table).path_.cost.tolist() == before.recalibrate(table).path_.cost.tolist()


@pytest.mark.parametrize("budget", [{"usd": 4.5, "seconds": 2.6}, {"usd": 3.0, "seconds": 3.4}])
def test_two_budgets_can_be_promised(budget: dict[str, float]) -> None:
    # The cheapest model is too slow to be where the tests begin.
    router = fitted(two_costs(9, n=1000), budget=budget, confidence=0.9)
    assert router.guarantee_ is not None
    assert router.guarantee_.limits == budget
    assert router.point_.cost < budget["usd"]
    assert router.point_.further_costs["seconds"] < budget["seconds"]
    assert router.point_.cost > 0.7 * budget["usd"] or router.point_.further_costs["seconds"] > 0.7 * budget["seconds"]


def test_rates_are_balanced_where_both_budgets_are_used_up() -> None:
    def walk_at(rates: tuple[float, ...]) -> Walked:
        """Spend x of the first cost and 1/x of the second, and less of both as the cost weight rises."""
        first, second = (*rates, 0.0)[:2]
        ratio = math.sqrt(max(second, 1e-6) / max(first, 1e-6))
        weight = np.linspace(0.0, 1.0, 101)
        path = BudgetPath(
            weight,
            ratio * (1 - weight),
            1 - weight,
            np.ones(101),
            1,
            cost_name="a",
            further_costs={"b": (1 - weight) / ratio},
        )
        return Walked(rates, path, None)  # type: ignore[arg-type]  # no stop is looked at

    found = balance(walk_at, {"a": 0.6, "b": 0.3}, ["a", "b"])
    # The ratio of what is spent is that of the budgets: ratio squared = 2.
    assert found.rates == pytest.approx((1.0, 2.0), rel=0.05)
    assert one_cost(["a", "b", "c"], "b") == (0.0, 1.0)


# Sessions


def test_served_queries_cost_both_budgets() -> None:
    router = fitted(two_costs(10, n=800), budget=BUDGETS)
    assert len(router.policy_.rates) == 2
    fresh = two_costs(11, n=500)
    for name, costs in served_costs(router, fresh).items():
        std_error = costs.std() * math.sqrt(1 / 500 + 1 / 800)
        promised = {"usd": router.point_.cost, **router.point_.further_costs}[name]
        assert promised == pytest.approx(BUDGETS[name], rel=0.02)
        assert abs(costs.mean() - promised) < 3.0 * std_error


def test_a_served_walk_is_the_walk_of_the_path() -> None:
    table = two_costs(12)
    router = hr.Router(quality=Given(), cost=ExactCost(), n_folds=2, mix="deterministic").fit(table, budget=BUDGETS)
    costs = served_costs(router, table)
    assert costs["usd"].mean() == pytest.approx(router.point_.cost, abs=1e-12)
    assert costs["seconds"].mean() == pytest.approx(router.point_.further_costs["seconds"], abs=1e-12)


@pytest.mark.parametrize("budget", [3.5, {"seconds": 2.0}, BUDGETS])
@pytest.mark.parametrize("caps", [{"usd": 6.0}, {"seconds": 2.5}, {"usd": 6.0, "seconds": 2.5}])
def test_caps_are_kept(budget: Any, caps: dict[str, float]) -> None:
    table = two_costs(13, n=60)
    router = fitted(table, budget=budget)
    n_changed = 0
    for row in range(len(table)):
        session = play(router, table, row, max_cost=caps)
        assert all(session.costs[name] <= limit + 1e-12 for name, limit in caps.items())
        n_changed += session.run != play(router, table, row).run
    assert n_changed > 0


def test_a_number_caps_the_first_cost_and_a_name_any() -> None:
    table = two_costs(14, n=40)
    router = fitted(table, budget=BUDGETS)
    for row in range(len(table)):
        by_number = play(router, table, row, max_cost={"usd": 8.0, "seconds": 3.0})
        by_name = play(router, table, row, max_cost={"usd": 8.0, "seconds": 3.0})
        assert by_number.run == by_name.run
        alone = play(router, table, row, max_cost={"seconds": 3.0})
        assert alone.costs["seconds"] <= 3.0


def test_a_cap_that_no_model_keeps_is_an_error_before_the_first_run() -> None:
    table = two_costs(15, n=20)
    router = fitted(table, budget=BUDGETS)
    with pytest.raises(ValueError, match=r"max_cost: expected at least 0\.\d+ for 'seconds', .*; got 0.01"):
        play(router, table, 0, max_cost={"seconds": 0.01})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_cost": {"eur": 1.0}}, "max_cost: unknown cost 'eur'"),
        ({"max_cost": -1.0}, "max_cost: expected a number >= 0"),
        ({"max_cost": {"usd": math.nan}}, "max_cost: expected a number >= 0"),
        ({"max_cost": "3"}, "max_cost: expected a number >= 0"),
        ({"max_cost": {"seconds": -0.5}}, "max_cost: expected a number >= 0"),
    ],
)
def test_caps_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    table = two_costs(n=20)
    with pytest.raises(ValueError, match=message):
        play(fitted(table, budget=4.0), table, 0, **options)


def test_a_session_adds_up_each_cost() -> None:
    table = two_costs(16, n=20)
    router = fitted(table, budget=BUDGETS)
    session = router.start({name: values[0] for name, values in table.queries.items()}, id="0")
    assert session.costs == {"usd": 0.0, "seconds": 0.0}
    session.observe("small", {}, cost={"usd": 2.0, "seconds": 1.0})
    # A number is the first cost; what isn't given is the estimate, here exact.
    session.observe("medium", {}, cost=5.0)
    seconds = float(table.costs["seconds"][0, 1])
    assert session.costs == {"usd": 7.0, "seconds": pytest.approx(1.0 + seconds)}
    # A response may carry costs by their names.
    session.observe("large", {"seconds": 0.25, "usd": 1.0})
    assert session.costs == {"usd": 8.0, "seconds": pytest.approx(1.25 + seconds)}
    assert session.cost == 8.0
    with pytest.raises(ValueError, match=r"cost: unknown cost 'eur'; known: 'usd', 'seconds'"):
        router.start({}, id="1", strict=False).observe("small", {}, cost={"eur": 1.0})


def test_an_explanation_names_each_cost() -> None:
    table = two_costs(17, n=20)
    session = play(fitted(table, budget=BUDGETS), table, 0)
    explained = json.loads(json.dumps(session.why().to_dict()))
    assert explained["spent"] == pytest.approx(session.costs)
    for j, model in enumerate(explained["models"]):
        assert model["costs"] == {name: pytest.approx(table.costs[name][0, j]) for name in SEVERAL}
    single = dataclasses.replace(table, further_costs={})
    session = play(fitted(single, budget=4.0), single, 0)
    assert session.why().spent == session.costs


def test_a_policy_with_rates_survives_json() -> None:
    table = two_costs(18, n=40)
    router = hr.Router(quality=Given(), cost=ExactCost(), n_folds=2).fit(table, budget=BUDGETS)
    policy = router.policy_
    assert policy.costs == ("usd", "seconds")
    assert len(policy.rates) == 2
    assert Policy.from_json(policy.to_json()) == policy
    with pytest.raises(ValueError, match=r"rates: expected one for each of the costs"):
        dataclasses.replace(policy, rates=(1.0, 1.0, 1.0))


def test_numpy_integers_are_settings() -> None:
    table = two_costs(19, n=40)
    given = {"seed": np.int64(3), "n_folds": np.int32(2), "max_depth": np.int64(2)}
    plain = {name: int(value) for name, value in given.items()}
    one, other = (
        hr.Router(quality=Given(), cost=ExactCost(), **settings).fit(table, budget=BUDGETS)  # type: ignore[arg-type]
        for settings in (given, plain)
    )
    assert one.policy_ == other.policy_
    assert Policy.from_json(one.policy_.to_json()) == one.policy_


def test_a_router_for_several_costs_survives_a_pickle() -> None:
    table = two_costs(20, n=40)
    router = fitted(table, budget=BUDGETS)
    copy = pickle.loads(pickle.dumps(router))
    assert copy.policy_ == router.policy_
    assert copy.with_budget({"seconds": 2.0}).policy_ == router.with_budget({"seconds": 2.0}).policy_
