"""Charts of a report, as SVG with colours by class: they follow the page's light and dark mode."""

from __future__ import annotations

import itertools
from html import escape
from typing import NamedTuple

import numpy as np

from headrace.arguments import FloatArray
from headrace.evaluation.baselines import ORACLE
from headrace.evaluation.evaluation import Evaluation
from headrace.evaluation.report.verdict import LABELS
from headrace.evaluation.traffic import Reliability

__all__ = ["Curve", "curve_chart", "reliability_chart", "swatch"]

#: Size of the chart of curves, and its margins: left, top, right, bottom.
WIDTH, HEIGHT = 560, 380
LEFT, TOP, RIGHT, BOTTOM = 46, 12, 14, 40

#: Least distance of two labels, one below the other, and width of a letter: those of a phone, where letters are larger.
LINE_HEIGHT, LETTER = 17.0, 9.0

#: Side of a reliability chart, and its margin.
SIDE, MARGIN = 170, 28

#: Dash patterns, so that lines are told apart without colours.
DASHES = ("", "2 4", "8 4", "2 2", "9 3 2 3", "12 3", "4 4", "1 5", "6 2 1 2 1 2", "3 6")


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


def curve_chart(evaluation: Evaluation) -> Curve:
    """Draw cost against quality: the router with its interval, the other methods, the single models as dots."""
    axes = _axes(evaluation)
    router = evaluation.methods[0]
    low, high = np.quantile(router.resampled_quality, (0.025, 0.975), axis=0)
    order = np.lexsort((router.quality, router.cost))
    there, back = (_points(axes, router.cost[order], ends[order]) for ends in (high, low))
    band = " ".join([*there, *reversed(back)])
    parts = [_grid(axes, evaluation.cost_name), f'<polygon points="{band}" fill="var(--c0)" opacity="0.15"/>']
    for i, method in reversed(list(enumerate(evaluation.methods))):
        along = np.lexsort((method.quality, method.cost))
        line = " ".join(_points(axes, method.cost[along], method.quality[along]))
        parts.append(f'<polyline points="{line}" {_style(i)}><title>{_label(method.name)}</title></polyline>')
    parts.append(_dots(evaluation, axes))
    x, y = axes.x(router.cost), axes.y(router.quality)
    at = evaluation.at
    parts.append(f'<g id="marker" transform="translate({x[at]:.1f} {y[at]:.1f})"><circle r="6" class="marker"/></g>')
    title = "Quality against mean cost per query: the router, the other methods and the single models"
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>'
    return Curve(svg, x, y)


def swatch(index: int) -> str:
    """Draw a short piece of a method's line, for the legend."""
    return f'<svg viewBox="0 0 40 10" aria-hidden="true"><path d="M0 5H40" {_style(index)}/></svg>'


