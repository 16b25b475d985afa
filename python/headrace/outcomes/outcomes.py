"""The table of outcomes: on every query, what each model answered, how good that was and what it cost.

`Outcomes` is the whole table, for fitting, calibration and evaluation. `Responses` is the part of it that a
router may see at one moment: what the models that have run returned, and nothing of the others. Estimators
get a `Responses`, never an `Outcomes`: what isn't known yet can't leak into an estimate.

A missing cell is NaN in `quality` or `cost`. Nothing is filled in or clipped, or dropped without being asked.
"""

from __future__ import annotations

import difflib
import heapq
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import (
    BoolArray,
    Column,
    FloatArray,
    IndexArray,
    broadcast_rows,
    checked_bools,
    checked_columns,
    checked_numbers,
    checked_rng,
    listed,
    read_only_view,
    row_index,
)
from headrace.estimators.responses import Responses
from headrace.outcomes.description import Description, described
from headrace.outcomes.readers import Table, read_file, read_frame, write_file

__all__ = ["Outcomes"]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Outcomes:
    """A labelled table: the quality, cost and responses of every model on every query.

    Every array is a read-only copy. ``dataclasses.replace(outcomes, groups=...)`` makes a changed table.

    Parameters
    ----------
    models : sequence of str
        Names of the models: unique and non-empty.
    quality : array-like of shape (n_queries, n_models)
        Quality of each answer: finite, or NaN = missing.
    cost : array-like of shape (n_queries, n_models) or (n_models,), or mapping of str to such
        Realised cost of each run: >= 0, or NaN = missing. One row holds for every query. A mapping names several
        costs, e.g. "usd" and "seconds"; the first is the one that `cost` and `mean_cost` mean.
    ids : sequence of str or int of length n_queries, optional
        Default "0", "1", ... Rows with the same id are kept apart: a second "q7" becomes "q7#2".
    queries : mapping of str to array-like of shape (n_queries,) or (n_queries, d), optional
        What is known before any run, e.g. "text", "task", numbers or embeddings.
    responses : mapping of str to array-like of shape (n_queries, n_models[, d]), optional
        What is known of a model once it has run.
    groups : sequence of str or int of length n_queries, optional
        Rows of one group never straddle a split, e.g. one question in several wordings.
    cost_name : str, default "cost"
        Name of the cost, where there is one.
    further_costs : mapping of str to array-like, optional
        The costs after the first; usually given through `cost`.

    Attributes
    ----------
    costs : mapping of str to ndarray of shape (n_queries, n_models)
        All costs by name, the first one first.
    n_duplicate_ids : int
        How many of the ids given were renamed. A table derived from this one starts from the new ids.
    n_missing : int
        Number of cells whose quality or cost is missing.
    mean_quality, mean_cost : ndarray of shape (n_models,)
        Means over the queries where it isn't missing; NaN for a model without any.

    Raises
    ------
    TypeError, ValueError
        If an argument isn't as above, or the table has no rows or no models.

    Examples
    --------
    >>> from headrace.outcomes.outcomes import Outcomes
    >>> table = Outcomes(
    ...     models=["small", "large"],
    ...     quality=[[0, 1], [1, 1], [0, float("nan")]],
    ...     cost=[0.001, 0.02],
    ...     queries={"text": ["2 + 2?", "Capital of Peru?", "Prove it."]},
    ... )
    >>> table
    Outcomes(3 queries x 2 models, cost 1.0e-03..2.0e-02, quality 0.333..1.000, 1 missing cell)
    >>> table.mean_cost.tolist()
    [0.001, 0.02]
    """

    models: tuple[str, ...]
    quality: FloatArray
    cost: FloatArray
    ids: tuple[str, ...]
    queries: Mapping[str, Column]
    responses: Mapping[str, Column]
    groups: Column | None
    cost_name: str
    further_costs: Mapping[str, FloatArray]
    n_duplicate_ids: int = field(init=False)

    def __init__(
        self,
        *,
        models: Sequence[str],
        quality: npt.ArrayLike,
        cost: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        ids: Sequence[str | int] | None = None,
        queries: Mapping[str, npt.ArrayLike] | None = None,
        responses: Mapping[str, npt.ArrayLike] | None = None,
        groups: Sequence[str | int] | npt.NDArray[Any] | None = None,
        cost_name: str = "cost",
        further_costs: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        names = _model_names(models)
        scores = _quality(quality, len(names))
        shape = scores.shape
        prices = {
            name: broadcast_rows(label, checked_numbers(label, values), shape).copy()
            for name, (label, values) in _named_costs(cost, cost_name, further_costs or {}).items()
        }
        first, *others = prices
        labels, n_renamed = _distinct(_labels("ids", range(shape[0]) if ids is None else ids, shape[0]))
        _refuse_cells("quality", np.isinf(scores), scores, names, labels, "a finite number, or NaN")
        for name, values in prices.items():
            label = "cost" if len(prices) == 1 else f"cost {name!r}"
            _refuse_cells(label, np.isinf(values) | (values < 0), values, names, labels, "a finite number >= 0, or NaN")
        self._store(
            models=names,
            quality=scores,
            cost=prices[first],
            ids=labels,
            queries={name: v.copy() for name, v in checked_columns("queries", queries or {}, shape[:1]).items()},
            responses={name: v.copy() for name, v in checked_columns("responses", responses or {}, shape).items()},
            groups=None if groups is None else np.array(_labels("groups", groups, shape[0]), dtype=object),
            cost_name=first,
            further_costs={name: prices[name] for name in others},
            n_duplicate_ids=n_renamed,
        )

    def _store(self, **fields: Any) -> None:
        """Set fields of a table in the making: its arrays become read-only, its mappings fixed."""
        for name, value in fields.items():
            if isinstance(value, Mapping):
                value = MappingProxyType({column: read_only_view(values) for column, values in value.items()})
            elif isinstance(value, np.ndarray):
                value = read_only_view(value)
            object.__setattr__(self, name, value)

    def _changed(self, **fields: Any) -> Outcomes:
        """Table with other fields, unchecked: they must be valid, and no caller may hold them."""
        changed = object.__new__(type(self))
        changed._store(**{**vars(self), **fields})
        return changed

    def __getstate__(self) -> dict[str, Any]:
        return {name: dict(v) if isinstance(v, Mapping) else v for name, v in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._store(**state)

    def __len__(self) -> int:
        return self.n_queries

    def __repr__(self) -> str:
        size = f"{self.n_queries} queries x {self.n_models} models"
        cost, quality = _span(self.mean_cost, ".1e"), _span(self.mean_quality, ".3f")
        missing = f", {self.n_missing} missing cell{'s' * (self.n_missing != 1)}" if self.n_missing else ""
        return f"Outcomes({size}, cost {cost}, quality {quality}{missing})"

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
        return _column_means(self.quality)

    @property
    def mean_cost(self) -> FloatArray:
        """Mean cost per model where it isn't missing, shape (n_models,); NaN for a model without any."""
        return _column_means(self.cost)

    def select(self, models: Sequence[str]) -> Outcomes:
        """Keep only these models, in the order given.

        Raises
        ------
        TypeError, ValueError
            If `models` isn't a sequence of str, names one that is unknown or one twice, or is empty.

        Examples
        --------
        >>> table = Outcomes(models=["small", "large"], quality=[[0, 1]], cost=[1, 9])
        >>> table.select(["large"]).cost.tolist()
        [[9.0]]
        """
        names = _model_names(models)
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
            further_costs={name: values[:, columns] for name, values in self.further_costs.items()},
            responses={name: values[:, columns] for name, values in self.responses.items()},
        )

    def take(self, rows: npt.ArrayLike) -> Outcomes:
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
        >>> table = Outcomes(models=["a"], quality=[[0], [1], [1]], cost=[1], ids=["p", "q", "r"])
        >>> table.take([2, 0, 0]).ids
        ('r', 'p', 'p#2')
        """
        index = row_index(rows, self.n_queries)
        if not len(index):
            raise ValueError("rows: takes no row, expected at least one")
        ids, n_renamed = _distinct(tuple(self.ids[row] for row in index))
        return self._changed(
            quality=self.quality[index],
            cost=self.cost[index],
            further_costs={name: values[index] for name, values in self.further_costs.items()},
            ids=ids,
            queries={name: values[index] for name, values in self.queries.items()},
            responses={name: values[index] for name, values in self.responses.items()},
            groups=None if self.groups is None else self.groups[index],
            n_duplicate_ids=n_renamed,
        )

    def complete(self) -> Outcomes:
        """Keep only the queries on which no model's quality or cost is missing.

        Raises
        ------
        ValueError
            If there is no such query; it names the models that miss most.

        Examples
        --------
        >>> nan = float("nan")
        >>> len(Outcomes(models=["a", "b"], quality=[[0, nan], [1, 1]], cost=[1, 2]).complete())
        1
        """
        missing = self._missing_cells()
        whole = ~self.incomplete
        if not whole.any():
            counts = missing.sum(axis=0)
            emptiest = np.argsort(-counts, kind="stable")[:3]
            named = ", ".join(f"{self.models[j]!r} ({counts[j]} of {self.n_queries})" for j in emptiest)
            raise ValueError(f"no query has every model's quality and cost; missing most: {named}")
        return self.take(whole)

    def labelled(self, models: Sequence[str] | None = None, *, argument: str = "outcomes", fewest: int = 1) -> Outcomes:
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
        >>> nan = float("nan")
        >>> table = Outcomes(models=["a", "b"], quality=[[0, nan], [1, 1]], cost=[1, 2])
        >>> len(table.labelled(["a"])), len(table.labelled())
        (2, 1)
        """
        chosen = self if models is None else self.select(models)
        columns = (chosen.quality, *chosen.costs.values())
        unlabelled = np.any([np.isnan(values).all(axis=0) for values in columns], axis=0)
        if unlabelled.any():
            named = listed(name for name, lacks in zip(chosen.models, unlabelled, strict=True) if lacks)
            raise ValueError(f"{argument}: no quality or no cost at all for {named}; leave it out with models=...")
        complete = chosen.complete() if chosen.n_missing else chosen
        if complete.n_queries < fewest:
            raise ValueError(f"{argument}: expected at least {fewest} complete queries, got {complete.n_queries}")
        return complete

    def concat(self, other: Outcomes) -> Outcomes:
        """Put the rows of another table with the same models, costs and columns below these.

        Raises
        ------
        ValueError
            If the other table has other models, costs or columns.

        Examples
        --------
        >>> table = Outcomes(models=["a"], quality=[[0], [1]], cost=[1])
        >>> len(table.concat(table.take([1])))
        3
        """
        for what in ("models", "costs", "queries", "responses"):
            mine, its = tuple(getattr(self, what)), tuple(getattr(other, what))
            if mine != its:
                raise ValueError(f"other: expected {what} {listed(mine)}; got {listed(its)}")
        if (self.groups is None) != (other.groups is None):
            raise ValueError("other: expected groups in both tables or in neither")

        def below(mine: Mapping[str, Column], its: Mapping[str, Column]) -> dict[str, Column]:
            return {name: np.concatenate([values, its[name]]) for name, values in mine.items()}

        ids, n_renamed = _distinct((*self.ids, *other.ids))
        return self._changed(
            quality=np.concatenate([self.quality, other.quality]),
            cost=np.concatenate([self.cost, other.cost]),
            further_costs=below(self.further_costs, other.further_costs),
            ids=ids,
            queries=below(self.queries, other.queries),
            responses=below(self.responses, other.responses),
            groups=None if self.groups is None else np.concatenate([self.groups, other.groups]),
            n_duplicate_ids=n_renamed,
        )

    def split(self, fraction: float, *, rng: int | np.random.Generator | None = None) -> tuple[Outcomes, Outcomes]:
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
        >>> table = Outcomes(models=["a"], quality=[[0], [1], [1], [0]], cost=[1])
        >>> [len(part) for part in table.split(0.25, rng=7)]
        [1, 3]
        """
        if isinstance(fraction, bool | np.bool_) or not isinstance(fraction, Real):
            raise TypeError(f"fraction: expected a number, got {type(fraction).__name__}")
        if not 0.0 < fraction < 1.0:
            raise ValueError(f"fraction: expected a number between 0 and 1, got {fraction}")
        group_of_row = self.group_of_row
        sizes = np.bincount(group_of_row)
        wanted = float(fraction) * self.n_queries
        if len(sizes) == 1 or not 0.5 <= wanted <= self.n_queries - 0.5:
            held = f"{self.n_queries} queries" + ("" if self.groups is None else f" in {len(sizes)} groups")
            raise ValueError(f"fraction: {fraction} of {held} leaves one part empty")
        order = checked_rng(rng).permutation(len(sizes))
        reached = np.cumsum(sizes[order])[:-1]
        n_groups = int(np.argmin(np.abs(reached - wanted))) + 1
        first = np.isin(group_of_row, order[:n_groups])
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
        >>> table = Outcomes(models=["a"], quality=[[0], [1], [1], [0]], cost=[1])
        >>> sorted(table.folds(2).tolist())
        [0, 0, 1, 1]
        """
        if isinstance(n_folds, bool) or not isinstance(n_folds, int | np.integer):
            raise TypeError(f"n_folds: expected an int, got {type(n_folds).__name__}")
        group_of_row = self.group_of_row
        sizes = np.bincount(group_of_row)
        if not 2 <= n_folds <= len(sizes):
            unit = "queries" if self.groups is None else "groups"
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

    def responses_for(self, run: npt.ArrayLike) -> Responses:
        """Show what a router sees once the models in `run` have run.

        Parameters
        ----------
        run : bool array-like of shape (n_queries, n_models) or (n_models,)
            True where the model has run; one row holds for every query.

        Raises
        ------
        TypeError, ValueError
            If `run` isn't boolean or its shape doesn't fit.

        Examples
        --------
        >>> answers = {"answer": [["yes", "no"]]}
        >>> table = Outcomes(models=["a", "b"], quality=[[0, 1]], cost=[1, 9], responses=answers)
        >>> table.responses_for([True, False])[0]
        [{'answer': 'yes'}, None]
        """
        return Responses(broadcast_rows("run", checked_bools("run", run), self.quality.shape), self.responses)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        layout: str | None = None,
        cost: str | Sequence[str] | None = None,
        verified: bool = False,
        labels: str | os.PathLike[str] | None = None,
    ) -> Outcomes:
        """Read a table from a .parquet, .csv, .json or .jsonl file in one of the layouts below, or an .npz of `save`.

        One row per query:

        - "wide": ``query_id``, ``text``, ``task``, ``group``, and per model ``<model>|quality``, ``<model>|cost`` and
          ``<model>|<anything>``, a response column. A column without ``|`` is a query column.
        - "routerbench": ``sample_id``, ``prompt`` (read as "text"), ``eval_name`` (read as "task"), and per
          model ``<model>``, its quality, ``<model>|total_cost`` and ``<model>|model_response`` (the response
          column "answer").

        One row per query and model; other columns than these, the ones under `cost`, answers and tokens are left out:

        - "long": ``query_id`` or ``text`` (or both), ``model``, ``quality``, ``cost``, ``task``.
        - "llmrouter": ``query``, ``model_name``, ``performance``, ``token_num`` (the cost), ``task_name``.
        - "nvidia": ``question``, ``model``, ``isCorrect``, ``output_tokens`` (the cost).
        - "routerarena": ``global index``, ``prompt``, ``prediction``, ``accuracy``, ``cost``.
        - "litellm": spend logs, ``request_id``, ``model_group`` or ``model``, ``spend`` (the cost) and ``messages``.
          They need a column ``quality``, or `labels`, and a column ``query_id`` where messages aren't stored.

        A query without an id gets a hash of its task and text. Where a model has run on a query several times, the
        repeats are further rows, and all rows of the query are one group: nothing is averaged.

        The realised cost is known after a run, so it is a response column too, "cost". CSV has no types:
        there a column is numbers if all its cells read as such (a response column: the cells of all models).

        Parameters
        ----------
        path : str or path-like
        layout : {"wide", "routerbench"}, optional
            Default: found by the names of the columns.
        cost : str or sequence of str, optional
            The per-model column that serves as cost, e.g. "response_len", or several: ``["cost", "seconds"]``.
            Default: the layout's cost column, which isn't kept if another one is named.
        verified : bool, default False
            The quality of a model that has run can be observed (tests passed, schema valid): it is a response
            column too, "quality".
        labels : str or path-like, optional
            Second file for litellm's spend logs: columns ``request_id`` and ``quality``.

        Raises
        ------
        FileNotFoundError, ImportError
            If there is no such file, or pyarrow or narwhals are missing: ``pip install 'headrace[data]'``.
        ValueError
            If the file is damaged, fits no layout, has no rows, models or cost, or if a quality or a cost
            isn't a number. A pickle is refused: loading one can run any code.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "table.npz"
        >>> Outcomes(models=["a"], quality=[[1]], cost=[2], ids=["q"]).save(path)
        >>> Outcomes.from_file(path).ids
        ('q',)
        """
        return cls(**read_file(path, layout=layout, cost=cost, verified=verified, labels=labels))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        layout: str | None = None,
        cost: str | Sequence[str] | None = None,
        verified: bool = False,
    ) -> Outcomes:
        """Read a table from a dataframe (polars, pandas, pyarrow, ...) or a mapping of name to array-like.

        Parameters
        ----------
        frame : dataframe that narwhals understands, or mapping of str to array-like of shape (n_queries,)
            A column may also hold one vector per row, e.g. an embedding.
        layout, cost, verified
            As in `from_file`.

        Raises
        ------
        ImportError, TypeError, ValueError
            As in `from_file`, or if `frame` is something else. A mapping needs no further package.

        Examples
        --------
        >>> frame = {"text": ["Hi!", "Why?"], "a|quality": [1, 0], "a|cost": [0.1, 0.2], "a|tokens": [4, 7]}
        >>> table = Outcomes.from_frame(frame)
        >>> sorted(table.responses), list(table.queries)
        (['cost', 'tokens'], ['text'])
        """
        return cls(**read_frame(frame, layout=layout, cost=cost, verified=verified))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to a file that `from_file` reads; it appears whole or not at all.

        Parameters
        ----------
        path : str or path-like
            Its suffix says how: .npz keeps everything exactly; .parquet and .csv have the wide layout, for other
            programs. CSV has no types: there an empty text is read back as missing, and text that looks like a number
            as one.

        Raises
        ------
        ImportError
            If pyarrow is missing, for Parquet and CSV: ``pip install 'headrace[data]'``.
        TypeError, ValueError
            If `path` ends in something else, a column holds objects other than text and None, or the wide layout can't
            hold a column: vectors in CSV, names with ``|``.

        Examples
        --------
        See `from_file`.
        """
        table: Table = {
            "models": self.models,
            "quality": self.quality,
            "cost": self.costs,
            "ids": self.ids,
            "queries": self.queries,
            "responses": self.responses,
            "groups": self.groups,
        }
        write_file(Path(path), table)

    def describe(self) -> Description:
        """Say what the table holds, and what looks odd: ``print(outcomes.describe())``.

        Returns
        -------
        Description
            Sizes, per model the means and the number of missing cells, the unit that the cost seems to have, and
            remarks; `to_dict` makes it ready for JSON.

        Examples
        --------
        >>> table = Outcomes(models=["a", "b"], quality=[[0, 1], [1, 1]], cost=[350.0, 0.002])
        >>> table.describe().remarks[0]
        "cost: the median of 'a' is 175000 times that of 'b'; are they in one unit?"
        """
        return described(self)

    def _missing_cells(self) -> BoolArray:
        return np.asarray(np.isnan(np.stack([self.quality, *self.costs.values()])).any(axis=0))


def _quality(quality: npt.ArrayLike, n_models: int) -> FloatArray:
    scores = checked_numbers("quality", quality)
    if scores.ndim != 2 or scores.shape[1] != n_models:
        n_queries = scores.shape[0] if scores.ndim == 2 else "n_queries"
        wanted = f"(n_queries, n_models) = ({n_queries}, {n_models})"
        raise ValueError(f"quality: expected shape {wanted}, got {scores.shape}")
    if not len(scores):
        raise ValueError("quality: the table has no rows")
    return scores


def _named_costs(
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


def _model_names(models: Sequence[str]) -> tuple[str, ...]:
    names = None if isinstance(models, str) or not hasattr(models, "__iter__") else tuple(models)
    if names is None or not all(isinstance(name, str) for name in names):
        raise TypeError(f"models: expected a sequence of str, got {models!r}")
    if not names:
        raise ValueError("models: expected at least one model, got none")
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"models: expected unique, non-empty names, got {names}")
    return names


def _labels(argument: str, labels: Any, n_rows: int) -> tuple[str, ...]:
    if isinstance(labels, str) or not hasattr(labels, "__len__"):
        raise TypeError(f"{argument}: expected a sequence of str or int, got {type(labels).__name__}")
    if len(labels) != n_rows:
        raise ValueError(f"{argument}: expected length n_queries = {n_rows}, got {len(labels)}")
    for row, label in enumerate(labels):
        if isinstance(label, bool) or not isinstance(label, str | int | np.integer):
            raise TypeError(f"{argument}: expected str or int, got {label!r} at row {row}")
    return tuple(str(label) for label in labels)


def _distinct(ids: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
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


def _refuse_cells(
    argument: str,
    bad: BoolArray,
    values: FloatArray,
    models: tuple[str, ...],
    ids: tuple[str, ...],
    wanted: str,
) -> None:
    if bad.any():
        row, model = np.argwhere(bad)[0]
        cell = f"model {models[model]!r} at query {ids[row]!r}"
        raise ValueError(f"{argument}: {cell} is {values[row, model]}, expected {wanted}")


def _column_means(values: FloatArray) -> FloatArray:
    present = ~np.isnan(values)
    count = present.sum(axis=0)
    total = np.sum(values, axis=0, where=present)
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))


def _span(means: FloatArray, spec: str) -> str:
    known = means[~np.isnan(means)]
    return f"{known.min():{spec}}..{known.max():{spec}}" if len(known) else "unknown"
