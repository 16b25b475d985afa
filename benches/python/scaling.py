"""Decisions for whole tables: processor time and memory per query, from 10^4 rows on.

    python benches/python/scaling.py [--most 7] [--models 5] > out/scaling.md

Beliefs are drawn as in the paper's runtime study: quality and cost uniform on [0, 1], variance 0.01. Files are written
to a temporary folder: about 110 bytes a row with 5 models. Times are those of the processor, over all threads, so that
other work on the machine doesn't count.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.policy import Policy
from headrace.policy.hashing import shares_of
from headrace.serving import BeliefDecider, decide_file
from headrace.serving.files import BATCH_ROWS
from headrace.serving.frames import column_of


def batch(first: int, n: int, k: int) -> pa.Table:
    rng = np.random.default_rng(first)
    columns = {
        "quality": rng.uniform(size=(n, k)),
        "cost": rng.uniform(size=(n, k)),
        "variance": np.full((n, k), 0.01),
    }
    lists = {name: pa.FixedSizeListArray.from_arrays(pa.array(v.ravel()), k) for name, v in columns.items()}
    return pa.table({"query_id": [f"query-{row}" for row in range(first, first + n)], **lists})


def processor_seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def write(path: Path, n: int, k: int) -> None:
    first = batch(0, min(n, BATCH_ROWS), k)
    with pq.ParquetWriter(path, first.schema, compression="none") as writer:
        for begin in range(0, n, BATCH_ROWS):
            writer.write_table(batch(begin, min(BATCH_ROWS, n - begin), k))


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=7, help="rows of the largest file, as a power of ten")
    parser.add_argument("--models", type=int, default=5)
    options = parser.parse_args()
    k = options.models
    names = tuple(f"model-{j}" for j in range(k))
    mixed = Policy(names, "cascade-routing", {"max_depth": 5}, (0.6, 0.4), 0.5)
    alone = Policy(names, "cascade-routing", {"max_depth": 5}, (0.5, 0.5))

    table = batch(0, BATCH_ROWS, k)
    ids = table["query_id"].to_pylist()
    arrays = [column_of(table, name) for name in ("quality", "cost", "variance")]
    rule = alone.rules[0]
    parts = {
        "select_batch on arrays": lambda: rule.select_batch(arrays[0], arrays[1], variance=arrays[2], threads=1),
        "columns as arrays": lambda: [column_of(table, name) for name in ("quality", "cost", "variance")],
        "hashes of the ids": lambda: shares_of(0, ids),
        "a whole batch, one rule": lambda: BeliefDecider(alone)(table),
        "a whole batch, two rules mixed by id": lambda: BeliefDecider(mixed)(table),
    }
    print(f"Of a batch of {BATCH_ROWS:,} rows, {k} models, one thread:\n\n| part | microseconds a row |\n|---|---|")
    for name, action in parts.items():
        print(f"| {name} | {min(processor_seconds(action) for _ in range(3)) / BATCH_ROWS * 1e6:.3f} |", flush=True)

    print("\nParquet file to Parquet file, two rules mixed by id:\n")
    print("| rows | file, MiB | microseconds a row | largest memory so far, MiB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "beliefs.parquet"), Path(folder, "decisions.parquet")
        for power in range(4, options.most + 1):
            n = 10**power
            write(source, n, k)
            spent = processor_seconds(lambda: decide_file(source, target, BeliefDecider(mixed)))
            size = source.stat().st_size / 2**20
            print(f"| 10^{power} | {size:.0f} | {spent / n * 1e6:.2f} | {peak_mebibytes():.0f} |", flush=True)


if __name__ == "__main__":
    main()
