"""Diagnosis of a router's estimates, on labelled queries that they have not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.arguments import FloatArray
from headrace.diagnosis.findings import CONFIDENCE, FEWEST, CostScore, Finding
from headrace.diagnosis.reliability import Reliability
from headrace.extras import imported
from headrace.json_values import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Diagnosis"]

#: Most panels side by side, and the side of one in inches.
MOST_COLUMNS, SIDE = 4, 2.9

#: Stages drawn: before any run, after one, and the last; colour-blind safe (Okabe and Ito), with markers of their own.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#E69F00", "marker": "s", "linestyle": "--"},
    {"color": "#D55E00", "marker": "^", "linestyle": ":"},
)


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """How good the estimates are on labelled queries that they have not seen; made by `Router.diagnose`.

    Attributes
    ----------
    models : tuple of str
    n_queries : int
    n_runs : tuple of int
        Number of models run at each stage, from 0 on. Which ones have run differs between queries.
    binary : ndarray of bool of shape (n_models,)
        Whether a model's qualities are all 0 or 1; only then its estimates have a log loss and an AUROC.
    quality : ndarray of shape (n_models,)
        Mean realised quality.
    scores : dict of str to ndarray of shape (n_stages, n_models)
        The fields of `headrace.diagnosis.Scores`, by name, such as "mean_square" (for qualities 0 and 1, the Brier
        score), "r_squared", "calibration_error", "log_loss", "auroc", "bias", "slope". NaN where one isn't defined.
    reliability : tuple of tuple of Reliability
        The reliability diagrams: ``reliability[stage][model]``.
    costs : tuple of CostScore
        Estimated and realised costs before any run, for each cost and model.
    findings : tuple of Finding
        What is wrong, in words; together true with probability 0.95, whatever the number of models.
    """

    models: tuple[str, ...]
    n_queries: int
    n_runs: tuple[int, ...]
    binary: np.typing.NDArray[np.bool_]
    quality: FloatArray
    scores: dict[str, FloatArray]
    reliability: tuple[tuple[Reliability, ...], ...]
    costs: tuple[CostScore, ...]
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        return f"Diagnosis({self.n_queries} queries, {len(self.models)} models, {len(self.findings)} findings)"

    def __str__(self) -> str:
        return self.summary()

    def summary(self) -> str:
        """Give the findings and the table of scores as text for a terminal."""
        return "\n".join([*_verdict(self), "", *_scores(self), "", *_costs(self)])

    def to_dict(self) -> dict[str, Any]:
        """Give all numbers, ready for JSON; what isn't defined is None."""
        names = [field.name for field in fields(self)]
        numbers: dict[str, Any] = plain({name: getattr(self, name) for name in names})
        return numbers

    def plot(self) -> Figure:
        """Draw the reliability diagrams: a panel per model, estimated against realised quality.

        Returns
        -------
        matplotlib.figure.Figure
            ``diagnosis.plot().savefig("reliability.png")`` writes it to a file.

        Raises
        ------
        ImportError
            matplotlib is not installed; the message says how to get it.
        """
        n_models = len(self.models)
        n_rows = -(-n_models // MOST_COLUMNS)
        n_columns = -(-n_models // n_rows)
        figure: Figure = imported("matplotlib.figure", "a picture").Figure(
            figsize=(SIDE * n_columns + 0.6, SIDE * n_rows + 0.9), layout="constrained"
        )
        panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        low, high = _limits(self)
        for j, axes in enumerate(panels.flat):
            if j >= n_models:
                axes.remove()
                continue
            _panel(axes, self, j)
            axes.tick_params(labelbottom=j + n_columns >= n_models)
            axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        handles, labels = panels.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(handles), frameon=False)
        figure.supxlabel("estimated quality")
        figure.supylabel("realised quality")
        return figure


def _verdict(diagnosis: Diagnosis) -> list[str]:
    n = diagnosis.n_queries
    if diagnosis.findings:
        many = len(diagnosis.findings) != 1
        head = f"{len(diagnosis.findings)} finding{'s' if many else ''} on {n} queries"
        head += f" (intervals and tests hold together with probability {CONFIDENCE:.0%}):"
        return [head, *(f"- {finding.text}" for finding in diagnosis.findings)]
    if n < FEWEST:
        return [f"{n} queries are too few to say anything of the estimates: at least {FEWEST} are needed."]
    worst = 2.0 * float(np.nanmax(diagnosis.scores["bias_error"]))
    return [
        f"No fault of the estimates is shown by {n} queries.",
        f"What would not show: a model's estimates off by less than about {worst:.2f} on average.",
    ]


def _scores(diagnosis: Diagnosis) -> list[str]:
    width = max(5, *(len(model) for model in diagnosis.models))
    head = "runs  quality  estimate  mean square  R^2    calibration error (by chance)  log loss  AUROC"
    lines = [f"{'model':{width}}  {head}"]
    for j, model in enumerate(diagnosis.models):
        for i, number in enumerate(diagnosis.n_runs):
            cell = {name: float(values[i, j]) for name, values in diagnosis.scores.items()}
            quality = float(diagnosis.quality[j])
            lines.append(
                f"{model if i == 0 else '':{width}}  {number:>4}  {quality:7.3f}  {quality + cell['bias']:8.3f}  "
                f"{cell['mean_square']:11.4f}  {_number(cell['r_squared'], '.2f'):>5}  "
                f"{cell['calibration_error']:17.3f} ({cell['error_by_chance']:.3f})      "
                f"{_number(cell['log_loss'], '.3f'):>8}  {_number(cell['auroc'], '.3f'):>5}"
            )
    if diagnosis.binary.all():
        lines.append("mean square: the Brier score, as all qualities are 0 or 1; R^2: share of the variance explained")
    else:
        lines.append("R^2: share of the variance explained; log loss and AUROC only where all qualities are 0 or 1")
    return lines


def _costs(diagnosis: Diagnosis) -> list[str]:
    width = max(5, *(len(model) for model in diagnosis.models))
    lines = [f"{'model':{width}}  cost        estimated   realised  difference  R^2"]
    lines.extend(
        f"{entry.model:{width}}  {entry.name:10}  {entry.estimate:9.4g}  {entry.cost:9.4g}  "
        f"{_number(entry.excess, '+.1%'):>10}  {_number(entry.r_squared, '.2f')}"
        for entry in diagnosis.costs
    )
    return lines


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


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
