"""A soak: many decisions and many sessions in one process, with the memory that the process holds on the way.

Decisions of all rules on random beliefs of 2 to 12 models, nine in ten through `select_batch`, others through `select`;
sessions of a fitted router, each with its own query and two runs, some with a failed call, a cap or a refused value.

    python benches/python/soak.py                                 # 10^6 decisions, 10^4 sessions: seconds
    python benches/python/soak.py --decisions 1e8 --sessions 1e6  # some minutes
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable, Iterator

import numpy as np

import headrace as hr
from headrace.datasets import simulate

RULES = (hr.CascadeRouting(0.4), hr.Routing(0.4), hr.Cascade(0.4), hr.ThresholdCascade(0.7), hr.IndexRule(0.4))
BATCH = 100_000


def resident() -> float:
    """Give the memory that this process holds, in MiB."""
    with open("/proc/self/statm") as pages:  # noqa: PTH123
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def decisions() -> Iterator[int]:
    """Decide without end; give how many decisions each turn was."""
    rng = np.random.default_rng(0)
    while True:
        for rule in RULES:
            k = int(rng.integers(2, 13))
            quality, cost = rng.random((BATCH, k)), rng.random((BATCH, k))
            run = rng.random((BATCH, k)) < 0.1
            rule.select_batch(quality, cost, variance=0.1 * rng.random((BATCH, k)), run=run)
            yield BATCH
            rows = quality[: BATCH // 9].tolist()
            for row in rows:
                rule.select(row, row, variance=row)
            yield len(rows)


def sessions() -> Iterator[int]:
    """Walk sessions without end, with what goes wrong in service."""
    log = simulate(1_000, 3, rng=0)
    decider = hr.Router(quality="linear").fit(log, budget=0.002).decider_.warm()
    columns = {name: column.tolist() for name, column in log.queries.items()}
    responses = {name: column.tolist() for name, column in log.responses.items()}
    number = 0
    while True:
        for row in range(len(log)):
            number += 1
            cap = 0.01 if number % 7 == 0 else None
            query = {name: cells[row] for name, cells in columns.items()}
            session = decider.start(query, id=f"q-{number}", max_cost=cap)
            model = session.next()
            if model is not None and number % 5 == 0:
                session.fail(model, kind="timeout")
                model = session.next()
            for _ in range(2):
                if model is None:
                    break
                j = decider.models.index(model)
                if number % 11 == 0:
                    with contextlib.suppress(ValueError):
                        session.observe(model, {"unknown": 1.0})
                session.observe(model, {name: cells[row][j] for name, cells in responses.items()}, cost=0.001)
                model = session.next()
        yield len(log)


def soaked(name: str, wanted: int, work: Callable[[], Iterator[int]]) -> None:
    """Do so much work, and print a line for each tenth of it."""
    done, shown, begun = 0, 0, time.monotonic()
    for n in work():
        done += n
        if done >= (shown + 1) * wanted / 10 or done >= wanted:
            shown = int(10 * done / wanted)
            print(f"| {name} | {done:,} | {time.monotonic() - begun:.0f} | {resident():.1f} |", flush=True)
        if done >= wanted:
            return


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Many decisions and sessions, and the memory they hold.")
    parser.add_argument("--decisions", type=float, default=1e6)
    parser.add_argument("--sessions", type=float, default=1e4)
    given = parser.parse_args()
    print("| what | done | seconds | MiB held |\n|---|---|---|---|")
    soaked("decisions", int(given.decisions), decisions)
    soaked("sessions", int(given.sessions), sessions)


if __name__ == "__main__":
    main()
