"""Results of a benchmark: tables of numbers with intervals, as Markdown for people and as plain data for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headrace.evaluation.bootstrap import Estimate
from headrace.json_values import plain

__all__ = ["Results", "Table"]


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes
    ----------
    title : str
    columns : tuple of str
    rows : tuple of tuple
        Cells: a text, an int, a float, an `Estimate` with its interval, or None where there is nothing to say.
    notes : tuple of str
        What stands below it.
    decimals : int
        Of the floats.

    Examples
    --------
    >>> from headrace.benchmarks import Table
    >>> from headrace.evaluation.bootstrap import Estimate
    >>> print(Table("Areas", ("method", "area"), (("routing", Estimate(70.0, 68.5, 71.25)),)).to_markdown())
    ## Areas
    <BLANKLINE>
    | method | area |
    |---|---|
    | routing | 70.00 [68.50, 71.25] |
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()
    decimals: int = 2

    def to_markdown(self) -> str:
        """Write the table under a heading."""
        lines = [f"## {self.title}", "", f"| {' | '.join(self.columns)} |", "|" + "---|" * len(self.columns)]
        lines += [f"| {' | '.join(shown(cell, self.decimals) for cell in row)} |" for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Give the table as plain data: each row a dict by column."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        data: dict[str, Any] = plain({"title": self.title, "rows": rows, "notes": self.notes})
        return data


@dataclass(frozen=True)
class Results:
    """What a benchmark found.

    Attributes
    ----------
    title : str
    about : str
        What was done, on what, and what can't be concluded from it.
    tables : tuple of Table
    command : str
        What made it, where a command did.
    """

    title: str
    about: str
    tables: tuple[Table, ...]
    command: str = ""

    def to_markdown(self) -> str:
        """Write a page."""
        command = [f"`{self.command}`"] if self.command else []
        parts = [f"# {self.title}", *command, self.about, *(table.to_markdown() for table in self.tables)]
        return "\n\n".join(parts) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Give all as plain data, ready for JSON."""
        tables = [table.to_dict() for table in self.tables]
        return {"title": self.title, "command": self.command, "about": self.about, "tables": tables}


def shown(cell: Any, decimals: int) -> str:
    """Write one cell.

    Examples
    --------
    >>> from headrace.benchmarks.results import shown
    >>> shown(None, 2), shown(1500, 2), shown(0.125, 1)
    ('', '1,500', '0.1')
    """
    if cell is None:
        return ""
    if isinstance(cell, Estimate):
        return f"{cell.value:.{decimals}f} [{cell.low:.{decimals}f}, {cell.high:.{decimals}f}]"
    if isinstance(cell, float):
        return f"{cell:.{decimals}f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
