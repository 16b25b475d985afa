"""Evaluation of a fitted router on queries that no fit has seen, against baselines at the same budgets."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import cross_fit
from headrace.calibration.parts import FEWEST_QUERIES
from headrace.calibration.walk import Stops, walk
from headrace.evaluation.arguments import check_numbers, checked_baselines, checked_tables, require_apart
from headrace.evaluation.baselines import Fold, estimates_of, replay_baseline
from headrace.evaluation.bootstrap import N_RESAMPLES, Estimate, estimate, resampling_weights
from headrace.evaluation.comparison import budget_grid
from headrace.evaluation.estimation import checked_estimation, estimation_costs
from headrace.evaluation.findings import (
    SECONDS,
    Chosen,
    Latency,
    Single,
    judged_policy,
    judged_singles,
    latencies,
)
from headrace.evaluation.method import MethodResult, summarise
from headrace.evaluation.metrics import arena_score, concave_hull
from headrace.evaluation.replay import points_for, replay
from headrace.evaluation.report.verdict import verdict
from headrace.evaluation.traffic import Reliability, example_decisions, flows, reliability
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import BudgetPath
from headrace.router import Router
from headrace.rules import make_rule

__all__ = ["Evaluation", "evaluate"]

#: Budgets beyond the dearest single model, up to the dearest policy.
N_BEYOND = 6


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """A router on held-out queries; made by `headrace.evaluate`.

    Attributes
    ----------
    rule : str
        The router's rule.
    models : tuple of str
    cost_name : str
    n_test, n_dropped : int
        Queries evaluated on, and left out for missing cells.
    calibrated_on : str
        What the baselines were calibrated on.
    budgets : ndarray of shape (n_budgets,)
    at : int
        Index of the chosen budget among them.
    methods : tuple of MethodResult
        The router, named "router", first.
    singles : tuple of Single
    chosen : Chosen
    answers, runs : ndarray of shape (n_budgets, n_models)
        Of the router: share of the queries that each model answers, and on which it is run.
    flows : ndarray of shape (n_budgets, n_models, n_models)
        Of the router: shares of first model run and model that answers.
    arena : dict of str to float
        RouterArena's score of each method at the chosen budget.
    arena_range : tuple of float
        Costs that count as 1 and 0 in it.
    reliability : tuple of Reliability
    latency : tuple of Latency
        Empty without a cost named "seconds".
    estimation_cost, estimation_seconds : float
        What estimates cost, in the first cost and in seconds; 0 where that isn't known.
    estimation_per : str
    examples : tuple of dict
        Single decisions; see `headrace.evaluation.traffic.example_decisions`.
    verdict : list of str
        Sentences; the first one is the verdict.
    """

    rule: str
    models: tuple[str, ...]
    cost_name: str
    n_test: int
    n_dropped: int
    calibrated_on: str
    budgets: FloatArray
    at: int
    methods: tuple[MethodResult, ...]
    singles: tuple[Single, ...]
    chosen: Chosen
    answers: FloatArray
    runs: FloatArray
    flows: FloatArray
    arena: dict[str, float]
    arena_range: tuple[float, float]
    reliability: tuple[Reliability, ...]
    latency: tuple[Latency, ...]
    estimation_cost: float
    estimation_seconds: float
    estimation_per: str
    examples: tuple[dict[str, Any], ...]
    verdict: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", verdict(self))

    def __repr__(self) -> str:
        return f"Evaluation({self.rule}, {self.n_test} queries, {len(self.methods)} methods: {self.verdict[0]})"

    def __getitem__(self, name: str) -> MethodResult:
        for method in self.methods:
            if method.name == name:
                return method
        raise KeyError(name)

    @property
    def best_single(self) -> Single:
        """The single model of the highest quality; of equal ones, the cheapest."""
        return min(self.singles, key=lambda single: (-single.quality.value, single.cost.value))

    def difference(self, a: str, b: str) -> Estimate:
        """Give the area of method `a` minus that of `b`, with its paired bootstrap interval."""
        first, second = self[a], self[b]
        return estimate(first.area - second.area, first.resampled - second.resampled)

    def quality_difference(self, a: str, b: str, at: int | None = None) -> Estimate:
        """Give the quality of method `a` minus that of `b` at one of the budgets, by default the chosen one."""
        here = self.at if at is None else at
        first, second = self[a], self[b]
        resampled = first.resampled_quality[:, here] - second.resampled_quality[:, here]
        return estimate(first.quality[here] - second.quality[here], resampled)

    def summary(self) -> str:
        """Give the verdict and the table of methods as text for a terminal."""
        from headrace.evaluation.report.summary import summary

        return summary(self)

    def to_dict(self) -> dict[str, Any]:
        """Give all numbers, ready for JSON; what isn't finite is None. Without the queries' texts."""
        from headrace.evaluation.report.summary import as_dict

        return as_dict(self)

    def report(self, path: str | os.PathLike[str], *, title: str = "Router report", show_text: bool = False) -> Path:
        """Write one self-contained HTML page; see `headrace.evaluation.report.page.write_report`."""
        from headrace.evaluation.report.page import write_report

        return write_report(self, path, title=title, show_text=show_text)


def evaluate(
    router: Router,
    outcomes: Outcomes,
    *,
    baselines: str | Sequence[str] = "all",
    fitting: Outcomes | None = None,
    estimation_cost: float | str | Mapping[str, float | str] = 0.0,
    estimation_per: str = "query",
    arena_range: tuple[float, float] | None = None,
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
        Of `headrace.evaluation.baselines.BASELINES`; by default all but the router's own rule.
    fitting : Outcomes, optional
        The table that the router was fitted on; none of its queries may be in `outcomes`. Baselines with a parameter
        are then fitted and calibrated on it, as the router was: the fair comparison. A router keeps no labels, so
        without it baselines use the router's estimators, and are calibrated for one half of the test queries on the
        other half: no query has a say in the policy that decides it, but there are fewer of them.
    estimation_cost : float, "measured" or mapping of str to these, default 0.0
        What asking the estimators costs, in the unit of the first cost, or by the names of the costs: added to the
        realised costs of all methods that use them (not of single models, mixtures and the oracle), and to the
        router's latency. Seconds may be "measured": by this router, on this machine, one query at a time. Budgets are
        checked without it.
    estimation_per : {"query", "decision"}
        Whether that is per query or per decision: routing decides once, a threshold cascade after each run, all others
        before the first run and after each.
    arena_range : tuple of float, optional
        Costs per query that count as 1 and as 0 in RouterArena's score; by default those of the cheapest and of the
        dearest single model. The leaderboard's own, in dollars: ``(4.4e-6, 0.2)``.
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
        estimation cost, or one that can't be measured.

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
    names = checked_baselines(baselines, router.rule)
    given = checked_estimation(estimation_cost, estimation_per, tuple(test.costs))
    check_numbers(n_resamples, n_examples)
    used = router if hasattr(router, "decider_") else router.with_budget(_middle(router.path_, test))
    budget = used.point_.cost if used.budget_ is None else used.budget_.get(test.cost_name, used.point_.cost)
    budgets, at = _budgets(used.path_, test, budget)
    table = BeliefTable.served(test, used.estimators_, seed=int(used.seed), rates=used.policy_.rates)
    stops = _walked(used, table)
    points, feasible = points_for(used.path_, budgets)
    replays = [
        replay(
            "router",
            points,
            stops,
            test,
            feasible=feasible,
            uncertainty_scale=used.uncertainty_scale_,
            estimates=estimates_of(used.rule),
        )
    ]
    folds, calibrated_on = _folds(used, table, fitting, seed)
    for name in names:
        tell = None if progress is None else lambda share, name=name: progress(name, share)
        replays.append(
            replay_baseline(name, folds, test, budgets, max_depth=used.max_depth, answer=used.answer, progress=tell)
        )
    weights = resampling_weights(test, seed, n_resamples)
    costs = estimation_costs(given, estimation_per, used, test)
    first, seconds = costs.get(test.cost_name, 0.0), costs.get(SECONDS, 0.0)
    methods = summarise(replays, test, budgets, weights, estimation_cost=first, estimation_per=estimation_per)
    ends = arena_range or (float(test.mean_cost.min()), float(test.mean_cost.max()))
    return Evaluation(
        used.rule,
        test.models,
        test.cost_name,
        test.n_queries,
        n_dropped,
        calibrated_on,
        budgets,
        at,
        tuple(methods),
        tuple(judged_singles(test, methods[0], weights)),
        judged_policy(used, table, stops, weights, assumed=used is not router),
        replays[0].answers,
        replays[0].runs,
        flows(used, table, points, stops),
        {method.name: arena_score(method.cost[at], method.quality[at], *ends) for method in methods},
        ends,
        tuple(reliability(table)),
        tuple(latencies(used, test, stops, seconds, estimation_per)),
        first,
        seconds,
        estimation_per,
        tuple(example_decisions(used, test, stops, n_examples)),
    )


def _middle(path: BudgetPath, test: Outcomes) -> float:
    """Give the budget that stands for one: between the cheapest and the dearest model."""
    lowest, highest = float(test.mean_cost.min()), float(test.mean_cost.max())
    middle = math.sqrt(lowest * highest) if lowest > 0.0 else 0.5 * highest
    return max(middle, float(path.cost.min()))


def _budgets(path: BudgetPath, test: Outcomes, budget: float) -> tuple[FloatArray, int]:
    """Give the budgets of the curves, and the index of the chosen one."""
    hull = concave_hull(test.mean_cost, test.mean_quality)
    grid = budget_grid(test.mean_cost[hull], highest=float(test.mean_cost.max()))
    dearest = float(path.cost.max())
    if dearest > grid[-1]:
        grid = np.append(grid, np.geomspace(grid[-1], dearest, N_BEYOND + 1)[1:])
    budgets = np.unique(np.append(grid, budget))
    return budgets, int(np.searchsorted(budgets, budget))


def _walked(router: Router, table: BeliefTable) -> Stops:
    """Walk test queries as the router walks those of its calibration."""
    rule = make_rule(router.rule, 0.0, router.policy_.settings)
    return walk(rule, table.outcomes, table, answer=router.answer)


def _folds(router: Router, table: BeliefTable, fitting: Outcomes | None, seed: int) -> tuple[list[Fold], str]:
    """Say what the baselines are calibrated on, and what they are replayed on."""
    test = table.outcomes
    if fitting is not None:
        if not isinstance(fitting, Outcomes):
            raise TypeError(f"fitting: expected an Outcomes table, got {type(fitting).__name__}")
        known = fitting.labelled(router.models_, argument="fitting", fewest=FEWEST_QUERIES)
        if tuple(known.costs) != tuple(test.costs):
            raise ValueError(f"fitting: expected the costs {tuple(test.costs)}, got {tuple(known.costs)}")
        require_apart(known, test)
        quality, cost = router.quality_, router.cost_
        n_folds = min(router.n_folds, known.n_queries // 2)
        fitted = cross_fit(known, quality, cost, n_folds=n_folds, seed=int(router.seed))
        held_out = BeliefTable.served(test, fitted.estimators, seed=int(router.seed), rates=table.rates)
        rows = np.arange(test.n_queries)
        return [Fold(fitted.at_rates(table.rates), held_out, rows)], f"the {known.n_queries} fitting queries"
    half = test.folds(2, rng=seed)
    tables = [
        BeliefTable.served(test.take(half == h), router.estimators_, seed=int(router.seed), rates=table.rates)
        for h in (0, 1)
    ]
    folds = [Fold(tables[1 - h], tables[h], np.flatnonzero(half == h)) for h in (0, 1)]
    return folds, "the other half of the test queries"
