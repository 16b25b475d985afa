"""Rows of a table whose estimators are asked again and again, each time for some rows under some run set.

`TableRows` gives the queries and the `Responses` that every estimator takes, and beside them a memory, which
`QueryFeatures` and `ResponseFeatures` look into before they encode: the queries, each model's responses and each pair
of these are encoded once for all rows, when first asked for. Encoders remember under a fingerprint of what they have
learned, as in `headrace.estimators.one_query`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, IndexArray, read_only_view
from headrace.estimators.responses import Responses

__all__ = ["TableQueries", "TableResponses", "TableRows"]


class TableRows:
    """Rows of a table, with what encoders have made of them.

    Parameters
    ----------
    queries : mapping of str to ndarray of shape (n_queries, ...)
    responses : mapping of str to ndarray of shape (n_queries, n_models, ...)
        Columns of the whole table; they aren't copied.
    rows : ndarray of int of shape (n_rows,)

    Attributes
    ----------
    encoded : dict
        What has been made of all these rows; not to be changed.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.one_table import TableRows
    >>> rows = TableRows({"x": np.arange(4.0)}, {"score": np.eye(4, 2)}, np.array([1, 3]))
    >>> rows.queries(np.array([1]))["x"].tolist(), rows.responses(np.array([0]), np.array([False, True]))[0]
    ([3.0], [None, {'score': 1.0}])
    """

    def __init__(self, queries: Mapping[str, Column], responses: Mapping[str, Column], rows: IndexArray) -> None:
        self._queries, self._responses, self._rows = queries, responses, rows
        self.encoded: dict[Hashable, FloatArray] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def queries(self, index: IndexArray | None = None) -> TableQueries:
        """Give the queries of some of these rows, by default of all."""
        return TableQueries(self, index, _Columns(self._queries, self._at(index)))

    def responses(self, index: IndexArray | None, run: BoolArray) -> TableResponses:
        """Show what the models of a mask returned on some of these rows, or on all."""
        return TableResponses(self, index, run, _Columns(self._responses, self._at(index)))

    def _at(self, index: IndexArray | None) -> IndexArray:
        return self._rows if index is None else self._rows[index]

    def remembered(self, key: Hashable, index: IndexArray | None, make: Callable[[], FloatArray]) -> FloatArray:
        """Give, for some of these rows, what is under a key; it is made for all rows when it is first asked for."""
        made = self.encoded.get(key)
        if made is None:
            made = self.encoded[key] = read_only_view(make())
        return made if index is None else made[index]


class _Columns(Mapping[str, Column]):
    """Some rows of columns, copied when asked for."""

    def __init__(self, columns: Mapping[str, Column], rows: IndexArray) -> None:
        self.columns: Mapping[str, Column] = columns
        self.rows: IndexArray = rows

    def __getitem__(self, name: str) -> Column:
        return read_only_view(self.columns[name][self.rows])

    def __contains__(self, name: object) -> bool:
        # As it is by default, cells would be copied.
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


class TableQueries(_Columns):
    """Queries of some rows."""

    def __init__(self, table: TableRows, index: IndexArray | None, columns: _Columns) -> None:
        super().__init__(columns.columns, columns.rows)
        self._table, self._index = table, index

    def remembered(self, key: Hashable, make: Callable[[Mapping[str, Column], int], FloatArray]) -> FloatArray:
        """Give what encoding makes of these queries: ``make(queries, n_queries)``, once, of all rows."""
        table = self._table
        return table.remembered(key, self._index, lambda: make(dict(table.queries()), len(table)))


class TableResponses(Responses):
    """Responses to some rows, in all of which the same models have run."""

    def __init__(self, table: TableRows, index: IndexArray | None, run: BoolArray, columns: _Columns) -> None:
        # What is frozen is set behind its back: nothing is checked again.
        own = self.__dict__
        own["run"] = read_only_view(run[None].repeat(len(columns.rows), axis=0))
        own["run_set"], own["_columns"], own["_table"], own["_index"] = run, columns, table, index

    run_set: BoolArray
    _columns: _Columns
    _table: TableRows
    _index: IndexArray | None

    def column(self, name: str, models: IndexArray | None = None) -> Column:
        """Copy one column, as `Responses.column`; of some models, without looking at the others."""
        if models is None or name not in self._columns or not self.run_set[models].all():
            return super().column(name, models)
        values = self._columns.columns[name][self._columns.rows[:, None], models]
        return values if values.dtype == object else values.astype(np.float64, copy=False)

    def remembered(self, key: Hashable, make: Callable[[Responses], FloatArray]) -> FloatArray:
        """Give what encoding makes of responses of models that have run: ``make(responses)``, once, of all rows."""
        table, run_set = self._table, self.run_set
        return table.remembered(key, self._index, lambda: make(table.responses(None, np.ones_like(run_set))))
