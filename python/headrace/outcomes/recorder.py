"""A log that a program writes while it runs its models: one line of JSON per run.

Each line is one write at the end of the file. So several threads or processes may write to one file of a local disk,
and an interruption tears at most the line of its process, which reading leaves out. The texts of queries and answers
are written as they are, since they are what a router is fitted on: keep the file as you keep those.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headrace.arguments import checked_number
from headrace.atomic_file import append_line
from headrace.outcomes.readers.long import query_hash
from headrace.outcomes.readers.recorded import MARK, is_recorded

__all__ = ["Recorder", "failed_event", "query_columns", "query_id", "response_columns", "run_event"]

#: Bytes of a file that is there, by which its kind is told.
BEGINNING = 4096

#: Names that the table has a use of its own for.
TAKEN = {"query": ("query_id", "group"), "response": ("quality", "cost")}


class Recorder:
    """Appends runs to a log that `Outcomes.from_file` reads.

    Parameters
    ----------
    path : str or path-like
        Ends in .jsonl; what is in the file stays, and new lines come below it.

    Raises
    ------
    ValueError
        Another suffix; a file that holds something else.
    OSError
        The file can't be written.

    Notes
    -----
    A line is on its way to the disk when the call returns: it survives the end of the program, not always that of the
    machine. On a network's file system, let one program write at a time.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import headrace as hr
    >>> log = hr.Recorder(pathlib.Path(tempfile.mkdtemp()) / "runs.jsonl")
    >>> for model, answer, cost in (("small", "5", 0.001), ("large", "4", 0.02)):
    ...     key = log.run("What is 2 + 2?", model, {"answer": answer}, quality=answer == "4", cost=cost)
    >>> hr.Outcomes.from_file(log.path)
    Outcomes(1 queries x 2 models, cost 1.0e-03..2.0e-02, quality 0.000..1.000)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        if self.path.suffix.lower() not in (".jsonl", ".ndjson"):
            raise ValueError(f"path: expected a name that ends in .jsonl, got {self.path.name!r}")
        with self.path.open("a+b") as file:
            file.seek(0)
            start = file.read(BEGINNING).decode(errors="replace")
        if start and not is_recorded(start):
            raise ValueError(f"path: {self.path} holds something else than the lines of a Recorder; name another file")

    def __repr__(self) -> str:
        return f"Recorder({str(self.path)!r})"

    def run(
        self,
        query: Mapping[str, Any] | str,
        model: str,
        response: Any,
        *,
        quality: float | None = None,
        cost: float | Mapping[str, float] | None = None,
        id: str | int | None = None,
    ) -> str:
        """Write down that a model has run on a query.

        Parameters
        ----------
        query : mapping of str to value, or str
            What was known before the run; a str stands for ``{"text": query}``.
        model : str
        response : mapping of str to value, or anything else but None
            What the run brought: "answer", "logprob", "seconds", ... Anything but a mapping stands for
            ``{"answer": response}``. A number that isn't finite counts as missing.
        quality : float or bool, optional
            How good the answer is; it can be told later by `label`.
        cost : float or mapping of str to float, optional
            What the run cost, or several costs by name.
        id : str or int, optional
            Of the query; by default a hash of its columns.

        Returns
        -------
        str
            The id.

        Raises
        ------
        TypeError, ValueError
            Something else than the above, e.g. a value that is neither number, text, nor a list of numbers.
        OSError
            The line can't be written.
        """
        event = run_event(query, model, response, quality=quality, cost=cost, id=id)
        self.append(event)
        return str(event["id"])

    def fail(
        self, query: Mapping[str, Any] | str, model: str, reason: str = "error", *, id: str | int | None = None
    ) -> str:
        """Write down that a call failed: no answer, and no quality. A later `run` of the model on the query stands.

        Parameters
        ----------
        query, model, id
            As in `run`.
        reason : str
            E.g. "timeout".

        Returns
        -------
        str
            The id of the query.
        """
        event = failed_event(query, model, reason, id=id)
        self.append(event)
        return str(event["id"])

    def label(self, id: str | int, model: str, quality: float) -> None:
        """Write down how good the last answer of a model to a query was, once that is known.

        Parameters
        ----------
        id : str or int
            Of the query; `run` has returned it.
        model : str
        quality : float or bool

        Raises
        ------
        TypeError, ValueError
            Something else than the above.
        """
        event = {**_event("label", _id(id, {}), model), "quality": _quality(quality)}
        self.append(event)

    def append(self, event: Mapping[str, Any]) -> None:
        """Append one event, as one line."""
        line = json.dumps(event, allow_nan=False).encode() + b"\n"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        file = os.open(self.path, flags, 0o666)
        try:
            append_line(file, line, self.path)
        finally:
            os.close(file)


