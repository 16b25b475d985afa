"""The race of scales against walks of all scales on all queries, and its areas without a block against exact ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import cross_fit
from headrace.calibration import race, settings
from headrace.calibration.race import N_BLOCKS, Race, left_out_areas, race_of, worse
from headrace.calibration.settings import UNCERTAINTY_SCALES, calibrate, path_area, rule_settings
from headrace.calibration.walk import Stops, budget_path, walk
from headrace.datasets import simulate
from headrace.estimators import LinearCost, LinearQuality
from headrace.rules import make_rule

# Areas from 100 points of a path of some thousand, against those of the whole path.
COARSE = 1e-3

# Sums of some hundred numbers near 1, in another order.
ROUNDING = 1e-12


def believed(outcomes: hr.Outcomes) -> BeliefTable:
    return cross_fit(outcomes, LinearQuality(), LinearCost(), n_folds=3, seed=0)


def walked(table: BeliefTable, scale: float, rule: str = "cascade-routing") -> Stops:
    chosen = rule_settings(rule, table.outcomes) | {"uncertainty_scale": scale}
    return walk(make_rule(rule, 0.0, chosen), table.outcomes, table)


@pytest.fixture(scope="module")
def table() -> BeliefTable:
    return believed(simulate(1200, 3, noise="medium", rng=1))


@pytest.mark.parametrize("seed", range(12))
def test_the_scale_is_that_of_walking_all_queries_at_all_scales(seed: int) -> None:
    rule = ("cascade-routing", "index", "cascade")[seed % 3]
    noise = ("low", "medium", "high")[seed // 4]
    table = believed(simulate((650, 1500)[seed % 2], 3, noise=noise, rng=seed))
    outcomes = table.outcomes
    areas = {s: path_area(budget_path(walked(table, s, rule), outcomes.costs), outcomes) for s in UNCERTAINTY_SCALES}
    chosen = calibrate(rule, table, settings=rule_settings(rule, outcomes))
    assert chosen.settings["uncertainty_scale"] == max(areas, key=lambda scale: areas[scale])
    assert chosen.areas == pytest.approx({scale: areas[scale] for scale in chosen.areas}, abs=ROUNDING)


def test_scales_that_are_surely_worse_are_not_walked_whole() -> None:
    table = believed(simulate(3000, 3, noise="low", rng=2))
    chosen = calibrate("index", table)
    assert set(chosen.areas) < set(UNCERTAINTY_SCALES)


def test_of_a_large_table_what_is_likely_worse_is_dropped(monkeypatch: pytest.MonkeyPatch, table: BeliefTable) -> None:
    monkeypatch.setattr(race, "MOST", 350)
    drawn = race_of(table.outcomes)
    assert drawn is not None
    first, rest = drawn.parts
    assert (len(first), len(rest)) == (350, 850)
    part = table.outcomes.take(first)
    stops = [
        walk(
            make_rule("cascade-routing", 0.0, rule_settings("cascade-routing", part) | {"uncertainty_scale": scale}),
            part,
            lambda some, run, priced: table(first[some], run, priced=priced),
        )
        for scale in UNCERTAINTY_SCALES
    ]
    lowest, highest = part.mean_cost.min(), part.mean_cost.max()
    areas, without = [], []
    for walked_once in stops:
        path = budget_path(walked_once, part.costs)
        areas.append(path.area(lowest, highest, float(part.mean_quality.min())))
        without.append(left_out_areas(walked_once, path, part, drawn.block[first]))
    behind = np.max(areas) - np.array(areas)
    # Of the jackknife: the deviation of the blocks' differences, times (B - 1) / sqrt(B).
    errors = np.std(without[int(np.argmax(areas))] - np.array(without), axis=1) * np.sqrt(N_BLOCKS - 1)
    kept = {}
    for cells in (len(table.outcomes) * 3, len(table.outcomes) * 3 - 1):
        monkeypatch.setattr(race, "LARGE", cells)
        kept[cells] = drawn.still_in([Stops.joined([(first, ended)]) for ended in stops], 0, table.outcomes).tolist()
    sure, likely = kept.values()
    assert sure == (behind <= 3.0 * errors).tolist()
    assert likely == (behind <= errors).tolist()
    assert sum(likely) < sum(sure)


def test_of_a_large_table_a_part_of_the_first_rows_comes_before(
    monkeypatch: pytest.MonkeyPatch, table: BeliefTable
) -> None:
    small = race_of(table.outcomes)
    monkeypatch.setattr(race, "LARGE", len(table.outcomes) * 3 - 1)
    drawn = race_of(table.outcomes)
    assert drawn is not None
    assert small is not None
    assert [len(rows) for rows in drawn.parts] == [133, 267, 800]
    np.testing.assert_array_equal(np.sort(np.concatenate(drawn.parts[:2])), small.parts[0])
    assert np.bincount(drawn.block[drawn.parts[0]], minlength=N_BLOCKS).min() >= 4
    chosen = calibrate("cascade-routing", table, settings=rule_settings("cascade-routing", table.outcomes))
    # What is left is walked on all queries, whenever the others were dropped.
    whole = walked(table, chosen.settings["uncertainty_scale"])
    assert chosen.areas[chosen.settings["uncertainty_scale"]] == pytest.approx(
        path_area(budget_path(whole, table.outcomes.costs), table.outcomes), abs=ROUNDING
    )
    assert len(chosen.areas) < len(UNCERTAINTY_SCALES)


@pytest.mark.parametrize(("noise", "rule"), [("low", "index"), ("medium", "cascade-routing"), ("high", "cascade")])
def test_of_a_large_table_scales_above_one_that_is_dropped_are_not_tried(
    monkeypatch: pytest.MonkeyPatch, noise: str, rule: str
) -> None:
    table = believed(simulate(1500, 3, noise=noise, rng=4))
    outcomes = table.outcomes
    monkeypatch.setattr(race, "LARGE", 4000)
    tried: list[list[float]] = []
    plain = settings._walk_part

    def told(rules: list[Any], *others: Any) -> list[Stops]:
        tried.append([one.uncertainty_scale for one in rules])
        return plain(rules, *others)

    monkeypatch.setattr(settings, "_walk_part", told)
    shares: list[float] = []
    chosen = calibrate(rule, table, settings=rule_settings(rule, outcomes), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    drawn = race_of(outcomes)
    assert drawn is not None
    assert len(drawn.parts) == 3
    first = drawn.parts[0]
    every = [walked(table, scale, rule).of(first) for scale in UNCERTAINTY_SCALES]
    joined = [Stops.joined([(first, stops)]) for stops in every]
    n_tried = next((n for n in range(3, 7) if not drawn.still_in(joined[:n], 0, outcomes)[-1]), 6)
    assert tried[: n_tried - 2] == [list(UNCERTAINTY_SCALES[:3]), *([scale] for scale in UNCERTAINTY_SCALES[3:n_tried])]
    kept = drawn.still_in(joined[:n_tried], 0, outcomes)
    assert tried[n_tried - 2] == [s for s, still in zip(UNCERTAINTY_SCALES, kept, strict=False) if still]
    assert set(chosen.areas) <= set(tried[-1])


def test_two_parts_joined_are_one_walk(table: BeliefTable) -> None:
    outcomes, rule = table.outcomes, make_rule("cascade-routing", 0.0, {"uncertainty_scale": 0.5})
    drawn = race_of(outcomes)
    assert drawn is not None
    parts = [
        (rows, walk(rule, outcomes.take(rows), lambda some, run, rows=rows, priced=True: table(rows[some], run)))
        for rows in drawn.parts
    ]
    whole, joined = walk(rule, outcomes, table), Stops.joined(parts)
    for parameter in (0.0, 0.5, 5.0, 50.0, np.inf):
        here, there = whole.at(parameter), joined.at(parameter)
        for name in ("row", "cost", "quality", "n_runs", "answer"):
            np.testing.assert_array_equal(getattr(whole, name)[here], getattr(joined, name)[there])
        np.testing.assert_array_equal(whole.run_sets[whole.run[here]], joined.run_sets[joined.run[there]])
        ran, too = ((stops.runs, stops.runs.at(parameter)) for stops in (whole, joined))
        pairs = [sorted(zip(runs.row[at], runs.model[at], runs.expected[at], strict=True)) for runs, at in (ran, too)]
        assert pairs[0] == pairs[1]


def test_areas_without_a_block_are_those_of_a_walk_without_it(table: BeliefTable) -> None:
    outcomes, stops = table.outcomes, walked(table, 0.5)
    block = np.random.default_rng(0).integers(0, N_BLOCKS, outcomes.n_queries)
    areas = left_out_areas(stops, budget_path(stops, outcomes.costs), outcomes, block)
    lowest, highest = outcomes.mean_cost.min(), outcomes.mean_cost.max()
    exact = []
    for b in range(N_BLOCKS):
        rows = np.flatnonzero(block != b)
        path = budget_path(stops.of(rows), {"cost": outcomes.cost[rows]})
        exact.append(path.area(lowest, highest, float(outcomes.mean_quality.min())))
    assert areas == pytest.approx(exact, abs=COARSE)
    assert np.std(areas) == pytest.approx(np.std(exact), rel=0.05)


def test_groups_stay_whole_and_few_are_not_drawn_from() -> None:
    outcomes = dataclasses.replace(simulate(900, 2), groups=np.arange(900) // 4)
    drawn = race_of(outcomes)
    assert drawn is not None
    groups = np.arange(900) // 4
    first, rest = drawn.parts
    assert not set(groups[first]) & set(groups[rest])
    np.testing.assert_array_equal(np.sort(np.concatenate([first, rest])), np.arange(900))
    assert len({(g, b) for g, b in zip(groups[first], drawn.block[first], strict=True)}) == 75
    assert race_of(dataclasses.replace(outcomes, groups=np.arange(900) // 20)) is None
    assert race_of(simulate(race.FEWEST - 1, 2)) is None


def test_equal_settings_stay_in() -> None:
    left_out = np.linspace(0.5, 0.6, N_BLOCKS)
    assert not worse([0.5, 0.5], [left_out, left_out], 0.0).any()


def test_models_of_one_cost_stay_in() -> None:
    rng = np.random.default_rng(0)
    outcomes = hr.Outcomes(models=["a", "b"], quality=rng.integers(0, 2, (600, 2)), cost=np.ones((600, 2)))
    drawn = race_of(outcomes)
    assert isinstance(drawn, Race)
    first = drawn.parts[0]
    stops = [Stops.joined([(first, walked(believed(outcomes.take(first)), s))]) for s in (0.0, 1.0)]
    assert drawn.still_in(stops, 0, outcomes).all()
