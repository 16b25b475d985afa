"""Damaged files of every kind, for a short while: read as they were meant, or refused in words."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from files_of_strangers import Target, WrongError, attempt, folder_of, made, targets

SEED = 20260

#: Seconds of processor time for all targets, and the fewest inputs of each.
SECONDS, FEWEST = 2.0, 10

#: Inputs that went wrong once, in a folder per target: a number, and the name by which the file was read.
CORPUS = Path(__file__).parents[1] / "corpus"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return {target.name: target for target in targets(tmp_path_factory.mktemp("seeds"))}


def test_valid_files_are_accepted(known: dict[str, Target], tmp_path: Path) -> None:
    for name, target in known.items():
        for file, content in target.valid:
            (tmp_path / file).write_bytes(content)
            assert attempt(target, tmp_path / file), name


def test_damaged_files_are_read_or_refused(known: dict[str, Target], tmp_path: Path) -> None:
    counts: Counter[bool] = Counter()
    for name, target in known.items():
        end, number = time.process_time() + SECONDS / len(known), 0
        while number < FEWEST or time.process_time() < end:
            file, content = made(target, SEED, number)
            (tmp_path / file).write_bytes(content)
            try:
                counts[attempt(target, tmp_path / file)] += 1
            except WrongError as wrong:
                pytest.fail(f"{name}, seed {SEED}, input {number}: {wrong}")
            number += 1
    assert counts[True] > 0
    assert counts[False] > 0


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_inputs_that_went_wrong_once(path: Path, known: dict[str, Target], tmp_path: Path) -> None:
    target = {folder_of(name): target for name, target in known.items()}.get(path.parent.name)
    if target is None:
        pytest.skip(f"packages for {path.parent.name} are missing")
    copied = tmp_path / path.name.partition("-")[2]
    copied.write_bytes(path.read_bytes())
    attempt(target, copied)


#: Inputs that went wrong once, too long for a file: targets with the name and the content of each.
LONG = [
    ("logs of a Recorder", "recorded.jsonl", b'{"headrace": 1, "event": ' + b"[" * 100_000),
    ("decision logs", "decisions.jsonl", b'{"headrace":"decision-log-1","event":' + b"[" * 100_000),
    ("serve.toml", "serve.toml", b"router = " + b"[" * 100_000),
    ("serve.toml", "serve.toml", b"[listen]\nport = " + b"9" * 5000),
    ("serve.toml", "serve.toml", b"[limits]\ntimeout_s = " + b"9" * 400),
    ("serve.toml", "serve.toml", b"[listen]\nport = 0x1" + b"0" * 5000),
    ("serve.toml", "serve.toml", b"router" + b".a" * 2000 + b" = 1"),
]


@pytest.mark.parametrize(("name", "file", "content"), LONG, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(LONG)])
def test_long_inputs_that_went_wrong_once(
    name: str, file: str, content: bytes, known: dict[str, Target], tmp_path: Path
) -> None:
    (tmp_path / file).write_bytes(content)
    attempt(known[name], tmp_path / file)


def test_the_oracle_tells_accidents_from_refusals(tmp_path: Path) -> None:
    def accident(path: Path) -> None:
        int("x")

    def leak(path: Path) -> None:
        raise MemoryError

    def slip(path: Path) -> None:
        {}["quality"]

    for read, message in ((accident, "an accident"), (leak, "MemoryError"), (slip, "KeyError")):
        with pytest.raises(WrongError, match=message):
            attempt(Target("broken", lambda r: ("a", b""), read, ValueError, ()), tmp_path)
