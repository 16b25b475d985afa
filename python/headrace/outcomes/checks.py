"""Checks of what a table is made of, and the small sums that describe it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import (
    BoolArray,
    Column,
    FloatArray,
    answer_text,
    broadcast_rows,
    checked_numbers,
    listed,
    refuse_mask,
)
from headrace.outcomes.rows import Rows, shown

__all__ = [
    "checked_answers",
    "checked_costs",
    "checked_labels",
    "checked_models",
    "checked_prices",
    "checked_quality",
    "column_means",
    "distinct",
    "missing_cells",
    "named_costs",
    "refuse_values",
    "span",
]


def checked_quality(quality: npt.ArrayLike, n_models: int) -> FloatArray:
    """Qualities of shape (n_queries, n_models), at least one query."""
    scores = checked_numbers("quality", _as_floats("quality", quality))
    if scores.ndim != 2 or scores.shape[1] != n_models:
        n_queries = scores.shape[0] if scores.ndim == 2 else "n_queries"
        wanted = f"(n_queries, n_models) = ({n_queries}, {n_models})"
        raise ValueError(f"quality: expected shape {wanted}, got {scores.shape}")
    if not len(scores):
        raise ValueError("quality: the table has no rows")
    return scores


def checked_costs(label: str, values: npt.ArrayLike) -> FloatArray:
    """Costs as numbers; true and false aren't costs."""
    floats = _as_floats(label, values)
    if floats.dtype.kind == "b":
        raise TypeError(f"{label}: expected numbers (NaN = missing), got dtype bool")
    return checked_numbers(label, floats)


