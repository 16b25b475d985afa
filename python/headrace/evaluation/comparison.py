"""Fit on one part of a table, test on the other, and compare rules over a range of budgets.

Every method is calibrated for the same budgets on the fitting part, by cross-fitted estimates; realised cost and
quality are those of the test part. A budget below a method's cheapest policy gets that policy. The area under the
realised curve (mean quality over the range of costs from the cheapest to the dearest single model) sums a method up;
its interval, and those of differences, come from a paired bootstrap over the test queries.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from headrace.arguments import FloatArray
from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import cross_fit
from headrace.estimators import CostEstimator, LinearCost, LinearQuality, QualityEstimator
from headrace.evaluation.baselines import BASELINES, LINEAR, Fold, replay_baseline
from headrace.evaluation.bootstrap import N_RESAMPLES, interval, resampling_weights
from headrace.evaluation.method import MethodResult, summarise
from headrace.evaluation.metrics import concave_hull
from headrace.outcomes import Outcomes

__all__ = ["LINEAR", "METHODS", "Comparison", "MethodResult", "compare", "compare_tables"]

#: Rules compared, in the order of the tables.
METHODS = ("routing", "threshold-cascade", "cascade", "cascade-routing", "index")

#: Budgets between neighbouring models of the hull.
BUDGETS_PER_SEGMENT = 10


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results of several methods on the same test queries.

    Attributes
    ----------
    models : tuple of str
    single_cost, single_quality : ndarray of shape (n_models,)
        Means of the single models on the test part.
    budgets : ndarray of shape (n_budgets,)
    methods : tuple of MethodResult
        Linear interpolation first.
    n_fit, n_test : int
        Number of queries of the two parts.
    """

    models: tuple[str, ...]
    single_cost: FloatArray
    single_quality: FloatArray
    budgets: FloatArray
    methods: tuple[MethodResult, ...]
    n_fit: int
    n_test: int

    def __getitem__(self, name: str) -> MethodResult:
        for method in self.methods:
            if method.name == name:
                return method
        raise KeyError(name)

    def difference(self, a: str, b: str) -> tuple[float, float, float]:
        """Give the area of method `a` minus that of `b`, and the ends of its 95% paired bootstrap interval."""
        first, second = self[a], self[b]
        return (first.area - second.area, *interval(first.resampled - second.resampled))


def compare(
    fitting: Outcomes,
    test: Outcomes,
    *,
    methods: Sequence[str] = METHODS,
    quality: QualityEstimator | None = None,
    cost: CostEstimator | None = None,
    max_depth: int = 5,
    n_folds: int = 5,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    progress: Callable[[str, float], None] | None = None,
) -> Comparison:
    """Fit and calibrate every method on one part of a table, and test it on the other.

    Parameters
    ----------
    fitting, test : Outcomes
        Complete tables of the same models, without common queries.
    methods : sequence of str
        What to compare, of `headrace.evaluation.baselines.BASELINES`; linear interpolation is there in any case.
    quality, cost : estimator, optional
        Unfitted; linear ones by default.
    max_depth : int, default 5
        Most models to run for one query; the two cascades may run all.
    n_folds, seed : int
        Of the cross-fitting and of the bootstrap.
    n_resamples : int, default 500
        Of the bootstrap.
    progress : callable, optional
        Called with the name of a method and the share of it that is done.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        An unknown method; missing cells; different models in the two parts; one model only, or models that all cost the
        same: there is nothing to trade.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.evaluation import compare
    >>> fitting, test = hr.datasets.load_quickstart().select(["centroid", "network", "svm"]).split(0.5)
    >>> result = compare(fitting, test, methods=["routing", "cascade-routing"])
    >>> result["cascade-routing"].area > result["linear interpolation"].area
    True
    """
    if isinstance(methods, str) or (unknown := [name for name in methods if name not in BASELINES]):
        got = repr(methods) if isinstance(methods, str) else repr(unknown[0])
        raise ValueError(f"methods: expected a sequence of {', '.join(BASELINES)}; got {got}")
    for name, part in (("fitting", fitting), ("test", test)):
        if part.n_missing:
            raise ValueError(f"{name}: expected a complete table, got {part.n_missing} missing cells; see complete()")
    if test.models != fitting.models:
        raise ValueError(f"test: expected the models of the fitting part, {fitting.models}, got {test.models}")
    if fitting.n_models < 2 or not fitting.mean_cost.min() < fitting.mean_cost.max():
        raise ValueError("fitting: expected at least two models of different mean cost; there is nothing to trade")
    quality, cost = quality or LinearQuality(), cost or LinearCost()
    n_folds = min(n_folds, fitting.n_queries // 2)
    table = cross_fit(fitting, quality, cost, n_folds=n_folds, seed=seed)
    held_out = BeliefTable.served(test, table.estimators, seed=seed)
    return compare_tables(
        table, held_out, methods=methods, max_depth=max_depth, seed=seed, n_resamples=n_resamples, progress=progress
    )


def compare_tables(
    calibration: BeliefTable,
    held_out: BeliefTable,
    *,
    methods: Sequence[str] = METHODS,
    max_depth: int = 5,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
    progress: Callable[[str, float], None] | None = None,
) -> Comparison:
    """Calibrate every method on the beliefs of one table, and test it on those of another.

    Parameters
    ----------
    calibration, held_out : BeliefTable
        Of complete tables of the same models. Their beliefs need not be of the same estimators: what the second one's
        believe is what the calibrated rules meet in service.
    methods, max_depth, seed, n_resamples, progress
        As in `compare`.

    Returns
    -------
    Comparison
    """
    fitting, test = calibration.outcomes, held_out.outcomes
    hull = concave_hull(fitting.mean_cost, fitting.mean_quality)
    budgets = budget_grid(fitting.mean_cost[hull], highest=float(fitting.mean_cost.max()))
    fold = Fold(calibration, held_out, np.arange(test.n_queries))
    realised = []
    for method in dict.fromkeys((LINEAR, *methods)):
        tell = None if progress is None or method == LINEAR else partial(progress, method)
        realised.append(
            replay_baseline(method, [fold], test, budgets, max_depth=max_depth, answer="best", progress=tell)
        )
    results = summarise(realised, test, budgets, resampling_weights(test, seed, n_resamples))
    return Comparison(
        test.models, test.mean_cost, test.mean_quality, budgets, tuple(results), fitting.n_queries, test.n_queries
    )


def budget_grid(hull_costs: FloatArray, *, highest: float) -> FloatArray:
    """Budgets from the cheapest to the dearest model: evenly spaced between neighbours on the hull."""
    corners = hull_costs if hull_costs[-1] >= highest else np.append(hull_costs, highest)
    segments = [np.linspace(a, b, BUDGETS_PER_SEGMENT, endpoint=False) for a, b in itertools.pairwise(corners)]
    return np.concatenate([*segments, corners[-1:]])
