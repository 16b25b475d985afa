"""A person as the last and most expensive model, and a model that abstains: run `python examples/human.py`.

Tickets are sorted by rules, by a language model, or by a person, who is asked only where that is worth it. Where nobody
should be asked, "I don't know" is a model too: it costs nothing, and its quality is what no answer is worth to you.
"""

import random

import headrace as hr

KINDS = ("billing", "login", "bug")
COSTS = {"rules": 0.0001, "llm": 0.01, "person": 1.5, "abstain": 0.0}
WORTH_OF_NONE = 0.7  # a right answer is worth 1, a wrong one 0
rng = random.Random(0)


def guess(chance, kind):
    """Stand for a model that is right with that chance, and surer where it is."""
    right = rng.random() < chance
    return {"answer": kind if right else rng.choice(KINDS), "sure": min(rng.gauss(0.85 if right else 0.5, 0.12), 1.0)}


def models_for(kind):
    """Give the models of a ticket; in real life they don't know its kind, and the person is a message to a queue."""
    return {
        "rules": lambda query: guess(0.3 + 0.6 * query["plain"], kind) | {"cost": COSTS["rules"]},
        "llm": lambda query: guess(0.6 + 0.35 * query["plain"], kind) | {"cost": COSTS["llm"]},
        "person": lambda query: {"answer": kind, "cost": COSTS["person"]},
        "abstain": lambda query: {"answer": "none", "cost": COSTS["abstain"]},
    }


def quality(answer, kind):
    """Say what an answer is worth."""
    return WORTH_OF_NONE if answer == "none" else float(answer == kind)


tickets = [({"plain": rng.random()}, rng.choice(KINDS)) for _ in range(1500)]
runs = [{name: ask(query) for name, ask in models_for(kind).items()} for query, kind in tickets[:1000]]
log = hr.Outcomes(
    models=list(COSTS),
    quality=[
        [quality(run[name]["answer"], kind) for name in COSTS] for run, (_, kind) in zip(runs, tickets, strict=False)
    ],
    cost=[list(COSTS.values())] * 1000,
    queries={"plain": [query["plain"] for query, _ in tickets[:1000]]},
    responses={"sure": [[run[name].get("sure", float("nan")) for name in COSTS] for run in runs]},
)
router = hr.Router(quality="linear").fit(log, budget=0.15)
results = [(router.run(query, models_for(kind)), kind) for query, kind in tickets[1000:]]
for model in COSTS:
    n = sum(result.model == model for result, _ in results)
    print(f"{model} answered {n / len(results):.0%} of the tickets")
mean = sum(quality(result.answer, kind) for result, kind in results) / len(results)
cost = sum(result.cost for result, _ in results) / len(results)
alone = {name: log.quality[:, j].mean() for j, name in enumerate(COSTS)}
print(
    f"worth {mean:.3f} at {cost:.3f} a ticket; alone: "
    + ", ".join(f"{name} {value:.3f}" for name, value in alone.items())
)
