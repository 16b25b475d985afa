"""Every built-in estimator on real logs: saved, loaded in another process, and walked over fresh queries.

    OMP_NUM_THREADS=1 nice python benches/python/round_trip.py DATA_DIR [--only mmlu_pro] [--queries 500]

DATA_DIR holds the tables that log_columns.py beside this file reads. A router of 5 models is fitted on at most 500
queries (5 folds, so each file holds 5 pairs of estimators), walks up to 1,000 others, and is saved; another process
loads it five times, walks the same queries, and says what it has imported.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from log_columns import drawn, tables
from walked import walks

import headrace as hr
from headrace.estimators import make
from headrace.estimators.registry import BUILT_IN

HEAD = (
    "| data | estimator | KB | load, ms | its CPU, ms | ms per MB | queries | same decisions | same beliefs "
    "| imported |\n" + "|---" * 10 + "|"
)


def round_trip(name: str, estimator: str, fitting: hr.Outcomes, test: hr.Outcomes, folder: Path) -> str:
    """Give a row of the table."""
    costs = fitting.mean_cost
    budget = float((costs.min() * costs.max()) ** 0.5)
    decider = hr.Router(quality=make(estimator), max_depth=3, seed=0).fit(fitting, budget=budget).decider_
    router, queries = folder / "router.headrace", folder / "queries.pickle"
    decider.save(router)
    table = {"ids": list(test.ids), "queries": dict(test.queries), "responses": dict(test.responses)}
    queries.write_bytes(pickle.dumps(table))
    command = [sys.executable, str(Path(__file__).with_name("walked.py")), str(router), str(queries)]
    done = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    pairs = list(zip(walks(decider, table), map(tuple, done["walks"]), strict=True))
    decisions, beliefs = (sum(before[i] == after[i] for before, after in pairs) for i in (0, 1))
    size = router.stat().st_size
    load_ms, cpu_ms = (1e3 * min(times) for times in zip(*done["seconds"], strict=True))
    return (
        f"| {name} | {estimator} | {size / 1e3:.0f} | {load_ms:.1f} | {cpu_ms:.1f} | {load_ms / (size / 1e6):.1f} "
        f"| {len(pairs)} | {decisions} | {beliefs} | {', '.join(done['imported']) or 'none'} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--only", default="", help="tables whose name begins so")
    parser.add_argument("--queries", type=int, default=500)
    options = parser.parse_args()
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, (table, case) in tables(options.directory).items():
            if name.startswith(options.only):
                fitting, test = drawn(table, case, 0, options.queries)
                for estimator in BUILT_IN["quality"]:
                    start = time.perf_counter()
                    print(round_trip(name, estimator, fitting, test, Path(folder)), flush=True)
                    print(f"{name}, {estimator}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
