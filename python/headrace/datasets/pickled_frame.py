"""A pickled pandas DataFrame, as named columns, without running anything that the file names.

A pickle is a program: it names functions and calls them. Here every name is looked up in a short list, and is replaced
by an inert stand-in that only notes what it was called with; a name that isn't on the list ends the reading. The notes
are then read as data: blocks of numbers, text and None. Neither pandas nor any function of numpy's that the file names
is ever called, so a file can at worst be refused. Frames of plain columns only (numbers, booleans, objects): no
categories, dates or Arrow strings.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from headrace.arguments import Column
from headrace.outcomes.readers.cells import boxed

__all__ = ["pickled_columns"]

#: What a pickled frame may name, by the part that it plays. Modules have moved over the versions of pandas and numpy.
NAMES = {
    "frame": ("pandas.DataFrame", "pandas.core.frame.DataFrame"),
    "manager": ("pandas.core.internals.managers.BlockManager",),
    "block": ("pandas._libs.internals._unpickle_block", "pandas.core.internals.blocks.new_block"),
    "placement": ("pandas._libs.internals.BlockPlacement",),
    "index": ("pandas.core.indexes.base._new_Index",),
    "index class": (
        "pandas.Index",
        "pandas.RangeIndex",
        "pandas.core.indexes.base.Index",
        "pandas.core.indexes.range.RangeIndex",
        "pandas.core.indexes.numeric.Int64Index",
    ),
    "array": ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"),
    "array class": ("numpy.ndarray",),
    "buffer": ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
    "number": ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    "dtype": ("numpy.dtype",),
    "slice": ("builtins.slice", "__builtin__.slice"),
    "bytes": ("_codecs.encode", "builtins.bytes", "__builtin__.bytes", "builtins.bytearray", "__builtin__.bytearray"),
}
#: Text that is made of a file's lists is at most so many times as long as the file.
MAX_GROWTH = 20

PARTS = {name: part for part, names in NAMES.items() for name in names}


class _Note:
    """What a name was called with, and the state it was given; its subclasses stand for one name each."""

    __slots__ = ("args", "state")
    part = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> _Note:
        note = object.__new__(cls)
        note.args, note.state = args, None
        return note

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle._Unpickler):
    """Unpickles into notes; made anew for each file, and so are its stand-ins.

    The one in Python: that in C takes as much memory as a file asks for, and finds extensions in a cache, without a
    look-up of their names.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    read: Callable[[int], bytes]
    append: Callable[[Any], None]

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._known: dict[str, type[_Note]] = {}

    def load_bytes(self) -> None:
        """Read bytes of a stated length; the inherited reader takes the memory before it looks for them."""
        (length,) = struct.unpack("<Q", self.read(8))
        data = self.read(length)
        if len(data) < length:
            _refuse("it has fewer bytes than it says")
        self.append(data)

    dispatch[pickle.BYTEARRAY8[0]] = load_bytes

    def get_extension(self, code: int) -> NoReturn:
        """Refuse what is named by a number."""
        _refuse(f"it names the extension {code}")

    def find_class(self, module: str, name: str) -> type[_Note]:
        """Give the stand-in for a name of the list."""
        full = f"{module}.{name}"
        if full not in PARTS:
            raise ValueError(f"it names {full}, which no table of plain columns needs")
        if full not in self._known:
            self._known[full] = type("_Note", (_Note,), {"__slots__": (), "part": PARTS[full]})
        return self._known[full]


def pickled_columns(path: Path) -> dict[str, Column]:
    """Read the columns of a pickled DataFrame of numbers, text and None.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to ndarray of shape (n_rows,)

    Raises
    ------
    ValueError
        The file isn't such a pickle, or names anything else; the message says what. Nothing of it has been run.

    Examples
    --------
    >>> import pickle, tempfile
    >>> from pathlib import Path
    >>> from headrace.datasets.pickled_frame import pickled_columns
    >>> path = Path(tempfile.mkdtemp()) / "bad.pkl"
    >>> _ = path.write_bytes(pickle.dumps(print))
    >>> pickled_columns(path)
    Traceback (most recent call last):
        ...
    ValueError: ...bad.pkl: refused: it names builtins.print, which no table of plain columns needs; nothing was run...
    """
    content = path.read_bytes()
    try:
        return _columns(_Reader(io.BytesIO(content)).load(), _Room(len(content)))
    except Exception as error:  # a damaged or hostile file may raise anything
        what = str(error) or type(error).__name__
        raise ValueError(
            f"{path}: refused: {what}; nothing was run. If you trust the file, save it as Parquet with pandas"
        ) from error


