"""Small valid files of every kind that the package reads: what mutations begin with."""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import decision_logs

import headrace as hr
from headrace.datasets import simulate
from headrace.runner.log import DecisionLog

__all__ = [
    "LAYOUTS",
    "N_ROWS",
    "SERVE",
    "decision_log",
    "delimited",
    "inspect_log",
    "lines",
    "pickles",
    "promptfoo_log",
    "recorder_logs",
    "records",
    "session_states",
]

#: Rows of the tables.
N_ROWS = 4

LAYOUTS = ("wide", "routerbench", "routellm", "long", "llmrouter", "nvidia", "routerarena", "litellm")

SERVE = b"""
router = "routers/router.headrace"
[listen]
host = "127.0.0.1"
port = 8701
[limits]
timeout_s = 20
deadline_s = 60.5
concurrency = 8
max_body_bytes = 100_000
stream = "buffer"
[log]
path = "logs/decisions.jsonl"
audit = 0.02
[budgets]
path = "accounts"
limit = 5.0
every = "day"
[targets.model-1]
url = "http://127.0.0.1:8000/v1"
model = "qwen-7b"
prices = { input = 0.05, output = 0.2 }
options = { temperature = 0 }
supports = ["tools"]
[targets.model-2]
url = "http://127.0.0.1:8001/v1"
model = "qwen-70b"
[targets.model-3]
url = "http://127.0.0.1:8002/v1"
model = "big"
"""


def records(layout: str) -> list[dict[str, Any]]:
    """Give a small table in a layout."""
    runs = [(row, model) for row in range(N_ROWS) for model in ("small", "large")]
    if layout == "long":
        return [
            {"query_id": f"q-{row}", "text": f"{row} + 1?", "task": "sums", "group": f"g{row // 2}", "model": model}
            | {"quality": row % 2, "cost": 0.5 + row, "seconds": 0.25, "tokens": 10 + row, "answer": str(row)}
            for row, model in runs
        ]
    if layout == "llmrouter":
        return [
            {"task_name": "sums", "query": f"{row} + 1?", "model_name": model, "response": f"It is {row}"}
            | {"token_num": 12 + row, "input_tokens": 5, "response_time": 0.5, "performance": row / N_ROWS}
            for row, model in runs
        ]
    if layout == "nvidia":
        return [
            {"question": f"{row} + 1?", "model": model, "isCorrect": row % 2, "output_tokens": 45 + row}
            for row, model in runs
        ]
    if layout == "routerarena":
        used = {"input_tokens": 97, "output_tokens": 43}
        return [
            {"global index": f"A_{row}", "prompt": f"{row} + 1?", "prediction": model, "cost": 2e-5, "accuracy": 1.0}
            | {"generated_result": {"generated_answer": str(row), "success": True, "token_usage": used}}
            for row, model in runs
        ]
    if layout == "litellm":
        return [
            {"request_id": f"r-{row}-{model}", "model": f"p/{model}", "model_group": model, "spend": 0.01, "quality": 1}
            | {"startTime": "2026-04-21T10:00:00+00:00", "endTime": "2026-04-21T10:00:01.5+00:00", "status": "success"}
            | {"messages": [{"role": "user", "content": f"{row} + 1?"}], "prompt_tokens": 10, "cache_hit": "False"}
            | {"response": {"choices": [{"message": {"role": "assistant", "content": f"answer {row}"}}]}}
            for row, model in runs
        ]
    if layout == "routellm":
        return [{"prompt": f"{row} + 1?", "small": row % 2 == 0, "large": True} for row in range(N_ROWS)]
    if layout == "routerbench":
        per_model = {"small": (0.0, 1e-5), "large": (1.0, 2e-3)}
        return [
            {"sample_id": f"t.{row}", "prompt": f"{row} + 1?", "eval_name": "sums"}
            | {model: quality for model, (quality, _) in per_model.items()}
            | {f"{model}|model_response": f"['{row}']" for model in per_model}
            | {f"{model}|total_cost": cost for model, (_, cost) in per_model.items()}
            for row in range(N_ROWS)
        ]
    assert layout == "wide"
    return [
        {"query_id": f"q-{row}", "text": f"{row} + 1?", "task": "sums", "group": "a", "level": row, "code": f"00{row}"}
        | {"a|quality": row % 2, "a|cost:usd": 0.1, "a|cost:seconds": 2.5, "a|answer": "x", "a|tokens": 7}
        | {"b|quality": 0.5, "b|cost:usd": 0.25, "b|cost:seconds": None, "b|answer": None, "b|tokens": 8}
        for row in range(N_ROWS)
    ]


