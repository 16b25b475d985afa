"""What a page says of the policy: where queries go, how right the estimates are, single decisions."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.evaluation.report.charts import reliability_chart
from headrace.evaluation.report.tables import step
from headrace.evaluation.report.units import Units
from headrace.evaluation.scorecard import Scorecard

__all__ = ["bars", "decisions", "flow", "plots"]


def bars(card: Scorecard) -> list[dict[str, Any]]:
    """Give, for each model at the chosen budget, the shares of the queries that it answers, and on which it is run."""
    answers, runs = card.answers[card.at].tolist(), card.runs[card.at].tolist()
    return [
        {"model": model, "answers": answer, "runs": run}
        for model, answer, run in zip(card.models, answers, runs, strict=True)
    ]


def flow(card: Scorecard) -> list[dict[str, Any]]:
    """Give, for each model that may run first, the cells of the models that answer: what each says, how dark it is."""
    return [
        {
            "model": model,
            "cells": [
                {"says": f"{100 * share:.1f}%" if share >= 0.0005 else "–", "opacity": f"{0.45 * np.sqrt(share):.3f}"}
                for share in row
            ],
        }
        for model, row in zip(card.models, card.flows[card.at].tolist(), strict=True)
    ]


def plots(card: Scorecard) -> list[dict[str, str]]:
    """Draw estimated against realised quality of each model."""
    drawn, units = [], Units.of(card)
    for model in card.models:
        entries = [entry for entry in card.reliability if entry.model == model]
        errors = ", ".join(f"{entry.stage} {units.number(entry.error)}" for entry in entries)
        drawn.append({"model": model, "svg": reliability_chart(entries, units), "errors": errors})
    return drawn


def decisions(card: Scorecard, *, show_text: bool) -> list[dict[str, Any]]:
    """Explain some decisions; with the texts of their queries where that is wanted."""
    return [
        {
            **example,
            "text": example["text"] if show_text else None,
            "quality": Units.of(card).quality(example["quality"]),
            "steps": [_said(one, example["realised"], Units.of(card)) for one in example["steps"]],
        }
        for example in card.examples
    ]


def _said(one: dict[str, Any], realised: dict[str, float], units: Units) -> dict[str, Any]:
    value = "" if one["value"] is None else f", believed value {units.quality(one['value'])}"
    run = f"Run {one['next']}; the plan is {' + '.join(one['plan'])}{value}."
    return {"says": run if one["next"] else f"Stop{value}.", "table": step(one["models"], realised, units)}
