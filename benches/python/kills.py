"""kill -9 amid saving, reloading, logging and renaming: what is on the disk afterwards.

    nice python benches/python/kills.py [--kills 50]

A process that saves all the time is killed while another reloads; one that reloads is killed while another saves. Then
eight processes write to one log each of the two kinds, and a random one is killed and replaced. A record is
acknowledged once its call has returned: it must be in the log then. Needs os.fork.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headrace as hr
from headrace.runner import DecisionLog, read_log

N_WRITERS = 8
MAX_BYTES = 40_000

FORK = multiprocessing.get_context("fork")
Work = Callable[[int, Any], None]


def begun(work: Work, number: int, shared: Any) -> Any:
    process = FORK.Process(target=work, args=(number, shared), daemon=True)
    process.start()
    return process


def kill_often(work: Work, shared: Any, n_kills: int, n_processes: int, *, longest_s: float = 0.15) -> None:
    """Let processes work, and kill one after the other, at random times."""
    draw, numbers = random.Random(0), itertools.count()
    processes = [begun(work, next(numbers), shared) for _ in range(n_processes)]
    for _ in range(n_kills):
        time.sleep(draw.uniform(0.005, longest_s))
        at = draw.randrange(n_processes)
        processes[at].kill()
        processes[at].join()
        processes[at] = begun(work, next(numbers), shared)
    for process in processes:
        process.kill()
        process.join()


def artefacts(folder: Path, n_kills: int) -> None:
    """Save and reload, each in a process of its own, and kill the one, then the other."""
    table = hr.datasets.load_quickstart().take(range(300))
    old = hr.Router(quality="constant", cost="constant", n_folds=2, max_depth=2).fit(table, budget=60.0).decider_
    deciders = [old, old.with_budget(200.0)]
    path = folder / "router.headrace"
    old.save(path)
    known = {decider.point.cost for decider in deciders}

    def save(number: int, seen: Any) -> None:
        for decider in itertools.cycle(deciders):
            decider.save(path)
            seen[3] += 1

    def reload(number: int, seen: Any) -> None:
        while True:
            try:
                cost = hr.load(path).point.cost
            except Exception:
                seen[2] += 1
            else:
                seen[[decider.point.cost for decider in deciders].index(cost)] += 1

    for killed, other, name in ((save, reload, "save"), (reload, save, "reload")):
        seen = FORK.RawArray("q", 4)
        beside = begun(other, 0, seen)
        kill_often(killed, seen, n_kills, 1, longest_s=0.4)
        beside.kill()
        beside.join()
        is_whole = hr.load(path).point.cost in known
        left = sum(1 for _ in folder.iterdir()) - 1
        print(
            f"| {name} | {n_kills + 1} | {seen[3]:,} saves, {sum(seen[:3]):,} loads: {seen[0]:,} old, {seen[1]:,} new "
            f"| {seen[2]} broken; in the end {'whole' if is_whole else 'broken'}; {left} drafts left |",
            flush=True,
        )


def decision_log(path: Path) -> Work:
    def write(number: int, acknowledged: Any) -> None:
        log = DecisionLog(path, max_bytes=MAX_BYTES, keep=100_000)
        for i in range(10**9):
            log.append({"event": "decision", "id": f"{number}-{i}", "padding": "x" * (i * 37 % 700)})
            acknowledged[number] = i + 1

    return write


def recorder(path: Path) -> Work:
    def write(number: int, acknowledged: Any) -> None:
        log = hr.Recorder(path)
        for i in range(10**9):
            log.run("x" * (i * 37 % 700 + 1), "small", "answer", quality=1.0, cost=1.0, id=f"{number}-{i}")
            acknowledged[number] = i + 1

    return write


def logs(name: str, path: Path, work: Work, n_kills: int) -> None:
    """Write with eight processes, with and without kills, and look for every record."""
    acknowledged = FORK.RawArray("q", n_kills + N_WRITERS)
    kill_often(work, acknowledged, n_kills, N_WRITERS)
    parts = [part for part in path.parent.glob(f"{path.name}*") if part.suffix != ".lock"]
    lines = [line for part in parts for line in part.read_bytes().splitlines() if line]
    found, torn = Counter[str](), 0
    for line in lines:
        try:
            found[json.loads(line)["id"]] += 1
        except ValueError:
            torn += 1
    lost = sum(f"{number}-{i}" not in found for number, n in enumerate(acknowledged) for i in range(n))
    n_read = sum(1 for _ in read_log(path)) if name == "decision log" else hr.Outcomes.from_file(path).n_queries
    print(
        f"| {name} | {n_kills + N_WRITERS} | {sum(acknowledged):,} records acknowledged, {n_read:,} read, "
        f"in {len(parts)} files | {lost} lost; {torn} torn, {sum(found.values()) - len(found)} twice |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    n_kills = parser.parse_args().kills
    print("| what is killed | times | meanwhile | afterwards |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "routers").mkdir()
        artefacts(folder / "routers", n_kills)
        for kind, make in (("decision log", decision_log), ("recorder", recorder)):
            path = folder / f"{kind.replace(' ', '-')}.jsonl"
            logs(kind, path, make(path), n_kills)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
