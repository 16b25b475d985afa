"""Estimators asked: what they give is checked, and what goes wrong in one of them names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from headrace.arguments import FloatArray
from headrace.estimators.belief import Belief
from headrace.estimators.protocol import CostEstimator, QualityEstimator, Queries
from headrace.estimators.responses import Responses

__all__ = ["add_note", "believed", "named_on_error", "priced"]


@contextmanager
def named_on_error(kind: str, estimator: object) -> Iterator[None]:
    """Let an error of an estimator pass with a note that names it."""
    try:
        yield
    except Exception as error:
        add_note(kind, estimator, error)
        raise


def add_note(kind: str, estimator: object, error: Exception) -> None:
    """Name the estimator that an error comes from."""
    error.add_note(f"raised by the {kind} estimator {type(estimator).__name__}")


def believed(estimator: QualityEstimator, queries: Queries, responses: Responses) -> Belief:
    """Ask a quality estimator.

    Parameters
    ----------
    estimator : QualityEstimator
    queries : mapping of str to ndarray of shape (m, ...)
    responses : Responses
        Of m queries.

    Returns
    -------
    Belief
        Of m queries.

    Raises
    ------
    TypeError, ValueError
        It gives something else than a `Belief`, or one of another shape. What it raises itself gets a note.

    Examples
    --------
    >>> from headrace import Responses
    >>> from headrace.estimators.asked import believed
    >>> class Plain:
    ...     def predict(self, queries, responses):
    ...         return [[0.5, 0.6]]
    >>> believed(Plain(), {}, Responses([[False, False]], {}))
    Traceback (most recent call last):
    TypeError: quality: expected a Belief from Plain.predict, got list
    """
    try:
        belief = estimator.predict(queries, responses)
    except Exception as error:
        add_note("quality", estimator, error)
        raise
    name = type(estimator).__name__
    if not isinstance(belief, Belief):
        raise TypeError(f"quality: expected a Belief from {name}.predict, got {type(belief).__name__}")
    _check_shape("quality", name, belief.quality, responses)
    return belief


def priced(name: str, estimator: CostEstimator, queries: Queries, responses: Responses) -> FloatArray:
    """Ask a cost estimator, of the cost of a name: shape (m, n_models); otherwise as `believed`."""
    try:
        costs = estimator.predict(queries, responses)
    except Exception as error:
        add_note("cost", estimator, error)
        raise
    return _check_shape(name, type(estimator).__name__, costs, responses)


def _check_shape(argument: str, name: str, values: FloatArray, responses: Responses) -> FloatArray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{argument}: expected numbers from {name}.predict, got {type(values).__name__}") from error
    if numbers.shape != responses.run.shape:
        raise ValueError(f"{argument}: expected shape {responses.run.shape} from {name}.predict, got {numbers.shape}")
    return numbers
