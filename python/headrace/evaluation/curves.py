"""Curves of cost against quality: methods calibrated on some queries and replayed on others, at the same budgets.

Every method is calibrated for the same budgets; realised cost and quality are those of the queries that it is replayed
on. A budget below a method's cheapest policy gets that policy. The area under the realised curve (mean quality over the
costs from the cheapest to the most expensive single model) sums a method up; its interval, and those of differences,
come from a paired bootstrap over the test queries.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from headrace.arguments import FloatArray, listed
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import cross_fit
from headrace.estimators import CostEstimator, QualityEstimator
from headrace.evaluation.baselines import BASELINES, LINEAR, lacking, replay_baseline
from headrace.evaluation.bootstrap import N_RESAMPLES, resampling_weights
from headrace.evaluation.fold import Fold
from headrace.evaluation.method import Curves, summarise
from headrace.evaluation.metrics import concave_hull
from headrace.evaluation.replay import Replay
from headrace.outcomes import Outcomes
from headrace.rules import RULES

__all__ = ["METHODS", "budget_grid", "cross_fitted", "replayed", "replayed_folds"]

#: Rules that the benchmarks compare, in the order of the tables.
METHODS = tuple(RULES)

#: Budgets between neighbouring models of the hull.
BUDGETS_PER_SEGMENT = 10


def cross_fitted(
    fitting: Outcomes,
    test: Outcomes,
    quality: QualityEstimator,
    cost: CostEstimator,
    *,
    n_folds: int = 5,
    seed: int = 0,
    rates: Sequence[float] = (1.0,),
) -> tuple[BeliefTable, BeliefTable]:
    """Fit estimators on some queries, and ask them about others.

    Parameters
    ----------
    fitting, test : Outcomes
        Complete tables of the same models, without common queries.
    quality, cost : estimator
        Unfitted; copies of them are fitted.
    n_folds, seed : int
        Of the cross-fitting; fewer folds where there are not so many queries.
    rates : sequence of float
        Exchange rates between the costs.

    Returns
    -------
    tuple of BeliefTable
        What is believed of the fitting queries, each by estimators that haven't seen it, and of the test queries.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.estimators import LinearCost, LinearQuality
    >>> from headrace.evaluation.curves import cross_fitted
    >>> parts = hr.datasets.load_quickstart().select(["centroid", "svm"]).take(range(200)).split(0.5)
    >>> calibration, held_out = cross_fitted(*parts, LinearQuality(), LinearCost())
    >>> len(calibration.outcomes) + len(held_out.outcomes)
    200
    """
    table = cross_fit(fitting, quality, cost, n_folds=min(n_folds, fitting.n_queries // 2), seed=seed)
    return table.at_rates(rates), BeliefTable.served(test, table.estimators, seed=seed, rates=rates)


def replayed(
    calibration: BeliefTable,
    held_out: BeliefTable,
    methods: Sequence[str] = METHODS,
    *,
    max_depth: int = 5,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    progress: Callable[[str, float], None] | None = None,
) -> Curves:
    """Calibrate methods on the beliefs of one table, and replay them on those of another.

    Parameters
    ----------
    calibration, held_out : BeliefTable
        Of complete tables of the same models. Their beliefs need not be of the same estimators: what the second one's
        believe is what the calibrated rules meet in service.
    methods : sequence of str
        Of `headrace.evaluation.baselines.BASELINES`; linear interpolation is there in any case, and first.
    max_depth : int, default 5
        Most models to run for one query; the two cascades may run all.
    seed, n_resamples : int
        Of the bootstrap.
    progress : callable, optional
        Called with the name of a method and the share of it that is done.

    Returns
    -------
    Curves
        At budgets from the cheapest to the most expensive model of the calibration queries.

    Raises
    ------
    ValueError
        An unknown method; missing cells; different models in the two tables; one model only, or models that all cost
        the same: there is nothing to trade.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.estimators import LinearCost, LinearQuality
    >>> from headrace.evaluation.curves import cross_fitted, replayed
    >>> parts = hr.datasets.load_quickstart().select(["centroid", "network", "svm"]).split(0.5)
    >>> result = replayed(*cross_fitted(*parts, LinearQuality(), LinearCost()), ["routing", "cascade-routing"])
    >>> result["cascade-routing"].area > result["linear interpolation"].area
    True
    """
    unknown = [methods] if isinstance(methods, str) else [name for name in methods if name not in BASELINES]
    if unknown:
        raise ValueError(f"methods: expected a sequence of {listed(BASELINES)}; got {unknown[0]!r}")
    known, test = calibration.outcomes, held_out.outcomes
    for name, table in (("calibration", known), ("held_out", test)):
        if table.n_missing:
            raise ValueError(f"{name}: expected a complete table, got {table.n_missing} missing cells; see complete()")
    if test.models != known.models:
        raise ValueError(f"held_out: expected the models of calibration, {known.models}, got {test.models}")
    if known.n_models < 2 or not known.mean_cost.min() < known.mean_cost.max():
        raise ValueError("calibration: expected at least two models of different mean cost; there is nothing to trade")
    return replayed_folds(
        [Fold(calibration, held_out, np.arange(test.n_queries))],
        test,
        budget_grid(known),
        list(dict.fromkeys((LINEAR, *methods))),
        weights=resampling_weights(test, seed, n_resamples),
        max_depth=max_depth,
        progress=progress,
    )


def replayed_folds(
    folds: Sequence[Fold],
    test: Outcomes,
    budgets: FloatArray,
    methods: Sequence[str],
    *,
    weights: FloatArray,
    first: Sequence[Replay] = (),
    max_depth: int = 5,
    answer: str = "best",
    estimation_cost: float = 0.0,
    estimation_per: str = "query",
    progress: Callable[[str, float], None] | None = None,
) -> Curves:
    """Calibrate and replay methods on each of some folds, and sum them up.

    Parameters
    ----------
    folds : sequence of Fold
        Their rows make up the test table.
    test : Outcomes
    budgets : ndarray of shape (n_budgets,)
    methods : sequence of str
        Of `headrace.evaluation.baselines.BASELINES`; those that the table doesn't allow are left out.
    weights : ndarray of shape (n_resamples, n_queries)
        From `headrace.evaluation.bootstrap.resampling_weights`.
    first : sequence of Replay
        What was replayed already, at the same budgets; comes before the methods.
    max_depth, answer
        As in `headrace.evaluation.baselines.replay_baseline`.
    estimation_cost, estimation_per
        As in `headrace.evaluation.method.summarise`.
    progress : callable, optional
        As in `replayed`.

    Returns
    -------
    Curves
    """
    summed = partial(
        summarise,
        test=test,
        budgets=budgets,
        weights=weights,
        estimation_cost=estimation_cost,
        estimation_per=estimation_per,
    )
    results = summed(first)
    reasons = {name: lacking(name, test) for name in methods}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    for name in methods:
        if name in left_out:
            continue
        tell = None if progress is None or name == LINEAR else partial(progress, name)
        # One after the other: a replay has three numbers for each budget and query.
        results += summed(
            [replay_baseline(name, folds, test, budgets, max_depth=max_depth, answer=answer, progress=tell)]
        )
    return Curves(
        budgets=budgets,
        methods=tuple(results),
        n_fit=min(fold.calibration.outcomes.n_queries for fold in folds),
        n_test=test.n_queries,
        left_out=left_out,
    )


def budget_grid(outcomes: Outcomes) -> FloatArray:
    """Give budgets from the cheapest to the most expensive model: evenly spaced between neighbours on the hull.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.evaluation.curves import budget_grid
    >>> grid = budget_grid(hr.Outcomes(models=["a", "b"], quality=[[0.25, 0.75]], cost=[1.0, 2.0]))
    >>> len(grid), float(grid[0]), float(grid[-1])
    (11, 1.0, 2.0)
    """
    costs = outcomes.mean_cost
    corners, highest = costs[concave_hull(costs, outcomes.mean_quality)], float(costs.max())
    if corners[-1] < highest:
        corners = np.append(corners, highest)
    segments = [np.linspace(a, b, BUDGETS_PER_SEGMENT, endpoint=False) for a, b in itertools.pairwise(corners)]
    return np.concatenate([*segments, corners[-1:]])
