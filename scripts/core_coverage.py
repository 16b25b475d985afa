"""Which lines of the core its own tests run: a table of the files, and a goal for all of them together.

The tests are built with LLVM's counters, as `cargo test` builds them, in a target folder of their own. Left out:
`rust_src/py/`, which only Python's tests can call; modules of tests inside the files; examples in documentation.

    python scripts/core_coverage.py --goal 95 --lines
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "rust_src"
BUILT = ROOT / "target" / "coverage"
COUNTS = BUILT / "counts"

#: Share of the properties' random cases: threads that count the same lines wait for each other, so it is one thread.
CASES = "0.05"


def tool(name: str) -> str:
    """Path of a program of LLVM that came with Rust."""
    say = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    root = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    host = re.search(r"^host: (.*)$", say, flags=re.MULTILINE)
    assert host is not None
    path = Path(root) / "lib" / "rustlib" / host[1] / "bin" / f"{name}{'.exe' if os.name == 'nt' else ''}"
    if not path.is_file():
        sys.exit(f"{name} is not here: rustup component add llvm-tools")
    return str(path)


def tested() -> list[str]:
    """Build the tests, run them, and return their programs."""
    for old in COUNTS.glob("*.profraw"):
        old.unlink()
    # Build scripts and macros are built with counters as well: theirs go where nobody reads them.
    env = dict(os.environ, RUSTFLAGS="-C instrument-coverage", LLVM_PROFILE_FILE=str(BUILT / "other" / "%p.profraw"))
    build = ["cargo", "test", "--locked", "--lib", "--tests", "--target-dir", str(BUILT)]
    made = subprocess.run([*build, "--no-run", "--message-format=json"], stdout=subprocess.PIPE, env=env, cwd=ROOT)
    if made.returncode:
        sys.exit(made.returncode)
    messages = [json.loads(line) for line in made.stdout.splitlines() if line.startswith(b"{")]
    programs = [message["executable"] for message in messages if message.get("executable")]
    env |= {"LLVM_PROFILE_FILE": str(COUNTS / "%p-%m.profraw"), "RUST_TEST_THREADS": "1", "HEADRACE_CASES": CASES}
    for program in programs:
        subprocess.run([program, "-q"], env=env, cwd=ROOT, check=True)
    return programs


def merged(programs: list[str]) -> str:
    """Report of all programs together, in the format of lcov."""
    counts = str(BUILT / "counts.profdata")
    raw = [str(path) for path in COUNTS.glob("*.profraw")]
    subprocess.run([tool("llvm-profdata"), "merge", "-sparse", *raw, "-o", counts], check=True)
    objects = [part for program in programs[1:] for part in ("-object", program)]
    command = [tool("llvm-cov"), "export", "-format=lcov", f"-instr-profile={counts}", programs[0], *objects]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def files(report: str) -> Iterator[tuple[Path, dict[int, int]]]:
    """Yield the core's files with the counts of their lines, without the lines of tests."""
    for record in report.split("end_of_record"):
        name = re.search(r"^SF:(.*)$", record, flags=re.MULTILINE)
        if name is None or not (path := Path(name[1])).is_relative_to(CORE) or path.is_relative_to(CORE / "py"):
            continue
        text = path.read_text(encoding="utf-8").splitlines()
        last = next((at for at, line in enumerate(text, 1) if line.startswith("#[cfg(test)]")), len(text) + 1)
        lines = {int(at): int(n) for at, n in re.findall(r"^DA:(\d+),(\d+)", record, flags=re.MULTILINE)}
        if path.name != "tests.rs" and (kept := {at: n for at, n in lines.items() if at < last}):
            yield path, kept


def main() -> int:
    """Print the table; 1 if fewer lines ran than the goal says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--goal", type=float, default=95.0, help="percent of all lines")
    parser.add_argument("--lines", action="store_true", help="name the lines that did not run")
    given = parser.parse_args()
    tool("llvm-cov")
    n_run = n_all = 0
    for path, lines in sorted(files(merged(tested()))):
        missed = sorted(at for at, n in lines.items() if n == 0)
        n_run, n_all = n_run + len(lines) - len(missed), n_all + len(lines)
        share = 100 * (1 - len(missed) / len(lines))
        named = f"  {' '.join(map(str, missed))}" if given.lines else ""
        print(f"{path.relative_to(ROOT).as_posix():40} {len(lines):5} lines  {share:5.1f}%{named}")
    share = 100 * n_run / n_all
    print(f"{'the core':40} {n_all:5} lines  {share:5.1f}%, goal {given.goal:g}%")
    return share < given.goal


if __name__ == "__main__":
    sys.exit(main())
