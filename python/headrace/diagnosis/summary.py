"""A diagnosis as text for a terminal, and as numbers for JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from headrace.diagnosis.diagnosis import Diagnosis
from headrace.diagnosis.findings import CONFIDENCE, FEWEST

__all__ = ["as_dict", "summary"]


def summary(diagnosis: Diagnosis) -> str:
    """Write the findings, the scores of each model at each stage, and the costs as text.

    Parameters
    ----------
    diagnosis : Diagnosis

    Returns
    -------
    str
    """
    return "\n".join([*_verdict(diagnosis), "", *_scores(diagnosis), "", *_costs(diagnosis)])


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


def as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """Collect all numbers, ready for JSON."""
    return {
        "models": list(diagnosis.models),
        "n_queries": diagnosis.n_queries,
        "n_runs": list(diagnosis.n_runs),
        "binary": diagnosis.binary.tolist(),
        "quality": diagnosis.quality.tolist(),
        "scores": {name: _plain(values.tolist()) for name, values in diagnosis.scores.items()},
        "reliability": [[_plain(curve._asdict()) for curve in stage] for stage in diagnosis.reliability],
        "costs": [_plain(entry._asdict()) for entry in diagnosis.costs],
        "findings": [_plain(finding._asdict()) for finding in diagnosis.findings],
    }


def _plain(value: Any) -> Any:
    """Turn arrays and tuples into lists, and what isn't finite into None."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
