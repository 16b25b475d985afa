"""Tables of a page: the methods, the single models, seconds, the steps of a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from headrace.evaluation.baselines import LABELS
from headrace.evaluation.bootstrap import Estimate
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
    at = card.at
    rows = [
        [
            LABELS[method.name],
            f"{100 * method.area:.2f} [{100 * method.interval[0]:.2f}, {100 * method.interval[1]:.2f}]",
            "" if method.name == "router" else _points(card.difference("router", method.name)),
            f"{100 * method.quality[at]:.1f}",
            f"{method.cost[at]:.4g}",
            f"{100 * method.excess:.1f}%",
        ]
        for method in card.methods
    ]
    quality = f"quality (%) at {card.budgets[at]:.4g}"
    return Table(["method", "area (%)", "this router minus it", quality, "its cost", "over budget"], rows, chosen=0)


def singles(card: Scorecard) -> Table:
    """Show the single models, and the router against each."""
    rows = [
        [
            single.model,
            f"{single.cost.value:.4g}",
            f"{100 * single.quality.value:.1f} [{100 * single.quality.low:.1f}, {100 * single.quality.high:.1f}]",
            _points(single.gain) if np.isfinite(single.gain.value) else "not so cheap",
            _share(single.saving),
            _share(single.near_saving),
        ]
        for single in card.singles
    ]
    head = [
        "single model",
        "cost",
        "quality (%)",
        "router at its cost, minus it",
        "saved at its quality",
        "saved at 0.5 points less",
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


def step(models: Sequence[Mapping[str, Any]], realised: Mapping[str, float]) -> Table:
    """Show what a decision knew of each model; `models` as `Session.explain` says it."""
    rows = []
    for row in models:
        cost = row["cost"] if isinstance(row["cost"], dict) else {"": row["cost"]}
        costs = ", ".join(f"{number:.4g} {name}".strip() for name, number in cost.items())
        state = f"has run: {realised[row['model']]:.3g}" if row["run"] else "in the plan" if row["in_plan"] else ""
        rows.append([row["model"], f"{row['quality']:.3f} ± {row['sd']:.3f}", costs, state])
    return Table(["model", "estimated quality", "estimated cost", ""], rows)


def _points(difference: Estimate) -> str:
    return f"{100 * difference.value:+.2f} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"


def _share(part: Estimate) -> str:
    if not np.isfinite(part.value):
        return "never so good"
    value, low, high = (f"{round(100 * end):d}" if np.isfinite(end) else "none" for end in part)
    return f"{value}% [{low}, {high}]"
