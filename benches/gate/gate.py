"""Count the instructions of a fixed set of decisions and compare with the stored counts: ``make gate``.

    python3 benches/gate/gate.py             fails when a case takes over 5% more instructions than stored
    python3 benches/gate/gate.py --update    writes the counts: ``make gate-update``
    python3 benches/gate/gate.py --profile CASE ...    the functions that take the most, as text for docs/performance.md

Seconds on a shared machine are information; instruction counts repeat exactly. They do depend on the compiler, the C
library and the CPU's vector units, since both choose code by what they find, so these are stored with the counts. Where
they differ, the margin is 25%, and the gate says so; on another architecture nothing is compared.

Needs cargo and valgrind, and nothing beyond Python's standard library.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which

ROOT = Path(__file__).resolve().parents[2]
COUNTS = Path(__file__).with_name("counts.txt")

#: Decisions that one run of a case counts: the problems of benches/inputs.
N_PROBLEMS = 64

#: How much more a case may take than stored, with the same tools and with others.
MARGIN, MARGIN_OF_OTHER_TOOLS = 0.05, 0.25

#: What changes which code runs, among what CPUs have and valgrind shows to a program.
VECTOR_UNITS = ("avx2", "fma", "asimd")


def output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def tools() -> str:
    """Say what the counts depend on, in one line."""
    rustc = " ".join(output("rustc", "--version").split()[:2])
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text(encoding="utf-8").split()) if cpu.exists() else set()
    units = " ".join(unit for unit in VECTOR_UNITS if unit in flags) or "no vector units"
    return ", ".join(
        [platform.machine(), rustc, " ".join(platform.libc_ver()), output("valgrind", "--version").strip(), units]
    )


def built() -> str:
    """Build the program under count, optimised, with the names of its functions."""
    command = ["cargo", "build", "--locked", "--profile", "bench", "--example", "gate", "--message-format", "json"]
    lines = [json.loads(line) for line in output(*command).splitlines()]
    return next(line["executable"] for line in lines if line.get("executable"))


def counted(program: str, case: str, file: Path) -> float:
    """Run a case under callgrind, which leaves its findings in a file, and return instructions per decision."""
    output(
        "valgrind", "--tool=callgrind", "--toggle-collect=*counted*", f"--callgrind-out-file={file}", program, case
    )  # fmt: skip
    found = re.search(r"^summary: (\d+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    if not found or found[1] == "0":
        sys.exit(f"gate: callgrind counted nothing in {case}; is there still a function named counted?")
    return int(found[1]) / N_PROBLEMS


def read() -> tuple[str, dict[str, float]]:
    """Read the stored counts, and what they were made with."""
    made_with, *lines = COUNTS.read_text(encoding="utf-8").splitlines()
    return made_with.removeprefix("# "), {name: float(n) for name, n in (line.split() for line in lines)}


def check(counts: dict[str, float]) -> int:
    made_with, stored = read()
    here, margin = tools(), MARGIN
    if made_with.split(", ")[0] != here.split(", ")[0]:
        print(f"gate: nothing compared: the counts are those of {made_with}, this is {here}")
        return 0
    if made_with != here:
        margin = MARGIN_OF_OTHER_TOOLS
        print(f"gate: counts were made with {made_with}; this is {here}: margin {margin:.0%} instead of {MARGIN:.0%}")
    if counts.keys() != stored.keys():
        print(f"gate: the cases are no longer those of {COUNTS.name}: make gate-update")
        return 1
    print(f"{'instructions per decision':27}{'stored':>12}{'now':>12}{'change':>9}")
    slower = []
    for case, now in counts.items():
        change = now / stored[case] - 1
        print(f"{case:27}{stored[case]:12,.0f}{now:12,.0f}{change:+9.1%}{'  too many' if change > margin else ''}")
        slower += [case] if change > margin else []
    if slower:
        print(f"gate: over {margin:.0%} more instructions in {', '.join(slower)}. Where that is the price of something")
        print("worth it: make gate-update, and say what in the commit.")
    elif any(now < (1 - MARGIN) * stored[case] for case, now in counts.items()):
        print("gate: passed, with gains that make gate-update would keep")
    else:
        print("gate: passed")
    return 1 if slower else 0


def profile(program: str, case: str, file: Path, most: int = 8) -> None:
    """Print the functions in which a case spends its instructions."""
    total = counted(program, case, file)
    print(f"{case}: {total:,.0f} instructions per decision")
    annotated = output("callgrind_annotate", "--threshold=100", "--auto=no", str(file))
    shares: dict[str, float] = {}
    for count, where in re.findall(r"^ *([\d,]+) \([^)]*\)  (.*)$", annotated, re.MULTILINE):
        # A line is "file:function [object]". A function that others were inlined into has a line for each of their
        # files, and one that calls itself has another name from the second call on.
        if ":" in where:
            name = re.sub(r"('\d+)?( \[.*\])?$", "", where.split(":", 1)[1])
            shares[name] = shares.get(name, 0.0) + int(count.replace(",", "")) / N_PROBLEMS / total
    for name in sorted(shares, key=lambda name: -shares[name])[:most]:
        print(f"{shares[name]:7.1%}  {name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the counts instead of comparing")
    parser.add_argument("--profile", nargs="+", metavar="CASE", help="print the functions that take the most")
    arguments = parser.parse_args()
    if which("valgrind") is None:
        sys.exit("gate: valgrind is needed (apt-get install valgrind)")
    program = built()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "callgrind.out"
        if arguments.profile:
            for case in arguments.profile:
                profile(program, case, file)
            return 0
        counts = {case: counted(program, case, file) for case in output(program).split()}
    if arguments.update:
        lines = [f"# {tools()}", *(f"{case} {n:.0f}" for case, n in counts.items())]
        COUNTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"gate: wrote {COUNTS.relative_to(ROOT)}")
        return 0
    return check(counts)


if __name__ == "__main__":
    sys.exit(main())
