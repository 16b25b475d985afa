"""A session as a table, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.notebook import html_table
from headrace.policy.explanation import Explanation

__all__ = ["session_table"]


def session_table(title: str, why: Explanation) -> str:
    """Give the HTML of what is believed of each model now, and what becomes of it."""
    rows = [
        (row["model"], f"{row['quality']:.3f}", f"{row['sd']:.3f}", f"{row['cost']:.4g}", _state(row, why))
        for row in why.models
    ]
    return html_table(title, rows, ("model", "quality", "sd", "cost", ""))


def _state(row: Mapping[str, Any], why: Explanation) -> str:
    """Say what is to be said of a model in a table."""
    if row["run"]:
        return "has run"
    if not row["allowed"]:
        return why.excluded.get(row["model"], "may not run")
    return "next" if row["model"] == why.next else "in plan" if row["in_plan"] else ""
