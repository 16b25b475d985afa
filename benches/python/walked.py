"""Walks fresh queries with a router that is read from its file, in a process that has imported nothing else.

    python benches/python/walked.py ROUTER TABLE

TABLE is a pickle that round_trip.py beside this file writes. Prints JSON: what `walks` gives, the seconds of loading,
and the modules of `HEAVY` that have been imported in the end.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import headrace as hr

#: What a server shouldn't have to import.
HEAVY = ("pandas", "pyarrow", "matplotlib", "sklearn", "skops", "scipy")

N_LOADS = 5


def walks(decider: hr.Decider, table: dict[str, Any]) -> list[tuple[str, str]]:
    """Walk all queries: what was decided for each, and a hash of all that was believed, to the last bit."""
    found = []
    for row, query_id in enumerate(table["ids"]):
        session = decider.start({name: cells[row] for name, cells in table["queries"].items()}, id=query_id)
        believed = hashlib.blake2b(digest_size=8)
        while (model := session.next()) is not None:
            expected = [session.expected(name) for name in decider.models if name not in session.run]
            believed.update(repr((session.decision.value, session.decision.tradeoff, expected)).encode())
            j = decider.models.index(model)
            session.observe(model, {name: cells[row, j] for name, cells in table["responses"].items()})
        found.append((" ".join((*session.run, ">", session.model)), believed.hexdigest()))
    return found


def main() -> None:
    router, table = map(Path, sys.argv[1:])
    times = []
    for _ in range(N_LOADS):
        start = time.perf_counter(), time.process_time()
        decider = hr.load(router)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    with table.open("rb") as file:
        found = walks(decider, pickle.load(file))
    print(json.dumps({"walks": found, "seconds": times, "imported": [name for name in HEAVY if name in sys.modules]}))


if __name__ == "__main__":
    main()
