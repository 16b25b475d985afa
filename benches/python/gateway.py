"""The gateway under load: against calling the strongest model directly, against litellm's proxy, and for minutes.

    python benches/python/gateway.py                          # added latency, CPU and memory at 50 connections
    python benches/python/gateway.py --litellm PATH/litellm   # litellm's proxy beside it, one model behind it
    python benches/python/gateway.py --minutes 10 --rate 100 --faults 0.05

Provider, gateway and proxy run in processes of their own; the client is this one. Added latency: what the client
waited, less what the calls of models took by the provider's clock, which is fixed. CPU above its calls: less what
such calls take of this client. All in turns, in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

PRICES = {"small": 0.1, "medium": 1.0, "large": 10.0}
#: Requests at once.
N_CONNECTIONS = 50

DIRECTLY = "the strongest model, directly"
KINDS = ("429 after=0.05", "500", "503", "cut", "bad_json", "empty")

PROVIDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from fake_provider import FakeProvider
with FakeProvider(latency_s=float(sys.argv[2])) as provider:
    print(provider.url, flush=True)
    for line in sys.stdin:
        print(sum(provider.live.values()), flush=True)
"""

SERVED = """
import sys
from headrace.gateway.serving import app_of
from headrace.gateway.settings import read_settings
import uvicorn
uvicorn.run(app_of(read_settings(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""


def settings(folder: Path, url: str, *, audit: float) -> Path:
    """Fit a small router, and write its file and serve.toml."""
    import pools

    pools.fitted().warm().save(folder / "router.headrace")
    parts = ['router = "router.headrace"\n[limits]\ntimeout_s = 20.0\n[log]\npath = "decisions.jsonl"\n']
    parts.append(f"audit = {audit}\n")
    for name, price in PRICES.items():
        parts.append(
            f'[targets.{name}]\nurl = "{url}"\nmodel = "{name}"\nprices = {{ input = {price}, output = {price} }}\n'
        )
    path = folder / "serve.toml"
    path.write_text("".join(parts))
    return path


def litellm_config(folder: Path, url: str) -> Path:
    path = folder / "litellm.yaml"
    path.write_text(
        "model_list:\n  - model_name: large\n    litellm_params:\n"
        f"      model: openai/large\n      api_base: {url}\n      api_key: none\n"
        "litellm_settings:\n  num_retries: 0\n"
    )
    return path


@contextmanager
def running(command: list[str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **more
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def usage(pid: int) -> tuple[float, float]:
    """Give seconds of CPU and MB of memory of a process and its children."""
    cpu = memory = 0.0
    for entry in [pid, *children(pid)]:
        try:
            told = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            memory += int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{entry}/status").read_text())[1]) / 1024
        except (OSError, TypeError):
            continue
        cpu += (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")
    return cpu, memory


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    direct = [int(one) for one in found.read_text().split()] if found.exists() else []
    return direct + [one for child in direct for one in children(child)]


def body(number: int, fault: str = "") -> dict[str, Any]:
    text = f"{number} + 25 [id g-{number}]" + (f" [fault small={fault}]" if fault else "")
    return {"messages": [{"role": "user", "content": text}]}


async def wait_for(url: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    async with httpx.AsyncClient() as client:
        while time.monotonic() < until:
            try:
                await client.get(url, timeout=2.0)
            except httpx.HTTPError:
                await asyncio.sleep(0.2)
            else:
                return
    raise SystemExit(f"{url} doesn't answer")


async def loaded(
    url: str, model: str, n: int, latency_s: float, headers: dict[str, str]
) -> tuple[list[float], list[int]]:
    """Ask n questions over 50 connections; give the milliseconds that were added to the models' own, and the calls."""
    added: list[float] = []
    calls: list[int] = []
    numbers = iter(range(n))
    # A few connections per client: its pool looks at all of them at every call.
    clients = [httpx.AsyncClient(timeout=60.0, headers=headers) for _ in range(N_CONNECTIONS // 10)]

    async def worker(place: int) -> None:
        client = clients[place % len(clients)]
        await asyncio.sleep(latency_s * place / N_CONNECTIONS)  # not all at one time
        for number in numbers:
            routed = {"headrace": {"id": f"g-{number}", "columns": {"difficulty": (number * 0.37) % 1.0}}}
            asked = body(number) | {"model": model} | (routed if model == "headrace" else {})
            begun = time.perf_counter()
            answer = await client.post(url + "/chat/completions", json=asked)
            seconds = time.perf_counter() - begun
            answer.raise_for_status()
            told = answer.json()
            assert f"[id g-{number}]" in told["choices"][0]["message"]["content"]
            n_calls = len(told["headrace"]["attempts"]) if "headrace" in told else 1
            added.append(1e3 * (seconds - n_calls * latency_s))
            calls.append(n_calls)

    await asyncio.gather(*(worker(place) for place in range(N_CONNECTIONS)))
    for client in clients:
        await client.aclose()
    return added, calls


async def compared(urls: dict[str, tuple[str, str, int, dict[str, str]]], n: int, latency_s: float) -> None:
    """Print a table: who is asked, in turns."""
    rounds = 3
    added: dict[str, list[float]] = {name: [] for name in urls}
    calls: dict[str, list[int]] = {name: [] for name in urls}
    cpu: Counter[str] = Counter()
    memory: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, (url, model, pid, headers) in urls.items():
            before = usage(pid)[0]
            found, called = await loaded(url, model, n if turn else 100, latency_s, headers)
            if turn:  # the first round warms up
                added[name] += found
                calls[name] += called
                cpu[name] += usage(pid)[0] - before
                memory[name] = usage(pid)[1]
    per_call = 1e3 * cpu[DIRECTLY] / len(added[DIRECTLY])
    print(f"a call by httpx takes {per_call:.1f} ms of CPU")
    print("| asked | calls | added ms, median | added ms, 99% | CPU ms a request | above its calls | memory, MB |")
    print("|---|---|---|---|---|---|---|")
    for name, values in added.items():
        values.sort()
        own, n_calls = 1e3 * cpu[name] / len(values), statistics.mean(calls[name])
        told = f"{own:.1f} | {own - n_calls * per_call:.1f} | {memory[name]:.0f}" if name != DIRECTLY else "- | - | -"
        p99 = values[int(0.99 * len(values))]
        print(f"| {name} | {n_calls:.2f} | {statistics.median(values):.1f} | {p99:.1f} | {told} |")


async def soaked(url: str, pid: int, minutes: float, rate: float, faults: float) -> None:
    """Ask at a fixed rate, with faults; print what came of it."""
    ended: Counter[str] = Counter()
    seconds: list[float] = []
    n = int(60 * minutes * rate)
    start_mb = end_mb = 0.0
    # A few connections per client: its pool looks at all of them at every call.
    clients = [httpx.AsyncClient(timeout=60.0) for _ in range(N_CONNECTIONS // 5)]

    async def one(number: int) -> None:
        is_faulty = (number * 0.6180339887) % 1.0 < faults
        asked = body(number, KINDS[number % len(KINDS)] if is_faulty else "")
        asked["headrace"] = {
            "id": f"g-{number}",
            "columns": {"difficulty": (number * 0.37) % 1.0},
            "deadline_s": 30.0,
        }
        begun = time.perf_counter()
        try:
            answer = await clients[number % len(clients)].post(url + "/chat/completions", json=asked)
        except httpx.HTTPError as error:
            ended[f"lost: {type(error).__name__}"] += 1
            return
        seconds.append(time.perf_counter() - begun)
        if answer.status_code != 200:
            ended[f"error {answer.status_code}"] += 1
        elif f"[id g-{number}]" in answer.json()["choices"][0]["message"]["content"]:
            ended["answered"] += 1
        else:
            ended["mixed up"] += 1

    begun = time.monotonic()
    tasks: set[asyncio.Task[None]] = set()
    for number in range(n):
        if (left := begun + number / rate - time.monotonic()) > 0.0:
            await asyncio.sleep(left)
        task = asyncio.create_task(one(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if number == n // 10:
            start_mb = usage(pid)[1]
    await asyncio.gather(*tasks)
    end_mb = usage(pid)[1]
    for client in clients:
        await client.aclose()
    seconds.sort()
    took = time.monotonic() - begun
    print(
        f"{n} requests in {took:.0f} s ({n / took:.0f}/s), {faults:.0%} with a fault: {dict(ended)}; "
        f"mixed up {ended['mixed up']}, lost {sum(k for name, k in ended.items() if name.startswith('lost'))}"
    )
    print(
        f"seconds: median {statistics.median(seconds):.3f}, 99% {seconds[int(0.99 * len(seconds))]:.3f}; "
        f"memory after a tenth {start_mb:.0f} MB, at the end {end_mb:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=600, help="per round")
    parser.add_argument("--latency", type=float, default=2.0, help="seconds that a model takes")
    parser.add_argument("--litellm", help="the command of litellm's proxy")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--faults", type=float, default=0.05)
    given = parser.parse_args()
    port, proxy_port = 8790, 8791
    latency = 0.02 if given.minutes else given.latency
    provider = [sys.executable, "-c", PROVIDER, str(ROOT / "tests" / "python"), str(latency)]
    with tempfile.TemporaryDirectory() as name, running(provider) as models:
        folder = Path(name)
        upstream = models.stdout.readline().strip()
        toml = settings(folder, upstream, audit=0.02 if given.minutes else 0.0)
        with running([sys.executable, "-c", SERVED, str(toml), str(port)]) as gateway:
            url = f"http://127.0.0.1:{port}/v1"
            asyncio.run(wait_for(f"http://127.0.0.1:{port}/health", 60.0))
            if given.minutes:
                asyncio.run(soaked(url, gateway.pid, given.minutes, given.rate, given.faults))
                time.sleep(2.0)  # audits end after their answers
                models.stdin.write("live\n")
                models.stdin.flush()
                print(f"live upstream at the end: {models.stdout.readline().strip()}")
                return
            urls: dict[str, tuple[str, str, int, dict[str, str]]] = {
                DIRECTLY: (upstream, "large", os.getpid(), {}),
                "headrace, the strongest model pinned": (url, "large", gateway.pid, {}),
                "headrace, cascade": (url, "headrace", gateway.pid, {}),
            }
            if not given.litellm:
                asyncio.run(compared(urls, given.requests, latency))
                return
            key = f"sk-{os.urandom(16).hex()}"
            command = [given.litellm, "--config", str(litellm_config(folder, upstream)), "--port", str(proxy_port)]
            with running(command, env={**os.environ, "LITELLM_MASTER_KEY": key}) as proxy:
                asyncio.run(wait_for(f"http://127.0.0.1:{proxy_port}/health/liveliness", 120.0))
                told = {"authorization": f"Bearer {key}"}
                urls["litellm's proxy, the strongest model"] = (
                    f"http://127.0.0.1:{proxy_port}/v1",
                    "large",
                    proxy.pid,
                    told,
                )
                asyncio.run(compared(urls, given.requests, latency))


if __name__ == "__main__":
    main()
