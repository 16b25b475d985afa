"""Wide layouts: one row per query, and columns per model; ours, and RouterBench's under other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from headrace.arguments import Column, FloatArray, listed
from headrace.outcomes.readers.cells import as_text, is_empty, is_numeric, numbers_if_all, parsed
from headrace.outcomes.readers.table import COST_PREFIX, Table, with_observed_quality

ROUTERBENCH_QUERY = {"sample_id": "query_id", "prompt": "text", "eval_name": "task"}
ROUTERBENCH_RUN = {"total_cost": "cost", "model_response": "answer"}
ROUTERBENCH_IGNORED = "oracle_model_to_route_to"
ALWAYS_TEXT = ("text", "task")


def tabulate(
    columns: Mapping[str, Column],
    source: str,
    *,
    given_name: Mapping[str, str],
    cost: str | Sequence[str] | None,
    verified: bool,
    typed: bool,
) -> Table:
    """Make a table of wide columns. Those that aren't `typed` are all text, and may hold numbers as text.

    `given_name` says how each column is called in the source: name in our layout -> name there.
    """
    queries: dict[str, Column] = {}
    runs: dict[str, dict[str, Column]] = {}
    for name, given in given_name.items():
        model, bar, column = name.rpartition("|")
        if bar and not column:
            raise ValueError(f"{source}: column {given!r} has nothing after the '|'")
        if bar:
            runs.setdefault(column, {})[model] = columns[given]
        else:
            queries[name] = columns[given]
    scored = runs.pop("quality", {})
    models = _scored_models(scored, runs, columns, source)
    quality = _joined_numbers(models, scored, "quality", given_name)
    responses = {column: _joined(models, cells, column, typed=typed) for column, cells in runs.items()}
    prices = {
        column.removeprefix(COST_PREFIX): _joined_numbers(models, runs[column], column, given_name)
        for column in _cost_columns(cost, responses, source)
    }
    responses = {column: cells for column, cells in responses.items() if not column.startswith(COST_PREFIX)}
    ids, groups = (queries.pop(name, None) for name in ("query_id", "group"))
    labels = None if groups is None else _present_ids(groups, given_name["group"], source)
    table: Table = {
        "models": models,
        "quality": quality,
        "cost": prices,
        "ids": None if ids is None else _present_ids(ids, given_name["query_id"], source),
        "queries": {name: _query_column(name, cells, typed=typed) for name, cells in queries.items()},
        "responses": {**responses, "cost": next(iter(prices.values()))},
        "groups": None if labels is None else np.array([str(label) for label in labels], dtype=object),
    }
    return with_observed_quality(table) if verified else table


def cost_names(cost: Sequence[str]) -> list[str]:
    """Check the names of several costs."""
    names = list(cost) if hasattr(cost, "__iter__") else []
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise TypeError(f"cost: expected None, the name of a per-model column, or several different ones, got {cost!r}")
    return names


def _present_ids(ids: Column, name: str, source: str) -> list[Any]:
    for row, label in enumerate(ids.tolist()):
        if label is None or label != label:
            raise ValueError(f"{source}: column {name!r} has no id at row {row}")
    labels: list[Any] = ids.tolist()
    return labels


def routerbench_names(columns: Mapping[str, Column]) -> dict[str, str]:
    """Give name in the wide layout -> name in RouterBench's, for every column that is kept."""
    models = {name.rpartition("|")[0] for name in columns if "|" in name}
    given_name: dict[str, str] = {}
    for name in columns:
        model, bar, column = name.rpartition("|")
        if bar:
            wide = f"{model}|{ROUTERBENCH_RUN.get(column, column)}"
        else:
            wide = f"{name}|quality" if name in models else ROUTERBENCH_QUERY.get(name, name)
        if wide in given_name:
            raise ValueError(f"columns {given_name[wide]!r} and {name!r} mean the same, expected one of them")
        if name != ROUTERBENCH_IGNORED:
            given_name[wide] = name
    return given_name


def _scored_models(
    scored: Mapping[str, Column],
    runs: Mapping[str, Mapping[str, Column]],
    found: Iterable[str],
    source: str,
) -> list[str]:
    if not scored:
        wanted = "'<model>|quality', or '<model>' with '<model>|total_cost'"
        raise ValueError(f"{source}: no models found, expected {wanted}; columns found: {listed(found)}")
    for column, cells in runs.items():
        for model in cells:
            if model not in scored:
                raise ValueError(f"{source}: model {model!r} has a column {column!r} but no quality column")
    return list(scored)


def _cost_columns(cost: str | Sequence[str] | None, responses: Mapping[str, Column], source: str) -> list[str]:
    """Name the columns that are the costs: those asked for, or else those that say so."""
    if cost is None:
        named = [name for name in responses if name == "cost" or name.startswith(COST_PREFIX)]
        return named or [_cost_column(None, responses, source)]
    return [_cost_column(name, responses, source) for name in ([cost] if isinstance(cost, str) else cost_names(cost))]


def _cost_column(cost: str | None, responses: Mapping[str, Column], source: str) -> str:
    """Name of the response column that is the cost."""
    for name in (cost, f"{COST_PREFIX}{cost}"):
        if name in responses and cost is not None:
            return str(name)
    candidates = [name for name, v in responses.items() if v.dtype.kind == "f" and v.ndim == 2]
    choice = f"numeric per-model columns found: {listed(candidates)}"
    if cost is None:
        raise ValueError(f"cost: {source} has no cost column; name the column that serves as cost; {choice}")
    raise ValueError(f"cost: {source} has no per-model column {cost!r}; {choice}")


def _joined_numbers(
    models: Sequence[str], cells: Mapping[str, Column], column: str, given_name: Mapping[str, str]
) -> FloatArray:
    """Numbers of shape (n_rows, n_models) out of one column per model; missing for a model without one."""
    n_rows = len(next(iter(cells.values())))
    joined = np.full((n_rows, len(models)), np.nan)
    for j, model in enumerate(models):
        if model in cells:
            joined[:, j] = parsed(given_name[f"{model}|{column}"], cells[model])
    return joined


def _joined(models: Sequence[str], cells: Mapping[str, Column], column: str, *, typed: bool) -> Column:
    """One response column out of each model's: numbers if all are numbers, else text."""
    given = {model: values for model, values in cells.items() if not is_empty(values)} or dict(cells)
    if not typed:
        parsed = {model: numbers_if_all(values) for model, values in given.items()}
        given = parsed if all(is_numeric(values) for values in parsed.values()) else given
    shapes = {values.shape for values in given.values()}
    if len(shapes) > 1:
        raise ValueError(f"columns '<model>|{column}': expected one shape, got {sorted(shapes)}")
    (shape,) = shapes
    numeric = all(is_numeric(values) for values in given.values())
    joined = np.full((shape[0], len(models), *shape[1:]), np.nan if numeric else None)
    for model, values in given.items():
        joined[:, models.index(model)] = values if numeric else as_text(values)
    return joined


def _query_column(name: str, cells: Column, *, typed: bool) -> Column:
    if name in ALWAYS_TEXT:
        return as_text(cells)
    return cells if typed else numbers_if_all(cells)