def _as_floats(label: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Give decimals and long integers as floats, and other values as an array."""
    refuse_mask(label, values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{label}: not an array: {error}") from error
    if array.dtype.kind != "O" or not all(isinstance(cell, int | float | Decimal) for cell in array.flat):
        return array
    try:
        return array.astype(np.float64)
    except OverflowError as error:
        raise ValueError(f"{label}: expected numbers up to 1e308 in size, got a larger one") from error


def named_costs(
    cost: npt.ArrayLike | Mapping[str, npt.ArrayLike], cost_name: str, further_costs: Mapping[str, npt.ArrayLike]
) -> dict[str, tuple[str, npt.ArrayLike]]:
    """Costs by name, each with its label in messages."""
    if isinstance(cost, Mapping):
        if further_costs:
            raise ValueError("cost, further_costs: expected all costs in one mapping, got both")
        costs = dict(cost)
    else:
        if cost_name in further_costs:
            raise ValueError(f"cost_name, further_costs: expected different names, got {cost_name!r} in both")
        costs = {cost_name: cost, **further_costs}
    if not costs:
        raise ValueError("cost: expected at least one cost, got an empty mapping")
    for name in costs:
        if not isinstance(name, str) or not name:
            raise TypeError(f"cost: expected non-empty str as names, got {name!r}")
        if name == "quality":
            raise ValueError("cost: expected another name than 'quality'")
    if len(costs) == 1:
        return {name: ("cost", values) for name, values in costs.items()}
    return {name: (f"cost {name!r}", values) for name, values in costs.items()}


def checked_models(models: Sequence[str]) -> tuple[str, ...]:
    """Names of models: text, at least one, all different."""
    names = None if isinstance(models, str) or not hasattr(models, "__iter__") else tuple(models)
    if names is None or not all(isinstance(name, str) for name in names):
        raise TypeError(f"models: expected a sequence of str, got {models!r}")
    if not names:
        raise ValueError("models: expected at least one model, got none")
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"models: expected unique, non-empty names, got {names}")
    for name in names:
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in set(name)):
            raise ValueError(f"models: expected names without control characters, got {name!r}")
    return names


def checked_answers(responses: dict[str, Column]) -> dict[str, Column]:
    """Give the column "answer" as text, so that answers are compared whatever their type."""
    answers = responses.get("answer")
    if answers is None or answers.ndim != 2:
        return responses
    cells = np.empty(answers.shape, dtype=object)
    # Most answers are text already, and need no call.
    cells.ravel()[:] = [cell if type(cell) is str else answer_text(cell) for cell in answers.ravel().tolist()]
    return responses | {"answer": cells}


def checked_labels(argument: str, labels: Any, n_rows: int, rows: Rows | None = None) -> tuple[str, ...]:
    """One id or group for each row, as text; `rows` names them in messages."""
    if isinstance(labels, str) or not hasattr(labels, "__len__"):
        raise TypeError(f"{argument}: expected a sequence of str or int, got {type(labels).__name__}")
    if len(labels) != n_rows:
        raise ValueError(f"{argument}: expected length n_queries = {n_rows}, got {len(labels)}")
    wrong = [
        row
        for row, label in enumerate(labels)
        if isinstance(label, bool) or not isinstance(label, str | int | np.integer)
    ]
    if wrong:
        place = (rows or Rows(source="table")).place(wrong)
        raise TypeError(f"{argument}: expected str or int, got {shown(labels[wrong[0]])}{place}")
    return tuple(str(label) for label in labels)


def is_missing(cell: Any) -> bool:
    """Whether a cell of objects is None or NaN, the only number that isn't itself."""
    return cell is None or (isinstance(cell, float) and cell != cell)


def missing_cells(cells: Column) -> BoolArray:
    """Say which runs lack a response: NaN, None, or a vector with NaN; shape (n_queries, n_models).

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.checks import missing_cells
    >>> missing_cells(np.array([[0.5, np.nan]])).tolist()
    [[False, True]]
    >>> missing_cells(np.array([["yes", None]], dtype=object)).tolist()
    [[False, True]]
    """
    if cells.dtype.kind == "f":
        lacks = np.isnan(cells)
    elif cells.dtype.kind == "O":
        lacks = np.array([is_missing(cell) for cell in cells.ravel().tolist()]).reshape(cells.shape)
    else:
        lacks = np.zeros(cells.shape, dtype=np.bool_)
    return np.asarray(lacks.reshape(*cells.shape[:2], -1).any(axis=2))


def checked_prices(
    column_cost: Mapping[str, npt.ArrayLike], responses: Mapping[str, Column], shape: tuple[int, ...]
) -> dict[str, FloatArray]:
    """Prices of response columns, each of the table's shape."""
    if not isinstance(column_cost, Mapping):
        raise TypeError(f"column_cost: expected a mapping of columns to prices, got {type(column_cost).__name__}")
    prices = {}
    for name, values in column_cost.items():
        label = f"column_cost: {name!r}"
        if name not in responses:
            raise ValueError(f"column_cost: expected response columns, {listed(responses)}; got {name!r}")
        price = checked_costs(label, values)
        prices[name] = np.full(shape, float(price)) if price.ndim == 0 else broadcast_rows(label, price, shape).copy()
        if np.isinf(prices[name]).any() or (prices[name] < 0.0).any():
            raise ValueError(f"{label}: expected finite numbers >= 0, or NaN, got {price.min():g} to {price.max():g}")
    return prices


def distinct(ids: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """Ids with the second, third, ... of a kind renamed, and how many were."""
    taken = set(ids)
    if len(taken) == len(ids):
        return ids, 0
    last_number: dict[str, int] = {}
    distinct = []
    for label in ids:
        number, name = last_number.get(label, 0) + 1, label
        if number > 1:
            while (name := f"{label}#{number}") in taken:
                number += 1
        last_number[label] = number
        distinct.append(name)
    return tuple(distinct), len(ids) - len(last_number)


def refuse_values(
    quality: FloatArray,
    costs: Mapping[str, FloatArray],
    models: Sequence[str],
    rows: Rows,
    columns: Mapping[str, str] | None = None,
) -> None:
    """Refuse a table with a quality or a cost that none can be, and name the rows.

    Parameters
    ----------
    quality : ndarray of shape (n_queries, n_models)
    costs : mapping of str to ndarray of shape (n_queries, n_models)
    models : sequence of str
    rows : Rows
        The rows of the table, for messages.
    columns : mapping of str to str, optional
        How the source calls "<model>|quality" and "<model>|<cost>", where it has such columns; for messages.

    Raises
    ------
    ValueError
        If a number is infinite, or a cost is negative.
    """
    for name, values in {"quality": quality, **costs}.items():
        bad, wanted, label = np.isinf(values), "a finite number, or NaN", name
        if name in costs:  # none is called "quality"
            bad, wanted = bad | (values < 0), "a finite number >= 0, or NaN"
            label = "cost" if len(costs) == 1 else f"cost {name!r}"
        if bad.any():
            cells = np.argwhere(bad).tolist()
            first = models[cells[0][1]]
            given = (columns or {}).get(f"{first}|{name}")
            label = label if given is None else f"column {given!r}"
            place = rows.place([row for row, _ in cells], [models[model] for _, model in cells])
            raise ValueError(f"{label}: expected {wanted}, got {values[tuple(cells[0])]}{place}")


def column_means(values: FloatArray) -> FloatArray:
    """Mean of each column where it isn't missing; NaN for a column without any, shape (n_models,)."""
    missing = np.isnan(values)
    if len(values) and not missing.any():
        return np.asarray(values.sum(axis=0) / len(values))
    present = ~missing
    count = present.sum(axis=0)
    total = np.sum(values, axis=0, where=present)
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))


def span(means: FloatArray, spec: str) -> str:
    """Least and greatest of some means, for one line of text."""
    known = means[~np.isnan(means)]
    return f"{known.min():{spec}}..{known.max():{spec}}" if len(known) else "unknown"
