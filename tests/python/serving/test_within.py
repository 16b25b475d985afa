"""A hard total for a batch: the spend stays within it, whatever the runs cost; what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.datasets import simulate
from headrace.errors import CapTooSmall
from headrace.serving import decide_within

N = 30


@pytest.fixture(scope="module")
def tables() -> tuple[hr.Outcomes, hr.Outcomes]:
    return simulate(600, 3, rng=1), simulate(300, 3, rng=2)


@pytest.fixture(scope="module")
def decider(tables: tuple[hr.Outcomes, hr.Outcomes]) -> hr.Decider:
    return hr.Router(quality="linear").fit(tables[0], budget=0.003).decider_.warm()


def queries_of(log: hr.Outcomes) -> list[dict[str, Any]]:
    return [{name: column[row] for name, column in log.queries.items()} for row in range(len(log))]


def walked(decider: hr.Decider, log: hr.Outcomes, total: float, *, factor: float = 1.0, fails: int = 0) -> Any:
    """Walk a batch; each run costs `factor` times what the log says, and the runs of the first rows fail."""
    walk = decide_within(decider, queries_of(log), total=total, ids=log.ids)
    n_waves = 0
    while wave := walk.next():
        n_waves += 1
        for row, model in wave.items():
            j = log.models.index(model)
            if row < fails:
                walk.fail(row, cost=log.cost[row, j])
            else:
                response = {name: column[row, j] for name, column in log.responses.items()}
                walk.observe(row, response, cost=factor * log.cost[row, j])
    assert n_waves <= N * len(log.models)
    return walk


@pytest.mark.parametrize("share", [0.2, 1.0, 3.0])
def test_the_spend_is_within_the_total_and_near_it(
    share: float, decider: hr.Decider, tables: tuple[hr.Outcomes, hr.Outcomes]
) -> None:
    total = share * N * 0.003
    for begin in range(0, 300, N):
        log = tables[1].take(range(begin, begin + N))
        walk = walked(decider, log, total)
        assert walk.unanswered == ()
        assert 0.75 * min(total, 0.8 * log.cost.sum()) <= walk.spent <= total


def test_runs_that_cost_more_than_estimated_stay_within(
    decider: hr.Decider, tables: tuple[hr.Outcomes, hr.Outcomes]
) -> None:
    # Each run costs as much as the largest ratio that the fit has seen allows.
    log = tables[1].take(range(N))
    assert decider.promised is not None
    largest = min(float(np.exp(np.max(logs))) for logs in decider.promised.ratios.values())
    total = 0.6 * N * 0.003
    plain, dear = walked(decider, log, total), walked(decider, log, total, factor=max(largest, 1.0))
    assert dear.spent <= total
    assert sum(len(session.run) for session in dear.sessions) <= sum(len(session.run) for session in plain.sessions)


def test_more_is_bought_where_more_is_left(decider: hr.Decider, tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    log = tables[1].take(range(N))
    spent = [walked(decider, log, share * N * 0.003).spent for share in (0.2, 0.5, 1.0, 2.0)]
    assert spent == sorted(spent)
    assert spent[-1] > 2.0 * spent[0]


def test_a_run_that_failed_is_paid_for_and_another_model_answers(
    decider: hr.Decider, tables: tuple[hr.Outcomes, hr.Outcomes]
) -> None:
    log = tables[1].take(range(N))
    walk = walked(decider, log, N * 0.003, fails=3)
    assert walk.unanswered == (0, 1, 2)  # every model of theirs fails
    assert all(session.failed for session in walk.sessions[:3])
    assert walk.spent <= walk.total
    assert walk.spent == pytest.approx(sum(session.cost for session in walk.sessions))


def test_what_is_refused(decider: hr.Decider, tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    log = tables[1].take(range(5))
    queries = queries_of(log)
    with pytest.raises(CapTooSmall, match=r"total: expected at least .* for each of 5 queries") as caught:
        decide_within(decider, queries, total=1e-6)
    assert decide_within(decider, queries, total=caught.value.needed).unanswered == (0, 1, 2, 3, 4)
    with pytest.raises(ValueError, match="total: expected a finite number >= 0, got -1"):
        decide_within(decider, queries, total=-1.0)
    with pytest.raises(ValueError, match="total: expected a finite number >= 0, got inf"):
        decide_within(decider, queries, total=float("inf"))
    with pytest.raises(ValueError, match="ids: expected one for each of 5 queries, got 1"):
        decide_within(decider, queries, total=1.0, ids=["a"])
    assert decide_within(decider, [], total=0.0).next() == {}

    walk = decide_within(decider, queries, total=0.02)
    wave = walk.next()
    assert repr(walk).startswith("Within(5 queries: 0 of 0.02 spent, ")
    with pytest.raises(ValueError, match=r"next: the runs of rows .* have been told of neither"):
        walk.next()
    row = next(iter(wave))
    with pytest.raises(ValueError, match="cost: expected a finite number >= 0"):
        walk.observe(row, {}, cost=-1.0)
    walk.observe(row, {}, cost=0.001)  # what was refused left no trace
    with pytest.raises(ValueError, match=f"row: no run of row {row} is awaited"):
        walk.observe(row, {}, cost=0.001)


def test_several_costs_are_refused(tables: tuple[hr.Outcomes, hr.Outcomes]) -> None:
    log = tables[0]
    costs = {"usd": log.cost, "seconds": log.cost}
    two = hr.Outcomes(models=log.models, quality=log.quality, cost=costs, queries=log.queries)
    decider = hr.Router(quality="constant", rule="routing").fit(two, budget={"usd": 0.003}).decider_
    with pytest.raises(ValueError, match="decider: expected one of a single cost, got usd, seconds"):
        decide_within(decider, queries_of(log.take([0])), total=1.0)
