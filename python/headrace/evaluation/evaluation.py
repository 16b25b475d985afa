"""Evaluation of a fitted router on queries that no fit has seen, against baselines at the same budgets."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.evaluation.arguments import (
    check_numbers,
    checked_baselines,
    checked_budgets,
    checked_fitting,
    checked_tables,
)
from headrace.evaluation.bootstrap import N_RESAMPLES, resampling_weights
from headrace.evaluation.curves import budget_grid, cross_fitted, replayed_folds
from headrace.evaluation.estimation import checked_estimation, estimation_costs
from headrace.evaluation.findings import SECONDS, judged_policy, judged_singles, latencies
from headrace.evaluation.fold import Fold
from headrace.evaluation.method import summarise
from headrace.evaluation.paid import paid_replays, walked
from headrace.evaluation.replay import Replay, points_for
from headrace.evaluation.report.page import methods_html, write_report
from headrace.evaluation.report.summary import as_dict, summary
from headrace.evaluation.report.verdict import verdict
from headrace.evaluation.scorecard import Scorecard
from headrace.evaluation.traffic import example_decisions, flows, reliability
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import BudgetPath
from headrace.router import Router

__all__ = ["Evaluation", "evaluate"]

#: Budgets beyond the most expensive single model, up to the most expensive policy.
N_BEYOND = 6


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation(Scorecard):
    """A router on held-out queries, in numbers and in words; made by `headrace.evaluate`.

    Its numbers are the fields of `headrace.evaluation.scorecard.Scorecard`. A notebook shows its verdict and the table
    of methods.

    Attributes
    ----------
    verdict : list of str
        Sentences; the first one is the verdict at the router's budget.

    Examples
    --------
    >>> import headrace as hr
    >>> fitting, test = hr.datasets.load_quickstart().select(["centroid", "network", "svm"]).split(0.5)
    >>> router = hr.Router(rule="routing").fit(fitting, budget=40.0)
    >>> evaluation = hr.evaluate(router, test, fitting=fitting, baselines=["linear interpolation"])
    >>> print(evaluation.verdict[0][:32])
    This router pays at this budget:
    """

    @cached_property
    def verdict(self) -> list[str]:
        """Sentences; the first one is the verdict."""
        return verdict(self)

    def __repr__(self) -> str:
        return f"Evaluation({self.rule}, {self.n_test} queries, {len(self.methods)} methods: {self.verdict[0]})"

    def _repr_html_(self) -> str | None:
        """Show verdict and methods in a notebook; None, so that it shows the text, without the extra `report`."""
        try:
            return methods_html(self)
        except ImportError:
            return None

    def summary(self) -> str:
        """Give the verdict and the table of methods as text for a terminal."""
        return summary(self)

    def to_dict(self) -> dict[str, Any]:
        """Give all numbers, ready for JSON; what isn't finite is None. Without the queries' texts."""
        return as_dict(self)

    def report(self, path: str | os.PathLike[str], *, title: str = "Router report", show_text: bool = False) -> Path:
        """Write one self-contained HTML page; see `headrace.evaluation.report.page.write_report`."""
        return write_report(self, path, title=title, show_text=show_text)


def evaluate(
    router: Router,
    outcomes: Outcomes,
    *,
    baselines: str | Sequence[str] = "all",
    fitting: Outcomes | None = None,
    budgets: npt.ArrayLike | None = None,
    estimation_cost: float | str | Mapping[str, float | str] = 0.0,
    estimation_per: str = "query",
    n_resamples: int = N_RESAMPLES,
    n_examples: int = 6,
    seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
) -> Evaluation:
    """Replay a fitted router on held-out queries over its whole budget path, and compare it with baselines.

    Parameters
    ----------
    router : Router
        Fitted. Without a budget, the middle one is taken for what needs one.
    outcomes : Outcomes
        Labelled queries that the fit has not seen: its models and costs. Rows with missing cells are left out.
    baselines : "all" or sequence of str
        Of `headrace.evaluation.baselines.BASELINES`; by default all, but for cascade routing or the index rule where
        that is the router's own. Those that the table doesn't allow are left out: `Evaluation.left_out` says why.
    fitting : Outcomes, optional
        The table that the router was fitted on; none of its queries may be in `outcomes`. Baselines with a parameter
        are then fitted and calibrated on it, as the router was: the fair comparison. A router keeps no labels, so
        without it baselines use the router's estimators, and are calibrated for one half of the test queries on the
        other half: no query has a say in the policy that decides it, but there are fewer of them.
    budgets : array-like of shape (n_budgets,), optional
        Where the curves are drawn; the router's own budget joins them. By default some forty, from the cheapest single
        model to the most expensive policy.
    estimation_cost : float, "measured" or mapping of str to these, default 0.0
        What asking the estimators costs, in the unit of the first cost, or by the names of the costs: added to the
        realised costs of all methods that use them (not of single models, mixtures and the oracle), and to the
        router's latency. Seconds may be "measured": by this router, on this machine, one query at a time. Budgets are
        checked without it.
    estimation_per : {"query", "decision"}
        Whether that is per query or per decision: routing decides once, a threshold cascade after each run, all others
        before the first run and after each.
    n_resamples : int, default 500
        Bootstrap resamples.
    n_examples : int, default 6
        Decisions to explain.
    seed : int
        Of the bootstrap and of the halves.
    progress : callable, optional
        Called with the name of a method and the share of it that is done.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError, ValueError
        A router that isn't fitted; queries of `fitting` among those to evaluate on; other models or costs than the
        router's; too few complete queries; models that all cost the same; an unknown baseline; a negative or infinite
        budget or estimation cost, or one that can't be measured.

    Notes
    -----
    Every number is a mean over test queries; its interval is that of a paired bootstrap over them (whole groups, where
    the table has groups). It covers the sampling of test queries, not of those that the router was fitted on.

    Examples
    --------
    >>> import headrace as hr
    >>> table = hr.datasets.load_quickstart().select(["centroid", "network", "svm"])
    >>> fitting, test = table.split(0.5)
    >>> router = hr.Router(rule="routing").fit(fitting, budget=40.0)
    >>> evaluation = hr.evaluate(router, test, fitting=fitting, baselines=["linear interpolation"])
    >>> evaluation.difference("router", "linear interpolation").low > 0.0
    True
    """
    test, n_dropped = checked_tables(router, outcomes)
    names = checked_baselines(baselines, router.rule_)
    given = checked_estimation(estimation_cost, estimation_per, tuple(test.costs))
    grid = None if budgets is None else checked_budgets(budgets)
    check_numbers(n_resamples, n_examples)
    known = checked_fitting(fitting, router, test)
    used = router if hasattr(router, "decider_") else router.with_budget(_middle(router.path_, test))
    budget = used.point_.cost if used.budget_ is None else used.budget_.get(test.cost_name, used.point_.cost)
    drawn = np.unique(np.append(_budgets(used.path_, test) if grid is None else grid, budget))
    at = int(np.searchsorted(drawn, budget))
    table, stops, own = walked(used, test, drawn)
    always: list[Replay] = []
    if used.signals_ is not None:
        own, always = paid_replays(used, test, drawn)
    plain = test.buying()
    folds, calibrated_on = _folds(used.buying() if always else used, plain, known, seed, table)
    weights = resampling_weights(test, seed, n_resamples)
    costs = estimation_costs(given, estimation_per, used, test)
    first, seconds = costs.get(test.cost_name, 0.0), costs.get(SECONDS, 0.0)
    curves = replayed_folds(
        folds,
        plain,
        drawn,
        names,
        weights=weights,
        first=[own],
        max_depth=used.max_depth,
        answer=used.answer,
        estimation_cost=first,
        estimation_per=estimation_per,
        progress=progress,
    )
    asked: dict[str, Any] = {"estimation_cost": first, "estimation_per": estimation_per}
    return Evaluation(
        **vars(curves),
        rule=used.rule_,
        bought=used.bought_,
        paid=tuple(summarise(always, plain, drawn, weights, **asked)),
        models=test.models,
        cost_name=test.cost_name,
        n_dropped=n_dropped,
        calibrated_on=calibrated_on,
        at=at,
        singles=tuple(judged_singles(plain, curves["router"], weights)),
        chosen=judged_policy(used, table, stops, weights, assumed=used is not router),
        answers=own.answers,
        runs=own.runs,
        flows=flows(used, table, points_for(used.path_, drawn)[0], stops),
        reliability=tuple(reliability(table)),
        latency=tuple(latencies(used, table.outcomes, stops, seconds, estimation_per)),
        estimation_cost=first,
        estimation_seconds=seconds,
        estimation_per=estimation_per,
        examples=tuple(example_decisions(used, table.outcomes, stops, n_examples)),
        quality_range=(float(test.quality.min()), float(test.quality.max())),
    )


def _middle(path: BudgetPath, test: Outcomes) -> float:
    """Give the budget that stands for one: between the cheapest and the most expensive model."""
    lowest, highest = float(test.mean_cost.min()), float(test.mean_cost.max())
    middle = math.sqrt(lowest * highest) if lowest > 0.0 else 0.5 * highest
    return max(middle, float(path.cost.min()))


def _budgets(path: BudgetPath, test: Outcomes) -> FloatArray:
    """Give the budgets of the curves: those between the single models, and some beyond."""
    grid, highest = budget_grid(test), float(path.cost.max())
    return np.append(grid, np.geomspace(grid[-1], highest, N_BEYOND + 1)[1:]) if highest > grid[-1] else grid


def _folds(
    router: Router, test: Outcomes, fitting: Outcomes | None, seed: int, walked: BeliefTable
) -> tuple[list[Fold], str]:
    """Say what the baselines are calibrated on, and what they are replayed on: they buy no columns.

    What the estimators of the router's own fit have learned, and said of the test queries walked, isn't learned anew.
    """
    rates = walked.rates
    if fitting is not None:
        plain = fitting.buying()
        known, held_out = _own_table(router, plain, rates), walked
        if known is None or walked.outcomes is not test:
            known, held_out = cross_fitted(
                plain, test, router.quality_, router.cost_, n_folds=router.n_folds, seed=int(router.seed), rates=rates
            )
        scale = router.uncertainty_scale_ if router.rule_ == "cascade-routing" else None
        return [Fold(known, held_out, np.arange(test.n_queries), scale)], f"the {fitting.n_queries} fitting queries"
    half = test.folds(2, rng=seed)
    tables = [
        BeliefTable.served(test.take(half == h), router.estimators_, seed=int(router.seed), rates=rates) for h in (0, 1)
    ]
    folds = [Fold(tables[1 - h], tables[h], np.flatnonzero(half == h)) for h in (0, 1)]
    return folds, "the other half of the test queries"


def _own_table(router: Router, fitting: Outcomes, rates: tuple[float, ...]) -> BeliefTable | None:
    """Give the cross-fitted table of a router's own fit; None if that isn't at hand, or of other queries than these."""
    table = router._held_out.table
    # A router that was recalibrated, or fitted with queries apart, has a table that its estimators serve.
    if table is None or table.outcomes is not fitting or not vars(router).get("_alternatives") or len(table.parts) < 2:
        return None
    return BeliefTable(fitting, table.parts, rates=rates)
