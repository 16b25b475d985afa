"""Files of routers are written and read in a stream: the same bytes, and little memory beside the arrays."""

from __future__ import annotations

import errno
import io
import os
import threading
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from router_files import forged, members, reference

import headrace as hr
from headrace.atomic_file import draft_of
from headrace.datasets import simulate
from headrace.errors import ArtefactError
from headrace.serving import artefact
from headrace.serving.artefact import ARRAYS, MANIFEST, read_artefact, write_artefact

MEGABYTES = 24
RNG = np.random.default_rng(0)

#: Arrays of every layout and type.
LAYOUTS: dict[str, Any] = {
    "by rows": RNG.normal(size=(7, 5)),
    "by columns": np.asfortranarray(RNG.normal(size=(7, 5))),
    "both": RNG.normal(size=(1, 9)),
    "strided": RNG.normal(size=(9, 8))[::2, 1::3],
    "backwards": RNG.normal(size=12)[::-1],
    "axes turned": RNG.normal(size=(3, 4, 5)).transpose(1, 0, 2),
    "axes reversed": RNG.normal(size=(3, 4, 5)).T,
    "one value, many times": np.broadcast_to(2.5, (4, 3)),
    "big-endian": np.arange(6, dtype=">f8").reshape(2, 3),
    "big-endian by columns": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    "none": np.empty((0, 3)),
    "none by columns": np.empty((3, 0, 2), order="F"),
    "single": np.array(2.5),
    "not a number": np.array([np.nan, -0.0, np.inf]),
    **{kind: np.arange(5).astype(kind) for kind in artefact.TYPES},
}


