"""From a log file to a router for a budget: run `python examples/own_log.py` (needs the extra `data`).

The log is simulated here; yours has one row per query and, per model, a quality and a cost.
"""

import csv
import tempfile
from pathlib import Path

import headrace as hr


def write_log(path: Path) -> None:
    """Write a log such as a user may have."""
    simulated = hr.datasets.simulate(2_000, 3, rng=1)
    with path.open("w", newline="") as file:
        log = csv.writer(file)
        measured = [f"{model}|{name}" for model in simulated.models for name in ("quality", "cost", "score")]
        log.writerow(["query_id", "size", *measured])
        for i in range(len(simulated)):
            cells = [
                (simulated.quality[i, j], simulated.cost[i, j], simulated.responses["noisy_quality"][i, j])
                for j in range(simulated.n_models)
            ]
            log.writerow([f"q-{i}", simulated.queries["size"][i], *(number for cell in cells for number in cell)])


with tempfile.TemporaryDirectory() as folder:
    log = Path(folder) / "log.csv"
    write_log(log)
    outcomes = hr.Outcomes.from_file(log)
print(outcomes)

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
