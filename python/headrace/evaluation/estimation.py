"""What estimates cost: given, or measured by walking queries as in service."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from time import perf_counter
from typing import Any

import numpy as np

from headrace.arguments import listed
from headrace.evaluation.findings import SECONDS
from headrace.evaluation.traffic import walked_session
from headrace.outcomes import Outcomes
from headrace.router import Router

__all__ = ["MEASURED", "checked_estimation", "estimation_costs", "measured_seconds"]

#: Stands for seconds that are to be measured.
MEASURED = "measured"

#: Queries to measure on.
N_MEASURED = 50


def checked_estimation(given: Any, per: Any, names: tuple[str, ...]) -> dict[str, float | str]:
    """Check what estimates cost, and give it by the names of the costs.

    Raises
    ------
    TypeError, ValueError
        Neither a finite number >= 0 nor, of seconds, "measured"; a cost that the table doesn't have; an unknown `per`.

    Examples
    --------
    >>> from headrace.evaluation.estimation import checked_estimation
    >>> checked_estimation(1e-5, "query", ("usd", "seconds"))
    {'usd': 1e-05}
    >>> checked_estimation({"seconds": "measured"}, "query", ("usd", "seconds"))
    {'seconds': 'measured'}
    """
    if per not in ("query", "decision"):
        raise ValueError(f'estimation_per: expected "query" or "decision", got {per!r}')
    named = dict(given) if isinstance(given, Mapping) else {names[0]: given}
    for name, value in named.items():
        if name not in names:
            raise ValueError(f"estimation_cost: unknown cost {name!r}; the table has {listed(names)}")
        if value == MEASURED and name != SECONDS:
            raise ValueError(f'estimation_cost: only "{SECONDS}" can be measured, got {MEASURED!r} for {name!r}')
        if value == MEASURED:
            continue
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"estimation_cost: expected a number, got {value!r}")
        if not 0.0 <= float(value) < math.inf:
            raise ValueError(f"estimation_cost: expected a finite number >= 0, got {value!r}")
    return {name: value if value == MEASURED else float(value) for name, value in named.items()}


def estimation_costs(given: Mapping[str, float | str], per: str, router: Router, test: Outcomes) -> dict[str, float]:
    """Give what estimates cost, measured where it is to be."""
    return {
        name: measured_seconds(router, test, per) if isinstance(value, str) else value for name, value in given.items()
    }


def measured_seconds(router: Router, test: Outcomes, per: str) -> float:
    """Measure the seconds of estimating and deciding, one query at a time as in service.

    Parameters
    ----------
    router : Router
        With a budget.
    test : Outcomes
        Its first queries are walked, their responses taken from the table.
    per : {"query", "decision"}

    Returns
    -------
    float
        Median over the queries, on the machine at hand.
    """
    seconds = []
    for row in range(min(N_MEASURED, test.n_queries)):
        started = perf_counter()
        session = walked_session(router, test, row)
        elapsed = perf_counter() - started
        seconds.append(elapsed / (len(session.run) + 1) if per == "decision" else elapsed)
    return float(np.median(seconds))
