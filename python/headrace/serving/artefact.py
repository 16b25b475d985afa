"""Artefacts: one file that holds what serves, which can be read without trusting it.

A ZIP whose members are stored as they are: ``manifest.json``, JSON values and an index of all arrays, and
``arrays.npy``, the bytes of these arrays end to end. No member is code, and none is unpickled. What keeps a file whole:

- the manifest has the SHA-256 of every other member, and at its end a fingerprint, the SHA-256 of all before it;
- the comment of the ZIP is the SHA-256 of all that is neither the comment nor the bytes of a member;
- a file is written under a temporary name beside it, synced to the disk, and renamed.

Damage is told from change: a damaged member fails the ZIP's own CRC-32, one that was put in its place doesn't. Whoever
changes a file can write new checksums, too: they guard against accidents, and tell two artefacts apart; they are no
signature.

Saving writes arrays from where they are, and loading reads them once, to where they stay: beside them, both take memory
for the manifest and a few buffers. Both take time in proportion to the bytes, some milliseconds for 5 MB.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from headrace._core import __version__
from headrace.arguments import listed
from headrace.atomic_file import draft_of
from headrace.errors import ArtefactError
from headrace.estimators.state import flattened, restored

__all__ = ["SCHEMA", "Artefact", "read_artefact", "write_artefact"]

#: Number of the layout; a file with a higher one is from a later version.
SCHEMA = 1

MANIFEST = "manifest.json"
ARRAYS = "arrays.npy"

#: Arrays begin at multiples of this many bytes.
ALIGNMENT = 64

#: Types of arrays that a file may hold: numbers and bools, in the byte order of today's machines.
TYPES = ("<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "|u1", "<u2", "<u4", "<u8", "|b1")

#: Types of columns that a file may name: numbers, bools and objects, as NumPy writes these. NumPy itself would read
#: other names too, some of them with a warning.
COLUMN_TYPES = frozenset(
    np.dtype(letter).newbyteorder(order).str
    for letter in ("?", *np.typecodes["AllInteger"], *"efdgO")
    for order in "<>"
)

#: Largest file: what a ZIP holds without its extension for large ones.
LARGEST = 2**31 - 1

#: The time of every member: the same router gives the same bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)

#: Length of a SHA-256 in hexadecimal digits.
DIGITS = 64

#: Bytes that are read at a time.
CHUNK = 2**20

#: Errors of a seek to a place that no file has, as a damaged offset may ask for it.
NO_PLACE = (errno.EINVAL, errno.EOVERFLOW)


class Artefact(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    values : dict of str to value
        As they were given to `write_artefact`.
    version : str
        Version of headrace that wrote the file.
    fingerprint : str
        SHA-256 of the manifest, which has those of all other members.
    """

    values: dict[str, Any]
    version: str
    fingerprint: str


def write_artefact(path: str | os.PathLike[str], values: Mapping[str, Any]) -> str:
    """Write a file, whole or not at all; an existing one keeps its mode, and a symbolic link its place.

    Parameters
    ----------
    path : path-like
    values : mapping of str to value
        What may be in a state (`headrace.estimators.state`).

    Returns
    -------
    str
        The fingerprint.

    Raises
    ------
    ArtefactError
        Of kind "unsupported": a value that a file can't hold, more than 2 GB of them, or arrays that another thread
        changes meanwhile.
    OSError
        The file can't be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from headrace.serving.artefact import read_artefact, write_artefact
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "numbers.headrace"
    >>> fingerprint = write_artefact(path, {"weights": np.array([1.5, 2.0]), "names": ("a", "b")})
    >>> read_artefact(path).values
    {'weights': array([1.5, 2. ]), 'names': ('a', 'b')}
    >>> read_artefact(path).fingerprint == fingerprint
    True
    """
    arrays = _Arrays()
    content = flattened(dict(values), arrays.put)
    if unknown := _unknown_types(content):
        raise ArtefactError(f"decider: a file can't hold the type of column {unknown[0]!r}", kind="unsupported")
    parts = arrays.parts()
    member, crc = hashlib.sha256(), 0
    for part in parts:
        member.update(part)
        crc = zlib.crc32(part, crc)
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "headrace": __version__,
        "values": content,
        "arrays": arrays.index,
        "members": {ARRAYS: member.hexdigest()},
    }
    text = json.dumps(manifest, allow_nan=False).encode()[:-1]
    fingerprint = hashlib.sha256(text).hexdigest()
    members: dict[str, Sequence[bytes | memoryview]] = {MANIFEST: [text, _ending(fingerprint)], ARRAYS: parts}
    if sum(map(_size, members.values())) > LARGEST:
        raise ArtefactError("decider: its arrays take more than 2 GB; a file can't hold them", kind="unsupported")
    with draft_of(path) as draft, draft.open("r+b") as file:
        written = _pack(file, members)
        if written[ARRAYS] != crc:
            raise ArtefactError("decider: its arrays changed while they were saved", kind="unsupported")
    return fingerprint


