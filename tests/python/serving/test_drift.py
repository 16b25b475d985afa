"""Drift: the monitor's false alarms and detections, the controller's budget, and a log's new prices."""

from __future__ import annotations

import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.estimators import ConstantCost
from headrace.serving import BudgetController, ConfidenceSequence, Monitor, Promised

Floats = npt.NDArray[np.float64]

BUDGET = 0.003
N_SDS = 3.0


class SizeCost:
    """Costs proportional to a query's size: those of the simulation, exactly."""

    def fit(self, queries: Any, responses: hr.Responses, targets: Floats) -> SizeCost:
        self.each = targets.sum(axis=0) / queries["size"].sum()
        return self

    def predict(self, queries: Any, responses: hr.Responses) -> Floats:
        return np.asarray(queries["size"][:, None] * self.each)


def watching(
    router: hr.Router, promised: dict[str, list[float]], ends: dict[str, tuple[float, float]], confidence: float
) -> Monitor:
    """Give a monitor of a router that has promised something else."""
    told = Promised({name: np.array(values) for name, values in promised.items()}, ends)
    return Monitor(dataclasses.replace(router.decider_, promised=told), confidence=confidence)


def routed(cost: Any = None, **settings: Any) -> hr.Router:
    given = {"rule": "routing", "n_folds": 2} | settings
    return hr.Router(quality=NoisyOracle(fusion=True), cost=ConstantCost() if cost is None else cost, **given)


def decided(router: hr.Router, table: hr.Outcomes) -> npt.NDArray[np.intp]:
    """Model that a routing router chooses for each query."""
    nothing_ran = table.responses_for(np.zeros(table.n_models, np.bool_))
    estimators = router.estimators_[0]
    belief = estimators[0].predict(table.queries, nothing_ran)
    cost = estimators[1][0].predict(table.queries, nothing_ran)
    cheap, costly = (r.select_batch(belief.quality, cost, variance=belief.variance) for r in router.policy_.rules)
    is_cheap = [router.policy_.rule_for(name) is router.policy_.rules[0] for name in table.ids]
    return np.asarray(np.where(is_cheap, cheap, costly))


# The confidence sequence


def interval_of_the_paper(values: Floats, alpha: float) -> tuple[float, float]:
    """Compute the interval of Waudby-Smith and Ramdas (2024), theorem 2, from all values at once, intersected."""
    t = np.arange(1, len(values) + 1)
    mean = (0.5 + np.cumsum(values)) / (t + 1)
    variance = (0.25 + np.cumsum((values - mean) ** 2)) / (t + 1)
    mean_before, variance_before = np.append(0.5, mean[:-1]), np.append(0.25, variance[:-1])
    bet = np.minimum(np.sqrt(2.0 * np.log(2.0 / alpha) / (variance_before * t * np.log(1.0 + t))), 0.5)
    v = 4.0 * (values - mean_before) ** 2
    psi = (-np.log(1.0 - bet) - bet) / 4.0
    centre = np.cumsum(bet * values) / np.cumsum(bet)
    radius = (np.log(2.0 / alpha) + np.cumsum(v * psi)) / np.cumsum(bet)
    return max(0.0, float((centre - radius).max())), min(1.0, float((centre + radius).min()))


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("n", [1, 2, 30, 2000])
def test_a_sequence_is_that_of_the_paper(n: int, confidence: float) -> None:
    values = np.random.default_rng(n).beta(0.5, 2.0, n)
    sequence = ConfidenceSequence(2.0, 5.0, confidence)
    for value in values.tolist():
        sequence.add(2.0 + 3.0 * value)
    low, high = interval_of_the_paper(values, 1.0 - confidence)
    assert sequence.interval == pytest.approx((2.0 + 3.0 * low, 2.0 + 3.0 * high), abs=1e-9)
    assert sequence.mean == pytest.approx(2.0 + 3.0 * values.mean(), abs=1e-12)
    assert sequence.n == n