def promptfoo_log() -> dict[str, Any]:
    results = [
        {"provider": {"id": f"p:{model}", "label": ""}, "prompt": {"raw": f"{row} + 1?"}, "score": 1.0, "cost": 0.1}
        | {"latencyMs": 500, "error": None, "failureReason": 0}
        | {"response": {"output": str(row), "tokenUsage": {"prompt": 8, "completion": 4}}}
        for row in range(2)
        for model in ("a", "b")
    ]
    return {"evalId": "e", "results": {"version": 3, "results": results}}


def inspect_log() -> dict[str, Any]:
    samples = [
        {"id": row, "epoch": 1, "input": [{"role": "user", "content": f"{row} + 1?"}], "working_time": 0.5}
        | {"output": {"choices": [{"message": {"content": "A"}}], "usage": {"input_tokens": 10, "total_tokens": 15}}}
        | {"scores": {"match": {"value": value}}}
        for row, value in enumerate(("C", "I", 0.25))
    ]
    return {"version": 2, "eval": {"task": "t", "model": "p/a"}, "results": {"total_samples": 3}, "samples": samples}


def delimited(records: Sequence[dict[str, Any]], separator: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), delimiter=separator)
    writer.writeheader()
    for record in records:
        nested = {name: json.dumps(cell) for name, cell in record.items() if isinstance(cell, dict | list)}
        writer.writerow({**record, **nested})
    return text.getvalue().encode()


def lines(records: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def session_states(decider: hr.Decider) -> Iterable[dict[str, Any]]:
    """Keep sessions before and after their first steps."""
    table = simulate(4, 3, rng=2)
    options: list[dict[str, Any]] = [{}, {"max_cost": 1.0}, {"deny": ["model-2"]}, {"prices": {"model-1": 0.5}}]
    for row, given in enumerate(options):
        session = decider.start(decision_logs.columns_of(table, row), id=f"q-{row}", **given)
        yield session.to_dict()
        if row == 1:
            session.fail("model-3", kind="timeout", cost=0.01)
        model = session.next()
        assert model is not None
        session.observe(model, {"answer": "a", "note": [1, math.pi]}, cost=0.001, extra="ignore")
        yield session.to_dict()


def decision_log(folder: Path) -> bytes:
    log = DecisionLog(folder / "decisions.jsonl")
    for event in decision_logs.logged(decision_logs.fitted(), simulate(4, 3, rng=3), audit=0.5):
        log.append(event)
    return log.path.read_bytes()


def recorder_logs(folder: Path) -> list[bytes]:
    first, second = hr.Recorder(folder / "first.jsonl"), hr.Recorder(folder / "second.jsonl")
    for text in ("a?", "b?"):
        for model in ("small", "large"):
            key = first.run(text, model, {"answer": "x", "tokens": 7}, cost=1.5)
            first.label(key, model, 0.75)
    first.fail("b?", "large", "timeout")
    for answer in ("a", "b"):
        second.run({"size": 1}, "small", answer, quality=1, cost={"usd": 0.5, "seconds": 2.0}, id="q")
    return [first.path.read_bytes(), second.path.read_bytes()]


def pickles(records: list[dict[str, Any]]) -> list[bytes]:
    """Pickle a frame of plain columns, as RouterBench's files are."""
    import pandas

    frame = pandas.DataFrame(records)
    text = {name: object for name in frame if isinstance(records[0][name], str)}
    frame = frame.astype(text)
    frame.columns = pandas.Index(list(records[0]), dtype=object)
    return [pickle.dumps(frame, protocol=protocol) for protocol in (2, 4, 5)]