def run_event(
    query: Mapping[str, Any] | str,
    model: str,
    response: Any,
    *,
    quality: float | None,
    cost: float | Mapping[str, float] | None,
    id: str | int | None,
) -> dict[str, Any]:
    """Make the event of a run; see `Recorder.run`."""
    columns = query_columns(query)
    event = {
        **_event("run", _id(id, columns), model),
        "query": columns,
        "response": response_columns(response),
        "quality": None if quality is None else _quality(quality),
    }
    if isinstance(cost, Mapping):
        if not cost:
            raise ValueError("cost: expected at least one, got an empty mapping")
        event["cost"] = {_name("cost", name): _cost(f"cost {name!r}", value) for name, value in cost.items()}
    elif cost is not None:
        event["cost"] = _cost("cost", cost)
    return event


def failed_event(query: Mapping[str, Any] | str, model: str, reason: str, *, id: str | int | None) -> dict[str, Any]:
    """Make the event of a call that failed; see `Recorder.fail`."""
    columns = query_columns(query)
    return {**_event("failed", _id(id, columns), model), "query": columns, "reason": str(reason)}


def query_columns(query: Mapping[str, Any] | str) -> dict[str, Any]:
    """Give the columns of a query."""
    if isinstance(query, str):
        return {"text": query}
    if not isinstance(query, Mapping):
        raise TypeError(f"query: expected a str, or a mapping of column to value, got {type(query).__name__}")
    return _columns("query", query)


def response_columns(response: Any) -> dict[str, Any]:
    """Give the columns of a response."""
    if response is None:
        raise ValueError("response: expected what the model returned, got None; tell of a failed call by fail()")
    return _columns("response", response if isinstance(response, Mapping) else {"answer": response})


def query_id(columns: Mapping[str, Any]) -> str:
    """Give a query without an id one: a hash of its columns, the same everywhere.

    Examples
    --------
    >>> from headrace.outcomes.recorder import query_id
    >>> query_id({"text": "2 + 2?"})
    '10cc23d895cb86b6'
    """
    text, task = columns.get("text"), columns.get("task")
    if isinstance(text, str) and set(columns) <= {"text", "task"}:
        return query_hash(text, task)
    return hashlib.blake2b(json.dumps(columns, sort_keys=True).encode(), digest_size=8).hexdigest()


def _event(kind: str, id: str, model: str) -> dict[str, Any]:
    if not isinstance(model, str) or not model:
        raise TypeError(f"model: expected a name, got {model!r}")
    return {MARK[0]: MARK[1], "event": kind, "id": id, "model": model}


def _id(id: Any, columns: Mapping[str, Any]) -> str:
    if id is None:
        if not columns:
            raise ValueError("query: expected at least one column, or an id; got neither")
        return query_id(columns)
    if isinstance(id, bool) or not isinstance(id, str | int | np.integer) or id == "":
        raise TypeError(f"id: expected str or int, got {id!r}")
    return str(id)


def _columns(argument: str, values: Mapping[str, Any]) -> dict[str, Any]:
    columns = {}
    for name, value in values.items():
        if name in TAKEN[argument]:
            raise ValueError(f"{argument}: a column {name!r} has another meaning in a table; rename it")
        columns[_name(argument, name)] = _value(f"{argument}: column {name!r}", value)
    return columns


def _name(argument: str, name: Any) -> str:
    if not isinstance(name, str) or not name or "|" in name or name.startswith("cost:"):
        raise ValueError(f"{argument}: expected a name without '|' or 'cost:', got {name!r}")
    return name


def _value(label: str, value: Any) -> Any:
    """Give a value as JSON knows it; what isn't finite is missing."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        numbers = [part.item() if isinstance(part, np.generic) else part for part in value]
        if all(part is None or isinstance(part, int | float) for part in numbers):
            return [_value(label, part) for part in numbers]
    raise TypeError(f"{label}: expected a number, text or a list of numbers, got {value!r:.60}")


def _quality(quality: Any) -> float | None:
    if isinstance(quality, bool | np.bool_):
        return float(quality)
    number = checked_number("quality", quality)
    if math.isinf(number):
        raise ValueError(f"quality: expected a finite number, or NaN, got {number}")
    return None if math.isnan(number) else number


def _cost(label: str, cost: Any) -> float | None:
    number = checked_number(label, cost)
    if math.isinf(number) or number < 0.0:
        raise ValueError(f"{label}: expected a finite number >= 0, or NaN, got {number}")
    return None if math.isnan(number) else number
