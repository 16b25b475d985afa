"""From files and dataframes in known layouts to the columns of an `Outcomes` table, and its own .npz form.

Every source is first brought to one shape, a dict of column name to ndarray: numbers keep a numeric dtype,
text is an object array of str and None, and one vector per row makes a 2-D array. A layout then turns that
dict into a `Table`. RouterBench's layout is the wide one under other names, so it is read as wide.

pyarrow and narwhals are imported where they are used: ``pip install 'headrace[data]'``.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from headrace.arrays import Column, FloatArray, listed

LAYOUTS = ("wide", "routerbench")
NEEDED = "'wide' needs '<model>|quality', 'routerbench' needs '<model>' with '<model>|total_cost'"
ROUTERBENCH_QUERY = {"sample_id": "query_id", "prompt": "text", "eval_name": "task"}
ROUTERBENCH_RUN = {"total_cost": "cost", "model_response": "answer"}
ROUTERBENCH_IGNORED = "oracle_model_to_route_to"
ALWAYS_TEXT = ("text", "task")
TRUTH = {"true": 1.0, "false": 0.0}

PICKLES = (".pkl", ".pickle")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".zip")
MAX_CSV_BLOCK = 2**30  # bytes; one Arrow string array holds less than 2 GiB
NPZ_FORMAT = "headrace.outcomes"
NPZ_VERSION = 1
NPZ_DAMAGE = (
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    OSError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


class Table(TypedDict):
    """The arguments of `Outcomes`."""

    models: Sequence[str]
    quality: FloatArray
    cost: Mapping[str, FloatArray]
    ids: Sequence[str | int] | None
    queries: Mapping[str, Column]
    responses: Mapping[str, Column]
    groups: Column | None


def read_file(
    path: str | os.PathLike[str], *, layout: str | None, cost: str | Sequence[str] | None, verified: bool
) -> Table:
    """Table in a .parquet, .csv or .npz file; see `Outcomes.from_file`."""
    path = Path(path)
    suffix = path.suffix.lower()
    content = Path(path.stem).suffix.lower() if suffix in COMPRESSIONS else suffix
    if content in PICKLES:
        raise ValueError(
            f"{path}: a pickle is refused: it is unsafe to load, because it can run any code. Load it "
            "yourself where you trust it (e.g. pandas.read_pickle), and save it as Parquet"
        )
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if suffix == ".npz":
        if layout is not None or cost is not None:
            raise ValueError(f"{path}: an .npz file has its own layout and cost; leave layout and cost None")
        table = read_npz(path)
        return _with_observed_quality(table) if verified else table
    if suffix == ".parquet":
        frame = _read_parquet(path)
    elif suffix == ".csv":
        frame = _read_csv(path)
    else:
        raise ValueError(f"{path}: expected a file that ends in .parquet, .csv or .npz, got {suffix!r}")
    columns = _frame_columns(frame, str(path))
    typed = suffix != ".csv"
    return _tabulate(columns, str(path), layout=layout, cost=cost, verified=verified, typed=typed)


def read_frame(frame: Any, *, layout: str | None, cost: str | Sequence[str] | None, verified: bool) -> Table:
    """Table in a dataframe or a mapping; see `Outcomes.from_frame`."""
    columns = _frame_columns(frame, "frame")
    return _tabulate(columns, "frame", layout=layout, cost=cost, verified=verified, typed=True)


def _needs(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{what} needs {module.partition('.')[0]}: pip install 'headrace[data]'") from error


def _read_parquet(path: Path) -> Any:
    arrow = _needs("pyarrow", "reading Parquet")
    parquet = _needs("pyarrow.parquet", "reading Parquet")
    with path.open("rb") as file:
        try:
            table = parquet.read_table(file)
            table.validate(full=True)  # damaged text would surface later, without the file's name
            return table
        except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: can't be read as Parquet: {error}") from error


def _read_csv(path: Path) -> Any:
    """Every column as text: guessed types lose ids such as "007", and differ between parts of a file."""
    arrow = _needs("pyarrow", "reading CSV")
    arrow_csv = _needs("pyarrow.csv", "reading CSV")
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


def _frame_columns(frame: Any, source: str) -> dict[str, Column]:
    """Columns of a mapping, or of any eager dataframe that narwhals understands."""
    if isinstance(frame, Mapping):
        _require_text_names(frame, source)
        columns = {name: _array_column(f"{source}: {name!r}", values) for name, values in frame.items()}
    else:
        narwhals = _needs("narwhals", "reading a dataframe")
        try:
            eager = narwhals.from_native(frame, eager_only=True)
        except narwhals.exceptions.DuplicateError as error:
            raise ValueError(f"{source}: {error}") from error
        except TypeError as error:
            wanted = "an eager dataframe (collect a lazy one first) or a mapping of column name to array"
            raise TypeError(f"{source}: expected {wanted}, got {type(frame).__name__}") from error
        _require_text_names(eager.columns, source)
        columns = {name: _series_column(narwhals, f"{source}: {name!r}", eager[name]) for name in eager.columns}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{source}: columns differ in length: {lengths}")
    if lengths and not any(lengths.values()):
        raise ValueError(f"{source} has no rows")
    return columns


def _require_text_names(names: Iterable[object], source: str) -> None:
    others = [name for name in names if not isinstance(name, str)]
    if others:
        raise TypeError(f"{source}: expected str as names of columns, got {listed(others)}")


def _series_column(narwhals: Any, label: str, series: Any) -> Column:
    dtype = series.dtype
    if dtype.is_numeric() or dtype == narwhals.Boolean:
        values = np.asarray(series.to_numpy())
        if values.dtype.kind in "biuf":
            return values
        return np.asarray(series.cast(narwhals.Float64).to_numpy(), dtype=np.float64)
    if dtype in (narwhals.Categorical, narwhals.Enum):
        series = series.cast(narwhals.String)
    cells = np.empty(len(series), dtype=object)
    cells[:] = series.to_numpy() if series.dtype == narwhals.String else _boxed(series.to_list())
    cells[series.is_null().to_numpy()] = None
    return _object_column(label, cells)


def _array_column(label: str, values: Any) -> Column:
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths, or vectors with None among them
        array = _boxed(list(values))
    if array.ndim == 0:
        raise ValueError(f"{label}: expected one value per row, got {values!r}")
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind in "Mm":
        return _blanked(array.astype(str).astype(object), np.isnat(array))
    if array.dtype.kind != "O":
        return array.astype(str).astype(object)
    return _object_column(label, array if array.ndim == 1 else _boxed(list(array)))


def _boxed(cells: Sequence[Any]) -> Column:
    """One object per cell, also where the cells are sequences that numpy would turn into axes."""
    boxed = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells):
        boxed[row] = cell
    return boxed


def _blanked(cells: Column, missing: npt.NDArray[np.bool_]) -> Column:
    blanked = cells.copy()
    blanked[missing] = None
    return blanked


def _object_column(label: str, cells: Column) -> Column:
    """Numbers, vectors or text out of an object array of shape (n_rows,) in which None or NaN is missing."""
    missing = np.array([cell is None or (isinstance(cell, float) and cell != cell) for cell in cells], bool)
    cells = _blanked(cells, missing)
    present = cells[~missing]
    if not len(present):
        return cells
    if all(isinstance(cell, Real | Decimal | np.bool_) for cell in present):
        numbers = np.full(len(cells), np.nan)
        numbers[~missing] = [float(cell) for cell in present]
        return numbers
    if all(isinstance(cell, list | tuple | np.ndarray) for cell in present):
        vectors = [np.asarray(cell) for cell in present]
        if all(vector.dtype.kind in "biuf" and vector.ndim == 1 for vector in vectors):
            return _stacked(label, vectors, missing)
    return _boxed([cell if cell is None or isinstance(cell, str) else str(cell) for cell in cells])


def _stacked(label: str, vectors: Sequence[Column], missing: npt.NDArray[np.bool_]) -> FloatArray:
    lengths = sorted({len(vector) for vector in vectors})
    if len(lengths) > 1:
        raise ValueError(f"{label}: expected vectors of one length, got {lengths[0]} and {lengths[-1]}")
    stacked = np.full((len(missing), lengths[0]), np.nan)
    stacked[~missing] = vectors
    return stacked


def _tabulate(
    columns: dict[str, Column],
    source: str,
    *,
    layout: str | None,
    cost: str | Sequence[str] | None,
    verified: bool,
    typed: bool,
) -> Table:
    """Table out of named columns. Columns that aren't `typed` are all text, and may hold numbers as text."""
    wanted = [cost] if cost is None or isinstance(cost, str) else _cost_names(cost)
    if _layout_of(columns, layout, source) == "routerbench":
        given_name = _routerbench_names(columns)
    else:
        given_name = {name: name for name in columns}
    queries: dict[str, Column] = {}
    runs: dict[str, dict[str, Column]] = {}
    for name, given in given_name.items():
        model, bar, column = name.rpartition("|")
        if bar and not column:
            raise ValueError(f"{source}: column {given!r} has nothing after the '|'")
        if bar:
            runs.setdefault(column, {})[model] = columns[given]
        else:
            queries[name] = columns[given]
    scored = runs.pop("quality", {})
    models = _scored_models(scored, runs, columns, source)
    quality = _joined_numbers(models, scored, "quality", given_name)
    responses = {column: _joined(models, cells, column, typed=typed) for column, cells in runs.items()}
    cost_columns = [_cost_column(name, responses, source) for name in wanted]
    prices = {name: _joined_numbers(models, runs[name], name, given_name) for name in cost_columns}
    ids = queries.pop("query_id", None)
    table: Table = {
        "models": models,
        "quality": quality,
        "cost": prices,
        "ids": None if ids is None else _present_ids(ids, given_name["query_id"], source),
        "queries": {name: _query_column(name, cells, typed=typed) for name, cells in queries.items()},
        "responses": {**responses, "cost": prices[cost_columns[0]]},
        "groups": None,
    }
    return _with_observed_quality(table) if verified else table