def test_a_sequence_holds_at_all_times_at_once() -> None:
    rng = np.random.default_rng(0)
    n_wrong = 0
    for repeat in range(400):
        sequence = ConfidenceSequence(0.0, 1.0, 0.8)
        heads = rng.uniform(size=400) < 0.1
        for value in heads.tolist() if repeat % 2 else (0.2 * rng.uniform(size=400)).tolist():
            sequence.add(value)
        # The interval only ever shrinks: if the mean was outside once, it is now.
        low, high = sequence.interval
        n_wrong += not low <= 0.1 <= high
    assert n_wrong / 400 <= 0.2 + N_SDS * math.sqrt(0.2 * 0.8 / 400)


def test_values_outside_count_as_the_nearer_end() -> None:
    one, other = ConfidenceSequence(0.0, 1.0, 0.9), ConfidenceSequence(0.0, 1.0, 0.9)
    for value in (-3.0, 0.5, 7.0):
        one.add(value)
        other.add(min(max(value, 0.0), 1.0))
    assert one.interval == other.interval


def test_an_interval_before_the_first_value_is_all_there_is() -> None:
    sequence = ConfidenceSequence(-1.0, 3.0, 0.9)
    assert sequence.interval == (-1.0, 3.0)
    assert math.isnan(sequence.mean)


def test_values_that_are_all_alike() -> None:
    sequence = ConfidenceSequence(1.0, 1.0, 0.9)
    for _ in range(10):
        sequence.add(1.0)
    assert sequence.interval == pytest.approx((1.0, 1.0))


# The monitor


def test_there_are_no_more_false_alarms_than_promised(router: hr.Router) -> None:
    confidence, n_streams = 0.8, 200
    rng = np.random.default_rng(1)
    n_alarms = 0
    for _ in range(n_streams):
        # What was promised is a sample, too.
        promised = {"cost": rng.exponential(size=150).tolist(), "quality": (rng.uniform(size=150) < 0.7).tolist()}
        monitor = watching(router, promised, {"cost": (0.0, 10.0), "quality": (0.0, 1.0)}, confidence)
        for cost, right in zip(rng.exponential(size=300).tolist(), rng.uniform(size=300) < 0.7, strict=True):
            monitor.observe(cost, quality=float(right))
            if monitor.drifted:
                n_alarms += 1
                break
    assert n_alarms / n_streams <= 1.0 - confidence + N_SDS * math.sqrt(confidence * (1.0 - confidence) / n_streams)


@pytest.fixture(scope="module")
def population() -> hr.Outcomes:
    return simulate(6000, 3, rng=2)


@pytest.fixture(scope="module")
def router(population: hr.Outcomes) -> hr.Router:
    calibration = population.take(np.arange(1500))
    return routed().fit(simulate(300, 3, rng=3), calibration=calibration, budget=BUDGET)


@pytest.fixture(scope="module")
def stream(router: hr.Router, population: hr.Outcomes) -> tuple[Floats, Floats]:
    """Cost and quality of fresh queries under the router's policy."""
    fresh = population.take(np.arange(1500, 6000))
    chosen = decided(router, fresh)
    rows = np.arange(len(fresh))
    return fresh.cost[rows, chosen], fresh.quality[rows, chosen]


def watched(monitor: Monitor, costs: Floats, qualities: Floats) -> dict[str, str]:
    for cost, quality in zip(costs.tolist(), qualities.tolist(), strict=True):
        monitor.observe(cost, quality=quality)
    return {watch.name: watch.verdict for watch in monitor.report()}


def test_queries_like_those_of_the_calibration_raise_no_alarm(router: hr.Router, stream: tuple[Floats, Floats]) -> None:
    monitor = Monitor(router.decider_, confidence=0.95)
    assert watched(monitor, *stream) == {"cost": "as promised", "quality": "as promised"}
    assert not monitor.drifted
    cost, quality = monitor.report()
    assert (cost.n, quality.n) == (4500, 4500)
    assert cost.mean == pytest.approx(stream[0].mean())
    assert cost.promised == pytest.approx(router.point_.cost) == pytest.approx(BUDGET)
    assert quality.promised == pytest.approx(router.point_.quality)
    assert cost.promised_low < BUDGET < cost.promised_high
    assert cost.low < cost.mean < cost.high


