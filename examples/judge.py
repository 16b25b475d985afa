"""A judge whose verdicts cost: from a log with some of them to a runner that asks. Run `python examples/judge.py`.

Models and judge are simulated here; yours are called where `models` and `judge` are.
"""

import tempfile
from pathlib import Path

import numpy as np

import headrace as hr

MODELS, PRICE = {"small": 0.001, "medium": 0.004, "large": 0.02}, 0.0005
SKILL = dict(zip(MODELS, (0.3, 0.9, 1.8), strict=True))
rng = np.random.default_rng(0)


def answer(model: str, query: dict[str, float]) -> str:
    """Answer right, the more often the stronger the model and the shorter the query."""
    return "right" if rng.normal(SKILL[model], 1.0) > query["length"] - 0.3 else "wrong"


def judge(query: dict[str, float], answer: str) -> dict[str, float]:
    """Grade an answer; an LLM that is mostly right costs so much."""
    return {"judge": float(answer == "right") + rng.normal(0.0, 0.35), "cost": PRICE}


with tempfile.TemporaryDirectory() as folder:
    log = hr.Recorder(Path(folder) / "log.jsonl")
    for i in range(900):
        query = {"length": rng.exponential(1.0)}
        for model, cost in MODELS.items():
            said = answer(model, query)
            # A third of the queries is judged; of these, all answers.
            verdict = {"judge": judge(query, said)["judge"], "price:judge": PRICE} if i % 3 == 0 else {}
            log.run(query, model, {"answer": said, **verdict}, quality=float(said == "right"), cost=cost, id=f"q-{i}")
    # The answer of a simulated model gives its quality away.
    outcomes = hr.Outcomes.from_file(Path(folder) / "log.jsonl").without("answer")

router = hr.Router(quality="linear").fit(outcomes, budget=0.006)
print(router)
print(router.signals_)

targets = {m: lambda query, m=m: {"answer": answer(m, query), "cost": MODELS[m]} for m in MODELS}
with hr.Runner(router.decider_, targets, signals={"judge": judge}) as runner:
    results = [runner.run({"length": rng.exponential(1.0)}, id=f"new-{i}") for i in range(300)]
print(f"right: {np.mean([one.answer == 'right' for one in results]):.1%}", end=", ")
print(f"at {np.mean([one.cost for one in results]):.4f} a query, verdicts included")
print(f"{len(results[0].run)} run for the first query: {', '.join(results[0].run)}")
