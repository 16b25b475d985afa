"""Reads many damaged files, as `tests/python/files_of_strangers.py` makes them, and counts what came of them.

    python benches/python/fuzz_files.py [--minutes M | --n N] [--seed S] [--first NUMBER] [--only TARGET]

The time, or the number of inputs, is shared equally by the targets. Each target is read in a process of its own, which
may take 1 GiB more memory than it has at the start, and `HUNG` seconds of processor time per input; one that ends is
started again behind the input that ended it. Inputs that went wrong are written down.

Prints one row per target, and ends with status 1 if an input went wrong; `--failures DIR` says where they go. An input
follows from seed, target and number.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "python"))

import files_of_strangers as strangers

#: Seconds of processor time after which the process of an input is ended.
HUNG = 20

#: Bytes that a process may take for an input, beside what it has when it starts.
MOST_MEMORY = 2**30


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all targets together")
    parser.add_argument("--n", type=int, help="inputs of each target, instead of a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", help="a target's name")
    parser.add_argument("--failures", type=Path, default=Path("out/failures"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        return _child(given)
    with tempfile.TemporaryDirectory() as folder:
        names = [target.name for target in strangers.targets(Path(folder))]
    if given.only is not None and given.only not in names:
        parser.error(f"--only: expected one of {', '.join(names)}; got {given.only!r}")
    chosen = [name for name in names if given.only in (None, name)]
    counts = {name: _counted(name, given, 60.0 * given.minutes / len(chosen)) for name in chosen}
    print(f"seed {given.seed}, {sum(count['inputs'] for count in counts.values()):,} inputs\n")
    columns = ("inputs", "accepted", "refused", "wrong")
    print(f"| what is read | {' | '.join(columns)} | milliseconds an input |\n|{'---|' * (len(columns) + 2)}")
    for name, count in counts.items():
        cells = [f"{count[column]:,}" for column in columns]
        print(f"| {name} | {' | '.join(cells)} | {count['nanoseconds'] / 1e6 / max(count['inputs'], 1):.1f} |")
    return 1 if any(count["wrong"] for count in counts.values()) else 0


def _counted(name: str, given: argparse.Namespace, seconds: float) -> Counter[str]:
    """Read the inputs of one target in processes of its own, until there are enough."""
    count: Counter[str] = Counter()
    number, spent = given.first, 0.0
    while spent < seconds if given.n is None else number < given.first + given.n:
        told = ["--seed", str(given.seed), "--first", str(number), "--child", name]
        told += ["--minutes", str((seconds - spent) / 60.0), "--failures", str(given.failures)]
        told += [] if given.n is None else ["--n", str(given.first + given.n - number)]
        child = subprocess.Popen([sys.executable, __file__, *told], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            report: dict[str, Any] = json.loads(line)
            count["inputs"] += 1
            count["nanoseconds"] += report["nanoseconds"]
            count[report["outcome"]] += 1
            spent += report["nanoseconds"] / 1e9
            number += 1
        if child.wait():
            count["inputs"] += 1
            count["wrong"] += 1
            with tempfile.TemporaryDirectory() as folder:
                (target,) = [target for target in strangers.targets(Path(folder)) if target.name == name]
            _keep(target, given, number, f"its process ended with status {child.returncode}")
            number, spent = number + 1, spent + 1.0
        elif given.n is None:
            break
    return count


def _child(given: argparse.Namespace) -> int:
    """Read inputs of one target, with a line of JSON for each."""
    with tempfile.TemporaryDirectory(dir=_memory_disk()) as name:
        folder = Path(name)
        (target,) = [target for target in strangers.targets(folder) if target.name == given.child]
        for file, content in target.valid:  # what is imported and made once isn't an input's
            (folder / file).write_bytes(content)
            strangers.attempt(target, folder / file)
        _limit_memory()
        number, end = given.first, time.process_time() + 60.0 * given.minutes
        while time.process_time() < end if given.n is None else number < given.first + given.n:
            file, content = strangers.made(target, given.seed, number)
            (folder / file).write_bytes(content)
            signal.setitimer(signal.ITIMER_PROF, HUNG)
            begun, report = time.process_time_ns(), {}
            try:
                report["outcome"] = "accepted" if strangers.attempt(target, folder / file) else "refused"
            except strangers.WrongError as wrong:
                report["outcome"] = "wrong"
                _keep(target, given, number, str(wrong))
            report["nanoseconds"] = time.process_time_ns() - begun
            os.write(1, json.dumps(report).encode() + b"\n")
            number += 1
    return 0


def _keep(target: strangers.Target, given: argparse.Namespace, number: int, why: str) -> None:
    """Tell of an input that went wrong, and write it down."""
    print(f"{target.name}, seed {given.seed}, input {number}: {why[:500]}", file=sys.stderr, flush=True)
    file, content = strangers.made(target, given.seed, number)
    given.failures.mkdir(parents=True, exist_ok=True)
    name = f"{strangers.folder_of(target.name)}-{given.seed}-{number}-{file}"
    (given.failures / name).write_bytes(content)


def _limit_memory() -> None:
    """Let allocations fail beyond the limit, where the system knows one."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _memory_disk() -> str | None:
    """Name a folder in memory: tables are saved with fsync."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    sys.exit(main())
