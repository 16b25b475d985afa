"""Logs that `Recorder` writes: one JSON object per line and event, as columns of our wide layout.

An event is a run, a call that failed, or a label: the quality of a run, known later. A line that can't be read is one
that was being written when its program was interrupted: it is left out, and counted. A failed call leaves its cell
missing, until a later run of the model on that query fills it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from headrace.arguments import listed
from headrace.json_values import json_of
from headrace.outcomes.readers.table import COST_PREFIX
from headrace.outcomes.rows import named, shown

__all__ = ["MARK", "is_recorded", "recorded_columns", "recorded_events", "recorded_line", "recorded_lines"]

#: First key of every line, and the version of the format.
MARK = ("headrace", 1)

#: What every event must hold, and what is an object where there is one.
NEEDED, OBJECTS = ("event", "id", "model"), ("query", "response")


def is_recorded(text: str) -> bool:
    """Tell whether text holds lines of a `Recorder`; the first line may be torn."""
    mark, lines = f'{{"{MARK[0]}":', text.split("\n", 2)
    torn_at_once = len(lines) == 1 and text != "" and mark.startswith(text)
    # The version is a number; a decision log has a text there.
    begun = [line.removeprefix(mark).lstrip() for line in lines[:2] if line.startswith(mark)]
    return torn_at_once or any(not version.startswith('"') for version in begun)


def recorded_events(text: str, source: str, notes: list[str]) -> list[dict[str, Any]]:
    r"""Read the lines that are whole.

    Parameters
    ----------
    text : str
    source : str
        For messages.
    notes : list of str
        Where to say how many weren't.

    Returns
    -------
    list of dict

    Raises
    ------
    ValueError
        A line of a newer version, or an event that lacks what its kind must hold.

    Examples
    --------
    >>> from headrace.outcomes.readers.recorded import recorded_events
    >>> notes = []
    >>> run = '{"headrace": 1, "event": "run", "id": "q", "model": "a"}'
    >>> events = recorded_events(run + '\n{"headrace": 1, "ev', "log", notes)
    >>> [(event["id"], event["model"]) for event in events]
    [('q', 'a')]
    >>> notes
    ['1 line is torn, as after an interruption: left out']
    """
    events, n_torn = [], 0
    for line, event in _lines(text):
        if event is None:
            n_torn += 1
        elif event[MARK[0]] != MARK[1]:
            found = f"{shown(event[MARK[0]])} in line {line}"
            raise ValueError(f"{source}: expected lines of version {MARK[1]}, got {found}; update headrace")
        else:
            events.append(_checked(event, source, line))
    if n_torn:
        lines = "line is" if n_torn == 1 else "lines are"
        notes.append(f"{n_torn} {lines} torn, as after an interruption: left out")
    return events


def _checked(event: dict[str, Any], source: str, line: int) -> dict[str, Any]:
    """Give an event, if it holds what a table is made of: a file may come from anyone."""
    needed = (*NEEDED, "quality") if event.get("event") == "label" else NEEDED
    lacking = [name for name in needed if name not in event]
    if lacking:
        raise ValueError(
            f"{source}: expected an event with {listed(needed)}, got none of {listed(lacking)} in line {line}"
        )
    for names, kind, wanted in ((NEEDED, str, "a text"), (OBJECTS, dict, "an object")):
        for name in names:
            if name in event and not isinstance(event[name], kind):
                raise ValueError(f"{source}: {name!r}: expected {wanted}, got {shown(event[name])} in line {line}")
    return event


def _lines(text: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Give the event of each line that isn't empty, with the line's number from 1; None for a torn one."""
    for line, written in enumerate(text.split("\n"), start=1):
        if written.strip():
            try:
                event = json_of(written)
            except ValueError:
                event = None
            yield line, event if isinstance(event, dict) and MARK[0] in event else None


def recorded_lines(text: str) -> list[int]:
    """Give the line of each of the events that `recorded_events` reads, counted from 1."""
    return [line for line, event in _lines(text) if event is not None]


def recorded_line(text: str, row: int, model: str | None) -> int | None:
    r"""Look for the line of a run in a log, by its place in the table; None if a label of another line belongs to it.

    Parameters
    ----------
    text : str
    row : int
        Row of the columns that `recorded_columns` makes of the log.
    model : str, optional

    Returns
    -------
    int or None

    Examples
    --------
    >>> from headrace.outcomes.readers.recorded import recorded_line
    >>> run = '{"headrace": 1, "event": "run", "id": "q", "model": "a", "quality": 1, "cost": 2}'
    >>> recorded_line(f"\n{run}\n\n{run}", 1, "a")
    4
    """
    events = [
        {**event, "query": {}, "response": {}, "cost": None, "quality": line if event["event"] == "run" else None}
        for line, event in _lines(text)
        if event is not None
    ]
    lines = recorded_columns(events, "", []).get(f"{model}|quality")
    return None if lines is None else lines[row]


def recorded_columns(
    events: Sequence[dict[str, Any]],
    source: str,
    notes: list[str],
    *,
    line_of: Callable[[int], int] | None = None,
) -> dict[str, list[Any]]:
    """Give the columns of our wide layout: one row per query, and one more for each time that a model ran on it again.

    Parameters
    ----------
    events : sequence of dict
    source : str
        For messages.
    notes : list of str
        Where to say how many calls failed.
    line_of : callable, optional
        Gives the line of an event in the source, by the event's index; for messages.

    Raises
    ------
    ValueError
        No events; a query with two values of one column; a label for a run that isn't there.
    """
    queries: dict[str, dict[str, Any]] = {}
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    failed: list[tuple[str, str]] = []
    for row, event in enumerate(events):
        cell = (event["id"], event["model"])
        known = queries.setdefault(event["id"], {})
        for name, value in event.get("query", {}).items():
            if known.setdefault(name, value) != value:
                place = _event_place(event, row, line_of)
                raise ValueError(f"{source}: expected one value of {name!r} per query, got a second one{place}")
        if event["event"] == "run":
            runs.setdefault(cell, []).append(_run(event))
        elif event["event"] == "label":
            if cell not in runs:
                place = _event_place(event, row, line_of)
                raise ValueError(f"{source}: expected a run before its label, got a label alone{place}")
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


def _event_place(event: dict[str, Any], row: int, line_of: Callable[[int], int] | None) -> str:
    """Name an event at the end of a message."""
    line = "" if line_of is None else f" (line {line_of(row)})"
    return f"{named({'query': event['id'], 'model': event['model']})}{line}"


def _run(event: dict[str, Any]) -> dict[str, Any]:
    """Give what is known of a run, by the names of our wide layout."""
    cost = event.get("cost")
    costs = {f"{COST_PREFIX}{name}": value for name, value in cost.items()} if isinstance(cost, dict) else {}
    if cost is not None and not costs:
        costs = {"cost": cost}
    return {"quality": event.get("quality"), **costs, **event.get("response", {})}
