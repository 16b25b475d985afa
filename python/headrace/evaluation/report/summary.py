"""An evaluation as text for a terminal, and as numbers for JSON."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from headrace.evaluation.baselines import LABELS, LINEAR
from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.conclusion import conclusion
from headrace.evaluation.report.units import Units
from headrace.evaluation.report.verdict import verdict
from headrace.evaluation.scorecard import Scorecard
from headrace.evaluation.traffic import entropy
from headrace.json_values import plain
from headrace.rules import RULES

__all__ = ["as_dict", "policy_words", "summary"]


def summary(card: Scorecard) -> str:
    """Write the verdict, the single models and the methods as text.

    Parameters
    ----------
    card : Scorecard

    Returns
    -------
    str
        Lines of at most about 100 characters, save for long names of models.
    """
    chosen, at, units = card.chosen, card.at, Units.of(card)
    lines = [*verdict(card), ""]
    width = max(18, *(len(single.model) for single in card.singles))
    cost = f"{card.cost_name}/query"
    wide = max(10, len(cost))
    lines.append(f"{'single model':{width}}  {cost:>10}  {units.axis:18} router at its cost")
    for single in card.singles:
        gain = units.signed(single.gain) if np.isfinite(single.gain.value) else "none so cheap"
        lines.append(
            f"{single.model:{width}}  {single.cost.value:>{wide}.4g}  {units.within(single.quality):18} {gain}"
        )
    lines.append("")
    budget = f"at {card.budgets[at]:.3g}"
    area = units.axis.replace("quality", "area")
    lines.append(f"{'method':18}  {area:22} router - method        quality, cost {budget}")
    for method in card.methods:
        difference = card.difference("router", method.name)
        against = "" if method.name == "router" else units.signed(difference, more=1)
        lines.append(
            f"{LABELS[method.name]:18}  {units.within(Estimate(method.area, *method.interval), more=1):22} "
            f"{against:22} {units.number(method.quality[at])}, {method.cost[at]:.4g}"
        )
    lines.append("")
    lines.append(f"answered by: {_shares(card, chosen.answers)} (entropy {entropy(chosen.answers):.2f} of 1)")
    lines.append(f"run: {_shares(card, chosen.runs)}; {chosen.n_runs:.2f} runs per query")
    lines.append(f"policy: {policy_words(card)}")
    lines.extend(
        f"seconds, {row.name}: mean {row.mean:.3g}, median {row.median:.3g}, 95% {row.percentile_95:.3g}"
        for row in card.latency
    )
    lines.append(
        "area: mean quality over the costs from the cheapest to the most expensive model; brackets: 95% paired "
        f"bootstrap; baselines calibrated on {card.calibrated_on}"
    )
    lines.extend(f"left out: {LABELS[name]}, {reason}" for name, reason in card.left_out.items())
    return "\n".join(lines)


def policy_words(card: Scorecard) -> str:
    """Say which rule decides, with which settings, and what it was predicted to bring."""
    chosen, policy = card.chosen, card.chosen.policy
    kind = RULES[policy.rule]
    cheap, costly = (f"{kind.parameter} {kind.sign * parameter:.4g}" for parameter in policy.parameters)
    mixed = policy.share < 1.0 and cheap != costly
    parts = [f"{cheap} for {100.0 * policy.share:.0f}% of the queries, {costly} for the others" if mixed else cheap]
    parts += [
        f"{setting.replace('_', ' ')} {value:g}" for setting, value in policy.settings.items() if setting != "order"
    ]
    if chosen.guarantee is not None:
        parts.append(f"guaranteed with probability {chosen.guarantee.confidence:g}, {chosen.guarantee.condition}")
    return (
        f"{LABELS[policy.rule]}, {'; '.join(parts)}. On the calibration queries: cost {chosen.predicted_cost:.4g}, "
        f"quality {Units.of(card).quality(chosen.predicted_quality)}"
    )


def _shares(card: Scorecard, shares: Any) -> str:
    return ", ".join(f"{model} {100.0 * share:.0f}%" for model, share in zip(card.models, shares, strict=True))


def as_dict(card: Scorecard) -> dict[str, Any]:
    """Collect all numbers, ready for JSON: an estimate is a dict of "value", "low" and "high"."""
    chosen = card.chosen
    known = {method.name for method in card.methods}
    result = {
        "format": "headrace-evaluation-1",
        "rule": card.rule,
        "models": card.models,
        "cost_name": card.cost_name,
        "n_fit": card.n_fit,
        "n_test": card.n_test,
        "n_dropped": card.n_dropped,
        "left_out": card.left_out,
        "calibrated_on": card.calibrated_on,
        "estimation_cost": card.estimation_cost,
        "estimation_seconds": card.estimation_seconds,
        "estimation_per": card.estimation_per,
        "verdict": verdict(card),
        "conclusion": conclusion(card),
        "splits": None if card.again is None else {**card.again._asdict(), "n_flips": card.again.n_flips},
        "budgets": card.budgets,
        "chosen_budget": card.at,
        "chosen": {field.name: getattr(chosen, field.name) for field in fields(chosen)}
        | {
            "guarantee": None if chosen.guarantee is None else chosen.guarantee.to_dict(),
            "policy": json.loads(chosen.policy.to_json()),
            "entropy": entropy(chosen.answers),
        },
        "bought": list(card.bought),
        "paid_columns": [
            {
                "bought": one.name,
                "area": dict(zip(("value", "low", "high"), (one.area, *one.interval), strict=True)),
                "router_minus_this": card.choice_minus(one.name),
                "cost": one.cost,
                "quality": one.quality,
                "feasible": one.feasible,
            }
            for one in card.paid
        ],
        "single_models": [single._asdict() for single in card.singles],
        "best_single_model": card.best_single.model,
        "methods": [
            {
                "method": method.name,
                "area": dict(zip(("value", "low", "high"), (method.area, *method.interval), strict=True)),
                "router_minus_method": card.difference("router", method.name),
                "quality_at_chosen_budget": _at(card, method.name),
                "over_budget": method.excess,
                "uncertainty_scale": method.uncertainty_scale,
                "cost": method.cost,
                "quality": method.quality,
                "quality_interval": np.quantile(method.resampled_quality, (0.025, 0.975), axis=0),
                "n_runs": method.n_runs,
                "feasible": method.feasible,
                "further_costs": method.further_costs,
            }
            for method in card.methods
        ],
        "beats_mixing": card.difference("router", LINEAR).low > 0.0 if LINEAR in known else None,
        "answers": card.answers,
        "runs": card.runs,
        "flows": card.flows,
        "reliability": [entry._asdict() for entry in card.reliability],
        "latency": [row._asdict() for row in card.latency],
        "examples": [{key: value for key, value in row.items() if key != "text"} for row in card.examples],
    }
    cleaned: dict[str, Any] = plain(result)
    return cleaned


def _at(card: Scorecard, name: str) -> dict[str, float]:
    method, at = card[name], card.at
    low, high = np.quantile(method.resampled_quality[:, at], (0.025, 0.975))
    return {"value": float(method.quality[at]), "low": float(low), "high": float(high)}
