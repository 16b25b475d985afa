"""Evaluation: routers, rules and baselines against each other, on queries that no fit has seen."""

from headrace.evaluation.comparison import Comparison, MethodResult, compare
from headrace.evaluation.evaluation import Evaluation, evaluate

__all__ = ["Comparison", "Evaluation", "MethodResult", "compare", "evaluate"]
