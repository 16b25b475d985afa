"""Reliability diagrams: a panel per model, a line per stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.diagnosis.diagnosis import Diagnosis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

#: Most panels side by side, and the side of one in inches.
MOST_COLUMNS, SIDE = 4, 2.9

#: Stages drawn: before any run, after one, and the last; colour-blind safe (Okabe and Ito), with markers of their own.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#E69F00", "marker": "s", "linestyle": "--"},
    {"color": "#D55E00", "marker": "^", "linestyle": ":"},
)


def draw(diagnosis: Diagnosis) -> Figure:
    """Draw estimated against realised quality, with two standard errors, for groups of queries of like estimates.

    Parameters
    ----------
    diagnosis : Diagnosis

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install 'headrace[report]'") from error
    n_models = len(diagnosis.models)
    n_rows = -(-n_models // MOST_COLUMNS)
    n_columns = -(-n_models // n_rows)
    figure = Figure(figsize=(SIDE * n_columns + 0.6, SIDE * n_rows + 0.9), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    low, high = _limits(diagnosis)
    for j, axes in enumerate(panels.flat):
        if j >= n_models:
            axes.remove()
            continue
        _panel(axes, diagnosis, j)
        axes.tick_params(labelbottom=j + n_columns >= n_models)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(handles), frameon=False)
    figure.supxlabel("estimated quality")
    figure.supylabel("realised quality")
    return figure


def _panel(axes: Axes, diagnosis: Diagnosis, model: int) -> None:
    axes.axline((0.0, 0.0), slope=1.0, color="#999999", linewidth=0.8)
    stages = list(dict.fromkeys([0, min(1, len(diagnosis.n_runs) - 1), len(diagnosis.n_runs) - 1]))
    for stage, style in zip(stages, STYLES, strict=False):
        curve = diagnosis.reliability[stage][model]
        axes.errorbar(
            curve.estimate,
            curve.quality,
            yerr=2.0 * curve.quality_error,
            label="before any run" if stage == 0 else curve.stage,
            markersize=4.0,
            linewidth=1.0,
            elinewidth=0.7,
            markerfacecolor="white" if stage else style["color"],
            **style,
        )
    axes.set_title(diagnosis.models[model], fontsize=9)
    axes.grid(alpha=0.25)


def _limits(diagnosis: Diagnosis) -> tuple[float, float]:
    """Give the range of all means; for qualities 0 and 1, from 0 to 1."""
    values = [means for stage in diagnosis.reliability for curve in stage for means in (curve.estimate, curve.quality)]
    low, high = float(np.concatenate(values).min()), float(np.concatenate(values).max())
    if diagnosis.binary.all():
        low, high = min(low, 0.0), max(high, 1.0)
    margin = 0.04 * (high - low or 1.0)
    return low - margin, high + margin
