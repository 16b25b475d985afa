"""Cascade routing: per query, decide which model to run next or to stop, at an expected cost that you set."""

from headrace import datasets, estimators
from headrace._core import __version__
from headrace.belief import Belief
from headrace.outcomes import Outcomes
from headrace.policy import Policy
from headrace.responses import Responses
from headrace.router import Router
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
from headrace.session import Session

__all__ = [
    "Belief",
    "Cascade",
    "CascadeRouting",
    "Decision",
    "IndexRule",
    "Outcomes",
    "Policy",
    "Responses",
    "Router",
    "Routing",
    "Rule",
    "Session",
    "ThresholdCascade",
    "__version__",
    "datasets",
    "estimators",
    "expected_max",
]
