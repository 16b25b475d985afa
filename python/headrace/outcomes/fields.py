"""The fields of a table of outcomes: read-only arrays and mappings, what can be read off them, and parts of them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from headrace.arguments import BoolArray, Column, FloatArray, IndexArray, listed, read_only_view, row_index
from headrace.notebook import html_table
from headrace.outcomes.checks import checked_models, column_means, distinct, span
from headrace.outcomes.rows import Rows

__all__ = ["Fields"]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Fields:
    """What a table holds; `Outcomes` makes one, checks it, and says what each field is."""

    models: tuple[str, ...]
    quality: FloatArray
    cost: FloatArray
    ids: tuple[str, ...]
    queries: Mapping[str, Column]
    responses: Mapping[str, Column]
    groups: Column | None
    cost_name: str
    further_costs: Mapping[str, FloatArray]
    column_cost: Mapping[str, FloatArray]
    notes: tuple[str, ...]
    origin: Rows | None
    n_duplicate_ids: int = field(init=False)

    def _store(self, **fields: Any) -> None:
        """Set fields of a table in the making: its arrays become read-only, its mappings fixed."""
        for name, value in fields.items():
            if isinstance(value, Mapping):
                value = MappingProxyType({column: read_only_view(values) for column, values in value.items()})
            elif isinstance(value, np.ndarray):
                value = read_only_view(value)
            object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: dict(v) if isinstance(v, Mapping) else v for name, v in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._store(**state)

    def __len__(self) -> int:
        return self.n_queries

    @property
    def n_queries(self) -> int:
        """Number of rows."""
        return int(self.quality.shape[0])

    @property
    def n_models(self) -> int:
        """Number of models."""
        return int(self.quality.shape[1])

    @property
    def costs(self) -> Mapping[str, FloatArray]:
        """All costs by name, the first one first: arrays of shape (n_queries, n_models)."""
        return {self.cost_name: self.cost, **self.further_costs}

    @property
    def n_missing(self) -> int:
        """Number of cells whose quality, or one of whose costs, is missing."""
        return int(self._missing_cells().sum())

    @property
    def incomplete(self) -> BoolArray:
        """Whether a quality or a cost is missing, for each query: shape (n_queries,)."""
        return np.asarray(self._missing_cells().any(axis=1))

    @property
    def group_of_row(self) -> IndexArray:
        """Number of each query's group, from 0 on: shape (n_queries,). Without groups every query is its own."""
        if self.groups is None:
            return np.arange(self.n_queries)
        _, group_of_row = np.unique(self.groups, return_inverse=True)
        return group_of_row.astype(np.intp)

    @property
    def n_groups(self) -> int:
        """Number of groups; without groups that of the queries."""
        return self.n_queries if self.groups is None else len(np.unique(self.groups))

    @property
    def mean_quality(self) -> FloatArray:
        """Mean quality per model where it isn't missing, shape (n_models,); NaN for a model without any."""
        return column_means(self.quality)

    @property
    def mean_cost(self) -> FloatArray:
        """Mean cost per model where it isn't missing, shape (n_models,); NaN for a model without any."""
        return column_means(self.cost)

    def place(self, rows: npt.ArrayLike, model: str | None = None) -> str:
        """Say which rows they are, at the end of a message: the first one's id, and lines of the file they are from.

        Parameters
        ----------
        rows : array-like of int, or of bool and shape (n_queries,)
            At least one row.
        model : str, optional
            One whose runs they are.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> Outcomes(models=["a"], quality=[[0], [1]], cost=[1], ids=["p", "q"]).place([1])
        " for query 'q' (row 1)"
        """
        return (self.origin or Rows(source="table")).named(query=self.ids).place(row_index(rows, self.n_queries), model)

    def _changed(self, **fields: Any) -> Self:
        """Table with other fields, unchecked: they must be valid, and no caller may hold them."""
        changed = object.__new__(type(self))
        changed._store(**{**vars(self), **fields})
        return changed

    def __repr__(self) -> str:
        size = f"{self.n_queries} queries x {self.n_models} models"
        cost, quality = span(self.mean_cost, ".1e"), span(self.mean_quality, ".3f")
        missing = f", {self.n_missing} missing cell{'s' * (self.n_missing != 1)}" if self.n_missing else ""
        return f"Outcomes({size}, cost {cost}, quality {quality}{missing})"

    def _repr_html_(self) -> str:
        means = zip(self.models, self.mean_quality.tolist(), self.mean_cost.tolist(), strict=True)
        rows = [(model, f"{quality:.4g}", f"{cost:.4g}") for model, quality, cost in means]
        return html_table(repr(self), rows, ("model", "mean quality", f"mean {self.cost_name}"))

    def select(self, models: Sequence[str]) -> Self:
        """Keep only these models, in the order given.

        Raises
        ------
        TypeError, ValueError
            If `models` isn't a sequence of str, names one that is unknown or one twice, or is empty.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> table = Outcomes(models=["small", "large"], quality=[[0, 1]], cost=[1, 9])
        >>> table.select(["large"]).cost.tolist()
        [[9.0]]
        """
        names = checked_models(models)
        unknown = [name for name in names if name not in self.models]
        if unknown:
            close = difflib.get_close_matches(unknown[0], self.models, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            known = ", ".join(map(repr, self.models))
            raise ValueError(f"models: unknown {listed(unknown)}{hint}; known: {known}")
        columns = [self.models.index(name) for name in names]
        return self._changed(
            models=names,
            quality=self.quality[:, columns],
            cost=self.cost[:, columns],
            origin=None if self.origin is None else self.origin.of_models(names),
            further_costs={name: values[:, columns] for name, values in self.further_costs.items()},
            responses={name: values[:, columns] for name, values in self.responses.items()},
            column_cost={name: values[:, columns] for name, values in self.column_cost.items()},
        )

    def take(self, rows: npt.ArrayLike) -> Self:
        """Take rows by index, in the order given, or by a bool mask. A row taken twice gets two ids.

        Parameters
        ----------
        rows : array-like of int, or of bool and shape (n_queries,)

        Raises
        ------
        TypeError, ValueError
            If `rows` holds something else, is out of range, is a mask of another length, or takes no row.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> table = Outcomes(models=["a"], quality=[[0], [1], [1]], cost=[1], ids=["p", "q", "r"])
        >>> table.take([2, 0, 0]).ids
        ('r', 'p', 'p#2')
        """
        index = row_index(rows, self.n_queries)
        if not len(index):
            raise ValueError("rows: takes no row, expected at least one")
        ids, n_renamed = distinct(tuple(self.ids[row] for row in index))
        return self._changed(
            quality=self.quality[index],
            cost=self.cost[index],
            further_costs={name: values[index] for name, values in self.further_costs.items()},
            ids=ids,
            queries={name: values[index] for name, values in self.queries.items()},
            responses={name: values[index] for name, values in self.responses.items()},
            column_cost={name: values[index] for name, values in self.column_cost.items()},
            groups=None if self.groups is None else self.groups[index],
            n_duplicate_ids=n_renamed,
            origin=None if self.origin is None else self.origin.made_of(index),
        )

    def _missing_cells(self) -> BoolArray:
        return np.asarray(np.isnan(np.stack([self.quality, *self.costs.values()])).any(axis=0))
