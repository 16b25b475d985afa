"""Features: columns of queries and responses as numbers that a regression can use.

What is learned from the fitting data (categories, directions of text, whether a column spans orders of magnitude) is
kept, so that later queries are encoded the same way. An unknown number is NaN, which regressions count as average.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from typing import Any, Protocol, Self

import numpy as np

from headrace.arrays import BoolArray, Column, FloatArray, checked_magnitudes
from headrace.estimators.protocol import Queries
from headrace.estimators.reduction import TextReduction, WideReduction
from headrace.estimators.signals import (
    absent,
    are_probabilities,
    are_tokens,
    class_features,
    divergences,
    padded,
    probabilities_known,
    text_features,
    token_features,
)
from headrace.responses import Responses

__all__ = ["EncodedResponses", "QueryFeatures", "ResponseFeatures"]

#: A text column with at most this many different values is categorical.
MOST_CATEGORIES = 50

#: A non-negative column whose 95% quantile is above this is taken in logarithms.
LARGE = 20.0

#: A column of more numbers than this per query or response is reduced to its principal components.
WIDE = 64


class _Encoder(Protocol):
    """Turns one column of queries into features."""

    def fit(self, values: Column) -> Self: ...

    def transform(self, values: Column) -> FloatArray: ...


class _Categories:
    """An indicator per known category; an unknown one is all zeros."""

    def __init__(self, known: Sequence[str]) -> None:
        self._position = {category: position for position, category in enumerate(known)}

    def fit(self, values: Column) -> Self:
        return self

    def transform(self, values: Column) -> FloatArray:
        # The last row stands for what is unknown.
        indicators = np.eye(len(self._position) + 1, len(self._position))
        return indicators[[self._position.get(text, -1) for text in _texts(values)]]


class _Text:
    """Numbers of characters and lines, and, if wanted, the reduction of hashed n-grams."""

    def __init__(self, *, n_grams: bool) -> None:
        self._reduction = TextReduction() if n_grams else None

    def fit(self, values: Column) -> Self:
        if self._reduction is not None:
            self._reduction.fit(_texts(values))
        return self

    def transform(self, values: Column) -> FloatArray:
        texts = _texts(values)
        sizes = np.array([[len(text), text.count("\n")] for text in texts], dtype=np.float64).reshape(len(texts), 2)
        if self._reduction is None:
            return np.log1p(sizes)
        return np.hstack([np.log1p(sizes), self._reduction.transform(texts)])


class _Numbers:
    """Numbers as they are, or their logarithms; a wide column is reduced."""

    def fit(self, values: Column) -> Self:
        numbers = _flat(np.asarray(values, dtype=np.float64))
        self._shape = values.shape[1:]
        self._logarithmic = _is_large(numbers)
        self._reduction = WideReduction().fit(_scaled(numbers, self._logarithmic)) if numbers.shape[1] > WIDE else None
        return self

    def transform(self, values: Column) -> FloatArray:
        numbers = _scaled(_flat(np.asarray(values, dtype=np.float64)), self._logarithmic)
        return numbers if self._reduction is None else self._reduction.transform(numbers)

    def missing(self, n_queries: int) -> FloatArray:
        return np.full((n_queries, *self._shape), np.nan)


class QueryFeatures:
    """Numbers as they are (logarithms of large ones), categories as indicators, other text by its length.

    A numeric column may have shape (n_queries, d), such as an embedding; beyond 64 numbers it is reduced to its
    principal components.

    Parameters
    ----------
    n_grams : bool, default False
        Encode text by `TextReduction`, too, not by its length alone.

    Attributes
    ----------
    widths_ : tuple of int
        Number of features of each column.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators import QueryFeatures
    >>> task = np.array(["code", "prose"] * 4, dtype=object)
    >>> encoder = QueryFeatures().fit({"task": task, "tokens": np.arange(8.0)})
    >>> encoder.transform({"task": np.array(["prose", "chess"], dtype=object), "tokens": np.array([3.0, 5.0])}, 2)
    array([[0., 1., 3.],
           [0., 0., 5.]])
    """

    widths_: tuple[int, ...]

    def __init__(self, *, n_grams: bool = False) -> None:
        self.n_grams = n_grams

    def fit(self, queries: Queries) -> Self:
        """Learn categories, scales and directions."""
        self._encoders: dict[str, _Encoder] = {}
        for name, values in queries.items():
            self._encoders[name] = self._encoder(values).fit(checked_magnitudes(f"queries: column {name!r}", values))
        self.widths_ = tuple(block.shape[1] for block in self._blocks({}, 0))
        return self

    def _encoder(self, values: Column) -> _Encoder:
        if values.dtype != object:
            return _Numbers()
        known = sorted({str(value) for value in values if value is not None})
        if 1 < len(known) <= min(MOST_CATEGORIES, len(values) // 4):
            return _Categories(known)
        return _Text(n_grams=self.n_grams)

    def transform(self, queries: Queries, n_queries: int) -> FloatArray:
        """Encode queries: shape (n_queries, n_features). A column that is lacking counts as missing throughout."""
        return np.hstack([np.empty((n_queries, 0)), *self._blocks(queries, n_queries)])

    def _blocks(self, queries: Queries, n_queries: int) -> list[FloatArray]:
        blocks = []
        for name, encoder in self._encoders.items():
            values = queries.get(name)
            if values is None and isinstance(encoder, _Numbers):
                values = encoder.missing(n_queries)
            values = np.full(n_queries, None, dtype=object) if values is None else values
            blocks.append(encoder.transform(checked_magnitudes(f"queries: column {name!r}", values)))
        return blocks


class ResponseFeatures:
    """Features of the responses of a run set, one block per model, and one per pair of models that both have run.

    ======================================  ========================================  ================================
    Column, per response                    Of each model                             Of each pair
    ======================================  ========================================  ================================
    a number: score, verdict, tokens        itself; its logarithm if large
    d >= 2 numbers: class probabilities     largest, margin, entropy                  same class; divergence
    d >= 2 numbers, none positive, or any   mean, lowest, 10% quantile, number
    sequence: token log-probabilities
    d >= 2 other numbers                    themselves, reduced if more than 64
    text or another object                  whether there is any, length, refusal     equal
    ======================================  ========================================  ================================

    Parameters
    ----------
    equal : callable, optional
        Whether two answers, neither of them None or empty, agree: ``equal(a, b) -> bool``. By default ``a == b``.
    plain : collection of str, optional
        Columns of numbers that are taken as they are, however large.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace import Responses
    >>> from headrace.estimators import ResponseFeatures
    >>> seen = Responses(np.ones((1, 2), bool), {"answer": [["Paris", "paris"]]})
    >>> encoder = ResponseFeatures(equal=lambda a, b: a.casefold() == b.casefold()).fit(seen)
    >>> encoder.transform(seen, np.array([True, True])).shape, encoder.transform(seen, np.array([True, True]))[0, -1]
    ((1, 7), np.float64(1.0))
    """

    def __init__(self, *, equal: Callable[[Any, Any], bool] | None = None, plain: Collection[str] = ()) -> None:
        self.equal = equal
        self.plain = plain

    def fit(self, responses: Responses) -> Self:
        """Learn what each column holds, and scales."""
        self._kinds: dict[str, str] = {}
        self._reductions: dict[str, WideReduction] = {}
        for name in responses.names:
            values = self._column(responses, name)
            self._kinds[name] = kind = _kind(values)
            if kind == "wide":
                self._reductions[name] = WideReduction().fit(values.reshape(-1, values.shape[2]))
        return self

    def transform(self, responses: Responses, run: BoolArray) -> FloatArray:
        """Encode the responses of the models of `run`: shape (len(responses), n_features)."""
        if not run.any():
            return np.empty((len(responses), 0))
        models = np.flatnonzero(run).tolist()
        columns = self._columns(responses)
        return self._joined(columns, models, self._of_models(columns, models, len(responses)))

    def _joined(self, columns: dict[str, Column], models: list[int], of_models: FloatArray) -> FloatArray:
        """Make one row per query of the blocks of models, and of those of their pairs."""
        n_queries, n_models, width = of_models.shape
        of_models = of_models.reshape(n_queries, n_models * width)
        if n_models < 2:
            return of_models
        of_pairs = self._of_pairs(columns, list(combinations(models, 2)), n_queries)
        return np.hstack([of_models, of_pairs.reshape(n_queries, of_pairs.shape[1] * of_pairs.shape[2])])

    def _columns(self, responses: Responses) -> dict[str, Column]:
        return {name: self._column(responses, name) for name in self._kinds}

    def _column(self, responses: Responses, name: str) -> Column:
        if name not in responses.names:
            raise ValueError(f"responses: column {name!r}, which was there in the fit, is missing")
        return checked_magnitudes(f"responses: column {name!r}", responses.column(name))

    def _of_models(self, columns: dict[str, Column], models: list[int], n_queries: int) -> FloatArray:
        """Encode what some models returned: shape (n_queries, n_models, n_features)."""
        blocks = [np.empty((n_queries, len(models), 0))]
        for name, values in columns.items():
            kind, seen = self._kinds[name], values[:, models]
            if kind == "text":
                blocks.append(text_features(seen))
            elif kind == "tokens":
                tokens = padded(seen) if seen.dtype == object else seen
                blocks.append(token_features(checked_magnitudes(f"responses: column {name!r}", tokens)))
            elif kind == "probabilities":
                blocks.append(class_features(probabilities_known(seen)))
            elif kind == "wide":
                reduced = self._reductions[name].transform(seen.reshape(-1, seen.shape[2]))
                blocks.append(reduced.reshape(n_queries, len(models), reduced.shape[1]))
            else:
                numbers = _scaled(seen, kind == "large" and name not in self.plain)
                blocks.append(numbers[:, :, None] if numbers.ndim == 2 else numbers)
        return np.concatenate(blocks, axis=2)

    def _of_pairs(self, columns: dict[str, Column], pairs: list[tuple[int, int]], n_queries: int) -> FloatArray:
        """Compare what pairs of models returned: shape (n_queries, n_pairs, n_features)."""
        first, second = np.array(pairs, dtype=np.intp).T
        blocks = [np.empty((n_queries, len(pairs), 0))]
        for name, values in columns.items():
            if self._kinds[name] == "text":
                blocks.append(self._agreements(values[:, first], values[:, second])[:, :, None])
            elif self._kinds[name] == "probabilities":
                known = probabilities_known(values)
                likeliest = known.argmax(axis=2)
                blocks.append((likeliest[:, first] == likeliest[:, second]).astype(np.float64)[:, :, None])
                blocks.append(divergences(known[:, first], known[:, second])[:, :, None])
        return np.concatenate(blocks, axis=2)

    def _agreements(self, a: Column, b: Column) -> FloatArray:
        """Tell which answers agree; where one is absent, they don't."""
        if self.equal is None:
            return np.asarray((a == b) & ~absent(a), dtype=np.float64)
        both = ~(absent(a) | absent(b))
        same = np.zeros(a.shape)
        same[both] = [bool(self.equal(x, y)) for x, y in zip(a[both], b[both], strict=True)]
        return same


