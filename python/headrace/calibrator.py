"""The calibrator: after a fit, it gives the policy for any budget, any exchange rates and any confidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from headrace.arrays import FloatArray
from headrace.belief_table import BeliefTable
from headrace.budget_path import PathPoint
from headrace.calibration import Calibration
from headrace.exchange_rates import Walked, balance
from headrace.guarantee import Guarantee, cost_evidence, fixed_sequence, mean_upper_bound, quality_evidence
from headrace.policy import make_rule
from headrace.walk import budget_path, walk

__all__ = ["Calibrator"]

#: Most policies that are tested one after the other for a guarantee.
N_TESTED = 400


class Calibrator:
    """Gives the budget path at any exchange rates, and the policy that can be promised.

    Parameters
    ----------
    rule : str
        A key of `headrace.policy.RULES`.
    chosen : Calibration
        The rule's settings.
    answer : {"best", "last"}
    table : BeliefTable
        The calibration queries.
    fitting : BeliefTable, optional
        The fitting queries, by estimators that have not seen them, where calibration is kept apart.
    """

    def __init__(
        self, rule: str, chosen: Calibration, answer: str, table: BeliefTable, fitting: BeliefTable | None
    ) -> None:
        self.costs = tuple(table.outcomes.costs)
        self.n_queries = table.outcomes.n_queries
        #: Realised costs of the calibration queries, which say what a stop cost.
        self.realised = dict(table.outcomes.costs)
        self._rule, self._answer = rule, answer
        self._settings, self._step_weights = chosen.settings, chosen.step_weights
        first = Walked((1.0,), chosen.path, chosen.stops)
        self._fitting_costs = {} if fitting is None else dict(fitting.outcomes.costs)
        self._qualities = _span((table if fitting is None else fitting).outcomes.quality)
        self._tables: tuple[BeliefTable, BeliefTable | None] | None = (table, fitting)
        self._last_fitting = first
        self._last = first if fitting is None else self._walk(table, (1.0,))
        if len(self.costs) == 1:
            # No other rates to walk at: the labelled queries can be forgotten.
            self._tables = None

    def walked(self, rates: tuple[float, ...]) -> Walked:
        """Walk the calibration queries at some exchange rates."""
        if rates != self._last.rates:
            assert self._tables is not None  # there are several costs
            table, fitting = self._tables
            self._last = self._walk(table, rates)
            self._last_fitting = self._last if fitting is None else self._walk(fitting, rates)
        return self._last

    def balanced(self, budget: Mapping[str, float]) -> tuple[float, ...]:
        """Find the exchange rates that suit some budgets, on the fitting queries where these are others."""
        if self._tables is None:
            return (1.0,)
        table, fitting = self._tables
        searched = fitting or table
        return balance(lambda rates: self._walk(searched, rates), budget, self.costs).rates

    def guaranteed(
        self,
        walked: Walked,
        budget: Mapping[str, float] | None,
        target: float | None,
        confidence: float,
        without: PathPoint,
    ) -> tuple[PathPoint, Guarantee]:
        """Find the best policy that can be promised with a confidence.

        Parameters
        ----------
        walked : Walked
            The calibration queries.
        budget : mapping of str to float, optional
        target : float, optional
            Either budgets or a quality target.
        confidence : float
        without : PathPoint
            The policy without a guarantee, for the price.

        Raises
        ------
        ValueError
            Calibration was not kept apart; or not even the first policy tested can be promised: the message states the
            nearest limit that can.
        """
        if not self._fitting_costs:
            raise ValueError(
                "confidence: expected a fit that kept calibration apart; fit with confidence=... or calibration=..."
            )
        sequence = self._sequence(target is not None)
        limits = dict(budget or {}) if target is None else {"quality": target}
        totals = {name: walked.stops.total(self.realised[name]) for name in budget or {}}
        fitting = self._last_fitting.stops
        fitting_totals = {name: fitting.total(self._fitting_costs[name]) for name in budget or {}}
        largest = dict.fromkeys(totals, 0.0)
        seen: list[dict[str, float]] = []

        def evidence(parameter: float) -> float:
            here, there = walked.stops.at(parameter), fitting.at(parameter)
            for name, values in fitting_totals.items():
                largest[name] = max(largest[name], float(values[there].max()))
            seen.append(dict(largest))
            if target is not None:
                return quality_evidence(walked.stops.quality[here], target, *self._qualities)
            return min(cost_evidence(totals[name][here], limits[name], largest[name]) for name in totals)

        passed = fixed_sequence((evidence(parameter) for parameter in sequence), confidence)
        if not passed:
            first = walked.stops.at(sequence[0])
            suffix = f"which can be promised with confidence {confidence:g} from {self.n_queries} calibration queries"
            if target is not None:
                worst, best = self._qualities
                bound = best - mean_upper_bound(best - walked.stops.quality[first], best - worst, confidence)
                raise ValueError(f"quality_target: expected at most {bound:.6g}, {suffix}; got {target:.6g}")
            bounds = [mean_upper_bound(totals[name][first], seen[0][name], confidence) for name in totals]
            raise ValueError(f"budget: expected at least {_joined(bounds)}, {suffix}; got {_joined(limits.values())}")
        point = walked.path.realised(sequence[passed - 1])
        price = point.cost - without.cost if target is not None else without.quality - point.quality
        return point, Guarantee(limits, confidence, seen[passed - 1], self.n_queries, price)

    def _sequence(self, for_quality: bool) -> list[float]:
        """Parameters to test, from the safest on: they depend on the fitting queries only."""
        path = self._last_fitting.path
        last = len(path.cost) - 1
        ends = (int(path.quality.argmax()), last) if for_quality else (last, 0)
        points = np.linspace(*ends, num=min(abs(ends[1] - ends[0]) + 1, N_TESTED)).round().astype(int)
        return [path.inside(point) for point in points.tolist()]

    def _walk(self, table: BeliefTable, rates: tuple[float, ...]) -> Walked:
        rule = make_rule(self._rule, 0.0, self._settings)
        believed = table.at_rates(rates)
        stops = walk(rule, table.outcomes, believed, answer=self._answer, step_weights=self._step_weights)
        return Walked(rates, budget_path(stops, table.outcomes), stops)


def _span(values: FloatArray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _joined(numbers: Iterable[float]) -> str:
    return " and ".join(f"{number:.6g}" for number in numbers)
