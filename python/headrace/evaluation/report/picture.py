"""One picture of an evaluation: cost against quality."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import FloatArray
from headrace.atomic_file import draft_of
from headrace.evaluation.baselines import LABELS, LINEAR, ORACLE
from headrace.evaluation.report.charts import inked, named_models
from headrace.evaluation.report.units import Units
from headrace.evaluation.report.verdict import best_rival
from headrace.evaluation.scorecard import Scorecard
from headrace.extras import imported

__all__ = ["INK", "Line", "check_drawable", "claim", "draw", "finish", "headed", "new_axes"]

#: Colour of what is said in passing.
SOFT = "#57606A"

#: Colour-blind safe (Okabe and Ito), and each with a dash pattern of its own.
INK: dict[str, dict[str, Any]] = {
    "router": {"color": "#B34700", "linestyle": "-", "linewidth": 2.6, "zorder": 4},
    LINEAR: {"color": "#57606A", "linestyle": (0, (1, 1.5)), "linewidth": 1.8, "zorder": 3},
    ORACLE: {"color": "#7A5C45", "linestyle": (0, (6, 2, 1, 2)), "linewidth": 1.4, "zorder": 3},
}

#: The best rival, and all other methods.
RIVAL = {"color": "#0067A6", "linestyle": (0, (5, 2)), "linewidth": 1.8, "zorder": 3}
REST = {"color": "#C9D1D9", "linestyle": "-", "linewidth": 1.0, "zorder": 2}

#: Share of the highest cost from which a dot is at the right edge.
EDGE = 0.5

#: Letters of a title in one line.
WIDEST = 98

#: Least distance of two names at the ends of lines, as a share of the height.
NAME_HEIGHT = 0.055


class Line(NamedTuple):
    """A line with its name."""

    label: str
    cost: FloatArray
    quality: FloatArray
    style: dict[str, Any]


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
    """Draw realised cost against realised quality: four lines in ink, the others thin, single models as points.

    Parameters
    ----------
    card : Scorecard
    path : path
        Where the picture goes; its ending says in which format. Written to a temporary name first, then renamed.
    title : str
        Stands above what the picture claims.
    cost_unit : str
        Of the costs, where it is known.

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
    units = Units.of(card, cost_unit)
    axes = new_axes(units, cost_unit)
    drawn, rival = inked(card), best_rival(card, apart=True)
    lines = []
    for method in card.methods:
        if method.name not in drawn:
            axes.plot(*_along(method.cost, units.scale * method.quality), **REST)
            continue
        style = INK.get(method.name, RIVAL if method.name == rival else REST)
        # The router has the name of its rule.
        label = LABELS[card.rule if method.name == "router" else method.name]
        lines.append(Line(label, *_along(method.cost, units.scale * method.quality), style))
    dots = [(single.model, single.cost.value, units.scale * single.quality.value) for single in card.singles]
    finish(axes, lines, dots, named_models(card))
    _claimed(axes, card, units)
    headed(axes, title, claim(card, units))
    if len(drawn) < len(card.methods):
        axes.text(1.02, 0.02, "grey: the\nother methods", transform=axes.transAxes, fontsize=8, color=SOFT)
    with draft_of(path) as draft:
        axes.figure.savefig(draft, dpi=150)
    return Path(path)


def claim(card: Scorecard, units: Units) -> str:
    """Say what the picture shows: the router's quality at the budget, and what else the budget buys."""
    parts = [f"{LABELS[card.rule]} {units.quality(card['router'].quality[card.at])}"]
    if card.chosen.rival is not None:
        single = next(single for single in card.singles if single.model == card.chosen.rival)
        parts.append(f"best affordable model {units.quality(single.quality.value)}")
    if any(method.name == LINEAR for method in card.methods):
        parts.append(f"mixing {units.quality(card[LINEAR].quality[card.at])}")
    return f"At {units.amount(float(card.budgets[card.at]))}: {', '.join(parts)}"


def headed(axes: Any, title: str, said: str) -> None:
    """Head a picture by its title, and by what it claims."""
    axes.set_title("\n".join(filter(None, [title, *wrap(said, WIDEST)])), loc="left", fontsize=10)


