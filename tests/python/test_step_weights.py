"""Step weights: walks against a plain loop, their search, and sessions that follow them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.belief_table import BeliefTable
from headrace.calibration import calibrate, path_area, search_step_weights
from headrace.datasets import NoisyOracle, simulate
from headrace.estimators import ConstantCost
from headrace.policy import make_rule
from headrace.walk import Stops, budget_path, step_weight, walk

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

WEIGHTS = [(1.0, 0.5), (1.0, 2.0, 0.3), (0.7,), (2.0, 1.0, 1.0, 0.1, 5.0)]

MAKERS: dict[str, Callable[[float], hr.Rule]] = {
    "routing": hr.Routing,
    "cascade": lambda cost_weight: hr.Cascade(cost_weight, order=[1, 3, 0, 2]),
    "cascade-routing": hr.CascadeRouting,
    "index": hr.IndexRule,
}

# Next to an end of a stretch, either neighbour is right to the accuracy of the values.
NEAR_AN_END = 1e-5


class Estimates:
    """Estimates that are columns of the query, one quality before a run and another after."""

    def fit(self, queries: Mapping[str, Any], responses: hr.Responses, targets: Floats) -> Self:
        return self

    def predict(self, queries: Mapping[str, Any], responses: hr.Responses) -> hr.Belief:
        quality = np.where(responses.run, queries["after"], queries["before"])
        return hr.Belief(quality, variance=np.where(responses.run[0], 0.0, [0.09, 0.04, 0.02, 0.06]))


class Prices:
    """Costs that are a column of the query."""

    def fit(self, queries: Mapping[str, Any], responses: hr.Responses, targets: Floats) -> Self:
        return self

    def predict(self, queries: Mapping[str, Any], responses: hr.Responses) -> Floats:
        return np.array(queries["price"], dtype=np.float64)


def some_table(seed: int = 0, n: int = 20) -> hr.Outcomes:
    rng = np.random.default_rng(seed)
    return hr.Outcomes(
        models=["a", "b", "c", "d"],
        quality=rng.uniform(size=(n, 4)),
        cost=rng.uniform(0.05, 0.6, (n, 4)),
        queries={
            "before": rng.uniform(0.3, 0.9, (n, 4)),
            "after": rng.uniform(0.1, 1.0, (n, 4)),
            "price": rng.uniform(0.05, 0.6, (n, 4)),
        },
    )


def believed(table: hr.Outcomes) -> BeliefTable:
    return BeliefTable(table, [(np.arange(len(table)), Estimates(), (Prices(),))])


def looped(make: Callable[[float], hr.Rule], cost_weight: float, weights: Any, table: hr.Outcomes, row: int) -> Any:
    """Decide step by step, each step by a rule with the cost weight of that step."""
    believe = believed(table)
    ran: list[int] = []
    while True:
        factor = weights[min(len(ran), len(weights) - 1)]
        belief, cost = believe(np.array([row]), np.isin(np.arange(4), ran))
        variance = belief.variance if belief.variance is None or belief.variance.ndim == 1 else belief.variance[0]
        decision = make(cost_weight * factor).select(belief.quality[0], cost[0], variance=variance, run=ran)
        if decision.next is None:
            answer = max(ran, key=lambda j: float(belief.quality[0, j]))
            return sum(1 << j for j in ran), answer
        ran.append(decision.next)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("kind", MAKERS)
def test_a_walk_with_step_weights_is_that_of_a_loop(kind: str, weights: tuple[float, ...]) -> None:
    table = some_table()
    stops = walk(MAKERS[kind](0.4), table, believed(table), step_weights=weights)
    ends = np.concatenate([stops.lower, stops.upper])
    drawn = np.exp(np.random.default_rng(1).uniform(math.log(0.02), math.log(10.0), 25)).tolist()
    seen = set()
    for cost_weight in [0.0, *(value for value in drawn if np.abs(ends - value).min() > NEAR_AN_END)]:
        here = stops.at(cost_weight)
        loop = [looped(MAKERS[kind], cost_weight, weights, table, row) for row in range(len(table))]
        assert list(zip(stops.run[here].tolist(), stops.answer[here].tolist(), strict=True)) == loop, cost_weight
        seen.update(run for run, _ in loop)
    assert len(seen) > 3


def columns(stops: Stops) -> list[Any]:
    return [values.tolist() for values in stops]


@pytest.mark.parametrize("kind", MAKERS)
def test_weights_that_are_all_one_change_nothing(kind: str) -> None:
    table = some_table(2)
    plain, ones = (walk(MAKERS[kind](1.0), table, believed(table), step_weights=w) for w in ((), (1.0, 1.0, 1.0)))
    assert columns(plain) == columns(ones)
    others = walk(MAKERS[kind](1.0), table, believed(table), step_weights=(1.0, 0.4))
    assert (columns(plain) == columns(others)) == (kind == "routing")


def test_one_factor_for_all_steps_is_another_unit_of_the_cost_weight() -> None:
    table = some_table(3)
    plain, halved = (walk(hr.CascadeRouting(1.0), table, believed(table), step_weights=w) for w in ((), (0.5,)))
    for cost_weight in (0.1, 0.5, 2.0):
        one, other = plain.at(cost_weight), halved.at(2.0 * cost_weight)
        assert plain.run[one].tolist() == halved.run[other].tolist()


def test_the_last_weight_holds_for_all_further_steps() -> None:
    assert [step_weight((1.0, 0.5, 0.25), step) for step in range(5)] == [1.0, 0.5, 0.25, 0.25, 0.25]
    assert [step_weight((), step) for step in range(3)] == [1.0, 1.0, 1.0]


# The search


def searched(table: hr.Outcomes, believe: BeliefTable) -> tuple[float, ...]:
    search = search_step_weights("cascade-routing", believe, {"max_depth": 3, "uncertainty_scale": 1.0})
    return search.found if search.kept else ()


def areas_of(table: hr.Outcomes, believe: BeliefTable, weights: tuple[float, ...]) -> list[float]:
    """Areas under the paths of all queries and of either half, each walked by itself."""
    rule = make_rule("cascade-routing", 0.0, {"max_depth": 3, "uncertainty_scale": 1.0})
    half = table.folds(2, rng=0)
    areas = []
    for rows in (np.ones(len(table), np.bool_), half == 0, half == 1):
        part = table.take(rows)
        own = BeliefTable(part, [(np.arange(len(part)), *believe.estimators[0])])
        areas.append(path_area(budget_path(walk(rule, part, own, step_weights=weights), part.costs), part))
    return areas


@pytest.mark.parametrize("seed", range(6))
def test_weights_that_are_found_enlarge_the_area(seed: int) -> None:
    table = some_table(seed, 60)
    believe = believed(table)
    weights = searched(table, believe)
    if not weights:
        return
    assert weights[0] == 1.0
    assert len(weights) == 3
    assert set(weights) <= {1.0, 0.5, 0.7, 1.4, 2.0}
    assert areas_of(table, believe, weights)[0] > areas_of(table, believe, (1.0,))[0]


def best_of_a_half(table: hr.Outcomes, believe: BeliefTable, which: int) -> tuple[float, ...]:
    """Search step by step, each candidate's factor holding for all further steps."""
    weights = (1.0, 1.0, 1.0)
    for step in (1, 2):
        tried = [(*weights[:step], *(factor,) * (3 - step)) for factor in (1.0, 0.5, 0.7, 1.4, 2.0)]
        weights = max(tried, key=lambda candidate: areas_of(table, believe, candidate)[which])
    return weights


