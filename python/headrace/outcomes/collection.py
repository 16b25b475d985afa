"""Runs of models, collected into a table: every model on every query, measured, judged and logged."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import checked_int, plain_value
from headrace.outcomes.checks import distinct
from headrace.outcomes.readers.recorded import recorded_columns, recorded_events
from headrace.outcomes.readers.source import read_frame
from headrace.outcomes.readers.table import Reading, Table
from headrace.outcomes.recorder import Recorder, failed_event, query_columns, query_id, run_event

__all__ = ["Ask", "Price", "collected"]

#: A model whose first so many calls all fail is not called again: a wrong key, say, fails every time.
MOST_FAILURES = 3

#: What asks a model: from a query to what it returns.
Ask = Callable[[Any], Any]

#: What runs of a model cost: a number, or a function of the query and of what the model returned.
Price = float | Callable[[Any, Any], float]


class _Query(NamedTuple):
    """One query: its id, as it was given, its columns, and what only the judge may see."""

    id: str
    given: Any
    columns: dict[str, Any]
    reference: tuple[Any, ...]


class _Collection:
    """The events of a collection, and the log that they go to."""

    def __init__(self, path: str | os.PathLike[str] | None, wanted: Sequence[str]) -> None:
        self.notes: list[str] = []
        self._log = None if path is None else Recorder(path)
        self.source = "queries" if path is None else str(path)
        text = "" if self._log is None else self._log.path.read_text(encoding="utf-8")
        ids = set(wanted)
        self.events = [e for e in recorded_events(text, self.source, self.notes) if e["id"] in ids]
        self.done = {(event["id"], event["model"]) for event in self.events if event["event"] == "run"}
        self._failures: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, event: dict[str, Any], error: Exception | None) -> None:
        """Take in one event, and log it; refuse to go on with a model that has only failed so far."""
        with self._lock:
            self._add(event, error)

    def _add(self, event: dict[str, Any], error: Exception | None) -> None:
        if self._log is not None:
            self._log.append(event)
        self.events.append(event)
        model = event["model"]
        if event["event"] == "run":
            self.done.add((event["id"], model))
            return
        self._failures[model] = self._failures.get(model, 0) + 1
        if self._failures[model] >= MOST_FAILURES and not any(name == model for _, name in self.done):
            raise ValueError(
                f"models: the first {MOST_FAILURES} calls of {model!r} failed, so it isn't called again; the last "
                f"one: {event['reason']}"
            ) from error


def collected(
    queries: Sequence[Any] | Mapping[str, Any],
    models: Mapping[str, Ask],
    *,
    quality: Callable[..., float | None],
    cost: Mapping[str, Price] | str | None,
    references: Sequence[Any] | None,
    ids: Sequence[str | int] | None,
    path: str | os.PathLike[str] | None,
    n_threads: int,
) -> Table:
    """Run what hasn't run, and give the arguments of a table; see `Outcomes.collect`."""
    asked = _checked_queries(queries, references, ids)
    _check_models(models, cost)
    if not callable(quality):
        raise TypeError(f"quality: expected a function of query and response, got {type(quality).__name__}")
    collection = _Collection(path, [query.id for query in asked])
    waiting = [(query, model) for query in asked for model in models if (query.id, model) not in collection.done]

    def run(query: _Query, model: str) -> None:
        collection.add(*_run(query, model, models=models, quality=quality, cost=cost))

    _call_all(run, waiting, checked_int("n_threads", n_threads, 1))
    place = {query.id: i for i, query in enumerate(asked)}
    events = sorted(collection.events, key=lambda event: place[event["id"]])
    events = [event for event in events if event["model"] in models]
    columns = recorded_columns(events, collection.source, collection.notes)
    order = {model: j for j, model in enumerate(models)}
    names = sorted(columns, key=lambda name: order.get(name.rpartition("|")[0], -1))
    table = read_frame(
        {name: columns[name] for name in names},
        Reading(layout="wide", cost=cost if isinstance(cost, str) else None),
        source=collection.source,
    )
    return {**table, "notes": [*collection.notes, *table["notes"]]}


