"""The report: one HTML page that needs nothing else, for a screen of any size, light or dark, and for paper."""

from __future__ import annotations

import json
import os
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np

from headrace.atomic_file import draft_of
from headrace.evaluation.evaluation import Evaluation
from headrace.evaluation.report.charts import Curve, curve_chart, swatch
from headrace.evaluation.report.policy import examples, latency, policy, reliability
from headrace.evaluation.report.tables import methods, singles
from headrace.evaluation.report.verdict import LABELS
from headrace.json_values import plain

__all__ = ["page", "write_report"]


def write_report(
    evaluation: Evaluation, path: str | os.PathLike[str], *, title: str = "Router report", show_text: bool = False
) -> Path:
    """Write the report to a file: to a temporary name first, then renamed.

    Parameters
    ----------
    evaluation : Evaluation
    path : path
        Where it goes, e.g. "report.html".
    title : str
    show_text : bool, default False
        Whether the examples show the texts of their queries. Their ids are shown in any case.

    Returns
    -------
    Path
    """
    with draft_of(path) as draft:
        draft.write_text(page(evaluation, title=title, show_text=show_text), encoding="utf-8")
    return Path(path)


def page(evaluation: Evaluation, *, title: str = "Router report", show_text: bool = False) -> str:
    """Give the report as text; arguments as in `write_report`."""
    curve = curve_chart(evaluation)
    sections = [
        _heading(evaluation, title),
        _curve(evaluation, curve),
        methods(evaluation),
        singles(evaluation),
        policy(evaluation),
        latency(evaluation),
        reliability(evaluation),
        examples(evaluation, show_text),
        _notes(evaluation),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_asset('report.css')}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + f'\n</main><script type="application/json" id="path">{_path_data(evaluation, curve)}</script>'
        + f"<script>{_asset('report.js')}</script></body></html>\n"
    )


def _asset(name: str) -> str:
    return resources.files("headrace.evaluation.report").joinpath(name).read_text(encoding="utf-8")


def _path_data(evaluation: Evaluation, curve: Curve) -> str:
    """Give the numbers that the slider shows, as JSON that can't end its element."""
    router = evaluation.methods[0]
    low, high = np.quantile(router.resampled_quality, (0.025, 0.975), axis=0)
    data = {
        "models": evaluation.models,
        "budgets": evaluation.budgets,
        "cost": router.cost,
        "quality": router.quality,
        "low": low,
        "high": high,
        "n_runs": router.n_runs,
        "answers": np.round(evaluation.answers, 5),
        "runs": np.round(evaluation.runs, 5),
        "flows": np.round(evaluation.flows, 5),
        "x": np.round(curve.x, 1),
        "y": np.round(curve.y, 1),
    }
    text = json.dumps(plain(data), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _heading(evaluation: Evaluation, title: str) -> str:
    first, *others = evaluation.verdict
    dropped = f", {evaluation.n_dropped} left out for missing cells" if evaluation.n_dropped else ""
    return (
        f"<h1>{escape(title)}</h1>"
        f'<p class="soft">{escape(LABELS[evaluation.rule])} among {len(evaluation.models)} models, on '
        f"{evaluation.n_test} held-out queries{dropped}</p>"
        f'<p class="verdict"><strong>{escape(first)}</strong> {escape(" ".join(others))}</p>'
    )


def _curve(evaluation: Evaluation, curve: Curve) -> str:
    legend = "".join(
        f"<li>{swatch(i)}{escape(LABELS[method.name])}</li>" for i, method in enumerate(evaluation.methods)
    )
    return (
        f'<h2>Quality for cost</h2><figure class="curve">{curve.svg}<figcaption>'
        f'<ul class="legend" aria-label="Legend">{legend}</ul>'
        "Shaded: 95% interval of this router. Dots: single models. Ring: the budget of the slider below."
        "</figcaption></figure>"
    )


def _notes(evaluation: Evaluation) -> str:
    low, high = evaluation.arena_range
    notes = [
        "AIQ: area under the non-decreasing concave hull of the curve (RouterBench), over the same range of costs.",
        f"Arena score: RouterArena's formula at the chosen budget, costs from {low:.3g} (1) to {high:.3g} (0).",
        "Intervals cover the sampling of the test queries, not that of the queries which the router was fitted on.",
    ]
    if evaluation.estimation_cost:
        notes.append(
            f"Realised costs include {evaluation.estimation_cost:.4g} per {evaluation.estimation_per} for estimates."
        )
    if evaluation.estimation_seconds:
        notes.append(
            f"Seconds of this router include {evaluation.estimation_seconds:.3g} per {evaluation.estimation_per} for "
            "estimates and decisions."
        )
    return "<h2>Notes</h2>" + "".join(f'<p class="soft">{escape(note)}</p>' for note in notes)
