"""Files that strangers may give us, mutated: each is read as it was meant, or refused in words, and no more than that.

A target makes an input of its seeds, small valid files that the package writes or that the layouts' own records give,
and reads it. What must hold for every input (`attempt`):

- it is accepted, or refused by an error that the target documents, raised by a line of ours and no accident;
- no warning, no more than `MOST_SECONDS` of processor time, no MemoryError below a limit of memory;
- a router's file that is accepted decides as the original does; a table that is accepted is the same once it was saved
  and read again; a session that is resumed is the same when it is kept and resumed once more.

An input follows from the seed, the target and its number alone.
"""

from __future__ import annotations

import gzip
import json
import linecache
import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import decision_logs
import numpy as np
import small_files
from mutated_files import mutated, mutated_json, mutated_value
from router_files import forged, members

import headrace as hr
from headrace.datasets import load_routerbench, simulate
from headrace.errors import ArtefactError
from headrace.gateway.settings import read_settings
from headrace.runner.log import read_log
from headrace.serving.artefact import ARRAYS

__all__ = ["MOST_SECONDS", "Target", "WrongError", "attempt", "folder_of", "made", "targets"]

#: Processor time of one input: far above what any of them takes, far below a hang.
MOST_SECONDS = 5.0

PACKAGE = str(Path(hr.__file__).parent)

HAS_DATA_EXTRA = all(find_spec(name) for name in ("pyarrow", "narwhals"))

#: As what a table is saved that was accepted.
SUFFIXES = (".jsonl", ".csv", ".parquet") if HAS_DATA_EXTRA else (".jsonl",)


class WrongError(AssertionError):
    """An input went wrong; the message says how."""


class Target(NamedTuple):
    """What reads a kind of file.

    Attributes
    ----------
    name : str
    make : callable
        Gives the name and the content of an input.
    read : callable
        Reads it; raises `refusal`, or WrongError where what was accepted isn't as it must be.
    refusal : exception type, or several
        As documented.
    valid : sequence of (str, bytes)
        Its seeds.
    """

    name: str
    make: Callable[[random.Random], tuple[str, bytes]]
    read: Callable[[Path], Any]
    refusal: type[Exception] | tuple[type[Exception], ...]
    valid: Sequence[tuple[str, bytes]]


def made(target: Target, seed: int, number: int) -> tuple[str, bytes]:
    """Make an input."""
    return target.make(random.Random(f"{seed} {target.name} {number}"))


def folder_of(name: str) -> str:
    """Give a target's name as that of a folder or a file."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def attempt(target: Target, path: Path) -> bool:
    """Read an input; say whether it was accepted.

    Raises
    ------
    WrongError
        Something that must hold doesn't.
    """
    refusal: Exception | None = None
    begun = time.process_time()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            target.read(path)
        except WrongError:
            raise
        except target.refusal as error:
            refusal = error
        except Exception as error:
            raise WrongError(f"{type(error).__name__}: {error}") from error
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise WrongError(f"a panic, {type(error).__name__}: {error}") from error
    seconds = time.process_time() - begun
    if refusal is not None and (why := _no_refusal(refusal)):
        raise WrongError(f"{why}: {type(refusal).__name__}: {refusal}") from refusal
    if warned:
        raise WrongError(f"a warning: {warned[0].message}")
    if seconds > MOST_SECONDS:
        raise WrongError(f"{seconds:.1f} s of processor time")
    return refusal is None


def _no_refusal(error: BaseException) -> str | None:
    """Say why an error of the right type is no refusal: memory ran out below it, or nobody meant to raise it."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, MemoryError):
            return "memory ran out"
        below = below.__cause__ or below.__context__
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    assert last is not None
    file = last.tb_frame.f_code.co_filename
    ours = file.startswith(PACKAGE) and linecache.getline(file, last.tb_lineno).strip().startswith("raise ")
    return None if ours else f"an accident in {Path(file).name}:{last.tb_lineno}"


