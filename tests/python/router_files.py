"""Files of routers, made whole in memory: slow and obvious, what the package writes is compared with it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from headrace._core import __version__
from headrace.estimators.state import flattened
from headrace.serving.artefact import ARRAYS, MANIFEST, SCHEMA

__all__ = ["forged", "manifest_of", "members", "packed", "reference"]


def reference(values: Mapping[str, Any]) -> bytes:
    """Give the file that holds some values."""
    index: list[list[Any]] = []
    kept: list[tuple[Any, ...]] = []
    data = b""

    def put(array: np.ndarray) -> int:
        nonlocal data
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        array = array.astype(array.dtype.newbyteorder("<"))
        content = (array.dtype.str, order, array.shape, array.tobytes(order))
        if content not in kept:
            kept.append(content)
            index.append([array.dtype.str, order, list(array.shape), len(data)])
            data += content[-1] + bytes(-len(content[-1]) % 64)
        return kept.index(content)

    flat = flattened(dict(values), put)
    arrays = io.BytesIO()
    np.save(arrays, np.frombuffer(data, np.uint8))
    manifest = {"schema": SCHEMA, "headrace": __version__, "values": flat, "arrays": index}
    return packed({MANIFEST: manifest_of(manifest, arrays.getvalue()), ARRAYS: arrays.getvalue()})


def manifest_of(manifest: Mapping[str, Any], arrays: bytes | None = None) -> bytes:
    """Write a manifest, with the checksum of other arrays if they are given, and its fingerprint at the end."""
    content = {name: value for name, value in manifest.items() if name != "fingerprint"}
    if arrays is not None:
        content["members"] = {ARRAYS: hashlib.sha256(arrays).hexdigest()}
    body = json.dumps(content).encode()[:-1]
    return body + f', "fingerprint": "{hashlib.sha256(body).hexdigest()}"}}'.encode()


def packed(members: Mapping[str, bytes]) -> bytes:
    """Make the ZIP; its comment is the SHA-256 of all but itself and the bytes of members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
        archive.comment = b"0" * 64
    raw = frame = buffer.getvalue()
    for member in reversed(archive.infolist()):
        extra = int.from_bytes(raw[member.header_offset + 28 : member.header_offset + 30], "little")
        begin = member.header_offset + 30 + len(member.filename) + extra
        frame = frame[:begin] + frame[begin + member.compress_size :]
    return raw[:-64] + hashlib.sha256(frame[:-64]).hexdigest().encode()


def members(raw: bytes) -> dict[str, bytes]:
    """Give the members of a file."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def forged(raw: bytes, change: Callable[[dict[str, Any]], Any], arrays: bytes | None = None) -> bytes:
    """Change a file, and write all checksums anew."""
    found = members(raw)
    manifest = json.loads(found[MANIFEST])
    change(manifest)
    changed = found if arrays is None else {**found, ARRAYS: arrays}
    return packed({**changed, MANIFEST: manifest_of(manifest, arrays)})
