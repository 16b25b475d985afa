"""Two hundred sessions at once for half a minute, with faults: what becomes of every request.

    nice python benches/python/load.py [--seconds 30] [--concurrency 200] [--faults 0.2] [--no-breaker] [--outage small]

A runner calls three pretend models of a server on the loopback, which is a process of its own: the fake provider of
the tests. Each call of a model for a query goes wrong with the given probability, in one of the ways of
`KINDS`; with --outage, all calls of that model fail in the middle third of the time. Every answer carries the id of
its query. Prints one row of a table; --head prints the head before it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import os
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "python"))

import pools
from fake_provider import FakeProvider, is_right

from headrace.runner import Breaker, Exhausted, OpenAITarget, Retry, Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What goes wrong, each as often as the others.
KINDS = ("429", "500", "503", "529", "hang", "cut", "bad_json", "no_choices", "empty", "400", "401", "filter")

#: The pretend prompts and answers have about as many tokens, so that a call costs about what it did in the fit.
TOKENS = 10

#: Seconds of a call, and of a query.
TIMEOUT_S, DEADLINE_S = 5.0, 20.0

HEAD = (
    "| faults | breaker | outage | requests | answered | typed errors | mixed up | over the deadline "
    "| median, s | p99, s | longest, s | own CPU, ms | RSS, MB | left running | right |\n" + "|---" * 15 + "|"
)


@dataclass
class Tally:
    """What became of the requests."""

    seconds: list[float] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    right: int = 0
    mixed_up: int = 0
    rss: list[float] = field(default_factory=list)


def serve(pipe: Connection) -> None:
    """Run the provider, and say how many requests run whenever that is asked."""
    with FakeProvider(latency_s=0.05) as provider:
        pipe.send(provider.url)
        while pipe.recv():
            provider.is_idle(2.0)
            pipe.send(provider.live.total())


@contextmanager
def served() -> Iterator[tuple[str, Connection]]:
    """Give the URL of a provider in another process, and a pipe to ask it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there,))
    process.start()
    try:
        yield here.recv(), here
    finally:
        here.send(False)
        process.join(20)


def targets(url: str) -> dict[str, OpenAITarget]:
    made = {}
    for model, cost in pools.COSTS.items():
        price = 1e6 * cost / TOKENS
        options = {"logprobs": True}
        made[model] = OpenAITarget(url, model, prices={"input": price, "output": price}, options=options)
    return made


def question(row: int, faults: float, down: str | None) -> tuple[str, str]:
    """Give a sum, and the text that asks for it: which models fail on it, and how, depends on its number alone."""
    draw = np.random.default_rng(row)
    asked = f"{row} + {int(draw.integers(100))}"
    failing = {model: str(draw.choice(KINDS)) for model in pools.MODELS if draw.uniform() < faults}
    if down is not None:
        failing[down] = "503"
    marker = " ".join(f"{model}={fault}" for model, fault in failing.items())
    return asked, f"{asked} [id r-{row}]" + (f" [fault {marker}]" if marker else "")


async def one(runner: Runner, row: int, faults: float, down: str | None, tally: Tally) -> None:
    asked, text = question(row, faults, down)
    columns = {"difficulty": float(np.random.default_rng(row).uniform())}
    begun = time.monotonic()
    try:
        result = await runner.arun(text, id=f"r-{row}", columns=columns, deadline_s=DEADLINE_S)
    except Exhausted as error:
        tally.ended[error.result.stopped] += 1
    else:
        tally.ended["answered"] += 1
        tally.mixed_up += f"[id r-{row}]" not in result.answer
        tally.right += is_right(str(result.model), asked)
    tally.seconds.append(time.monotonic() - begun)


async def load(runner: Runner, options: argparse.Namespace) -> Tally:
    """Keep so many requests under way until the time is over, and wait for their ends."""
    tally, rows, begun = Tally(), iter(range(10**9)), time.monotonic()

    async def session() -> None:
        while (share := (time.monotonic() - begun) / options.seconds) < 1.0:
            down = options.outage if 1 / 3 <= share < 2 / 3 else None
            await one(runner, next(rows), options.faults, down, tally)

    async def watch() -> None:
        for part in (0.2, 0.6, 1.0):
            await asyncio.sleep(begun + part * options.seconds - time.monotonic())
            gc.collect()
            tally.rss.append(rss_mb())

    await asyncio.gather(watch(), *(session() for _ in range(options.concurrency)))
    return tally


def rss_mb() -> float:
    """Memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def measured(url: str, pipe: Connection, options: argparse.Namespace) -> str:
    """Give the row."""
    breaker = Breaker() if options.breaker else None
    settings: dict[str, Any] = {"retry": Retry(attempts=2, base_s=0.05), "breaker": breaker, "timeout_s": TIMEOUT_S}
    async with Runner(pools.fitted(), targets(url), **settings) as runner:
        cpu = time.process_time()
        tally = await load(runner, options)
        cpu = time.process_time() - cpu
        pipe.send(True)
        left = await asyncio.to_thread(pipe.recv) + len(asyncio.all_tasks()) - 1
    seconds, n = np.array(tally.seconds), len(tally.seconds)
    errors = ", ".join(f"{kind} {count}" for kind, count in tally.ended.items() if kind != "answered")
    cells = [
        f"{options.faults:.0%}",
        "yes" if options.breaker else "no",
        options.outage or "none",
        f"{n:,}",
        f"{tally.ended['answered']:,} ({tally.ended['answered'] / n:.2%})",
        errors or "none",
        tally.mixed_up,
        int(np.sum(seconds > DEADLINE_S + 0.5)),
        f"{np.median(seconds):.2f}",
        f"{np.quantile(seconds, 0.99):.2f}",
        f"{seconds.max():.2f}",
        f"{1e3 * cpu / n:.1f}",
        " > ".join(f"{mb:.0f}" for mb in tally.rss),
        left,
        f"{tally.right / n:.1%}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--faults", type=float, default=0.2)
    parser.add_argument("--breaker", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--outage", choices=pools.MODELS)
    parser.add_argument("--head", action="store_true")
    options = parser.parse_args()
    if options.head:
        print(HEAD, flush=True)
    with served() as (url, pipe):
        print(asyncio.run(measured(url, pipe, options)))


if __name__ == "__main__":
    main()
