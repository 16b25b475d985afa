"""Delimited text (CSV, TSV): cells as text, and which of them were written as text.

pyarrow is imported where it is used: ``pip install 'headrace[data]'``.

Every column is read as text: guessed types lose ids such as "007", and differ between parts of a file. Whether text
such as "12" is a number is told by quotation marks, where a file has them around text alone. Arrow, R and our own
`save` write such files.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from headrace.arguments import Column, listed
from headrace.extras import imported
from headrace.outcomes.readers.cells import holds_text, is_numeric, numbers_if_all, shared, starts_with_number
from headrace.outcomes.rows import named

__all__ = ["delimited_columns", "delimited_line"]

#: Bytes that are looked at at once.
CHUNK = 2**20

MAX_BLOCK = 2**30  # bytes; one Arrow string array holds less than 2 GiB

#: Columns that name a query, of all layouts.
ID_NAMES = ("query_id", "sample_id", "global index")

#: Separators that are looked for, the usual one first; a .tsv file has tabs.
SEPARATORS = (",", ";", "\t")

DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")


def delimited_columns(path: Path, content: bytes, notes: list[str]) -> tuple[dict[str, Column], frozenset[str]]:
    """Read the columns of delimited text.

    Parameters
    ----------
    path : Path
        For messages.
    content : bytes
        The file, uncompressed. UTF-8, or UTF-16 that begins with its mark.
    notes : list of str
        Where to say what was left out.

    Returns
    -------
    dict of str to object ndarray of shape (n_rows,)
    frozenset of str
        Columns whose text may stand for numbers.

    Raises
    ------
    ImportError, ValueError
        pyarrow is missing; the file is damaged, has no rows, or two columns of one name. A row of too many or too few
        cells is named.
    """
    arrow = imported("pyarrow", "reading CSV")
    arrow_csv = imported("pyarrow.csv", "reading CSV")
    if not content:
        raise ValueError(f"{path} has no rows")
    content = _as_utf8(path, content)
    ragged: list[int] = []

    def refuse(row: Any) -> str:
        ragged.append(row.expected_columns)
        return "error"

    try:
        separator, header = _header(path, content)
        quotes_all = _first_record_is_quoted(content, separator)
        table = arrow_csv.read_csv(
            io.BytesIO(content),
            # A record may not be longer than a block, and a prompt can be long.
            read_options=arrow_csv.ReadOptions(block_size=min(len(content) + 1, MAX_BLOCK)),
            parse_options=arrow_csv.ParseOptions(
                newlines_in_values=True,
                delimiter=separator,
                invalid_row_handler=refuse,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, arrow.string()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=quotes_all,
                null_values=[""],
            ),
        )
    except arrow.ArrowException as error:
        what = _ragged_row(content, separator, header, ragged[0]) if ragged else error
        raise ValueError(f"{path}: can't be read as CSV: {what}") from error
    # A name that Arrow reads otherwise than `_header` gets another type than text.
    odd = [field.name for field in table.schema if field.type != arrow.string()]
    if odd:
        wanted = "names of columns with quotation marks around the whole of them, or none"
        raise ValueError(f"{path}: can't be read as CSV: expected {wanted}, got {odd[0]!r:.40}")
    columns = _named(path, table, notes)
    if not table.num_rows:
        raise ValueError(f"{path} has no rows")
    places = {name: place for place, name in enumerate(table.column_names)}
    del table
    # What the columns were copied from is free, and would stay with Arrow.
    arrow.default_memory_pool().release_unused()
    if separator == ";":
        columns = {name: cells if holds_text(name) else _with_points(cells) for name, cells in columns.items()}
    return columns, frozenset(columns) - _text_columns(columns, places, content, separator)


def delimited_line(path: Path, content: bytes, row: int) -> int | None:
    r"""Look for the line at which a row begins, counted from 1.

    Parameters
    ----------
    path : Path
    content : bytes
        As in `delimited_columns`.
    row : int
        The first row below the header is 0. Lines without anything are no rows.

    Returns
    -------
    int or None
        None if there are fewer rows.

    Examples
    --------
    >>> from pathlib import Path
    >>> from headrace.outcomes.readers.delimited import delimited_line
    >>> content = b'id,text\n1,"a\nb"\n\n2,c\n'
    >>> [delimited_line(Path("t.csv"), content, row) for row in range(3)]
    [2, 5, None]
    """
    content = _as_utf8(path, content)
    separator, _ = _header(path, content)
    line, _ = next(islice(_records(content, separator), row + 1, None), (None, b""))
    return line


def _records(content: bytes, separator: str) -> Iterator[tuple[int, bytes]]:
    """Give the records that aren't empty, the header first, each with the line at which it begins."""
    line = 1
    for match in _record(separator).finditer(content.removeprefix(codecs.BOM_UTF8)):
        record, end = match.groups()
        if record:
            yield line, record
        breaks = record + end
        line += breaks.count(b"\n") + breaks.count(b"\r") - breaks.count(b"\r\n")


def _ragged_row(content: bytes, separator: str, header: Sequence[str], n_wanted: int) -> str:
    """Say which row has another number of cells than the header."""
    for line, record in _records(content, separator):
        cells = _cells(record, separator)
        if len(cells) != n_wanted:
            known = dict(zip(header, cells, strict=False))
            id = next((_unquoted(known[name]) for name in ID_NAMES if name in known), None)
            return f"expected {n_wanted} cells, got {len(cells)}{named({'query': id})} (line {line})"
    return f"expected {n_wanted} cells in every row"


