"""Decision logs as a runner would write them, of simulated traffic: shared by the tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

import headrace as hr
from headrace.datasets import NoisyOracle, simulate
from headrace.runner.counterfactuals import Counterfactuals, Ran, is_audited
from headrace.runner.events import audit_event, decision_event, feedback_event, policy_event

__all__ = ["BUDGET", "columns_of", "fitted", "logged", "runs_of", "step_of", "walked"]

BUDGET = 0.003


@lru_cache(maxsize=1)
def fitted() -> hr.Decider:
    router = hr.Router(quality=NoisyOracle(), cost=hr.estimators.ConstantCost())
    return router.fit(simulate(1500, 3, rng=1), budget=BUDGET).decider_


def columns_of(table: hr.Outcomes, row: int) -> dict[str, Any]:
    return {name: cells[row] for name, cells in table.queries.items()}


def runs_of(table: hr.Outcomes, row: int) -> dict[str, Ran]:
    responses = [{name: cells[row, j] for name, cells in table.responses.items()} for j in range(len(table.models))]
    costs = table.cost[row].tolist()
    return {model: Ran("ok", responses[j], costs[j]) for j, model in enumerate(table.models)}


def step_of(session: hr.Session, model: str) -> dict[str, Any]:
    """Give what the log keeps of a step, right after `Session.next` named a model."""
    quality, costs = session.expected(model)
    return {"model": model, "expected": next(iter(costs.values())), "quality": quality, "plan": session.plan}


def walked(decider: hr.Decider, table: hr.Outcomes, prefix: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Give the cost and the quality of each query, walked by a decider."""
    cost, quality = [], []
    for row in range(len(table)):
        session = decider.start(columns_of(table, row), id=f"{prefix}{row}")
        while (model := session.next()) is not None:
            ran = runs_of(table, row)[model]
            session.observe(model, ran.response, cost=ran.cost)
        cost.append(session.cost)
        quality.append(table.quality[row, table.models.index(session.model)])
    return np.array(cost), np.array(quality)


def logged(
    decider: hr.Decider,
    table: hr.Outcomes,
    *,
    audit: float = 0.0,
    explore: float = 0.0,
    graded: bool = True,
    prefix: str = "",
) -> Iterator[dict[str, Any]]:
    """Give the events of a table's queries, served by a decider."""
    counterfactuals, policy = Counterfactuals(decider), decider.fingerprint
    yield policy_event(counterfactuals)
    for row in range(len(table)):
        id, columns, runs = f"{prefix}{row}", columns_of(table, row), runs_of(table, row)
        watcher = counterfactuals.watch(id, explore) if explore else None
        session = (decider if watcher is None else watcher.decider).start(columns, id=id)
        steps = []
        while True:
            model = session.next()
            if watcher is not None:
                watcher.saw(session)
            if model is None:
                break
            ran = runs[model]
            steps.append({**step_of(session, model), "kind": ran.kind, "cost": ran.cost, "seconds": 0.0})
            session.observe(model, ran.response, cost=ran.cost)
        audited = is_audited(id, audit)
        told: dict[str, Any] = {"policy": policy, "steps": steps, "stopped": "plan", "seconds": 0.0}
        yield decision_event(session, watcher=watcher, audited=audited, **told)
        right = dict(zip(table.models, table.quality[row].tolist(), strict=True))
        if graded:
            yield feedback_event(id, right[session.model])
        if audited:
            replays = counterfactuals.replays(columns, runs, id=id)
            yield audit_event(id, policy=policy, runs=runs, replays=replays, quality=right if graded else None)
