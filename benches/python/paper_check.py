"""Where the order of the paper's table 1 isn't seen on a part of RouterBench: fit, tasks, depth of the cascade.

    python benches/python/paper_check.py DATA_DIR > docs/results/paper_check.md
    python benches/python/paper_check.py DATA_DIR --by-task > docs/results/paper_check_by_task.md
    python benches/python/paper_check.py DATA_DIR --by-depth > docs/results/paper_check_by_depth.md

DATA_DIR holds the file that `headrace bench routerbench` reads. Each row is a difference of two areas, as mean and
standard error over draws of the noise and the split: what one would see on average, not the interval of one draw.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import cross_fit
from headrace.benchmarks import PROTOCOLS
from headrace.benchmarks.routerbench import COST_NOISE, ELEVEN, FIT_SHARE, MODEL_SETS, ORDER, PAPER, noisy_curves
from headrace.calibration.settings import calibrate, rule_settings
from headrace.calibration.walk import walk
from headrace.datasets import NOISE_LEVELS, NoisyCost, NoisyOracle, simulate, with_noise
from headrace.evaluation.baselines import LABELS
from headrace.evaluation.bootstrap import resampling_weights
from headrace.evaluation.curves import METHODS, budget_grid
from headrace.evaluation.method import summarise
from headrace.evaluation.replay import points_for, replay
from headrace.outcomes import Outcomes
from headrace.rules import make_rule

DRAWS = 4
SHARES = (FIT_SHARE, 0.5)
COMPARED = [method for method in METHODS if method != "index"]

HEAD = f"""# Why the order of the paper's table 1 is not seen everywhere

`python benches/python/paper_check.py DATA_DIR`: the noise protocol of `headrace bench routerbench` on the same part of
RouterBench, with its 5% of the queries to fit and calibrate, and with 50%. Differences of areas in points, mean +-
standard error over {DRAWS} draws of noise and split. The draws share their queries, so the error covers noise, fit and
split, not the choice of these queries among all.
"""

TASK_HEAD = f"""# The paper's order within each task

`python benches/python/paper_check.py DATA_DIR --by-task`: the noise protocol of `headrace bench routerbench` with
{len(ELEVEN)} models on one task at a time, half of its queries to fit and calibrate. Differences of areas in points,
mean +- standard error over {DRAWS} draws of noise and split. The paper's numbers are those of RouterBench as a
whole.
"""

DEPTHS = (5, 8, 11)

DEPTH_HEAD = f"""# The paper's order by the depth of the cascade

