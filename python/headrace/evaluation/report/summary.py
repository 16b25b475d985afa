"""An evaluation as text for a terminal, and as numbers for JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from headrace.evaluation.baselines import LINEAR
from headrace.evaluation.evaluation import Evaluation
from headrace.evaluation.report.verdict import LABELS
from headrace.evaluation.traffic import entropy
from headrace.json_values import plain
from headrace.rules import RULES

__all__ = ["as_dict", "policy_words", "summary"]


def summary(evaluation: Evaluation) -> str:
    """Write the verdict, the single models and the methods as text.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    str
        Lines of at most about 100 characters, save for long names of models.
    """
    chosen, at = evaluation.chosen, evaluation.at
    lines = [*evaluation.verdict, ""]
    width = max(18, *(len(single.model) for single in evaluation.singles))
    lines.append(f"{'single model':{width}}  {'cost':>10}  quality (%)        router at its cost")
    for single in evaluation.singles:
        low, high = (100.0 * end for end in single.quality[1:])
        gain = f"{100.0 * single.gain.value:+.1f}" if np.isfinite(single.gain.value) else "none so cheap"
        lines.append(
            f"{single.model:{width}}  {single.cost.value:>10.4g}  "
            f"{100.0 * single.quality.value:5.1f} [{low:.1f}, {high:.1f}]  {gain}"
        )
    lines.append("")
    budget = f"at {evaluation.budgets[at]:.3g}"
    lines.append(f"{'method':18}  area (%)                 AIQ (%)  router - method        quality, cost {budget}")
    for method in evaluation.methods:
        low, high = (100.0 * end for end in method.interval)
        difference = evaluation.difference("router", method.name)
        against = "" if method.name == "router" else _points(*difference)
        lines.append(
            f"{LABELS[method.name]:18}  {100.0 * method.area:6.2f} [{low:.2f}, {high:.2f}]  "
            f"{100.0 * method.aiq.value:6.2f}  {against:22}  {100.0 * method.quality[at]:.1f}, {method.cost[at]:.4g}"
        )
    lines.append("")
    lines.append(f"answered by: {_shares(evaluation, chosen.answers)} (entropy {entropy(chosen.answers):.2f} of 1)")
    lines.append(f"run: {_shares(evaluation, chosen.runs)}; {chosen.n_runs:.2f} runs per query")
    lines.append(f"policy: {policy_words(evaluation)}")
    lines.extend(
        f"seconds, {row.name}: mean {row.mean:.3g}, median {row.median:.3g}, 95% {row.percentile_95:.3g}"
        for row in evaluation.latency
    )
    lines.append(
        f"area: mean quality over the costs from the cheapest to the dearest model; brackets: 95% paired bootstrap; "
        f"baselines calibrated on {evaluation.calibrated_on}"
    )
    return "\n".join(lines)


def policy_words(evaluation: Evaluation) -> str:
    """Say which rule decides, with which settings, and what it was predicted to bring."""
    chosen, policy = evaluation.chosen, evaluation.chosen.policy
    kind = RULES[policy.rule]
    cheap, dear = (f"{kind.parameter} {kind.sign * parameter:.4g}" for parameter in policy.parameters)
    mixed = policy.share < 1.0 and cheap != dear
    parts = [f"{cheap} for {100.0 * policy.share:.0f}% of the queries, {dear} for the others" if mixed else cheap]
    parts += [
        f"{setting.replace('_', ' ')} {value:g}" for setting, value in policy.settings.items() if setting != "order"
    ]
    if chosen.guarantee is not None:
        parts.append(f"guaranteed with probability {chosen.guarantee.confidence:g}")
    return (
        f"{LABELS[policy.rule]}, {'; '.join(parts)}. On the calibration queries: cost {chosen.predicted_cost:.4g}, "
        f"quality {100.0 * chosen.predicted_quality:.1f}%"
    )


def _points(value: float, low: float, high: float) -> str:
    return f"{100.0 * value:+.2f} [{100.0 * low:+.2f}, {100.0 * high:+.2f}]"


def _shares(evaluation: Evaluation, shares: Any) -> str:
    return ", ".join(f"{model} {100.0 * share:.0f}%" for model, share in zip(evaluation.models, shares, strict=True))


def as_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Collect all numbers, ready for JSON: an estimate is a dict of "value", "low" and "high"."""
    chosen = evaluation.chosen
    known = {method.name for method in evaluation.methods}
    result = {
        "format": "headrace-evaluation-1",
        "rule": evaluation.rule,
        "models": evaluation.models,
        "cost_name": evaluation.cost_name,
        "n_test": evaluation.n_test,
        "n_dropped": evaluation.n_dropped,
        "calibrated_on": evaluation.calibrated_on,
        "estimation_cost": evaluation.estimation_cost,
        "estimation_seconds": evaluation.estimation_seconds,
        "estimation_per": evaluation.estimation_per,
        "verdict": evaluation.verdict,
        "budgets": evaluation.budgets,
        "chosen_budget": evaluation.at,
        "chosen": chosen._asdict()
        | {
            "guarantee": None if chosen.guarantee is None else chosen.guarantee._asdict(),
            "policy": json.loads(chosen.policy.to_json()),
            "entropy": entropy(chosen.answers),
        },
        "single_models": [single._asdict() for single in evaluation.singles],
        "best_single_model": evaluation.best_single.model,
        "methods": [
            {
                "method": method.name,
                "area": dict(zip(("value", "low", "high"), (method.area, *method.interval), strict=True)),
                "aiq": method.aiq,
                "arena_score": evaluation.arena[method.name],
                "router_minus_method": evaluation.difference("router", method.name),
                "quality_at_chosen_budget": _at(evaluation, method.name),
                "over_budget": method.excess,
                "uncertainty_scale": method.uncertainty_scale,
                "cost": method.cost,
                "quality": method.quality,
                "quality_interval": np.quantile(method.resampled_quality, (0.025, 0.975), axis=0),
                "n_runs": method.n_runs,
                "feasible": method.feasible,
                "further_costs": method.further_costs,
            }
            for method in evaluation.methods
        ],
        "arena_range": evaluation.arena_range,
        "beats_mixing": evaluation.difference("router", LINEAR).low > 0.0 if LINEAR in known else None,
        "answers": evaluation.answers,
        "runs": evaluation.runs,
        "flows": evaluation.flows,
        "reliability": [entry._asdict() for entry in evaluation.reliability],
        "latency": [row._asdict() for row in evaluation.latency],
        "examples": [{key: value for key, value in row.items() if key != "text"} for row in evaluation.examples],
    }
    cleaned: dict[str, Any] = plain(result)
    return cleaned


def _at(evaluation: Evaluation, name: str) -> dict[str, float]:
    method, at = evaluation[name], evaluation.at
    low, high = np.quantile(method.resampled_quality[:, at], (0.025, 0.975))
    return {"value": float(method.quality[at]), "low": float(low), "high": float(high)}
