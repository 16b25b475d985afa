"""What accounts cost: time per request with and without them, and of their single steps.

Models answer at once, so that what is left is the runner's own time. With and without take turns, request by request.

    python benches/python/accounts.py
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headrace as hr
from headrace.runner import Accounts, Runner
from headrace.runner.purse import Purses

N_REQUESTS, N_STEPS, N_UNDER_WAY = 2_000, 2_000, 200


def shown(name: str, times: list[float]) -> str:
    """Give a line: median and 99th percentile, in microseconds."""
    times = sorted(times)
    return f"{name:34} {1e6 * statistics.median(times):8.0f} {1e6 * times[int(0.99 * len(times))]:8.0f}"


def timed(action: Callable[[], Any]) -> list[float]:
    """Time a step many times, in seconds."""
    times = []
    for _ in range(N_STEPS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return times


async def requests(decider: hr.Decider, table: hr.Outcomes, accounts: Accounts) -> tuple[list[float], list[float]]:
    """Time requests with an account and without, in seconds."""
    queries = [{name: column[row] for name, column in table.queries.items()} for row in range(len(table.ids))]

    def target(j: int) -> Any:
        cost = float(table.cost[:, j].mean())

        async def answer(_: Any) -> dict[str, Any]:
            return {"answer": j, "cost": cost}

        return answer

    times: tuple[list[float], list[float]] = ([], [])
    async with Runner(decider, {name: target(j) for j, name in enumerate(table.models)}, accounts=accounts) as runner:
        for number in range(2 * N_REQUESTS):
            terms: dict[str, Any] = {"account": f"user-{number % 50}"} if number % 2 else {}
            start = time.perf_counter()
            await runner.arun(queries[(number // 2) % len(queries)], id=f"q-{number // 2}", **terms)
            times[number % 2].append(time.perf_counter() - start)
    return times


def main() -> None:
    """Print the table."""
    table = hr.datasets.load_quickstart().take(range(1000))
    decider = hr.Router(rule="routing").fit(table, budget=100.0).decider_
    print(f"{'microseconds':34} {'median':>8} {'99%':>8}")
    with tempfile.TemporaryDirectory() as folder:
        accounts = Accounts(Path(folder) / "accounts.db", limit=1e8, every="day")
        purses = Purses(accounts, decider)
        print(shown("reserve and settle", timed(lambda: accounts.settle(accounts.reserve("c", 1.0), 1.0))))
        for _ in range(N_UNDER_WAY):
            accounts.reserve("a", 1.0)
        print(
            shown(
                f"the same, {N_UNDER_WAY} calls under way",
                timed(lambda: accounts.settle(accounts.reserve("a", 1.0), 1.0)),
            )
        )
        print(shown("balance", timed(lambda: accounts.balance("c"))))
        print(shown("open, with the point", timed(lambda: purses.open("c"))))
        place = iter(range(10**9))
        print(shown("a point made anew", timed(lambda: Purses(accounts, decider).at((next(place) % 16) / 16))))
        without, with_account = asyncio.run(requests(decider, table, accounts))
        accounts.close()
    print(shown("a request without an account", without))
    print(shown("a request on an account", with_account))
    ratio = statistics.median(with_account) / statistics.median(without)
    added = statistics.median(with_account) - statistics.median(without)
    print(f"ratio of the medians {ratio:.2f}; added {1e6 * added:.0f} microseconds per request")


if __name__ == "__main__":
    main()
