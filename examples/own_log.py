"""From runs of your models to a router for a budget: run `python examples/own_log.py`.

The models are simulated here; yours are called where `run` is called.
"""

import tempfile
from pathlib import Path

import headrace as hr


def write_log(path: Path) -> None:
    """Write a log as a program does that runs its models: a line per run, safe as soon as it is written."""
    log = hr.Recorder(path)
    simulated = hr.datasets.simulate(2_000, 3, rng=1)
    for i in range(len(simulated)):
        query = {"size": simulated.queries["size"][i]}
        for j, model in enumerate(simulated.models):
            response = {"score": simulated.responses["noisy_quality"][i, j]}
            log.run(query, model, response, quality=simulated.quality[i, j], cost=simulated.cost[i, j], id=f"q-{i}")


with tempfile.TemporaryDirectory() as folder:
    log = Path(folder) / "log.jsonl"
    write_log(log)
    outcomes = hr.Outcomes.from_file(log)
print(outcomes)
print(hr.diagnosis.used_columns(outcomes))

fitting, fresh = outcomes.split(0.5)
router = hr.Router(rule="cascade-routing").fit(fitting, budget=0.002)
print(router.path_)
print(f"expected on average: cost {router.point_.cost:.4f}, quality {router.point_.quality:.3f}")

cost = quality = 0.0
for i, query_id in enumerate(fresh.ids):
    session = router.start({name: column[i] for name, column in fresh.queries.items()}, id=query_id)
    while (model := session.next()) is not None:
        j = fresh.models.index(model)
        session.observe(model, {name: column[i, j] for name, column in fresh.responses.items()})
    cost += session.cost
    quality += fresh.quality[i, fresh.models.index(session.model)]
print(f"on {len(fresh)} fresh queries:  cost {cost / len(fresh):.4f}, quality {quality / len(fresh):.3f}")
