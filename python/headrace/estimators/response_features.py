"""Features of responses: what a run returned, and what two runs say of each other, as numbers for a regression.

What a column holds is learned from the fitting data, and it is encoded accordingly. An unknown number is NaN, which
regressions count as average.

Tables are encoded by columns. In a session each response is encoded by itself when it is there, and each pair when both
are: the features of any run set are put together from these (`headrace.estimators.one_query`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from functools import cached_property, lru_cache
from itertools import combinations
from typing import Any, Self

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, IndexArray, checked_magnitude, checked_magnitudes
from headrace.estimators.one_query import OneResponses
from headrace.estimators.one_table import TableResponses
from headrace.estimators.parameters import Parameters
from headrace.estimators.response_encoders import Encoder, encoder_for
from headrace.estimators.responses import Responses
from headrace.estimators.state import Stateful, fingerprint
from headrace.estimators.targets import clipped

__all__ = ["EncodedResponses", "ResponseFeatures", "columns_after"]

#: Pairs of models that are compared at a time.
BLOCK = 256


class ResponseFeatures(Parameters, Stateful, part="response-features", kept=("_encoders", "_ends")):
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
    pairs : bool, default True
        Compare what two models returned.

    Notes
    -----
    A number beyond what a model returned in the fit counts as the nearer end of that range: a cost after a price rise
    is no sign of a quality that was never seen.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace import Responses
    >>> from headrace.estimators import ResponseFeatures
    >>> seen = Responses(np.ones((1, 2), bool), {"answer": [["Paris", "paris"]]})
    >>> encoder = ResponseFeatures(equal=lambda a, b: a.casefold() == b.casefold()).fit(seen)
    >>> features = encoder.transform(seen, np.array([True, True]))
    >>> features.shape, float(features[0, -1])
    ((1, 7), 1.0)
    """

    def __init__(
        self, *, equal: Callable[[Any, Any], bool] | None = None, plain: Collection[str] = (), pairs: bool = True
    ) -> None:
        self.equal = equal
        self.plain = plain
        self.pairs = pairs

    def fit(self, responses: Responses) -> Self:
        """Learn what each column holds, and scales."""
        self._encoders: dict[str, Encoder] = {}
        self._ends: dict[str, tuple[FloatArray, FloatArray]] = {}
        for name in responses.names:
            values = checked_magnitudes(_label(name), responses.column(name))
            self._encoders[name] = encoder_for(_label(name), values, equal=self.equal, plain=name in self.plain)
            if values.dtype != object:
                self._ends[name] = _ends(values)
        for name in ("key", "_compares"):
            vars(self).pop(name, None)
        return self

    def transform(self, responses: Responses, run: BoolArray) -> FloatArray:
        """Encode the responses of the models of `run`: shape (len(responses), n_features)."""
        if isinstance(responses, OneResponses):
            return np.array([self.of_one(responses, run.nonzero()[0].tolist())], dtype=np.float64)
        models = np.flatnonzero(run)
        if not len(models):
            return np.empty((len(responses), 0))
        if isinstance(responses, TableResponses) and responses.run_set[models].all():
            return self._of_table(responses, models)
        seen = self._seen(responses, models)
        of_models = self._of_models(seen, len(responses), len(models))
        return _beside(of_models, self._of_pairs(seen, len(responses), len(models)))

    def _of_table(self, responses: TableResponses, models: IndexArray) -> FloatArray:
        """Put together the features of some rows of a table: of all models, and of each pair, what is remembered."""
        run = responses.run_set

        def of_models(every: Responses) -> FloatArray:
            return self._of_models(self._seen(every, np.arange(len(run))), len(every), len(run))

        def of_pair(every: Responses) -> FloatArray:
            return self._of_pairs(self._seen(every, np.array(pair), compared=True), len(every), 2)[:, 0]

        blocks = [responses.remembered(self.key, of_models)[:, models].reshape(len(responses), -1)]
        if self._compares:
            for pair in combinations(models.tolist(), 2):
                blocks.append(responses.remembered((self.key, pair), of_pair))
        return np.concatenate(blocks, axis=1)

    def of_one(self, responses: OneResponses, models: list[int]) -> list[float]:
        """Give the features of the responses to one query: put together what is remembered, encode what is new."""
        made = responses.encoded.setdefault(self.key, {})
        features: list[float] = []
        for model in models:
            if model not in made:
                made[model] = self._of_one(responses, model)
            features += made[model]
        if self._compares:
            for pair in combinations(models, 2):
                if pair not in made:
                    made[pair] = self._of_two(responses, *pair)
                features += made[pair]
        return features

    def _of_one(self, responses: OneResponses, model: int) -> list[float]:
        """Encode what a model returned."""
        self._check_there(responses)
        features: list[float] = []
        for name, encoder in self._encoders.items():
            features += encoder.of_one(self._within(name, responses.cell(name, model), model))
        return features

    def _of_two(self, responses: OneResponses, first: int, second: int) -> list[float]:
        """Compare what two models returned."""
        features: list[float] = []
        for name, encoder in self._encoders.items():
            if encoder.compares:
                cells = (self._within(name, responses.cell(name, model), model) for model in (first, second))
                features += encoder.of_two(*cells)
        return features

    @cached_property
    def _compares(self) -> bool:
        return self.pairs and any(encoder.compares for encoder in self._encoders.values())

    @cached_property
    def key(self) -> Hashable:
        """Under which what it encodes is remembered; a function is like no other."""
        return fingerprint((self._encoders, self._ends)) if self.equal is None else object()

    def _seen(self, responses: Responses, models: IndexArray, *, compared: bool = False) -> dict[str, Column]:
        """Give the columns of some models: all, or those that are compared."""
        self._check_there(responses)
        names = [name for name, encoder in self._encoders.items() if encoder.compares or not compared]
        return {name: self._within(name, responses.column(name, models), models) for name in names}

    def _check_there(self, responses: Responses) -> None:
        names = responses.names
        for name in self._encoders:
            if name not in names:
                raise ValueError(f"{_label(name)}, which was there in the fit, is missing")

    def _within(self, name: str, values: Any, models: IndexArray | int) -> Any:
        """Take numbers beyond the range of the fit as its nearer end: a regression says nothing of what is beyond."""
        if name not in self._ends:
            return values
        low, high = self._ends[name]
        if isinstance(values, float):
            checked_magnitude(_label(name), values)
            return values if values != values else min(max(values, low.item(models)), high.item(models))
        return clipped(checked_magnitudes(_label(name), values), low[models], high[models])

    def _comparable(self, seen: Mapping[str, Column]) -> dict[str, Column]:
        """Give what is compared of the columns of models: of all that there are, if pairs are compared at all."""
        encoders = self._encoders.items() if self.pairs else ()
        return {name: encoder.comparable(seen[name]) for name, encoder in encoders if encoder.compares}

    def _of_models(self, seen: Mapping[str, Column], n_queries: int, n_models: int) -> FloatArray:
        """Encode what models returned: shape (n_queries, n_models, n_features)."""
        blocks = [encoder.of_models(seen[name]) for name, encoder in self._encoders.items()]
        return np.concatenate([np.empty((n_queries, n_models, 0)), *blocks], axis=2)

    def _of_pairs(
        self, seen: Mapping[str, Column], n_queries: int, n_models: int, some: slice = slice(None)
    ) -> FloatArray:
        """Compare what all pairs of models returned, or some of them: shape (n_queries, n_pairs, n_features)."""
        first, second = (of_pairs[some] for of_pairs in _pairs(n_models))
        found: list[FloatArray] = []
        if len(first) and self._compares:
            for name, encoder in self._encoders.items():
                if encoder.compares:
                    found += encoder.of_pairs(seen[name], first, second)
        if not found:
            return np.empty((n_queries, len(first), 0))
        return np.stack(found, axis=2) if len(found) > 1 else found[0][:, :, None]