`python benches/python/paper_check.py DATA_DIR --by-depth`: the noise protocol of `headrace bench routerbench` with
{len(ELEVEN)} models, where the plain cascade may run its first models only; elsewhere it may run all {len(ELEVEN)}, and
cascade routing any five. Differences of areas in points, mean +- standard error over {DRAWS} draws of noise and split.
"""

NAMES = [f"{LABELS[a]} - {LABELS[b]}" for a, b in ORDER]


def differences(table: Outcomes, level: str, share: float) -> list[tuple[float, float]]:
    found = []
    for seed in range(DRAWS):
        result = noisy_curves(table, NOISE_LEVELS[level], COST_NOISE[level], seed, methods=COMPARED, fit_share=share)
        found.append([100.0 * (result[a].area - result[b].area) for a, b in ORDER])
    return list(zip(np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(DRAWS), strict=True))


def printed(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def shown(value: tuple[float, float]) -> str:
    return f"{value[0]:+.2f} +- {value[1]:.2f}"


def by_task(complete: Outcomes) -> None:
    """Print the differences within each task: half of its queries fit."""
    print(TASK_HEAD)
    task = np.array(complete.queries["task"], dtype=object)
    tasks = {name: complete.take(np.flatnonzero(task == name)) for name in sorted(set(task.tolist()))}
    rows = []
    for at, level in enumerate(NOISE_LEVELS):
        found = [differences(table, level, 0.5) for table in tasks.values()]
        for i, (a, b) in enumerate(ORDER):
            paper = f"{PAPER[a][len(ELEVEN)][at] - PAPER[b][len(ELEVEN)][at]:+.2f}"
            rows.append([level, NAMES[i], *(shown(each[i]) for each in found), paper])
        print(level, file=sys.stderr, flush=True)
    heads = [f"{name} ({table.n_queries:,} queries)" for name, table in tasks.items()]
    printed(["noise", "difference", *heads, "paper, all tasks"], rows)


def cascade_area(table: Outcomes, level: str, seed: int, depth: int) -> float:
    """Area of a cascade of some depth, on the draw and at the budgets of `noisy_curves`."""
    noisy = with_noise(table, NOISE_LEVELS[level], COST_NOISE[level], rng=seed)
    fitting, test = noisy.split(FIT_SHARE, rng=seed)
    believed = cross_fit(fitting, NoisyOracle(), NoisyCost(), n_folds=5, seed=seed)
    chosen = calibrate("cascade", believed, settings=rule_settings("cascade", fitting, max_depth=depth))
    stops = walk(
        make_rule("cascade", 0.0, chosen.settings), test, BeliefTable.served(test, believed.estimators, seed=seed)
    )
    budgets = budget_grid(fitting)
    points, feasible = points_for(chosen.path, budgets)
    replayed = replay("cascade", points, stops, test, feasible=feasible)
    (result,) = summarise([replayed], test, budgets, resampling_weights(test, seed, 2))
    return result.area


def by_depth(complete: Outcomes) -> None:
    """Print the differences to cascades of several depths."""
    print(DEPTH_HEAD)
    rivals = ("routing", "threshold-cascade", "cascade-routing")
    rows = []
    for at, level in enumerate(NOISE_LEVELS):
        noise, spread = NOISE_LEVELS[level], COST_NOISE[level]
        others = [noisy_curves(complete, noise, spread, seed, methods=rivals) for seed in range(DRAWS)]
        areas = [[cascade_area(complete, level, seed, depth) for seed in range(DRAWS)] for depth in DEPTHS]
        for rival in rivals:
            sign = 1.0 if rival != "cascade-routing" else -1.0
            gaps = [
                [100.0 * sign * (own - other[rival].area) for own, other in zip(found, others, strict=True)]
                for found in areas
            ]
            cells = [shown((float(np.mean(gap)), float(np.std(gap, ddof=1) / np.sqrt(DRAWS)))) for gap in gaps]
            paper = sign * (PAPER["cascade"][len(ELEVEN)][at] - PAPER[rival][len(ELEVEN)][at])
            name = f"cascade - {LABELS[rival]}" if sign > 0.0 else f"{LABELS[rival]} - cascade"
            rows.append([level, name, *cells, f"{paper:+.2f}"])
        print(level, file=sys.stderr, flush=True)
    printed(["noise", "difference", *(f"first {depth} models" for depth in DEPTHS), "paper"], rows)


def by_fit(complete: Outcomes) -> None:
    """Print the differences for two sizes of the fit, here and on simulated queries."""
    print(HEAD)
    rows = []
    for size, models in MODEL_SETS.items():
        for at, level in enumerate(NOISE_LEVELS):
            by_share = [differences(complete.select(models), level, share) for share in SHARES]
            for i, (a, b) in enumerate(ORDER):
                paper = f"{PAPER[a][size][at] - PAPER[b][size][at]:+.2f}"
                rows.append([str(size), level, NAMES[i], *(shown(found[i]) for found in by_share), paper])
            print(size, level, file=sys.stderr, flush=True)
    fits = [f"{round(share * complete.n_queries):,} fit" for share in SHARES]
    print("## The part of RouterBench\n")
    printed(["models", "noise", "difference", *fits, "paper (some 1,800 fit)"], rows)
    size = complete.n_queries
    small = simulate(size, len(ELEVEN))
    print(f"## Simulated queries of the same number, {len(ELEVEN)} models\n")
    print(f"{size:,} of them; `docs/results/simulated.md` has 36,000, of which 1,800 fit.\n")
    rows = []
    for level in NOISE_LEVELS:
        by_share = [differences(small, level, share) for share in SHARES]
        rows += [[level, NAMES[i], *(shown(found[i]) for found in by_share)] for i in range(len(ORDER))]
    printed(["noise", "difference", *fits], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--by-task", action="store_const", dest="table", const=by_task, default=by_fit)
    kinds.add_argument("--by-depth", action="store_const", dest="table", const=by_depth)
    given = parser.parse_args()
    whole = PROTOCOLS["routerbench"].table(given.directory)
    assert whole is not None  # the benchmark needs a file
    given.table(whole.select(ELEVEN).complete())


if __name__ == "__main__":
    main()
