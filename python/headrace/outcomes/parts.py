"""Parts of a table: which rows go where in a split or in folds, which are complete, and rows of two tables in one."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, IndexArray, checked_rng, listed
from headrace.outcomes.checks import distinct
from headrace.outcomes.fields import Fields

__all__ = ["complete_rows", "fold_of_row", "rows_below", "rows_of_first_part", "unlabelled_models"]


def rows_of_first_part(
    group_of_row: IndexArray, fraction: float, rng: int | np.random.Generator | None, *, grouped: bool
) -> BoolArray:
    """Draw the rows of the first of two parts that share no group; see `Outcomes.split`.

    Parameters
    ----------
    group_of_row : int ndarray of shape (n_queries,)
        Groups are numbered from 0 on.
    fraction : float
        Share of the rows in the first part.
    rng : None, int or numpy.random.Generator
    grouped : bool
        Whether the table has groups: for messages.

    Returns
    -------
    bool ndarray of shape (n_queries,)

    Raises
    ------
    TypeError, ValueError
        If `fraction` isn't a number between 0 and 1, or leaves a part empty.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.parts import rows_of_first_part
    >>> rows_of_first_part(np.array([0, 0, 1, 1]), 0.5, 0, grouped=True).tolist()
    [True, True, False, False]
    """
    if isinstance(fraction, bool | np.bool_) or not isinstance(fraction, Real):
        raise TypeError(f"fraction: expected a number, got {type(fraction).__name__}")
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"fraction: expected a number between 0 and 1, got {fraction}")
    n_rows, sizes = len(group_of_row), np.bincount(group_of_row)
    wanted = float(fraction) * n_rows
    if len(sizes) == 1 or not 0.5 <= wanted <= n_rows - 0.5:
        held = f"{n_rows} queries" + (f" in {len(sizes)} groups" if grouped else "")
        raise ValueError(f"fraction: {fraction} of {held} leaves one part empty")
    order = checked_rng(rng).permutation(len(sizes))
    reached = np.cumsum(sizes[order])[:-1]
    n_groups = int(np.argmin(np.abs(reached - wanted))) + 1
    return np.isin(group_of_row, order[:n_groups])


def fold_of_row(
    group_of_row: IndexArray, n_folds: int, rng: int | np.random.Generator | None, *, grouped: bool
) -> IndexArray:
    """Draw a fold for each row, balanced; rows of one group share a fold; see `Outcomes.folds`.

    Parameters
    ----------
    group_of_row : int ndarray of shape (n_queries,)
        Groups are numbered from 0 on.
    n_folds : int
        From 2 to the number of groups.
    rng : None, int or numpy.random.Generator
    grouped : bool
        Whether the table has groups: for messages.

    Returns
    -------
    int ndarray of shape (n_queries,)

    Raises
    ------
    TypeError, ValueError
        If `n_folds` isn't as above.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.parts import fold_of_row
    >>> fold_of_row(np.array([0, 0, 1]), 2, 0, grouped=True).tolist()
    [0, 0, 1]
    """
    if isinstance(n_folds, bool) or not isinstance(n_folds, int | np.integer):
        raise TypeError(f"n_folds: expected an int, got {type(n_folds).__name__}")
    sizes = np.bincount(group_of_row)
    if not 2 <= n_folds <= len(sizes):
        unit = "groups" if grouped else "queries"
        raise ValueError(f"n_folds: expected 2 to {len(sizes)} (the number of {unit}), got {n_folds}")
    order = checked_rng(rng).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled = [(0, fold) for fold in range(int(n_folds))]
    fold_of_group = np.empty(len(sizes), dtype=np.intp)
    for group in order:
        n_rows, fold = filled[0]
        fold_of_group[group] = fold
        heapq.heapreplace(filled, (n_rows + int(sizes[group]), fold))
    return fold_of_group[group_of_row]


def rows_below(upper: Fields, lower: Fields) -> dict[str, Any]:
    """Give the fields of a table that has the rows of two; see `Outcomes.concat`.

    Raises
    ------
    ValueError
        If the tables differ in their models, costs or columns.

    Examples
    --------
    >>> from headrace.outcomes import Outcomes
    >>> from headrace.outcomes.parts import rows_below
    >>> table = Outcomes(models=["a"], quality=[[0], [1]], cost=[1])
    >>> rows_below(table, table)["ids"]
    ('0', '1', '0#2', '1#2')
    """
    for what in ("models", "costs", "queries", "responses", "column_cost"):
        above, below = tuple(getattr(upper, what)), tuple(getattr(lower, what))
        if above != below:
            raise ValueError(f"other: expected {what} {listed(above)}; got {listed(below)}")
    if (upper.groups is None) != (lower.groups is None):
        raise ValueError("other: expected groups in both tables or in neither")

    def joined(above: Mapping[str, Column], below: Mapping[str, Column]) -> dict[str, Column]:
        return {name: np.concatenate([values, below[name]]) for name, values in above.items()}

    ids, n_renamed = distinct((*upper.ids, *lower.ids))
    return {
        "quality": np.concatenate([upper.quality, lower.quality]),
        "cost": np.concatenate([upper.cost, lower.cost]),
        "further_costs": joined(upper.further_costs, lower.further_costs),
        "ids": ids,
        "queries": joined(upper.queries, lower.queries),
        "responses": joined(upper.responses, lower.responses),
        "column_cost": joined(upper.column_cost, lower.column_cost),
        "groups": None
        if upper.groups is None or lower.groups is None
        else np.concatenate([upper.groups, lower.groups]),
        "n_duplicate_ids": n_renamed,
        "origin": None if upper.origin is None or lower.origin is None else upper.origin.above(lower.origin),
    }


def complete_rows(missing: BoolArray, models: Sequence[str]) -> BoolArray:
    """Give the rows without a missing cell, at least one; see `Outcomes.complete`.

    Parameters
    ----------
    missing : bool ndarray of shape (n_queries, n_models)
    models : sequence of str

    Returns
    -------
    bool ndarray of shape (n_queries,)

    Raises
    ------
    ValueError
        If there is no such row; it names the models that miss most.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.parts import complete_rows
    >>> complete_rows(np.array([[False, True], [False, False]]), ["a", "b"]).tolist()
    [False, True]
    """
    whole = np.asarray(~missing.any(axis=1))
    if not whole.any():
        counts = missing.sum(axis=0)
        emptiest = np.argsort(-counts, kind="stable")[:3]
        named = ", ".join(f"{models[j]!r} ({counts[j]} of {len(missing)})" for j in emptiest)
        ran = (~missing).sum(axis=1)
        one_each = "each query has one model; " if len(models) > 1 and (ran <= 1).all() else ""
        raise ValueError(
            f"no query has every model's quality and cost; {one_each}missing most: {named}. Run every model on some "
            "hundred queries, or choose models that have queries in common"
        )
    return whole


def unlabelled_models(models: Sequence[str], columns: Sequence[FloatArray]) -> list[str]:
    """Name the models without any value in one of some columns, each of shape (n_queries, n_models)."""
    unlabelled = np.any([np.isnan(values).all(axis=0) for values in columns], axis=0)
    return [name for name, lacks in zip(models, unlabelled, strict=True) if lacks]
