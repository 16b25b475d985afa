"""``headrace serve --demo``: three pretend models, a router fitted on the spot, a client, and the bill at the end."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import httpx
import uvicorn
from rich.console import Console

import headrace as hr
from headrace.gateway.app import make_app
from headrace.gateway.live import Live, amount, reason
from headrace.gateway.pretend import PRICES, ask, pretend_app, question, right_answer
from headrace.gateway.serving import KEEP_ALIVE_S, bound, quiet
from headrace.runner import OpenAITarget, Runner
from headrace.serving import Decider

__all__ = ["run_demo"]

#: Questions that the router is fitted on, and the number of the first that the client asks.
N_FITTED, FIRST = 400, 5000

#: Mean cost per question, in dollars.
BUDGET = 6e-5

#: Questions per second, and how many are listed.
RATE, N_LISTED = 12.0, 8

#: Half the width of a 95% interval, in standard errors.
TWO_SIDED = 1.96


def run_demo(*, port: int, n_queries: int) -> None:
    """Run it until so many questions are answered, or until Ctrl-C."""
    console = Console(soft_wrap=True, highlight=False)
    bill = _Bill(console)
    with bound("127.0.0.1", port) as held, suppress(KeyboardInterrupt):
        started = time.perf_counter()
        table = _labelled()
        decider = hr.Router().fit(table, budget=BUDGET).decider_
        fitted_s = time.perf_counter() - started
        quiet()
        asyncio.run(_served(console, decider, table, bill, fitted_s, held=held, n_queries=n_queries))
    bill.show()


def _labelled() -> hr.Outcomes:
    """Ask every model every question of the fit."""

    def asked(model: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda query: ask(model, int(query["text"].split()[1].rstrip(":")))

    numbers = range(N_FITTED)
    table = hr.Outcomes.collect(
        [question(number) for number in numbers],
        {model: asked(model) for model in PRICES},
        quality=lambda query, returned, right: returned["answer"] == right,
        references=[right_answer(number) for number in numbers],
        ids=[f"q-{number}" for number in numbers],
    )
    return table.without(["seconds"])


async def _served(
    console: Console,
    decider: Decider,
    table: hr.Outcomes,
    bill: _Bill,
    fitted_s: float,
    *,
    held: socket.socket,
    n_queries: int,
) -> None:
    async with _listening(pretend_app(), bound("127.0.0.1", 0)) as models_port:
        url = f"http://127.0.0.1:{models_port}/v1"
        targets = {
            name: OpenAITarget(url, name, prices={"input": price, "output": price}, options={"logprobs": True})
            for name, price in PRICES.items()
        }
        prices = ", ".join(f"{name} ${price:g}" for name, price in PRICES.items())
        console.print(f"three pretend models on 127.0.0.1:{models_port} ({prices} per million tokens)")
        large, cost = table.quality[:, -1].mean(), table.cost[:, -1].mean()
        console.print(
            f"fitted on {N_FITTED} questions in {fitted_s:.1f} s; budget ${amount(BUDGET)} a question: expect "
            f"{decider.point.quality:.1%} right; large alone {large:.1%} at ${amount(cost)}"
        )
        app = make_app(Runner(decider, targets))
        async with _listening(app, held) as gateway_port:
            where = f"http://127.0.0.1:{gateway_port}"
            console.print(f'page {where}/headrace      OpenAI base_url {where}/v1, model "headrace"')
            await _ask_all(f"{where}/v1", bill, app.state.gateway.live, n_queries)


async def _ask_all(base_url: str, bill: _Bill, live: Live, n_queries: int) -> None:
    """Ask question after question, as an app would."""
    client = _client(base_url)
    number = 0
    while not n_queries or number < n_queries:
        asked = FIRST + number
        query = question(asked)
        begun = time.monotonic()
        body = await client(query["text"], {"id": f"q-{asked}", "columns": {"looks_hard": query["looks_hard"]}})
        why = "" if live.last is None else reason(live.last)
        right = body["choices"][0]["message"]["content"] == right_answer(asked)
        live.feedback(float(right))  # an app would POST it to /v1/feedback
        bill.add(body, right=right, number=asked, why=why)
        number += 1
        await asyncio.sleep(max(1.0 / RATE - (time.monotonic() - begun), 0.0))


def _client(base_url: str) -> Any:
    """Ask by the openai client where it is installed, and by httpx elsewhere."""
    try:
        from openai import AsyncOpenAI
    except ImportError:
        http = httpx.AsyncClient(base_url=base_url, timeout=30.0)

        async def posted(text: str, told: dict[str, Any]) -> Any:
            messages = [{"role": "user", "content": text}]
            answer = await http.post("/chat/completions", json={"messages": messages, "headrace": told})
            answer.raise_for_status()
            return answer.json()

        return posted
    client = AsyncOpenAI(base_url=base_url, api_key="none")

    async def asked(text: str, told: dict[str, Any]) -> Any:
        messages: Any = [{"role": "user", "content": text}]
        answer = await client.chat.completions.create(
            model="headrace", messages=messages, extra_body={"headrace": told}
        )
        return answer.model_dump()

    return asked


class _Bill:
    """What the questions cost, and would have cost."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._costs: list[float] = []
        self._n_right = 0
        self._alone = 0.0

    def add(self, body: dict[str, Any], *, right: bool, number: int, why: str) -> None:
        """Take in an answer; the first ones, and then every hundredth, are shown."""
        receipt = body["headrace"]
        self._costs.append(receipt["cost"]["cost"])
        self._n_right += right
        self._alone += ask("large", number)["cost"]
        n = len(self._costs)
        if n <= N_LISTED or n % 100 == 0:
            calls = " > ".join(one["model"] for one in receipt["attempts"])
            mark = "right" if right else "wrong"
            self._console.print(f"q-{number} {calls:<22} ${amount(receipt['cost']['cost']):<9} {mark}  {why}")
        if n == N_LISTED:
            self._console.print("... going on; every hundredth is shown; Ctrl-C ends it")

    def show(self) -> None:
        """Say what it came to."""
        n = len(self._costs)
        if not n:
            return
        mean = sum(self._costs) / n
        spread = math.sqrt(sum((cost - mean) ** 2 for cost in self._costs) / max(n - 1, 1) / n) * TWO_SIDED
        total = sum(self._costs)
        self._console.print(
            f"{n} questions: {self._n_right / n:.1%} right, ${amount(total)} against ${amount(self._alone)} for large "
            f"alone ({total / self._alone - 1.0:+.0%}); mean ${amount(mean)} "
            f"[{amount(mean - spread)}, {amount(mean + spread)}], budget ${amount(BUDGET)}"
        )


class _Server(uvicorn.Server):
    """Leaves Ctrl-C to the command, which ends the client first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@asynccontextmanager
async def _listening(app: Any, held: socket.socket) -> AsyncIterator[int]:
    """Serve an app at an address that was taken; give its port."""
    settings: dict[str, Any] = {"timeout_keep_alive": KEEP_ALIVE_S, "timeout_graceful_shutdown": 2}
    with held:
        server = _Server(uvicorn.Config(app, log_level="warning", lifespan="on", **settings))
        task = asyncio.create_task(server.serve(sockets=[held]))
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.01)
        try:
            yield int(held.getsockname()[1])
        finally:
            server.should_exit = True
            await task
