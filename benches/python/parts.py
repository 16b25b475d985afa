"""What each kind of signal brings: the default router, then with texts, embeddings, or a paid signal; and an oracle.

    python benches/python/parts.py DATA_DIR [--seeds 5] > docs/results/parts.md

DATA_DIR holds the tables that `held_out.py` beside this file names, and ``embeddings_minilm.npz`` (see `blocks.py`): of
two tables, the queries that have an embedding are used. The paid signal is a judge of d' 1.8 at half a median run
(`paid_columns.py`), or tests at 20% of the cheapest run where tests can be run. There, the base doesn't know what a run
was worth.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from blocks import tables
from held_out import CASES, halves
from paid_columns import judged, pooled, tested

import headrace as hr
from headrace.estimators import JointQuality, LinearQuality
from headrace.evaluation import Evaluation

HEAD = """# What each signal brings

`python benches/python/parts.py DATA_DIR --seeds {seeds}`: half of the queries fit and calibrate, at most 2,000; the
other half are the test; five models; of MMLU-Pro and RouterBench those that have an embedding. Area: mean quality over
the costs from the cheapest to the most expensive model, in %. The base knows the columns of the log but no text's
n-grams, and, where tests can be run, not what they say. The other columns are differences from it in points: mean over
{seeds} splits; brackets: 95%, pooled paired bootstrap over the test queries of all splits, so that of one split. Paid:
a judge of d' 1.8 at half a median run, or tests at a fifth of the cheapest run; its price counts. The oracle knows each
answer's quality beforehand.

| table | base: area | + texts (n-grams) | + embeddings | + a paid signal | oracle: area |
|---|---|---|---|---|---|"""


def evaluated(router: hr.Router, fitting: hr.Outcomes, test: hr.Outcomes, seed: int) -> Evaluation:
    settings = {"baselines": ["linear interpolation", "oracle"], "n_examples": 0, "seed": seed}
    return hr.evaluate(router.fit(fitting), test, **settings)


def without_verdict(table: hr.Outcomes) -> hr.Outcomes:
    return table.without("quality") if "quality" in table.responses else table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    print(HEAD.format(seeds=given.seeds))
    embedded = dict(tables(given.directory))
    for case in CASES:
        name, verified = case[0], case[2]
        cards: dict[str, list[Evaluation]] = {"base": [], "texts": [], "embeddings": [], "paid": []}
        for seed in range(given.seeds):
            started = time.perf_counter()
            whole = embedded.get(name)
            parts = halves(given.directory, case, seed) if whole is None else whole.split(0.5, rng=seed)
            known = [without_verdict(part) for part in parts]
            if whole is not None:
                cards["embeddings"].append(evaluated(hr.Router(seed=seed), *known, seed))
                known = [part.without("embedding") for part in known]
                parts = known
            cards["base"].append(evaluated(hr.Router(seed=seed), *known, seed))
            if "text" in known[0].queries:
                spoken = hr.Router(quality=[LinearQuality(n_grams=True), JointQuality()], seed=seed)
                cards["texts"].append(evaluated(spoken, *known, seed))
            bought = [
                tested(part, 0.2) if verified else judged(part, 1.8, 2 * seed + number)
                for number, part in enumerate(parts)
            ]
            cards["paid"].append(evaluated(hr.Router(seed=seed), *bought, seed))
            print(f"{name}, seed {seed}: {time.perf_counter() - started:.1f} s", file=sys.stderr)
        base = [card["router"] for card in cards["base"]]
        cells = []
        for kind in ("texts", "embeddings", "paid"):
            others = [card["router"] for card in cards[kind]]
            gains = [one.area - own.area for one, own in zip(others, base, strict=False)]
            resampled = [one.resampled - own.resampled for one, own in zip(others, base, strict=False)]
            cells.append(pooled(gains, resampled) if others else "none in the table")
        oracle = 100.0 * np.mean([card["oracle"].area for card in cards["base"]])
        own = 100.0 * np.mean([one.area for one in base])
        print(f"| {name} | {own:.2f} | {' | '.join(cells)} | {oracle:.2f} |", flush=True)


if __name__ == "__main__":
    main()
