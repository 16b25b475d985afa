"""How long large tables take to read, and how much memory: each in a process of its own.

    python benches/python/readers_scale.py > docs/results/readers_scale.md
    python benches/python/readers_scale.py --rows 10000 --columns 300

One table of N rows and three models, with text, task, quality, cost and answer, as wide CSV, Parquet and JSON lines and
as long CSV and Parquet, each at N and at N / 10: what grows faster than the rows shows in the last column. And wide CSV
of few rows with many columns, as many models and as many response columns of three models.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

MODELS = ("small", "medium", "large")
TASKS = ("sums", "history", "code", "law")
ROWS, COLUMNS = 1_000_000, 10_000

#: Rows of the tables with many columns.
WIDE_ROWS = 100

#: Rows or columns of the small table that is read first.
WARM = 30

HEAD = """# Reading large tables

`{command}`

`Outcomes.from_file`, each time in a fresh process. {rows:,} queries, three models; each query has an id, a text of some
{length} characters and a task, each run a quality, a cost and an answer. A long table has one row per query and model.
Parquet is compressed with zstd, the others aren't. Seconds are wall time on a shared machine: read them as orders of
magnitude. *Peak MB* is the highest memory of the process (`resource.getrusage`), {imports:,.0f} MB of which are there
before it reads. *Grows* compares with a tenth of the rows or columns, after a first read of that: 10 is linear.
*Save* is `Outcomes.save` to the same kind of file, in the same process.
"""


def records(n_rows: int) -> Iterator[list[Any]]:
    """Id, text, task, and quality, cost and answer of each model."""
    rng = np.random.default_rng(0)
    for start in range(0, n_rows, 10_000):
        here = range(start, min(start + 10_000, n_rows))
        quality = (rng.random((len(here), 3)) < (0.5, 0.7, 0.9)).astype(int).tolist()
        cost = (rng.random((len(here), 3)) * (1e-4, 1e-3, 1e-2)).round(8).tolist()
        answers = rng.integers(0, 100, (len(here), 3)).tolist()
        for at, row in enumerate(here):
            text = f"Question {row}: what is {row % 977} times {row % 89}? Give the answer, and say how you found it."
            runs = zip(quality[at], cost[at], (f"It is {answer}." for answer in answers[at]), strict=True)
            yield [f"q-{row}", text, TASKS[row % 4], *(cell for run in runs for cell in run)]


WIDE = ["query_id", "text", "task", *(f"{model}|{name}" for model in MODELS for name in ("quality", "cost", "answer"))]
LONG = ["query_id", "text", "task", "model", "quality", "cost", "answer"]


def long_records(n_rows: int) -> Iterator[list[Any]]:
    for record in records(n_rows):
        for j, model in enumerate(MODELS):
            yield [*record[:3], model, *record[3 + 3 * j : 6 + 3 * j]]


def write_csv(path: Path, header: list[str], rows: Iterator[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_lines(path: Path, header: list[str], rows: Iterator[list[Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(dict(zip(header, row, strict=True))) + "\n")


def write_parquet(path: Path, header: list[str], rows: Iterator[list[Any]]) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    parquet.write_table(arrow.table(columns), path, compression="zstd")


def many_models(n_columns: int) -> tuple[list[str], Iterator[list[Any]]]:
    names = [f"model-{j}" for j in range(n_columns // 3)]
    header = ["query_id", *(f"{name}|{what}" for name in names for what in ("quality", "cost", "answer"))]
    rng = np.random.default_rng(0)
    rows = ([f"q-{row}", *(cell for _ in names for cell in (1, rng.random(), "It is 7."))] for row in range(WIDE_ROWS))
    return header, rows


def many_responses(n_columns: int) -> tuple[list[str], Iterator[list[Any]]]:
    signals = [f"signal_{i}" for i in range(n_columns // 3 - 2)]
    header = ["query_id", *(f"{model}|{what}" for model in MODELS for what in ("quality", "cost", *signals))]
    rng = np.random.default_rng(0)
    rows = ([f"q-{row}", *rng.random(len(header) - 1).round(6).tolist()] for row in range(WIDE_ROWS))
    return header, rows


#: Name -> suffix, whether it grows by columns, and how it is written.
FILES: dict[str, tuple[str, bool, Callable[[Path, int], None]]] = {
    "wide CSV": (".csv", False, lambda path, n: write_csv(path, WIDE, records(n))),
    "wide Parquet": (".parquet", False, lambda path, n: write_parquet(path, WIDE, records(n))),
    "wide JSON lines": (".jsonl", False, lambda path, n: write_lines(path, WIDE, records(n))),
    "long CSV": (".csv", False, lambda path, n: write_csv(path, LONG, long_records(n))),
    "long Parquet": (".parquet", False, lambda path, n: write_parquet(path, LONG, long_records(n))),
    "wide CSV, many models": (".csv", True, lambda path, n: write_csv(path, *many_models(n))),
    "wide CSV, many response columns": (".csv", True, lambda path, n: write_csv(path, *many_responses(n))),
}


def peak_mb() -> float:
    """Highest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def read(path: Path, warm: Path) -> None:
    """Read a file, save it again, and print what that took."""
    from headrace.outcomes import Outcomes

    Outcomes.from_file(warm)  # what is imported at the first read
    before = peak_mb()
    begun = time.perf_counter()
    table = Outcomes.from_file(path)
    seconds, peak = time.perf_counter() - begun, peak_mb()
    begun = time.perf_counter()
    table.save(path.with_name(f"saved{path.suffix}"))
    saved = time.perf_counter() - begun
    print(json.dumps([seconds, peak, saved, peak_mb(), before, table.n_queries, len(table.models)]))


