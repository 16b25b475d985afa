"""One query on its way: its columns and its responses, with what encoders have made of them so far.

A session asks its estimators after every run. `OneQuery` and `OneResponses` are what it passes: the mapping and the
`Responses` that every estimator takes, and beside them a memory, which `QueryFeatures` and `ResponseFeatures` look into
before they encode. So the query is encoded once, and each response once, however many runs follow. Encoders remember
under a fingerprint of what they have learned (`headrace.estimators.state`): those of the quality and of the cost, which
learned the same from the same columns, find each other's work.

Both hold single cells. Arrays of one row are made of them only for estimators that ask for arrays: of one query, a call
of NumPy takes longer than the arithmetic. A memory is only as good as what it is about is fixed. It goes with the very
objects: a copy, such as a `dict` of other columns or `Responses.with_run`, has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, read_only_view
from headrace.estimators.responses import Responses

__all__ = ["Kinds", "OneQuery", "OneResponses", "missing", "once"]

#: Columns of a fit by name: type, and shape of a cell.
Kinds: TypeAlias = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]

#: Of a column that the fit did not have.
NUMBER: tuple[np.dtype[Any], tuple[int, ...]] = (np.dtype(np.float64), ())


class OneQuery(Mapping[str, Column]):
    """Columns of one query, which stay as they are.

    Parameters
    ----------
    cells : mapping of str to value
        Texts or objects, floats, or arrays of floats.
    kinds : mapping of str to (dtype, tuple of int)
        Which columns hold objects; others hold numbers.

    Attributes
    ----------
    cells : mapping of str to value
    encoded : dict
        What has been made of them.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.one_query import OneQuery
    >>> query = OneQuery({"text": "Why?", "x": 2.0}, {"text": (np.dtype(object), ())})
    >>> query["text"], query["x"]
    (array(['Why?'], dtype=object), array([2.]))
    """

    __slots__ = ("_kinds", "cells", "encoded")

    def __init__(self, cells: Mapping[str, Any], kinds: Kinds) -> None:
        self.cells: Mapping[str, Any] = cells
        self._kinds = kinds
        self.encoded: dict[Hashable, Any] = {}

    def __getitem__(self, name: str) -> Column:
        cell = self.cells[name]
        dtype, shape = self._kinds.get(name, NUMBER)
        if dtype.kind != "O":
            return np.asarray(cell, dtype=np.float64)[None]
        column = np.empty((1, *shape), dtype=object)
        column[0] = cell
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)


class OneResponses(Responses):
    """Responses to one query, as its session holds them: nothing is checked again, and more may come.

    Parameters
    ----------
    run : bool ndarray of shape (1, n_models)
    kinds : mapping of str to (dtype, tuple of int)
        All columns.

    Attributes
    ----------
    cells : dict of int to dict of str to value
        What each model that has run returned, by its index and by column; a column that isn't there is missing. Cells
        stay as they are.
    encoded : dict
        What has been made of the models that have run.
    """

    kinds: Kinds
    cells: dict[int, dict[str, Any]]
    encoded: dict[Hashable, dict[Any, list[float]]]

    def __init__(self, run: BoolArray, kinds: Kinds) -> None:
        # What is frozen is set behind its back: `object.__setattr__` for each takes longer.
        own = self.__dict__
        own["run"], own["kinds"], own["cells"], own["encoded"] = run, kinds, {}, {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the fit."""
        return tuple(self.kinds)

    @property
    def _columns(self) -> dict[str, Column]:
        return {name: self._column(name) for name in self.kinds}

    def _column(self, name: str) -> Column:
        dtype, shape = self.kinds[name]
        column = missing((1, self.run.shape[1], *shape), dtype)
        for model, cells in self.cells.items():
            if name in cells:
                column[0, model] = cells[name]
        return column

    def cell(self, name: str, model: int) -> Any:
        """Give what a model that has run returned, to be read only: a float, an array, or an object."""
        cells = self.cells[model]
        if name in cells:
            return cells[name]
        dtype, shape = self.kinds[name]
        return missing(shape, dtype) if shape else None if dtype.kind == "O" else math.nan


def missing(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
    """Make a response column in which nothing is known: None among objects, NaN among numbers."""
    return np.full(shape, None, dtype=object) if dtype.kind == "O" else np.full(shape, np.nan)


def once(queries: Mapping[str, Column], key: Hashable, make: Callable[[], FloatArray]) -> FloatArray:
    """Make something of queries, or, of one on its way, give what has been made under the key before.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.one_query import OneQuery, once
    >>> query = OneQuery({"x": 2.0}, {})
    >>> once(query, "root", lambda: np.sqrt(query["x"])) is once(query, "root", lambda: np.empty(0))
    True
    """
    if not isinstance(queries, OneQuery):
        return make()
    made: FloatArray | None = queries.encoded.get(key)
    if made is None:
        made = queries.encoded[key] = read_only_view(np.asarray(make()))
    return made
