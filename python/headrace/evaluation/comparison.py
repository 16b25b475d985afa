"""Fit on one part of a table, test on the other, and compare rules over a range of budgets.

Every method is calibrated for the same budgets on the fitting part, by cross-fitted estimates; realised cost and
quality are those of the test part. A budget below a method's cheapest policy gets that policy. The area under the
realised curve (mean quality over the range of costs from the cheapest to the dearest single model) sums a method up;
its interval, and those of differences, come from a paired bootstrap over the test queries.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from headrace.arrays import FloatArray, IndexArray
from headrace.belief_table import BeliefTable
from headrace.budget_path import ROUNDING, curve_area
from headrace.calibration import calibrate, rule_settings
from headrace.estimators import CostEstimator, LinearCost, LinearQuality, QualityEstimator
from headrace.outcomes import Outcomes
from headrace.policy import RULES, make_rule
from headrace.walk import walk

__all__ = ["METHODS", "Comparison", "MethodResult", "compare"]

#: Rules compared, in the order of the tables.
METHODS = ("routing", "threshold-cascade", "cascade", "cascade-routing", "index")

#: Name of the baseline that mixes single models at random.
LINEAR = "linear interpolation"

#: Budgets between neighbouring models of the hull.
BUDGETS_PER_SEGMENT = 10

#: Bootstrap resamples.
N_RESAMPLES = 500

#: Confidence of the intervals.
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class MethodResult:
    """What one method cost and brought on the test part.

    Attributes
    ----------
    name : str
    cost, quality : ndarray of shape (n_budgets,)
        Realised means on the test queries.
    n_runs : ndarray of shape (n_budgets,)
        Mean number of models run.
    feasible : ndarray of bool of shape (n_budgets,)
        False where the budget is below the method's cheapest policy.
    area : float
        Area under the realised curve.
    interval : tuple of float
        95% bootstrap interval of the area.
    excess : float
        Mean of realised cost / budget - 1 over the feasible budgets that it exceeds, those kept counting as 0.
    uncertainty_scale : float or None
        The scale that the fit chose, for a rule that has one.
    resampled : ndarray of shape (n_resamples,)
        The area on each bootstrap resample, the same resamples for all methods.
    """

    name: str
    cost: FloatArray
    quality: FloatArray
    n_runs: FloatArray
    feasible: np.typing.NDArray[np.bool_]
    area: float
    interval: tuple[float, float]
    excess: float
    uncertainty_scale: float | None = None
    resampled: FloatArray = field(default_factory=lambda: np.empty(0), repr=False)


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
        return (first.area - second.area, *_interval(first.resampled - second.resampled))


@dataclass(frozen=True, eq=False)
class _Realised:
    """Realised cost and quality of every test query at every budget: arrays of shape (n_budgets, n_queries)."""

    name: str
    cost: FloatArray
    quality: FloatArray
    n_runs: FloatArray
    feasible: np.typing.NDArray[np.bool_]
    uncertainty_scale: float | None = None


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
    progress: Callable[[str, float], None] | None = None,
) -> Comparison:
    """Fit and calibrate every method on one part of a table, and test it on the other.

    Parameters
    ----------
    fitting, test : Outcomes
        Complete tables of the same models, without common queries.
    methods : sequence of str
        Rules to compare; keys of `headrace.policy.RULES`.
    quality, cost : estimator, optional
        Unfitted; linear ones by default.
    max_depth : int, default 5
        Most models to run for one query.
    n_folds, seed : int
        Of the cross-fitting and of the bootstrap.
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
    if isinstance(methods, str) or (unknown := [name for name in methods if name not in RULES]):
        got = repr(methods) if isinstance(methods, str) else repr(unknown[0])
        raise ValueError(f"methods: expected a sequence of {', '.join(RULES)}; got {got}")
    for name, part in (("fitting", fitting), ("test", test)):
        if part.missing:
            raise ValueError(f"{name}: expected a complete table, got {part.missing} missing cells; see complete()")
    if test.models != fitting.models:
        raise ValueError(f"test: expected the models of the fitting part, {fitting.models}, got {test.models}")
    if fitting.n_models < 2 or not fitting.mean_cost.min() < fitting.mean_cost.max():
        raise ValueError("fitting: expected at least two models of different mean cost; there is nothing to trade")
    quality, cost = quality or LinearQuality(), cost or LinearCost()
    hull = single_model_hull(fitting.mean_cost, fitting.mean_quality)
    budgets = budget_grid(fitting.mean_cost[hull], highest=float(fitting.mean_cost.max()))
    n_folds = min(n_folds, fitting.n_queries // 2)
    table = BeliefTable.cross_fit(fitting, quality, cost, n_folds=n_folds, seed=seed)
    held_out = BeliefTable.served(test, table.estimators, seed=seed)
    realised = [_interpolated(fitting, test, hull, budgets)]
    for method in methods:
        tell = None if progress is None else lambda share, method=method: progress(method, 0.5 * share)
        realised.append(_realise(method, table, held_out, budgets, max_depth, tell))
        if progress is not None:
            progress(method, 1.0)
    results = _summaries(realised, test, budgets, seed)
    return Comparison(
        test.models, test.mean_cost, test.mean_quality, budgets, tuple(results), fitting.n_queries, test.n_queries
    )


def single_model_hull(cost: FloatArray, quality: FloatArray) -> IndexArray:
    """Give the single models on the upper concave hull, by rising cost: what random mixing reaches.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.evaluation.comparison import single_model_hull
    >>> single_model_hull(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 0.55, 0.8, 0.7])).tolist()
    [0, 2]
    """
    kept: list[int] = []
    for j in np.lexsort((-quality, cost)).tolist():
        if kept and quality[j] <= quality[kept[-1]]:
            continue
        while len(kept) >= 2 and (
            (quality[kept[-1]] - quality[kept[-2]]) * (cost[j] - cost[kept[-1]])
            <= (quality[j] - quality[kept[-1]]) * (cost[kept[-1]] - cost[kept[-2]])
        ):
            kept.pop()
        kept.append(j)
    return np.array(kept, dtype=np.intp)


def budget_grid(hull_costs: FloatArray, *, highest: float) -> FloatArray:
    """Budgets from the cheapest to the dearest model: evenly spaced between neighbours on the hull."""
    corners = hull_costs if hull_costs[-1] >= highest else np.append(hull_costs, highest)
    segments = [np.linspace(a, b, BUDGETS_PER_SEGMENT, endpoint=False) for a, b in itertools.pairwise(corners)]
    return np.concatenate([*segments, corners[-1:]])


def _interpolated(fitting: Outcomes, test: Outcomes, hull: IndexArray, budgets: FloatArray) -> _Realised:
    """Mix neighbouring single models of the hull at random, in expectation."""
    costs = fitting.mean_cost[hull]
    place = np.interp(budgets, costs, np.arange(len(hull)))
    left = np.minimum(place.astype(np.intp), max(len(hull) - 2, 0))
    right = np.minimum(left + 1, len(hull) - 1)
    share = (place - left)[:, None]

    def mix(values: FloatArray) -> FloatArray:
        return (1.0 - share) * values[:, hull[left]].T + share * values[:, hull[right]].T

    ones = np.ones((len(budgets), test.n_queries))
    return _Realised(LINEAR, mix(test.cost), mix(test.quality), ones, budgets >= costs[0])


def _realise(
    method: str,
    table: BeliefTable,
    held_out: BeliefTable,
    budgets: FloatArray,
    max_depth: int,
    progress: Callable[[float], None] | None,
) -> _Realised:
    """Calibrate a method for every budget, and look up what its policies do on the test queries."""
    # The classic threshold cascade returns the last model's answer.
    answer = "last" if method == "threshold-cascade" else "best"
    settings = rule_settings(method, table.outcomes, max_depth=max_depth)
    calibration = calibrate(method, table, settings=settings, answer=answer, progress=progress)
    path = calibration.path
    stops = walk(make_rule(method, 0.0, calibration.settings), held_out.outcomes, held_out, answer=answer)
    least = float(path.cost.min())
    points = [path.at(budget=max(float(budget), least)) for budget in budgets]

    def mix(values: FloatArray) -> FloatArray:
        rows = []
        for point in points:
            cheap, dear = (values[stops.at(parameter)] for parameter in point.parameters)
            rows.append(point.share * cheap + (1.0 - point.share) * dear)
        return np.array(rows)

    return _Realised(
        method,
        mix(stops.cost),
        mix(stops.quality),
        mix(stops.n_runs.astype(np.float64)),
        budgets >= least * (1.0 - ROUNDING),
        calibration.settings.get("uncertainty_scale"),
    )


def _summaries(realised: Sequence[_Realised], test: Outcomes, budgets: FloatArray, seed: int) -> list[MethodResult]:
    weights = _resampling_weights(test, seed)
    lowest, highest = float(test.mean_cost.min()), float(test.mean_cost.max())
    floor = float(test.mean_quality.min())

    def area(cost: FloatArray, quality: FloatArray) -> float:
        order = np.lexsort((quality, cost))
        return curve_area(cost[order], quality[order], lowest, highest, floor)

    results = []
    for method in realised:
        cost, quality = method.cost.mean(axis=1), method.quality.mean(axis=1)
        resampled = np.array(
            [area(c, q) for c, q in zip(weights @ method.cost.T, weights @ method.quality.T, strict=True)]
        )
        judged = method.feasible & (budgets > 0.0)
        over = np.maximum(cost[judged] / budgets[judged] - 1.0, 0.0)
        results.append(
            MethodResult(
                method.name,
                cost,
                quality,
                method.n_runs.mean(axis=1),
                method.feasible,
                area(cost, quality),
                _interval(resampled),
                float(over.mean()) if len(over) else 0.0,
                method.uncertainty_scale,
                resampled,
            )
        )
    return results


def _resampling_weights(test: Outcomes, seed: int) -> FloatArray:
    """Weights of the queries in each bootstrap resample, shape (N_RESAMPLES, n_queries); whole groups are drawn."""
    group = np.arange(test.n_queries)
    if test.groups is not None:
        _, group = np.unique(test.groups, return_inverse=True)
    n_groups = int(group.max()) + 1
    counts = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=N_RESAMPLES)
    weights = counts[:, group].astype(np.float64)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _interval(values: FloatArray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1.0 - CONFIDENCE) / 2.0, (1.0 + CONFIDENCE) / 2.0])
    return float(low), float(high)
