"""Signals: what a response says of its own quality, and what two responses say of each other.

All functions take arrays whose last axis is that of one response's numbers, and broadcast over the others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from headrace._core import text_sizes
from headrace.arguments import BoolArray, Column, FloatArray, IndexArray

__all__ = [
    "absent",
    "are_probabilities",
    "are_tokens",
    "class_features",
    "divergences",
    "is_absent",
    "numbered",
    "padded",
    "probabilities_known",
    "text_features",
    "text_features_of_one",
    "token_features",
    "token_features_of_one",
]

#: Probabilities below this don't change an entropy.
TINY = 1e-12
LOG_TINY = np.log(TINY)

#: Quantile of the token log-probabilities: the least sure tokens, less noisy than the lowest one.
LOW_QUANTILE = 0.1

#: Characters at the start of an answer in which a refusal is looked for.
REFUSAL_HEAD = 160

#: Lower-case phrases that a refusal starts with, with a plain apostrophe.
REFUSALS = (
    "i can't",
    "i cannot",
    "i can not",
    "i'm sorry",
    "i am sorry",
    "i'm unable",
    "i am unable",
    "i'm not able",
    "i am not able",
    "i won't",
    "i don't know",
    "i do not know",
    "as an ai",
    "unable to assist",
)
SHORTEST_REFUSAL = min(map(len, REFUSALS))


def absent(values: Column) -> BoolArray:
    """Tell which objects are None or empty text."""
    sizes = text_sizes(values.ravel().tolist()).reshape(values.shape)
    return np.asarray(sizes == 0, dtype=np.bool_)


def is_absent(value: Any) -> bool:
    """Tell whether an object is None or empty text."""
    return value is None or (isinstance(value, str) and not value)


def numbered(values: Column) -> IndexArray | None:
    """Give objects as numbers, the same for equal ones; -1 for those that are absent, or not equal to themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.signals import numbered
    >>> numbered(np.array([["Paris", "", "Rome"], ["Rome", None, float("nan")]], dtype=object)).tolist()
    [[0, -1, 2], [2, -1, -1]]
    >>> numbered(np.array([{"a": "dict"}])) is None  # it has no hash
    True
    """
    place: dict[Any, int] = {}
    try:
        numbers = np.array([place.setdefault(cell, len(place)) for cell in values.ravel().tolist()], dtype=np.intp)
    except TypeError:
        return None
    alone = [number for cell, number in place.items() if is_absent(cell) or cell != cell]
    numbers[np.isin(numbers, alone)] = -1
    return numbers.reshape(values.shape)


def text_features(values: Column) -> FloatArray:
    """Give, of objects, whether there is any, the logarithm of the text's length, and whether it is a refusal.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.signals import text_features
    >>> text_features(np.array(["", "I'm sorry, but no."], dtype=object))[:, [0, 2]].tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    cells = values.ravel().tolist()
    sizes = text_sizes(cells)
    features = np.zeros((len(cells), 3))
    features[:, 0] = sizes != 0
    features[:, 1] = np.log1p(np.maximum(sizes, 0))
    for row in np.flatnonzero(sizes >= SHORTEST_REFUSAL).tolist():
        features[row, 2] = _is_refusal(cells[row])
    return features.reshape(*values.shape, 3)


def text_features_of_one(value: Any) -> list[float]:
    """Give the numbers of `text_features` of a single object, in less time."""
    if not isinstance(value, str):
        return [float(value is not None), 0.0, 0.0]
    size = len(value)
    return [float(size > 0), math.log1p(size), float(size >= SHORTEST_REFUSAL and _is_refusal(value))]


def _is_refusal(text: str) -> bool:
    head = text[:REFUSAL_HEAD].lower().replace("\u2019", "'")
    for phrase in REFUSALS:  # noqa: SIM110  # a generator takes more than twice the time
        if phrase in head:
            return True
    return False


def are_tokens(values: Column) -> bool:
    """Tell whether a column holds token log-probabilities: sequences of numbers, or rows without a positive one."""
    if values.dtype == object:
        cells = [cell for cell in values.ravel().tolist() if cell is not None]
        return bool(cells) and all(isinstance(cell, list | tuple | np.ndarray) for cell in cells)
    known = values[~np.isnan(values)]
    return bool(values.ndim == 3 and values.shape[2] > 1 and known.size and known.max() <= 0.0)


