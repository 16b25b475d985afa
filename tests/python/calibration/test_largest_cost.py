"""The largest cost that a promise is made for: said, given, exceeded; tails that are warned of."""

from __future__ import annotations

import dataclasses
import math
import pickle
import re
import warnings
from typing import Any

import numpy as np
import pytest
from routing_simulation import means_of, routed, worst_rate

import headrace as hr
from headrace.calibration.guarantee import Guarantee, cost_evidence, fixed_sequence, queries_needed, tail_ratio
from headrace.datasets import simulate

CONFIDENCE = 0.8
BUDGET = 0.003


def with_outliers(table: hr.Outcomes, rows: Any, factor: float = 100.0) -> hr.Outcomes:
    cost = table.cost.copy()
    cost[rows] *= factor
    return dataclasses.replace(table, cost=cost)


def test_with_the_largest_cost_outliers_break_no_promise() -> None:
    population = with_outliers(simulate(2000, 3, rng=11), np.arange(0, 2000, 500))
    # The best policy costs 0.007 without the outliers, 0.0084 with them. Half of the tables hold none of them.
    largest, budget = float(population.cost.max()), 0.0077
    rng = np.random.default_rng(12)
    n_broken = {"given": 0, "not given": 0}
    n_repeats = 60
    for repeat in range(n_repeats):
        table = population.take(rng.integers(0, len(population), 300))
        fitting, calibration = table.split(0.5, rng=repeat)
        for said, given in (("given", largest), ("not given", None)):
            router = routed(seed=repeat).fit(fitting, calibration=calibration, largest_cost=given)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)
                    router = router.with_budget(budget, confidence=CONFIDENCE)
            except ValueError:
                continue
            cost = means_of(router, population)[0]
            n_broken[said] += cost > budget
    assert n_broken["given"] / n_repeats <= worst_rate(CONFIDENCE, n_repeats)
    # Of outliers that a table doesn't hold, only the condition tells.
    assert n_broken["not given"] / n_repeats > 1.0 - CONFIDENCE


def halves(rng: int = 13, *, outlier: int | None = None, calibration_outlier: int | None = None) -> list[hr.Outcomes]:
    tables = [simulate(300, 3, rng=rng), simulate(300, 3, rng=rng + 1)]
    rows = (outlier, calibration_outlier)
    return [table if row is None else with_outliers(table, [row]) for table, row in zip(tables, rows, strict=True)]


@pytest.mark.parametrize("place", ["outlier", "calibration_outlier"])
def test_a_tail_is_said(place: str) -> None:
    fitting, calibration = halves(**{place: 0})
    table = fitting if place == "outlier" else calibration
    model = int((table.cost[0] / np.quantile(table.cost, 0.95, axis=0, method="lower")).argmax())
    router = routed().fit(fitting, calibration=calibration)
    with pytest.warns(
        UserWarning, match=rf"cost has a heavy tail: a query of model-{model + 1} .* provided that no qu"
    ):
        router.with_budget(0.05, confidence=0.5)
    # No promise, nothing to warn of; nor where the largest cost is known.
    router.with_budget(0.05)
    routed().fit(fitting, calibration=calibration, largest_cost=5.0).with_budget(0.05, confidence=0.5)


