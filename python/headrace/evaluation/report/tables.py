"""Tables of a page: the methods, the single models, seconds, the steps of a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from headrace.evaluation.baselines import LABELS
from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.findings import NEARLY
from headrace.evaluation.report.units import Units
from headrace.evaluation.scorecard import Scorecard

__all__ = ["Table", "methods", "seconds", "singles", "step"]


class Table(NamedTuple):
    """A table of texts.

    Attributes
    ----------
    head : list of str
    rows : list of list of str
        The first cell of a row names it.
    chosen : int or None
        Index of the row that stands out.
    """

    head: list[str]
    rows: list[list[str]]
    chosen: int | None = None


def methods(card: Scorecard) -> Table:
    """Show all methods."""
    at, units = card.at, Units.of(card)
    rows = [
        [
            LABELS[method.name],
            units.within(Estimate(method.area, *method.interval), more=1),
            "" if method.name == "router" else units.signed(card.difference("router", method.name), more=1),
            units.number(method.quality[at]),
            f"{method.cost[at]:.4g}",
            f"{100 * method.excess:.1f}%",
        ]
        for method in card.methods
    ]
    quality = f"{units.axis} at {card.budgets[at]:.4g}"
    area = units.axis.replace("quality", "area")
    return Table(["method", area, "this router minus it", quality, "its cost", "over budget"], rows, chosen=0)


def singles(card: Scorecard) -> Table:
    """Show the single models, and the router against each."""
    units = Units.of(card)
    rows = [
        [
            single.model,
            f"{single.cost.value:.4g}",
            units.within(single.quality),
            units.signed(single.gain) if np.isfinite(single.gain.value) else "not so cheap",
            _share(single.saving),
            _share(single.near_saving),
        ]
        for single in card.singles
    ]
    head = [
        "single model",
        f"{card.cost_name} per query",
        units.axis,
        "router at its cost, minus it",
        "saved at its quality",
        f"saved at {units.scale * NEARLY:g}{units.word} less",
    ]
    best = [single.model for single in card.singles].index(card.best_single.model)
    return Table(head, rows, chosen=best)


def seconds(card: Scorecard) -> Table:
    """Show seconds per query; without rows where there are none."""
    rows = [
        [LABELS.get(row.name, row.name), f"{row.mean:.3g}", f"{row.median:.3g}", f"{row.percentile_95:.3g}"]
        for row in card.latency
    ]
    return Table(["", "mean", "median", "95th percentile"], rows, chosen=0)


def step(models: Sequence[Mapping[str, Any]], realised: Mapping[str, float], units: Units) -> Table:
    """Show what a decision knew of each model; `models` as `Session.why` says it."""
    rows = []
    for row in models:
        cost = row["cost"] if isinstance(row["cost"], dict) else {"": row["cost"]}
        costs = ", ".join(f"{number:.4g} {name}".strip() for name, number in cost.items())
        state = (
            f"has run: {units.quality(realised[row['model']])}"
            if row["run"]
            else "in the plan"
            if row["in_plan"]
            else ""
        )
        rows.append([row["model"], f"{units.number(row['quality'])} ± {units.number(row['sd'])}", costs, state])
    return Table(["model", f"estimated {units.axis}", "estimated cost", ""], rows)


def _share(part: Estimate) -> str:
    if not np.isfinite(part.value):
        return "never so good"
    value, low, high = (f"{round(100 * end):d}" if np.isfinite(end) else "none" for end in part)
    return f"{value}% [{low}, {high}]"
