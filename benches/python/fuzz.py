"""Makes many calls at the entries of the core, as `tests/python/core/test_fuzz.py` does, and counts what came of them.

    python benches/python/fuzz.py N [SEED] [--first NUMBER]

Prints one row per entry: calls, results, errors by type, processor time; what was checked by other means; and every
call that went wrong, with the numbers that make it again. It ends with status 1 if there is one. A call that takes
longer than a minute of processor time ends the process with a traceback. SIGINT and SIGTERM end the calls: what was
counted is printed.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "python" / "core"))

import test_fuzz as fuzz

#: Seconds of processor time of a call that has hung; others may keep this process waiting.
HUNG = 60

#: Calls between two looks at the clock of hung calls.
EVERY = 1000

ERRORS = ("ValueError", "TypeError", "IndexError")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("calls", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=random.randrange(10**6))
    parser.add_argument("--first", type=int, default=0, help="number of the first call")
    given = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, where the check of a result overflows
    counts: Counter[tuple[str, str]] = Counter()
    checks: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    n_wrong = 0
    ended: list[int] = []
    faulthandler.register(signal.SIGPROF, chain=True)
    for number_of_signal in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number_of_signal, lambda got, _: ended.append(got))
    for number in range(given.first, given.first + given.calls):
        if ended:
            break
        if number % EVERY == 0:
            signal.setitimer(signal.ITIMER_PROF, HUNG)
        begun = time.process_time()
        entry = fuzz.ROUND[number % len(fuzz.ROUND)]
        try:
            _, outcome, checked = fuzz.attempt(given.seed, number)
        except fuzz.WrongError as wrong:
            outcome, checked = "wrong", None
            n_wrong += 1
            print(f"{wrong}\n", file=sys.stderr, flush=True)
        counts[entry, outcome] += 1
        counts[entry, "calls"] += 1
        seconds[entry] += time.process_time() - begun
        if checked is not None:
            checks[checked] += 1
    n_calls = sum(n for (_, what), n in counts.items() if what == "calls")
    print(f"{n_calls:,} calls, seed {given.seed}, {sum(seconds.values()):,.0f} s of processor time\n")
    columns = ("calls", "result", *ERRORS, "wrong")
    print(f"| entry | {' | '.join(columns)} | microseconds a call |\n|{'---|' * (len(columns) + 2)}")
    for entry in fuzz.ENTRIES:
        cells = [f"{counts[entry, column]:,}" for column in columns]
        print(f"| {entry} | {' | '.join(cells)} | {1e6 * seconds[entry] / max(counts[entry, 'calls'], 1):,.0f} |")
    print(f"\nchecked by other means: {', '.join(f'{n:,} {name}' for name, n in checks.most_common())}")
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
