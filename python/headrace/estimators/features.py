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
        models = np.flatnonzero(run).tolist()
        columns = {name: self._column(responses, name) for name in self._kinds} if models else {}
        blocks = [self._of_model(columns, j, len(responses)) for j in models]
        blocks += [self._of_pair(columns, i, j, len(responses)) for i, j in combinations(models, 2)]
        return np.hstack([np.empty((len(responses), 0)), *blocks])

    def _column(self, responses: Responses, name: str) -> Column:
        if name not in responses.names:
            raise ValueError(f"responses: column {name!r}, which was there in the fit, is missing")
        return responses.column(name)

    def _of_model(self, columns: dict[str, Column], model: int, n_queries: int) -> FloatArray:
        """Encode what one model returned."""
        blocks = [np.empty((n_queries, 0))]
        for name, values in columns.items():
            kind, seen = self._kinds[name], values[:, model]
            if kind == "probabilities":
                probabilities = np.nan_to_num(np.asarray(seen, dtype=np.float64), nan=1.0 / seen.shape[1])
                ranked = np.sort(probabilities, axis=1)
                entropy = -np.sum(probabilities * np.log(np.maximum(probabilities, TINY)), axis=1)
                blocks.append(np.column_stack([ranked[:, -1], ranked[:, -1] - ranked[:, -2], entropy]))
            elif kind == "text":
                absent = (seen == np.array(None, dtype=object)) | (seen == "")
                blocks.append(1.0 - absent.astype(np.float64)[:, None])
            else:
                blocks.append(_scaled(_flat(np.asarray(seen, dtype=np.float64)), kind == "large"))
        return np.hstack(blocks)

    def _of_pair(self, columns: dict[str, Column], first: int, second: int, n_queries: int) -> FloatArray:
        """Whether two models agree, in each column of text or of probabilities."""
        blocks = [np.empty((n_queries, 0))]
        for name, values in columns.items():
            if self._kinds[name] == "text":
                blocks.append((values[:, first] == values[:, second]).astype(np.float64)[:, None])
            elif self._kinds[name] == "probabilities":
                likeliest = np.nan_to_num(np.asarray(values[:, [first, second]], dtype=np.float64)).argmax(axis=2)
                blocks.append((likeliest[:, 0] == likeliest[:, 1]).astype(np.float64)[:, None])
        return np.hstack(blocks)


def _flat(values: FloatArray) -> FloatArray:
    """Make one row per query, also where there is no query."""
    return values.reshape(len(values), int(np.prod(values.shape[1:])))


def _is_large(values: FloatArray) -> bool:
    known = values[~np.isnan(values)]
    return bool(known.size and known.min() >= 0.0 and np.quantile(known, 0.95) > LARGE)


def _scaled(values: FloatArray, logarithmic: bool) -> FloatArray:
    return np.log1p(np.maximum(values, 0.0)) if logarithmic else values


def _are_probabilities(values: FloatArray) -> bool:
    known = values[~np.isnan(values).any(axis=2)]
    return bool(known.size and known.shape[-1] > 1 and known.min() >= 0.0 and np.allclose(known.sum(axis=-1), 1.0))
