"""Cascade routing against all baselines on held-out queries of real logs, with intervals.

    python benches/python/evaluate_tables.py DATA_DIR > docs/results/methods.md

DATA_DIR, the models, the halves and the assumed costs are those of held_out.py beside this file. The router and every
baseline are fitted and calibrated on one half of the queries, and replayed on the other. The intervals are those of a
paired bootstrap over the queries of the second half; the split itself is one of many.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

from held_out import CASES, halves

import headrace as hr
from headrace.benchmarks.metrics import aiq
from headrace.evaluation import Evaluation
from headrace.evaluation.baselines import LABELS
from headrace.outcomes import Outcomes

SEED = 0

HEAD = """# Methods on held-out queries

`python benches/python/evaluate_tables.py DATA_DIR`: half of the queries fit and calibrate all methods (five folds), the
other half are the test; five models each, the package's default estimators (linear regressions or the joint Gaussian,
whichever errs less on held-out fitting queries; the same for all methods). "This router" is cascade routing, and the
budget is the middle, in logarithms, of the single models' costs. Area: mean quality over the costs from the
cheapest to the most expensive single model, in %. AIQ: the same under the non-decreasing concave hull. Brackets: 95%
paired bootstrap over the test queries, 500 resamples; they don't cover the choice of the split. Over budget: realised
above permitted cost, mean over all budgets. The oracle knows the outcomes.

LiveCodeBench's tables have no costs: 1, 2, 5, 10 and 20 are assumed, so its numbers are an illustration.
"""


def tables(name: str, evaluation: Evaluation, test: Outcomes) -> str:
    at = evaluation.at
    ends = float(test.mean_cost.min()), float(test.mean_cost.max()), float(test.mean_quality.min())
    lines = [f"## {name}", "", f"{evaluation.n_fit} queries to fit, {evaluation.n_test} to test."]
    lines += ["", " ".join(evaluation.verdict), ""]
    budget = f"{evaluation.budgets[at]:.3g}"
    lines.append(f"| method | area | this router minus it | AIQ | quality at {budget} | its cost | over budget |")
    lines.append("|---|---|---|---|---|---|---|")
    for method in evaluation.methods:
        low, high = (100 * end for end in method.interval)
        difference = [100 * number for number in evaluation.difference("router", method.name)]
        against = (
            "" if method.name == "router" else f"{difference[0]:+.2f} [{difference[1]:+.2f}, {difference[2]:+.2f}]"
        )
        lines.append(
            f"| {LABELS[method.name]} | {100 * method.area:.2f} [{low:.2f}, {high:.2f}] | {against} "
            f"| {100 * aiq(method.cost, method.quality, *ends):.2f} | {100 * method.quality[at]:.1f} "
            f"| {method.cost[at]:.3g} | {100 * method.excess:.1f}% |"
        )
    lines += ["", "| single model | cost | quality | this router at its cost, minus it | saved at 0.5 points less |"]
    lines.append("|---|---|---|---|---|")
    for single in evaluation.singles:
        gain = [100 * number for number in single.gain]
        saved = [f"{round(100 * number)}%" if math.isfinite(number) else "none" for number in single.near_saving]
        lines.append(
            f"| {single.model} | {single.cost.value:.3g} | {100 * single.quality.value:.1f} "
            f"| {gain[0]:+.1f} [{gain[1]:+.1f}, {gain[2]:+.1f}] | {saved[0]} [{saved[1]}, {saved[2]}] |"
        )
    return "\n".join(lines).replace("-inf", "none")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    directory = parser.parse_args().directory
    print(HEAD)
    for case in CASES:
        started = time.perf_counter()
        fitting, test = halves(directory, case, SEED)
        router = hr.Router(rule="cascade-routing", seed=SEED).fit(fitting)
        evaluation = hr.evaluate(router, test, fitting=fitting)
        print(tables(case[0], evaluation, test), flush=True)
        print()
        print(f"{case[0]}: {time.perf_counter() - started:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