# Inputs


def _bytes_of(name: str, seeds: Sequence[bytes], r: random.Random) -> tuple[str, bytes]:
    return name, mutated(r, seeds)


def _json_of(name: str, seeds: Sequence[bytes], r: random.Random) -> tuple[str, bytes]:
    if r.random() < 0.3:
        return name, mutated(r, seeds)
    return name, mutated_json(r, r.choice(seeds), in_lines=name.endswith(".jsonl"))


def _packed_of(seeds: Sequence[bytes], r: random.Random) -> tuple[str, bytes]:
    """Compress an input, or damage the compressed bytes of one."""
    name, packed = _packed(_json_of("log.jsonl", seeds, r)[1])
    return name, packed if r.random() < 0.6 else mutated(r, [packed])


def _packed(data: bytes) -> tuple[str, bytes]:
    return "log.jsonl.gz", gzip.compress(data, 1, mtime=0)


def _forged_of(raw: bytes, r: random.Random) -> tuple[str, bytes]:
    """Change what a router's file says, and write all its checksums anew."""

    def change(manifest: dict[str, Any]) -> None:
        for _ in range(r.choice((1, 1, 2))):
            part = r.choice(("values", "values", "values", "arrays"))
            manifest[part] = mutated_value(r, manifest[part])

    arrays = mutated(r, [members(raw)[ARRAYS]]) if r.random() < 0.2 else None
    return "router.headrace", forged(raw, change, arrays)


# Reading


def _read_table(path: Path) -> None:
    # RouteLLM's layout has no costs.
    prices = {"small": 0.001, "large": 0.02} if path.name.startswith("routellm") else None
    _keep(hr.Outcomes.from_file(path, prices=prices), path.parent)


def _read_routerbench(path: Path) -> None:
    _keep(load_routerbench(path), path.parent)


def _read_decisions(path: Path) -> None:
    """Read the events of a log, and the table of those that have labels."""
    list(read_log(path))
    _read_table(path)


def _keep(table: hr.Outcomes, folder: Path) -> None:
    """Save a table, and read it again."""
    for suffix in SUFFIXES:
        again = folder / f"again{suffix}"
        try:
            table.save(again)
        except (TypeError, ValueError) as error:
            if why := _no_refusal(error):
                raise WrongError(f"saving as {suffix}: {why}: {type(error).__name__}: {error}") from error
            continue
        try:
            back = hr.Outcomes.from_file(again)
        except Exception as error:
            raise WrongError(f"saved as {suffix}, not read again: {type(error).__name__}: {error}") from error
        if different := _different(table, back):
            raise WrongError(f"saved as {suffix}, read again with other {different}")


def _different(left: hr.Outcomes, right: hr.Outcomes) -> str | None:
    """Name the part in which two tables differ."""
    for part in ("models", "ids", "quality", "costs", "groups", "queries", "responses"):
        if not _equal(getattr(left, part), getattr(right, part)):
            return part
    return None


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return type(a) is type(b) and bool(a == b)
    if a.shape == b.shape and _is_empty(a) and _is_empty(b):
        return True  # a column without a value has no type in CSV and JSON
    text = a.dtype.kind not in "biuf"
    return a.tolist() == b.tolist() if text else np.array_equal(a, b, equal_nan=b.dtype.kind == "f")


def _is_empty(cells: np.ndarray) -> bool:
    return all(cell is None or cell != cell for cell in cells.ravel().tolist())


def _decided(decider: hr.Decider) -> list[Any]:
    """Give what a decider decides for a few queries, one by one."""
    table, found = simulate(8, 3, rng=5), []
    for row in range(len(table)):
        session = decider.start(decision_logs.columns_of(table, row), id=str(row))
        first = session.next()
        assert first is not None
        session.observe(first, decision_logs.runs_of(table, row)[first].response, cost=0.001)
        found.append((first, session.next(), session.plan))
    return found


