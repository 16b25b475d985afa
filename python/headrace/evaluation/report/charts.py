"""Charts of a page, as SVG with colours by class: they follow the page's light and dark mode.

They are built as trees of elements, so that every text and every attribute is escaped where the tree is written.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from headrace.arguments import FloatArray
from headrace.diagnosis.reliability import Reliability
from headrace.evaluation.baselines import LABELS, LINEAR, ORACLE
from headrace.evaluation.method import MethodResult
from headrace.evaluation.metrics import concave_hull
from headrace.evaluation.report.units import Units
from headrace.evaluation.report.verdict import best_rival
from headrace.evaluation.scorecard import Scorecard

__all__ = ["Curve", "curve_chart", "inked", "named_models", "reliability_chart", "swatch"]

#: Size of the chart of curves, and its margins: left, top, right, bottom.
WIDTH, HEIGHT = 600, 390
LEFT, TOP, RIGHT, BOTTOM = 46, 30, 160, 44

#: Least distance of two labels, one below the other, and width of a letter: those of a phone, where letters are larger.
LINE_HEIGHT, LETTER = 19.0, 10.0

#: A label farther than this from its dot is tied to it.
AWAY = 26.0

#: Side of a reliability chart, and its margin.
SIDE, MARGIN = 210, 36

#: Standard errors of an error bar: 95%.
BAR = 1.96

#: Dash patterns, so that lines are told apart without colours.
DASHES = ("", "2 4", "8 4", "2 2", "9 3 2 3", "12 3", "4 4", "1 5", "6 2 1 2 1 2", "3 6")

Element = ElementTree.Element


class Curve(NamedTuple):
    """The chart of curves, and where its marker goes for each budget."""

    svg: str
    x: FloatArray
    y: FloatArray


class _Axes(NamedTuple):
    """Maps costs (on a logarithmic scale) and qualities to the chart."""

    costs: tuple[float, float]
    qualities: tuple[float, float]

    def x(self, cost: FloatArray | float) -> FloatArray:
        low, high = np.log(self.costs)
        share = (np.log(np.maximum(cost, self.costs[0])) - low) / (high - low)
        return np.asarray(LEFT + share * (WIDTH - LEFT - RIGHT))

    def y(self, quality: FloatArray | float) -> FloatArray:
        low, high = self.qualities
        share = (np.asarray(quality) - low) / (high - low)
        return np.asarray(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM))


def inked(card: Scorecard) -> list[str]:
    """Name the methods that are drawn in ink: the router, mixing, the best rival with a line of its own, the oracle."""
    wanted = ("router", LINEAR, best_rival(card, apart=True), ORACLE)
    return [method.name for method in card.methods if method.name in wanted]


def named_models(card: Scorecard) -> set[str]:
    """Name the models that are labelled: those worth mixing, the best one, and the best that the budget affords."""
    cost = np.array([single.cost.value for single in card.singles])
    quality = np.array([single.quality.value for single in card.singles])
    hull = {card.singles[j].model for j in concave_hull(cost, quality)}
    return hull | {card.best_single.model, card.chosen.rival or card.best_single.model}


def curve_chart(card: Scorecard) -> Curve:
    """Draw cost against quality: four lines in ink, the other methods on demand, the single models as dots."""
    axes = _axes(card)
    router = card.methods[0]
    label = "Quality against mean cost per query: the router, the other methods and the single models"
    svg = _svg(WIDTH, HEIGHT, label)
    _grid(svg, axes, card, Units.of(card))
    low, high = np.quantile(router.resampled_quality, (0.025, 0.975), axis=0)
    order = np.lexsort((router.quality, router.cost))
    there, back = (_points(axes, router.cost[order], ends[order]) for ends in (high, low))
    _add(svg, "polygon", points=" ".join([*there, *reversed(back)]), fill="var(--c0)", opacity="0.15")
    ink = inked(card)
    for i, method in reversed(list(enumerate(card.methods))):
        along = np.lexsort((method.quality, method.cost))
        points = " ".join(_points(axes, method.cost[along], method.quality[along]))
        rest = {} if method.name in ink else {"class_": "rest"}
        _title(_add(svg, "polyline", points=points, **_style(i), **rest), LABELS[method.name])
    _ends(svg, card, axes, ink)
    _dots(svg, card, axes)
    x, y = axes.x(router.cost), axes.y(router.quality)
    marker = _add(svg, "g", id="marker", transform=f"translate({x[card.at]:.1f} {y[card.at]:.1f})")
    _add(marker, "circle", r="6", class_="marker")
    return Curve(_written(svg), x, y)


def _ends(svg: Element, card: Scorecard, axes: _Axes, ink: Sequence[str]) -> None:
    """Name the lines at their right ends, the names pushed apart and tied to their lines."""
    lines = [(i, method) for i, method in enumerate(card.methods) if method.name in ink]
    ends = []
    for i, method in lines:
        last = int(np.lexsort((method.quality, method.cost))[-1])
        ends.append((float(axes.y(method.quality[last])), float(axes.x(method.cost[last])), i, method.name))
    ends.sort()
    # Down the list each name keeps its distance; then the whole is moved to where its lines are.
    levels: list[float] = []
    for y, *_ in ends:
        levels.append(max(y, levels[-1] + LINE_HEIGHT) if levels else y)
    # Half way back, and never over the upper edge.
    excess = min(0.5 * (levels[-1] - ends[-1][0]), levels[0] - TOP)
    for (y, x, i, name), level in zip(ends, levels, strict=True):
        up = level - max(excess, 0.0)
        colour = f"var(--c{i % len(DASHES)})"
        tie = f"M{x + 5:.1f} {y:.1f}L{WIDTH - RIGHT + 12:.1f} {up:.1f}"
        _add(svg, "path", d=tie, fill="none", stroke=colour, stroke_width="1", opacity="0.6")
        bold = {"font_weight": "650"} if i == 0 else {}
        place = {"x": str(WIDTH - RIGHT + 15), "y": f"{up + 4:.1f}", "style": f"fill:{colour}"}
        _add(svg, "text", LABELS[name], class_="halo", **place, **bold)


def swatch(index: int) -> str:
    """Draw a short piece of a method's line, for the legend."""
    svg = _svg(40, 10)
    _add(svg, "path", d="M0 5H40", **_style(index))
    return _written(svg)