def read_artefact(path: str | os.PathLike[str]) -> Artefact:
    """Read a file; its arrays are read-only.

    Raises
    ------
    ArtefactError
        Of kind "corrupt", "newer", "tampered" or "unsupported"; the message names the file and what is wrong.
    OSError
        The file can't be opened.
    """
    name = Path(path).name
    with _refusals(name, OSError, MemoryError), Path(path).open("rb") as file:
        # What has no places to go to, such as a pipe, is read whole.
        manifest, arrays = _members(file if file.seekable() else io.BytesIO(file.read()))
    with _refusals(name):
        if unknown := _unknown_types(manifest["values"]):
            message = f"values: expected a type of column that save writes, such as '<f8', got {unknown[0]!r:.40}"
            raise ArtefactError(message, kind="tampered")
        values = restored(manifest["values"], _Taker(manifest["arrays"], arrays))
        return Artefact(values, str(manifest["headrace"]), str(manifest["fingerprint"]))


@contextmanager
def _refusals(name: str, *others: type[Exception]) -> Iterator[None]:
    """Have errors name the file; all but `others` are about what it says."""
    try:
        yield
    except ArtefactError as error:
        raise ArtefactError(f"path: {name}: {error}", kind=error.kind) from error
    except others:
        raise
    except Exception as error:
        # All checksums fit, so that this is no damage; a forged file may make any part say anything.
        message = f"path: {name}: its values aren't those that save writes ({type(error).__name__}: {error})"
        raise ArtefactError(message, kind="tampered") from error


class _Arrays:
    """Arrays end to end, as views of where they are; equal ones are kept once."""

    def __init__(self) -> None:
        self.index: list[list[Any]] = []
        self._parts: list[memoryview] = []
        self._length = 0
        self._number: dict[tuple[Any, ...], int] = {}

    def put(self, array: np.ndarray) -> int:
        # The layout is kept: the last bits of a product may depend on it.
        order = "C" if array.flags.c_contiguous or not array.flags.f_contiguous else "F"
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype.str not in TYPES:
            raise ArtefactError(f"decider: a file can't hold an array of dtype {array.dtype}", kind="unsupported")
        # No copy of what lies by rows or by columns.
        by_rows = np.ascontiguousarray(array if order == "C" else array.T)
        data = by_rows.reshape(-1).view(np.uint8).data
        key = (array.dtype.str, order, array.shape, hashlib.sha256(data).digest())
        if key not in self._number:
            self._number[key] = len(self.index)
            self.index.append([array.dtype.str, order, list(array.shape), self._length])
            gap = -len(data) % ALIGNMENT
            self._parts += [data, memoryview(bytes(gap))]
            self._length += len(data) + gap
        return self._number[key]

    def parts(self) -> list[bytes | memoryview]:
        """Give what the member consists of."""
        return [_header(self._length), *self._parts]


class _Taker:
    """Gives the arrays of a file by their numbers: views of its bytes, which nothing can write to."""

    def __init__(self, index: list[list[Any]], member: memoryview) -> None:
        begin = len(_header(0))
        # NumPy would parse other headers too, also of long ago, and warn.
        if len(member) < begin or member[:begin] != _header(len(member) - begin):
            raise ValueError(f"{ARRAYS}: expected the bytes that save writes, as one array")
        self._index = index
        self._bytes = member[begin:]

    def __call__(self, number: int) -> np.ndarray:
        kind, order, shape, begin = self._index[number]
        if kind not in TYPES or order not in ("C", "F"):
            raise ValueError(f"arrays: expected a type of {', '.join(TYPES)}, and an order; got {kind!r}, {order!r}")
        # NumPy itself takes sizes below zero with a buffer.
        if not all(isinstance(size, int) and size >= 0 for size in (begin, *shape)):
            raise ValueError(f"arrays: expected a place and sizes >= 0, got {begin!r}, {shape!r}")
        if begin + math.prod(shape) * np.dtype(kind).itemsize > len(self._bytes):
            raise ValueError(f"arrays: expected at most {len(self._bytes)} bytes, got shape {shape} at {begin}")
        return np.ndarray(shape, dtype=kind, buffer=self._bytes, offset=begin, order=order)


def _unknown_types(values: Any) -> list[Any]:
    """Give what stands for types of columns in JSON values (`headrace.estimators.state`), and isn't one of those."""
    unknown, boxes = [], [values]
    while boxes:
        box = boxes.pop()
        if isinstance(box, dict):
            kind = box.get("$dtype", "|O")
            unknown += [] if isinstance(kind, str) and kind in COLUMN_TYPES else [kind]
            boxes += box.values()
        elif isinstance(box, list):
            boxes += box
    return unknown


def _ending(fingerprint: str) -> bytes:
    """Give the end of a manifest; the fingerprint is that of all bytes before it."""
    return f', "fingerprint": "{fingerprint}"}}'.encode()