class _Room:
    """How much more a file may grow into: a small one can name one part of it many times."""

    def __init__(self, n_bytes: int) -> None:
        self._n_cells, self._n_characters = n_bytes, MAX_GROWTH * n_bytes

    def take_cells(self, n_cells: int) -> None:
        """Take cells; each one needs a byte of the file at least."""
        self._n_cells -= n_cells
        if self._n_cells < 0:
            _refuse("it has more cells than bytes")

    def take_text(self, text: str) -> str:
        """Take text that is made of parts."""
        self._n_characters -= len(text)
        if self._n_characters < 0:
            _refuse(f"its text is more than {MAX_GROWTH} times as long as the file")
        return text


def _refuse(why: str) -> NoReturn:
    raise ValueError(why)


def _is(part: str, thing: Any) -> bool:
    return isinstance(thing, _Note) and thing.part == part


def _columns(frame: Any, room: _Room) -> dict[str, Column]:
    if not (_is("frame", frame) and isinstance(frame.state, dict) and _is("manager", frame.state.get("_mgr"))):
        _refuse("it holds no pandas DataFrame (of version 1.3 or later)")
    blocks, axes = frame.state["_mgr"].args
    names = _labels(axes[0], room)
    columns: dict[str, Column] = {}
    for block in blocks:
        if not _is("block", block) or len(block.args) != 3:
            _refuse("it has columns of another kind than numbers and objects")
        values, places = _array(block.args[0], room), _places(block.args[1], len(names), room)
        if values.ndim != 2 or len(values) != len(places):
            _refuse("its blocks don't fit its columns")
        columns |= {
            names[place]: _plain(names[place], cells, room) for place, cells in zip(places, values, strict=True)
        }
    if len(columns) < len(names) or len(set(names)) < len(names):
        _refuse("it has no data for some columns, or two of one name")
    return {name: columns[name] for name in names}


def _labels(index: Any, room: _Room) -> list[str]:
    """Names of the columns: an Index of text."""
    if not _is("index", index) or not isinstance(index.args[1], dict) or "data" not in index.args[1]:
        _refuse("its columns have no names")
    names: list[str] = _array(index.args[1]["data"], room).tolist()
    if not all(isinstance(name, str) for name in names):
        _refuse("its columns have names other than text")
    return names


def _places(placement: Any, n_columns: int, room: _Room) -> Sequence[int]:
    """Which columns a block holds."""
    if _is("placement", placement):
        (placement,) = placement.args
    if _is("slice", placement):
        return range(n_columns)[slice(*placement.args)]
    return [range(n_columns)[place] for place in _array(placement, room).tolist()]


def _array(note: Any, room: _Room) -> Column:
    if _is("buffer", note):
        data, dtype, shape, order = note.args
        room.take_cells(math.prod(shape))
        return _numbers(data, _dtype(dtype), shape, _order(order == "F"))
    if not _is("array", note) or note.state is None:
        _refuse("it has columns of another kind than numbers and objects")
    _, shape, dtype, fortran, data = note.state
    room.take_cells(math.prod(shape))
    kind, order = _dtype(dtype), _order(fortran)
    if kind.kind != "O":
        return _numbers(data, kind, shape, order)
    if not isinstance(data, list) or len(data) != math.prod(shape):
        _refuse("an array has not as many cells as its shape says")
    return boxed(data).reshape(tuple(shape), order=order)


def _order(fortran: bool) -> Literal["C", "F"]:
    return "F" if fortran else "C"


def _numbers(data: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: Literal["C", "F"]) -> Column:
    return np.frombuffer(_bytes(data), dtype).reshape(tuple(shape), order=order)


def _dtype(note: Any) -> np.dtype[Any]:
    name = note.args[0] if _is("dtype", note) else None
    order = note.state[1] if name is not None and note.state is not None else "|"
    # Only the plain types: a name is looked up in numpy's own table, and never evaluated.
    if name in ("O8", "O4", "O"):
        return np.dtype(object)
    if name not in ("b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8") or order not in "<>|=":
        _refuse(
            f"it has a type other than numbers and objects: {name!r}" if isinstance(name, str) else "it has no type"
        )
    return np.dtype(f"{order}{name}")


def _bytes(data: Any) -> bytes:
    if _is("bytes", data):
        # Before protocol 3, bytes are text that is to be encoded.
        return data.args[0].encode("latin-1") if data.args and isinstance(data.args[0], str) else _bytes(*data.args)
    return data if isinstance(data, bytes) else _refuse("an array has no bytes")


def _plain(name: str, cells: Column, room: _Room) -> Column:
    """Cells of one column: numbers, text, None; a list of such becomes text."""
    return cells if cells.dtype.kind != "O" else boxed([_cell(name, cell, room) for cell in cells])


def _cell(name: str, cell: Any, room: _Room, *, nested: bool = False) -> Any:
    if cell is None or isinstance(cell, str | int | float):
        return cell
    if _is("number", cell):
        dtype, data = cell.args
        return _numbers(data, _dtype(dtype), (1,), "C").item()
    if isinstance(cell, list | tuple) and not nested:
        return room.take_text(str([_cell(name, part, room, nested=True) for part in cell]))
    return _refuse(f"column {name!r} has cells that are neither numbers nor text")