def test_weights_are_kept_only_where_both_held_out_halves_gain() -> None:
    n_kept = n_left = 0
    for seed in range(6):
        table = some_table(seed, 40)
        believe = believed(table)
        constant = areas_of(table, believe, (1.0,))
        gains = []
        for other, here in ((1, 2), (2, 1)):
            found = best_of_a_half(table, believe, other)
            gains.append(areas_of(table, believe, found)[here] - constant[here])
        weights = searched(table, believe)
        if min(gains) > 0.0:
            assert weights == best_of_a_half(table, believe, 0)
            n_kept += 1
        else:
            assert weights == ()
            n_left += 1
    assert n_kept > 0
    assert n_left > 0


@pytest.mark.parametrize(("rule", "settings"), [("routing", {}), ("index", {}), ("cascade-routing", {"max_depth": 1})])
def test_rules_of_one_step_and_the_index_rule_have_none(rule: str, settings: dict[str, Any]) -> None:
    assert search_step_weights(rule, believed(some_table()), settings) == ((), False)


def test_a_router_searches_if_it_is_asked_to() -> None:
    for seed in range(4):
        table = some_table(seed, 60)
        router = hr.Router(
            quality=Estimates(), cost=Prices(), step_weights="search", uncertainty_scale=1.0, max_depth=3
        )
        router.fit(table, budget=0.5)
        chosen = calibrate(
            "cascade-routing",
            believed(table),
            settings={"max_depth": 3},
            uncertainty_scale=1.0,
            step_weights="search",
        )
        assert (
            router.step_weights_
            == router.policy_.step_weights
            == chosen.step_weights
            == searched(table, believed(table))
        )
        np.testing.assert_array_equal(router.path_.cost, chosen.path.cost)


