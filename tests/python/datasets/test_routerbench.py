"""RouterBench's published files: read as data, refused with nothing run where they aren't, and downloaded."""

from __future__ import annotations

import builtins
import copyreg
import functools
import os
import pickle
import pickletools
import struct
import sys
import tracemalloc
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.datasets import download_routerbench, load_routerbench
from headrace.datasets.pickled_frame import NAMES, pickled_columns

NAN = float("nan")
MODELS = ("gpt-4-1106-preview", "WizardLM/WizardLM-13B-V1.2")
PROTOCOLS = (2, 3, 4, 5)


def published(n_rows: int = 6) -> Any:
    """Make a frame in RouterBench's layout, of plain columns as in its day."""
    pandas = pytest.importorskip("pandas")
    columns: dict[str, Any] = {
        "sample_id": [f"arc.test.{row}" for row in range(n_rows)],
        "prompt": [f"Which one, é or ∑? {row}" for row in range(n_rows)],
        "eval_name": ["arc-challenge"] * n_rows,
    }
    for j, model in enumerate(MODELS):
        columns[model] = [float((row + j) % 2) for row in range(n_rows)]
        columns[f"{model}|model_response"] = [f"['{model} {row}']" for row in range(n_rows)]
        columns[f"{model}|total_cost"] = [0.001 * (row + 1) * (10 if j else 1) for row in range(n_rows)]
    columns["oracle_model_to_route_to"] = [MODELS[0]] * (n_rows - 1) + ["no_model_correct"]
    frame = pandas.DataFrame(columns).astype(
        {name: object for name, cells in columns.items() if isinstance(cells[0], str)}
    )
    frame.columns = pandas.Index(list(columns), dtype=object)
    return frame


def written(path: Path, thing: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(thing, protocol=protocol))
    return path


# What is read


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame,
        lambda frame: frame.iloc[[4, 1, 0]],
        lambda frame: frame.set_index("sample_id", drop=False),
        lambda frame: frame.copy(),
        lambda frame: frame[sorted(frame.columns)],
    ],
    ids=["as it is", "rows taken", "rows named", "copied", "columns sorted"],
)
def test_a_published_file_is_the_table_that_pandas_reads(
    tmp_path: Path, protocol: int, change: Callable[[Any], Any]
) -> None:
    frame = change(published())
    table = load_routerbench(written(tmp_path / "routerbench_0shot.pkl", frame, protocol))
    expected = hr.Outcomes.from_frame(frame)
    assert set(table.models) == set(MODELS)
    assert (table.models, table.ids, table.cost_name) == (expected.models, expected.ids, "cost")
    np.testing.assert_array_equal(table.quality, expected.quality)
    np.testing.assert_array_equal(table.cost, expected.cost)
    assert table.queries["text"].tolist() == frame["prompt"].tolist()
    assert table.responses["answer"].tolist() == expected.responses["answer"].tolist()
    assert "oracle_model_to_route_to" not in {*table.queries, *table.responses}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_columns_of_every_plain_kind_are_read(tmp_path: Path, protocol: int) -> None:
    pandas = pytest.importorskip("pandas")
    cells: dict[str, Any] = {
        "text": np.array(["a", None, "b"], dtype=object),
        "mixed": np.array([1, np.float64(0.5), None], dtype=object),
        "lists": np.array(["x", ["y", 1], None], dtype=object),
        "numbers": np.array([1.5, NAN, -2.0]),
        "more": np.array([0.25, 0.5, 0.75]),
        "whole": np.array([1, -2, 3], dtype=np.int32),
        "truth": np.array([True, False, True]),
    }
    frame = pandas.DataFrame({name: pandas.Series(values, dtype=values.dtype) for name, values in cells.items()})
    frame.columns = pandas.Index(list(cells), dtype=object)
    found = pickled_columns(written(tmp_path / "t.pkl", frame, protocol))
    assert list(found) == list(cells)
    for name in ("numbers", "more", "whole", "truth"):
        np.testing.assert_array_equal(found[name], cells[name])
        assert found[name].dtype == cells[name].dtype
    assert found["text"].tolist() == ["a", None, "b"]
    assert found["mixed"].tolist() == [1, 0.5, None]
    assert found["lists"].tolist() == ["x", "['y', 1]", None]


