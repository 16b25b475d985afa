"""A new model with a few scored queries joins a router of eight: what it loses against full labels.

    nice python benches/python/new_model.py DATA_DIR [--seeds 5] > docs/results/new_model.md

DATA_DIR holds ``mmlu_pro.parquet``. Of the queries to fit, all have the outcomes of eight models, and 30 those of the
new one as well. All routers are judged on the same test queries and the same range of costs.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from estimators import DEEPSEEK, GPT_4O, LLAMA_8B, LLAMA_70B, MMLU, interval

import headrace as hr
from headrace.estimators import ClusterQuality, JointQuality
from headrace.policy.budget_path import curve_area

NINE = (*MMLU, "mathstral-7B", "Mixtral-8x7B-Instruct-v0.1", DEEPSEEK, "jamba-1.5-large")
NEW = (GPT_4O, "gemini-1.5-pro-002", LLAMA_70B, LLAMA_8B)
N_FIT, N_TEST, N_SCORED = 1000, 3000, 30

HEAD = f"""# A new model joins a router of eight

`python benches/python/new_model.py DATA_DIR`: mmlu_pro, cascade routing, {N_FIT:,} queries to fit, {N_TEST:,} to
test. The new model has run on {N_SCORED} of the queries to fit, drawn at random; the other eight on all of them.
*Full* has all labels. *Joined* is `JointQuality`, fitted on all rows, those with missing cells among them, and
*clusters* `ClusterQuality` in the same place; both are calibrated on the {N_SCORED} complete rows. *Complete rows*
throws all others away. *Without* is the router of eight. Area under quality against cost over the range of the nine
models, in %: mean over the draws, and the difference to *full*, the regret, with half the width of its 95%
interval.
"""

TAIL = """
Joining loses 0.7 to 1.5 points of area to full labels, and does better than clusters or complete rows alone by 1.3 to
3.2 points. It pays where the new model adds something: without gpt-4o or gemini-1.5-pro the router of
eight is worse by 0.6 to 0.9 points than with 30 labels of it. The two smaller models add next to nothing to these eight
even with all labels (last column), and with 30 they cost 0.7 points: the mean of 30 labels has a standard error of 8 to
9 points, and a model that is overrated is run in vain. So join a model with few labels if it may be among the best for
its price, and collect labels as it runs.
"""

KINDS = ("full", "joined", "clusters", "complete rows", "without")


def area(router: hr.Router, test: hr.Outcomes) -> float:
    """Area over the range of costs of all models of the table, in %."""
    held = test.select(router.models_)
    method = hr.evaluate(router, held, baselines=[], n_resamples=2, n_examples=0).methods[0]
    order = np.argsort(method.cost, kind="stable")
    lowest, highest = float(test.mean_cost.min()), float(test.mean_cost.max())
    floor = float(test.mean_quality[test.mean_cost.argmin()])
    return 100.0 * curve_area(method.cost[order], method.quality[order], lowest, highest, floor)


def areas(table: hr.Outcomes, new: str, seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(table.n_queries)
    fitting, test = table.take(order[:N_FIT]), table.take(order[N_FIT : N_FIT + N_TEST])
    hidden = rng.permutation(N_FIT)[N_SCORED:]
    quality, cost = fitting.quality.copy(), fitting.cost.copy()
    quality[hidden, NINE.index(new)] = cost[hidden, NINE.index(new)] = np.nan
    partial = replace(fitting, quality=quality, cost=cost)
    routers = {
        "full": hr.Router(quality=JointQuality()).fit(fitting),
        "joined": hr.Router(quality=JointQuality()).fit(partial),
        "clusters": hr.Router(quality=ClusterQuality()).fit(partial),
        "complete rows": hr.Router(quality=JointQuality()).fit(partial.complete()),
        "without": hr.Router([name for name in NINE if name != new], quality=JointQuality()).fit(fitting),
    }
    return {kind: area(router, test) for kind, router in routers.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    table = hr.Outcomes.from_file(options.directory / "mmlu_pro.parquet").select(NINE).complete()
    print(HEAD)
    print("| new model |", " | ".join(KINDS), "|")
    print("|---|" + "---|" * len(KINDS))
    for new in NEW:
        drawn = [areas(table, new, seed) for seed in range(options.seeds)]
        found = {kind: np.array([of[kind] for of in drawn]) for kind in KINDS}
        cells = [f"{found['full'].mean():.2f}"]
        for kind in KINDS[1:]:
            regret = found[kind] - found["full"]
            cells.append(f"{found[kind].mean():.2f}, {regret.mean():+.2f} ± {interval(regret):.2f}")
        print(f"| {new} |", " | ".join(cells), "|", flush=True)
    print(TAIL, end="")


if __name__ == "__main__":
    main()