def _cost_names(cost: Sequence[str]) -> list[str]:
    names = list(cost) if hasattr(cost, "__iter__") else []
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise TypeError(f"cost: expected None, the name of a per-model column, or several different ones, got {cost!r}")
    return names


def _present_ids(ids: Column, name: str, source: str) -> list[Any]:
    for row, label in enumerate(ids.tolist()):
        if label is None or label != label:
            raise ValueError(f"{source}: column {name!r} has no id at row {row}")
    labels: list[Any] = ids.tolist()
    return labels


def _with_observed_quality(table: Table) -> Table:
    return {**table, "responses": {**table["responses"], "quality": table["quality"]}}


def _layout_of(columns: Mapping[str, Column], layout: str | None, source: str) -> str:
    if layout is not None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout: expected None or one of {listed(LAYOUTS)}, got {layout!r}")
        return layout
    if any(name.endswith("|quality") for name in columns):
        return "wide"
    if any(name.endswith("|total_cost") and name.removesuffix("|total_cost") in columns for name in columns):
        return "routerbench"
    raise ValueError(f"{source}: no known layout: {NEEDED}; columns found: {listed(columns)}")


def _routerbench_names(columns: Mapping[str, Column]) -> dict[str, str]:
    """Name in the wide layout -> name in RouterBench's, for every column that is kept."""
    models = {name.rpartition("|")[0] for name in columns if "|" in name}
    given_name: dict[str, str] = {}
    for name in columns:
        model, bar, column = name.rpartition("|")
        if bar:
            wide = f"{model}|{ROUTERBENCH_RUN.get(column, column)}"
        else:
            wide = f"{name}|quality" if name in models else ROUTERBENCH_QUERY.get(name, name)
        if wide in given_name:
            raise ValueError(f"columns {given_name[wide]!r} and {name!r} mean the same, expected one of them")
        if name != ROUTERBENCH_IGNORED:
            given_name[wide] = name
    return given_name


