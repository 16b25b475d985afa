"""Evaluation: a router, rules and baselines against each other, on queries that no fit has seen."""

from headrace.evaluation.curves import replayed
from headrace.evaluation.evaluation import Evaluation, evaluate
from headrace.evaluation.logged import LoggedEstimate, evaluate_log, recalibrated
from headrace.evaluation.method import Curves, MethodResult
from headrace.evaluation.scorecard import Scorecard

__all__ = [
    "Curves",
    "Evaluation",
    "LoggedEstimate",
    "MethodResult",
    "Scorecard",
    "evaluate",
    "evaluate_log",
    "recalibrated",
    "replayed",
]
