"""Parts of a table as tables: rows, complete ones, splits and folds; and a table with fewer columns."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from headrace.arguments import IndexArray, listed
from headrace.outcomes.checks import missing_cells
from headrace.outcomes.fields import Fields
from headrace.outcomes.parts import complete_rows, fold_of_row, rows_below, rows_of_first_part, unlabelled_models

__all__ = ["Divisible"]


class Divisible(Fields):
    """A table that gives tables of some of its rows or columns; `Outcomes` is one."""

    def complete(self) -> Self:
        """Keep only the queries on which no model's quality or cost is missing.

        Raises
        ------
        ValueError
            If there is no such query; it names the models that miss most.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> nan = float("nan")
        >>> len(Outcomes(models=["a", "b"], quality=[[0, nan], [1, 1]], cost=[1, 2]).complete())
        1
        """
        return self.take(complete_rows(self._missing_cells(), self.models))

    def labelled(self, models: Sequence[str] | None = None, *, argument: str = "outcomes", fewest: int = 1) -> Self:
        """Keep the complete rows of some models, as `complete`, or say what is lacking.

        Parameters
        ----------
        models : sequence of str, optional
            All by default.
        argument : str
            What the caller calls this table: for messages.
        fewest : int
            Fewest rows that will do.

        Raises
        ------
        ValueError
            Unknown models, models without any quality or cost, or too few rows.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> nan = float("nan")
        >>> table = Outcomes(models=["a", "b"], quality=[[0, nan], [1, 1]], cost=[1, 2])
        >>> len(table.labelled(["a"])), len(table.labelled())
        (2, 1)
        """
        chosen = self if models is None else self.select(models)
        unlabelled = unlabelled_models(chosen.models, [chosen.quality, *chosen.costs.values()])
        if unlabelled:
            named = listed(unlabelled)
            raise ValueError(f"{argument}: no quality or no cost at all for {named}; leave it out with models=...")
        complete = chosen.complete() if chosen.n_missing else chosen
        if complete.n_queries < fewest:
            raise ValueError(f"{argument}: expected at least {fewest} complete queries, got {complete.n_queries}")
        return complete

    def concat(self, other: Self) -> Self:
        """Put the rows of another table with the same models, costs and columns below these.

        Raises
        ------
        ValueError
            If the other table has other models, costs or columns.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> table = Outcomes(models=["a"], quality=[[0], [1]], cost=[1])
        >>> len(table.concat(table.take([1])))
        3
        """
        return self._changed(**rows_below(self, other))

    def split(self, fraction: float, *, rng: int | np.random.Generator | None = None) -> tuple[Self, Self]:
        """Split at random into two parts that share no row and no group; both keep the order of rows.

        Parameters
        ----------
        fraction : float
            Share of the queries in the first part, between 0 and 1; as near as whole groups allow.
        rng : None, int or numpy.random.Generator, optional
            Source of randomness; None means seed 0.

        Raises
        ------
        TypeError, ValueError
            If `fraction` or `rng` isn't as above, or a part would be empty.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> table = Outcomes(models=["a"], quality=[[0], [1], [1], [0]], cost=[1])
        >>> [len(part) for part in table.split(0.25, rng=7)]
        [1, 3]
        """
        first = rows_of_first_part(self.group_of_row, fraction, rng, grouped=self.groups is not None)
        return self.take(first), self.take(~first)

    def folds(self, n_folds: int, *, rng: int | np.random.Generator | None = None) -> IndexArray:
        """Draw a fold for each row, balanced; rows of one group share a fold.

        Without groups, fold sizes differ by at most one. With them, the largest group is placed first, and
        each goes into the smallest fold so far.

        Parameters
        ----------
        n_folds : int
            From 2 to the number of groups (of queries, where there are no groups).
        rng : None, int or numpy.random.Generator, optional
            Source of randomness; None means seed 0.

        Returns
        -------
        int ndarray of shape (n_queries,)

        Raises
        ------
        TypeError, ValueError
            If `n_folds` or `rng` isn't as above.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> table = Outcomes(models=["a"], quality=[[0], [1], [1], [0]], cost=[1])
        >>> sorted(table.folds(2).tolist())
        [0, 0, 1, 1]
        """
        return fold_of_row(self.group_of_row, n_folds, rng, grouped=self.groups is not None)

    def without(self, columns: Iterable[str] | str) -> Self:
        """Leave out columns: no router that is fitted on the table sees them.

        Parameters
        ----------
        columns : sequence of str, or str
            Names of query or response columns; a name that is both leaves out both. Quality and costs stay,
            also where response columns of these names go.

        Raises
        ------
        TypeError, ValueError
            Something else than names; a name that is no column.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> table = Outcomes(models=["a"], quality=[[1]], cost=[1], queries={"text": ["?"], "winner": ["a"]})
        >>> list(table.without("winner").queries)
        ['text']
        """
        gone = self._checked_columns(columns)
        return self._with_columns([name for name in (*self.queries, *self.responses) if name not in gone])

    def with_only(self, columns: Iterable[str] | str) -> Self:
        """Leave out all columns but these; see `without`.

        Raises
        ------
        TypeError, ValueError
            As in `without`.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> table = Outcomes(models=["a"], quality=[[1]], cost=[1], queries={"text": ["?"], "winner": ["a"]})
        >>> list(table.with_only(["text"]).queries)
        ['text']
        """
        return self._with_columns(self._checked_columns(columns))

    def buying(self, columns: Iterable[str] | str = ()) -> Self:
        """Give the table of a router that buys some paid columns after each run, and none of the others.

        Parameters
        ----------
        columns : sequence of str, or str
            Names of columns in `column_cost`.

        Returns
        -------
        Outcomes
            Without paid columns: the prices of those bought are part of the first cost, and the others are left out.
            Queries where one that is bought is missing, though the model's quality is known, are left out.

        Raises
        ------
        TypeError, ValueError
            Something else than names; a column without a price; no query has all of them.

        Examples
        --------
        >>> from headrace.outcomes import Outcomes
        >>> judged = {"judge": [[0.9, 0.4], [float("nan"), 0.8]]}
        >>> table = Outcomes(
        ...     models=["a", "b"], quality=[[1, 0], [0, 1]], cost=[2, 3], responses=judged, column_cost={"judge": 0.5}
        ... )
        >>> table.buying("judge").cost.tolist(), table.buying().cost.tolist()
        ([[2.5, 3.5]], [[2.0, 3.0], [2.0, 3.0]])
        >>> list(table.buying("judge").responses), list(table.buying().responses)
        (['judge'], [])
        """
        names = [columns] if isinstance(columns, str) else list(columns)
        unknown = [name for name in names if name not in self.column_cost]
        if unknown:
            raise ValueError(f"columns: expected columns with a price, {listed(self.column_cost)}; got {unknown[0]!r}")
        if not self.column_cost:
            return self
        whole = self.having(names)
        return whole._changed(
            cost=np.sum([whole.cost, *(whole.column_cost[name] for name in names)], axis=0),
            responses={
                name: cells for name, cells in whole.responses.items() if name in names or name not in self.column_cost
            },
            column_cost={},
        )

    def having(self, columns: Iterable[str]) -> Self:
        """Keep the queries that have some paid columns, and their prices, for every model with a quality.

        Raises
        ------
        ValueError
            There is no such query.
        """
        names = list(columns)
        if not names:
            return self
        lacks = [missing_cells(self.responses[name]) | np.isnan(self.column_cost[name]) for name in names]
        whole = ~(np.any(lacks, axis=0) & ~np.isnan(self.quality)).any(axis=1)
        if not whole.any():
            raise ValueError(f"columns: no query has {listed(names)} for every model that has run on it")
        return self if whole.all() else self.take(whole)

    def _checked_columns(self, columns: Iterable[str] | str) -> list[str]:
        names = [columns] if isinstance(columns, str) else list(columns)
        if not all(isinstance(name, str) for name in names):
            raise TypeError(f"columns: expected names of columns, got {columns!r}")
        known = dict.fromkeys([*self.queries, *self.responses])
        unknown = [name for name in names if name not in known]
        if unknown:
            close = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"columns: unknown {listed(unknown)}{hint}; known: {listed(known)}")
        return names

    def _with_columns(self, names: Iterable[str]) -> Self:
        kept = set(names)
        return self._changed(
            queries={name: cells for name, cells in self.queries.items() if name in kept},
            responses={name: cells for name, cells in self.responses.items() if name in kept},
            column_cost={name: price for name, price in self.column_cost.items() if name in kept},
        )
