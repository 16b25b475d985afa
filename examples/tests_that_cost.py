"""A code agent whose tests take an hour of a machine: where do they pay? Run `python examples/tests_that_cost.py`.

The verdict of the tests is a column with a price. In `examples/code_agent.py` it is free, and always there.
"""

import numpy as np

import headrace as hr

rng = np.random.default_rng(0)
n, agents = 1_200, ["mini", "standard", "pro"]
size = rng.exponential(1.0, n)  # changed lines, known before any run
hardness = size + rng.normal(0.0, 1.0, n)
passed = (hardness[:, None] + rng.normal(0.0, 0.7, (n, 3)) < [0.6, 1.3, 2.2]).astype(float)
log = hr.Outcomes(
    models=agents,
    quality=passed,
    cost={"usd": np.array([0.03, 0.25, 1.4]) * (0.6 + 0.8 * rng.random((n, 3)))},
    queries={"size": size},
    responses={"tests": passed},
    column_cost={"tests": 0.06},  # dollars: twice what the cheapest agent costs
)
fitting, fresh = log.split(0.5)
router = hr.Router(quality="linear").fit(fitting)
print(router.signals_)

for budget in (0.1, 0.35, 0.8):
    decider = router.with_budget(budget).decider_
    solved, spent = 0.0, 0.0
    for i, label in enumerate(fresh.ids):
        session = decider.start({"size": fresh.queries["size"][i]}, id=label)
        while (agent := session.next()) is not None:
            j = agents.index(agent)
            # Yours: run the agent, then its tests if session.wanted names them.
            bought = {name: fresh.responses[name][i, j] for name in session.wanted}
            session.observe(agent, bought, cost=fresh.cost[i, j])
        solved += fresh.quality[i, agents.index(session.model)]
        spent += session.cost
    print(
        f"budget {budget}: buys {', '.join(decider.wanted) or 'nothing'}; "
        f"{solved / n * 2:.1%} of the tasks pass at {spent / n * 2:.3f} a task"
    )