def _load_same(known: list[Any], path: Path) -> None:
    decider = hr.load(path)
    if _decided(decider) != known:
        raise WrongError("a file that was accepted decides otherwise than the original")


def _resume(decider: hr.Decider, path: Path) -> None:
    """Resume what JSON text says, and keep it again."""
    try:
        state = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return
    session = decider.resume(state)
    session.next()
    kept = session.to_dict()
    again = decider.resume(json.loads(json.dumps(kept, allow_nan=False))).to_dict()
    if kept != again:
        raise WrongError("a session that was resumed is kept as another one")


def _settings(decider: hr.Decider, path: Path) -> None:
    settings = read_settings(path)
    settings.targets_for(decider)
    settings.key()


# Targets


def targets(folder: Path) -> list[Target]:
    """Make the seeds and the targets; those whose packages are missing are left out.

    Parameters
    ----------
    folder : Path
        For the seeds that the package writes.
    """
    decider = hr.Router(quality="linear", n_folds=2).fit(simulate(60, 3), budget=0.003).decider_
    decider.save(folder / "router.headrace")
    router = (folder / "router.headrace").read_bytes()
    sessions = [json.dumps(state).encode() for state in small_files.session_states(decider)]
    tools = [json.dumps(log).encode() for log in (small_files.promptfoo_log(), small_files.inspect_log())]
    tables = {layout: small_files.records(layout) for layout in small_files.LAYOUTS}
    truth = small_files.lines(tables.pop("routellm"))
    in_lines = [small_files.lines(records) for records in tables.values()]
    found = [
        _target("router's file", "router.headrace", [router], partial(_load_same, _decided(decider)), ArtefactError),
        Target("router's file, forged", partial(_forged_of, router), hr.load, ArtefactError, ()),
        _target("serve.toml", "serve.toml", [small_files.SERVE], partial(_settings, decider), (TypeError, ValueError)),
        _target("sessions", "session.json", sessions, partial(_resume, decider), (TypeError, ValueError)),
        _target("decision logs", "decisions.jsonl", [small_files.decision_log(folder)], _read_decisions),
        _target("logs of a Recorder", "recorded.jsonl", small_files.recorder_logs(folder)),
        _target("promptfoo, inspect", "log.json", tools),
        _target("JSON", "log.json", [json.dumps(records).encode() for records in tables.values()]),
        _target("JSON lines", "log.jsonl", in_lines),
        _target("RouteLLM", "routellm.jsonl", [truth]),
        Target("gzip", partial(_packed_of, in_lines), _read_table, ValueError, [_packed(in_lines[0])]),
    ]
    if HAS_DATA_EXTRA:
        in_csv = [small_files.delimited(records) for records in tables.values()]
        in_csv += [small_files.delimited(tables["wide"], ";"), in_csv[0].decode().encode("utf-16")]
        in_tsv = [small_files.delimited(records, "\t") for records in tables.values()]
        simulate(small_files.N_ROWS, 2, rng=1).save(folder / "log.parquet")
        found += [
            _target("CSV", "log.csv", in_csv),
            _target("TSV", "log.tsv", in_tsv),
            _target("Parquet", "log.parquet", [(folder / "log.parquet").read_bytes()]),
        ]
    if find_spec("pandas"):
        pickles = small_files.pickles(tables["routerbench"])
        found.append(_target("RouterBench's pickles", "routerbench.pkl", pickles, _read_routerbench))
    return found


def _target(
    name: str,
    file: str,
    seeds: Sequence[bytes],
    read: Callable[[Path], Any] | None = None,
    refusal: type[Exception] | tuple[type[Exception], ...] = ValueError,
) -> Target:
    make = partial(_json_of if ".json" in file else _bytes_of, file, seeds)
    return Target(name, make, read or _read_table, refusal, [(file, seed) for seed in seeds])
