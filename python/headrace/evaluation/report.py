"""The report: one HTML page that needs nothing else, for a screen of any size, light or dark, and for paper."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.charts import Curve, curve_chart, reliability_chart, swatch
from headrace.evaluation.diagnostics import entropy
from headrace.evaluation.evaluation import Evaluation
from headrace.evaluation.summary import plain
from headrace.evaluation.verdict import LABELS

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
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_text(page(evaluation, title=title, show_text=show_text), encoding="utf-8")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def page(evaluation: Evaluation, *, title: str = "Router report", show_text: bool = False) -> str:
    """Give the report as text; arguments as in `write_report`."""
    curve = curve_chart(evaluation)
    sections = [
        _heading(evaluation, title),
        _curve(evaluation, curve),
        _methods(evaluation),
        _singles(evaluation),
        _policy(evaluation),
        _latency(evaluation),
        _reliability(evaluation),
        _examples(evaluation, show_text),
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
    return resources.files("headrace.evaluation").joinpath(name).read_text(encoding="utf-8")


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


def _methods(evaluation: Evaluation) -> str:
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
        f"<h2>Methods</h2>{_table(head, rows, chosen=0)}"
        '<p class="soft">Area: mean quality over the costs from the cheapest to the dearest single model. '
        "Brackets: 95% paired bootstrap over the test queries; a difference whose bracket holds 0 is not shown by "
        "these data. Over budget: realised above permitted cost, mean over all budgets. Baselines were calibrated on "
        f"{escape(evaluation.calibrated_on)}. The oracle knows the outcomes: a bound, not a method.</p>"
    )


def _singles(evaluation: Evaluation) -> str:
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
    return f"<h2>Against single models</h2>{_table(head, rows, chosen=best)}"


def _policy(evaluation: Evaluation) -> str:
    router, at = evaluation.methods[0], evaluation.at
    budget = f"{evaluation.budgets[at]:.4g}"
    models = range(len(evaluation.models))
    bars = "".join(
        f'<tr><th scope="row">{escape(evaluation.models[j])}</th>'
        f'<td id="answer-{j}">{100 * evaluation.answers[at, j]:.0f}%</td>'
        f'<td id="run-{j}">{100 * evaluation.runs[at, j]:.0f}%</td><td class="track" aria-hidden="true">'
        f'<span class="bar" id="answer-bar-{j}" style="width:{100 * evaluation.answers[at, j]:.2f}%"></span>'
        f'<span class="bar run" id="run-bar-{j}" style="width:{100 * evaluation.runs[at, j]:.2f}%"></span></td></tr>'
        for j in models
    )
    low, high = np.quantile(router.resampled_quality[:, at], (0.025, 0.975))
    return (
        "<h2>Where queries go</h2>"
        f'<div class="slider"><label for="budget">Budget per query: <output id="at-budget" for="budget">{budget}'
        f'</output></label><input type="range" id="budget" min="0" max="{len(evaluation.budgets) - 1}" step="1" '
        f'value="{at}"></div><dl class="numbers">'
        f'<div><dt>quality</dt><dd><span id="at-quality">{100 * router.quality[at]:.1f}%</span>'
        f'<small id="at-interval">95%: {100 * low:.1f}% to {100 * high:.1f}%</small></dd></div>'
        f'<div><dt>realised cost</dt><dd id="at-cost">{router.cost[at]:.4g}</dd></div>'
        f'<div><dt>runs per query</dt><dd id="at-runs">{router.n_runs[at]:.2f}</dd></div></dl>'
        '<div class="scroll"><table class="bars"><thead><tr><th scope="col">model</th><th scope="col">answers</th>'
        '<th scope="col">is run</th><th scope="col" class="track" aria-hidden="true"></th></tr></thead>'
        f"<tbody>{bars}</tbody></table></div><h2>First model, and model that answers</h2>{_flow(evaluation)}"
        f'<p class="soft">At the budget of {budget}, the entropy of the answers is '
        f"{entropy(evaluation.answers[at]):.2f} of 1.</p>"
    )


def _flow(evaluation: Evaluation) -> str:
    flow = evaluation.flows[evaluation.at]
    names = [escape(model) for model in evaluation.models]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = []
    for j, name in enumerate(names):
        cells = "".join(
            f'<td id="flow-{j}-{a}"><i style="opacity:{0.45 * np.sqrt(flow[j, a]):.3f}"></i>'
            f"<span>{f'{100 * flow[j, a]:.1f}%' if flow[j, a] >= 0.0005 else '–'}</span></td>"
            for a in range(len(names))
        )
        rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    return (
        '<div class="scroll"><table class="flow"><thead><tr><th scope="col">first run ↓ &nbsp; answer →</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _latency(evaluation: Evaluation) -> str:
    if not evaluation.latency:
        return ""
    rows = [
        [LABELS.get(row.name, row.name), f"{row.mean:.3g}", f"{row.median:.3g}", f"{row.percentile_95:.3g}"]
        for row in evaluation.latency
    ]
    return (
        f"<h2>Seconds</h2>{_table(['', 'mean', 'median', '95th percentile'], rows, chosen=0)}"
        '<p class="soft">The runs of one query come one after the other: their seconds add up.</p>'
    )


def _reliability(evaluation: Evaluation) -> str:
    plots = []
    for model in evaluation.models:
        entries = [entry for entry in evaluation.reliability if entry.model == model]
        errors = ", ".join(f"{entry.stage} {100 * entry.error:.1f}" for entry in entries)
        plots.append(
            f"<figure><h3>{escape(model)}</h3>{reliability_chart(entries)}"
            f"<figcaption>error in points: {errors}</figcaption></figure>"
        )
    return (
        "<h2>Are the estimates right?</h2><p>Estimated quality (across) against realised quality (up), in groups of "
        "queries with like estimates: points on the diagonal are right. Dots: before any run; squares: once the model "
        f'itself has run.</p><div class="plots">{"".join(plots)}</div>'
    )


def _examples(evaluation: Evaluation, show_text: bool) -> str:
    if not evaluation.examples:
        return ""
    shown = "".join(_example(example, show_text) for example in evaluation.examples)
    return f"<h2>Single decisions</h2><p>One query of each of the most frequent courses.</p>{shown}"


def _example(example: dict[str, Any], show_text: bool) -> str:
    course = " → ".join(escape(model) for model in example["run"])
    alike = f"{example['n_alike']} quer{'y takes' if example['n_alike'] == 1 else 'ies take'} this course"
    text = f"<blockquote>{escape(example['text'])}</blockquote>" if show_text and example["text"] is not None else ""
    steps = "".join(f"<li>{_step(step, example['realised'])}</li>" for step in example["steps"])
    return (
        f"<details><summary><strong>{course}</strong>; answer of {escape(example['answer'])}, quality "
        f"{example['quality']:.3g}, cost {example['cost']:.4g}; {alike}</summary>"
        f'<p class="soft">query {escape(example["id"])}</p>{text}<ol>{steps}</ol></details>'
    )


def _step(step: dict[str, Any], realised: dict[str, float]) -> str:
    plan = " + ".join(escape(model) for model in step["plan"])
    value = "" if step["value"] is None else f", expected quality {step['value']:.3f}"
    said = f"Run {escape(step['next'])}; the plan is {plan}{value}." if step["next"] else f"Stop{value}."
    rows = []
    for row in step["models"]:
        cost = row["cost"] if isinstance(row["cost"], dict) else {"": row["cost"]}
        costs = ", ".join(f"{number:.4g} {name}".strip() for name, number in cost.items())
        state = f"has run: {realised[row['model']]:.3g}" if row["run"] else "in the plan" if row["in_plan"] else ""
        rows.append([row["model"], f"{row['quality']:.3f} ± {row['sd']:.3f}", costs, state])
    return f"{said}{_table(['model', 'estimated quality', 'estimated cost', ''], rows)}"


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
    return "<h2>Notes</h2>" + "".join(f'<p class="soft">{escape(note)}</p>' for note in notes)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], chosen: int | None = None) -> str:
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
    low = f"{100 * part.low:.0f}" if np.isfinite(part.low) else "none"
    return f"{100 * part.value:.0f}% [{low}, {100 * part.high:.0f}]"
