"""Two budgets at once, dollars and seconds, and caps for one query: run `python examples/two_budgets.py`."""

import numpy as np

import headrace as hr

rng = np.random.default_rng(0)
hard = rng.random(1_500)
# A cheap model that is slow, one that is quick and dear, and one in between.
models, usd, seconds = ["slow", "middle", "quick"], [0.0004, 0.003, 0.01], [6.0, 3.0, 0.8]
right = rng.random((1_500, 3)) < 0.98 - np.outer(hard**2, [0.9, 0.5, 0.15])
log = hr.Outcomes(
    models=models,
    quality=right.astype(float),
    cost={
        "usd": usd * (0.5 + rng.random((1_500, 3))),
        "seconds": seconds * (0.5 + rng.random((1_500, 3))),
    },
    queries={"hard": hard + rng.normal(0.0, 0.1, 1_500)},
    responses={"sure": right * 0.3 + rng.random((1_500, 3))},
)
fitting, fresh = log.split(0.6)
for budget in ({"usd": 0.004}, {"usd": 0.004, "seconds": 3.0}):
    decider = hr.Router(quality="linear").fit(fitting, budget=budget).decider_
    first = decider.select_batch(fresh.queries, ids=fresh.ids)
    shares = ", ".join(f"{name} {np.mean(first == j):.0%}" for j, name in enumerate(models))
    print(f"budget {budget}: first runs {shares}")

# A cap is for one query: nothing that takes longer, by estimate, may run.
query = {name: column[0] for name, column in fresh.queries.items()}
session = decider.start(query, id="q-1", max_cost={"seconds": 1.5})
print("within 1.5 seconds:", session.next())
