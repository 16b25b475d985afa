"""Cascade routing: per query, decide which model to run next or to stop, at an expected cost that you set."""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from headrace.evaluation import evaluate

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
    "evaluate",
    "expected_max",
]


def __getattr__(name: str) -> Any:
    """Import what isn't needed for serving when it is first asked for."""
    if name == "evaluate":
        from headrace.evaluation import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
