"""Features of queries: columns as numbers that a regression can use.

What is learned from the fitting data (categories, directions of text, whether a column spans orders of magnitude) is
kept, so that later queries are encoded the same way. An unknown number is NaN, which regressions count as average.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Sequence
from functools import cached_property, lru_cache
from typing import Any, Protocol, Self

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, checked_magnitude, checked_magnitudes
from headrace.estimators.one_query import OneQuery
from headrace.estimators.one_table import TableQueries
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import Queries
from headrace.estimators.reduction import TextReduction, WideReduction
from headrace.estimators.state import Stateful, fingerprint

__all__ = ["QueryFeatures", "is_large", "scaled"]

#: A text column with at most this many different values is categorical.
MOST_CATEGORIES = 50

#: A non-negative column whose 95% quantile is above this is taken in logarithms.
LARGE = 20.0

#: A column of more numbers than this per query or response is reduced to its principal components.
WIDE = 64

#: Hashes of texts of at most so many characters are remembered.
SHORT = 64


class _Encoder(Protocol):
    """Turns one column of queries into features.

    The same features are had of one cell, as it comes in a session: there, calls of NumPy are what takes time.
    """

    @property
    def n_plain(self) -> int:
        """How many of the features, the first ones, are not of content: n-grams, or numbers of an embedding."""
        ...

    def fit(self, values: Column) -> Self: ...

    def transform(self, values: Column) -> FloatArray: ...

    def of_one(self, cell: Any) -> list[float]: ...


class _Categories(Stateful, part="query-categories", kept=("_position", "_indicators")):
    """An indicator per known category; an unknown one is all zeros.

    Categories are known by hashes: a short column of texts may be one of categories, and none of its text is kept.
    """

    def __init__(self, known: Sequence[str]) -> None:
        self._position = {_hashed(category): position for position, category in enumerate(known)}
        # The last row stands for what is unknown.
        self._indicators = np.eye(len(known) + 1, len(known))

    @property
    def n_plain(self) -> int:
        return len(self._position)

    def fit(self, values: Column) -> Self:
        return self

    def transform(self, values: Column) -> FloatArray:
        texts = _texts(values)
        position = {text: self._position.get(_hashed(text), -1) for text in set(texts)}
        return self._indicators[[position[text] for text in texts]]

    def of_one(self, cell: Any) -> list[float]:
        is_short = type(cell) is str and len(cell) <= SHORT
        position = self._position.get(_hashed_before(cell) if is_short else _hashed(_text(cell)))
        row = [0.0] * len(self._position)
        if position is not None:
            row[position] = 1.0
        return row


class _Text(Stateful, part="query-text", kept=("_reduction",)):
    """Numbers of characters and lines, and, if wanted, the reduction of hashed n-grams."""

    def __init__(self, *, n_grams: bool) -> None:
        self._reduction = TextReduction() if n_grams else None

    @property
    def n_plain(self) -> int:
        return 2

    def fit(self, values: Column) -> Self:
        if self._reduction is not None:
            self._reduction.fit(_texts(values))
        return self

    def transform(self, values: Column) -> FloatArray:
        texts = _texts(values)
        sizes = np.array([[len(text), text.count("\n")] for text in texts], dtype=np.float64).reshape(len(texts), 2)
        if self._reduction is None:
            return np.log1p(sizes)
        return np.concatenate([np.log1p(sizes), self._reduction.transform(texts)], axis=1)

    def of_one(self, cell: Any) -> list[float]:
        text = cell if type(cell) is str else _text(cell)
        n_lines = text.count("\n") if "\n" in text else 0  # a text of one line is searched in less time than counted
        sizes = [math.log1p(len(text)), math.log1p(n_lines)]
        return sizes if self._reduction is None else [*sizes, *self._reduction.transform([text])[0].tolist()]


class _Numbers(Stateful, part="query-numbers", kept=("_shape", "_logarithmic", "_reduction")):
    """Numbers as they are, or their logarithms; a wide column is reduced."""

    @property
    def n_plain(self) -> int:
        return int(math.prod(self._shape) == 1)

    def fit(self, values: Column) -> Self:
        numbers = _flat(np.asarray(values, dtype=np.float64))
        self._shape = values.shape[1:]
        self._logarithmic = is_large(numbers)
        self._reduction = WideReduction().fit(scaled(numbers, self._logarithmic)) if numbers.shape[1] > WIDE else None
        return self

    def transform(self, values: Column) -> FloatArray:
        numbers = scaled(_flat(np.asarray(values, dtype=np.float64)), self._logarithmic)
        return numbers if self._reduction is None else self._reduction.transform(numbers)

    def of_one(self, cell: Any) -> list[float]:
        if isinstance(cell, float):
            return [math.log1p(max(cell, 0.0)) if self._logarithmic and cell == cell else cell]
        row: list[float] = self.transform(self.missing(1) if cell is None else cell[None])[0].tolist()
        return row

    def missing(self, n_queries: int) -> FloatArray:
        return np.full((n_queries, *self._shape), np.nan)


class QueryFeatures(Parameters, Stateful, part="query-features", kept=("_encoders", "widths_")):
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
            self._encoders[name] = self._encoder(values).fit(checked_magnitudes(_label(name), values))
        self.widths_ = tuple(block.shape[1] for block in self._blocks({}, 0))
        for name in ("key", "of_content"):
            vars(self).pop(name, None)
        return self

    def _encoder(self, values: Column) -> _Encoder:
        if values.dtype != object:
            return _Numbers()
        most = min(MOST_CATEGORIES, len(values) // 4)
        known: set[str] = set()
        for value in values.tolist():
            if value is not None:
                known.add(str(value))
                if len(known) > most:
                    break
        if 1 < len(known) <= most:
            return _Categories(sorted(known))
        return _Text(n_grams=self.n_grams)

    def transform(self, queries: Queries, n_queries: int) -> FloatArray:
        """Encode queries: shape (n_queries, n_features). A column that is lacking counts as missing throughout."""
        if isinstance(queries, OneQuery):
            return np.array([self.of_one(queries)], dtype=np.float64)
        if isinstance(queries, TableQueries):
            return queries.remembered(self.key, self.transform)
        return np.concatenate([np.empty((n_queries, 0)), *self._blocks(queries, n_queries)], axis=1)

    def of_one(self, query: OneQuery) -> list[float]:
        """Give the features of one query on its way, which is encoded once; not to be changed."""
        features: list[float] | None = query.encoded.get(self.key)
        if features is None:
            features, cells = [], query.cells
            for name, encoder in self._encoders.items():
                cell = cells.get(name)
                if type(cell) is not str:
                    _check_cell(name, cell)
                features += encoder.of_one(cell)
            query.encoded[self.key] = features
        return features

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(self.widths_)

    @cached_property
    def of_content(self) -> BoolArray:
        """Which features are n-grams of a text, or numbers of an embedding: shape (n_features,)."""
        of_columns = zip(self._encoders.values(), self.widths_, strict=True)
        masks = [np.arange(width) >= encoder.n_plain for encoder, width in of_columns]
        return np.concatenate([np.zeros(0, dtype=np.bool_), *masks])

    @cached_property
    def key(self) -> Hashable:
        """Under which what it encodes is remembered: the same for an encoder that has learned the same."""
        return fingerprint(self._encoders)

    def _blocks(self, queries: Queries, n_queries: int) -> list[FloatArray]:
        blocks = []
        for name, encoder in self._encoders.items():
            values = queries.get(name)
            if values is None and isinstance(encoder, _Numbers):
                values = encoder.missing(n_queries)
            values = np.full(n_queries, None, dtype=object) if values is None else values
            blocks.append(encoder.transform(checked_magnitudes(_label(name), values)))
        return blocks


def is_large(values: FloatArray) -> bool:
    """Tell whether a column of numbers is taken in logarithms."""
    known = values[~np.isnan(values)]
    return bool(known.size and known.min() >= 0.0 and np.quantile(known, 0.95) > LARGE)


def scaled(values: FloatArray, logarithmic: bool) -> FloatArray:
    """Give values as they are, or log(1 + value)."""
    return np.log1p(np.maximum(values, 0.0)) if logarithmic else values


def _texts(values: Column) -> list[str]:
    return [_text(value) for value in values.tolist()]


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _check_cell(name: str, cell: Any) -> None:
    if isinstance(cell, float):
        checked_magnitude(_label(name), cell)
    elif isinstance(cell, np.ndarray):
        checked_magnitudes(_label(name), cell)


def _label(name: str) -> str:
    return f"queries: column {name!r}"


def _hashed(text: str) -> str:
    return _hashed_before(text) if len(text) <= SHORT else _hash(text)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


#: Categories come again and again; what is remembered is in no file.
_hashed_before = lru_cache(maxsize=1024)(_hash)


def _flat(values: FloatArray) -> FloatArray:
    """Make one row per query, also where there is no query."""
    return values.reshape(len(values), math.prod(values.shape[1:]))