@pytest.mark.parametrize(
    ("factor", "n_wrong", "verdicts"),
    [
        (1.5, 0.0, {"cost": "above", "quality": "as promised"}),
        (0.5, 0.0, {"cost": "below", "quality": "as promised"}),
        (1.0, 0.2, {"cost": "as promised", "quality": "below"}),
        (1.5, 0.2, {"cost": "above", "quality": "below"}),
    ],
)
def test_drift_is_seen_with_its_direction(
    router: hr.Router, stream: tuple[Floats, Floats], factor: float, n_wrong: float, verdicts: dict[str, str]
) -> None:
    monitor = Monitor(router.decider_)
    spoilt = stream[1] * (np.random.default_rng(4).uniform(size=len(stream[1])) >= n_wrong)
    assert watched(monitor, factor * stream[0], spoilt) == verdicts
    assert monitor.drifted


def test_better_answers_are_seen(router: hr.Router, stream: tuple[Floats, Floats]) -> None:
    assert watched(Monitor(router.decider_), stream[0], np.ones_like(stream[1]))["quality"] == "above"


def test_a_sorted_calibration_table_promises_the_same(router: hr.Router, population: hr.Outcomes) -> None:
    calibration = population.take(np.arange(1500))
    spent = calibration.cost[np.arange(1500), decided(router, calibration)]
    by_spend = calibration.take(spent.argsort())
    sorted_router = routed().fit(simulate(300, 3, rng=3), calibration=by_spend, budget=BUDGET)
    cost = Monitor(sorted_router.decider_).report()[0]
    assert cost.promised == pytest.approx(Monitor(router.decider_).report()[0].promised)
    assert cost.promised_low < cost.promised < cost.promised_high


def test_each_quantity_is_watched_at_its_share_of_the_error(router: hr.Router) -> None:
    promised = {"usd": [1.0, 2.0, 3.0], "seconds": [4.0, 5.0], "quality": [0.0, 1.0, 1.0]}
    ends = {"usd": (0.0, 6.0), "seconds": (0.0, 10.0), "quality": (0.0, 1.0)}
    monitor = watching(router, promised, ends, 0.9)
    for _ in range(40):
        monitor.observe({"usd": 2.5, "seconds": 9.0}, quality=0.25)
    for watch, seen in zip(monitor.report(), (2.5, 9.0, 0.25), strict=True):
        # Three quantities and three models; of a quantity what was promised and what is seen: a twelfth of 0.1.
        before, now = (ConfidenceSequence(*ends[watch.name], 1.0 - 0.1 / 12.0) for _ in range(2))
        for value in promised[watch.name]:
            before.add(value)
        for _ in range(40):
            now.add(seen)
        assert (watch.promised_low, watch.promised_high) == pytest.approx(before.interval)
        assert (watch.low, watch.high) == pytest.approx(now.interval)


def test_a_verdict_needs_intervals_that_do_not_meet(router: hr.Router) -> None:
    for level, verdict in ((0.9, "above"), (0.1, "below")):
        monitor = watching(router, {"cost": [0.5, 0.5, 0.4, 0.6] * 50}, {"cost": (0.0, 1.0)}, 0.95)
        verdicts = []
        for _ in range(200):
            monitor.observe(level)
            (watch,) = monitor.report()
            apart = watch.low > watch.promised_high or watch.high < watch.promised_low
            assert watch.verdict == (verdict if apart else "as promised")
            assert monitor.drifted == apart
            verdicts.append((apart, watch.low > watch.promised or watch.high < watch.promised))
        assert verdicts[-1] == (True, True)
        # On the way, the promised mean is outside of the interval, but its own interval isn't.
        assert (False, True) in verdicts


