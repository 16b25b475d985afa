"""Logs that `Recorder` writes: one JSON object per line and event, as columns of our wide layout.

An event is a run, a call that failed, or a label: the quality of a run, known later. A line that can't be read is one
that was being written when its program was interrupted: it is left out, and counted. A failed call leaves its cell
missing, until a later run of the model on that query fills it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from headrace.outcomes.readers.table import COST_PREFIX

__all__ = ["MARK", "is_recorded", "recorded_columns", "recorded_events"]

#: First key of every line, and the version of the format.
MARK = ("headrace", 1)


def is_recorded(text: str) -> bool:
    """Tell whether text holds lines of a `Recorder`; the first line may be torn."""
    mark, lines = f'{{"{MARK[0]}":', text.split("\n", 2)
    torn_at_once = len(lines) == 1 and text != "" and mark.startswith(text)
    # The version is a number; a decision log has a text there.
    return torn_at_once or any(line.startswith(mark) and not line.startswith(f'{mark}"') for line in lines[:2])


def recorded_events(text: str, source: str, notes: list[str]) -> list[dict[str, Any]]:
    r"""Read the lines that are whole.

    Parameters
    ----------
    text : str
    source : str
        For messages.
    notes : list of str
        Where to say how many weren't.

    Raises
    ------
    ValueError
        A line of a newer version.

    Examples
    --------
    >>> from headrace.outcomes.readers.recorded import recorded_events
    >>> notes = []
    >>> recorded_events('{"headrace": 1, "event": "run"}\n{"headrace": 1, "ev', "log", notes)
    [{'headrace': 1, 'event': 'run'}]
    >>> notes
    ['1 line is torn, as after an interruption: left out']
    """
    events, n_torn = [], 0
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or MARK[0] not in event:
            n_torn += 1
        elif event[MARK[0]] != MARK[1]:
            raise ValueError(f"{source}: expected lines of version {MARK[1]}, got {event[MARK[0]]!r}; update headrace")
        else:
            events.append(event)
    if n_torn:
        lines = "line is" if n_torn == 1 else "lines are"
        notes.append(f"{n_torn} {lines} torn, as after an interruption: left out")
    return events


def recorded_columns(events: Sequence[dict[str, Any]], source: str, notes: list[str]) -> dict[str, list[Any]]:
    """Give the columns of our wide layout: one row per query, and one more for each time that a model ran on it again.

    Parameters
    ----------
    events : sequence of dict
    source : str
        For messages.
    notes : list of str
        Where to say how many calls failed.

    Raises
    ------
    ValueError
        No events; a query with two values of one column; a label for a run that isn't there.
    """
    queries: dict[str, dict[str, Any]] = {}
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    failed: list[tuple[str, str]] = []
    for event in events:
        cell = (event["id"], event["model"])
        known = queries.setdefault(event["id"], {})
        for name, value in event.get("query", {}).items():
            if known.setdefault(name, value) != value:
                raise ValueError(f"{source}: query {event['id']!r} has two different values of {name!r}")
        if event["event"] == "run":
            runs.setdefault(cell, []).append(_run(event))
        elif event["event"] == "label":
            if cell not in runs:
                raise ValueError(
                    f"{source}: a label for {cell[1]!r} on query {cell[0]!r}, which has no run of it before"
                )
            runs[cell][-1]["quality"] = event["quality"]
        else:
            failed.append(cell)
    if not queries:
        raise ValueError(f"{source} has no rows")
    if failed:
        n_missing = sum(cell not in runs for cell in set(failed))
        calls, cells = (f"{n} {what}{'s' * (n != 1)}" for n, what in ((len(failed), "call"), (n_missing, "cell")))
        notes.append(f"{calls} failed: {cells} missing for it")
    models = list(dict.fromkeys(model for _, model in [*runs, *failed]))
    n_rows = {name: max([1, *(len(runs.get((name, model), ())) for model in models)]) for name in queries}
    rows = [(name, repeat) for name, n in n_rows.items() for repeat in range(n)]
    columns: dict[str, list[Any]] = {"query_id": [name for name, _ in rows]}
    if len(rows) > len(queries):
        columns["group"] = columns["query_id"]
    for column in dict.fromkeys(column for known in queries.values() for column in known):
        columns[column] = [queries[name].get(column) for name, _ in rows]
    parts = dict.fromkeys(["quality", *(part for of_cell in runs.values() for run in of_cell for part in run)])
    nothing: dict[str, Any] = {}
    for model in models:
        own = [[*runs.get((name, model), ()), *[nothing] * n_rows[name]][repeat] for name, repeat in rows]
        for part in parts:
            columns[f"{model}|{part}"] = [run.get(part) for run in own]
    return columns


def _run(event: dict[str, Any]) -> dict[str, Any]:
    """Give what is known of a run, by the names of our wide layout."""
    cost = event.get("cost")
    costs = {f"{COST_PREFIX}{name}": value for name, value in cost.items()} if isinstance(cost, dict) else {}
    if cost is not None and not costs:
        costs = {"cost": cost}
    return {"quality": event.get("quality"), **costs, **event.get("response", {})}