class EncodedResponses:
    """Responses of all models, encoded once; the features of any run set are put together from them."""

    def __init__(self, features: ResponseFeatures, responses: Responses) -> None:
        n_queries, n_models = responses.run.shape
        self._features = features
        self._columns = features._columns(responses)
        self._of_models = features._of_models(self._columns, list(range(n_models)), n_queries)

    def after(self, run: BoolArray) -> FloatArray:
        """Give what `ResponseFeatures.transform` gives for a run set."""
        models = np.flatnonzero(run).tolist()
        return self._features._joined(self._columns, models, self._of_models[:, models])


def _kind(values: Column) -> str:
    """Tell what a response column holds."""
    if are_tokens(values):
        return "tokens"
    if values.dtype == object:
        return "text"
    if are_probabilities(values):
        return "probabilities"
    if values.ndim == 3 and values.shape[2] > WIDE:
        return "wide"
    return "large" if _is_large(values) else "number"


def _texts(values: Column) -> list[str]:
    return ["" if value is None else str(value) for value in values.tolist()]


def _flat(values: FloatArray) -> FloatArray:
    """Make one row per query, also where there is no query."""
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def _is_large(values: FloatArray) -> bool:
    known = values[~np.isnan(values)]
    return bool(known.size and known.min() >= 0.0 and np.quantile(known, 0.95) > LARGE)


def _scaled(values: FloatArray, logarithmic: bool) -> FloatArray:
    return np.log1p(np.maximum(values, 0.0)) if logarithmic else values