def test_a_monitor_keeps_no_history(router: hr.Router) -> None:
    monitor = Monitor(router.decider_)
    for _ in range(10):
        monitor.observe(BUDGET, quality=1.0)
    size = len(pickle.dumps(monitor))
    for _ in range(5000):
        monitor.observe(BUDGET, quality=1.0)
    assert len(pickle.dumps(monitor)) < size + 50


def test_quality_may_be_known_of_some_queries_only(router: hr.Router) -> None:
    monitor = Monitor(router.decider_)
    monitor.observe(0.001)
    monitor.observe({"cost": 0.002}, quality=1.0)
    cost, quality = monitor.report()
    assert (cost.n, quality.n) == (2, 1)
    assert cost.mean == pytest.approx(0.0015)


def test_a_session_is_observed_with_each_cost() -> None:
    table = simulate(80, 3, rng=5)
    table = dataclasses.replace(table, cost_name="usd", further_costs={"seconds": 100.0 * table.cost})
    router = routed().fit(table, budget={"seconds": 0.3})
    session = router.start({name: values[0] for name, values in table.queries.items()}, id="0")
    session.observe("model-2", {}, cost={"usd": 0.25, "seconds": 8.0})
    monitor = Monitor(router.decider_)
    monitor.observe(session, quality=0.5)
    assert {watch.name: watch.mean for watch in monitor.report()} == {"usd": 0.25, "seconds": 8.0, "quality": 0.5}


@pytest.mark.parametrize(
    ("run", "quality", "error", "message"),
    [
        (math.nan, None, ValueError, "run: expected a finite number"),
        (math.inf, None, ValueError, "run: expected a finite number"),
        ({"cost": 1.0, "eur": 1.0}, None, ValueError, "run: unknown cost 'eur'; known: cost"),
        (1.0, math.nan, ValueError, "quality: expected a finite number"),
        ("1", None, TypeError, "run: expected a number, got '1'"),
        (True, None, TypeError, "run: expected a number, got True"),
        ({"cost": None}, None, TypeError, "run: expected a number, got None"),
        (1.0, "1", TypeError, "quality: expected a number, got '1'"),
    ],
)
def test_what_is_no_number_is_refused_and_leaves_no_trace(
    router: hr.Router, run: Any, quality: Any, error: type[Exception], message: str
) -> None:
    monitor = Monitor(router.decider_)
    with pytest.raises(error, match=message):
        monitor.observe(run, quality=quality)
    assert [watch.n for watch in monitor.report()] == [0, 0]


def test_a_recalibration_needs_a_budget() -> None:
    router = routed().fit(simulate(60, 3))
    with pytest.raises(ValueError, match=r"recalibrate: no budget yet"):
        router.recalibrate(simulate(60, 3))


def test_a_monitor_needs_what_calibration_saw(router: hr.Router) -> None:
    with pytest.raises(ValueError, match=r"decider: expected one that a router made"):
        Monitor(router.decider_.with_budget(0.0031))


# The controller


def steered(router: hr.Router, factor: float, n: int, **options: Any) -> tuple[Floats, list[float]]:
    """Give the costs of queries drawn anew, with a controller, and its debts."""
    controller = BudgetController(router.decider_, **options)
    fresh = simulate(n, 3, rng=6)
    nothing_ran = fresh.responses_for(np.zeros(3, np.bool_))
    quality, (cost,) = router.estimators_[0]
    belief, costs = quality.predict(fresh.queries, nothing_ran), cost.predict(fresh.queries, nothing_ran)
    spent, debts = [], []
    for row in range(n):
        policy = controller.decider.policy
        decision = policy.rule_for(fresh.ids[row]).select(belief.quality[row], costs[row], variance=np.zeros(3))
        assert decision.next is not None
        spent.append(factor * float(fresh.cost[row, decision.next]))
        controller.observe(spent[-1])
        debts.append(controller.debt)
    assert controller.n == n
    assert controller.debt == pytest.approx(sum(spent) - n * BUDGET, abs=1e-9)
    return np.array(spent), debts


