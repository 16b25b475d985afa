"""Files, as named columns: Parquet, CSV, JSON and JSON lines.

pyarrow is imported where it is used: ``pip install 'headrace[data]'``. Pickles are refused.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headrace.arguments import Column
from headrace.outcomes.readers.cells import boxed
from headrace.outcomes.readers.frame import frame_columns, needed_module

__all__ = ["file_columns", "is_pickle", "refuse_pickle"]

PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".zip")
JSON_LINES = (".jsonl", ".ndjson")
MAX_CSV_BLOCK = 2**30  # bytes; one Arrow string array holds less than 2 GiB


def refuse_pickle(path: Path) -> None:
    """Refuse a pickle, and name the safe way."""
    if is_pickle(path):
        raise ValueError(
            f"{path}: a pickle is refused: it is unsafe to load, because it can run any code. RouterBench's published "
            "pickles are read without running them by headrace.datasets.load_routerbench and headrace bench "
            "routerbench; load any other yourself where you trust it (e.g. pandas.read_pickle), and save it as Parquet"
        )


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle, by its name or by its first bytes."""
    suffix = path.suffix.lower()
    content = Path(path.stem).suffix.lower() if suffix in COMPRESSIONS else suffix
    return content in PICKLES or (path.is_file() and _starts_like_a_pickle(path))


def _starts_like_a_pickle(path: Path) -> bool:
    """Whether a file begins with the opcode PROTO and a protocol number, as pickles since protocol 2 do."""
    with path.open("rb") as file:
        start = file.read(2)
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5


def file_columns(path: Path) -> dict[str, Column]:
    """Read the columns of a .parquet, .csv, .json or .jsonl file."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        frame = _parquet(path)
    elif suffix == ".csv":
        frame = _csv(path)
    elif suffix == ".json" or suffix in JSON_LINES:
        frame = _json(path)
    else:
        raise ValueError(f"{path}: expected a file that ends in .parquet, .csv, .json or .jsonl, got {suffix!r}")
    return frame_columns(frame, str(path))


def _parquet(path: Path) -> Any:
    arrow = needed_module("pyarrow", "reading Parquet")
    parquet = needed_module("pyarrow.parquet", "reading Parquet")
    with path.open("rb") as file:
        try:
            table = parquet.read_table(file)
            table.validate(full=True)  # damaged text would surface later, without the file's name
            return table
        except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: can't be read as Parquet: {error}") from error


def _csv(path: Path) -> Any:
    """Read every column as text: guessed types lose ids such as "007", and differ between parts of a file."""
    arrow = needed_module("pyarrow", "reading CSV")
    arrow_csv = needed_module("pyarrow.csv", "reading CSV")
    size = path.stat().st_size
    if not size:
        raise ValueError(f"{path} has no rows")
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            header = next(csv.reader(text), [])
        with path.open("rb") as file:
            return arrow_csv.read_csv(
                file,
                # A record may not be longer than a block, and a prompt can be long.
                read_options=arrow_csv.ReadOptions(block_size=min(size + 1, MAX_CSV_BLOCK)),
                parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(header, arrow.string()),
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
    except (arrow.ArrowException, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: can't be read as CSV: {error}") from error


def _json(path: Path) -> dict[str, Column]:
    """Read records: an array of objects (alone, or as "data" of an object), or one object per line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        in_lines = path.suffix.lower() in JSON_LINES or not text.strip()
        records = _lines(text) if in_lines else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: can't be read as JSON: {error}") from error
    if isinstance(records, dict) and isinstance(records.get("data"), list):
        records = records["data"]
    if not isinstance(records, list):
        raise ValueError(f"{path}: expected an array of objects, or one object per line, got {type(records).__name__}")
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f"{path}: expected an object at row {row}, got {type(record).__name__}")
    if not records:
        raise ValueError(f"{path} has no rows")
    names = dict.fromkeys(name for record in records for name in record)
    return {name: _record_column(record.get(name) for record in records) for name in names}


def _lines(text: str) -> list[Any]:
    """Decode one JSON value per line; the error says which line."""
    records = []
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split at U+2028 within a text
        if line.strip():
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return records


def _record_column(cells: Iterable[Any]) -> Column:
    """Box the cells of one name; what nests becomes JSON text, but for vectors of numbers."""
    return boxed([json.dumps(cell, sort_keys=True) if _nests(cell) else cell for cell in cells])


def _nests(cell: Any) -> bool:
    if isinstance(cell, list):
        return not cell or not all(part is None or isinstance(part, int | float) for part in cell)
    return isinstance(cell, dict)
