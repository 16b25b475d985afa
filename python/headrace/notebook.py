"""Objects as notebooks show them: a title, and a table of a few rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["html_table"]


def html_table(title: str, rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Write a small HTML table; every text in it is escaped.

    Parameters
    ----------
    title : str
    rows : iterable of sequences of cells
    head : sequence of str, optional
        Names of the columns.

    Examples
    --------
    >>> from headrace.notebook import html_table
    >>> html_table("A & B", [("x", 1)])
    '<table><caption>A &amp; B</caption><tr><td>x</td><td>1</td></tr></table>'
    """
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><caption>{escape(title)}</caption>{f'<tr>{names}</tr>' if names else ''}{body}</table>"
