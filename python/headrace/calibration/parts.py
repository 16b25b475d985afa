"""Which labelled queries fit the estimators, and which calibrate the rule."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arguments import listed
from headrace.calibration.settings import check_table
from headrace.outcomes import Outcomes
from headrace.outcomes.fingerprints import fingerprints

__all__ = ["FEWEST_QUERIES", "Parts", "parted"]

#: Fewest labelled queries for a fit: below, no cross-fitting is possible.
FEWEST_QUERIES = 4

#: Share of the queries that fits the estimators where a guarantee needs others to calibrate.
FITTING_SHARE = 0.5


class Parts(NamedTuple):
    """Labelled queries by their use.

    Attributes
    ----------
    fitting : Outcomes
        Complete queries that fit the estimators.
    partial : Outcomes or None
        Queries with missing cells, for estimators that accept them.
    apart : Outcomes or None
        Complete queries that calibrate; None: those of `fitting` do, by cross-fitting.
    n_dropped : int
        Queries that were left out of `fitting` and `apart` because a cell was missing.
    """

    fitting: Outcomes
    partial: Outcomes | None
    apart: Outcomes | None
    n_dropped: int

    def seen(self) -> npt.NDArray[np.uint64]:
        """Give the fingerprints of all these queries."""
        return np.concatenate([fingerprints(part) for part in self[:3] if part is not None])

    def of_models(self, models: Sequence[str]) -> Parts:
        """Give the same queries of some models."""
        fitting, partial, apart, n_dropped = self
        others = None if partial is None else partial.select(models)
        return Parts(fitting.select(models), others, None if apart is None else apart.select(models), n_dropped)

    def buying(self, columns: Sequence[str]) -> Parts:
        """Give the same queries to a router that buys some paid columns; see `Outcomes.buying`.

        Raises
        ------
        ValueError
            Too few queries have the columns.
        """
        fitting, partial, apart, n_dropped = self
        bought = fitting.buying(columns)
        held = None if apart is None else apart.buying(columns)
        if bought.n_queries < FEWEST_QUERIES:
            wanted = f"at least {FEWEST_QUERIES} queries with {listed(columns)} of every model"
            raise ValueError(f"outcomes: expected {wanted}, got {bought.n_queries}")
        lacking = fitting.n_queries - bought.n_queries
        lacking += 0 if apart is None or held is None else apart.n_queries - held.n_queries
        others = None if partial is None else _having(partial, columns)
        return Parts(bought, others, held, n_dropped + lacking)


def _having(partial: Outcomes, columns: Sequence[str]) -> Outcomes | None:
    """Give the queries with missing cells that have some paid columns, if there are any."""
    try:
        return partial.buying(columns)
    except ValueError:
        return None


def parted(
    outcomes: Outcomes, calibration: Outcomes | None, models: Sequence[str] | int | None, *, apart: bool, seed: int
) -> Parts:
    """Sort labelled queries by their use.

    Parameters
    ----------
    outcomes : Outcomes
    calibration : Outcomes, optional
        Queries that the caller keeps apart.
    models : sequence of str, or int; optional
        All by default, and where there is a number of them (`headrace.calibration.shortlist`).
    apart : bool
        Whether calibration must be kept apart: half of the queries, drawn at random, if the caller keeps none.
    seed : int
        Of the draw.

    Raises
    ------
    ValueError
        Too few complete queries; models or costs that differ.
    """
    named = None if models is None or isinstance(models, int | Integral) else models
    fitting = outcomes.labelled(named, fewest=FEWEST_QUERIES)
    if fitting.n_groups < 2:
        raise ValueError("outcomes: expected queries of at least two groups, as folds keep groups whole; got one group")
    n_dropped = outcomes.n_queries - fitting.n_queries
    chosen = outcomes if named is None else outcomes.select(named)
    partial = chosen.take(chosen.incomplete) if chosen.incomplete.any() else None
    held: Outcomes | None = None
    if calibration is not None:
        check_table("calibration", calibration)
        held = calibration.labelled(named, argument="calibration")
        n_dropped += calibration.n_queries - held.n_queries
        if (held.models, tuple(held.costs)) != (fitting.models, tuple(fitting.costs)):
            raise ValueError("calibration: expected the models and costs of outcomes")
    elif apart:
        if fitting.n_queries < 2 * FEWEST_QUERIES:
            wanted = f"at least {2 * FEWEST_QUERIES} complete queries for a confidence"
            raise ValueError(f"outcomes: expected {wanted}, got {fitting.n_queries}")
        fitting, held = fitting.split(FITTING_SHARE, rng=seed)
    return Parts(fitting, partial, held, n_dropped)
