"""Rows as messages name them: by query and model, by number, and by the line of the file where there is one.

Readers pass a `Rows` along with the columns. It does nothing until something is wrong; only then is a line looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from headrace.arguments import Column, IndexArray, answer_text

__all__ = ["MAX_SHOWN", "Rows", "row_place", "shown"]

#: Most characters of a cell that a message shows: a cell may be a user's text.
MAX_SHOWN = 20


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


def row_place(names: Mapping[str, Any], row: int | None, line: int | None, file: str = "the file") -> str:
    """Name a row at the end of a message.

    Parameters
    ----------
    names : mapping of str to object
        What is known by which name: ``{"query": "q-3"}``. None, NaN and "" are no names.
    row, line : int, optional
    file : str, default "the file"
        What has the line.

    Returns
    -------
    str
        It begins with a space, unless nothing is known.

    Examples
    --------
    >>> from headrace.outcomes.rows import row_place
    >>> row_place({"query": 7.0, "model": "small"}, 17, None)
    " for query '7', model 'small' (row 17)"
    """
    known = {what: answer_text(name) for what, name in names.items()}
    model = known.pop("model", None)
    named = ", ".join(
        [f"{what} {shown(name)}" for what, name in known.items() if name] + ([f"model {model!r}"] if model else [])
    )
    numbers = {f"row {row}": row, f"line {line} of {file}": line}
    where = ", ".join(text for text, number in numbers.items() if number is not None)
    return (f" for {named}" if named else "") + (f" ({where})" if where else "")


def _same_row(row: int, _model: str | None) -> int:
    return row


def _no_line(_row: int, _model: str | None) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Where the rows of some columns come from, and how a message names one of them.

    Parameters
    ----------
    source : str
        The file or frame; ``str(rows)`` gives it.
    line_of : callable, optional
        ``line_of(row, model)`` looks for the line at which a row of the source begins, counted from 1; None if there is
        no such line.
    row_of : callable, optional
        ``row_of(row, model)`` gives the row of the source that one of these rows, or its cell of a model, comes from.
        By default these are the rows of the source.
    file : str, default "the file"
        What has the lines.
    names : mapping of str to sequence of length n_rows, optional
        Columns that name a row, by what they name: "query", "model". A cell that is missing names nothing.

    Examples
    --------
    >>> from headrace.outcomes.rows import Rows
    >>> rows = Rows(source="log.csv", line_of=lambda row, model: row + 2, names={"query": ["q-1", "q-2"]})
    >>> f"expected a number, got 'abc'{rows.place(1, model='small')}"
    "expected a number, got 'abc' for query 'q-2', model 'small' (row 1, line 3 of the file)"
    >>> rows.made_of(lambda row, model: [1][row]).place(0)
    ' (row 1, line 3 of the file)'
    """

    source: str
    line_of: Callable[[int, str | None], int | None] = _no_line
    row_of: Callable[[int, str | None], int] = _same_row
    file: str = "the file"
    names: Mapping[str, Sequence[Any] | Column] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.source

    def place(self, row: int, model: str | None = None) -> str:
        """Say which row it is, to stand at the end of a message.

        Parameters
        ----------
        row : int
        model : str, optional
            Which of the row's models, where a row has several.

        Returns
        -------
        str
            It begins with a space.
        """
        names = {what: cells[row] for what, cells in self.names.items()}
        number = self.row_of(row, model)
        line = self.line_of(number, model)
        return row_place(names if model is None else {**names, "model": model}, number, line, self.file)

    def named(self, **names: Sequence[Any] | Column) -> Rows:
        """Give the same rows with columns that name them."""
        return replace(self, names={**self.names, **names})

    def made_of(self, row_of: Callable[[int, str | None], int]) -> Rows:
        """Give rows that were made of these; ``row_of(row, model)`` says of which. They have no names yet."""
        return replace(self, names={}, row_of=lambda row, model: self.row_of(row_of(row, model), model))

    def of_runs(self, places: IndexArray, models: Sequence[Any] | Column) -> Rows:
        """Give the rows of a table into which these rows, one per run, were spread.

        Parameters
        ----------
        places : int ndarray of shape (n_runs,)
            The row of the table that each run went to.
        models : sequence of length n_runs
            The model of each run.
        """

        def run_of(row: int, model: str | None) -> int:
            runs: list[int] = np.flatnonzero(places == row).tolist()
            return next((run for run in runs if answer_text(models[run]) == model), runs[0])

        return self.made_of(run_of)
