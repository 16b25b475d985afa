"""The table's own form, .npz: numeric arrays and one JSON header, without pickles."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from headrace.arguments import Column
from headrace.atomic_file import draft_of
from headrace.outcomes.readers.cells import blanked, boxed, require_text
from headrace.outcomes.readers.table import Table

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


def write_npz(path: Path, table: Table) -> None:
    """Write a table as numeric arrays and one JSON header; see `Outcomes.save`.

    Text is kept as UTF-8 bytes with the end of each cell: in a fixed-width array every cell would be as wide
    as the longest prompt.
    """
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
    with draft_of(path) as draft, draft.open("xb") as file:
        np.savez_compressed(file, **arrays)


def _packed(key: str, values: Column, label: str = "") -> dict[str, Column]:
    """Arrays that hold one column: itself if numeric, else its text, ends of cells and what is None."""
    if values.dtype.kind != "O":
        return {key: values}
    cells = values.ravel().tolist()
    require_text(label, cells)
    encoded = [b"" if cell is None else cell.encode("utf-8", "surrogatepass") for cell in cells]
    missing = np.array([cell is None for cell in cells], dtype=bool)
    return {
        f"{key}.text": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{key}.ends": np.cumsum([len(cell) for cell in encoded], dtype=np.int64).reshape(values.shape),
        f"{key}.missing": missing.reshape(values.shape),
    }


def read_npz(path: Path) -> Table:
    """Read a table that `write_npz` wrote.

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
    return blanked(boxed(cells), missing.ravel()).reshape(ends.shape)