def test_a_controller_keeps_the_budget_while_prices_are_half_as_high_again(
    router: hr.Router, stream: tuple[Floats, Floats]
) -> None:
    spent, debts = steered(router, 1.5, 4000)
    assert spent.mean() == pytest.approx(BUDGET, rel=0.03)
    assert 1.5 * stream[0].mean() > 1.4 * BUDGET
    # The debt settles where a third less is asked of the path: at a third of the budget of 200 queries.
    settled = 200 * BUDGET / 3.0
    assert max(debts) < 2.0 * settled
    assert np.mean(debts[2000:]) == pytest.approx(settled, rel=0.3)


def test_without_drift_a_controller_stays_on_the_budget(router: hr.Router) -> None:
    spent, debts = steered(router, 1.0, 3000)
    assert spent.mean() == pytest.approx(BUDGET, rel=0.03)
    assert max(abs(debt) for debt in debts) < 100 * BUDGET


def test_where_even_the_cheapest_policy_is_too_costly_it_is_taken(router: hr.Router) -> None:
    spent, debts = steered(router, 100.0, 1000)
    cheapest = 100.0 * simulate(1000, 3, rng=6).mean_cost[0]
    assert cheapest > BUDGET
    assert spent[100:].mean() == pytest.approx(cheapest, rel=0.1)
    assert debts[-1] > debts[500] > 0.0


def test_a_shorter_horizon_reacts_faster(router: hr.Router) -> None:
    asked = []
    for horizon in (10, 1000):
        controller = BudgetController(router.decider_, horizon=horizon)
        controller.observe(2.0 * BUDGET)
        asked.append(controller.decider.point.cost)
    assert asked == pytest.approx([0.9 * BUDGET, 0.999 * BUDGET])


def test_a_controller_starts_sessions_by_its_present_policy(router: hr.Router) -> None:
    controller = BudgetController(router.decider_, horizon=1)
    controller.observe(100.0)
    fresh = simulate(20, 3, rng=7)
    for row in range(20):
        session = controller.start({name: values[row] for name, values in fresh.queries.items()}, id=str(row))
        assert session.next() == "model-1"
        session.observe("model-1", {}, cost=0.0001)
        controller.observe(session)
    assert controller.n == 21


def test_a_controller_of_one_of_two_costs() -> None:
    table = simulate(200, 3, rng=8)
    table = dataclasses.replace(table, cost_name="usd", further_costs={"seconds": 100.0 * table.cost})
    controller = BudgetController(routed().fit(table, budget={"seconds": 0.3}).decider_, horizon=10)
    controller.observe(0.6)
    assert controller.decider.point.further_costs["seconds"] == pytest.approx(0.27)
    with pytest.raises(ValueError, match=r"decider: expected one with a budget for one cost"):
        BudgetController(routed().fit(table, budget={"seconds": 0.3, "usd": 0.003}).decider_)


@pytest.mark.parametrize("horizon", [0, -1, 1.5, True, "200"])
def test_a_horizon_is_a_number_of_queries(router: hr.Router, horizon: Any) -> None:
    with pytest.raises(ValueError, match=r"horizon: expected an int >= 1"):
        BudgetController(router.decider_, horizon=horizon)
    BudgetController(router.decider_, horizon=np.int64(50)).observe(0.001)  # type: ignore[arg-type]


@pytest.mark.parametrize("run", [math.nan, math.inf, -1.0])
def test_a_controller_takes_costs_only(router: hr.Router, run: float) -> None:
    controller = BudgetController(router.decider_)
    with pytest.raises(ValueError, match=r"run: expected a finite cost >= 0"):
        controller.observe(run)
    with pytest.raises(TypeError, match=r"run: expected a number, got 'a'"):
        controller.observe("a")  # type: ignore[arg-type]
    assert (controller.n, controller.debt) == (0, 0.0)