def new_axes(units: Units, cost_unit: str) -> Any:
    """Start a picture of mean cost against mean quality."""
    figure = imported("matplotlib.figure", "a picture").Figure(figsize=(8.0, 5.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_xlabel("mean cost per query" + (f" ({cost_unit})" if cost_unit else ""))
    axes.set_ylabel(units.axis)
    axes.grid(axis="y", color="#E3E7EB", linewidth=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def finish(axes: Any, lines: Sequence[Line], dots: Sequence[tuple[str, float, float]], named: set[str]) -> None:
    """Draw lines with their names at the right ends, and single models as dots, those that matter with their names.

    Parameters
    ----------
    axes : matplotlib axes
        Of `new_axes`.
    lines : sequence of Line
    dots : sequence of tuple
        Name, cost and quality of each single model.
    named : set of str
        Models whose names are written.
    """
    for line in lines:
        axes.plot(line.cost, line.quality, **line.style)
    for name, cost, quality in dots:
        axes.plot([cost], [quality], "o", color="#1B1F24", markersize=5, zorder=5)
        if name in named:
            # Lines come from the left and below: to the right of a dot, and under it, there is room.
            # Beside a dot at the right edge stand the names of the lines.
            inside = cost < EDGE * max(dot[1] for dot in dots)
            place = {"xytext": (6, -12), "ha": "left"} if inside else {"xytext": (-6, -14), "ha": "right"}
            axes.annotate(name, (cost, quality), textcoords="offset points", fontsize=8, zorder=6, **place)
    axes.margins(x=0.04, y=0.06)
    low, high = axes.get_ylim()
    # From the top down, each name below the one before; of lines that meet, the first one stays on top.
    ends = sorted(lines, key=lambda line: -line.quality[-1])
    level = 1.0 + NAME_HEIGHT
    for line in ends:
        level = min(level - NAME_HEIGHT, float((line.quality[-1] - low) / (high - low)))
        tie = {
            "arrowstyle": "-",
            "color": line.style["color"],
            "linewidth": 0.7,
            "shrinkA": 0,
            "shrinkB": 2,
            "relpos": (0, 0.5),
        }
        axes.annotate(
            line.label,
            (line.cost[-1], line.quality[-1]),
            xytext=(1.02, level),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=line.style["color"],
            fontweight="bold" if line is lines[0] else "normal",
            arrowprops=tie,
        )


def _along(cost: FloatArray, quality: FloatArray) -> tuple[FloatArray, FloatArray]:
    order = np.lexsort((quality, cost))
    return cost[order], quality[order]


def _claimed(axes: Any, card: Scorecard, units: Units) -> None:
    """Mark the budget, and what the router brings more there than the better of one model and mixing."""
    budget, at = float(card.budgets[card.at]), card.at
    if not budget > 0.0:
        return
    axes.axvline(budget, color="#1B1F24", linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
    axes.annotate(
        f"budget {units.amount(budget)}",
        (budget, 0.0),
        xycoords=("data", "axes fraction"),
        xytext=(5, 6),
        textcoords="offset points",
        fontsize=8,
    )
    others = {single.model: single.quality.value for single in card.singles if single.model == card.chosen.rival}
    if any(method.name == LINEAR for method in card.methods):
        others["mixing"] = float(card[LINEAR].quality[at])
    if not others:
        return
    best = max(others, key=lambda name: others[name])
    below, above = (units.scale * quality for quality in (others[best], float(card["router"].quality[at])))
    gain = f"{above - below:+.{units.digits}f}{units.word}"
    if above > below and float(gain.split()[0]) > 0.0:
        arrow = {"arrowstyle": "<->", "color": "#B34700", "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (budget, above), xytext=(budget, below), arrowprops=arrow, zorder=6)
        axes.annotate(
            f"{gain}\nover {best}",
            (budget, below),
            xytext=(7, -7),
            textcoords="offset points",
            va="top",
            fontsize=9,
            color="#B34700",
            zorder=6,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0},
        )
