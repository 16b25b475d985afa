"""What a baseline is given: queries to calibrate on, others to replay on, and the budgets that it may spend."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from headrace.arguments import FloatArray, IndexArray
from headrace.beliefs.belief_table import BeliefTable

__all__ = ["Fold", "Wanted"]


class Fold(NamedTuple):
    """Queries to calibrate on, and others to replay on.

    Attributes
    ----------
    calibration, held_out : BeliefTable
    rows : ndarray of int
        Rows of `held_out` in the whole test table.
    uncertainty_scale : float or None
        That of cascade routing, where a router has it already; by default it is chosen on the calibration queries.
    """

    calibration: BeliefTable
    held_out: BeliefTable
    rows: IndexArray
    uncertainty_scale: float | None = None


class Wanted(NamedTuple):
    """What is asked of a baseline.

    Attributes
    ----------
    budgets : ndarray of shape (n_budgets,)
    max_depth : int
        Most models to run for one query; cascades may run all.
    answer : {"best", "last"}
        Which answer is returned.
    progress : callable
        Called with the share done.
    """

    budgets: FloatArray
    max_depth: int
    answer: str
    progress: Callable[[float], None]
