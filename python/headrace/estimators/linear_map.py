"""Linear maps: what a linear estimator is once it is known which models have run, and several of them folded into one.

A session asks the quality estimator and those of the costs for one query at a time. Each is

    estimate = clip((features - average) @ weights + intercept, low, high),    a missing feature counting as its average

on features that they mostly share. Folded, the features are laid out once, and one product gives all estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from headrace._core import Linear
from headrace.arguments import BoolArray, FloatArray
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
        # Encoders that have learned the same give the same features, which are laid out once.
        of_query = {one.query_features.key: one.query_features for one in maps}
        # One that compares pairs of responses gives their features after those of one that doesn't.
        by_width = sorted(maps, key=lambda one: len(one.average) - one.query_features.width)
        of_responses = {one.response_features.key: one.response_features for one in by_width}
        self._of_query, self._of_responses = list(of_query.values()), list(of_responses.values())
        averages = {
            **{one.query_features.key: one.average[: one.query_features.width] for one in maps},
            **{one.response_features.key: one.average[one.query_features.width :] for one in by_width},
        }
        average, k = np.concatenate([averages[key] for key in (*of_query, *of_responses)]), len(run)
        begin, places = 0, {}
        for key in (*of_query, *of_responses):
            places[key] = np.arange(begin, begin + len(averages[key]))
            begin += len(averages[key])
        rows = [
            np.concatenate([places[one.query_features.key], places[one.response_features.key]])[: len(one.average)]
            for one in maps
        ]
        weights = np.zeros((len(average), len(maps) * k))
        missing = np.zeros_like(weights)
        intercepts = []
        for number, (one, row) in enumerate(zip(maps, rows, strict=True)):
            columns = slice(number * k, (number + 1) * k)
            apart = average[row] - one.average
            weights[row, columns] = one.weights
            missing[row, columns] = -apart[:, None] * one.weights
            intercepts.append(one.intercept + apart @ one.weights)
        low, high = (
            np.concatenate([np.broadcast_to(end, k) for end in ends])
            for ends in ([one.low for one in maps], [one.high for one in maps])
        )
        self._linear = Linear(average, weights, missing, np.concatenate(intercepts), low, high, len(maps))

    def estimates(self, query: OneQuery, responses: OneResponses) -> FloatArray:
        """Give the estimates of one query: shape (n_maps, n_models)."""
        features: list[float] = []
        for encoder in self._of_query:
            features += encoder.of_one(query)
        if self._models:
            for of_responses in self._of_responses:
                features += of_responses.of_one(responses, self._models)
        return self._linear.estimates(features)