def reliability_chart(entries: list[Reliability]) -> str:
    """Draw estimated against realised quality of one model, before any run and after its own."""
    values = np.concatenate([np.concatenate([entry.estimate, entry.quality]) for entry in entries])
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))

    def place(value: float) -> float:
        return MARGIN + (value - low) / (high - low) * (SIDE - MARGIN - 12)

    near, far = place(low), place(high)
    parts = [
        f'<path d="M{near:.1f} {SIDE - near:.1f}L{far:.1f} {SIDE - far:.1f}" class="grid" stroke-dasharray="3 3"/>',
        f'<path d="M{near:.1f} {SIDE - far:.1f}V{SIDE - near:.1f}H{far:.1f}" class="grid" fill="none"/>',
    ]
    for value in (low, high):
        parts.append(f'<text class="tick" x="{place(value):.1f}" y="{SIDE - 12}" text-anchor="middle">{value:g}</text>')
        parts.append(f'<text class="tick" x="22" y="{SIDE - place(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for entry in entries:
        before = entry.stage == "before"
        for estimate, quality, n in zip(entry.estimate, entry.quality, entry.n, strict=True):
            x, y = place(float(estimate)), SIDE - place(float(quality))
            tip = f"<title>{entry.stage} the run: estimated {estimate:.3f}, realised {quality:.3f}, {n} queries</title>"
            if before:
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="var(--c2)">{tip}</circle>')
            else:
                square = f'x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"'
                parts.append(f'<rect {square} fill="none" stroke="var(--c0)" stroke-width="1.6">{tip}</rect>')
    label = f"Estimated (across) against realised quality (up) of {escape(entries[0].model)}"
    return f'<svg viewBox="0 0 {SIDE} {SIDE}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _axes(evaluation: Evaluation) -> _Axes:
    singles = [(single.cost.value, single.quality.value) for single in evaluation.singles]
    costs = np.concatenate([*(method.cost for method in evaluation.methods), [cost for cost, _ in singles]])
    shown = [method.quality for method in evaluation.methods]
    qualities = np.concatenate([*shown, [quality for _, quality in singles]])
    positive = costs[costs > 0.0]
    # The oracle may be far cheaper than all else; the picture starts at the rest.
    others = np.concatenate([method.cost for method in evaluation.methods if method.name != ORACLE])
    least = float(min(others[others > 0.0].min(), min((cost for cost, _ in singles if cost > 0.0))))
    step = 0.04 * float(np.ptp(qualities) or 1.0)
    return _Axes((0.85 * least, 1.15 * float(positive.max())), (qualities.min() - step, qualities.max() + step))


def _grid(axes: _Axes, cost_name: str) -> str:
    parts = []
    low, high = axes.qualities
    for value in _round_steps(low, high):
        y = float(axes.y(value))
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" class="grid"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{100 * value:.3g}</text>')
    for value in _log_steps(*axes.costs):
        x = float(axes.x(value))
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" class="grid"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    name = escape(cost_name)
    parts.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">mean {name} per query (logarithmic)</text>')
    parts.append(f'<text class="halo" x="{LEFT + 6}" y="{TOP + 12}">quality (%)</text>')
    return "".join(parts)


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


def _dots(evaluation: Evaluation, axes: _Axes) -> str:
    """Draw the single models, their labels pushed apart."""
    singles = sorted(evaluation.singles, key=lambda single: -single.quality.value)
    parts = []
    places = [(float(axes.x(single.cost.value)), float(axes.y(single.quality.value))) for single in singles]
    taken = [(x - 6, x + 6, y + 4) for x, y in places]
    for single, (x, y) in zip(singles, places, strict=True):
        name = single.model if len(single.model) <= 24 else f"{single.model[:23]}…"
        width = LETTER * len(name)
        right = x + 8 + width < WIDTH
        start = x + 8 if right else x - 8 - width
        near = [other for begin, end, other in taken if start < end and begin < start + width]
        # Below the dot where there is room, above it, or as far below as it takes.
        below = [y + 14] if y + 14 < HEIGHT - BOTTOM else []
        levels = itertools.chain(below, [y - 8], itertools.count(y + 16, 2.0))
        level = next(level for level in levels if all(abs(level - other) >= LINE_HEIGHT for other in near))
        taken.append((start, start + width, level))
        anchor = f'x="{x + 8:.1f}"' if right else f'x="{x - 8:.1f}" text-anchor="end"'
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="dot"><title>{escape(single.model)}</title></circle>'
        )
        parts.append(f'<text class="halo" {anchor} y="{level:.1f}">{escape(name)}</text>')
    return "".join(parts)


def _points(axes: _Axes, cost: FloatArray, quality: FloatArray) -> list[str]:
    return [f"{x:.1f},{y:.1f}" for x, y in zip(axes.x(cost), axes.y(quality), strict=True)]


def _style(index: int) -> str:
    place = index % len(DASHES)
    dash = f' stroke-dasharray="{DASHES[place]}"' if DASHES[place] else ""
    return f'fill="none" stroke="var(--c{place})" stroke-width="{3 if index == 0 else 1.6}"{dash}'


def _label(name: str) -> str:
    return escape(LABELS[name])