def _cells(record: bytes, separator: str) -> list[bytes]:
    """Give the cells of a record, as they are written."""
    pattern, cells, start = re.compile(_cell(separator)), [], 0
    while start <= len(record):
        match = pattern.match(record, start)
        assert match is not None  # a cell may be empty
        cells.append(match.group())
        start = match.end() + 1
    return cells


def _unquoted(cell: bytes) -> str:
    text = cell.decode("utf-8", "replace")
    return text[1:].removesuffix('"').replace('""', '"') if text.startswith('"') else text


def _as_utf8(path: Path, content: bytes) -> bytes:
    """Give the text in UTF-8; UTF-16 is known by its mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode("utf-16").encode()
        except UnicodeError as error:
            raise ValueError(f"{path}: can't be read as CSV: {error}") from error
    return content


def _header(path: Path, content: bytes) -> tuple[str, list[str]]:
    """Find the separator, and the names of the columns."""
    separators = ("\t",) if ".tsv" in (suffix.lower() for suffix in path.suffixes) else SEPARATORS
    best = separators[0]
    if _n_fields(content, best) < 2:
        best = max(separators, key=lambda separator: _n_fields(content, separator))
    _check_unicode(path, content)
    _, header = next(_records(content, best), (1, b""))
    return best, [_unquoted(cell) for cell in _cells(header, best)]


def _check_unicode(path: Path, content: bytes) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for begin in range(0, len(content), CHUNK):
            decoder.decode(content[begin : begin + CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: can't be read as CSV: it isn't UTF-8 ({error}); save it as UTF-8, or read it with "
            "pandas.read_csv(..., encoding='cp1252') and Outcomes.from_frame"
        ) from error


def _n_fields(content: bytes, separator: str) -> int:
    """Count the fields of the first record."""
    for number, (_, end) in enumerate(_fields(content, separator), start=1):
        if end != separator.encode():
            return number
    return 0


def _named(path: Path, table: Any, notes: list[str]) -> dict[str, Column]:
    """Give the columns that have a name; one without is the index of a dataframe, or a comma too many."""
    names: list[str] = table.column_names
    twice = {name for name in names if name and names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise ValueError(f"{path}: expected columns of different names, got twice: {listed(sorted(twice))}")
    if "" in names:
        notes.append("a column without a name was left out")
    # Arrow's own `to_numpy` imports pandas, where that is installed: more time, and more memory, than most tables take.
    return {name: shared(column.to_pylist()) for name, column in zip(names, table.itercolumns(), strict=True) if name}


def _with_points(cells: Column) -> Column:
    """Write "0,5" as "0.5", where a column of a file with semicolons holds nothing but numbers."""
    present = [cell for cell in cells if cell]
    commas = [cell for cell in present if DECIMAL_COMMA.fullmatch(cell)]
    if not commas:
        return cells
    pointed = cells.copy()
    pointed[:] = [cell.replace(",", ".") if cell and DECIMAL_COMMA.fullmatch(cell) else cell for cell in cells]
    return pointed if is_numeric(numbers_if_all(pointed)) else cells


def _fields(content: bytes, separator: str) -> Iterator[tuple[bytes, bytes]]:
    """Give the fields one after the other, each with what ends it, up to one whose quotation marks aren't closed."""
    mark = re.escape(separator.encode())
    pattern = re.compile(rb'("[^"]*(?:""[^"]*)*"|[^"\r\n' + mark + rb"]*)(" + mark + rb"|\r\n|\n|\r|\Z)")
    at = 0
    # Matched at one place after the other: a search from every place takes the square of the length.
    while match := pattern.match(content, at):
        yield match.group(1), match.group(2)
        if match.end() == len(content):
            return
        at = match.end()


def _cell(separator: str) -> bytes:
    """Give the pattern of one cell as Arrow reads it: marks count at its beginning, and may lack at the end."""
    return rb'(?:"[^"]*(?:""[^"]*)*(?:"|\Z))?[^\r\n' + re.escape(separator.encode()) + rb"]*"


def _record(separator: str) -> re.Pattern[bytes]:
    cell, mark = _cell(separator), re.escape(separator.encode())
    return re.compile(rb"(" + cell + rb"(?:" + mark + cell + rb")*)(\r\n|\n|\r|\Z)")


def _first_record_is_quoted(content: bytes, separator: str) -> bool:
    """Whether the first record below the header has quotation marks around every cell: then they say nothing."""
    seen = False
    row = 0
    for field, end in _fields(content, separator):
        if row == 1 and field:
            seen = True
            if not field.startswith(b'"'):
                return False
        row += end != separator.encode()
        if row > 1:
            break
    return seen


def _text_columns(columns: dict[str, Column], places: dict[str, int], content: bytes, separator: str) -> frozenset[str]:
    """Name the columns that are text: by their name, or because their numbers stand in quotation marks."""
    by_name = {name for name in columns if holds_text(name)}
    numeric = {places[name]: name for name in columns.keys() - by_name if starts_with_number(columns[name])}
    quoted = _quoted(list(numeric), content, separator)
    if len(quoted) == len(numeric):  # it has marks around everything
        quoted = set()
    return frozenset(by_name | {numeric[place] for place in quoted})


def _quoted(places: Sequence[int], content: bytes, separator: str) -> set[int]:
    """Say which of some columns have quotation marks around their first cell that isn't empty."""
    undecided, quoted = set(places), set()
    row, place = 0, 0
    for field, end in _fields(content, separator):
        if not undecided:
            break
        if row and field and place in undecided:
            undecided.discard(place)
            if field.startswith(b'"'):
                quoted.add(place)
        row, place = (row, place + 1) if end == separator.encode() else (row + 1, 0)
    return quoted