def test_a_quality_target_has_no_controller(router: hr.Router) -> None:
    with pytest.raises(ValueError, match=r"decider: expected one with a budget for one cost, got None"):
        BudgetController(router.with_quality_target(0.6).decider_)


# Recalibration


FACTORS = np.array([2.0, 0.5, 1.25])


def log_of(router: hr.Router, table: hr.Outcomes, factors: Floats) -> hr.Outcomes:
    """Give the log of what the router ran, at new prices: one model for each query, the others missing."""
    ran = np.zeros(table.quality.shape, np.bool_)
    ran[np.arange(len(table)), decided(router, table)] = True
    return dataclasses.replace(
        table, quality=np.where(ran, table.quality, np.nan), cost=np.where(ran, factors * table.cost, np.nan)
    )


@pytest.fixture(scope="module")
def exact() -> hr.Router:
    """Give a router whose cost estimates are proportional to the costs."""
    return routed(SizeCost()).fit(simulate(400, 3, rng=9), calibration=simulate(800, 3, rng=10), budget=BUDGET)


def repriced_by_hand(router: hr.Router, calibration: hr.Outcomes, factors: Floats) -> Floats:
    stops = router.walked_.stops
    parameters = router.path_.parameter
    cost = stops.total(factors * calibration.cost)
    return np.array([cost[stops.at(parameter)].mean() for parameter in parameters.tolist()])


def test_a_log_at_new_prices_gives_the_prices(exact: hr.Router) -> None:
    log = log_of(exact, simulate(2000, 3, rng=11), FACTORS)
    assert np.isnan(log.cost).any()
    new = exact.recalibrate(log)
    calibration = simulate(800, 3, rng=10)
    np.testing.assert_allclose(new.path_.cost, repriced_by_hand(exact, calibration, FACTORS), rtol=1e-9)
    np.testing.assert_array_equal(new.path_.quality, exact.path_.quality)
    assert new.point_.cost == pytest.approx(BUDGET)
    assert new.budget_ == exact.budget_
    assert new.policy_ != exact.policy_
    # Once more at the same prices, nothing changes.
    again = new.recalibrate(log_of(new, simulate(2000, 3, rng=12), FACTORS))
    np.testing.assert_allclose(again.path_.cost, new.path_.cost, rtol=1e-9)


def test_after_recalibration_by_a_log_the_budget_is_met_again(router: hr.Router) -> None:
    factors = np.array([2.0, 1.5, 1.25])
    new = router.recalibrate(log_of(router, simulate(4000, 3, rng=13), factors))
    fresh = simulate(6000, 3, rng=14)

    def mean_cost(chooser: hr.Router) -> float:
        return float((factors * fresh.cost)[np.arange(len(fresh)), decided(chooser, fresh)].mean())

    assert mean_cost(router) > 1.2 * BUDGET
    assert mean_cost(new) == pytest.approx(BUDGET, rel=0.1)


def test_a_model_that_hardly_ran_keeps_its_price(exact: hr.Router) -> None:
    table = simulate(60, 3, rng=15)
    cost = np.full(table.cost.shape, np.nan)
    cost[:9, 0] = 7.0 * table.cost[:9, 0]
    cost[:, 1] = 3.0 * table.cost[:, 1]
    with pytest.warns(UserWarning, match="cost of 'model-1', 'model-3' is taken as unchanged: fewer than 10 runs"):
        new = exact.recalibrate(dataclasses.replace(table, cost=cost))
    by_hand = repriced_by_hand(exact, simulate(800, 3, rng=10), np.array([1.0, 3.0, 1.0]))
    np.testing.assert_allclose(new.path_.cost, by_hand, rtol=1e-9)


