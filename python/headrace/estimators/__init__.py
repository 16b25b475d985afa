"""Estimators: from queries, and the responses seen so far, to beliefs and costs.

Any object with the methods of a protocol will do; there is no base class.
"""

from headrace.estimators.constant import ConstantCost, ConstantQuality
from headrace.estimators.joint import JointQuality
from headrace.estimators.linear import LinearCost, LinearQuality
from headrace.estimators.protocol import CostEstimator, QualityEstimator, Queries

__all__ = [
    "ConstantCost",
    "ConstantQuality",
    "CostEstimator",
    "JointQuality",
    "LinearCost",
    "LinearQuality",
    "QualityEstimator",
    "Queries",
]
