"""Promises: which policies are tested for one, in which order, and the evidence of the calibration queries."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headrace.arguments import FloatArray, IndexArray
from headrace.calibration.exchange_rates import Walked
from headrace.calibration.guarantee import (
    by_group,
    cost_evidence,
    fixed_sequence,
    mean_upper_bound,
    quality_evidence,
    queries_needed,
)
from headrace.policy.budget_path import BudgetPath, rounded

__all__ = ["Tests", "sequence", "shuffled"]

#: Most policies that are tested one after the other for a guarantee.
N_TESTED = 400


def sequence(path: BudgetPath, limits: Mapping[str, float], *, for_quality: bool) -> list[float]:
    """Parameters to test, from the safest on, by the path of the fitting queries: no other may have a say."""
    last = len(path.cost) - 1
    if for_quality:
        ends = int(path.quality.argmax()), last
    elif len(limits) == 1:
        ends = last, 0
    else:
        # At the highest cost weight one cost is least, but another may be beyond its limit.
        use = np.max([path.costs[name] / max(limit, 1e-300) for name, limit in limits.items()], axis=0)
        ends = last - int(use[::-1].argmin()), 0
    points = np.linspace(*ends, num=min(abs(ends[1] - ends[0]) + 1, N_TESTED)).round().astype(int)
    return [path.inside(point) for point in points.tolist()]


class Tests:
    """Tests of promises on the calibration queries, their stakes set by the fitting queries."""

    def __init__(
        self,
        walked: Walked,
        fitting: Walked,
        costs: Mapping[str, FloatArray],
        fitting_costs: Mapping[str, FloatArray],
        groups: IndexArray | None,
        fitting_groups: IndexArray | None,
        qualities: tuple[float, float],
        confidence: float,
        given: Mapping[str, float],
    ) -> None:
        self._stops, self._fitting = walked.stops, fitting.stops
        # A table may be sorted, e.g. by task: evidence needs an order that doesn't depend on the values.
        self._order = shuffled(walked.path.n_queries)
        self._groups = None if groups is None else shuffled(int(groups.max()) + 1)[groups][self._order]
        self._fitting_groups = fitting_groups
        self._values = {name: self._stops.total(cost) for name, cost in costs.items()}
        self._others = {name: self._fitting.total(cost) for name, cost in fitting_costs.items()}
        self._least, self._greatest = qualities
        self._confidence, self._given = confidence, given
        # Of each cost, the largest among the fitting queries under the parameters tested so far.
        self._seen: dict[str, float] = {}
        #: Of each cost, the most that a query may cost for the promise to hold.
        self.largest: dict[str, float] = {}

    def evidence(self, parameter: float, limits: Mapping[str, float]) -> float:
        """Give the evidence for all limits together: the weakest."""
        here, there = self._stops.at(parameter)[self._order], self._fitting.at(parameter)
        if "quality" in limits:
            return quality_evidence(
                self._stops.quality[here],
                limits["quality"],
                self._least,
                self._greatest,
                sd=self._sd(self._fitting.quality[there]),
                confidence=self._confidence,
                groups=self._groups,
            )
        bounds = {name: self._bounds(name, here, there) for name in limits}
        evidence = [
            cost_evidence(
                self._values[name][here],
                limit,
                bound,
                sd=self._sd(self._others[name][there]),
                confidence=self._confidence,
                groups=self._groups,
            )
            for name, limit in limits.items()
            for bound in bounds[name]
        ]
        if fixed_sequence(evidence, self._confidence) == len(evidence):
            self.largest = {name: max(bound) for name, bound in bounds.items()}
        return min(evidence)

    def _bounds(self, name: str, here: IndexArray, there: IndexArray) -> tuple[float, ...]:
        """Give the largest costs with which there must be evidence: that given, or the largest seen."""
        fitting, calibration = float(self._others[name][there].max()), float(self._values[name][here].max())
        if name in self._given:
            if max(fitting, calibration) > self._given[name]:
                most = rounded(max(fitting, calibration), up=True)
                raise ValueError(
                    f"largest_cost: expected at least {most}, what a labelled query cost in {name} with all its runs; "
                    f"got {self._given[name]:.6g}"
                )
            return (self._given[name],)
        self._seen[name] = max(self._seen.get(name, 0.0), fitting)
        by_fitting = self._seen[name]
        # Valid is the test by the fitting queries; the other one can only take away.
        return (by_fitting, calibration) if calibration > by_fitting else (by_fitting,)

    def nearest(self, parameter: float, limits: Mapping[str, float]) -> dict[str, float]:
        """Give the nearest limits that can be promised of one policy."""
        here, there = self._stops.at(parameter)[self._order], self._fitting.at(parameter)
        if "quality" in limits:
            missed = self._greatest - np.clip(self._stops.quality[here], self._least, self._greatest)
            sd = self._sd(self._fitting.quality[there])
            span = self._greatest - self._least
            bound = mean_upper_bound(missed, span, sd=sd, confidence=self._confidence, groups=self._groups)
            return {"quality": self._greatest - bound}
        return {
            name: max(
                mean_upper_bound(
                    self._values[name][here],
                    bound,
                    sd=self._sd(self._others[name][there]),
                    confidence=self._confidence,
                    groups=self._groups,
                )
                for bound in self._bounds(name, here, there)
            )
            for name in limits
        }

    def n_needed(self, parameter: float, limits: Mapping[str, float]) -> float:
        """Estimate how many calibration queries would do to promise cost limits of one policy; infinity if none."""
        here, there = self._stops.at(parameter)[self._order], self._fitting.at(parameter)
        return max(
            queries_needed(
                self._values[name][here],
                limit,
                bound,
                sd=self._sd(self._others[name][there]),
                confidence=self._confidence,
                groups=self._groups,
            )
            for name, limit in limits.items()
            for bound in self._bounds(name, here, there)
        )

    def _sd(self, values: FloatArray) -> float:
        """Give the standard deviation of the bets to expect, from values of the fitting queries."""
        return float(by_group(values - values.mean(), self._fitting_groups).std())


def shuffled(n: int) -> IndexArray:
    """Give an order of n queries that doesn't depend on their values."""
    return np.random.default_rng(0).permutation(n)
