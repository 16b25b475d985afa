"""Encoders of response columns: each turns what one column holds into numbers, of each model and of each pair.

`headrace.estimators.response_features` puts together what they give.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, IndexArray, checked_magnitudes
from headrace.estimators.query_features import WIDE, is_large, scaled
from headrace.estimators.reduction import WideReduction
from headrace.estimators.signals import (
    absent,
    are_probabilities,
    are_tokens,
    class_features,
    divergences,
    is_absent,
    numbered,
    padded,
    probabilities_known,
    text_features,
    text_features_of_one,
    token_features,
    token_features_of_one,
)
from headrace.estimators.state import Stateful

__all__ = ["Encoder", "encoder_for"]


class Encoder(ABC):
    """Turns one column of what some models returned, of shape (n_queries, n_models, ...), into features.

    The same features are had of single cells, as they come in a session: there, calls of NumPy are what takes time.
    """

    #: Whether pairs of models are compared.
    compares = False

    @abstractmethod
    def of_models(self, seen: Column) -> FloatArray:
        """Give shape (n_queries, n_models, n_features)."""

    def of_pairs(self, seen: Column, first: IndexArray, second: IndexArray) -> list[FloatArray]:
        """Compare pairs of models: features of shape (n_queries, n_pairs); by default none."""
        return []

    def comparable(self, seen: Column) -> Column:
        """Give what `of_pairs` may have in place of the cells, where pairs are many; by default the cells."""
        return seen

    def of_one(self, cell: Any) -> list[float]:
        """Give the features of one cell."""
        features: list[float] = self.of_models(cell[None, None])[0, 0].tolist()
        return features

    def of_two(self, first: Any, second: Any) -> list[float]:
        """Compare two cells."""
        return []


class _Numbers(Encoder, Stateful, part="response-numbers", kept=("_logarithmic",)):
    """A number, or a few, of each response: as they are, or their logarithms."""

    def __init__(self, *, logarithmic: bool) -> None:
        self._logarithmic = logarithmic

    def of_models(self, seen: Column) -> FloatArray:
        numbers = scaled(seen, self._logarithmic)
        return numbers[:, :, None] if numbers.ndim == 2 else numbers

    def of_one(self, cell: Any) -> list[float]:
        if isinstance(cell, float):
            return [math.log1p(max(cell, 0.0)) if self._logarithmic and cell == cell else cell]
        numbers: list[float] = scaled(cell, self._logarithmic).tolist()
        return numbers


class _Wide(Encoder, Stateful, part="response-wide", kept=("_reduction",)):
    """Many numbers of each response, such as an embedding: reduced."""

    def __init__(self, values: FloatArray) -> None:
        self._reduction = WideReduction().fit(values.reshape(-1, values.shape[2]))

    def of_models(self, seen: Column) -> FloatArray:
        reduced = self._reduction.transform(seen.reshape(-1, seen.shape[2]))
        return reduced.reshape(*seen.shape[:2], reduced.shape[1])


class _Tokens(Encoder, Stateful, part="response-tokens", kept=("_label",)):
    """Log-probabilities of the tokens of each response; `label` names the column in messages."""

    def __init__(self, label: str) -> None:
        self._label = label

    def of_models(self, seen: Column) -> FloatArray:
        return token_features(self._numbers(seen))

    def of_one(self, cell: Any) -> list[float]:
        if not isinstance(cell, np.ndarray) or cell.dtype != np.float64:
            boxed = np.empty(1, dtype=object)
            boxed[0] = cell
            cell = self._numbers(boxed)[0]
        return token_features_of_one(cell)

    def _numbers(self, seen: Column) -> FloatArray:
        return checked_magnitudes(self._label, padded(seen)) if seen.dtype == object else seen


class _Probabilities(Encoder, Stateful, part="response-probabilities"):
    """Probabilities of classes: how sure each model is, and how far two models are apart."""

    compares = True

    def of_models(self, seen: Column) -> FloatArray:
        return class_features(probabilities_known(seen))

    def of_pairs(self, seen: Column, first: IndexArray, second: IndexArray) -> list[FloatArray]:
        known = probabilities_known(seen)
        likeliest = known.argmax(axis=2)
        same = (likeliest[:, first] == likeliest[:, second]).astype(np.float64)
        return [same, divergences(known[:, first], known[:, second])]

    def of_two(self, first: Any, second: Any) -> list[float]:
        both = np.array([[first, second]])
        return [float(feature[0, 0]) for feature in self.of_pairs(both, np.array([0]), np.array([1]))]


class _Answers(Encoder, Stateful, part="response-answers", kept=("_equal",)):
    """Texts or other objects: their lengths, and which of them agree."""

    compares = True

    def __init__(self, equal: Callable[[Any, Any], bool] | None) -> None:
        self._equal = equal

    def of_models(self, seen: Column) -> FloatArray:
        return text_features(seen)

    def of_one(self, cell: Any) -> list[float]:
        return text_features_of_one(cell)

    def of_two(self, first: Any, second: Any) -> list[float]:
        if is_absent(first) or is_absent(second):
            return [0.0]
        return [float(bool(first == second if self._equal is None else self._equal(first, second)))]

    def of_pairs(self, seen: Column, first: IndexArray, second: IndexArray) -> list[FloatArray]:
        """Tell which answers agree; where one is absent, they don't."""
        a, b = seen.take(first, axis=1), seen.take(second, axis=1)
        if seen.dtype != object:
            return [((a == b) & (a >= 0)).astype(np.float64)]
        if self._equal is None:
            equal: BoolArray = np.asarray(a == b, dtype=np.bool_)
            # Whether they are there is asked of the answers that agree: of two equal ones, neither is or both are.
            equal[equal] = ~absent(a[equal])
            return [equal.astype(np.float64)]
        there = ~absent(seen)
        both = there.take(first, axis=1) & there.take(second, axis=1)
        same = np.zeros(a.shape)
        same[both] = [bool(self._equal(x, y)) for x, y in zip(a[both], b[both], strict=True)]
        return [same]

    def comparable(self, seen: Column) -> Column:
        """Give answers as numbers, where they are compared by ``==`` and can be looked up."""
        numbers = numbered(seen) if self._equal is None else None
        return seen if numbers is None else numbers


def encoder_for(
    label: str, values: Column, *, equal: Callable[[Any, Any], bool] | None = None, plain: bool = False
) -> Encoder:
    """Choose how a column is encoded, by what it holds: see `ResponseFeatures`.

    Parameters
    ----------
    label : str
        Names the column in messages.
    values : ndarray of shape (n_queries, n_models, ...)
    equal : callable, optional
        Whether two answers agree; by default ``a == b``.
    plain : bool
        Take numbers as they are, however large.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.response_encoders import encoder_for
    >>> encoder_for("tokens", np.array([[9.0, 2e4]])).of_models(np.array([[9.0, 99.0]]))[0, :, 0].round(2).tolist()
    [2.3, 4.61]
    """
    if are_tokens(values):
        return _Tokens(label)
    if values.dtype == object:
        return _Answers(equal)
    if are_probabilities(values):
        return _Probabilities()
    if values.ndim == 3 and values.shape[2] > WIDE:
        return _Wide(values)
    return _Numbers(logarithmic=is_large(values) and not plain)
