"""Files of routers that are damaged, changed, of a later version, or hostile: a clear error, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from router_files import forged, members, packed

import headrace as hr
from headrace.datasets import simulate
from headrace.errors import ArtefactError
from headrace.serving.artefact import ARRAYS, MANIFEST, SCHEMA


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "router.headrace"
    hr.Router(quality="linear", n_folds=2).fit(simulate(60, 3), budget=0.003).save(path)
    return path.read_bytes()


def refused(folder: Path, raw: bytes) -> ArtefactError:
    path = folder / "router.headrace"
    path.write_bytes(raw)
    with pytest.raises(ArtefactError, match=r"^path: router\.headrace: ") as raised:
        hr.load(path)
    return raised.value


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


# Damage


def test_every_flipped_bit_is_found(saved: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    places = np.linspace(0, len(saved) - 1, 200).astype(int)
    # And the ends, where the ZIP keeps its tables.
    ends = [*range(60), *range(len(saved) - 320, len(saved))]
    for place in {*places.tolist(), *ends}:
        damaged = bytearray(saved)
        damaged[place] ^= 1 << int(rng.integers(8))
        assert refused(tmp_path, bytes(damaged)).kind in ("corrupt", "tampered"), place


def test_damage_within_members_is_called_damage(saved: bytes, tmp_path: Path) -> None:
    for place in np.linspace(200, len(saved) - 400, 50).astype(int).tolist():
        damaged = bytearray(saved)
        damaged[place] ^= 4
        error = refused(tmp_path, bytes(damaged))
        assert error.kind == "corrupt", (place, error)


def test_every_file_that_is_cut_off_is_found(saved: bytes, tmp_path: Path) -> None:
    for size in [*range(0, len(saved), 1024), len(saved) - 1]:
        assert refused(tmp_path, saved[:size]).kind == "corrupt", size


@pytest.mark.parametrize("raw", [b"", b"{}", b"PK", pickle.dumps([1, 2])])
def test_another_file_is_no_router(raw: bytes, tmp_path: Path) -> None:
    assert refused(tmp_path, raw).kind == "corrupt"


def test_a_zip_of_something_else_is_no_router(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    assert "it has no manifest.json" in str(refused(tmp_path, (tmp_path / "other.zip").read_bytes()))


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        hr.load(tmp_path / "nothing.headrace")


# Later versions


def test_a_later_layout_is_named(saved: bytes, tmp_path: Path) -> None:
    error = refused(tmp_path, forged(saved, lambda manifest: manifest.update(schema=SCHEMA + 1)))
    assert error.kind == "newer"
    assert f"the number {SCHEMA + 1}" in str(error)


# Changes


def test_a_member_that_was_changed_is_found(saved: bytes, tmp_path: Path) -> None:
    found = members(saved)
    for name, old, new in ((MANIFEST, b'"share": ', b'"share":  '), (ARRAYS, found[ARRAYS][-80:], b"?" * 80)):
        changed = found[name].replace(old, new)
        assert changed != found[name]
        assert refused(tmp_path, packed(found | {name: changed})).kind == "tampered"


def test_a_member_too_many_or_too_few_is_found(saved: bytes, tmp_path: Path) -> None:
    found = members(saved)
    error = refused(tmp_path, packed({**found, "notes.txt": b"hello"}))
    assert error.kind == "tampered"
    assert "notes.txt" in str(error)
    assert refused(tmp_path, packed({MANIFEST: found[MANIFEST]})).kind == "tampered"
    assert refused(tmp_path, packed({ARRAYS: found[ARRAYS]})).kind == "corrupt"


def test_a_second_manifest_is_found(saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "router.headrace"
    path.write_bytes(saved)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MANIFEST, members(saved)[MANIFEST])
    assert refused(tmp_path, path.read_bytes()).kind == "tampered"


def test_members_are_never_unpacked(saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "packed"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members(saved).items():
            archive.writestr(name, data)
    assert refused(tmp_path, path.read_bytes()).kind == "tampered"


def test_a_planted_pickle_never_runs(saved: bytes, tmp_path: Path) -> None:
    found, mark = members(saved), tmp_path / "it ran"
    bomb = pickle.dumps(Bomb(mark))
    objects = io.BytesIO()
    np.save(objects, np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    attempts = {
        "member": packed({**found, "estimator.pkl": bomb}),
        "manifest": packed({**found, MANIFEST: bomb}),
        "arrays": packed({**found, ARRAYS: bomb}),
        "arrays with checksums": forged(saved, lambda manifest: None, bomb),
        "objects with checksums": forged(saved, lambda manifest: None, objects.getvalue()),
    }
    for name, raw in attempts.items():
        assert refused(tmp_path, raw).kind == "tampered", name
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists()


def deep(manifest: dict[str, Any]) -> None:
    nested: list[Any] = []
    for _ in range(400):
        nested = [nested]
    manifest["values"]["budget"] = {"cost": nested}


FORGERIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no values": lambda m: m.pop("values"),
    "other values": lambda m: m.update(values=[1, 2]),
    "a class of Python": lambda m: m["values"].update(estimators={"$part": "os.system", "state": {}}),
    "an estimator of another group": lambda m: m["values"].update(
        estimators={"$estimator": "pytest", "group": "console_scripts", "state": {}}
    ),
    "an unknown mark": lambda m: m["values"].update(answer={"$eval": "1 + 1"}),
    "a part with other attributes": lambda m: m["values"].update(
        estimators={"$part": "constant-cost", "state": {"predict": 1}}
    ),
    "an array that isn't there": lambda m: m["arrays"].clear(),
    "an array beyond the end": lambda m: m["arrays"][0].__setitem__(2, [10**9]),
    "an array before the start": lambda m: m["arrays"][0].__setitem__(3, -64),
    "an array of objects": lambda m: m["arrays"][0].__setitem__(0, "|O"),
    "an array of negative shape": lambda m: m["arrays"][0].__setitem__(2, [-1]),
    "an array of a shape beyond all numbers": lambda m: m["arrays"][0].__setitem__(2, [2**40, 2**40]),
    "an array of half a row": lambda m: m["arrays"][0].__setitem__(2, [0.5]),
    "a policy of an unknown rule": lambda m: m["values"]["policy"].update(rule="none"),
    "a policy without models": lambda m: m["values"]["policy"].pop("models"),
    "other models": lambda m: m["values"].update(models=["a", "b", "c"]),
    "a field too many": lambda m: m["values"].update(extra=1),
    "a field too few": lambda m: m["values"].pop("estimators"),
    "a path of something else": lambda m: m["values"].update(path=3),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forger_who_writes_checksums_gets_no_further_than_an_error(name: str, saved: bytes, tmp_path: Path) -> None:
    assert refused(tmp_path, forged(saved, FORGERIES[name])).kind == "tampered"


def test_a_forged_header_of_long_ago_is_refused_without_a_warning(saved: bytes, tmp_path: Path) -> None:
    arrays = members(saved)[ARRAYS]
    of_python_2 = re.sub(rb"\(([0-9]+),\), \} ", rb"(\1L,), }", arrays, count=1)
    assert len(of_python_2) == len(arrays)
    assert of_python_2 != arrays
    assert refused(tmp_path, forged(saved, lambda manifest: None, of_python_2)).kind == "tampered"


@pytest.mark.parametrize(
    "kind", ["a", "a5", "S", "U3", "<M8[s]", "float64", "i8,i8", "", 8, None, ["<f8"], "<f8" * 9000]
)
def test_a_forged_type_of_column_is_refused_without_a_warning(kind: Any, saved: bytes, tmp_path: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["values"]["query_columns"] = {"size": {"$tuple": [{"$dtype": kind}, {"$tuple": []}]}}

    error = refused(tmp_path, forged(saved, change))
    assert error.kind == "tampered"
    assert "values: expected a type of column that save writes" in str(error)
    assert len(str(error)) < 200


def test_the_forger_of_these_tests_can_write_a_file(saved: bytes, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes(forged(saved, lambda manifest: None))
    assert hr.load(tmp_path / "same").models == ("model-1", "model-2", "model-3")


# Killed while saving

KILLED = """
import os, random, signal, sys, time
import headrace as hr

folder = sys.argv[1]
old, new = hr.load(f"{folder}/old"), hr.load(f"{folder}/new")
path, seen, clock = f"{folder}/router.headrace", [], random.Random(0)
for _ in range(50):
    old.save(path)
    child = os.fork()
    if child == 0:
        while True:
            new.save(path)
            old.save(path)
    time.sleep(clock.uniform(0.0005, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    seen.append(hr.load(path).point.cost)
print(sorted(set(seen)) == sorted({old.point.cost, new.point.cost}), len(seen))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it needs os.fork")
def test_a_save_that_is_killed_leaves_the_old_file_or_the_new_one(saved: bytes, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(saved)
    hr.load(tmp_path / "old").with_budget(0.002).save(tmp_path / "new")
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "50"]
