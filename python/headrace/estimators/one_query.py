"""One query on its way: its columns and its responses, with what encoders have made of them so far.

A session asks two estimators after every run. `OneQuery` and `OneResponses` are what it passes: the mapping and the
`Responses` that every estimator takes, and beside them a memory, which `QueryFeatures` and `ResponseFeatures` look into
before they encode. So the query is encoded once, and each response once, however many runs follow. Encoders remember
under a fingerprint of what they have learned (`headrace.estimators.state`): those of the quality and of the cost, which
learned the same from the same columns, find each other's work.

A memory is only as good as what it is about is fixed. It goes with the very objects: a copy, such as a `dict` of other
columns or `Responses.with_run`, has none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from headrace.arguments import BoolArray, Column, FloatArray, read_only_view
from headrace.estimators.responses import Responses

__all__ = ["OneQuery", "OneResponses", "once"]


class OneQuery(dict[str, Column]):
    """Columns of one query, which stay as they are.

    Attributes
    ----------
    encoded : dict
        What has been made of them.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        super().__init__(columns)
        self.encoded: dict[Hashable, FloatArray] = {}


class OneResponses(Responses):
    """Responses to one query, as its session holds them: nothing is checked again.

    Parameters
    ----------
    run : bool ndarray of shape (1, n_models)
    columns : mapping of str to ndarray of shape (1, n_models, ...)
        A model's cells stay as they are once it has run.
    encoded : dict
        What has been made of the models that have run.
    """

    encoded: dict[Hashable, dict[Any, Any]]

    def __init__(self, run: BoolArray, columns: Mapping[str, Column], encoded: dict[Hashable, dict[Any, Any]]) -> None:
        object.__setattr__(self, "run", read_only_view(run))
        object.__setattr__(self, "_columns", columns)
        object.__setattr__(self, "encoded", encoded)

    def cell(self, name: str, model: int) -> Any:
        """Give what a model that has run returned, to be read only."""
        return self._columns[name][0, model]


def once(queries: Mapping[str, Column], key: Hashable, make: Callable[[], FloatArray]) -> FloatArray:
    """Make something of queries, or, of one on its way, give what has been made under the key before.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.one_query import OneQuery, once
    >>> query = OneQuery({"x": np.array([2.0])})
    >>> once(query, "root", lambda: np.sqrt(query["x"])) is once(query, "root", lambda: np.empty(0))
    True
    """
    if not isinstance(queries, OneQuery):
        return make()
    made = queries.encoded.get(key)
    if made is None:
        made = queries.encoded[key] = read_only_view(np.asarray(make()))
    return made