def _scored_models(
    scored: Mapping[str, Column],
    runs: Mapping[str, Mapping[str, Column]],
    found: Iterable[str],
    source: str,
) -> list[str]:
    if not scored:
        raise ValueError(f"{source}: no models found: {NEEDED}; columns found: {listed(found)}")
    for column, cells in runs.items():
        for model in cells:
            if model not in scored:
                raise ValueError(f"{source}: model {model!r} has a column {column!r} but no quality column")
    return list(scored)


def _cost_column(cost: str | None, responses: Mapping[str, Column], source: str) -> str:
    """Name of the response column that is the cost."""
    if cost is None and "cost" in responses:
        return "cost"
    if cost is not None and cost in responses:
        return cost
    candidates = [name for name, v in responses.items() if v.dtype.kind == "f" and v.ndim == 2]
    choice = f"numeric per-model columns found: {listed(candidates)}"
    if cost is None:
        raise ValueError(f"cost: {source} has no cost column; name the column that serves as cost; {choice}")
    raise ValueError(f"cost: {source} has no per-model column {cost!r}; {choice}")


def _joined_numbers(
    models: Sequence[str], cells: Mapping[str, Column], column: str, given_name: Mapping[str, str]
) -> FloatArray:
    """Numbers of shape (n_rows, n_models) out of one column per model; missing for a model without one."""
    n_rows = len(next(iter(cells.values())))
    joined = np.full((n_rows, len(models)), np.nan)
    for j, model in enumerate(models):
        if model in cells:
            joined[:, j] = _parsed(given_name[f"{model}|{column}"], cells[model])
    return joined