def test_costs_of_calibration_queries_are_not_cut() -> None:
    # The dearest policy chooses the third model for nearly all queries; only one calibration query is expensive.
    fitting, calibration = halves(calibration_outlier=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        router = routed().fit(fitting, calibration=calibration).with_budget(0.05, confidence=0.5)
    guarantee = router.guarantee_
    assert guarantee is not None
    spent = router.walked_.stops.cost[router.walked_.stops.at(router.point_.parameters[0])]
    assert guarantee.largest["cost"] >= spent.max() > fitting.cost.max()
    # One outlier, cut at what the fitting queries cost, would hardly count.
    plain = routed().fit(*halves()[:1], calibration=halves()[1]).with_budget(0.007, confidence=CONFIDENCE)
    with pytest.warns(UserWarning, match="heavy tail"):
        tailed = router.with_budget(0.007, confidence=CONFIDENCE)
    assert plain.guarantee_ is not None
    assert tailed.guarantee_ is not None
    assert tailed.guarantee_.price > plain.guarantee_.price


def test_a_largest_cost_that_was_exceeded_is_refused() -> None:
    fitting, calibration = halves()
    router = routed().fit(fitting, calibration=calibration, largest_cost=1e-4)
    with pytest.raises(ValueError, match=r"^largest_cost: expected at least (\S+), what a labelled query cost in cost"):
        router.with_budget(BUDGET, confidence=0.5)
    with pytest.raises(ValueError, match=r"largest_cost: expected at least"):
        routed().fit(fitting, budget=BUDGET, confidence=0.5, largest_cost=1e-4)


def test_a_largest_cost_costs_quality_and_is_kept() -> None:
    fitting, calibration = halves()
    points = []
    for largest in (None, 0.1, 0.3):
        router = routed().fit(fitting, calibration=calibration, largest_cost=largest)
        router = router.with_budget(0.005, confidence=CONFIDENCE)
        guarantee = router.guarantee_
        assert guarantee is not None
        assert guarantee.given == (() if largest is None else ("cost",))
        assert guarantee.condition in repr(router)
        if largest is not None:
            assert guarantee.largest == {"cost": largest}
            assert router.recalibrate(calibration).guarantee_ == guarantee
        points.append(router.point_.cost)
    assert points == sorted(points, reverse=True)
    assert points[0] > points[2]


def test_a_refusal_says_how_many_queries_would_do() -> None:
    fitting, calibration = halves()
    router = routed().fit(fitting, calibration=calibration, largest_cost=3.0)
    with pytest.raises(ValueError, match=r"which takes about \d+ calibration queries, as a query may cost 3 ") as error:
        router.with_budget(0.005, confidence=0.9)
    needed = int(re.findall(r"about (\d+)", str(error.value))[0])
    assert 1000 < needed < 3000
    for n_queries, is_enough in ((needed // 2, False), (int(1.2 * needed), True)):
        many = routed().fit(fitting, calibration=simulate(n_queries, 3, rng=15), largest_cost=3.0)
        if is_enough:
            assert many.with_budget(0.005, confidence=0.9).guarantee_ is not None
        else:
            with pytest.raises(ValueError, match="can be promised"):
                many.with_budget(0.005, confidence=0.9)


@pytest.mark.parametrize(
    ("largest", "error", "message"),
    [
        (0.0, ValueError, r"largest_cost: expected a finite number above 0, got 0"),
        (math.inf, ValueError, r"largest_cost: expected a finite number above 0, got inf"),
        (math.nan, ValueError, r"largest_cost: expected a finite number above 0, got nan"),
        ("1", TypeError, r"largest_cost: expected a number, got '1'"),
        (True, TypeError, r"largest_cost: expected a number, got True"),
        ({"eur": 1.0}, ValueError, r"largest_cost: unknown cost 'eur'; known: 'cost'"),
    ],
)
def test_largest_costs_that_make_no_sense_are_refused(largest: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        routed().fit(simulate(60, 3), budget=BUDGET, confidence=0.5, largest_cost=largest)


def test_a_largest_cost_needs_a_promise_of_a_cost() -> None:
    with pytest.raises(ValueError, match="largest_cost: expected a confidence too, or a calibration"):
        routed().fit(simulate(60, 3), budget=BUDGET, largest_cost=1.0)
    with pytest.raises(ValueError, match="largest_cost: expected None for a quality_target"):
        routed().fit(simulate(60, 3), quality_target=0.5, confidence=0.5, largest_cost=1.0)


def test_conditions_in_words() -> None:
    both = Guarantee({"usd": 1.0, "s": 2.0}, 0.9, {"usd": 3.0, "s": 4.0}, 9, 0.0, given=("s",))
    said = "provided that no query costs more than usd = 3 (the most expensive seen) and s = 4 (as given)"
    assert both.condition == said
    assert both.words == f"promised with confidence 0.9, {said}"
    assert both.to_dict()["condition"] == said
    of_quality = Guarantee({"quality": 0.7}, 0.9, {}, 9, 0.0, least=0.0)
    assert of_quality.condition == "provided that no query's quality is below 0 (the least seen)"
    router = routed().fit(simulate(400, 3, rng=16), quality_target=0.6, confidence=0.5)
    assert router.guarantee_ is not None
    assert router.guarantee_.condition == of_quality.condition
    assert pickle.loads(pickle.dumps(router.guarantee_)) == router.guarantee_


def test_tails_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(17)
    for n in (1, 2, 19, 20, 21, 300):
        cost = np.column_stack([rng.lognormal(sigma=2.0, size=n), np.zeros(n), np.append(np.zeros(n - 1), 1.0)])
        for j, found in enumerate(tail_ratio(cost).tolist()):
            ordered = sorted(cost[:, j].tolist())
            usual = ordered[math.floor(0.95 * (n - 1) + 1e-9)]
            wanted = 1.0 if ordered[-1] == 0.0 else (ordered[-1] / usual if usual > 0.0 else math.inf)
            assert found == pytest.approx(wanted)


def test_queries_needed_are_the_fewest_that_suffice() -> None:
    # Equal costs: the evidence of n queries is n times that of one.
    for largest, sd in ((100.0, 0.1), (3.0, 1.0), (3.0, 0.0)):
        needed = int(queries_needed(np.full(7, 1.0), 2.0, largest, sd=sd, confidence=0.9))
        for n, is_enough in ((needed, True), (needed - 1, False)):
            evidence = cost_evidence(np.full(n, 1.0), 2.0, largest, sd=sd, confidence=0.9)
            assert (fixed_sequence([evidence], 0.9) == 1) == is_enough
    assert queries_needed(np.full(7, 1.0), 0.9, 3.0, sd=1.0, confidence=0.9) == math.inf
    assert queries_needed(np.full(7, 1.0), 3.0, 3.0, sd=1.0, confidence=0.9) == 7.0
    # A group is one bet, whatever its size.
    pairs = queries_needed(np.full(8, 1.0), 2.0, 9.0, sd=0.1, confidence=0.9, groups=np.arange(8) // 2)
    assert pairs == 2.0 * queries_needed(np.full(8, 1.0), 2.0, 9.0, sd=0.1, confidence=0.9)
