"""Queries that the same estimators serve after the same runs, decided at once; a single one as in a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import Column
from headrace.estimators.asked import believed, priced
from headrace.estimators.blas import one_blas_thread
from headrace.estimators.one_query import OneQuery, OneResponses
from headrace.estimators.responses import Responses
from headrace.policy.policy import weighed
from headrace.serving.served import Served

__all__ = ["decided"]


def decided(
    served: Served, queries: Mapping[str, Column], responses: Responses, ids: Sequence[str], threads: int | None
) -> npt.NDArray[np.int32]:
    """Give the index of the model to run next for each query, -1 = stop.

    Parameters
    ----------
    served : Served
    queries : mapping of str to ndarray of shape (n_queries, ...)
        Columns that have been checked.
    responses : Responses
        After the same runs in all queries.
    ids : sequence of str of length n_queries
    threads : int, optional
    """
    policy = served.policy
    if len(ids) == 1:
        return np.array([_decided_one(served, queries, responses, ids[0])], dtype=np.int32)
    with one_blas_thread:
        belief = believed(served.estimators.quality, queries, responses)
        costs = [priced(name, cost, queries, responses) for name, cost in served.estimators.costs.items()]
    return policy.select_batch(
        belief.quality,
        weighed(np.stack(costs), policy.rates),
        ids=ids,
        variance=belief.variance,
        covariance=belief.covariance,
        loading=belief.loading,
        run=responses.run,
        threads=threads,
    )


def _decided_one(served: Served, queries: Mapping[str, Column], responses: Responses, query_id: str) -> int:
    run = responses.run[0]
    kinds = {name: (column.dtype, column.shape[1:]) for name, column in queries.items()}
    query = OneQuery({name: _cell(column, 0) for name, column in queries.items()}, kinds)
    seen = OneResponses(run[None, :], served.response_columns)
    seen.cells.update((j, {}) for j in run.nonzero()[0].tolist())
    for name in responses.names if seen.cells else ():
        column = responses.column(name)
        for j, cells in seen.cells.items():
            cells[name] = _cell(column, (0, j))
    belief, costs = served.estimators.estimates(query, seen, run)
    decision = served.policy.rule_for(query_id).select(
        belief.quality,
        weighed(costs, served.policy.rates),
        variance=belief.variance,
        covariance=belief.covariance,
        loading=belief.loading,
        run=run.tolist(),
    )
    return -1 if decision.next is None else decision.next


def _cell(column: Column, place: int | tuple[int, int]) -> Any:
    """Give a cell as a session holds it: of a column of numbers a float, or an array; an object as it is."""
    value = column[place]
    return value if column.dtype.kind == "O" or isinstance(value, np.ndarray) else float(value)
