"""CPU and wall seconds of a fit and of its judgement, from the file to the verdict, and the peak of memory.

Each size in a process of its own, so that its peak is its own. With --data, tables of outcomes as Parquet files, of
which rows are drawn at random; else simulated ones, of a text, a category, and answers. Parts: reading, the fit (and of
it, the estimators and the calibration), and the replay of queries that the fit has not seen. With --whole, all rows
drawn are fitted, and nothing is replayed.

    make bench-fit
    make bench-fit DATA=DIR
    python benches/python/fit.py --data DIR --tables mmlu_pro --rows 1000 3000 12000 --models 5 31
    OMP_NUM_THREADS=1 python benches/python/fit.py --data DIR --tables mmlu_pro --rows 300 --models 31 --whole
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import headrace as hr
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration import fitted
from headrace.calibration.settings import path_area
from headrace.calibration.walk import budget_path, walk
from headrace.rules import make_rule

#: Rows and models of the short run.
ROWS, MODELS = (300, 1_000), (3, 11)

COLUMNS = (
    "table",
    "rows",
    "models",
    "read",
    "estimators",
    "calibration",
    "fit",
    "verdict",
    "CPU s",
    "wall s",
    "MiB",
    "quality",
)


def simulated(n: int, k: int) -> hr.Outcomes:
    """Draw queries of some difficulty, and models of rising skill and cost that answer with one of four letters."""
    rng = np.random.default_rng(0)
    category = rng.integers(0, 12, n)
    difficulty = 0.6 * rng.normal(size=12)[category] + rng.normal(size=n)
    skill = np.linspace(-0.8, 0.8, k) + 0.4 * rng.normal(size=(12, k))[category]
    right = skill - difficulty[:, None] + rng.normal(size=(n, k)) > 0.0
    truth, wrong = rng.integers(0, 4, n)[:, None], rng.integers(1, 4, (n, k))
    letters = np.array(list("ABCD"), dtype=object)
    length = rng.lognormal(5.0 + 0.2 * difficulty[:, None], 0.4, (n, k))
    words = rng.integers(5, 120, n)
    return hr.Outcomes(
        models=[f"m{j:03d}" for j in range(k)],
        quality=right.astype(np.float64),
        cost=np.geomspace(1.0, 60.0, k) * length / 150.0,
        queries={
            # No two are alike: queries of one text would be one group.
            "text": np.array([" ".join([str(row), *["word"] * size]) for row, size in enumerate(words)], dtype=object),
            "category": np.array([f"c{c}" for c in category], dtype=object),
        },
        responses={"answer": letters[np.where(right, truth, (truth + wrong) % 4)], "length": length},
    )


def measured(path: str, n: int, k: int, *, whole: bool = False) -> dict[str, object]:
    """Read, fit on one half, replay the other; or fit on the whole table."""
    spent: dict[str, float] = {}

    @contextmanager
    def part(name: str) -> Iterator[None]:
        begin = time.process_time()
        yield
        spent[name] = spent.get(name, 0.0) + time.process_time() - begin

    for name, function in (("estimators", "best_cross_fit"), ("calibration", "calibrate")):
        setattr(fitted, function, part(name)(getattr(fitted, function)))
    begin = time.perf_counter(), time.process_time()
    with part("read"):
        table = hr.Outcomes.from_file(path)
        table = table.select(table.models[:k])
        table = table.take(np.random.default_rng(0).permutation(len(table))[:n])
    fitting, test = (table, None) if whole else table.split(0.5, rng=0)
    with part("fit"):
        router = hr.Router().fit(fitting)
    chosen = type(router.quality_).__name__
    if test is not None:
        with part("verdict"):
            chosen += f" {held_out_area(router, test.labelled(router.models_)):.4f}"
    seconds = {"CPU s": time.process_time() - begin[1], "wall s": time.perf_counter() - begin[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = {"table": Path(path).stem, "rows": len(table), "models": table.n_models}
    return size | {"verdict": ""} | spent | seconds | {"MiB": peak, "quality": chosen}


def held_out_area(router: hr.Router, test: hr.Outcomes) -> float:
    """Give the area under the router's path on queries that its fit has not seen."""
    rule = make_rule(router.rule_, 0.0, router._settings)
    return path_area(budget_path(walk(rule, test, BeliefTable.served(test, router.estimators_)), test.costs), test)


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of Parquet files")
    parser.add_argument("--tables", nargs="+", help="names of files; by default all of the folder")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--models", type=int, nargs="+", default=MODELS)
    parser.add_argument("--whole", action="store_true", help="fit on all rows drawn, without a replay")
    parser.add_argument("--one", nargs=3, metavar=("FILE", "ROWS", "MODELS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        path, n, k = options.one
        print(json.dumps(measured(path, int(n), int(k), whole=options.whole)))
        return
    print(" ".join(f"{name:>11}" for name in COLUMNS))
    with tempfile.TemporaryDirectory() as made:
        for n in options.rows:
            for k in options.models:
                if options.data is None:
                    paths = [Path(made) / "simulated.parquet"]
                    simulated(n, k).save(paths[0])
                else:
                    names = options.tables or sorted(path.stem for path in options.data.glob("*.parquet"))
                    paths = [options.data / f"{name}.parquet" for name in names]
                for path in paths:
                    told = subprocess.run(
                        [sys.executable, __file__, "--one", str(path), str(n), str(k), *["--whole"] * options.whole],
                        capture_output=True,
                        text=True,
                        check=False,
                    )
                    if told.returncode:
                        print(f"{path.stem} x {n} x {k}: {told.stderr.strip().splitlines()[-1]}")
                        continue
                    line = json.loads(told.stdout)
                    print(
                        " ".join(
                            f"{line[c]:11.2f}" if isinstance(line[c], float) else f"{line[c]!s:>11.30}" for c in COLUMNS
                        )
                    )


if __name__ == "__main__":
    main()