# Sessions


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("rule", ["cascade-routing", "cascade", "index"])
def test_sessions_follow_the_weights(rule: str, weights: tuple[float, ...]) -> None:
    table = some_table(4, 40)
    router = hr.Router(
        quality=Estimates(), cost=Prices(), rule=rule, step_weights=weights, uncertainty_scale=1.0, mix="deterministic"
    ).fit(table)
    assert router.step_weights_ == weights
    for budget in np.linspace(1.01 * router.path_.cost.min(), 0.9 * router.path_.cost.max(), 5).tolist():
        chosen = router.with_budget(budget)
        costs, qualities = [], []
        for row, name in enumerate(table.ids):
            session = chosen.start({key: values[row] for key, values in table.queries.items()}, id=name)
            while (model := session.next()) is not None:
                session.observe(model, {}, cost=float(table.cost[row, table.models.index(model)]))
            costs.append(session.cost)
            qualities.append(table.quality[row, table.models.index(session.model)])
        assert np.mean(costs) == pytest.approx(chosen.point_.cost, abs=1e-12)
        assert np.mean(qualities) == pytest.approx(chosen.point_.quality, abs=1e-12)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_cap_is_kept_whatever_the_weights(weights: tuple[float, ...]) -> None:
    table = some_table(5, 40)
    router = hr.Router(quality=Estimates(), cost=Prices(), step_weights=weights, uncertainty_scale=1.0)
    router.fit(table).with_budget(1.0)
    free = router.with_budget(0.9 * float(router.path_.cost.max()))
    n_runs = []
    for row, cap in itertools.product(range(len(table)), (0.6, 0.9)):
        query = {key: values[row] for key, values in table.queries.items()}
        session = free.start(query, max_cost=cap)
        while (model := session.next()) is not None:
            session.observe(model, {})
        assert session.cost <= cap + 1e-12
        n_runs.append(len(session.run))
    assert max(n_runs) > 1


@pytest.mark.parametrize("weights", [[1.0, 0.0], [-1.0], [math.nan], [1.0, math.inf], ["1"], [True], "all", 2.0])
def test_weights_that_make_no_sense_are_refused(weights: Any) -> None:
    with pytest.raises(ValueError, match=r'^step_weights: expected finite numbers > 0, or "search", got'):
        hr.Router(step_weights=weights).fit(some_table())


def test_numpy_weights_are_numbers() -> None:
    table = simulate(60, 3)
    routers = [
        hr.Router(quality=NoisyOracle(), cost=ConstantCost(), step_weights=weights, n_folds=2).fit(table, budget=0.003)
        for weights in (np.array([1.0, 0.5]), [1.0, 0.5])
    ]
    assert routers[0].policy_.to_json() == routers[1].policy_.to_json()
