"""Partial logs: what rows with missing cells add to a few complete ones.

    nice python benches/python/partial_logs.py DATA_DIR [--seeds 5] > docs/results/partial_logs.md

DATA_DIR, the models and the draws are those of estimators.py beside this file. Of the queries to fit, 200 are complete;
of the others, a share of the cells (a run and its label) is missing, drawn at random.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from estimators import CASES, parts, shown, table_of

import headrace as hr
from headrace.estimators import JointQuality, LinearQuality, QualityEstimator

NAMES = ("mmlu_pro, 5", "mmlu_pro, 11", "routerbench, 5", "routerbench, 11")
N_COMPLETE = 200
SHARES = (0.8, 0.5)

HEAD = f"""# Partial logs

`python benches/python/partial_logs.py DATA_DIR`: cascade routing on 1,500 queries, of which {N_COMPLETE} are complete.
Real logs have one or two models per query. The regressions can use complete rows only; the joint belief uses all of
them, and is calibrated on the complete ones. Area under quality against cost, in %: mean over the draws of the queries,
and half the width of its 95% interval; in the second line of each, minus the joint belief on {N_COMPLETE} complete rows
alone, on the same draws. The regressions on 1,500 complete rows: estimators.md. Mean squared errors of the estimates,
for more tables and numbers of queries: joint_belief.md.
"""

TAIL = """
Rows with half of their cells missing bring seven tenths to all of what complete ones would; with 80% missing, one run
of five or two of eleven, a quarter to two thirds. No mean is below that of the 200 complete rows alone, though at 80%
two of the four intervals hold zero.
"""

COLUMNS = (
    f"regressions, {N_COMPLETE} complete",
    f"joint, {N_COMPLETE} complete",
    *(f"joint, the others {share:.0%} missing" for share in SHARES),
    "joint, 1,500 complete",
)


def area(quality: QualityEstimator, fitting: hr.Outcomes, test: hr.Outcomes) -> float:
    router = hr.Router(rule="cascade-routing", quality=quality).fit(fitting)
    return 100.0 * hr.evaluate(router, test, baselines=[], n_resamples=2, n_examples=0).methods[0].area


def holed(table: hr.Outcomes, share: float, seed: int) -> hr.Outcomes:
    """Take away a share of the cells of all rows but the first ones."""
    missing = np.random.default_rng(seed).uniform(size=table.quality.shape) < share
    missing[:N_COMPLETE] = False
    return replace(table, quality=np.where(missing, np.nan, table.quality), cost=np.where(missing, np.nan, table.cost))


def areas(fitting: hr.Outcomes, test: hr.Outcomes, seed: int) -> list[float]:
    fitting = fitting.take(np.random.default_rng(seed).permutation(len(fitting)))
    few = fitting.take(np.arange(N_COMPLETE))
    return [
        area(LinearQuality(), few, test),
        area(JointQuality(), few, test),
        *(area(JointQuality(), holed(fitting, share, seed), test) for share in SHARES),
        area(JointQuality(), fitting, test),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    print(HEAD)
    print("| data |", " | ".join(COLUMNS), "|")
    print("|---|" + "---|" * len(COLUMNS))
    for case in [case for case in CASES if case.name in NAMES]:
        table = table_of(options.directory, case)
        found = np.array([areas(*parts(table, case, seed), seed) for seed in range(options.seeds)])
        print(f"| {case.name} |", " | ".join(shown(column) for column in found.T), "|")
        gains = [shown(column - found[:, 1], "+") if j != 1 else "" for j, column in enumerate(found.T)]
        print("| |", " | ".join(gains), "|", flush=True)
    print(TAIL, end="")


if __name__ == "__main__":
    main()
