"""Linear maps: what a linear estimator is once it is known which models have run, and several of them folded into one.

A session asks the quality estimator and those of the costs for one query at a time. Each is

    estimate = clip((features - average) @ weights + intercept, low, high),    a missing feature counting as its average

on features that they mostly share. Folded, the features are laid out once, and one product gives all estimates.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.one_query import OneQuery, OneResponses
from headrace.estimators.query_features import QueryFeatures
from headrace.estimators.response_features import ResponseFeatures

__all__ = ["Folded", "HasLinearMap", "LinearMap"]


class LinearMap(NamedTuple):
    """What a linear estimator is after a run set.

    Attributes
    ----------
    query_features, response_features : QueryFeatures, ResponseFeatures
        Fitted; what they give, one after the other, are the features.
    average : ndarray of shape (n_features,)
        What is taken from the features; a missing one counts as this.
    weights : ndarray of shape (n_features, n_models)
    intercept : ndarray of shape (n_models,)
    low, high : float, or ndarray of shape (n_models,)
        Range of the estimates.
    variance, covariance : ndarray of shape (n_models,), (n_models, n_models), optional
        Of the updates still to come, as in `headrace.estimators.belief.Belief`.
    """

    query_features: QueryFeatures
    response_features: ResponseFeatures
    average: FloatArray
    weights: FloatArray
    intercept: FloatArray
    low: float | FloatArray
    high: float | FloatArray
    variance: FloatArray | None = None
    covariance: FloatArray | None = None


@runtime_checkable
class HasLinearMap(Protocol):
    """An estimator that is linear in its features."""

    def linear_map(self, run: BoolArray) -> LinearMap | None:
        """Give what it is after a run set, a mask of shape (n_models,); None where it is more than that."""
        ...


class Folded:
    """Several linear maps after the same run set, as one.

    Parameters
    ----------
    maps : sequence of LinearMap
        At least one.
    run : bool ndarray of shape (n_models,)

    Notes
    -----
    The features that two maps share have one average here; what theirs differ by is in the intercepts. Estimates are
    those of the maps to rounding.
    """

    def __init__(self, maps: Sequence[LinearMap], run: BoolArray) -> None:
        self._models: list[int] = run.nonzero()[0].tolist()
        self._encoders: list[QueryFeatures | ResponseFeatures] = []
        averages: list[FloatArray] = []
        begin: dict[Hashable, int] = {}
        rows: list[IndexArray] = []
        for one in maps:
            n_query = one.query_features.width
            parts = (one.query_features, one.average[:n_query]), (one.response_features, one.average[n_query:])
            places = [np.empty(0, dtype=np.intp)]
            for encoder, average in parts:
                key = type(encoder), encoder.key
                if key not in begin:
                    begin[key] = sum(map(len, averages))
                    averages.append(average)
                    self._encoders.append(encoder)
                places.append(np.arange(begin[key], begin[key] + len(average)))
            rows.append(np.concatenate(places))
        self._average = np.concatenate(averages)
        k = len(run)
        self._weights = np.zeros((len(self._average), len(maps) * k))
        self._missing = np.zeros_like(self._weights)
        intercepts = []
        for number, (one, row) in enumerate(zip(maps, rows, strict=True)):
            columns = slice(number * k, (number + 1) * k)
            self._weights[row, columns] = one.weights
            apart = self._average[row] - one.average
            intercepts.append(one.intercept + apart @ one.weights)
            self._missing[row, columns] = -apart[:, None] * one.weights
        self._intercept = np.concatenate(intercepts)
        self._low = np.concatenate([np.broadcast_to(one.low, k) for one in maps])
        self._high = np.concatenate([np.broadcast_to(one.high, k) for one in maps])
        self._shape = len(maps), k

    def estimates(self, query: OneQuery, responses: OneResponses) -> FloatArray:
        """Give the estimates of one query: shape (n_maps, n_models)."""
        features: list[float] = []
        for encoder in self._encoders:
            if isinstance(encoder, QueryFeatures):
                features += encoder.of_one(query)
            elif self._models:
                features += encoder.of_one(responses, self._models)
        centred = np.array(features, dtype=np.float64)
        centred -= self._average
        if math.isnan(sum(features)):
            missing = np.isnan(centred)
            centred[missing] = 0.0
            estimates: FloatArray = centred.dot(self._weights)
            estimates += missing.astype(np.float64).dot(self._missing)
        else:
            estimates = centred.dot(self._weights)
        estimates += self._intercept
        np.maximum(estimates, self._low, out=estimates)
        np.minimum(estimates, self._high, out=estimates)
        estimates.shape = self._shape
        return estimates
