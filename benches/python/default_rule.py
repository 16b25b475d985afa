"""The default rule where a run shows its quality: index rule or cascade, against cascade routing, on held-out halves.

    python benches/python/default_rule.py DATA_DIR [--seeds 15] > docs/results/default_rule.md

DATA_DIR holds the tables that `held_out.py` beside this file names. MMLU-Pro's outcomes are taken as verified here, to
have a third table.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from held_out import CASES, halves

import headrace as hr
from headrace.evaluation import Evaluation

TABLES = ("mmlu_pro", "swebench_verified_miniagent", "livecodebench_codegen")

#: Queries of a table that are used at most: verified logs are small.
MOST = 1_000

HEAD = """# The default rule where a run shows its quality

`python benches/python/default_rule.py DATA_DIR --seeds {seeds}`: half of at most {most:,} queries fit and calibrate,
the other half are the test; five models; the quality of a model that has run is known. The default takes the index rule
or the cascade, whichever has the larger area on the queries of the fit, both at an uncertainty scale of one half; the
other column has cascade routing. Area: mean quality over the costs from the cheapest to the most expensive model, in %.
The difference is paired, in points: mean over {seeds} splits, +- half of the 95% interval of that mean. "Ahead" and
"behind" count splits whose own bootstrap interval is above or below zero. Seconds: CPU time of the fit.

| table | default: area | minus cascade routing | ahead | behind | index rule taken | seconds | of cascade routing |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=15)
    given = parser.parse_args()
    print(HEAD.format(seeds=given.seeds, most=MOST))
    together: list[float] = []
    for case in CASES:
        if case[0] not in TABLES:
            continue
        verified = (case[0], case[1], True, case[3])
        areas, gains, seconds, ahead, behind, n_index = [], [], np.zeros(2), 0, 0, 0
        for seed in range(given.seeds):
            halved = [part.take(range(min(len(part), MOST // 2))) for part in halves(given.directory, verified, seed)]
            cards: list[Evaluation] = []
            for number, rule in enumerate((None, "cascade-routing")):
                started = time.process_time()
                router = hr.Router(rule=rule, seed=seed).fit(halved[0])
                seconds[number] += time.process_time() - started
                n_index += router.rule_ == "index"
                settings = {"baselines": ["linear interpolation"], "n_examples": 0, "seed": seed}
                cards.append(hr.evaluate(router, halved[1], **settings))
            new, old = (card["router"] for card in cards)
            low, high = np.quantile(new.resampled - old.resampled, (0.025, 0.975))
            areas.append(100.0 * new.area)
            gains.append(100.0 * (new.area - old.area))
            ahead, behind = ahead + (low > 0.0), behind + (high < 0.0)
            print(f"{case[0]}, seed {seed}: {gains[-1]:+.3f}", file=sys.stderr)
        together += gains
        taken = f"{n_index} of {given.seeds}"
        one, other = seconds / given.seeds
        numbers = f"{np.mean(areas):.2f} | {shown(gains)} | {ahead} | {behind} | {taken} | {one:.2f} | {other:.2f}"
        print(f"| {case[0]} | {numbers} |", flush=True)
    print(f"| together | | {shown(together)} | | | | | |")


def shown(gains: list[float]) -> str:
    return f"{np.mean(gains):+.3f} +- {1.96 * np.std(gains, ddof=1) / np.sqrt(len(gains)):.3f}"


if __name__ == "__main__":
    main()
