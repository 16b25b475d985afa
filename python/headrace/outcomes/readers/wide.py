"""Wide layouts: one row per query, and columns per model; ours, and RouterBench's under other names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from functools import partial

import numpy as np

from headrace.arguments import Column, FloatArray, checked_number, listed
from headrace.outcomes.checks import refuse_values
from headrace.outcomes.readers.cells import as_text, holds_text, is_empty, is_numeric, numbers_if_all, parsed
from headrace.outcomes.readers.table import COST_PREFIX, PRICE_PREFIX, Reading, Table, with_observed_quality
from headrace.outcomes.rows import Rows

ROUTERBENCH_QUERY = {"sample_id": "query_id", "prompt": "text", "eval_name": "task"}
ROUTERBENCH_RUN = {"total_cost": "cost", "model_response": "answer"}
ROUTERBENCH_IGNORED = "oracle_model_to_route_to"

#: Whole numbers as a float column of a dataframe writes them.
FLOAT_LABEL = re.compile(r"[0-9]+\.0")


def tabulate(
    columns: Mapping[str, Column],
    rows: Rows,
    reading: Reading,
    *,
    given_name: Mapping[str, str],
    costs: Sequence[str] | None,
    loose: frozenset[str],
    notes: list[str],
) -> Table:
    """Make a table of wide columns.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_queries, ...)
    rows : Rows
        Those of `columns`, for messages.
    reading : Reading
    given_name : mapping of str to str
        How each column is called in the source: name in our layout -> name there.
    costs : sequence of str, optional
        Columns that are the costs; by default those that say so.
    loose : frozenset of str
        Columns, by their names in the source, whose text may stand for numbers.
    notes : list of str
        What was left out so far; more is added.

    Raises
    ------
    ValueError
        If there are no models or no cost, or a cell isn't what its column needs; the row is named.
    """
    queries: dict[str, Column] = {}
    runs: dict[str, dict[str, Column]] = {}
    for name, given in given_name.items():
        model, bar, column = name.rpartition("|")
        if bar and not column:
            raise ValueError(f"{rows}: column {given!r} has nothing after the '|'")
        if bar and column == COST_PREFIX:
            raise ValueError(f"{rows}: column {given!r} has no name of a cost after {COST_PREFIX!r}")
        if bar:
            runs.setdefault(column, {})[model] = columns[given]
        else:
            queries[name] = columns[given]
    scored = runs.pop("quality", {})
    models = _scored_models(scored, runs, columns, str(rows))
    if "query_id" in queries:
        rows = rows.named(query=queries["query_id"])
    quality = _joined_numbers(models, scored, "quality", given_name, rows, notes)
    # A price of the quality says that it is a column, too, which was written once.
    bought = [column for column in ("quality", *runs) if f"{PRICE_PREFIX}{column}" in runs]
    column_cost = {
        column: _joined_numbers(
            models, runs.pop(f"{PRICE_PREFIX}{column}"), f"{PRICE_PREFIX}{column}", given_name, rows, notes
        )
        for column in bought
    }
    responses = {
        column: _joined(
            models, cells, column, loose={model for model in cells if given_name[f"{model}|{column}"] in loose}
        )
        for column, cells in runs.items()
    }
    if reading.prices is not None:
        prices = {"cost": _priced(models, reading.prices, responses, len(quality))}
    else:
        prices = {
            column.removeprefix(COST_PREFIX): _joined_numbers(models, runs[column], column, given_name, rows, notes)
            for column in _cost_columns(costs, responses, str(rows))
        }
    refuse_values(quality, prices, models, rows, _in_source(given_name, rows, reading))
    plain = {column: cells for column, cells in responses.items() if not column.startswith(COST_PREFIX)}
    if costs is not None or reading.prices is not None or len(plain) == len(responses):
        plain["cost"] = next(iter(prices.values()))
    ids, groups = (queries.pop(name, None) for name in ("query_id", "group"))
    labels = None if groups is None else _present_labels(groups, given_name["group"], rows, loose)
    names = None if ids is None else _present_labels(ids, given_name["query_id"], rows, loose)
    if labels is None and "text" in queries:
        labels = _same_texts(as_text(queries["text"]).tolist(), names, notes)
    table: Table = {
        "models": models,
        "quality": quality,
        "cost": prices,
        "ids": names,
        "queries": {
            name: _query_column(cells, name, loose=given_name[name] in loose) for name, cells in queries.items()
        },
        "responses": plain,
        "column_cost": column_cost,
        "groups": None if labels is None else np.array(labels, dtype=object),
        "notes": notes,
        "origin": rows,
    }
    return with_observed_quality(table) if reading.verified or "quality" in column_cost else table


def _in_source(given_name: Mapping[str, str], rows: Rows, reading: Reading) -> dict[str, str]:
    """Say how the source calls qualities and costs: not at all, if it has a row for each run, or no costs."""
    if rows.models or reading.prices is not None:
        return {}
    return {name.replace(f"|{COST_PREFIX}", "|"): given for name, given in given_name.items() if "|" in name}


def _priced(
    models: Sequence[str], prices: Mapping[str, float], responses: Mapping[str, Column], n_queries: int
) -> FloatArray:
    """Give each run its price: per call, and per unit of a response column."""
    cost = np.zeros((n_queries, len(models)))
    priced = set()
    for name, value in prices.items():
        model, column = (name, "") if name in models else name.rpartition("|")[::2]
        if model not in models:
            raise ValueError(f"prices: unknown model in {name!r}; known: {listed(models)}")
        price = checked_number(f"prices: {name!r}", value)
        priced.add(model)
        counts = responses.get(column, np.zeros(0)) if column else np.ones(cost.shape)
        if counts.shape != cost.shape or not is_numeric(counts):
            raise ValueError(f"prices: expected a column of numbers in {name!r}; columns found: {listed(responses)}")
        cost[:, models.index(model)] += price * counts[:, models.index(model)]
    lacking = [model for model in models if model not in priced]
    if lacking:
        raise ValueError(f"prices: expected a price for every model, got none for {listed(lacking)}")
    return cost


def _same_texts(texts: Sequence[str | None], ids: Sequence[str] | None, notes: list[str]) -> list[str] | None:
    """Give queries of one text one group, the id of the first; None if no text comes twice."""
    names = [str(row) for row in range(len(texts))] if ids is None else ids
    first: dict[str, str] = {}
    groups = [first.setdefault(text, name) if text else name for text, name in zip(texts, names, strict=True)]
    n_repeats = len(groups) - len(set(groups))
    if not n_repeats or len(first) == 1:  # a text that all share says nothing about the query
        return None
    if len(set(names)) > len(set(groups)):
        notes.append(f"{n_repeats} queries have the text of another one: queries of one text form one group")
    return groups


def _present_labels(labels: Column, name: str, rows: Rows, loose: frozenset[str]) -> list[str]:
    """Give ids or groups as text, none of which may be missing."""
    texts: list[str] = as_text(labels).tolist()
    if empty := [row for row, label in enumerate(texts) if not label]:
        raise ValueError(f"{rows}: column {name!r} has no id{rows.place(empty)}")
    if loose and all(FLOAT_LABEL.fullmatch(label) for label in texts):
        return [label.removesuffix(".0") for label in texts]  # whole numbers that a dataframe kept as floats
    return texts


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
    found: Mapping[str, Column],
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


def _cost_columns(costs: Sequence[str] | None, responses: Mapping[str, Column], source: str) -> list[str]:
    """Name the columns that are the costs: those asked for, or else those that say so."""
    candidates = [name for name, cells in responses.items() if is_numeric(cells) and cells.ndim == 2]
    choice = f"numeric per-model columns found: {listed(candidates)}"
    if costs is None:
        named = [name for name in responses if name.startswith(COST_PREFIX)]
        if not named and "cost" not in responses:
            raise ValueError(
                f"cost: {source} has no cost column; name the column that serves as cost, or give "
                f"prices={{model: price}} (--price model=0.002); {choice}"
            )
        return named or ["cost"]
    found = []
    for cost in costs:
        named_so = f"{COST_PREFIX}{cost}"
        name = named_so if named_so in responses else cost
        if name not in responses:
            raise ValueError(f"cost: {source} has no per-model column {cost!r}; {choice}")
        found.append(name)
    return found


def _joined_numbers(
    models: Sequence[str],
    cells: Mapping[str, Column],
    column: str,
    given_name: Mapping[str, str],
    rows: Rows,
    notes: list[str],
) -> FloatArray:
    """Numbers of shape (n_rows, n_models) out of one column per model; missing for a model without one."""
    n_rows = len(next(iter(cells.values())))
    joined = np.full((n_rows, len(models)), np.nan)
    for j, model in enumerate(models):
        if model in cells:
            place = partial(rows.place, model=model)
            given = given_name[f"{model}|{column}"]
            joined[:, j] = parsed(given, cells[model], notes, truth=column == "quality", place=place)
    return joined


def _joined(models: Sequence[str], cells: Mapping[str, Column], column: str, *, loose: Set[str]) -> Column:
    """One response column out of each model's: numbers if all are numbers, else text; `loose`: of which text may be."""
    given = {model: values for model, values in cells.items() if not is_empty(values)} or dict(cells)
    if holds_text(column):
        given = {model: as_text(values) for model, values in given.items()}
    elif loose & given.keys():
        numbers = {model: numbers_if_all(values) for model, values in given.items()}
        given = numbers if all(is_numeric(values) for values in numbers.values()) else given
    shapes = {values.shape for values in given.values()}
    if len(shapes) > 1:
        raise ValueError(f"columns '<model>|{column}': expected one shape, got {sorted(shapes)}")
    (shape,) = shapes
    numeric = all(is_numeric(values) for values in given.values())
    kinds = {values.dtype for values in given.values()}
    exact = numeric and len(kinds) == 1 and len(given) == len(models)
    joined = np.full((shape[0], len(models), *shape[1:]), np.nan if numeric else None)
    if exact:
        joined = np.empty(joined.shape, dtype=kinds.pop())
    for j, model in enumerate(models):
        if model in given:
            joined[:, j] = given[model] if numeric else as_text(given[model])
    return joined


def _query_column(cells: Column, name: str, *, loose: bool) -> Column:
    if holds_text(name):
        return as_text(cells)
    return numbers_if_all(cells) if loose else cells