class EncodedResponses:
    """Responses of all models, encoded once, of which the features of any run set are made.

    Parameters
    ----------
    features : ResponseFeatures
        Fitted.
    responses : Responses
        Of models that have all run.
    """

    def __init__(self, features: ResponseFeatures, responses: Responses) -> None:
        self._n_queries, self._n_models = responses.run.shape
        self._features = features
        seen = features._seen(responses, np.arange(self._n_models))
        self._of_models = features._of_models(seen, self._n_queries, self._n_models)
        self._compared = features._comparable(seen)

    def after(self, run: BoolArray) -> FloatArray:
        """Give what `ResponseFeatures.transform` gives for a run set."""
        models = np.flatnonzero(run)
        compared = {name: values.take(models, axis=1) for name, values in self._compared.items()}
        pairs = self._features._of_pairs(compared, self._n_queries, len(models))
        return _beside(self._of_models.take(models, axis=1), pairs)

    def blocks(self) -> Iterator[FloatArray]:
        """Give what `after` gives for all models, in blocks of columns: pairs are many."""
        yield self._of_models.reshape(self._n_queries, -1)
        n_pairs = len(_pairs(self._n_models)[0])
        for begin in range(0, n_pairs if self.widths[1] else 0, BLOCK):
            yield self._pairs(slice(begin, begin + BLOCK)).reshape(self._n_queries, -1)

    def _pairs(self, some: slice) -> FloatArray:
        return self._features._of_pairs(self._compared, self._n_queries, self._n_models, some)

    @cached_property
    def widths(self) -> tuple[int, int]:
        """Numbers of features of a model's response, and of a pair of responses."""
        return self._of_models.shape[2], self._pairs(slice(1)).shape[2]


