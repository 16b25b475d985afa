"""Sections of a report on where queries go, how right the estimates are, and on single decisions."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from headrace.evaluation.evaluation import Evaluation
from headrace.evaluation.report.charts import reliability_chart
from headrace.evaluation.report.summary import policy_words
from headrace.evaluation.report.tables import table
from headrace.evaluation.report.verdict import LABELS
from headrace.evaluation.traffic import entropy

__all__ = ["examples", "latency", "policy", "reliability"]


def policy(evaluation: Evaluation) -> str:
    """Show the policy at each budget: a slider, numbers, and where queries go."""
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
        f'<p class="soft">Chosen at a budget of {budget}: {escape(policy_words(evaluation))}.</p>'
        '<div class="scroll"><table class="bars"><thead><tr><th scope="col">model</th>'
        '<th scope="col"><span class="key" aria-hidden="true"></span>answers</th>'
        '<th scope="col"><span class="key run" aria-hidden="true"></span>is run</th>'
        '<th scope="col" class="track" aria-hidden="true"></th></tr></thead>'
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


def latency(evaluation: Evaluation) -> str:
    """Show seconds per query, where there are any."""
    if not evaluation.latency:
        return ""
    rows = [
        [LABELS.get(row.name, row.name), f"{row.mean:.3g}", f"{row.median:.3g}", f"{row.percentile_95:.3g}"]
        for row in evaluation.latency
    ]
    return (
        f"<h2>Seconds</h2>{table(['', 'mean', 'median', '95th percentile'], rows, chosen=0)}"
        '<p class="soft">The runs of one query come one after the other: their seconds add up.</p>'
    )


def reliability(evaluation: Evaluation) -> str:
    """Show estimated against realised quality of each model."""
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


def examples(evaluation: Evaluation, show_text: bool) -> str:
    """Explain some decisions."""
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
    return f"{said}{table(['model', 'estimated quality', 'estimated cost', ''], rows)}"