def test_numbers_in_fortran_order_and_of_the_other_byte_order(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    block = np.asfortranarray(np.arange(6.0).reshape(3, 2)).astype(">f8", order="F")
    frame = pandas.DataFrame(block, columns=pandas.Index(["a", "b"], dtype=object))
    for protocol in PROTOCOLS:
        found = pickled_columns(written(tmp_path / "t.pkl", frame, protocol))
        assert {name: cells.tolist() for name, cells in found.items()} == {"a": [0, 2, 4], "b": [1, 3, 5]}


#: Today's names, and those of pandas 1.3 to 2 and NumPy 1.
FORMERLY = {
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
    "pandas DataFrame": "pandas.core.frame DataFrame",
    "pandas Index": "pandas.core.indexes.base Index",
    "pandas RangeIndex": "pandas.core.indexes.range RangeIndex",
    "pandas._libs.internals _unpickle_block": "pandas.core.internals.blocks new_block",
}


def test_names_of_older_versions_are_known(tmp_path: Path) -> None:
    # Protocol 2 writes names as lines of text, so that they can be put in without counting bytes.
    data = pickle.dumps(published(), protocol=2)
    replaced = 0
    for now, then in FORMERLY.items():
        old, new = (f"c{name}".replace(" ", "\n").encode() for name in (now, then))
        replaced += old in data
        data = data.replace(old, new)
    assert replaced == 5, "all but the buffers, which need protocol 5"
    (tmp_path / "old.pkl").write_bytes(data)
    assert load_routerbench(tmp_path / "old.pkl").ids == hr.Outcomes.from_frame(published()).ids


def test_buffers_of_older_numpy_are_known(tmp_path: Path) -> None:
    data = pickle.dumps(published(), protocol=5)
    names = [b"\x8c\x13numpy._core.numeric", b"\x8c\x12numpy.core.numeric"]
    assert names[0] in data
    # Frames of bytes announce their length, so the one that holds the name is made a byte shorter.
    start = data.index(b"\x95") + 1
    length = int.from_bytes(data[start : start + 8], "little")
    assert start + 8 + length == len(data), "one frame"
    data = data[:start] + (length - 1).to_bytes(8, "little") + data[start + 8 :]
    (tmp_path / "old.pkl").write_bytes(data.replace(*names))
    assert load_routerbench(tmp_path / "old.pkl").ids == hr.Outcomes.from_frame(published()).ids


def test_other_files_are_read_as_ever(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = published()
    frame.to_csv(tmp_path / "routerbench_0shot.csv", index=False)
    table = load_routerbench(tmp_path / "routerbench_0shot.csv")
    assert (table.ids, table.models) == (tuple(frame["sample_id"]), MODELS)
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_routerbench(tmp_path / "nowhere.csv")


# What is refused

RUN: list[Any] = []


def ran(*arguments: Any) -> str:
    """Notice that a pickle has run something."""
    RUN.append(arguments)
    return "ran"


def reconstruct() -> Callable[..., Any]:
    """Give what a pickled array is made by: NumPy 1 has it elsewhere."""
    made: Callable[..., Any] = np.zeros(0).__reduce__()[0]
    return made


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.function, self.arguments, self.state = function, arguments, state

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.function, self.arguments, *([] if self.state is None else [self.state]))


class Stateful:
    """Runs something when its state is set."""

    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}

    def __setstate__(self, state: Any) -> None:
        ran(state)


def in_a_cell(thing: Any) -> Any:
    frame = published()
    cells = np.empty(len(frame), dtype=object)
    cells[:] = [thing] * len(frame) if not isinstance(thing, list) else None
    cells[0] = thing
    frame["prompt"] = cells
    return frame


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda mark: Calls(os.system, f"touch {mark}"),
    "eval": lambda mark: Calls(builtins.eval, f"open({str(mark)!r}, 'w').close()"),
    "exec": lambda mark: Calls(builtins.exec, f"open({str(mark)!r}, 'w').close()"),
    "open": lambda mark: Calls(builtins.open, str(mark), "w"),
    "getattr": lambda mark: Calls(getattr, Calls(__import__, "os"), "system"),
    "a function of the tests": lambda mark: Calls(ran, 1),
    "partial": lambda mark: Calls(functools.partial, ran, 1),
    "setstate": lambda mark: Stateful(),
    "in a cell": lambda mark: in_a_cell(Calls(ran, 1)),
    "as the state of an array": lambda mark: Calls(reconstruct(), np.ndarray, (0,), b"b", state=()),
    "a function of numpy": lambda mark: Calls(np.fromfile, str(mark)),
    "load of numpy": lambda mark: Calls(np.load, str(mark)),
    "an extension code": lambda mark: Coded(),
}


class Coded:
    """Pickled by a code of the registry of extensions, when there is one."""


