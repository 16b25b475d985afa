"""Cascade routing against baselines as strong as a rival would make them, on held-out queries, over several splits.

    python benches/python/rivals.py [--data DIR] [--seeds 5] [--tables mmlu_pro ...] > docs/results/rivals.md

DIR, the models, the halves and the assumed costs are those of held_out.py beside this file. Without it, the digits that
come with the package.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from held_out import CASES, halves

import headrace as hr
from headrace.arguments import FloatArray
from headrace.evaluation import Evaluation
from headrace.evaluation.baselines import BASELINES, GREEDY, LABELS, NO_EXPECTED_MAX, ORACLE

METHODS = tuple(name for name in BASELINES if name not in ("cascade-routing", GREEDY, NO_EXPECTED_MAX, ORACLE))

#: The table that comes with the package.
BUNDLED = "bundled digits"

HEAD = """# Cascade routing against strong baselines

`python benches/python/rivals.py --data DIR --seeds {seeds}`: half of the queries fit and calibrate all methods (five
folds), the other half are the test; five models each, the package's default estimators, the same for all methods. The
area is the mean quality over the costs from the cheapest to the most expensive single model, in %. The difference is
cascade routing's area minus the method's, in points: mean over {seeds} splits; brackets: 95%, pooled paired bootstrap
over the test queries of all splits, so that of one split. "Ahead" and "behind" count the splits whose own interval is
above or below zero. Seconds: calibration and replay after the first progress, without the estimates that other methods
asked for before; in cascade routing's row those of its fit.
"""


class Clock:
    """Adds up the seconds of each method, from the first time that its progress is told."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.begun = seconds, dict[str, float]()

    def __call__(self, method: str, share: float) -> None:
        now = time.perf_counter()
        begun = self.begun.setdefault(method, now)
        if share == 1.0:
            self.seconds[method] += now - begun


def pooled(values: list[float], resampled: list[FloatArray]) -> str:
    low, high = 100.0 * np.quantile(np.concatenate(resampled), [0.025, 0.975])
    return f"{100.0 * np.mean(values):+.2f} [{low:+.2f}, {high:+.2f}]"


def row(name: str, evaluations: list[Evaluation], seconds: float) -> str:
    area = 100.0 * np.mean([evaluation[name].area for evaluation in evaluations])
    differences = [evaluation.difference("router", name) for evaluation in evaluations]
    shown = pooled(
        [difference.value for difference in differences],
        [evaluation["router"].resampled - evaluation[name].resampled for evaluation in evaluations],
    )
    ahead, behind = sum(d.low > 0.0 for d in differences), sum(d.high < 0.0 for d in differences)
    return f"| {LABELS[name]} | {area:.2f} | {shown} | {ahead} | {behind} | {seconds:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", nargs="*")
    given = parser.parse_args()
    print(HEAD.format(seeds=given.seeds))
    cases = {BUNDLED: None} if given.data is None else {case[0]: case for case in CASES}
    for name_of_table, case in cases.items():
        if given.tables and name_of_table not in given.tables:
            continue
        evaluations: list[Evaluation] = []
        seconds = dict.fromkeys(("router", *METHODS), 0.0)
        for seed in range(given.seeds):
            if case is None:
                fitting, test = hr.datasets.load_quickstart().split(0.5, rng=seed)
            else:
                fitting, test = halves(given.data, case, seed)
            started = time.perf_counter()
            router = hr.Router(rule="cascade-routing", seed=seed).fit(fitting)
            seconds["router"] += time.perf_counter() - started
            clock = Clock(seconds)
            evaluations.append(hr.evaluate(router, test, fitting=fitting, baselines=METHODS, seed=seed, progress=clock))
            print(f"{name_of_table}, seed {seed}: {time.perf_counter() - started:.1f} s", file=sys.stderr)
        print(f"## {name_of_table}\n")
        print(f"{fitting.n_queries} queries to fit, {test.n_queries} to test.\n")
        print("| method | area | cascade routing minus it | ahead | behind | seconds |\n|---|---|---|---|---|---|")
        own = 100.0 * np.mean([evaluation["router"].area for evaluation in evaluations])
        print(f"| cascade routing | {own:.2f} | | | | {seconds['router'] / given.seeds:.1f} |")
        for name in METHODS:
            if name in evaluations[0].left_out:
                print(f"| {LABELS[name]} | none: {evaluations[0].left_out[name]} | | | | |")
                continue
            print(row(name, evaluations, seconds[name] / given.seeds))
        print(flush=True)


if __name__ == "__main__":
    main()
