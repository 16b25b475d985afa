"""Decision logs (`headrace.runner.log`), as columns of our wide layout: the runs whose quality is known.

A row per query with a label, by feedback or by an audit's grader; of a query that came again, the last run of each
model counts. There are no query columns and no responses: the log holds no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headrace.outcomes.readers.table import COST_PREFIX
from headrace.runner.event_shapes import checked_event

__all__ = ["decided_columns"]


def decided_columns(events: Iterable[Mapping[str, Any]], source: str, notes: list[str]) -> dict[str, list[Any]]:
    """Give the columns of our wide layout.

    Parameters
    ----------
    events : iterable of mapping
        As `headrace.runner.log.read_log` gives them.
    source : str
        For messages.
    notes : list of str
        Where to say how many queries have no label.

    Raises
    ------
    ValueError
        No run has a label; an event lacks what its kind must hold.

    Examples
    --------
    >>> from headrace.outcomes.readers.decided import decided_columns
    >>> step = {"model": "small", "kind": "ok", "cost": 0.1}
    >>> events = [
    ...     {"event": "decision", "id": "q-1", "model": "small", "steps": [step]},
    ...     {"event": "feedback", "id": "q-1", "quality": 1.0, "model": None},
    ... ]
    >>> decided_columns(events, "log", [])
    {'query_id': ['q-1'], 'small|quality': [1.0], 'small|cost': [0.1]}
    """
    costs: dict[tuple[str, str], Any] = {}
    labels: dict[tuple[str, str], float] = {}
    answered_by: dict[str, str | None] = {}
    for event in events:
        kind, id = checked_event(event, source)["event"], event.get("id", "")
        if kind == "decision":
            answered_by[id] = event["model"]
            costs |= {(id, step["model"]): step["cost"] for step in event["steps"] if step["kind"] == "ok"}
        elif kind == "audit":
            costs |= {(id, model): run["cost"] for model, run in event["models"].items() if run["kind"] == "ok"}
            labels |= {(id, model): quality for model, quality in event["quality"].items()}
        elif kind == "feedback":
            model = event.get("model") or answered_by.get(id)
            if model is not None:
                labels[id, model] = event["quality"]
    known = {run: labels[run] for run in costs if run in labels}
    if not known:
        raise ValueError(f"{source}: a decision log without a label; tell the quality of answers by feedback")
    rows = list(dict.fromkeys(id for id, _ in known))
    n_unknown = len(answered_by.keys() - set(rows))
    if n_unknown:
        notes.append(f"{n_unknown} of {len(answered_by)} queries have no label: left out")
    columns: dict[str, list[Any]] = {"query_id": rows}
    for model in dict.fromkeys(model for _, model in known):
        columns[f"{model}|quality"] = [known.get((id, model)) for id in rows]
        spent = [_named(costs[id, model]) if (id, model) in known else {} for id in rows]
        for name in dict.fromkeys(name for cells in spent for name in cells):
            columns[f"{model}|{name}"] = [cells.get(name) for cells in spent]
    return columns


def _named(cost: Any) -> dict[str, Any]:
    """Give the costs of a run by their columns' names."""
    if isinstance(cost, Mapping):
        return {f"{COST_PREFIX}{name}": value for name, value in cost.items()}
    return {} if cost is None else {"cost": cost}
