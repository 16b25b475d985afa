"""The monitor per model: realised over expected cost; what raises an alarm, what doesn't, and how soon."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.serving import Monitor, Promised, Session, Watch
from headrace.serving.promised import log_ratio
from headrace.serving.ranks import RankDetector

Floats = npt.NDArray[np.float64]
Shape = Callable[[np.random.Generator, int], Floats]

MODELS = ("model-1", "model-2", "model-3")
BUDGET = 0.006
N_SDS = 3.0

SHAPES: dict[str, Shape] = {
    "constant": lambda rng, n: np.zeros(n),
    "tokens": lambda rng, n: np.log(rng.poisson(200.0, n) / 200.0),
    "lognormal": lambda rng, n: rng.normal(size=n),
    "mixture": lambda rng, n: 0.3 * rng.normal(size=n) + math.log(100.0) * (rng.uniform(size=n) < 0.005),
    "free at times": lambda rng, n: np.where(rng.uniform(size=n) < 0.3, -np.inf, 0.1 * rng.normal(size=n)),
}


def costly(n: int, seed: int) -> hr.Outcomes:
    """Simulate models whose costs are foreseen in part."""
    table = simulate(n, 3, rng=seed)
    noise = np.exp(0.5 * np.random.default_rng(seed).normal(size=(n, 3)))
    return dataclasses.replace(table, cost=table.cost * noise)


@pytest.fixture(scope="module")
def calibration() -> hr.Outcomes:
    return costly(600, 1)


@pytest.fixture(scope="module")
def router(calibration: hr.Outcomes) -> hr.Router:
    return hr.Router(quality=NoisyOracle(fusion=True)).fit(costly(300, 0), calibration=calibration, budget=BUDGET)


def runs_of(session: Session, table: hr.Outcomes, row: int) -> list[tuple[str, float, float]]:
    """Serve a row of a table: model, cost and expected cost of each run."""
    runs = []
    while (model := session.next()) is not None:
        j = table.models.index(model)
        expected = float(session.estimates()[1][0, j])
        response = {name: column[row, j] for name, column in table.responses.items()}
        session.observe(model, response, cost=float(table.cost[row, j]))
        runs.append((model, float(table.cost[row, j]), expected))
    return runs


def served(router: hr.Router, table: hr.Outcomes) -> list[tuple[str, float, float]]:
    runs = []
    for row, name in enumerate(table.ids):
        session = router.start({key: column[row] for key, column in table.queries.items()}, id=name)
        runs += runs_of(session, table, row)
    return runs


def told(router: hr.Router, ratios: dict[str, Any], confidence: float = 0.95) -> Monitor:
    """Give a monitor whose fit saw other ratios."""
    assert router.decider_.promised is not None
    promised = dataclasses.replace(
        router.decider_.promised, ratios={name: np.array(values) for name, values in ratios.items()}
    )
    return Monitor(dataclasses.replace(router.decider_, promised=promised), confidence=confidence)


def of(monitor: Monitor, name: str) -> Watch:
    [watch] = [watch for watch in monitor.report() if watch.name == name]
    return watch


# The statistic


def evidence_by_hand(values: list[float], n_known: int) -> tuple[float, float]:
    """Compute the evidence for a rise and for a fall from all values, none alike, each start by itself."""
    bets = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0]
    ties = np.random.default_rng(0)
    scores = []
    for t in range(n_known, len(values)):
        below = sum(value < values[t] for value in values[:t])
        scores.append(NormalDist().inv_cdf((below + ties.random()) / (t + 1)))
    sums = []
    for sign in (1.0, -1.0):
        total = 0.0
        for bet in bets:
            for start in range(1, len(scores) + 1):
                weight = 1.0 / math.log2(start + 1) - 1.0 / math.log2(start + 2)
                total += weight * math.exp(sum(sign * bet * z - bet**2 / 2.0 for z in scores[start - 1 :]))
        sums.append(total / len(bets))
    return sums[0], sums[1]


@pytest.mark.parametrize("n_known", [0, 1, 40])
def test_the_evidence_is_that_of_all_starts_together(n_known: int) -> None:
    # All values differ by more than a step of the counts.
    values = (0.03 * np.random.default_rng(n_known).permutation(80) - 1.2).tolist()
    detector = RankDetector(np.array(values[:n_known]), 1.0 - 1e-12)
    for value in values[n_known:]:
        detector.add(value)
    found = sum(detector._rise) / 6, sum(detector._fall) / 6
    assert found == pytest.approx(evidence_by_hand(values, n_known), rel=1e-9)


@pytest.mark.parametrize("known", [0, 30])
@pytest.mark.parametrize("shape", SHAPES)
def test_there_are_no_more_false_alarms_than_promised(shape: str, known: int) -> None:
    confidence, n_streams, n = 0.8, 100, 300
    n_alarms = 0
    for seed in range(n_streams):
        values = np.nan_to_num(SHAPES[shape](np.random.default_rng(seed), known + n), neginf=-9.0)
        detector = RankDetector(values[:known], confidence)
        for value in values[known:].tolist():
            detector.add(value)
        n_alarms += detector.verdict != "as promised"
    assert n_alarms / n_streams <= 1.0 - confidence + N_SDS * math.sqrt(confidence * (1.0 - confidence) / n_streams)


@pytest.mark.parametrize("n_before", [0, 5000])
@pytest.mark.parametrize(
    ("shape", "factor", "most"),
    [
        ("constant", 1.05, 30),
        ("tokens", 1.2, 30),
        ("mixture", 1.2, 250),
        ("lognormal", 1.2, 2500),
        ("lognormal", 1.5, 500),
        ("lognormal", 2.0, 150),
        ("lognormal", 0.5, 150),
    ],
)
def test_another_price_is_seen_soon(shape: str, factor: float, most: int, n_before: int) -> None:
    values = SHAPES[shape](np.random.default_rng(7), 3000 + n_before + most)
    detector = RankDetector(values[:3000], 0.99)
    for value in values[3000 : 3000 + n_before].tolist():
        detector.add(value)
    assert detector.verdict == "as promised"
    for value in values[3000 + n_before :].tolist():
        detector.add(value + math.log(factor))
    assert detector.verdict == ("above" if factor > 1.0 else "below")


def test_a_shift_far_below_the_spread_is_left_alone() -> None:
    rng = np.random.default_rng(3)
    detector = RankDetector(rng.normal(size=5000), 0.95)
    for value in (0.03 + rng.normal(size=20_000)).tolist():
        detector.add(value)
    assert detector.verdict == "as promised"


def test_what_was_told_stays() -> None:
    detector = RankDetector(np.zeros(100), 0.95)
    for value in [1.0] * 50 + [-1.0] * 500:
        detector.add(value)
    assert (detector.verdict, detector.n) == ("above", 550)
    assert detector.latest < -0.9


@pytest.mark.parametrize(
    ("cost", "expected", "ratio"),
    [(2.0, 1.0, 2.0), (0.0, 0.0, 1.0), (1.0, 0.0, 1000.0), (0.0, 1.0, 1e-3), (5e-324, 1e308, 1e-3), (1e9, 1e-9, 1e3)],
)
def test_ratios_of_zero_and_of_the_extremes(cost: float, expected: float, ratio: float) -> None:
    assert float(log_ratio(cost, expected)) == pytest.approx(math.log(ratio))


# What the fit knows


def test_the_fit_knows_the_ratios_that_sessions_meet(router: hr.Router, calibration: hr.Outcomes) -> None:
    # Which of the two rules serves a query is drawn anew in service: here one rule serves all.
    policy = router.policy_
    one = dataclasses.replace(policy, parameters=(policy.parameters[0],) * 2)
    decider = dataclasses.replace(router.decider_, policy=one)
    point = router.point_._replace(parameters=one.parameters)
    known = router._calibrator.promised(router.walked_, point).ratios
    found: dict[str, list[float]] = {name: [] for name in MODELS}
    for row, name in enumerate(calibration.ids):
        session = decider.start({key: column[row] for key, column in calibration.queries.items()}, id=name)
        for model, cost, expected in runs_of(session, calibration, row):
            found[model].append(math.log(cost / expected))
    assert any(len(values) > 100 for values in found.values())
    for name, values in found.items():
        assert sorted(values) == pytest.approx(np.sort(known.get(name, np.empty(0))).tolist(), abs=1e-9)


def test_the_share_of_each_rule_is_that_of_the_policy(router: hr.Router) -> None:
    assert router.decider_.promised is not None
    n_known = sum(len(values) for values in router.decider_.promised.ratios.values())
    assert n_known / 600 == pytest.approx(router.point_.n_runs, rel=0.05)


def test_a_file_holds_the_ratios(tmp_path: Path) -> None:
    router = hr.Router(quality="constant", n_folds=2).fit(costly(200, 3), budget=BUDGET)
    router.save(tmp_path / "r.headrace")
    before, after = router.decider_.promised, hr.load(tmp_path / "r.headrace").promised
    assert before is not None
    assert after is not None
    assert before.ratios.keys() == after.ratios.keys()
    for name, values in before.ratios.items():
        np.testing.assert_array_equal(after.ratios[name], values)


def test_what_was_saved_without_ratios_is_told_by_what_comes() -> None:
    assert Promised({}, {}).ratios == {}


def test_several_costs_that_are_traded_have_no_ratios() -> None:
    table = costly(200, 4)
    table = dataclasses.replace(table, cost_name="usd", further_costs={"seconds": 100.0 * table.cost[:, ::-1]})
    router = hr.Router(quality=NoisyOracle(), n_folds=2).fit(table, budget={"usd": 0.005, "seconds": 0.6})
    assert router.decider_.promised is not None
    ratios = router.decider_.promised.ratios
    assert (ratios == {}) == (router.policy_.rates != (1.0,))
    monitor = Monitor(router.decider_)
    monitor.ran("model-1", cost=1.0, expected=1.0)
    assert monitor.report()[-1].name == "usd of model-1"


# The monitor


def test_fresh_queries_raise_no_alarm_and_one_dearer_model_is_named(router: hr.Router) -> None:
    runs = served(router, costly(700, 2))
    ran = [name for name in MODELS if any(model == name for model, _, _ in runs)]
    for dearer in (None, *ran):
        monitor = Monitor(router.decider_)
        for model, cost, expected in runs:
            monitor.ran(model, cost=cost * (2.0 if model == dearer else 1.0), expected=expected)
        verdicts = {watch.name: watch.verdict for watch in monitor.report()[2:]}
        assert verdicts == {f"cost of {name}": "above" if name == dearer else "as promised" for name in ran}
        assert monitor.drifted == (dearer is not None)


def test_a_report_says_the_latest_ratio_and_that_of_the_fit(router: hr.Router) -> None:
    monitor = told(router, {"model-2": [0.0, math.log(4.0)]})
    for cost in (3.0, 3.0, 3.0):
        monitor.ran("model-2", cost=cost, expected=2.0)
    monitor.ran("model-1", cost=0.0, expected=0.0)
    assert [watch.name for watch in monitor.report()] == ["cost", "quality", "cost of model-1", "cost of model-2"]
    watch = of(monitor, "cost of model-2")
    assert (watch.n, watch.mean, watch.promised) == (3, pytest.approx(1.5), pytest.approx(2.0))
    assert math.isnan(watch.low)
    first = of(monitor, "cost of model-1")
    assert (first.n, first.mean) == (1, 1.0)
    assert math.isnan(first.promised)


def test_the_first_runs_stand_for_a_fit_that_saw_none(router: hr.Router) -> None:
    rng = np.random.default_rng(5)
    monitor = told(router, {})
    for cost in np.exp(0.3 * rng.normal(size=1000)).tolist():
        monitor.ran("model-1", cost=cost, expected=10.0)
    assert not monitor.drifted
    for cost in np.exp(0.3 * rng.normal(size=300)).tolist():
        monitor.ran("model-1", cost=1.2 * cost, expected=10.0)
    assert of(monitor, "cost of model-1").verdict == "above"


def test_the_error_is_shared_between_all_that_is_watched(router: hr.Router) -> None:
    known = np.random.default_rng(6).normal(size=100)
    monitor, detector = told(router, {"model-1": known}, 0.9), RankDetector(known, 1.0 - 0.1 / 5.0)
    for n in range(60):
        monitor.ran("model-1", cost=8.0, expected=1.0)
        detector.add(math.log(8.0))
        assert of(monitor, "cost of model-1").verdict == detector.verdict, n
    assert detector.verdict == "above"


def test_the_state_is_of_constant_size_and_survives_a_pickle(router: hr.Router) -> None:
    costs = np.exp(np.random.default_rng(8).normal(size=4000)).tolist()
    monitor = Monitor(router.decider_)
    for cost in costs[:20]:
        monitor.ran("model-1", cost=cost, expected=1.0)
    size = len(pickle.dumps(monitor))
    for cost in costs[20:2000]:
        monitor.ran("model-1", cost=cost, expected=1.0)
    assert len(pickle.dumps(monitor)) < size + 100
    other = pickle.loads(pickle.dumps(monitor))
    for cost in costs[2000:]:
        for each in (monitor, other):
            each.ran("model-1", cost=cost, expected=1.0)
    assert of(other, "cost of model-1").mean == of(monitor, "cost of model-1").mean
    assert other._ratios["model-1"]._rise == monitor._ratios["model-1"]._rise


@pytest.mark.parametrize(
    ("model", "cost", "expected", "message"),
    [
        ("gpt", 1.0, 1.0, "model: unknown model 'gpt'; known: 'model-1', 'model-2', 'model-3'"),
        ("model-1", math.nan, 1.0, "cost: expected a finite number >= 0"),
        ("model-1", 1.0, math.inf, "expected: expected a finite number >= 0"),
        ("model-1", -1.0, 1.0, "cost: expected a finite number >= 0"),
        ("model-1", "1", 1.0, "cost: expected a finite number >= 0"),
    ],
)
def test_what_is_no_run_is_refused_and_leaves_no_trace(
    router: hr.Router, model: str, cost: Any, expected: Any, message: str
) -> None:
    monitor = Monitor(router.decider_)
    with pytest.raises(ValueError, match=message):
        monitor.ran(model, cost=cost, expected=expected)
    assert len(monitor.report()) == 2


def test_a_recalibrated_router_expects_what_its_log_cost(router: hr.Router) -> None:
    dearer = costly(400, 9)
    dearer = dataclasses.replace(dearer, cost=2.0 * dearer.cost)
    new = router.recalibrate(dearer)
    assert new.decider_.promised is not None
    for values in new.decider_.promised.ratios.values():
        if len(values) > 100:
            # The estimates are those of the fit.
            assert values.mean() > 0.4
