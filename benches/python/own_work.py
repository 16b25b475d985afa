"""Own work per query: the CPU time of headrace in the walk over one query, whatever the models take.

Three models; a text of some hundred characters per query; per run an answer, 128 token log-probabilities and the number
of output tokens. A router is fitted on 1,000 simulated queries, saved, loaded and warmed; then 2,000 other queries are
walked, one at a time, with BLAS on one thread. The goal: at most 0.3 ms at the median, 0.8 ms at the 99th percentile.

    python benches/python/own_work.py
    python benches/python/own_work.py --against OTHER/python  # two versions in turns, on the same files and queries
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import headrace as hr
from headrace.estimators.blas import one_blas_thread

N_FIT, N_QUERIES, N_TOKENS, N_MODELS = 1_000, 2_000, 128, 3
PRICES = np.array([0.2, 1.0, 5.0])
PARTS = ("start", "next", "observe", "model", "query")
#: Kinds of routers, by what is passed as `quality`.
KINDS: dict[str, str | None] = {"default": None, "linear": "linear"}
GOAL = {50: 0.3, 99: 0.8}


def table(n: int, seed: int) -> hr.Outcomes:
    """Simulate a log: a text, and per run an answer, token log-probabilities, output tokens, cost."""
    rng = np.random.default_rng(seed)
    words = np.array(["if", "then", "the", "sum", "of", "all", "numbers", "prove", "that", "what", "is", "a", "in"])
    difficulty = rng.normal(size=n)
    ability = np.array([-0.3, 0.4, 1.2])
    right = rng.random((n, N_MODELS)) < 1.0 / (1.0 + np.exp(2.0 * (difficulty[:, None] - ability)))
    answers = np.where(right, "7", rng.choice(list("12345"), (n, N_MODELS))).astype(object)
    doubt = 0.4 * np.exp(0.4 * difficulty[:, None] - 0.8 * right)[:, :, None]
    logprobs = -rng.exponential(doubt, (n, N_MODELS, N_TOKENS))
    tokens = rng.integers(40, N_TOKENS + 1, (n, N_MODELS))
    logprobs[np.arange(N_TOKENS) >= tokens[:, :, None]] = np.nan
    texts = [" ".join(rng.choice(words, rng.integers(20, 90) + int(20 * max(d, 0.0)))) for d in difficulty]
    return hr.Outcomes(
        models=["small", "medium", "large"],
        quality=right.astype(np.float64),
        cost=PRICES * (tokens + 100.0) / 1e6,
        queries={"text": np.array(texts, dtype=object)},
        responses={"answer": answers, "logprobs": logprobs, "output_tokens": tokens.astype(np.float64)},
    )


def fitted(kind: str) -> hr.Router:
    """Fit a router whose budget lies halfway between the cheapest model and all of them."""
    log = table(N_FIT, 1)
    return hr.Router(quality=KINDS[kind]).fit(log, budget=float(log.cost.mean(axis=0)[1] * 1.5))


def walked(decider: hr.Decider, log: hr.Outcomes, clock: Any) -> tuple[dict[str, list[float]], str]:
    """Walk all queries; give the times per query of each part in milliseconds, and a hash of all decisions."""
    times: dict[str, list[float]] = {part: [] for part in PARTS}
    decided = hashlib.blake2b(digest_size=6)
    for row in range(len(log)):
        query = {name: column[row] for name, column in log.queries.items()}
        runs = [
            {
                "answer": log.responses["answer"][row, j],
                "logprobs": log.responses["logprobs"][row, j].tolist(),
                "output_tokens": int(log.responses["output_tokens"][row, j]),
            }
            for j in range(N_MODELS)
        ]
        spent = defaultdict(int)
        begun = clock()
        session = decider.start(query, id=log.ids[row])
        spent["start"] += clock() - begun
        while True:
            begun = clock()
            model = session.next()
            spent["next"] += clock() - begun
            if model is None:
                break
            j = decider.models.index(model)
            cost = float(log.cost[row, j])
            begun = clock()
            session.observe(model, runs[j], cost=cost)
            spent["observe"] += clock() - begun
        begun = clock()
        answer = session.model
        spent["model"] += clock() - begun
        spent["query"] = sum(spent.values())
        for part in PARTS:
            times[part].append(spent[part] / 1e6)
        decided.update(f"{session.run} {answer};".encode())
    return times, decided.hexdigest()


def measured(path: str) -> None:
    """Print the times of one file, a line per part, and the hash of the decisions; for the parent process."""
    decider, log = hr.load(path).warm(), table(N_QUERIES, 2)
    with one_blas_thread:
        walked(decider, log.take(range(100)), time.process_time_ns)
        times, decided = walked(decider, log, time.process_time_ns)
    for part in PARTS:
        print(part, *np.percentile(times[part], list(GOAL)))
    print("decided", decided)


def asked(package: str, path: Path) -> tuple[dict[str, tuple[float, float]], str]:
    """Measure one version in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": package}
    command = [sys.executable, __file__, "--measure", str(path)]
    lines = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()
    found = {part: (float(median), float(high)) for part, median, high in map(str.split, lines[:-1])}
    return found, lines[-1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Own work per query.")
    parser.add_argument("--against", help="folder in which another version of the package lies")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measured(given.measure)
    here = str(Path(hr.__file__).resolve().parents[1])
    versions = [here] if given.against is None else [given.against, here]
    print(f"CPU time per query, ms: medians of {given.rounds} rounds; goal: {GOAL[50]} and {GOAL[99]} per query\n")
    titles = [""] if given.against is None else [" before", " after"]
    columns = [f"{number}{title}" for number in ("median", "99%") for title in titles]
    columns += ["ratio of medians"] if given.against else []
    print("| quality | part | " + " | ".join(columns) + " |\n|---|---|" + "---|" * len(columns))
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = Path(folder) / f"{kind}.headrace"
            fitted(kind).save(path)
            rounds = [[asked(version, path) for version in versions] for _ in range(given.rounds)]
            if len({decided for versions_of_round in rounds for _, decided in versions_of_round}) > 1:
                raise RuntimeError(f"{kind}: the decisions differ between versions")
            for part in PARTS:
                numbers = [
                    [statistics.median(of_round[v][0][part][n] for of_round in rounds) for v in range(len(versions))]
                    for n in range(len(GOAL))
                ]
                cells = [f"{value:.3f}" for values in numbers for value in values]
                cells += [f"{numbers[0][0] / numbers[0][1]:.1f}"] if given.against else []
                print(f"| {kind} | {part} | " + " | ".join(cells) + " |", flush=True)
    return None


if __name__ == "__main__":
    main()
