"""What a router may see at one moment: what the models that have run returned, and nothing of the others."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import (
    BoolArray,
    Column,
    IndexArray,
    broadcast_rows,
    checked_bools,
    checked_columns,
    listed,
    plain_value,
    read_only_view,
    row_index,
)

__all__ = ["Responses"]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Responses:
    """What the models that have run returned, for a batch of queries. Cells of models not run are hidden.

    The columns aren't copied: they are seen through read-only views. ``responses[i]`` is the list, one entry
    per model, of None (not run) or {column: value} for query i.

    Parameters
    ----------
    run : bool ndarray of shape (n_queries, n_models)
        True where the model has run.
    columns : mapping of str to ndarray of shape (n_queries, n_models) or (n_queries, n_models, d)
        What a run returns, as numbers or objects, e.g. "response_len" or "answer".

    Raises
    ------
    TypeError, ValueError
        If `run` isn't boolean, a column is neither numbers nor objects, or a shape doesn't fit.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.responses import Responses
    >>> run = np.array([[True, False], [True, True]])
    >>> seen = Responses(run, {"tokens": np.array([[3, 40], [5, 60]])})
    >>> seen[0]
    [{'tokens': 3}, None]
    >>> seen.column("tokens").tolist()
    [[3.0, nan], [5.0, 60.0]]
    """

    run: BoolArray
    _columns: Mapping[str, Column]

    def __init__(self, run: npt.ArrayLike, columns: Mapping[str, npt.ArrayLike]) -> None:
        mask = checked_bools("run", run)
        if mask.ndim != 2:
            raise ValueError(f"run: expected shape (n_queries, n_models), got {mask.shape}")
        checked = checked_columns("columns", columns, mask.shape)
        object.__setattr__(self, "run", read_only_view(mask))
        object.__setattr__(self, "_columns", {name: read_only_view(values) for name, values in checked.items()})

    def __len__(self) -> int:
        return int(self.run.shape[0])

    def __repr__(self) -> str:
        n_queries, n_models = self.run.shape
        size = f"{n_queries} queries x {n_models} models, {self.run.sum()} cells run"
        return f"Responses({size}, columns: {', '.join(self.names) or 'none'})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in the order given."""
        return tuple(self._columns)

    def __getitem__(self, row: int) -> list[dict[str, Any] | None]:
        index = operator.index(row)
        return [
            {name: plain_value(values[index, model]) for name, values in self._columns.items()} if ran else None
            for model, ran in enumerate(self.run[index])
        ]

    def __iter__(self) -> Iterator[list[dict[str, Any] | None]]:
        return (self[row] for row in range(len(self)))

    def column(self, name: str, models: IndexArray | None = None) -> Column:
        """Copy one column, with NaN (None in a column of objects) where the model hasn't run.

        Parameters
        ----------
        name : str
        models : ndarray of int, optional
            Indices of the models that are looked at; by default all.

        Returns
        -------
        ndarray of shape (n_queries, n_models) or (n_queries, n_models, d)
            Of dtype float, or object where the column holds text or other objects.

        Raises
        ------
        ValueError
            If there is no such column.

        Examples
        --------
        >>> Responses([[True, False]], {"answer": [["A", "B"]]}).column("answer").tolist()
        [['A', None]]
        """
        if name not in self.names:
            raise ValueError(f"name: no response column {name!r}; known: {listed(self.names)}")
        values, run = self._column(name), self.run
        if models is not None:
            values, run = values.take(models, axis=1), run.take(models, axis=1)
        objects = values.dtype == object
        seen = values.astype(object if objects else np.float64)
        if not run.all():
            seen[~run] = None if objects else np.nan
        return seen

    def _column(self, name: str) -> Column:
        return self._columns[name]

    def take(self, rows: npt.ArrayLike) -> Responses:
        """Take rows by index, in the order given, or by a bool mask.

        Parameters
        ----------
        rows : array-like of int, or of bool and shape (n_queries,)

        Raises
        ------
        TypeError, ValueError
            If `rows` holds something else, is out of range, or is a mask of another length.

        Examples
        --------
        >>> len(Responses([[True], [False], [True]], {}).take([2, 0]))
        2
        """
        index = row_index(rows, len(self))
        return Responses(self.run[index], {name: values[index] for name, values in self._columns.items()})

    def with_run(self, run: npt.ArrayLike) -> Responses:
        """Look at the same columns under another run mask.

        Parameters
        ----------
        run : bool array-like of shape (n_queries, n_models) or (n_models,)

        Raises
        ------
        TypeError, ValueError
            If `run` isn't boolean or its shape doesn't fit.

        Examples
        --------
        >>> Responses([[True, False]], {"tokens": [[3, 40]]}).with_run([False, True])[0]
        [None, {'tokens': 40}]
        """
        return Responses(broadcast_rows("run", checked_bools("run", run), self.run.shape), self._columns)
