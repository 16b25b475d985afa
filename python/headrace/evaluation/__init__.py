"""Evaluation: rules against each other and against baselines, on queries that no fit has seen."""

from headrace.evaluation.comparison import Comparison, MethodResult, compare

__all__ = ["Comparison", "MethodResult", "compare"]