def _run(
    query: _Query,
    model: str,
    *,
    models: Mapping[str, Ask],
    quality: Callable[..., float | None],
    cost: Mapping[str, Price] | str | None,
) -> tuple[dict[str, Any], Exception | None]:
    """Ask one model, and judge what it returns; the event, and what went wrong."""
    started = time.perf_counter()
    try:
        returned = models[model](query.given)
    except Exception as error:
        return failed_event(query.columns, model, f"{type(error).__name__}: {error}", id=query.id), error
    seconds = time.perf_counter() - started
    if returned is None:
        return failed_event(query.columns, model, "it returned None", id=query.id), None
    response = dict(returned) if isinstance(returned, Mapping) else {"answer": returned}
    response.setdefault("seconds", round(seconds, 6))
    own = response.pop("cost", None)
    if isinstance(cost, Mapping):
        price = cost[model]
        own = price(query.given, returned) if callable(price) else price
    elif cost is None and own is None:
        raise ValueError(f"cost: {model!r} returned no 'cost'; give the price of each model: cost={{{model!r}: 0.002}}")
    verdict = quality(query.given, returned, *query.reference)
    return run_event(query.columns, model, response, quality=verdict, cost=own, id=query.id), None


def _call_all(function: Callable[..., None], cells: Sequence[Any], n_threads: int) -> None:
    """Call a function for each cell, in some threads; after an error, those that have begun end, no other begins."""
    if n_threads == 1:
        for cell in cells:
            function(*cell)
        return
    pool = ThreadPoolExecutor(n_threads)
    try:
        for future in as_completed([pool.submit(function, *cell) for cell in cells]):
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _check_models(models: Mapping[str, Ask], cost: Mapping[str, Price] | str | None) -> None:
    if not isinstance(models, Mapping) or not models or not all(callable(ask) for ask in models.values()):
        raise TypeError(f"models: expected a mapping of name to function, got {models!r:.80}")
    for name in models:
        if not isinstance(name, str) or not name:
            raise TypeError(f"models: expected names, got {name!r}")
    if isinstance(cost, Mapping):
        lacking = [model for model in models if model not in cost]
        if lacking:
            raise ValueError(f"cost: expected a price for every model, got none for {', '.join(map(repr, lacking))}")
    elif cost is not None and not isinstance(cost, str):
        raise TypeError(f"cost: expected a mapping of model to price, or the name of a column, got {cost!r:.60}")


def _checked_queries(
    queries: Sequence[Any] | Mapping[str, Any], references: Sequence[Any] | None, ids: Sequence[str | int] | None
) -> list[_Query]:
    """Give the queries one by one: texts, mappings, or the rows of columns."""
    if isinstance(queries, str) or not hasattr(queries, "__len__"):
        raise TypeError(f"queries: expected a sequence of texts or mappings, or columns, got {type(queries).__name__}")
    given: list[Any]
    if isinstance(queries, Mapping):
        lengths = {name: len(cells) for name, cells in queries.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"queries: expected columns of one length, got {lengths}")
        rows = zip(*queries.values(), strict=True)
        given = [dict(zip(queries, map(plain_value, row), strict=True)) for row in rows]
    else:
        given = [plain_value(query) for query in queries]
    if not given:
        raise ValueError("queries: expected at least one, got none")
    for argument, others in (("references", references), ("ids", ids)):
        if others is not None and (isinstance(others, str) or len(others) != len(given)):
            raise ValueError(f"{argument}: expected one for each of {len(given)} queries, got {np.size(others)}")
    columns = [query_columns(query) for query in given]
    names, _ = distinct(tuple(map(query_id, columns) if ids is None else map(str, ids)))
    known: list[tuple[Any, ...]] = [()] * len(given) if references is None else [(one,) for one in references]
    return [_Query(*parts) for parts in zip(names, given, columns, known, strict=True)]
