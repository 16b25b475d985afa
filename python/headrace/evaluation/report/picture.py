"""One picture of a comparison: cost against quality."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from headrace.atomic_file import draft_of
from headrace.evaluation.comparison import LINEAR, Comparison
from headrace.evaluation.report.verdict import LABELS

__all__ = ["LABELS", "draw"]

#: Colour-blind safe (Okabe and Ito), and each with a dash pattern of its own.
STYLES: dict[str, dict[str, Any]] = {
    LINEAR: {"color": "#999999", "linestyle": ":"},
    "routing": {"color": "#0072B2", "linestyle": "--"},
    "threshold-cascade": {"color": "#E69F00", "linestyle": (0, (1, 1))},
    "cascade": {"color": "#009E73", "linestyle": "-."},
    "cascade-routing": {"color": "#D55E00", "linestyle": "-", "linewidth": 2.4},
    "index": {"color": "#CC79A7", "linestyle": (0, (5, 1, 1, 1, 1, 1))},
}


def draw(comparison: Comparison, path: str | os.PathLike[str], *, title: str, cost_unit: str = "") -> Path:
    """Draw realised cost against realised quality of every method, and the single models as points.

    Parameters
    ----------
    comparison : Comparison
    path : path
        Where the picture goes; its ending says in which format. Written to a temporary name first, then renamed.
    title : str
    cost_unit : str
        For the axis label.

    Returns
    -------
    Path

    Raises
    ------
    ImportError
        matplotlib is not installed; the message says how to get it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install 'headrace[report]'") from error
    figure = Figure(figsize=(8.0, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for method in comparison.methods:
        order = method.cost.argsort(kind="stable")
        area = f"{LABELS.get(method.name, method.name)} ({100 * method.area:.1f})"
        style = {"linewidth": 1.5} | STYLES.get(method.name, {})
        axes.plot(method.cost[order], 100 * method.quality[order], label=area, **style)
    axes.plot(comparison.single_cost, 100 * comparison.single_quality, "o", color="black", zorder=5)
    for name, cost, quality in zip(comparison.models, comparison.single_cost, comparison.single_quality, strict=True):
        axes.annotate(name, (cost, 100 * quality), textcoords="offset points", xytext=(6, -12), fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel("mean cost per query" + (f" ({cost_unit})" if cost_unit else ""))
    axes.set_ylabel("quality (%)")
    axes.set_title(title)
    axes.grid(alpha=0.25)
    axes.legend(title="method (area under the curve, %)", loc="lower right", fontsize=9)
    with draft_of(path) as draft:
        figure.savefig(draft, dpi=150)
    return Path(path)