@contextmanager
def peak() -> Iterator[Callable[[], int]]:
    """Give a function that says how many bytes were taken at most, beside what there was before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def large() -> tuple[dict[str, Any], int]:
    """Make arrays by rows, by columns, and some that are equal; give the bytes of those that a file holds."""
    half = 10**6 * MEGABYTES // 16
    rows = RNG.normal(size=(half // 100, 100))
    columns = np.asfortranarray(RNG.normal(size=(100, half // 100)))
    return {"rows": rows, "columns": columns, "again": rows[:]}, rows.nbytes + columns.nbytes


# The same bytes


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_array_of_every_layout_is_written_as_the_slow_writer_writes_it(name: str, tmp_path: Path) -> None:
    fingerprint = write_artefact(tmp_path / "file", {"array": LAYOUTS[name]})
    assert (tmp_path / "file").read_bytes() == reference({"array": LAYOUTS[name]})
    if LAYOUTS[name].size:
        assert read_artefact(tmp_path / "file").fingerprint == fingerprint


def test_many_arrays_are_written_as_the_slow_writer_writes_them(tmp_path: Path) -> None:
    # Equal ones are kept once, those that differ in their type, shape or order alone aren't.
    zeros = {"f8": np.zeros(8), "i8": np.zeros(8, np.int64), "shape": np.zeros((2, 4)), "order": np.zeros((2, 4)).T}
    values = {**LAYOUTS, **zeros, "copies": [array.copy() for array in LAYOUTS.values()], "names": ("a", {"b": 1.5})}
    write_artefact(tmp_path / "file", values)
    assert (tmp_path / "file").read_bytes() == reference(values)
    loaded = read_artefact(tmp_path / "file").values
    for name, array in LAYOUTS.items():
        np.testing.assert_array_equal(loaded[name], array)
    write_artefact(tmp_path / "again", loaded)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "file").read_bytes()


@pytest.mark.parametrize("values", [{}, {"text": "x" * 3_000_000}])
def test_a_file_without_arrays_is_written_as_the_slow_writer_writes_it(values: Any, tmp_path: Path) -> None:
    write_artefact(tmp_path / "file", values)
    assert (tmp_path / "file").read_bytes() == reference(values)
    assert read_artefact(tmp_path / "file").values == values


def test_a_router_is_written_as_the_slow_writer_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "router.headrace"
    hr.Router(quality="linear", n_folds=2).fit(simulate(60, 3), budget=0.003).save(path)
    assert path.read_bytes() == reference(read_artefact(path).values)


def test_a_member_that_a_zip_calls_large_is_written_as_the_slow_writer_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"array": np.arange(2000)}
    usual = reference(values)
    # From 1.95 GB on there is room for longer sizes in the header.
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", len(members(usual)[ARRAYS]))
    assert len(reference(values)) > len(usual)
    write_artefact(tmp_path / "file", values)
    assert (tmp_path / "file").read_bytes() == reference(values)
    np.testing.assert_array_equal(read_artefact(tmp_path / "file").values["array"], values["array"])


@pytest.mark.parametrize("length", [0, 1, 64, 10**6, 2**31 - 1])
def test_the_header_of_arrays_is_that_of_numpy(length: int) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (length,)})
    assert artefact._header(length) == header.getvalue()
    assert len(header.getvalue()) % artefact.ALIGNMENT == 0


# Memory


def test_saving_takes_no_copy_of_the_arrays(tmp_path: Path) -> None:
    values, size = large()
    with peak() as taken:
        write_artefact(tmp_path / "file", values)
        assert taken() < 0.2 * size
    assert size < (tmp_path / "file").stat().st_size < 1.01 * size


def test_loading_takes_one_copy_of_the_arrays(tmp_path: Path) -> None:
    values, size = large()
    write_artefact(tmp_path / "file", values)
    with peak() as taken:
        loaded = read_artefact(tmp_path / "file").values
        assert size < taken() < 1.2 * size
    for name, array in values.items():
        np.testing.assert_array_equal(loaded[name], array)
    assert loaded["columns"].flags.f_contiguous


def test_loaded_arrays_are_aligned_and_nobody_can_write_to_them(tmp_path: Path) -> None:
    arrays = {str(n): np.arange(n) for n in range(1, 40)}
    write_artefact(tmp_path / "file", arrays)
    for array in read_artefact(tmp_path / "file").values.values():
        assert array.ctypes.data % artefact.ALIGNMENT == 0
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)


@pytest.mark.parametrize("size", [2**31 - 1, 2**32 - 2])
def test_a_size_that_the_file_has_not_is_not_taken(size: int, tmp_path: Path) -> None:
    write_artefact(tmp_path / "file", {"array": np.arange(1000)})
    raw = bytearray((tmp_path / "file").read_bytes())
    for name in (MANIFEST, ARRAYS):
        entry = raw.rindex(b"PK\x01\x02", 0, raw.rindex(name.encode()))
        larger = raw.copy()
        larger[entry + 20 : entry + 28] = 2 * size.to_bytes(4, "little")  # compressed and not
        (tmp_path / "forged").write_bytes(larger)
        with peak() as taken:
            with pytest.raises(ArtefactError) as raised:
                read_artefact(tmp_path / "forged")
            assert taken() < 2 * artefact.CHUNK
        assert raised.value.kind == "corrupt"


def test_members_that_are_there_twice_are_held_once(tmp_path: Path) -> None:
    values, size = large()
    write_artefact(tmp_path / "file", values)
    arrays = members((tmp_path / "file").read_bytes())[ARRAYS]
    with zipfile.ZipFile(tmp_path / "twice", "w") as archive:
        archive.writestr(ARRAYS, arrays)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(ARRAYS, arrays)
    with peak() as taken:
        with pytest.raises(ArtefactError, match=r"it has no manifest\.json"):
            read_artefact(tmp_path / "twice")
        assert taken() < 1.2 * size


# Writing


def test_too_much_for_a_file_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"array": np.arange(1000)}
    limit = sum(map(len, members(reference(values)).values()))
    monkeypatch.setattr(artefact, "LARGEST", limit)
    write_artefact(tmp_path / "file", values)
    monkeypatch.setattr(artefact, "LARGEST", limit - 1)
    monkeypatch.setattr(artefact, "draft_of", None)
    with pytest.raises(ArtefactError, match=r"^decider: its arrays take more than 2 GB; a file can't hold") as raised:
        write_artefact(tmp_path / "file", values)
    assert raised.value.kind == "unsupported"


def test_arrays_that_change_while_they_are_saved_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(1000.0)

    @contextmanager
    def meanwhile(path: Path) -> Iterator[Path]:
        with draft_of(path) as draft:
            array[500] += 1.0
            yield draft

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(artefact, "draft_of", meanwhile)
    with pytest.raises(ArtefactError, match=r"^decider: its arrays changed while they were saved$") as raised:
        write_artefact(tmp_path / "file", {"array": array})
    assert raised.value.kind == "unsupported"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("room", [0, 10, 300, 40_000, 80_500])
def test_a_disk_that_is_full_leaves_what_was_there(room: int, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path, values = tmp_path / "file", {"array": np.arange(10_000.0)}
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        with pytest.raises(OSError, match="too large"):
            write_artefact(path, values)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# Reading


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="it needs named pipes")
def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for raw, kind in ((reference({"array": np.arange(50_000)}), None), (b"nothing", "corrupt")):
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(raw,))
        writer.start()
        if kind is None:
            np.testing.assert_array_equal(read_artefact(tmp_path / "pipe").values["array"], np.arange(50_000))
        else:
            with pytest.raises(ArtefactError, match=r"^path: pipe: not a whole file of a router") as raised:
                read_artefact(tmp_path / "pipe")
            assert raised.value.kind == kind
        writer.join()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=tmp_path.name):
        read_artefact(tmp_path)


def test_a_disk_that_fails_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    write_artefact(tmp_path / "file", {"array": np.arange(9)})
    monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
    with pytest.raises(OSError, match="Input/output"):
        read_artefact(tmp_path / "file")


def test_every_file_whose_begin_is_cut_off_is_found(tmp_path: Path) -> None:
    raw = reference({"array": np.arange(1000)})
    for size in [*range(1, 200), *range(200, len(raw), 97)]:
        (tmp_path / "file").write_bytes(raw[size:])
        with pytest.raises(ArtefactError, match=r"^path: file: ") as raised:
            read_artefact(tmp_path / "file")
        assert raised.value.kind == "corrupt", size


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"v\x00{", b"u\x00{"),
        (b"v\x00{", b"\xff\xff{"),
        (b", 'shape'", b",  'shape'"),
        (b"(8064,)", b"(08064,)"),
        (b"(8064,)", b"(8063,)"),
        (b"(8064,)", b"(9999,)"),
    ],
)
def test_arrays_with_another_header_are_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    raw = reference({"array": np.arange(1008)})
    arrays = members(raw)[ARRAYS].replace(old, new)
    assert arrays != members(raw)[ARRAYS]
    (tmp_path / "file").write_bytes(forged(raw, lambda manifest: None, arrays))
    with pytest.raises(ArtefactError, match="expected the bytes that save writes, as one array") as raised:
        read_artefact(tmp_path / "file")
    assert raised.value.kind == "tampered"
