"""The table of outcomes: on every query, what each model answered, how good that was and what it cost.

`Outcomes` is the whole table, for fitting, calibration and evaluation. `Responses` is the part of it that a
router may see at one moment: what the models that have run returned, and nothing of the others. Estimators
get a `Responses`, never an `Outcomes`: what isn't known yet can't leak into an estimate.

A missing cell is NaN in `quality` or `cost`. Nothing is filled in or clipped, or dropped without being asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import (
    broadcast_rows,
    checked_bools,
    checked_columns,
)
from headrace.estimators.responses import Responses
from headrace.outcomes.checks import (
    checked_answers,
    checked_costs,
    checked_labels,
    checked_models,
    checked_prices,
    checked_quality,
    distinct,
    named_costs,
    refuse_values,
)
from headrace.outcomes.collection import Ask, Price, collected
from headrace.outcomes.description import Description, described
from headrace.outcomes.divisible import Divisible
from headrace.outcomes.readers import Reading, Table, read_file, read_frame, write_file
from headrace.outcomes.rows import Rows

__all__ = ["Outcomes"]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Outcomes(Divisible):
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
        What is known of a model once it has run. Numbers in the column "answer" are taken as text.
    groups : sequence of str or int of length n_queries, optional
        Rows of one group never straddle a split, e.g. one question in several wordings.
    cost_name : str, default "cost"
        Name of the cost, where there is one.
    further_costs : mapping of str to array-like, optional
        The costs after the first; usually given through `cost`.
    column_cost : mapping of str to float or array-like of shape (n_queries, n_models) or (n_models,), optional
        Prices of response columns that are bought: a judge's verdict, a test run, in the unit of the first cost. A fit
        finds out at which budgets it pays to buy them; see `Outcomes.buying`. Other columns come with the run.
    notes : sequence of str, optional
        What reading the table has left out or assumed; `describe` tells it.
    origin : Rows, optional
        Lines of the file that the rows are from, for messages; readers give it, parts of the table keep it, and no
        file does.

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
        column_cost: Mapping[str, npt.ArrayLike] | None = None,
        notes: Sequence[str] = (),
        origin: Rows | None = None,
    ) -> None:
        names = checked_models(models)
        scores = checked_quality(quality, len(names))
        shape = scores.shape
        prices = {
            name: broadcast_rows(label, checked_costs(label, values), shape).copy()
            for name, (label, values) in named_costs(cost, cost_name, further_costs or {}).items()
        }
        first, *others = prices
        answered = checked_columns("responses", responses or {}, shape)
        labels, n_renamed = distinct(checked_labels("ids", range(shape[0]) if ids is None else ids, shape[0]))
        rows = (origin or Rows(source="table")).named(query=labels)
        refuse_values(scores, prices, names, rows)
        self._store(
            models=names,
            quality=scores,
            cost=prices[first],
            ids=labels,
            queries={name: v.copy() for name, v in checked_columns("queries", queries or {}, shape[:1]).items()},
            responses={name: v.copy() for name, v in checked_answers(answered).items()},
            groups=None if groups is None else np.array(checked_labels("groups", groups, shape[0], rows), dtype=object),
            cost_name=first,
            further_costs={name: prices[name] for name in others},
            column_cost=checked_prices(column_cost or {}, answered, shape),
            notes=tuple(notes),
            origin=None if origin is None else origin.of_table(shape[0]),
            n_duplicate_ids=n_renamed,
        )

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
        prices: Mapping[str, float] | None = None,
        rename: Mapping[str, str] | None = None,
        column_cost: Mapping[str, float] | None = None,
    ) -> Outcomes:
        """Read a table from a file: .parquet, .csv, .tsv, .json or .jsonl (the last four also as .gz).

        The layout is found by the names of the columns: one row per query with columns per model ("wide",
        "routerbench", "routellm"), or one row per query and model ("long", "llmrouter", "nvidia", "routerarena",
        "litellm"). `headrace.outcomes.readers.layouts` says what each one needs.

        A query without an id gets a hash of its task and text. Where a model has run on a query several times, the
        repeats are further rows, and all rows of the query are one group: nothing is averaged. The realised cost is
        known after a run, so it is a response column too, "cost". Queries of one text form one group, unless the file
        has groups. What was left out or assumed is told by `describe`.

        Parameters
        ----------
        path : str or path-like
        layout : str, optional
            One of the names above.
        cost : str or sequence of str, optional
            The per-model column that serves as cost, e.g. "response_len", or several: ``["cost", "seconds"]``.
            Default: the layout's cost column, which isn't kept if another one is named.
        verified : bool, default False
            The quality of a model that has run can be observed (tests passed, schema valid): it is a response
            column too, "quality".
        labels : str or path-like, optional
            Second file for litellm's spend logs: columns ``request_id`` and ``quality``.
        prices : mapping of str to float, optional
            What each run of a model costs, for a table without costs: ``{"small": 0.002}``, or per unit of a column,
            ``{"small|output_tokens": 2e-6}``; the prices of one model add up.
        rename : mapping of str to str, optional
            Names of columns, new to old: ``{"quality": "Score"}``.
        column_cost : mapping of str to float, optional
            Prices of response columns that are bought; see the class. A file may hold them for each run, as
            "<model>|price:<column>".

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
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "table.jsonl"
        >>> Outcomes(models=["a"], quality=[[1]], cost=[2], ids=["q"]).save(path)
        >>> Outcomes.from_file(path).ids
        ('q',)
        """
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"path: expected a path, got {type(path).__name__}; a frame is read by Outcomes.from_frame")
        second = None if labels is None else Path(labels)
        reading = Reading(layout=layout, cost=cost, verified=verified, labels=second, prices=prices, rename=rename)
        return cls(**_with_prices(read_file(path, reading), column_cost))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        layout: str | None = None,
        cost: str | Sequence[str] | None = None,
        verified: bool = False,
        prices: Mapping[str, float] | None = None,
        rename: Mapping[str, str] | None = None,
        column_cost: Mapping[str, float] | None = None,
    ) -> Outcomes:
        """Read a table from a dataframe (polars, pandas, pyarrow, ...) or a mapping of name to array-like.

        Parameters
        ----------
        frame : dataframe that narwhals understands, or mapping of str to array-like of shape (n_queries,)
            A column may also hold one vector per row, e.g. an embedding.
        layout, cost, verified, prices, rename, column_cost
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
        reading = Reading(layout=layout, cost=cost, verified=verified, prices=prices, rename=rename)
        return cls(**_with_prices(read_frame(frame, reading), column_cost))

    @classmethod
    def collect(
        cls,
        queries: Sequence[Any] | Mapping[str, Any],
        models: Mapping[str, Ask],
        *,
        quality: Callable[..., float | None],
        cost: Mapping[str, Price] | str | None = None,
        references: Sequence[Any] | None = None,
        ids: Sequence[str | int] | None = None,
        path: str | os.PathLike[str] | None = None,
        n_threads: int = 1,
    ) -> Outcomes:
        """Run every model on every query: time it, judge it, log it, and make the table.

        A call that raises an exception, or returns None, leaves its cell missing. A model whose first three calls all
        fail ends the collection. With a `path`, every run is in the log as soon as it is done, and a second call with
        the same queries runs only what is lacking: after an interruption, after failures, for a further model.

        Parameters
        ----------
        queries : sequence of str, sequence of mappings, or mapping of str to sequence
            What is known before any run; columns, in the last two cases. Their texts are written to the log.
        models : mapping of str to callable
            What asks each model: a function of the query, a str or a dict as in `queries`. It returns the answer, or a
            mapping such as ``{"answer": ..., "logprob": ..., "cost": ...}``. The time it took is the response
            column "seconds".
        quality : callable
            ``quality(query, returned)``, or with `references` ``quality(query, returned, reference)``: a number, a
            bool, or None if it can't be told.
        cost : mapping of str to float or callable, or str, optional
            Of each model, what a run costs: a number, or a function of the query and of what was returned. Or the name
            of a response column, e.g. "seconds". By default, models return a "cost".
        references : sequence, optional
            What only `quality` needs to know of each query, such as the right answer: no model sees it, and it
            is not in the table.
        ids : sequence of str or int, optional
            Of the queries; by default a hash of their columns.
        path : str or path-like, optional
            The log, .jsonl; see `Recorder`.
        n_threads : int, default 1
            Calls at once.

        Raises
        ------
        TypeError, ValueError
            If an argument isn't as above, or the calls of a model all fail. What `quality` and the functions of `cost`
            raise is passed on, and the run in question isn't logged.

        Examples
        --------
        >>> models = {"short": lambda text: text[:1], "long": lambda text: text.upper()}
        >>> table = Outcomes.collect(
        ...     ["yes", "no"],
        ...     models,
        ...     quality=lambda text, answer, right: answer == right,
        ...     references=["YES", "n"],
        ...     cost={"short": 1, "long": lambda text, answer: len(answer)},
        ... )
        >>> table.quality.tolist(), table.cost.tolist(), list(table.responses)
        ([[0.0, 1.0], [1.0, 0.0]], [[1.0, 3.0], [1.0, 2.0]], ['cost', 'answer', 'seconds'])
        """
        table = collected(
            queries,
            models,
            quality=quality,
            cost=cost,
            references=references,
            ids=ids,
            path=path,
            n_threads=n_threads,
        )
        return cls(**table)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to a file that `from_file` reads; it appears whole or not at all.

        Parameters
        ----------
        path : str or path-like
            Its suffix says how: .parquet, .csv or .jsonl, all in the wide layout.

        Raises
        ------
        ImportError
            If pyarrow is missing, for Parquet and CSV: ``pip install 'headrace[data]'``.
        TypeError, ValueError
            If `path` ends in something else, a column holds objects other than text and None, or the file can't hold a
            column: vectors in CSV, names with ``|``.

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
            "column_cost": self.column_cost,
            "groups": self.groups,
            "notes": self.notes,
            "origin": None,
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


def _with_prices(table: Table, column_cost: Mapping[str, float] | None) -> Table:
    """Add prices of columns to those that a source holds."""
    return {**table, "column_cost": {**table["column_cost"], **(column_cost or {})}}