@pytest.mark.parametrize("rule", ["routing", "cascade-routing"])
def test_a_complete_table_replaces_the_calibration(rule: str) -> None:
    fitting, old, new = (simulate(300, 3, rng=rng) for rng in (16, 17, 18))
    new = dataclasses.replace(new, cost=1.3 * new.cost)
    moved = routed(rule=rule).fit(fitting, calibration=old, budget=BUDGET).recalibrate(new)
    anew = routed(rule=rule).fit(fitting, calibration=new, budget=BUDGET)
    assert moved.policy_ == anew.policy_
    assert moved.point_ == anew.point_
    for name, column in anew.path_.to_dict().items():
        np.testing.assert_array_equal(moved.path_.to_dict()[name], column)


def test_a_confidence_is_kept_by_a_complete_table() -> None:
    fitting, old, new = (simulate(300, 3, rng=rng) for rng in (16, 17, 18))
    moved = routed().fit(fitting, calibration=old, budget=BUDGET, confidence=0.9).recalibrate(new)
    anew = routed().fit(fitting, calibration=new, budget=BUDGET, confidence=0.9)
    assert moved.policy_ == anew.policy_
    assert moved.guarantee_ == anew.guarantee_


def test_several_budgets_are_kept_by_a_complete_table() -> None:
    def two_costs(rng: int) -> hr.Outcomes:
        table = simulate(300, 3, rng=rng)
        seconds = np.random.default_rng(rng).uniform(0.5, 1.5, (300, 3)) * [3.0, 0.5, 1.5]
        return dataclasses.replace(table, cost_name="usd", further_costs={"seconds": seconds})

    budget = {"usd": 0.003, "seconds": 1.2}
    router = routed().fit(two_costs(19), budget=budget)
    moved = router.recalibrate(two_costs(20))
    assert moved.point_.cost <= 0.003 * (1 + 1e-12)
    assert moved.point_.further_costs["seconds"] <= 1.2 * (1 + 1e-12)
    # The router itself stays as it was.
    assert router.with_budget(budget).policy_ == router.policy_


def test_a_router_that_was_recalibrated_takes_other_budgets_and_monitors(exact: hr.Router) -> None:
    new = exact.recalibrate(log_of(exact, simulate(2000, 3, rng=11), FACTORS))
    assert new.with_budget(0.002).point_.cost == pytest.approx(0.002)
    assert Monitor(new.decider_).report()[0].promised == pytest.approx(BUDGET)
    assert BudgetController(new.decider_).decider is new.decider_


def test_a_recalibration_leaves_the_router_as_it_was(exact: hr.Router) -> None:
    before = exact.policy_, exact.point_, exact.path_
    exact.recalibrate(simulate(100, 3, rng=21))
    exact.recalibrate(log_of(exact, simulate(2000, 3, rng=11), FACTORS))
    assert (exact.policy_, exact.point_, exact.path_) == before
    assert exact.with_budget(BUDGET).point_ == exact.point_


def test_recalibrations_that_make_no_sense_are_refused(exact: hr.Router) -> None:
    table = simulate(100, 3, rng=22)
    nothing = np.full(table.cost.shape, np.nan)
    hole = table.quality.copy()
    hole[3, 1] = np.nan
    guaranteed = exact.with_budget(BUDGET, confidence=0.8)
    for router, new, error, message in (
        (exact, dataclasses.replace(table, models=["a", "b", "c"]), ValueError, "models: unknown 'model-1'"),
        (exact, dataclasses.replace(table, cost_name="usd"), ValueError, r"new_outcomes: expected the costs"),
        (exact, dataclasses.replace(table, cost=nothing), ValueError, "new_outcomes: expected costs of runs, got none"),
        (exact, {"cost": 1}, TypeError, "new_outcomes: expected an Outcomes table, got dict"),
        (exact, dataclasses.replace(table, cost=100.0 * table.cost), ValueError, "budget: expected at least"),
        (guaranteed, dataclasses.replace(table, quality=hole), ValueError, "with a confidence; got 1 missing cell"),
    ):
        with pytest.raises(error, match=message):
            router.recalibrate(new)  # type: ignore[arg-type]
