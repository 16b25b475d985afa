"""Features: columns of queries and responses as numbers that a linear model can use.

What is learned from the fitting data (categories, whether a column spans orders of magnitude) is kept, so that later
queries are encoded the same way. Missing numbers count as average.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from headrace.arrays import BoolArray, Column, FloatArray
from headrace.estimators.protocol import Queries
from headrace.responses import Responses

__all__ = ["QueryFeatures", "ResponseFeatures"]

#: A text column with at most this many different values is categorical.
MOST_CATEGORIES = 50

#: A non-negative column whose 95% quantile is above this is taken in logarithms.
LARGE = 20.0

#: Probabilities below this don't change an entropy.
TINY = 1e-12


class QueryFeatures:
    """Numeric columns as they are (logarithms of large ones), categories as indicators, other text as its length."""

    def fit(self, queries: Queries) -> QueryFeatures:
        """Learn categories and scales."""
        self._categories: dict[str, list[str]] = {}
        self._logarithmic: dict[str, bool] = {}
        for name, values in queries.items():
            if values.dtype == object:
                known = sorted({str(value) for value in values if value is not None})
                self._categories[name] = known if 1 < len(known) <= min(MOST_CATEGORIES, len(values) // 4) else []
            else:
                self._logarithmic[name] = _is_large(np.asarray(values, dtype=np.float64))
        return self

    def transform(self, queries: Queries, n_queries: int) -> FloatArray:
        """Encode queries: shape (n_queries, n_features). A column that is lacking counts as missing throughout."""
        columns = []
        for name, categories in self._categories.items():
            values = queries.get(name, np.full(n_queries, None, dtype=object))
            text = ["" if value is None else str(value) for value in values]
            if categories:
                indicators = [[value == category for category in categories] for value in text]
                columns.append(np.array(indicators, dtype=np.float64).reshape(n_queries, len(categories)))
            else:
                sizes = [[len(value), value.count("\n")] for value in text]
                columns.append(np.log1p(np.array(sizes, dtype=np.float64).reshape(n_queries, 2)))
        for name, logarithmic in self._logarithmic.items():
            numbers = np.asarray(queries.get(name, np.full(n_queries, np.nan)), dtype=np.float64)
            columns.append(_scaled(_flat(numbers), logarithmic))
        return np.hstack([np.empty((n_queries, 0)), *columns])


class ResponseFeatures:
    """Features of the responses of a run set, one block per model, and agreements between pairs of models.

    Numeric columns as they are (logarithms of large ones); rows of probabilities as largest, margin and entropy; text
    as whether there is any; and for text and likeliest classes, whether two models agree.
    """

    def fit(self, responses: Responses) -> ResponseFeatures:
        """Learn which columns are probabilities, and scales."""
        self._kinds: dict[str, str] = {}
        for name in responses.names:
            values = responses.column(name)
            if values.dtype == object:
                self._kinds[name] = "text"
            elif values.ndim == 3 and _are_probabilities(values):
                self._kinds[name] = "probabilities"
            else:
                self._kinds[name] = "large" if _is_large(values) else "number"
        return self

    def transform(self, responses: Responses, run: BoolArray) -> FloatArray:
        """Encode the responses of the models of `run`: shape (len(responses), n_features)."""
        models = np.flatnonzero(run)
        blocks = [np.empty((len(responses), 0))]
        for name, kind in self._kinds.items():
            if not len(models):
                break
            values = responses.column(name) if name in responses.names else None
            for block in self._blocks(kind, values, models, len(responses)):
                blocks.append(block)
        return np.hstack(blocks)

    @staticmethod
    def _blocks(kind: str, values: Column | None, models: np.typing.NDArray[np.intp], n: int) -> list[FloatArray]:
        if values is None:
            msg = "responses: a column that was there in the fit is missing"
            raise ValueError(msg)
        seen = values[:, models]
        if kind == "probabilities":
            probabilities = np.nan_to_num(np.asarray(seen, dtype=np.float64), nan=1.0 / seen.shape[2])
            ranked = np.sort(probabilities, axis=2)
            entropy = -np.sum(probabilities * np.log(np.maximum(probabilities, TINY)), axis=2)
            likeliest = probabilities.argmax(axis=2)
            shape = [ranked[..., -1], ranked[..., -1] - ranked[..., -2], entropy]
            return [*shape, _agreements(likeliest)]
        if kind == "text":
            absent = (seen == np.array(None, dtype=object)) | (seen == "")
            return [1.0 - absent.astype(np.float64), _agreements(seen)]
        return [_scaled(_flat(np.asarray(seen, dtype=np.float64)), kind == "large")]


def _flat(values: FloatArray) -> FloatArray:
    """Make one row per query, also where there is no query."""
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def _agreements(values: Column) -> FloatArray:
    """Whether each pair of columns holds the same value: shape (n, n_pairs)."""
    pairs = [values[:, a] == values[:, b] for a, b in combinations(range(values.shape[1]), 2)]
    return np.array(pairs, dtype=np.float64).reshape(len(pairs), len(values)).T


def _is_large(values: FloatArray) -> bool:
    known = values[~np.isnan(values)]
    return bool(known.size and known.min() >= 0.0 and np.quantile(known, 0.95) > LARGE)


def _scaled(values: FloatArray, logarithmic: bool) -> FloatArray:
    return np.log1p(np.maximum(values, 0.0)) if logarithmic else values


def _are_probabilities(values: FloatArray) -> bool:
    known = values[~np.isnan(values).any(axis=2)]
    return bool(known.size and known.shape[-1] > 1 and known.min() >= 0.0 and np.allclose(known.sum(axis=-1), 1.0))