def _header(length: int) -> bytes:
    """Give what is before the bytes of all arrays: as NumPy begins a file of an array of bytes."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({length},), }}"
    return b"\x93NUMPY\x01\x00v\x00" + text.ljust(117).encode() + b"\n"


def _size(parts: Sequence[bytes | memoryview]) -> int:
    return sum(map(len, parts))


def _pack(file: BinaryIO, members: Mapping[str, Sequence[bytes | memoryview]]) -> dict[str, int]:
    """Write the ZIP; give the CRC-32 of each member."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, parts in members.items():
            member = zipfile.ZipInfo(name, NO_TIME)
            member.file_size = _size(parts)
            with archive.open(member, "w") as target:
                for part in parts:
                    target.write(part)
        archive.comment = b"0" * DIGITS
    digest = _frame_digest(file, archive.infolist())
    file.seek(-DIGITS, os.SEEK_END)
    file.write(digest)
    return {member.filename: member.CRC for member in archive.infolist()}


def _frame_digest(file: BinaryIO, members: list[zipfile.ZipInfo]) -> bytes:
    """Hash what no CRC-32 covers: all but the bytes of members and the comment."""
    digest, begin = hashlib.sha256(), 0
    for member in sorted(members, key=lambda member: member.header_offset):
        header = member.header_offset
        extra = int.from_bytes(_between(file, header + 28, header + 30), "little")
        data = header + 30 + len(member.filename.encode()) + extra
        digest.update(_between(file, begin, data))
        begin = data + member.compress_size
    digest.update(_between(file, begin, file.seek(0, os.SEEK_END) - DIGITS))
    return digest.hexdigest().encode()


def _between(file: BinaryIO, begin: int, end: int) -> bytes:
    if begin >= end:
        return b""
    file.seek(begin)
    return file.read(end - begin)


def _members(file: BinaryIO) -> tuple[dict[str, Any], memoryview]:
    """Give the manifest and the member of arrays, once all checksums fit."""
    members: dict[str, memoryview] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            found = archive.infolist()
            # Nothing else is read, and nothing unpacked: a small file can't take much memory.
            wanted = [member for member in found if member.filename in (MANIFEST, ARRAYS)]
            stored = all(member.compress_type == zipfile.ZIP_STORED for member in wanted)
            for member in wanted[:2] if stored else ():
                members.pop(member.filename, None)  # one that is there twice is held once
                members[member.filename] = _content(archive, member, most=file.seek(0, os.SEEK_END))
            comment = archive.comment
    except Exception as error:  # zipfile raises many kinds on damaged bytes
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in NO_PLACE):
            raise
        raise ArtefactError(f"not a whole file of a router ({error})", kind="corrupt") from error
    if not stored:
        raise ArtefactError("its members are compressed, which save never does", kind="tampered")
    if MANIFEST not in members:
        raise ArtefactError(f"not the file of a router: it has no {MANIFEST}", kind="corrupt")
    manifest = _manifest(bytes(members[MANIFEST]))
    names = sorted(member.filename for member in found)
    if names != sorted([MANIFEST, ARRAYS]):
        message = f"expected the members {MANIFEST} and {ARRAYS}, got {listed(names)}"
        raise ArtefactError(message, kind="tampered")
    if manifest["members"] != {ARRAYS: hashlib.sha256(members[ARRAYS]).hexdigest()}:
        raise ArtefactError(f"{ARRAYS} isn't the one that the manifest was written for", kind="tampered")
    if len(comment) != DIGITS or comment != _frame_digest(file, found):
        raise ArtefactError("a checksum doesn't fit", kind="corrupt")
    return manifest, members[ARRAYS]


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, most: int) -> memoryview:
    """Read a member once, to where it stays: memory that begins at a multiple of `ALIGNMENT`.

    The file may say any size; `most` is its own. A member that says more is found to be cut off.
    """
    size = min(member.file_size, member.compress_size, most)
    memory = np.empty(size + ALIGNMENT - 1, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    content, place = memory.data[begin : begin + size], 0
    with archive.open(member) as source:
        while part := source.read(CHUNK):
            content[place : place + len(part)] = part
            place += len(part)
    memory.setflags(write=False)  # arrays see through a view that is read-only to the memory below
    return memory.data[begin : begin + size]


def _manifest(text: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
        schema = manifest["schema"]
    except Exception as error:
        message = f"{MANIFEST} can't be read ({type(error).__name__}: {error})"
        raise ArtefactError(message, kind="tampered") from error
    if isinstance(schema, int) and schema > SCHEMA:
        wanted = f"this version of headrace, {__version__}, reads up to {SCHEMA}; a later one is needed"
        raise ArtefactError(f"its layout has the number {schema}; {wanted}", kind="newer")
    body = text[: -len(_ending("0" * DIGITS))]
    if schema != SCHEMA or text != body + _ending(hashlib.sha256(body).hexdigest()):
        message = f"{MANIFEST} was changed after it was written: its fingerprint doesn't fit"
        raise ArtefactError(message, kind="tampered")
    return dict(manifest)
