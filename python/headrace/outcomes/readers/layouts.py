"""Layouts: which one some columns have, and the table that they make.

One row per query:

- "wide": ``query_id``, ``text``, ``task``, ``group``, and per model ``<model>|quality``, ``<model>|cost`` and
  ``<model>|<anything>``, a response column. A column without ``|`` is a query column. Several costs, or one of another
  name, are ``<model>|cost:<name>``.
- "routerbench": ``sample_id``, ``prompt`` (read as "text"), ``eval_name`` (read as "task"), and per model
  ``<model>``, its quality, ``<model>|total_cost`` and ``<model>|model_response`` (the response column "answer").
- "routellm": ``prompt``, and per model a column of true and false. It has no costs: prices are needed.

One row per query and model; of other columns, those under `cost`, tokens, latencies and answers are kept:

- "long": ``query_id`` (or ``id``, if runs of one query share it) or ``text`` (or both), ``model``, ``quality``,
  ``cost``, ``task``, ``group``.
- "llmrouter": ``query``, ``model_name``, ``performance``, ``token_num`` (the cost), ``task_name``.
- "nvidia": ``question``, ``model``, ``isCorrect``, ``output_tokens`` (the cost).
- "routerarena": ``global index``, ``prompt``, ``prediction``, ``accuracy``, ``cost``.
- "litellm": spend logs, ``request_id``, ``model_group`` or ``model``, ``spend`` (the cost) and ``messages``. They
  need a column ``quality``, or labels, and a column ``query_id`` where messages aren't stored.

A column of dollars is the cost before one of tokens. JSON results of promptfoo and logs of inspect are read as "long".

CSV has no types. There a column is numbers if all its cells read as such (a response column: the cells of all models),
unless its name says that it is text, or a file that has quotation marks around text alone has them around its cells.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from headrace.arguments import Column, listed
from headrace.outcomes.readers.cells import as_text, is_empty, is_numeric, numbers_if_all, parsed
from headrace.outcomes.readers.files import FileLines, file_columns, refuse_pickle
from headrace.outcomes.readers.long import LONG_LAYOUTS, LongLayout, widened, with_query_ids
from headrace.outcomes.readers.records import answered_runs, routerarena_columns, spend_log_columns
from headrace.outcomes.readers.table import Reading, Table
from headrace.outcomes.readers.wide import routerbench_names, tabulate
from headrace.outcomes.rows import Rows

__all__ = ["LAYOUTS", "columns_table"]

LAYOUTS = ("wide", "routerbench", "routellm", *LONG_LAYOUTS)
NEEDED = "; ".join(
    [
        "'wide' needs '<model>|quality'",
        "'routerbench' needs '<model>' with '<model>|total_cost'",
        "'routellm' needs 'prompt' and a column of true and false per model",
        *(f"{name!r} needs {listed(layout.signs)}" for name, layout in LONG_LAYOUTS.items()),
    ]
)

#: Costs in dollars, the usual names; they come before a layout's own tokens.
DOLLARS = ("cost", "cost_usd", "usd", "total_cost", "spend", "dollars")

#: Names that pandas gives an index that has none.
INDEX = re.compile(r"Unnamed: [0-9]+|__index_level_[0-9]+__")

#: Columns of lm-eval's samples, which don't name their model.
LM_EVAL = ("doc_id", "doc", "resps")


def columns_table(
    columns: Mapping[str, Column], rows: Rows, reading: Reading, *, loose: frozenset[str], notes: list[str]
) -> Table:
    """Make a table of named columns; see `Outcomes.from_file`.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_rows, ...)
    rows : Rows
        Those of `columns`, for messages.
    reading : Reading
    loose : frozenset of str
        Columns whose text may stand for numbers.
    notes : list of str
        What was left out so far; more is added.

    Raises
    ------
    TypeError, ValueError
        If the columns have no known layout, or aren't what theirs needs.
    """
    columns, loose = _renamed(_unindexed(columns, notes), loose, reading.rename or {}, str(rows))
    found = _layout_of(columns, reading.layout, str(rows))
    if reading.labels is not None and found != "litellm":
        raise ValueError(f"labels: expected None for the layout {found!r}, which has its own quality")
    if found not in LONG_LAYOUTS:
        given = {name: name for name in columns}
        if found == "routerbench":
            given = routerbench_names(columns)
        elif found == "routellm":
            given = {"text" if name == "prompt" else f"{name}|quality": name for name in columns}
        return tabulate(columns, rows, reading, given_name=given, costs=reading.costs, loose=loose, notes=notes)
    layout = LONG_LAYOUTS[found]
    columns, rows = answered_runs(columns, rows, notes)
    if found == "litellm":
        labels = reading.labels
        labelled = columns if labels is None else {**columns, "quality": _labels(columns["request_id"], labels)}
        columns = spend_log_columns(labelled, rows, notes)
    elif found == "routerarena":
        columns = routerarena_columns(columns)
    if found == "long":
        columns = with_query_ids(columns, layout, notes)
    costs = _long_costs(columns, layout, reading, notes)
    wide, rows = widened(columns, layout, rows, costs=costs or [layout.cost], loose=loose, notes=notes)
    own = {name: name for name in wide}
    return tabulate(wide, rows, reading, given_name=own, costs=costs, loose=frozenset(), notes=notes)


def _unindexed(columns: Mapping[str, Column], notes: list[str]) -> Mapping[str, Column]:
    """Leave out the index that a pandas frame brings along."""
    kept = {name: cells for name, cells in columns.items() if name and not INDEX.fullmatch(name)}
    if kept and len(kept) < len(columns):
        notes.append("a column without a name was left out")
        return kept
    return columns


def _renamed(
    columns: Mapping[str, Column], loose: frozenset[str], rename: Mapping[str, str], source: str
) -> tuple[dict[str, Column], frozenset[str]]:
    """Give columns their new names; one that had such a name before is left out."""
    new_name = {old: new for new, old in rename.items()}
    unknown = [old for old in new_name if old not in columns]
    if unknown:
        raise ValueError(f"rename: {source} has no column {listed(unknown)}; columns found: {listed(columns)}")
    kept = {old: new_name.get(old, old) for old in columns if old in new_name or old not in rename}
    return {new: columns[old] for old, new in kept.items()}, frozenset(kept[old] for old in loose if old in kept)


def _long_costs(
    columns: Mapping[str, Column], layout: LongLayout, reading: Reading, notes: list[str]
) -> list[str] | None:
    """Name the cost columns of a long layout, by their names in our tables; None if it has none."""
    ours = dict(layout.runs)
    if reading.costs is not None:
        return [ours.get(name, name) for name in reading.costs]
    if reading.prices is None and layout.cost.endswith(("tokens", "token_num")):
        dollars = next((name for name in DOLLARS if name in columns), None)
        if dollars is not None:
            notes.append(f"cost: the column {dollars!r} was taken, rather than the tokens in {layout.cost!r}")
            return [dollars]
    for name in (layout.cost, *(("tokens",) if layout.cost == "cost" else ())):
        if name in columns and not is_empty(columns[name]):
            return [name]
    return [layout.cost] if layout.cost in columns else None


def _layout_of(columns: Mapping[str, Column], layout: str | None, source: str) -> str:
    if layout is not None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout: expected None or one of {listed(LAYOUTS)}, got {layout!r}")
        signs = LONG_LAYOUTS[layout].signs if layout in LONG_LAYOUTS else ()
        lacking = [sign for sign in signs if sign not in columns]
        if lacking:
            found = f"columns found: {listed(columns)}{_near_misses(columns, lacking)}"
            raise ValueError(f"{source}: the layout {layout!r} needs the columns {listed(lacking)}; {found}")
        return layout
    if any(name.endswith("|quality") for name in columns):
        return "wide"
    if any(name.endswith("|total_cost") and name.removesuffix("|total_cost") in columns for name in columns):
        return "routerbench"
    for name, long in LONG_LAYOUTS.items():
        if long.named(columns):
            return name
    if _is_routellm(columns):
        return "routellm"
    if all(name in columns for name in LM_EVAL):
        raise ValueError(
            f"{source}: samples of lm-eval have no column that names their model: there is one file per model. Join "
            "the files in one table with the columns 'query_id' (their 'doc_id'), 'model' (the name of the folder), "
            "'quality' (their metric) and 'cost', and pass it to Outcomes.from_frame"
        )
    known = dict.fromkeys(sign for long in LONG_LAYOUTS.values() for sign in long.signs)
    hint = _near_misses(columns, (*known, "<model>|quality")) or _names_to_give(columns)
    raise ValueError(f"{source}: no known layout: {NEEDED}; columns found: {listed(columns)}{hint}")


def _is_routellm(columns: Mapping[str, Column]) -> bool:
    """Whether there is a prompt, and a column of true and false for each of several models."""
    models = [cells for name, cells in columns.items() if name != "prompt"]
    return "prompt" in columns and len(models) > 1 and all(_is_truth(cells) for cells in models)


def _is_truth(cells: Column) -> bool:
    if cells.ndim != 1 or is_empty(cells):
        return False
    numbers = numbers_if_all(cells)
    return is_numeric(numbers) and set(np.unique(numbers[~np.isnan(numbers)]).tolist()) <= {0, 1}


def _near_misses(columns: Iterable[str], wanted: Iterable[str]) -> str:
    """Say which columns have almost the name of one that is wanted."""
    names = {name.rpartition("|")[2].strip().casefold().replace(" ", "_"): name for name in columns}
    hints = []
    for sign in wanted:
        word = sign.rpartition("|")[2]
        close = difflib.get_close_matches(word.casefold(), names, n=1, cutoff=0.85)
        if close and (given := names[close[0]]) != sign and not given.endswith(f"|{word}"):
            hints.append(f"{given!r}: did you mean {word!r}?")
    return f"; {' '.join(hints)} Rename it, e.g. with rename={{new: old}} or --rename new=old" if hints else ""


def _names_to_give(columns: Mapping[str, Column]) -> str:
    """Say which columns to rename where none has a known name, or almost one: those of a run, or of each model."""
    if "model" in columns:
        lacking = [name for name in ("quality", "cost") if name not in columns]
        lacking += ["text"] if "text" not in columns and "query_id" not in columns else []
        names = " ".join(f"--rename {name}=COLUMN" for name in lacking)
        return f"; a row per run? Say which columns are meant: {names} (rename={{new: old}} in Python)"
    if len(columns) > 1:
        names = "--rename '<model>|quality=COLUMN' --rename '<model>|cost=COLUMN'"
        return f"; a row per query? Say which columns are each model's: {names} (rename={{new: old}} in Python)"
    return ""


def _labels(request_ids: Column, path: Path) -> Column:
    """Give the quality of each request from a second file; missing where it has none."""
    refuse_pickle(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    columns, _ = file_columns(path, [])
    lacking = [name for name in ("request_id", "quality") if name not in columns]
    if lacking:
        raise ValueError(f"labels: {path} needs the columns {listed(lacking)}; columns found: {listed(columns)}")
    given = as_text(columns["request_id"]).tolist()
    rows = Rows(source=str(path), line_of=FileLines(path), names={"request": given})
    first = {request: row for row, request in reversed(list(enumerate(given)))}
    if again := [row for row, request in enumerate(given) if first[request] != row]:
        raise ValueError(f"labels: {path} has a request twice, expected one quality for each{rows.place(again)}")
    scores = dict(zip(given, parsed("quality", columns["quality"], place=rows.place).tolist(), strict=True))
    known = [scores.get(request, np.nan) for request in as_text(request_ids).tolist()]
    if np.isnan(known).all():
        raise ValueError(f"labels: {path} has a quality for none of the requests")
    return np.array(known)