def refused(path: Path, message: str = "refused: ") -> None:
    RUN.clear()
    with pytest.raises(ValueError, match=rf"{path.name}: {message}.*nothing was run"):
        load_routerbench(path)
    assert RUN == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_pickle_names_isnt_run(tmp_path: Path, name: str, protocol: int) -> None:
    mark = tmp_path / "mark"
    refused(written(tmp_path / "t.pkl", HOSTILE[name](mark), protocol))
    assert not mark.exists()


def test_the_name_that_is_refused_is_told(tmp_path: Path) -> None:
    system = f"{os.system.__module__}.system"  # posix.system
    refused(written(tmp_path / "t.pkl", Calls(os.system, "true")), f"refused: it names {system}, which no table")


def test_an_extension_that_was_loaded_before_is_refused(tmp_path: Path) -> None:
    # What is in the cache of extensions is reached without a look-up of its name.
    copyreg.add_extension(ran.__module__, "ran", 200)
    try:
        data = pickle.dumps(Calls(ran, 1), protocol=2)
        assert b"\x82\xc8" in data
        assert pickle.loads(data) == "ran"
        (tmp_path / "t.pkl").write_bytes(data)
        refused(tmp_path / "t.pkl", "refused: it names the extension 200")
    finally:
        copyreg.remove_extension(ran.__module__, "ran", 200)
        copyreg.clear_extension_cache()


