"""Predicted against realised: what a fit says of a budget, and what held-out queries then cost and bring.

    python benches/python/held_out.py DATA_DIR [--step-weights] > docs/results/held_out.md

DATA_DIR holds the Parquet tables named below (columns: see `headrace.Outcomes.from_file`, layout "wide"). Half of the
queries fit and calibrate, by cross-fitting; the other half are the test. Queries of the same text are never split. The
intervals are those of the difference, two standard errors of both halves. LiveCodeBench has response lengths for two
models only; the costs of its models are assumed here, the same for each query.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import headrace as hr
from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration.walk import Stops, walk
from headrace.policy.budget_path import PathPoint
from headrace.rules import make_rule

Halves = tuple[hr.Outcomes, hr.Outcomes]

MMLU = (
    "Meta-Llama-3_1-8B-Instruct",
    "gemini-1.5-flash-002",
    "Meta-Llama-3_1-70B-Instruct",
    "gemini-1.5-pro-002",
    "gpt-4o (May-2024 run)",
)
ROUTERBENCH = (
    "mistralai/mistral-7b-chat",
    "WizardLM/WizardLM-13B-V1.2",
    "mistralai/mixtral-8x7b-chat",
    "gpt-3.5-turbo-1106",
    "gpt-4-1106-preview",
)
SWEBENCH = (
    "deepseek-v3.2-reasoner",
    "gpt-5-mini-2025-08-07",
    "gpt-5-2025-08-07",
    "gemini-3-pro-preview",
    "claude-opus-4-5-20251101",
)
LIVECODEBENCH = (
    "Claude-3-Haiku",
    "GPT-4O-mini-2024-07-18",
    "DeepSeek-V3",
    "O3-Mini-2025-01-31 (Low)",
    "O4-Mini (High)",
)
#: File, models, whether quality is known after a run (tests passed), and costs that are assumed.
CASES = (
    ("mmlu_pro", MMLU, False, None),
    ("routerbench_arc_mbpp_winogrande", ROUTERBENCH, False, None),
    ("swebench_verified_miniagent", SWEBENCH, True, None),
    ("livecodebench_codegen", LIVECODEBENCH, True, (1.0, 2.0, 5.0, 10.0, 20.0)),
)
RULES = ("routing", "cascade-routing")

#: Budgets, as places between the mean costs of the cheapest and of the most expensive model, on a logarithmic scale.
PLACES = (0.3, 0.5, 0.7)

SEEDS = (0, 1, 2)

#: Most queries of a table that are used.
MOST = 4_000


def halves(directory: Path, case: tuple[str, tuple[str, ...], bool, tuple[float, ...] | None], seed: int) -> Halves:
    name, models, verified, assumed = case
    cost = None if assumed is None else "response_len"
    table = hr.Outcomes.from_file(directory / f"{name}.parquet", cost=cost, verified=verified).select(models)
    if assumed is not None:
        table = replace(table, cost=assumed, responses={"quality": table.quality})
    table = table.complete()
    table = replace(table, groups=[str(text or row) for row, text in enumerate(table.queries["text"])])
    if table.n_queries > MOST:
        table = table.split(MOST / table.n_queries, rng=seed)[0]
    return table.split(0.5, rng=seed)


def of_queries(stops: Stops, values: FloatArray, point: PathPoint) -> FloatArray:
    """Mean of some values of the stops, for each query, under a mixture of two rules."""
    cheap, costly = (values[stops.at(parameter)] for parameter in point.parameters)
    return point.share * cheap + (1.0 - point.share) * costly


def report(directory: Path) -> None:
    print("| data, rule | seed | budget | predicted cost | realised | z | predicted quality | realised | difference |")
    print("|---|---|---|---|---|---|---|---|---|")
    z_values = []
    for case in CASES:
        name = case[0]
        for seed in SEEDS:
            fitting, test = halves(directory, case, seed)
            costs = fitting.mean_cost
            for rule in RULES:
                router = hr.Router(rule=rule, seed=seed).fit(fitting)
                for place in PLACES:
                    budget = float(costs.min() ** (1.0 - place) * costs.max() ** place)
                    fitted = router.with_budget(budget)
                    point = fitted.point_
                    held_out = BeliefTable.served(test, fitted.estimators_, seed=seed)
                    stops = walk(make_rule(rule, 0.0, fitted.policy_.settings), test, held_out)
                    known = fitted._calibrator.promised(fitted.walked_, point).values
                    cells, differences = [], []
                    for column, values in ((test.cost_name, stops.cost), ("quality", stops.quality)):
                        seen, before = of_queries(stops, values, point), np.asarray(known[column])
                        error = np.hypot(seen.std() / len(seen) ** 0.5, before.std() / len(before) ** 0.5)
                        differences.append((seen.mean() - before.mean(), float(error)))
                        cells.append((before.mean(), seen.mean()))
                    z = differences[0][0] / differences[0][1]
                    z_values.append((z, differences[1][0] / differences[1][1]))
                    gain, spread = differences[1]
                    line = (
                        f"| {name}, {rule} | {seed} | {budget:.3g} | {cells[0][0]:.3g} | {cells[0][1]:.3g} | {z:+.1f} "
                    )
                    line += f"| {cells[1][0]:.4f} | {cells[1][1]:.4f} | {gain:+.4f} ± {2 * spread:.4f} |"
                    print(line, flush=True)
    both = np.array(z_values)
    print(f"\nOf {len(both)} predictions, {np.mean(np.abs(both[:, 0]) < 2):.0%} of the costs and ", end="")
    print(f"{np.mean(np.abs(both[:, 1]) < 2):.0%} of the qualities are within two standard errors; ", end="")
    print(f"root mean square z: cost {np.sqrt(np.mean(both[:, 0] ** 2)):.2f}, ", end="")
    print(f"quality {np.sqrt(np.mean(both[:, 1] ** 2)):.2f}; mean z of the quality {both[:, 1].mean():+.2f}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    report(parser.parse_args().directory)


if __name__ == "__main__":
    main()
