"""Cascade routing: decide, per query, which model to run next or to stop, at an expected cost that you set."""

from headrace._core import __version__
from headrace.outcomes import Outcomes, Responses
from headrace.rules import (
    Cascade,
    CascadeRouting,
    Decision,
    IndexRule,
    Routing,
    Rule,
    ThresholdCascade,
    expected_max,
)

__all__ = [
    "Cascade",
    "CascadeRouting",
    "Decision",
    "IndexRule",
    "Outcomes",
    "Responses",
    "Routing",
    "Rule",
    "ThresholdCascade",
    "__version__",
    "expected_max",
]