def hand_made(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


FRAME, RECONSTRUCT = b"cpandas\nDataFrame\n", b"cnumpy._core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04",
        b"\x80\x05not a pickle",
        hand_made(b"cposix\nsystem\n", b"X\x04\x00\x00\x00true", b"\x85R"),
        hand_made(b"c__builtin__\neval\n", b"X\x03\x00\x00\x001+1", b"\x85R"),
        # The name of a stand-in, called with a name in it, and names within names.
        hand_made(b"cpandas\nDataFrame.__init__\n"),
        hand_made(b"cheadrace.datasets.pickled_frame\n_Note\n"),
        hand_made(b"cnumpy\nndarray.tofile\n"),
        # State for a stand-in itself, not for what it made.
        hand_made(FRAME, b"}b"),
        hand_made(FRAME, b"N}X\x0c\x00\x00\x00__setstate__", RECONSTRUCT, b"s\x86b"),
        # A stand-in called, and what it made called again.
        hand_made(FRAME, b")R)R"),
        hand_made(FRAME, b")\x81"),
        # A memo that was never set, or is set to be called.
        hand_made(b"h\x07"),
        hand_made(b"X\x04\x00\x00\x00evalq\x01h\x01)R"),
        # Persistent ids, out-of-band buffers, extension codes.
        hand_made(b"Pabc\n"),
        b"\x80\x05\x97.",
        hand_made(b"\x82\x07"),
        # Bytes that aren't there, and memory for 2**32 objects.
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.",
        hand_made(b"Nr\xff\xff\xff\xff"),
        hand_made(b"i__builtin__\nlist\n"),
        hand_made(b"(c__builtin__\nlist\no"),
    ],
)  # fmt: skip
def test_hand_made_pickles_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.pkl").write_bytes(data)
    refused(tmp_path / "t.pkl")
    # Nothing stays behind for the next file.
    load_routerbench(written(tmp_path / "good.pkl", published()))


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        ({"a|quality": [1]}, "it holds no pandas DataFrame"),
        (np.arange(3), "it holds no pandas DataFrame"),
        (lambda: published()[["prompt"]].astype("category"), r"it names pandas\."),
        (lambda: published().astype({"prompt": "string"}), "it names "),
        (lambda: published().rename(columns={"prompt": 3}), "its columns have names other than text"),
        (lambda: in_a_cell({"a": 1}), "column 'prompt' has cells that are neither numbers nor text"),
        (lambda: in_a_cell([["a"]]), "column 'prompt' has cells that are neither numbers nor text"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_other_things_are_refused_by_name(tmp_path: Path, thing: Any, message: str) -> None:
    refused(written(tmp_path / "t.pkl", thing() if callable(thing) else thing), f"refused: {message}")


def test_files_cut_or_damaged_anywhere_are_refused_or_read(tmp_path: Path) -> None:
    data = pickle.dumps(published(3), protocol=4)
    path, rng = tmp_path / "t.pkl", np.random.default_rng(0)
    for end in range(0, len(data) - 1, 7):
        path.write_bytes(data[:end])
        refused(path)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(1500):
        damaged = bytearray(data)
        for place in rng.integers(2, len(data), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_routerbench(path)
            outcomes["read"] += 1
        except ValueError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 50, outcomes


def test_a_frame_of_another_layout_is_refused_with_its_columns(tmp_path: Path) -> None:
    frame = published()[["sample_id", "prompt"]]
    with pytest.raises(ValueError, match=r"no models found.*'sample_id', 'prompt'"):
        load_routerbench(written(tmp_path / "t.pkl", frame))


def test_names_on_the_list_are_never_looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frame = published()
    data = {protocol: pickle.dumps(frame, protocol=protocol) for protocol in PROTOCOLS}
    imported: list[str] = []
    real = builtins.__import__

    def spied(name: str, *arguments: Any) -> Any:
        imported.append(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", spied)
    for protocol in PROTOCOLS:
        (tmp_path / "t.pkl").write_bytes(data[protocol])
        pickled_columns(tmp_path / "t.pkl")
    assert not [name for name in imported if name.startswith("pandas")]
    listed = {name for names in NAMES.values() for name in names}
    for content in data.values():
        globals_ = [arg for op, arg, _ in pickletools.genops(content) if op.name == "GLOBAL"]
        assert {str(arg).replace(" ", ".") for arg in globals_} <= listed


def test_pickles_are_refused_everywhere_else_and_the_safe_way_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "routerbench_0shot.pkl", published())
    with pytest.raises(ValueError, match=r"a pickle is refused.*headrace\.datasets\.load_routerbench"):
        hr.Outcomes.from_file(path)


# Download


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Stand in for huggingface_hub: it serves one file, and notes what was asked."""
    asked: list[dict[str, Any]] = []
    module = types.ModuleType("huggingface_hub")

    def hf_hub_download(**arguments: Any) -> str:
        asked.append(arguments)
        return str(written(tmp_path / arguments["filename"], published()))

    module.hf_hub_download = hf_hub_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return types.SimpleNamespace(module=module, asked=asked)


@pytest.mark.parametrize("shots", [0, 5])
def test_a_published_file_is_downloaded_by_its_name(hub: types.SimpleNamespace, shots: int) -> None:
    path = download_routerbench(shots)
    assert path.name == f"routerbench_{shots}shot.pkl"
    assert hub.asked == [{"repo_id": "withmartian/routerbench", "filename": path.name, "repo_type": "dataset"}]
    assert len(load_routerbench(path)) == 6


def test_a_download_that_fails_says_why_and_what_to_do(hub: types.SimpleNamespace) -> None:
    def offline(**_: Any) -> str:
        raise RuntimeError("no route to the hub.\nmore")

    hub.module.hf_hub_download = offline
    with pytest.raises(OSError, match=r"routerbench_0shot\.pkl can't be downloaded.*no route to the hub\. Without a"):
        download_routerbench()
    with pytest.raises(ValueError, match=r"shots: expected 0 or 5, got 3"):
        download_routerbench(3)


def test_a_download_without_the_hub_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'headrace\[hub\]'"):
        download_routerbench()


class Made:
    """Pickled as a call of something, and the state that it is given."""

    def __init__(self, what: Any, *args: Any, state: Any = None) -> None:
        self.reduced = (what, args) if state is None else (what, args, state)

    def __reduce__(self) -> Any:
        return self.reduced


def shared(cells: Any, n_columns: int) -> bytes:
    """Pickle a frame whose columns are one array, named many times."""
    pandas = pytest.importorskip("pandas")
    from pandas._libs.internals import _unpickle_block
    from pandas.core.internals.managers import BlockManager

    whole = cells[None]
    blocks = tuple(Made(_unpickle_block, whole, slice(j, j + 1, 1), 2) for j in range(n_columns))
    axes = [pandas.Index([f"c{j}" for j in range(n_columns)], dtype=object)]
    return pickle.dumps(Made(pandas.DataFrame, state={"_mgr": Made(BlockManager, blocks, axes)}), protocol=4)


@pytest.mark.parametrize("kind", ["length", "numbers", "objects", "text"])
def test_a_small_pickle_takes_little_memory(tmp_path: Path, kind: str) -> None:
    n = 20_000
    if kind == "length":
        data, message = b"\x80\x05\x96" + struct.pack("<Q", 3_000_000_000) + b".", "it has fewer bytes than it says"
    elif kind == "text":
        cells, text = np.empty(n, dtype=object), ["x" * n]
        for row in range(n):
            cells[row] = text
        data, message = shared(cells, 1), "its text is more than 20 times as long as the file"
    else:
        cells = np.zeros(n, dtype="u1" if kind == "numbers" else object)
        data, message = shared(cells, 400), "it has more cells than bytes"
    (tmp_path / "t.pkl").write_bytes(data)
    tracemalloc.start()
    try:
        refused(tmp_path / "t.pkl", f"refused: {message}")
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