def _parsed(name: str, cells: Column) -> FloatArray:
    if cells.ndim != 1:
        raise ValueError(f"column {name!r}: expected one number per row, got shape {cells.shape}")
    if cells.dtype.kind != "O":
        return cells.astype(np.float64)
    numbers = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            numbers[row] = _number(cell)
        except ValueError as error:
            raise ValueError(f"column {name!r}: expected a number at row {row}, got {cell!r}") from error
    return numbers


def _number(cell: str | None) -> float:
    """Strictly: nothing around the number and no underscores, both of which ``float`` lets pass."""
    if cell is None:
        return np.nan
    if cell.lower() in TRUTH:
        return TRUTH[cell.lower()]
    if "_" in cell or cell != cell.strip():
        raise ValueError(cell)
    return float(cell)


def _joined(models: Sequence[str], cells: Mapping[str, Column], column: str, *, typed: bool) -> Column:
    """One response column out of each model's: numbers if all are numbers, else text."""
    given = {model: values for model, values in cells.items() if not _is_empty(values)} or dict(cells)
    if not typed:
        parsed = {model: _from_text(values) for model, values in given.items()}
        given = parsed if all(_is_numeric(values) for values in parsed.values()) else given
    shapes = {values.shape for values in given.values()}
    if len(shapes) > 1:
        raise ValueError(f"columns '<model>|{column}': expected one shape, got {sorted(shapes)}")
    (shape,) = shapes
    numeric = all(_is_numeric(values) for values in given.values())
    joined = np.full((shape[0], len(models), *shape[1:]), np.nan if numeric else None)
    for model, values in given.items():
        joined[:, models.index(model)] = values if numeric else _as_text(values)
    return joined


def _query_column(name: str, cells: Column, *, typed: bool) -> Column:
    if name in ALWAYS_TEXT:
        return _as_text(cells)
    return cells if typed else _from_text(cells)


def _is_numeric(cells: Column) -> bool:
    return cells.dtype.kind in "biuf"


def _is_empty(cells: Column) -> bool:
    if cells.dtype.kind == "O":
        return all(cell is None for cell in cells)
    return cells.dtype.kind == "f" and bool(np.isnan(cells).all())


def _from_text(cells: Column) -> Column:
    """Numbers where every cell that is there reads as one, else the cells as they came."""
    if _is_empty(cells):
        return cells
    try:
        return np.array([_number(cell) for cell in cells])
    except ValueError:
        return cells


