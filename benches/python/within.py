"""A hard total for a batch against a budget in the mean: how the spend varies, and what the quality is.

Simulated tables of five models; routers fitted on 1,000 queries with the default estimators. Batches of 50 other
queries, the total 50 times the budget: `decide_within` with that total, and sessions of the same router one by one.

    python benches/python/within.py
    python benches/python/within.py --data FILE --batches 200  # batches drawn from the half of a log that wasn't fitted
"""

from __future__ import annotations

import argparse

import numpy as np

import headrace as hr
from headrace.datasets import simulate
from headrace.serving import decide_within

BATCH = 50


def one_by_one(decider: hr.Decider, log: hr.Outcomes) -> tuple[float, float]:
    """Walk a batch query by query: what was spent, and the mean quality."""
    spent = quality = 0.0
    for row in range(len(log)):
        session = decider.start({name: column[row] for name, column in log.queries.items()}, id=log.ids[row])
        while (model := session.next()) is not None:
            j = log.models.index(model)
            response = {name: column[row, j] for name, column in log.responses.items()}
            session.observe(model, response, cost=log.cost[row, j])
        spent += session.cost
        quality += log.quality[row, log.models.index(session.model)]
    return spent, quality / len(log)


def together(decider: hr.Decider, log: hr.Outcomes, total: float) -> tuple[float, float, int]:
    """Walk a batch within a total: what was spent, the mean quality (an answer that lacks counts 0), and unanswered."""
    queries = [{name: column[row] for name, column in log.queries.items()} for row in range(len(log))]
    walk = decide_within(decider, queries, total=total, ids=log.ids)
    while wave := walk.next():
        for row, model in wave.items():
            j = log.models.index(model)
            response = {name: column[row, j] for name, column in log.responses.items()}
            walk.observe(row, response, cost=log.cost[row, j])
    answers = [log.models.index(session.model) if session.run else None for session in walk.sessions]
    quality = sum(log.quality[row, j] for row, j in enumerate(answers) if j is not None)
    return walk.spent, quality / len(log), len(walk.unanswered)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="A hard total for a batch.")
    parser.add_argument("--data", help="a log; simulated tables by default")
    parser.add_argument("--batches", type=int, default=100)
    given = parser.parse_args()
    table = simulate(3_000, 5, rng=1) if given.data is None else hr.Outcomes.from_file(given.data)
    fitting, fresh = table.split(min(0.5, 1_000 / len(table)))
    rng = np.random.default_rng(0)
    print(f"{given.batches} batches of {BATCH}; spend in shares of the total\n")
    print("| budget a query | how | mean | standard deviation | most | above the total | quality | unanswered |")
    print("|---|---|---|---|---|---|---|---|")
    costs = np.sort(fitting.mean_cost)
    for budget in (np.sqrt(costs[0] * costs[-1]), 0.5 * costs[-1]):
        decider = hr.Router().fit(fitting, budget=float(budget)).decider_.warm()
        total = BATCH * float(budget)
        rows = [rng.choice(len(fresh), BATCH, replace=False) for _ in range(given.batches)]
        singly = [(*one_by_one(decider, fresh.take(batch)), 0) for batch in rows]
        within = [together(decider, fresh.take(batch), total) for batch in rows]
        for how, found in (("one by one", singly), ("within the total", within)):
            spent, quality, unanswered = (np.array(column) for column in zip(*found, strict=True))
            share = spent / total
            cells = f"{share.mean():.3f} | {share.std():.3f} | {share.max():.3f} | {np.mean(share > 1.0):.0%}"
            error = quality.std() / np.sqrt(len(quality))
            print(
                f"| {budget:.4g} | {how} | {cells} | {quality.mean():.4f} ± {error:.4f} | {unanswered.sum()} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
