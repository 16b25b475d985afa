"""Layouts: which one some columns have, and the table that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from headrace.arguments import Column, listed
from headrace.outcomes.readers.cells import as_text, parsed
from headrace.outcomes.readers.files import file_columns, refuse_pickle
from headrace.outcomes.readers.long import LONG_LAYOUTS, widened
from headrace.outcomes.readers.records import routerarena_columns, spend_log_columns
from headrace.outcomes.readers.table import Table
from headrace.outcomes.readers.wide import cost_names, routerbench_names, tabulate

__all__ = ["LAYOUTS", "columns_table"]

LAYOUTS = ("wide", "routerbench", *LONG_LAYOUTS)
NEEDED = "; ".join(
    [
        "'wide' needs '<model>|quality'",
        "'routerbench' needs '<model>' with '<model>|total_cost'",
        *(f"{name!r} needs {listed(layout.signs)}" for name, layout in LONG_LAYOUTS.items()),
    ]
)


def columns_table(
    columns: Mapping[str, Column],
    source: str,
    *,
    layout: str | None,
    cost: str | Sequence[str] | None,
    verified: bool,
    typed: bool,
    labels: Path | None = None,
) -> Table:
    """Make a table of named columns; see `Outcomes.from_file`."""
    found = _layout_of(columns, layout, source)
    if labels is not None and found != "litellm":
        raise ValueError(f"labels: expected None for the layout {found!r}, which has its own quality")
    if found not in LONG_LAYOUTS:
        given = routerbench_names(columns) if found == "routerbench" else {name: name for name in columns}
        return tabulate(columns, source, given_name=given, cost=cost, verified=verified, typed=typed)
    long = LONG_LAYOUTS[found]
    if found == "litellm":
        labelled = columns if labels is None else {**columns, "quality": _labels(columns["request_id"], labels)}
        columns = spend_log_columns(labelled, source)
    elif found == "routerarena":
        columns = routerarena_columns(columns)
    ours = dict(long.runs)
    costs = [ours.get(name, name) for name in ([cost] if isinstance(cost, str) else cost_names(cost or [long.cost]))]
    wanted = costs if cost is not None or long.cost in columns else None
    wide = widened(columns, long, source, costs=costs, typed=typed)
    own = {name: name for name in wide}
    return tabulate(wide, source, given_name=own, cost=wanted, verified=verified, typed=True)


def _layout_of(columns: Mapping[str, Column], layout: str | None, source: str) -> str:
    if layout is not None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout: expected None or one of {listed(LAYOUTS)}, got {layout!r}")
        lacking = [sign for sign in LONG_LAYOUTS[layout].signs if sign not in columns] if layout in LONG_LAYOUTS else []
        if lacking:
            found = f"columns found: {listed(columns)}"
            raise ValueError(f"{source}: the layout {layout!r} needs the columns {listed(lacking)}; {found}")
        return layout
    if any(name.endswith("|quality") for name in columns):
        return "wide"
    if any(name.endswith("|total_cost") and name.removesuffix("|total_cost") in columns for name in columns):
        return "routerbench"
    for name, long in LONG_LAYOUTS.items():
        if long.named(columns):
            return name
    raise ValueError(f"{source}: no known layout: {NEEDED}; columns found: {listed(columns)}")


def _labels(request_ids: Column, path: Path) -> Column:
    """Give the quality of each request from a second file; missing where it has none."""
    refuse_pickle(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    columns = file_columns(path)
    lacking = [name for name in ("request_id", "quality") if name not in columns]
    if lacking:
        raise ValueError(f"labels: {path} needs the columns {listed(lacking)}; columns found: {listed(columns)}")
    given = as_text(columns["request_id"]).tolist()
    if len(set(given)) < len(given):
        raise ValueError(f"labels: {path} has a request twice, expected one quality for each")
    scores = dict(zip(given, parsed("quality", columns["quality"]).tolist(), strict=True))
    known = [scores.get(request, np.nan) for request in as_text(request_ids).tolist()]
    if np.isnan(known).all():
        raise ValueError(f"labels: {path} has a quality for none of the requests")
    return np.array(known)
