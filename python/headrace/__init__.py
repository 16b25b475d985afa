"""Cascade routing: per query, decide which model to run next or to stop, at an expected cost that you set."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headrace._core import __version__
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

if TYPE_CHECKING:
    from headrace import datasets, diagnosis, errors, estimators, evaluation, runner, serving
    from headrace.estimators.belief import Belief
    from headrace.estimators.responses import Responses
    from headrace.evaluation import evaluate
    from headrace.outcomes import Outcomes, Recorder
    from headrace.policy import Policy
    from headrace.router import Router
    from headrace.runner import Runner
    from headrace.serving import Decider, Session, load

__all__ = [
    "Belief",
    "Cascade",
    "CascadeRouting",
    "Decider",
    "Decision",
    "IndexRule",
    "Outcomes",
    "Policy",
    "Recorder",
    "Responses",
    "Router",
    "Routing",
    "Rule",
    "Runner",
    "Session",
    "ThresholdCascade",
    "__version__",
    "datasets",
    "diagnosis",
    "errors",
    "estimators",
    "evaluate",
    "evaluation",
    "expected_max",
    "load",
    "runner",
    "serving",
]

#: Where the names are that are imported when they are first asked for: who only decides doesn't load what fits.
_ROOMS = {
    "Belief": "estimators.belief",
    "Decider": "serving",
    "Outcomes": "outcomes",
    "Policy": "policy",
    "Recorder": "outcomes",
    "Responses": "estimators.responses",
    "Router": "router",
    "Runner": "runner",
    "Session": "serving",
    "evaluate": "evaluation",
    "load": "serving",
}


def __getattr__(name: str) -> Any:
    """Import a public name, or a public room, when it is first asked for."""
    if name in _ROOMS:
        value = getattr(import_module(f"headrace.{_ROOMS[name]}"), name)
    elif name in __all__:
        value = import_module(f"headrace.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
