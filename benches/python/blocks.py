"""Features that never hurt: a scale per block of features next to one penalty for all of them.

    nice python benches/python/blocks.py DATA_DIR [--seeds 3] [--rows 200 500 1500]

DATA_DIR holds ``mmlu_pro.parquet`` and ``routerbench_arc_mbpp_winogrande.parquet`` (columns ``<model>|quality``,
``|cost``, ``|answer``, ``|response_len``), and ``embeddings_minilm.npz``: for each table an array of embeddings, and
``<table>_query_id``. *One penalty* is the same code with all scales at 1. Differences are paired, from "without, one
penalty" on the same draw; intervals are of 95%, by Student's t over the seeds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
from estimators import shown
from joint_belief import FIVE, ROUTERBENCH_FIVE

import headrace as hr
from headrace.arguments import Column, FloatArray
from headrace.estimators import LinearQuality

TABLES = {"mmlu_pro": FIVE, "routerbench_arc_mbpp_winogrande": ROUTERBENCH_FIVE}
N_TEST = 1000
WIDTH = 384

#: What is added to the query's columns, and whether blocks have scales. The first is what the others are compared with.
VARIANTS = (
    ("without", False),
    ("without", True),
    ("embedding", False),
    ("embedding", True),
    ("noise", False),
    ("noise", True),
    ("n-grams", True),
)


def tables(folder: Path) -> Iterator[tuple[str, hr.Outcomes]]:
    """Give the queries that have an embedding."""
    kept = np.load(folder / "embeddings_minilm.npz")
    for name, models in TABLES.items():
        ids = pq.read_table(folder / f"{name}.parquet", columns=["query_id"])["query_id"].to_pylist()
        place = {query: row for row, query in enumerate(kept[f"{name}_query_id"].tolist())}
        rows = np.array([row for row, query in enumerate(ids) if query in place])
        embedding = kept[name][[place[ids[row]] for row in rows]].astype(np.float64)
        table = hr.Outcomes.from_file(folder / f"{name}.parquet").select(models).take(rows)
        yield name, replace(table, queries={**table.queries, "embedding": embedding}).complete()


def with_columns(table: hr.Outcomes, kind: str, seed: int) -> hr.Outcomes:
    queries: dict[str, Column] = {name: table.queries[name] for name in table.queries if name != "embedding"}
    if kind == "embedding":
        queries["embedding"] = table.queries["embedding"]
    if kind == "noise":
        queries["noise"] = np.random.default_rng(seed).normal(size=(table.n_queries, WIDTH))
    return replace(table, queries=queries)


def measured(fitting: hr.Outcomes, test: hr.Outcomes, kind: str, blocks: bool) -> tuple[float, float, float]:
    """Give the fit's own held-out error, the area in %, and the processor seconds of the fit."""
    one_penalty: AbstractContextManager[object] = nullcontext()
    if not blocks:
        one_penalty = patch("headrace.estimators.linear.choose_scales", lambda *arguments: arguments[-1])
    with one_penalty:
        begin = time.process_time()
        router = hr.Router(quality=LinearQuality(n_grams=kind == "n-grams")).fit(fitting)
        taken = time.process_time() - begin
        area = hr.evaluate(router, test, baselines=[], n_resamples=2, n_examples=0).methods[0].area
    return router.quality_errors_[0], 100.0 * area, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DATA_DIR")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 500, 1500])
    options = parser.parse_args()
    print("| data | rows | columns added | scales | held-out error, % | area, points | time of the fit |")
    print("|---|---|---|---|---|---|---|")
    named = dict(tables(options.folder))
    for n_fit in options.rows:
        for name, table in named.items():
            found: FloatArray = np.empty((len(VARIANTS), options.seeds, 3))
            for seed in range(options.seeds):
                order = np.random.default_rng(seed).permutation(table.n_queries)
                for at, (kind, blocks) in enumerate(VARIANTS):
                    full = with_columns(table, kind, seed)
                    fitting, test = full.take(order[:n_fit]), full.take(order[n_fit : n_fit + N_TEST])
                    found[at, seed] = measured(fitting, test, kind, blocks)
            errors, areas, times = found[:, :, 0], found[:, :, 1], found[:, :, 2]
            for at, (kind, blocks) in enumerate(VARIANTS):
                cells = [name, f"{n_fit:,}", kind, "by block" if blocks else "one penalty"]
                if at == 0:
                    cells += [f"{errors[0].mean():.4f}", f"{areas[0].mean():.2f}", f"{times[0].mean():.2f} s"]
                else:
                    cells += [shown(100.0 * (errors[at] / errors[0] - 1.0), "+"), shown(areas[at] - areas[0], "+")]
                    cells += [f"{np.median(times[at] / times[0]):.2f}"]
                print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