def padded(values: Column) -> FloatArray:
    """Turn objects, each a sequence of numbers or None, into an array with one axis more, filled up with NaN.

    Raises
    ------
    ValueError
        If a cell holds something else.
    """
    try:
        rows = [np.empty(0) if cell is None else np.asarray(cell, dtype=np.float64) for cell in values.ravel()]
    except (TypeError, ValueError) as error:
        raise ValueError(f"responses: expected a sequence of log-probabilities per response: {error}") from error
    if any(row.ndim != 1 for row in rows):
        raise ValueError("responses: expected one log-probability per token, got a sequence of sequences")
    filled = np.full((len(rows), max((len(row) for row in rows), default=0)), np.nan)
    for target, row in zip(filled, rows, strict=True):
        target[: len(row)] = row
    return filled.reshape(*values.shape, filled.shape[1])


def token_features(log_probabilities: FloatArray) -> FloatArray:
    """Give mean, lowest and 10% quantile of token log-probabilities, and log(1 + number of tokens).

    Parameters
    ----------
    log_probabilities : ndarray of shape (..., n_tokens)
        Filled up with NaN; minus infinity counts as the logarithm of 1e-12.

    Returns
    -------
    ndarray of shape (..., 4)
        NaN where there is no token.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.signals import token_features
    >>> token_features(np.array([-0.5, -1.5, np.nan]))[:3].tolist()
    [-1.0, -1.5, -1.5]
    """
    shape, most = log_probabilities.shape[:-1], log_probabilities.shape[-1]
    if not most:
        return np.full((*shape, 4), np.nan)
    # NaN comes last.
    ranked = np.maximum(log_probabilities, LOG_TINY).reshape(-1, most)
    ranked.sort(axis=1)
    missing = np.isnan(ranked)
    n_tokens = most - np.add.reduce(missing, axis=1, dtype=np.intp)
    position = np.maximum(LOW_QUANTILE * (n_tokens - 1), 0.0).astype(np.intp)
    features = np.empty((len(ranked), 4))
    features[:, 1] = ranked[:, 0]
    features[:, 2] = ranked[np.arange(len(ranked)), position]
    ranked[missing] = 0.0
    features[:, 0] = np.add.reduce(ranked, axis=1) / np.maximum(n_tokens, 1)
    features[:, 3] = np.log1p(n_tokens)
    features[n_tokens == 0] = np.nan
    return features.reshape(*shape, 4)


def token_features_of_one(log_probabilities: FloatArray) -> list[float]:
    """Give the numbers of `token_features` of a single response, in less time."""
    ranked = np.maximum(log_probabilities, LOG_TINY)
    ranked.sort()
    n_tokens = int(ranked.searchsorted(np.nan))  # NaN comes last
    if not n_tokens:
        return [math.nan] * 4
    low = float(ranked[int(LOW_QUANTILE * (n_tokens - 1))])
    ranked[n_tokens:] = 0.0
    mean = float(np.add.reduce(ranked)) / n_tokens
    return [mean, float(ranked[0]), low, math.log1p(n_tokens)]


def are_probabilities(values: Column) -> bool:
    """Tell whether a column of shape (n_queries, n_models, d) holds the probabilities of d >= 2 classes."""
    if values.dtype == object or values.ndim != 3 or values.shape[2] < 2:
        return False
    known = values[~np.isnan(values).any(axis=2)]
    return bool(known.size and known.min() >= 0.0 and np.allclose(known.sum(axis=-1), 1.0))


def probabilities_known(values: FloatArray) -> FloatArray:
    """Give probabilities, equal ones where they are missing."""
    return np.where(np.isnan(values), 1.0 / values.shape[-1], values)


def class_features(probabilities: FloatArray) -> FloatArray:
    """Give the largest of class probabilities, its margin over the second, and their entropy: shape (..., 3)."""
    ranked = np.sort(probabilities, axis=-1)
    return np.stack([ranked[..., -1], ranked[..., -1] - ranked[..., -2], _entropy(probabilities)], axis=-1)


def divergences(first: FloatArray, second: FloatArray) -> FloatArray:
    """Give the Jensen-Shannon divergence, as a share of its largest value log 2 (Lin 1991).

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.signals import divergences
    >>> divergences(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])).round(12).tolist()
    [1.0, 0.0]
    """
    excess = _entropy(0.5 * (first + second)) - 0.5 * (_entropy(first) + _entropy(second))
    return np.asarray(np.maximum(excess, 0.0) / np.log(2.0))


def _entropy(probabilities: FloatArray) -> FloatArray:
    return np.asarray(-np.sum(probabilities * np.log(np.maximum(probabilities, TINY)), axis=-1))