def reliability_chart(entries: Sequence[Reliability], units: Units) -> str:
    """Draw estimated against realised quality of one model, before any run and after its own, with 95% error bars."""
    values = np.concatenate([np.concatenate([entry.estimate, entry.quality]) for entry in entries])
    low, high = float(values.min()), float(values.max())
    if units.sign:
        low, high = min(0.0, low), max(1.0, high)
    high = high if high > low else low + 1.0

    def place(value: float) -> float:
        return MARGIN + (min(max(value, low), high) - low) / (high - low) * (SIDE - MARGIN - 12)

    svg = _svg(SIDE, SIDE, f"Estimated (across) against realised quality (up) of {entries[0].model}")
    near, far = place(low), place(high)
    diagonal = f"M{near:.1f} {SIDE - near:.1f}L{far:.1f} {SIDE - far:.1f}"
    _add(svg, "path", d=diagonal, class_="diagonal", stroke_dasharray="3 3")
    _add(svg, "path", d=f"M{near:.1f} {SIDE - far:.1f}V{SIDE - near:.1f}H{far:.1f}", class_="grid", fill="none")
    for value, says in zip((low, high), units.ticks(np.round([low, high], 3)), strict=True):
        across, up = f"{place(value):.1f}", f"{SIDE - place(value) + 4:.1f}"
        _add(svg, "text", says, class_="tick", x=across, y=str(SIDE - 12), text_anchor="middle")
        _add(svg, "text", says, class_="tick", x=str(MARGIN - 4), y=up, text_anchor="end")
    for entry in entries:
        colour = "var(--c2)" if entry.stage == "before" else "var(--c0)"
        for estimate, quality, error, n in zip(
            entry.estimate, entry.quality, entry.quality_error, entry.n, strict=True
        ):
            x, y = place(float(estimate)), SIDE - place(float(quality))
            upper, lower = (SIDE - place(float(quality) + side * BAR * float(error)) for side in (1.0, -1.0))
            _add(svg, "path", d=f"M{x:.1f} {upper:.1f}V{lower:.1f}", class_="error", stroke=colour)
            if entry.stage == "before":
                mark = _add(svg, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3.2", fill=colour)
            else:
                square = {"x": f"{x - 3.2:.1f}", "y": f"{y - 3.2:.1f}", "width": "6.4", "height": "6.4"}
                mark = _add(svg, "rect", **square, fill="var(--page)", stroke=colour, stroke_width="1.6")
            said = f"{entry.stage} the run: estimated {units.quality(float(estimate))}, realised "
            _title(mark, f"{said}{units.quality(float(quality))} ± {units.number(BAR * float(error))}, {n} queries")
    return _written(svg)


def _axes(card: Scorecard) -> _Axes:
    singles = [(single.cost.value, single.quality.value) for single in card.singles]
    costs = np.concatenate([*(method.cost for method in card.methods), [cost for cost, _ in singles]])
    shown = [method.quality for method in card.methods]
    qualities = np.concatenate([*shown, [quality for _, quality in singles]])
    positive = costs[costs > 0.0]
    # The oracle may be far cheaper than all else; the picture starts at the rest.
    others = np.concatenate([method.cost for method in card.methods if method.name != ORACLE])
    least = float(min(others[others > 0.0].min(), min((cost for cost, _ in singles if cost > 0.0))))
    step = 0.04 * float(np.ptp(qualities) or 1.0)
    return _Axes((0.85 * least, 1.15 * float(positive.max())), (qualities.min() - step, qualities.max() + step))


def _grid(svg: Element, axes: _Axes, card: Scorecard, units: Units) -> None:
    low, high = axes.qualities
    values = _round_steps(low, high)
    for value, says in zip(values, units.ticks(values), strict=True):
        y = float(axes.y(value))
        _add(svg, "path", d=f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}", class_="grid")
        place = {"x": str(LEFT - 6), "y": f"{y + 4:.1f}", "text_anchor": "end"}
        _add(svg, "text", says, class_="tick", **place)
    for value in _log_steps(*axes.costs):
        x = float(axes.x(value))
        _add(svg, "path", d=f"M{x:.1f} {HEIGHT - BOTTOM}v5", class_="grid")
        place = {"x": f"{x:.1f}", "y": str(HEIGHT - BOTTOM + 18), "text_anchor": "middle"}
        _add(svg, "text", f"{value:g}", class_="tick", **place)
    middle = {"x": str((LEFT + WIDTH - RIGHT) / 2), "y": str(HEIGHT - 4), "text_anchor": "middle"}
    _add(svg, "text", f"mean {card.cost_name} per query (logarithmic)", **middle)
    _add(svg, "text", units.axis, class_="halo", x="4", y="12")
    budget = float(axes.x(float(card.budgets[card.at])))
    _add(svg, "path", d=f"M{budget:.1f} {TOP}V{HEIGHT - BOTTOM}", class_="budget")
    says = (
        "budget" if card.chosen.assumed or not card.chosen.budget else "your budget"
    ) + f" {card.budgets[card.at]:.4g}"
    wide = LETTER * len(says) / 2
    place = {"x": f"{min(max(budget, LEFT + 60 + wide), WIDTH - RIGHT - wide):.1f}", "y": "14", "text_anchor": "middle"}
    _add(svg, "text", says, class_="halo", **place)


def _round_steps(low: float, high: float) -> FloatArray:
    """Give four to nine round numbers between two."""
    raw = (high - low) / 5.0
    unit = 10.0 ** np.floor(np.log10(raw))
    step = unit * min((1.0, 2.0, 5.0, 10.0), key=lambda factor: abs(factor * unit - raw))
    return np.asarray(np.arange(np.ceil(low / step), np.floor(high / step) + 1.0) * step)


def _log_steps(low: float, high: float) -> list[float]:
    """Give round numbers between two: 1, 2 and 5 times powers of ten, or the powers alone where there are many."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    factors = (1.0, 2.0, 5.0) if len(powers) <= 3 else (1.0,)
    return [step for power in powers for factor in factors if low <= (step := float(f"{factor}e{power}")) <= high]


def _dots(svg: Element, card: Scorecard, axes: _Axes) -> None:
    """Draw the single models; the labels of those that matter, pushed apart."""
    singles = sorted(card.singles, key=lambda single: -single.quality.value)
    places = [(float(axes.x(single.cost.value)), float(axes.y(single.quality.value))) for single in singles]
    taken = [(x - 6, x + 6, y + 4) for x, y in places]
    named = named_models(card)
    ink = inked(card)
    lines = [place for method in card.methods if method.name in ink for place in _along(axes, method)]
    for single, (x, y) in zip(singles, places, strict=True):
        _title(_add(svg, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="4", class_="dot"), single.model)
        if single.model not in named:
            continue
        name = single.model if len(single.model) <= 24 else f"{single.model[:23]}…"
        width = LETTER * len(name)
        right = x + 8 + width < WIDTH - RIGHT
        start = x + 8 if right else x - 8 - width
        # To the left of a dot the lines arrive; to the right a label is beside them.
        places_taken = taken if right else taken + lines
        near = [other for begin, end, other in places_taken if start < end and begin < start + width]
        # Below the dot where there is room, above it, or as far below as it takes.
        under = y + (14 if right else 20)
        below = [under] if under < HEIGHT - BOTTOM else []
        levels = itertools.chain(below, [y - 8], itertools.count(y + 16, 2.0))
        level = next(level for level in levels if all(abs(level - other) >= LINE_HEIGHT for other in near))
        taken.append((start, start + width, level))
        if abs(level - y) > AWAY:
            _add(
                svg, "path", d=f"M{x:.1f} {y:.1f}L{start + (0.0 if right else width):.1f} {level - 8:.1f}", class_="tie"
            )
        anchor = {"x": f"{x + 8:.1f}"} if right else {"x": f"{x - 8:.1f}", "text_anchor": "end"}
        _add(svg, "text", name, class_="halo", **anchor, y=f"{level:.1f}")


def _along(axes: _Axes, method: MethodResult) -> list[tuple[float, float, float]]:
    """Give the places that a line takes from labels."""
    order = np.lexsort((method.quality, method.cost))
    x, y = axes.x(method.cost[order]), axes.y(method.quality[order])
    across = np.arange(x[0], x[-1], 4.0)
    return [(at - 2.0, at + 2.0, up + 4.0) for at, up in zip(across.tolist(), np.interp(across, x, y), strict=True)]


def _points(axes: _Axes, cost: FloatArray, quality: FloatArray) -> list[str]:
    return [f"{x:.1f},{y:.1f}" for x, y in zip(axes.x(cost), axes.y(quality), strict=True)]


def _style(index: int) -> dict[str, str]:
    place = index % len(DASHES)
    dash = {"stroke_dasharray": DASHES[place]} if DASHES[place] else {}
    return {"fill": "none", "stroke": f"var(--c{place})", "stroke_width": "3" if index == 0 else "1.6", **dash}


def _svg(width: int, height: int, label: str = "") -> Element:
    """Start a chart; one without a label is only decoration."""
    said = {"role": "img", "aria-label": label} if label else {"aria-hidden": "true"}
    return Element("svg", {"viewBox": f"0 0 {width} {height}", **said})


def _add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    """Add an element; in the names of its attributes, an underscore stands for a dash, and `class_` for "class"."""
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    element = ElementTree.SubElement(parent, tag, named)
    element.text = text or None
    return element


def _title(parent: Element, text: str) -> None:
    """Say what a mark is, where a pointer rests on it."""
    _add(parent, "title", text)


def _written(svg: Element) -> str:
    return ElementTree.tostring(svg, encoding="unicode")
