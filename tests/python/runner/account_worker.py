"""A process that spends from shared accounts: ``python account_worker.py router file limit n hang``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from pools import COSTS, query, reply

import headrace as hr
from headrace.errors import AccountEmpty
from headrace.runner import Accounts, Runner


async def main(router: str, path: str, limit: str, n: str, hang: str) -> None:
    decider = hr.load(router)
    accounts = Accounts(path, limit=float(limit), largest_cost=COSTS, hold_s=120.0)

    async def small(asked: Any) -> dict[str, Any]:
        await asyncio.sleep(0.001)
        if asked["text"] == f"Question {hang}?":
            print("hangs", flush=True)
            await asyncio.sleep(600.0)
        return reply("small")

    print("ready", flush=True)
    sys.stdin.readline()
    async with Runner(decider, {"small": small, "medium": None, "large": None}, accounts=accounts) as runner:

        async def one(row: int) -> None:
            try:
                await runner.arun(query(row), account="shared", id=f"q-{row}")
            except AccountEmpty:
                print("refused", flush=True)
            else:
                print("answered", flush=True)

        if int(hang) < 0:
            await asyncio.gather(*map(one, range(int(n))))
        else:
            for row in range(int(n)):
                await one(row)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
