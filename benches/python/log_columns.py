"""What each kind of column in a log brings: held-out squared error, and area under quality against cost.

    nice python benches/python/log_columns.py DATA_DIR [--seeds 5] [--queries 500] > columns.md

DATA_DIR, the models and the draws are those of estimators.py beside this file; with embeddings_minilm.npz there, the
embedding of the query is a column, too. Each column is added to the others of its table that are known earlier: a query
column to nothing, a response column to the query's task and length of text. "All" has all of a table's columns. Every
seed draws the queries to fit and to test anew. Intervals are of 95%, by Student's t over the seeds; a gain is paired.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from estimators import CASES, ROUTERBENCH, Case, parts, shown, table_of

import headrace as hr
from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import fit_estimators
from headrace.estimators import ConstantCost, LinearQuality

#: What is known before a run in most logs: response columns are added to it.
USUAL = ("text", "task")

#: Columns of each table, in the order of the rows: what they are called here, and what they are.
COLUMNS = {
    "answer": "answers (their agreement and length)",
    "probabilities": "probabilities of the classes",
    "logprob": "log-probability of the answer",
    "verified": "verdict of tests (the quality of what has run)",
    "response_len": "length of the answer (tokens)",
    "api_calls": "number of calls (an agent's steps)",
    "cost": "realised cost",
    "task": "task",
    "text": "length of the text",
    "embedding": "embedding of the text",
    "prompt_tokens_est": "tokens of the prompt",
    "statistics": "14 statistics of the query",
    "difficulty": "difficulty, as people set it",
}


class Gain(NamedTuple):
    """A row of the table: what one column, or all, did on each draw."""

    table: str
    kind: str
    column: str
    error: FloatArray
    error_gain: FloatArray
    area_gain: FloatArray


def with_embedding(table: hr.Outcomes, directory: Path, name: str) -> hr.Outcomes:
    """Add the embeddings of the texts, and keep the queries that have one."""
    path = directory / "embeddings_minilm.npz"
    if not path.exists():
        return table
    with np.load(path) as archive:
        place = {query: row for row, query in enumerate(archive[f"{name}_query_id"].tolist())}
        vectors = archive[name].astype(np.float64)
    table = table.take([row for row, query in enumerate(table.ids) if query in place])
    return replace(table, queries={**table.queries, "embedding": vectors[[place[query] for query in table.ids]]})


def tables(directory: Path) -> dict[str, tuple[hr.Outcomes, Case | None]]:
    """Read the tables, each with all columns that it has."""
    found: dict[str, tuple[hr.Outcomes, Case | None]] = {}
    for name in ("mmlu_pro, 5", "routerbench, 5", "swebench, 5 agents", "livecodebench, 5"):
        case = next(case for case in CASES if case.name == name)
        table = table_of(directory, case)
        if case.verified:
            responses = {("verified" if column == "quality" else column): v for column, v in table.responses.items()}
            table = replace(table, responses=responses)
        if case.file in ("mmlu_pro", ROUTERBENCH):
            table = with_embedding(table, directory, case.file)
        found[name] = table, case
    digits = hr.datasets.load_quickstart()
    statistics = np.column_stack(list(digits.queries.values()))
    logprob = np.log(digits.responses["probabilities"].max(axis=2))
    responses = {**digits.responses, "logprob": logprob, "cost": digits.cost}
    found["digits, 5 classifiers"] = replace(digits, queries={"statistics": statistics}, responses=responses), None
    return found


def judged(fitting: hr.Outcomes, test: hr.Outcomes, *, runs: bool) -> tuple[float, float]:
    """Give the squared error on the test queries, before a run or on the way to three, and the area in %."""
    served = BeliefTable.served(test, [fit_estimators(fitting, LinearQuality(), ConstantCost())])
    error = float(served.held_out_errors(max_depth=3 if runs else 0).mean())
    rule = "cascade-routing" if runs else "routing"
    router = hr.Router(rule=rule, quality=LinearQuality(), cost="constant").fit(fitting)
    return error, 100.0 * hr.evaluate(router, test, baselines=[], n_resamples=2, n_examples=0).methods[0].area


def drawn(table: hr.Outcomes, case: Case | None, seed: int, n_queries: int) -> tuple[hr.Outcomes, hr.Outcomes]:
    """Draw the queries to fit and to test."""
    if case is None:
        fitting, test = table.split(0.5, rng=seed)
    else:
        fitting, test = parts(table, case, seed)
    return shuffled(fitting, n_queries, seed), shuffled(test, 2 * n_queries, seed)


def shuffled(table: hr.Outcomes, n_queries: int, seed: int) -> hr.Outcomes:
    """Draw so many queries of a table, or all."""
    return table.take(np.random.default_rng(seed).permutation(len(table))[:n_queries])


def gains(name: str, table: hr.Outcomes, case: Case | None, n_seeds: int, n_queries: int) -> list[Gain]:
    """Measure the columns of a table."""
    queries = [column for column in COLUMNS if column in table.queries]
    responses = [column for column in COLUMNS if column in table.responses]
    usual = [column for column in queries if column in (*USUAL, "statistics")]
    wanted: list[tuple[str, str, list[str], list[str]]] = [
        *(("before any run", column, [], [column]) for column in queries),
        ("before any run", "all", [], queries),
        *(("after runs", column, usual, [*usual, column]) for column in responses),
        ("after runs", "all", usual, [*queries, *responses]),
    ]
    values: dict[Any, list[tuple[float, float]]] = {}
    for seed in range(n_seeds):
        fitting, test = drawn(table, case, seed, n_queries)
        for kind, _, without, with_it in wanted:
            for chosen in (without, with_it):
                key = kind, tuple(chosen)
                if len(values.setdefault(key, [])) == seed:
                    runs = kind == "after runs"
                    values[key].append(judged(fitting.with_only(chosen), test.with_only(chosen), runs=runs))
    found = []
    for kind, column, without, with_it in wanted:
        before, after = np.array(values[kind, tuple(without)]), np.array(values[kind, tuple(with_it)])
        found.append(Gain(name, kind, column, before[:, 0], before[:, 0] - after[:, 0], after[:, 1] - before[:, 1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=500)
    options = parser.parse_args()
    found = [
        gain
        for name, (table, case) in tables(options.directory).items()
        for gain in gains(name, table, case, options.seeds, options.queries)
    ]
    for kind in ("after runs", "before any run"):
        print(f"| column, known {kind} | table | squared error without, % | less with it, % | area, points |")
        print("|---|---|---|---|---|")
        for column, what in {**COLUMNS, "all": "all of the table's"}.items():
            for gain in (gain for gain in found if (gain.kind, gain.column) == (kind, column)):
                cells = f"{100.0 * gain.error.mean():.2f} | {shown(100.0 * gain.error_gain, '+')}"
                print(f"| {what} | {gain.table} | {cells} | {shown(gain.area_gain, '+')} |")
        print(flush=True)


if __name__ == "__main__":
    main()
