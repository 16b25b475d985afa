"""Estimators: from queries, and the responses seen so far, to beliefs and costs.

Any object with the methods of a protocol will do; there is no base class.
"""

from headrace.estimators.calibrated import CalibratedQuality
from headrace.estimators.constant import ConstantCost, ConstantQuality
from headrace.estimators.ex_ante import BoostingQuality, ClusterQuality, KNeighborsQuality
from headrace.estimators.joint import JointQuality
from headrace.estimators.linear import LinearCost, LinearQuality
from headrace.estimators.prices import PriceTable
from headrace.estimators.protocol import CostEstimator, QualityEstimator, Queries
from headrace.estimators.query_features import QueryFeatures
from headrace.estimators.registry import estimator_names, make
from headrace.estimators.response_features import ResponseFeatures
from headrace.estimators.switching import SwitchingCost

__all__ = [
    "BoostingQuality",
    "CalibratedQuality",
    "ClusterQuality",
    "ConstantCost",
    "ConstantQuality",
    "CostEstimator",
    "JointQuality",
    "KNeighborsQuality",
    "LinearCost",
    "LinearQuality",
    "PriceTable",
    "QualityEstimator",
    "Queries",
    "QueryFeatures",
    "ResponseFeatures",
    "SwitchingCost",
    "estimator_names",
    "make",
]
