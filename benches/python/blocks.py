"""Features that never hurt: a scale per block of features next to one penalty for all of them.

    nice python benches/python/blocks.py DATA_DIR {errors,areas} [--quality linear] [--seeds 3] [--rows 200 500]

DATA_DIR holds ``mmlu_pro.parquet`` and ``routerbench_arc_mbpp_winogrande.parquet`` (columns ``<model>|quality``,
``|cost``, ``|answer``, ``|response_len``), and ``embeddings_minilm.npz``: for each table an array of embeddings, and
``<table>_query_id``. *One penalty* is the same code with all scales at 1. The n-grams are `LinearQuality`'s only.
Differences are paired, from "without, one penalty" on the same draw; intervals are of 95%, by Student's t over the
seeds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
from estimators import shown
from joint_belief import FIVE, ROUTERBENCH_FIVE, errors_by_size

import headrace as hr
from headrace.arguments import Column
from headrace.estimators import JointQuality, LinearQuality

TABLES = {"mmlu_pro": FIVE, "routerbench_arc_mbpp_winogrande": ROUTERBENCH_FIVE}
N_TEST = 1000
WIDTH = 384

#: What is added to the query's columns, and whether blocks have scales. The first is what the others are compared with.
VARIANTS = (
    ("without", False),
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


def made(quality: str, n_grams: bool) -> LinearQuality | JointQuality:
    return JointQuality() if quality == "joint" else LinearQuality(n_grams=n_grams)


def errors(fitting: hr.Outcomes, test: hr.Outcomes, quality: str, n_grams: bool) -> tuple[float, ...]:
    """Give test errors before any run and over all sizes of run sets, and the seconds to fit all run sets."""
    every = np.array(list(product((False, True), repeat=fitting.n_models)))
    begin = time.process_time()
    estimator = made(quality, n_grams)
    estimator.fit(fitting.queries, fitting.responses_for(every[-1]), fitting.quality).warm(every)
    taken = time.process_time() - begin
    by_size = errors_by_size(estimator, test)
    return float(by_size[0]), float(by_size.mean()), taken


def areas(fitting: hr.Outcomes, test: hr.Outcomes, quality: str, n_grams: bool) -> tuple[float, ...]:
    """Give the area in % on the test queries, and the seconds of the fit of a router."""
    begin = time.process_time()
    router = hr.Router(rule="cascade-routing", quality=made(quality, n_grams)).fit(fitting)
    taken = time.process_time() - begin
    return 100.0 * hr.evaluate(router, test, baselines=[], n_resamples=2, n_examples=0).methods[0].area, taken


def measured(
    section: str, quality: str, table: hr.Outcomes, variant: tuple[str, bool], seed: int, n_fit: int
) -> tuple[float, ...]:
    kind, blocks = variant
    order = np.random.default_rng(seed).permutation(table.n_queries)
    full = with_columns(table, kind, seed)
    fitting, test = full.take(order[:n_fit]), full.take(order[n_fit : n_fit + N_TEST])
    one_penalty: AbstractContextManager[object] = nullcontext()
    if not blocks and quality == "joint":
        one_penalty = patch("headrace.estimators.held_out.CONTENT_FACTORS", (1.0,))
    elif not blocks:
        one_penalty = patch("headrace.estimators.linear.choose_scales", lambda *arguments, **_: arguments[-1])
    with one_penalty:
        return SECTIONS[section][1](fitting, test, quality, kind == "n-grams")


#: The columns of a section but for the time, which is last, and what fills them.
SECTIONS = {
    "errors": (("error before any run, %", "over all sizes of run sets, %"), errors),
    "areas": (("area, points",), areas),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DATA_DIR")
    parser.add_argument("section", choices=list(SECTIONS))
    parser.add_argument("--quality", choices=["linear", "joint"], default="linear")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 500, 1500])
    options = parser.parse_args()
    heads = ("data", "rows", "columns added", "scales", *SECTIONS[options.section][0], "time of the fit")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    named = dict(tables(options.folder))
    variants = [variant for variant in VARIANTS if options.quality == "linear" or variant[0] != "n-grams"]
    for n_fit, (name, table) in product(options.rows, named.items()):
        found = np.array(
            [
                [
                    measured(options.section, options.quality, table, variant, seed, n_fit)
                    for seed in range(options.seeds)
                ]
                for variant in variants
            ]
        )
        first = found[0]
        for (kind, blocks), values in zip(variants, found, strict=True):
            cells = [name, f"{n_fit:,}", kind, "by block" if blocks else "one penalty"]
            if np.shares_memory(values, first):
                cells += [f"{mean:.4f}" for mean in first.mean(axis=0)[:-1]] + [f"{first[:, -1].mean():.2f} s"]
            else:
                relative = options.section == "errors"
                apart = 100.0 * (values / first - 1.0) if relative else values - first
                cells += [shown(column, "+") for column in apart.T[:-1]]
                cells.append(f"{np.median(values[:, -1] / first[:, -1]):.2f}")
            print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
