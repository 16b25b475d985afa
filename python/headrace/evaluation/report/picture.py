"""One picture of an evaluation: cost against quality."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from headrace.atomic_file import draft_of
from headrace.evaluation.baselines import LABELS, LINEAR
from headrace.evaluation.scorecard import Scorecard
from headrace.extras import imported

__all__ = ["check_drawable", "draw"]

#: Colour-blind safe (Okabe and Ito), and each with a dash pattern of its own.
STYLES: dict[str, dict[str, Any]] = {
    LINEAR: {"color": "#999999", "linestyle": ":"},
    "routing": {"color": "#0072B2", "linestyle": "--"},
    "threshold-cascade": {"color": "#E69F00", "linestyle": (0, (1, 1))},
    "cascade": {"color": "#009E73", "linestyle": "-."},
    "cascade-routing": {"color": "#D55E00", "linestyle": "-"},
    "index": {"color": "#CC79A7", "linestyle": (0, (5, 1, 1, 1, 1, 1))},
}


def check_drawable(path: str | os.PathLike[str], *, argument: str = "path") -> None:
    """Refuse what can't be drawn, before there is anything to draw.

    Parameters
    ----------
    path : path
        Where the picture is to go.
    argument : str
        What the caller calls it: for the message.

    Raises
    ------
    ImportError
        matplotlib is not installed; the message says how to get it.
    ValueError
        The name's ending is not that of a picture.

    Examples
    --------
    >>> from headrace.evaluation.report.picture import check_drawable
    >>> check_drawable("curve.png")
    >>> check_drawable("curve.doc")
    Traceback (most recent call last):
    ValueError: path: expected a picture, e.g. one that ends in .png, .svg or .pdf; got 'curve.doc'
    """
    known = imported("matplotlib.backend_bases", "a picture").FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix.lower().removeprefix(".") not in known:
        raise ValueError(
            f"{argument}: expected a picture, e.g. one that ends in .png, .svg or .pdf; got {Path(path).name!r}"
        )


def draw(card: Scorecard, path: str | os.PathLike[str], *, title: str, cost_unit: str = "") -> Path:
    """Draw realised cost against realised quality of every method, and the single models as points.

    Parameters
    ----------
    card : Scorecard
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
    ValueError
        The name's ending is not that of a picture.
    OSError
        The file can't be written.
    """
    check_drawable(path)
    figure = imported("matplotlib.figure", "a picture").Figure(figsize=(8.0, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for method in card.methods:
        # The router has the name and the style of its rule.
        own = method.name == "router"
        name = card.rule if own else method.name
        order = method.cost.argsort(kind="stable")
        label = f"{LABELS[name]} ({100 * method.area:.1f})"
        style = STYLES.get(name, {}) | {"linewidth": 2.4 if own else 1.5}
        axes.plot(method.cost[order], 100 * method.quality[order], label=label, **style)
    for single in card.singles:
        cost, quality = single.cost.value, 100 * single.quality.value
        axes.plot([cost], [quality], "o", color="black", zorder=5)
        axes.annotate(single.model, (cost, quality), textcoords="offset points", xytext=(6, -12), fontsize=8)
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
