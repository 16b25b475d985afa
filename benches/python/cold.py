"""A first burst of queries on a decider that was just loaded, warmed or not: how many calls run out of time.

    nice python benches/python/cold.py [--queries 300] [--timeout 1.0] [--budget 500]

The decider has 5 models. It is saved as it was fitted ("fitted": run sets that the fit has met are in the file), or
with nothing but its data ("bare"). The models are functions that wait 50 ms and give the table's rows. A runner warms
every decider that it gets, so that the rows without `warm` are of one that is kept from it.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import headrace as hr
from headrace.runner import Breaker, Exhausted, Runner

LATENCY_S = 0.05


def forgotten(decider: hr.Decider) -> hr.Decider:
    """Take out what has been fitted for run sets."""
    for quality, costs in decider.estimators:
        for estimator in (quality, *costs):
            for name in ("_updates", "_smearing"):
                if isinstance(kept := getattr(estimator, name, None), dict):
                    kept.clear()
            if regressions := getattr(estimator, "_regressions", None):
                regressions._fitted.clear()
    return decider


async def burst(decider: hr.Decider, test: hr.Outcomes, timeout_s: float, *, warm: bool) -> str:
    """Begin all queries at once, and give the cells of a row."""

    def target(j: int) -> Any:
        async def call(query: dict[str, Any]) -> dict[str, Any]:
            await asyncio.sleep(LATENCY_S)
            row = int(query["row"])
            return {name: cells[row, j] for name, cells in test.responses.items()} | {"cost": float(test.cost[row, j])}

        return call

    targets = {model: target(j) for j, model in enumerate(test.models)}
    begun = time.monotonic()
    kept = mock.patch.object(hr.Decider, "warm", (lambda self: self) if not warm else hr.Decider.warm)
    with kept:
        runner = Runner(decider, targets, timeout_s=timeout_s, breaker=Breaker(min_calls=5))
    ready = time.monotonic() - begun
    ended, seconds = Counter[str](), []

    async def one(row: int) -> None:
        query = {name: cells[row] for name, cells in test.queries.items()}
        start = time.monotonic()
        try:
            result = await runner.arun({**query, "row": row}, id=f"q-{row}", strict=False)
            ended.update(attempt.kind for attempt in result.attempts)
        except Exhausted as error:
            ended["no answer"] += 1
            ended.update(attempt.kind for attempt in error.result.attempts)
        seconds.append(time.monotonic() - start)

    await asyncio.gather(*map(one, range(len(test))))
    cells = [f"{ready:.2f}", ended["ok"], ended["timeout"], ended["breaker"], ended["no answer"]]
    return " | ".join(map(str, [*cells, f"{np.median(seconds):.2f}", f"{max(seconds):.2f}"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--timeout", type=float, default=1.0)
    parser.add_argument("--budget", type=float, default=500.0)
    options = parser.parse_args()
    table = hr.datasets.load_quickstart()
    fitting, test = table.take(range(2_000)), table.take(range(2_000, 2_000 + options.queries))
    print("| estimator | file | warmed | ready, s | calls answered | out of time | behind a breaker ", end="")
    print("| no answer | median, s | longest, s |\n" + "|---" * 10 + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for quality in ("linear", "joint"):
            decider = hr.Router(quality=quality).fit(fitting, budget=options.budget).decider_
            for kind in ("fitted", "bare"):
                path = Path(folder) / kind
                (decider if kind == "fitted" else forgotten(decider)).save(path)
                for warm in (False, True):
                    row = asyncio.run(burst(hr.load(path), test, options.timeout, warm=warm))
                    print(f"| {quality} | {kind} | {'yes' if warm else 'no'} | {row} |", flush=True)


if __name__ == "__main__":
    main()