def columns_after(run: BoolArray, of_model: int, of_pair: int) -> IndexArray:
    """Give where the features of a run set are among those after all models.

    Parameters
    ----------
    run : ndarray of bool of shape (n_models,)
    of_model, of_pair : int
        As in `EncodedResponses.widths`.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.response_features import columns_after
    >>> columns_after(np.array([True, False, True]), 2, 1).tolist()
    [0, 1, 4, 5, 7]
    """
    n_models, models = len(run), np.flatnonzero(run)
    first, second = (models[of_pairs] for of_pairs in _pairs(len(models)))
    # In lexicographic order: before those of a model are those of n - 1 and n - 2 and ... pairs.
    number = first * (2 * n_models - first - 1) // 2 + second - first - 1
    own = models[:, None] * of_model + np.arange(of_model)
    both = n_models * of_model + number[:, None] * of_pair + np.arange(of_pair)
    return np.concatenate([own.ravel(), both.ravel()])


def _ends(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Range of each model's numbers, of shape (n_models, ...); of a model without any, all numbers."""
    low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _beside(of_models: FloatArray, of_pairs: FloatArray) -> FloatArray:
    """Make one row per query of the blocks of models, and of those of their pairs."""
    n_queries, n_models, width = of_models.shape
    rows = of_models.reshape(n_queries, n_models * width)
    _, n_pairs, n_features = of_pairs.shape
    if not n_pairs * n_features:
        return rows
    return np.concatenate([rows, of_pairs.reshape(n_queries, n_pairs * n_features)], axis=1)


@lru_cache(maxsize=128)
def _pairs(n_models: int) -> tuple[IndexArray, IndexArray]:
    """Give the first and the second model of every pair, in lexicographic order."""
    first, second = np.triu_indices(n_models, 1)
    first.setflags(write=False)
    second.setflags(write=False)
    return first, second


def _label(name: str) -> str:
    return f"responses: column {name!r}"