def _as_text(cells: Column) -> Column:
    if cells.dtype.kind == "O":
        return cells
    return _boxed([None if cell != cell else str(cell) for cell in cells.tolist()])


def write_npz(path: str | os.PathLike[str], table: Table) -> None:
    """Write a table as numeric arrays and one JSON header; see `Outcomes.save`.

    Text is kept as UTF-8 bytes with the end of each cell: in a fixed-width array every cell would be as wide
    as the longest prompt.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ValueError(f"path: expected a name that ends in .npz, got {path.name!r}")
    header = {
        "format": NPZ_FORMAT,
        "version": NPZ_VERSION,
        "models": list(table["models"]),
        "queries": list(table["queries"]),
        "responses": list(table["responses"]),
        "costs": list(table["cost"]),
    }
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header))}
    arrays["quality"] = table["quality"]
    arrays |= {f"costs.{number}": values for number, values in enumerate(table["cost"].values())}
    arrays |= _packed("ids", np.array(table["ids"], dtype=object))
    if table["groups"] is not None:
        arrays |= _packed("groups", table["groups"])
    for kind, columns in (("queries", table["queries"]), ("responses", table["responses"])):
        for number, (name, values) in enumerate(columns.items()):
            arrays |= _packed(f"{kind}.{number}", values, f"{kind}: column {name!r}")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with draft.open("xb") as file:
            np.savez_compressed(file, **arrays)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _packed(key: str, values: Column, label: str = "") -> dict[str, Column]:
    """Arrays that hold one column: itself if numeric, else its text, ends of cells and what is None."""
    if values.dtype.kind != "O":
        return {key: values}
    cells = values.ravel().tolist()
    for cell in cells:
        if cell is not None and not isinstance(cell, str):
            raise TypeError(f"{label}: expected text or None in order to save, got {type(cell).__name__}")
    encoded = [b"" if cell is None else cell.encode("utf-8", "surrogatepass") for cell in cells]
    missing = np.array([cell is None for cell in cells], dtype=bool)
    return {
        f"{key}.text": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{key}.ends": np.cumsum([len(cell) for cell in encoded], dtype=np.int64).reshape(values.shape),
        f"{key}.missing": missing.reshape(values.shape),
    }


def read_npz(path: Path) -> Table:
    """Table that `write_npz` wrote.

    Raises
    ------
    ValueError
        If the file is damaged, or something else.
    """
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return _unpacked_table(arrays)
        except NPZ_DAMAGE as error:
            raise ValueError(f"{path}: can't be read as a table that Outcomes.save wrote: {error}") from error


def _unpacked_table(arrays: Mapping[str, Column]) -> Table:
    header = json.loads(str(arrays["header"]))
    if header["format"] != NPZ_FORMAT or header["version"] != NPZ_VERSION:
        known = f"{NPZ_FORMAT} {NPZ_VERSION}"
        raise ValueError(f"expected format {known}, got {header['format']} {header['version']}")
    queries, responses = (
        {name: _unpacked(f"{kind}.{number}", arrays) for number, name in enumerate(header[kind])}
        for kind in ("queries", "responses")
    )
    return {
        "models": header["models"],
        "quality": arrays["quality"],
        "cost": {name: arrays[f"costs.{number}"] for number, name in enumerate(header["costs"])},
        "ids": _unpacked("ids", arrays).tolist(),
        "queries": queries,
        "responses": responses,
        "groups": _unpacked("groups", arrays) if "groups.text" in arrays else None,
    }


def _unpacked(key: str, arrays: Mapping[str, Column]) -> Column:
    if key in arrays:
        return arrays[key]
    text, ends, missing = (arrays[f"{key}.{part}"] for part in ("text", "ends", "missing"))
    data, bounds = text.tobytes(), [0, *ends.ravel().tolist()]
    cells = [data[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(bounds)]
    return _blanked(_boxed(cells), missing.ravel()).reshape(ends.shape)
