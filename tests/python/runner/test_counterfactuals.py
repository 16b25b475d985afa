"""The grid, walks replayed at its points, and the points that agree with a walk, for every kind of rule."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from decision_logs import columns_of, runs_of

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.runner.counterfactuals import Counterfactuals, Ran, decisions_of, is_audited
from headrace.serving import Session

RULES = ("cascade-routing", "routing", "cascade", "threshold-cascade", "index")


@lru_cache(maxsize=8)
def counterfactuals(rule: str) -> Counterfactuals:
    router = hr.Router(rule=rule, quality=NoisyOracle(), cost=hr.estimators.ConstantCost())
    return Counterfactuals(router.fit(simulate(500, 3, rng=1), budget=0.003).decider_)


def fresh() -> hr.Outcomes:
    return simulate(60, 3, rng=3)


def expanded(replays: list[Any], n_points: int) -> list[Any]:
    starts = [replay[0] for replay in replays] + [n_points]
    return [
        replay[1:] for replay, begin, end in zip(replays, starts, starts[1:], strict=False) for _ in range(begin, end)
    ]


def walk(session: Session, runs: dict[str, Ran]) -> tuple[list[str], str, float]:
    ran = []
    while (model := session.next()) is not None:
        ran.append(model)
        if runs[model].kind == "ok":
            session.observe(model, runs[model].response, cost=runs[model].cost)
        else:
            session.fail(model, kind=runs[model].kind, cost=runs[model].cost or 0.0)
    return ran, session.model, session.cost


@pytest.mark.parametrize("rule", RULES)
def test_a_replay_is_the_walk_of_a_session_there(rule: str) -> None:
    what_if, table = counterfactuals(rule), fresh()
    for row in range(10):
        runs, query = runs_of(table, row), columns_of(table, row)
        if row % 2:
            runs[table.models[1]] = Ran("timeout", None, 0.0005)
        replays = expanded(what_if.replays(query, runs, id=f"q-{row}"), len(what_if.grid))
        assert len(replays) == len(what_if.grid)
        for point in range(0, len(what_if.grid), 4):
            ran, answer, cost = walk(what_if.at(point).start(query, id=f"q-{row}"), runs)
            assert replays[point] == (ran, answer, [pytest.approx(cost)])


def test_replays_keep_what_the_call_allowed() -> None:
    what_if, table = counterfactuals("cascade-routing"), fresh()
    small = table.models[0]
    replays = what_if.replays(columns_of(table, 0), runs_of(table, 0), id="q", allowed=[small])
    assert [replay[1:3] for replay in replays] == [([small], small)]


def test_a_query_that_every_model_fails_on_has_no_answer() -> None:
    what_if, table = counterfactuals("cascade-routing"), fresh()
    runs = {model: Ran("server", None, 0.25) for model in table.models}
    replays = what_if.replays(columns_of(table, 0), runs, id="q")
    assert {replay[2] for replay in replays} == {None}
    assert all(len(replay[1]) == 3 and replay[3] == [0.75] for replay in replays)


@pytest.mark.parametrize("rule", RULES)
def test_a_watcher_names_the_points_that_walk_alike(rule: str) -> None:
    what_if, table = counterfactuals(rule), fresh()
    for row in range(15):
        id, runs, query = f"q-{row}", runs_of(table, row), columns_of(table, row)
        watcher = what_if.watch(id, 0.5)
        session = watcher.decider.start(query, id=id)
        ran = []
        while True:
            model = session.next()
            before = session.decision
            watcher.saw(session)
            assert session.decision is before
            if model is None:
                break
            ran.append(model)
            session.observe(model, runs[model].response, cost=runs[model].cost)
        told = watcher.to_dict()
        walks = expanded(what_if.replays(query, runs, id=id), len(what_if.grid))
        assert told["agree"] == [point for point, one in enumerate(walks) if one[0] == ran]
        assert len(told["believed"]) == len(what_if.grid)


def test_the_grid_spans_the_path_and_holds_the_policy() -> None:
    for rule in RULES:
        what_if = counterfactuals(rule)
        path, grid = what_if.decider.path, what_if.grid
        parameters = [point.parameter for point in grid]
        assert parameters == sorted(set(parameters))
        assert grid[-1].cost == path.cost.min()
        assert grid[0].cost == path.realised(path.parameter[0]).cost
        assert len(grid) <= 26
        for query in ("a", "b", "c", "d"):
            own = what_if.rules[what_if.own_point(query)]
            assert own == what_if.decider.policy.rule_for(query)


def test_exploration_and_audits_are_drawn_by_the_id() -> None:
    what_if = counterfactuals("cascade-routing")
    ids = [f"q-{i}" for i in range(4000)]
    drawn = [what_if.watch(id, 0.1).to_dict()["point"] for id in ids]
    points = [point for point in drawn if point is not None]
    assert len(points) == pytest.approx(400, abs=60)
    assert np.bincount(points, minlength=len(what_if.grid)).min() > 0
    audited = [is_audited(id, 0.1) for id in ids]
    assert sum(audited) == pytest.approx(400, abs=60)
    both = sum(a and point is not None for a, point in zip(audited, drawn, strict=True))
    assert both == pytest.approx(40, abs=20)
    assert not any(is_audited(id, 0.0) for id in ids)
    assert all(is_audited(id, 1.0) for id in ids[:50])


def test_another_rule_is_asked_without_a_trace() -> None:
    what_if, table = counterfactuals("cascade-routing"), fresh()
    differ = 0
    for row in range(20):
        session = what_if.decider.start(columns_of(table, row), id="q")
        first = session.next()
        own, decision = session._rule, session.decision
        differ += len({one.next for one in decisions_of(session, what_if.rules)}) > 1
        assert (session._rule, session.decision, session.next()) == (own, decision, first)
    assert differ > 5
    with pytest.raises(ValueError, match="expected one whose next\\(\\) has just returned"):
        what_if.watch("q", 0.5).saw(what_if.decider.start(columns_of(table, 0), id="q"))
