"""Tables of a report: the methods, the single models."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.evaluation import Evaluation
from headrace.evaluation.report.verdict import LABELS

__all__ = ["methods", "singles", "table"]


def methods(evaluation: Evaluation) -> str:
    """Show all methods."""
    at = evaluation.at
    rows = []
    for method in evaluation.methods:
        own = method.name == "router"
        difference = "" if own else _points(evaluation.difference("router", method.name))
        arena = evaluation.arena[method.name]
        rows.append(
            [
                LABELS[method.name],
                f"{100 * method.area:.2f} [{100 * method.interval[0]:.2f}, {100 * method.interval[1]:.2f}]",
                difference,
                f"{100 * method.aiq.value:.2f}",
                f"{100 * arena:.1f}" if np.isfinite(arena) else "–",
                f"{100 * method.quality[at]:.1f}",
                f"{method.cost[at]:.4g}",
                f"{100 * method.excess:.1f}%",
            ]
        )
    budget = f"{evaluation.budgets[at]:.4g}"
    head = [
        "method",
        "area (%)",
        "this router minus it",
        "AIQ (%)",
        "arena score",
        f"quality (%) at {budget}",
        "its cost",
        "over budget",
    ]
    return (
        f"<h2>Methods</h2>{table(head, rows, chosen=0)}"
        '<p class="soft">Area: mean quality over the costs from the cheapest to the dearest single model. '
        "Brackets: 95% paired bootstrap over the test queries; a difference whose bracket holds 0 is not shown by "
        "these data. Over budget: realised above permitted cost, mean over all budgets. Baselines were calibrated on "
        f"{escape(evaluation.calibrated_on)}. The oracle knows the outcomes: a bound, not a method.</p>"
    )


def singles(evaluation: Evaluation) -> str:
    """Show the single models, and the router against each."""
    rows = []
    for single in evaluation.singles:
        rows.append(
            [
                single.model,
                f"{single.cost.value:.4g}",
                f"{100 * single.quality.value:.1f} [{100 * single.quality.low:.1f}, {100 * single.quality.high:.1f}]",
                _points(single.gain) if np.isfinite(single.gain.value) else "not so cheap",
                _share(single.saving),
                _share(single.near_saving),
            ]
        )
    head = [
        "single model",
        "cost",
        "quality (%)",
        "router at its cost, minus it",
        "saved at its quality",
        "saved at 0.5 points less",
    ]
    best = [single.model for single in evaluation.singles].index(evaluation.best_single.model)
    return f"<h2>Against single models</h2>{table(head, rows, chosen=best)}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], chosen: int | None = None) -> str:
    """Make a table; the first cell of a row names it."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = []
    for i, (name, *cells) in enumerate(rows):
        mark = ' class="chosen"' if i == chosen else ""
        columns = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        body.append(f'<tr{mark}><th scope="row">{escape(name)}</th>{columns}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(head[0] or "table")}"><table><thead><tr>'
        f"{top}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _points(difference: Estimate) -> str:
    return f"{100 * difference.value:+.2f} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"


def _share(part: Estimate) -> str:
    if not np.isfinite(part.value):
        return "never so good"
    value, low, high = (f"{round(100 * end):d}" if np.isfinite(end) else "none" for end in part)
    return f"{value}% [{low}, {high}]"
