"""Paid columns on held-out queries: the router's own choice at each budget, and each set of columns bought always."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration.walk import Stops, walk
from headrace.evaluation.baselines import estimates_of
from headrace.evaluation.replay import Replay, points_for, replay
from headrace.outcomes import Outcomes
from headrace.router import Router
from headrace.rules import make_rule

__all__ = ["Walked", "buying_words", "paid_replays", "walked", "walked_as_served"]


class Walked(NamedTuple):
    """A router's walk over test queries, and what it would do at each budget.

    Attributes
    ----------
    table : BeliefTable
    stops : Stops
    own : Replay
    """

    table: BeliefTable
    stops: Stops
    own: Replay


def walked_as_served(router: Router, test: Outcomes) -> tuple[BeliefTable, Stops]:
    """Walk complete test queries of the router's models with the columns, the estimators and the rule that serve."""
    seen = test.buying(router.bought_)
    table = BeliefTable.served(seen, router.estimators_, seed=int(router.seed), rates=router.policy_.rates)
    return table, walk(make_rule(router.rule_, 0.0, router.policy_.settings), seen, table, answer=router.answer)


def walked(router: Router, test: Outcomes, budgets: FloatArray, name: str = "router") -> Walked:
    """Walk test queries as the router walks those of its calibration, with the columns that it buys.

    Parameters
    ----------
    router : Router
        With a budget.
    test : Outcomes
        Complete, with the paid columns of the fit.
    budgets : ndarray of shape (n_budgets,)
    name : str
        Of the replay.
    """
    table, stops = walked_as_served(router, test)
    points, feasible = points_for(router.path_, budgets)
    own = replay(
        name,
        points,
        stops,
        table.outcomes,
        feasible=feasible,
        uncertainty_scale=router.uncertainty_scale_,
        estimates=estimates_of(router.rule_),
    )
    return Walked(table, stops, own)


def paid_replays(router: Router, test: Outcomes, budgets: FloatArray) -> tuple[Replay, list[Replay]]:
    """Replay the router with the columns that it buys at each budget, and with each set of them at all budgets.

    Parameters
    ----------
    router : Router
        Fitted on a table with paid columns, with a budget.
    test : Outcomes
        Complete; every query has all paid columns.
    budgets : ndarray of shape (n_budgets,)

    Returns
    -------
    tuple of (Replay, list of Replay)
    """
    assert router.signals_ is not None
    always = []
    for columns in router.signals_.bought:
        fixed = router.buying(columns)
        fixed = fixed.with_budget({fixed.path_.cost_name: float(fixed.path_.cost.max())})
        always.append(walked(fixed, test, budgets, buying_words(columns)).own)
    chosen = []
    for budget in budgets.tolist():
        try:
            columns = router.with_budget({test.cost_name: budget}).bought_
        except ValueError:
            columns = ()
        chosen.append(router.signals_.bought.index(columns))
    return _picked(always, chosen), always


def buying_words(columns: Sequence[str]) -> str:
    """Say what is bought.

    Examples
    --------
    >>> from headrace.evaluation.paid import buying_words
    >>> buying_words(()), buying_words(["judge", "tests"])
    ('buying nothing', 'buying judge and tests')
    """
    return f"buying {' and '.join(columns) or 'nothing'}"


def _picked(always: Sequence[Replay], chosen: Sequence[int]) -> Replay:
    """Take each budget's row of the replay that was chosen for it."""

    def rows(attribute: str) -> FloatArray:
        return np.array([getattr(always[number], attribute)[row] for row, number in enumerate(chosen)])

    further = {
        name: np.array([always[number].further_costs[name][row] for row, number in enumerate(chosen)])
        for name in always[0].further_costs
    }
    return replace(
        always[0],
        name="router",
        cost=rows("cost"),
        quality=rows("quality"),
        n_runs=rows("n_runs"),
        feasible=rows("feasible").astype(np.bool_),
        answers=rows("answers"),
        runs=rows("runs"),
        further_costs=further,
    )
