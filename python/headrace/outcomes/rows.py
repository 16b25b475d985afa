"""Rows as messages name them: by query and model, and by the line of the file, or by number where there are no lines.

Readers pass a `Rows` along with the columns, and a table keeps it, so that later messages name the same lines. It holds
one number per row. It does nothing until something is wrong; only then is a line looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arguments import Column, IndexArray, answer_text

__all__ = ["MAX_NAMED", "MAX_SHOWN", "Rows", "named", "shown"]

#: Most characters of a cell that a message shows: a cell may be a user's text.
MAX_SHOWN = 20

#: Most rows that a message names; of further ones it says how many.
MAX_NAMED = 3

Numbers = npt.NDArray[np.int32]


def shown(cell: Any) -> str:
    """Give a cell as a message shows it; of a long one, the beginning.

    Parameters
    ----------
    cell : object

    Returns
    -------
    str

    Examples
    --------
    >>> from headrace.outcomes.rows import shown
    >>> shown("abc"), shown(0.5), shown("Tell me about the city of Lima.")
    ("'abc'", '0.5', "'Tell me about the...'")
    """
    text = cell if isinstance(cell, str) else repr(cell)
    text = text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
    return repr(text) if isinstance(cell, str) else text


def named(names: Mapping[str, Any]) -> str:
    """Say whose row it is, for a message.

    Parameters
    ----------
    names : mapping of str to object
        What is known by which name. None, NaN and "" are no names.

    Returns
    -------
    str
        It begins with a space, unless nothing is known.

    Examples
    --------
    >>> from headrace.outcomes.rows import named
    >>> named({"query": 7.0, "model": "small"})
    " for query '7', model 'small'"
    """
    known = {what: answer_text(name) for what, name in names.items()}
    model = known.pop("model", None)
    parts = [f"{what} {shown(name)}" for what, name in known.items() if name] + ([f"model {model!r}"] if model else [])
    return f" for {', '.join(parts)}" if parts else ""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Where the rows of some columns come from, and how a message names them.

    Parameters
    ----------
    source : str
        The file or frame; ``str(rows)`` gives it.
    line_of : callable, optional
        Of a file: ``line_of(row, model)`` looks for the line at which a row of it begins, counted from 1; None if there
        is no such line. The rows of other sources are numbered from 0, as Python does.
    index : int32 ndarray of shape (n_rows,) or (n_rows, n_models), optional
        The row of the source that each of these rows comes from, or that each model's run on it comes from; -1 for a
        model that didn't run. By default these are the rows of the source.
    models : tuple of str
        The models of an index with two axes.
    further : tuple of (int, Rows)
        Further sources: from which number on the index means their rows.
    names : mapping of str to sequence of length n_rows, optional
        Columns that name a row, by what they name: "query", "model". A cell that is missing names nothing.

    Examples
    --------
    >>> from headrace.outcomes.rows import Rows
    >>> rows = Rows(source="log.csv", line_of=lambda row, model: row + 2, names={"query": ["q-1", "q-2"]})
    >>> f"expected a number, got 'abc'{rows.place(1, model='small')}"
    "expected a number, got 'abc' for query 'q-2', model 'small' (line 3 of log.csv)"
    >>> Rows(source="t.parquet", line_of=lambda row, model: None).place([1, 4, 5, 6])
    ' (row 2 of t.parquet, counted from 1; also rows 5, 6 and 1 more)'
    >>> Rows(source="frame").made_of([3, 1]).place(1)
    ' (row 1)'
    """

    source: str
    line_of: Callable[[int, str | None], int | None] | None = None
    index: Numbers | None = None
    models: tuple[str, ...] = ()
    further: tuple[tuple[int, Rows], ...] = ()
    names: Mapping[str, Sequence[Any] | Column] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.source

    def place(self, rows: int | Sequence[int] | IndexArray, model: str | Sequence[str] | None = None) -> str:
        """Say which rows they are, to stand at the end of a message.

        The first one is named in full. Of the others, the first two are given by line or number, and the rest counted.

        Parameters
        ----------
        rows : int or sequence of int
            At least one.
        model : str or sequence of str, optional
            Which of the row's models, where a row has several; one for all rows, or one for each.

        Returns
        -------
        str
            It begins with a space.
        """
        several = [rows] if isinstance(rows, int) else [int(row) for row in rows]
        models = [model] * len(several) if model is None or isinstance(model, str) else list(model)
        names = {what: cells[several[0]] for what, cells in self.names.items()}
        origins: dict[int, str | None] = {}
        for row, one in zip(several, models, strict=True):
            origins.setdefault(self._origin(row, one), one)  # several cells of one row are in one place
        first, *others = [self._where(number, one) for number, one in list(origins.items())[:MAX_NAMED]]
        more = [f"{len(origins) - MAX_NAMED} more"] if len(origins) > MAX_NAMED else []
        also = _also(first, others, more)
        whose = named(names if models[0] is None else {**names, "model": models[0]})
        return f"{whose} ({first.unit} {first.number}{first.source}{also})"

    def named(self, **names: Sequence[Any] | Column) -> Rows:
        """Give the same rows with columns that name them."""
        return replace(self, names={**self.names, **names})

    def made_of(self, rows: Sequence[int] | IndexArray) -> Rows:
        """Give rows that were made of these, by the number of each. They have no names yet."""
        index = np.asarray(rows)
        taken = index.astype(np.int32) if self.index is None else self.index[index]
        return replace(self, names={}, index=taken)

    def of_runs(self, places: IndexArray, models: Sequence[str]) -> Rows:
        """Give the rows of a table into which these rows, one per run, were spread.

        Parameters
        ----------
        places : int ndarray of shape (n_runs,)
            The row of the table that each run went to.
        models : sequence of str
            The model of each run.
        """
        columns = {name: column for column, name in enumerate(dict.fromkeys(models))}
        index = np.full((int(places.max()) + 1, len(columns)), -1, dtype=np.int32)
        runs = np.arange(len(places), dtype=np.int32) if self.index is None else self.index
        index[places, [columns[name] for name in models]] = runs
        return replace(self, names={}, index=index, models=tuple(columns))

    def of_table(self, n_rows: int) -> Rows | None:
        """Give the same rows to be kept by a table; None if the table has another number of them."""
        kept = self.made_of(np.arange(n_rows)) if self.index is None else replace(self, names={})
        return kept if kept.index is not None and len(kept.index) == n_rows else None

    def of_models(self, models: Sequence[str]) -> Rows:
        """Give the same rows of some of the models, in their order."""
        if self.index is None or self.index.ndim == 1:
            return self
        columns = [self.models.index(name) for name in models]
        return replace(self, index=self.index[:, columns], models=tuple(models))

    def above(self, lower: Rows) -> Rows:
        """Give these rows and below them others, perhaps of another source; both have an index.

        Examples
        --------
        >>> from headrace.outcomes.rows import Rows
        >>> a, b = (Rows(source=name, line_of=lambda row, _: row + 2).made_of([0, 1]) for name in ("a.csv", "b.csv"))
        >>> a.above(b).place([1, 2])
        ' (line 3 of a.csv; also line 2 of b.csv)'
        """
        assert self.index is not None
        assert lower.index is not None
        upper, below = self.index, lower.index
        if upper.ndim != below.ndim:
            models = self.models or lower.models
            shape = (-1, len(models))
            upper, below = (np.broadcast_to(i.reshape(len(i), -1), (len(i), shape[1])) for i in (upper, below))
        further = self.further
        if (self.source, self.line_of, self.further) != (lower.source, lower.line_of, lower.further):
            start = 1 + max(int(upper.max()), *(begin for begin, _ in further), 0)
            below = np.where(below < 0, below, below + start)
            bare = replace(lower, index=None, names={}, models=(), further=())
            further = (*further, (start, bare), *((start + begin, rows) for begin, rows in lower.further))
        index = np.concatenate([upper, below]).astype(np.int32)
        return replace(self, names={}, index=index, models=self.models or lower.models, further=further)

    def _origin(self, row: int, model: str | None) -> int:
        """Give the number of the source's row that a row, or its run of a model, comes from."""
        if self.index is None:
            return row
        if self.index.ndim == 1:
            return int(self.index[row])
        own = self.index[row]
        run = int(own[self.models.index(model)]) if model in self.models else -1
        return run if run >= 0 else int(own[own >= 0][0])

    def _where(self, number: int, model: str | None) -> _Where:
        start, rows = 0, self
        for begin, others in self.further:
            if begin <= number:
                start, rows = begin, others
        row = number - start
        if rows.line_of is None:
            return _Where("row", row, "")
        line, name = rows.line_of(row, model), PurePath(rows.source).name
        return (
            _Where("row", row + 1, f" of {name}, counted from 1")
            if line is None
            else _Where("line", line, f" of {name}")
        )


class _Where(NamedTuple):
    """The place of one row: "line 3 of log.csv"."""

    unit: str
    number: int
    source: str


def _also(first: _Where, others: Sequence[_Where], more: Sequence[str]) -> str:
    """Name further rows after the first one."""
    if not others:
        return ""
    if all((other.unit, other.source) == (first.unit, first.source) for other in others):
        unit = first.unit + "s" * (len(others) + len(more) > 1)
        parts = [f"{other.number}" for other in others]
    else:
        unit, parts = "", [f"{other.unit} {other.number}{other.source}" for other in others]
    *start, last = [*parts, *more]
    listed = f"{', '.join(start)} and {last}" if start else last
    return f"; also {unit} {listed}" if unit else f"; also {listed}"
