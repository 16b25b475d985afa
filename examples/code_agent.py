"""A code agent whose answers are tested: cheap attempts first. Run `python examples/code_agent.py`.

Where tests show the quality of a run, a good answer ends the walk, and a bad one tells that the task is hard. A log is
read with `verified=True`, which makes the outcome of a run a column of its response. Tests that cost money:
`examples/tests_that_cost.py`.
"""

import numpy as np

import headrace as hr

rng = np.random.default_rng(0)
n, agents = 1_200, ["mini", "standard", "pro"]
size = rng.exponential(1.0, n)  # changed lines, known before any run
hardness = size + rng.normal(0.0, 1.0, n)
passed = hardness[:, None] + rng.normal(0.0, 0.7, (n, 3)) < [0.6, 1.3, 2.2]
log = hr.Outcomes(
    models=agents,
    quality=passed.astype(float),
    cost=np.array([0.03, 0.25, 1.4]) * (0.6 + 0.8 * rng.random((n, 3))),
    queries={"size": size},
    responses={"quality": passed.astype(float)},  # from a file: Outcomes.from_file(..., verified=True)
)
fitting, fresh = log.split(0.5)
router = hr.Router(quality="linear").fit(fitting, budget=0.35)

answered, spent, runs = 0.0, 0.0, 0
for i in range(len(fresh)):
    session = router.start({"size": fresh.queries["size"][i]}, id=f"issue-{i}")
    while (agent := session.next()) is not None:
        j = agents.index(agent)
        session.observe(agent, {"quality": fresh.quality[i, j]}, cost=fresh.cost[i, j])  # yours: run it, then its tests
    answered += fresh.quality[i, agents.index(session.model)]
    spent += session.cost
    runs += len(session.run)
means = answered / len(fresh), spent / len(fresh), runs / len(fresh)
print("router: {:.1%} of the tasks pass at {:.2f} a task, {:.2f} runs".format(*means))
for j, agent in enumerate(agents):
    print(f"{agent} alone: {fresh.quality[:, j].mean():.1%} at {fresh.cost[:, j].mean():.2f}")