def in_own_process(*arguments: str) -> str:
    """Run this file: a process starts with the peak of the one that starts it, so this one stays small."""
    run = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(run.stderr)
    return run.stdout


def measured(name: str, n: int) -> list[float]:
    """Write a file, and read it: seconds, MB, seconds to save, MB, MB before, queries, models; and the file's MB."""
    suffix = FILES[name][0]
    with tempfile.TemporaryDirectory() as directory:
        path, warm = Path(directory) / f"table{suffix}", Path(directory) / f"warm{suffix}"
        in_own_process("--write", name, str(warm), str(WARM))
        in_own_process("--write", name, str(path), str(n))
        size = path.stat().st_size / 2**20
        return [*json.loads(in_own_process("--read", str(path), str(warm))), size]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--columns", type=int, default=COLUMNS)
    parser.add_argument("--read", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        read(*given.read)
        return
    if given.write:
        name, path, n = given.write
        FILES[name][2](Path(path), int(n))
        return
    lines = []
    imports = 0.0
    for name, (_, by_columns, _) in FILES.items():
        n = given.columns if by_columns else given.rows
        fewer = measured(name, n // 10)
        seconds, peak, saved, peak_saved, imports, n_queries, n_models, size = measured(name, n)
        cells = [name, f"{n_queries:,} x {n_models:,}", f"{size:,.0f}", f"{seconds:.1f}", f"{peak:,.0f}"]
        lines.append(" | ".join([*cells, f"{seconds / fewer[0]:.0f}", f"{saved:.1f}", f"{peak_saved:,.0f}"]))
        print(lines[-1], file=sys.stderr, flush=True)
    command = "python benches/python/readers_scale.py"
    if (given.rows, given.columns) != (ROWS, COLUMNS):
        command += f" --rows {given.rows} --columns {given.columns}"
    length = len(next(records(1))[1])
    print(HEAD.format(command=command, rows=given.rows, length=length, imports=imports))
    columns = ["file", "queries x models", "file MB", "read s", "peak MB", "grows", "save s", "peak MB after"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for line in lines:
        print(f"| {line} |")


if __name__ == "__main__":
    main()
