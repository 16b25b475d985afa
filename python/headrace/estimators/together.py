"""The estimators that serve a query, asked together: its quality and its costs after the models that have run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray
from headrace.estimators.asked import add_note, believed, named_on_error, priced
from headrace.estimators.belief import Belief
from headrace.estimators.linear_map import Folded, HasLinearMap, LinearMap
from headrace.estimators.one_query import OneQuery, OneResponses
from headrace.estimators.protocol import CostEstimator, QualityEstimator
from headrace.estimators.recent import Recent

__all__ = ["Together"]

#: Bytes of the plans that are kept, of the run sets met lately: of thousands of run sets, all would fill the memory.
MOST_BYTES = 64 * 2**20


class _Plan(NamedTuple):
    """How to ask after one run set: the linear maps folded into one, and each estimator's map, or None."""

    folded: Folded | None
    maps: tuple[LinearMap | None, ...]
    variance: FloatArray | None
    covariance: FloatArray | None
    is_linear: bool

    @property
    def nbytes(self) -> int:
        """Its size, nearly: the weights of the maps, and twice as many folded."""
        return 3 * sum(one.weights.nbytes for one in self.maps if one is not None)


class Together:
    """A quality estimator and those of the costs, for one query at a time.

    Those that are linear are folded into one product (`headrace.estimators.linear_map`), when a run set is first met
    or after a long time; the others are asked one by one. Threads may share it.

    Parameters
    ----------
    quality : QualityEstimator
        Fitted.
    costs : mapping of str to CostEstimator
        Fitted, by the name of the cost.
    """

    def __init__(self, quality: QualityEstimator, costs: Mapping[str, CostEstimator]) -> None:
        self.quality: QualityEstimator = quality
        self.costs: dict[str, CostEstimator] = dict(costs)
        self._warm: dict[bytes, _Plan] = {}
        self._met: Recent[_Plan] = Recent(MOST_BYTES)

    def __getstate__(self) -> dict[str, Any]:
        # What is folded is made again from the estimators.
        return vars(self) | {"_warm": {}, "_met": Recent(MOST_BYTES)}

    def estimates(self, query: OneQuery, responses: OneResponses, run: BoolArray) -> tuple[Belief, FloatArray]:
        """Estimate for one query.

        Parameters
        ----------
        query : OneQuery
        responses : OneResponses
        run : bool ndarray of shape (n_models,)
            The models that have run.

        Returns
        -------
        Belief
            Of one query, without an axis for queries.
        costs : ndarray of shape (n_costs, n_models)
        """
        key = run.tobytes()
        plan = self._warm.get(key) or self._met.get(key)
        if plan is None:
            plan = self._plan(run)
            self._met.put(key, plan, plan.nbytes)
        linear: FloatArray | tuple[()] = ()
        if plan.folded is not None:
            try:
                linear = plan.folded.estimates(query, responses)
            except Exception as error:
                add_note("quality", self.quality, error)
                raise
            if plan.is_linear:
                return Belief(linear[0], plan.variance, plan.covariance), linear[1:]
        known, (of_quality, *of_costs) = iter(linear), plan.maps
        if of_quality is None:
            belief = _one(believed(self.quality, query, responses))
        else:
            belief = Belief(next(known), plan.variance, plan.covariance)
        costs = np.empty((len(self.costs), len(run)))
        for row, of_cost, (name, estimator) in zip(costs, of_costs, self.costs.items(), strict=True):
            row[:] = priced(name, estimator, query, responses)[0] if of_cost is None else next(known)
        return belief, costs

    def warm(self, runs: BoolArray) -> None:
        """Do now what is otherwise done when a run set is first met, and keep it: a row each."""
        for kind, estimator in self._named():
            if hasattr(estimator, "warm"):
                with named_on_error(kind, estimator):
                    estimator.warm(runs)
        for run in runs:
            self._warm[run.tobytes()] = self._plan(run)

    def _named(self) -> list[tuple[str, QualityEstimator | CostEstimator]]:
        return [("quality", self.quality), *(("cost", estimator) for estimator in self.costs.values())]

    def _plan(self, run: BoolArray) -> _Plan:
        maps: list[LinearMap | None] = []
        for kind, estimator in self._named():
            with named_on_error(kind, estimator):
                maps.append(estimator.linear_map(run) if isinstance(estimator, HasLinearMap) else None)
        linear = [one for one in maps if one is not None]
        first = maps[0]
        return _Plan(
            Folded(linear, run) if linear else None,
            tuple(maps),
            None if first is None else first.variance,
            None if first is None else first.covariance,
            len(linear) == len(maps),
        )


def _one(belief: Belief) -> Belief:
    """Take the only query of a belief, without an axis for queries."""
    quality, variance, covariance, loading = belief
    return Belief(
        quality[0],
        variance if variance is None or variance.ndim == 1 else variance[0],
        covariance if covariance is None or covariance.ndim == 2 else covariance[0],
        loading if loading is None or loading.ndim == 1 else loading[0],
    )
