"""Calibration: a rule on a labelled table, its settings chosen by the area under its budget path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from headrace.arrays import FloatArray
from headrace.belief_table import BeliefTable
from headrace.budget_path import BudgetPath, PathPoint
from headrace.exchange_rates import Walked, balance
from headrace.guarantee import (
    Guarantee,
    cost_evidence,
    fixed_sequence,
    mean_upper_bound,
    quality_evidence,
)
from headrace.outcomes import Outcomes
from headrace.policy import make_rule
from headrace.walk import Stops, budget_path, walk

__all__ = ["UNCERTAINTY_SCALES", "Calibration", "Calibrator", "calibrate", "rule_settings"]

#: Factors of the standard deviations among which the fit chooses.
UNCERTAINTY_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.3)

#: Factors of the cost weight tried at each step.
STEP_FACTORS = (1.0, 0.5, 0.7, 1.4, 2.0)

#: Most policies that are tested one after the other for a guarantee.
N_TESTED = 400


class Calibration(NamedTuple):
    """A rule's budget path at the uncertainty scale of the largest area under it.

    Attributes
    ----------
    path : BudgetPath
    stops : Stops
        What the path sums.
    settings : dict
        The rule's settings, the scale among them where the rule has one.
    areas : dict of float to float
        Area under the path at each scale tried.
    step_weights : tuple of float
        Factors of the cost weight at each step; empty: one cost weight for all steps.
    """

    path: BudgetPath
    stops: Stops
    settings: dict[str, Any]
    areas: dict[float, float]
    step_weights: tuple[float, ...] = ()


def calibrate(
    rule: str,
    table: BeliefTable,
    *,
    settings: Mapping[str, Any] | None = None,
    uncertainty_scale: float | None = None,
    step_weights: Sequence[float] | str = (),
    answer: str = "best",
    progress: Callable[[float], None] | None = None,
) -> Calibration:
    """Walk a labelled table with a rule, and choose its uncertainty scale.

    Parameters
    ----------
    rule : str
        A key of `headrace.policy.RULES`.
    table : BeliefTable
        Beliefs by estimators that have not seen the labels.
    settings : mapping, optional
        Settings of the rule apart from its parameter and its scale.
    uncertainty_scale : float, optional
        Fixes the scale. By default it is the one of `UNCERTAINTY_SCALES` whose path has the largest area (mean quality
        over the range of costs of the single models).
    step_weights : sequence of float or "search", optional
        Factors of the cost weight at each step. "search" looks for some, and keeps them where held-out queries agree.
    answer : {"best", "last"}
        Which answer is returned.
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    Calibration

    Notes
    -----
    The area of one scale's path is a mean over queries whose labels neither the estimators nor the path's own parameter
    have been fitted to, so the areas of the few scales can be compared on the calibration data itself.
    """
    outcomes = table.outcomes
    settings = dict(settings or {})
    scaled = rule in ("cascade", "cascade-routing", "index")
    scales: Sequence[float | None] = [None]
    if scaled:
        scales = UNCERTAINTY_SCALES if uncertainty_scale is None else [uncertainty_scale]
    weights = () if isinstance(step_weights, str) else tuple(float(weight) for weight in step_weights)
    best: Calibration | None = None
    areas: dict[float, float] = {}
    for done, scale in enumerate(scales):
        chosen = settings if scale is None else settings | {"uncertainty_scale": scale}
        stops = walk(make_rule(rule, 0.0, chosen), outcomes, table, answer=answer, step_weights=weights)
        path = budget_path(stops, outcomes)
        area = path_area(path, outcomes)
        if scale is not None:
            areas[scale] = area
        if best is None or area > max(a for s, a in areas.items() if s != scale):
            best = Calibration(path, stops, chosen, areas, weights)
        if progress is not None:
            progress((done + 1) / len(scales))
    assert best is not None  # there is at least one scale
    if step_weights == "search":
        weights = search_step_weights(rule, table, best.settings, answer=answer)
        stops = walk(make_rule(rule, 0.0, best.settings), outcomes, table, answer=answer, step_weights=weights)
        best = best._replace(path=budget_path(stops, outcomes), stops=stops, step_weights=weights)
    return best


def path_area(path: BudgetPath, outcomes: Outcomes) -> float:
    """Area under a path over the range of costs of a table's single models; without a range, its best quality."""
    lowest, highest = float(outcomes.mean_cost.min()), float(outcomes.mean_cost.max())
    if not highest > lowest:
        return float(path.quality.max())
    return path.area(lowest, highest, float(outcomes.mean_quality.min()))


def search_step_weights(
    rule: str, table: BeliefTable, settings: Mapping[str, Any], *, answer: str = "best"
) -> tuple[float, ...]:
    """Search for factors of the cost weight at the steps after the first, step by step.

    Parameters
    ----------
    rule, table, settings, answer
        As in `calibrate`.

    Returns
    -------
    tuple of float
        Factors of all steps, the first being 1. Empty, hence one cost weight for all, unless on both halves of the
        queries the factors found on the other half enlarge the area under the path.
    """
    outcomes = table.outcomes
    n_steps = min(int(settings.get("max_depth", 1)), outcomes.n_models)
    half = outcomes.folds(2, rng=0) if outcomes.n_queries >= 4 and outcomes.groups is None else None
    if rule not in ("cascade", "cascade-routing") or n_steps < 2 or half is None:
        return ()
    parts = [(outcomes.take(half == h), half == h) for h in (0, 1)]
    known: dict[tuple[float, ...], list[float]] = {}

    def areas(weights: tuple[float, ...]) -> list[float]:
        """Areas under the paths of either half, and of all queries."""
        if weights not in known:
            made = make_rule(rule, 0.0, dict(settings))
            stops = walk(made, outcomes, table, answer=answer, step_weights=weights)
            halves = [path_area(budget_path(stops.of_rows(rows), part), part) for part, rows in parts]
            known[weights] = [*halves, path_area(budget_path(stops, outcomes), outcomes)]
        return known[weights]

    def search(which: int) -> tuple[float, ...]:
        weights = (1.0,) * n_steps
        for step in range(1, n_steps):
            tried = [(*weights[:step], *(factor,) * (n_steps - step)) for factor in STEP_FACTORS]
            weights = max(tried, key=lambda candidate: areas(candidate)[which])
        return weights

    constant = areas((1.0,) * n_steps)
    gains = [areas(search(other))[here] - constant[here] for here, other in ((0, 1), (1, 0))]
    return search(2) if min(gains) > 0.0 else ()


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
            assert budget is not None
            return min(cost_evidence(totals[name][here], budget[name], largest[name]) for name in totals)

        passed = fixed_sequence((evidence(parameter) for parameter in sequence), confidence)
        first = walked.stops.at(sequence[0])
        if not passed and target is not None:
            worst, best = self._qualities
            bound = best - mean_upper_bound(best - walked.stops.quality[first], best - worst, confidence)
            raise ValueError(
                f"quality_target: expected at most {bound:.6g}, which can be promised with confidence {confidence:g} from "
                f"{self.n_queries} calibration queries; got {target:.6g}"
            )
        if not passed:
            bounds = [
                f"{mean_upper_bound(totals[name][first], seen[0][name], confidence):.6g} for {name!r}"
                for name in totals
            ]
            raise ValueError(
                f"budget: expected at least {' and '.join(bounds)}, which can be promised with confidence {confidence:g} "
                f"from {self.n_queries} calibration queries; got {', '.join(f'{b:.6g}' for b in (budget or {}).values())}"
            )
        point = walked.path.realised(sequence[passed - 1])
        price = point.cost - without.cost if target is not None else without.quality - point.quality
        limits = {"quality": target} if target is not None else dict(budget or {})
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


def rule_settings(
    rule: str, outcomes: Outcomes, *, max_depth: int = 5, order: Sequence[str] | None = None
) -> dict[str, Any]:
    """Give the settings that a rule takes: depth, and for cascades the order (by rising mean cost by default)."""
    settings: dict[str, Any] = {}
    if rule in ("cascade", "cascade-routing"):
        settings["max_depth"] = max_depth
    if rule in ("cascade", "threshold-cascade"):
        if order is None:
            settings["order"] = tuple(np.argsort(outcomes.mean_cost, kind="stable").tolist())
        else:
            unknown = [name for name in order if name not in outcomes.models]
            if unknown:
                raise ValueError(f"order: unknown model {unknown[0]!r}; known: {', '.join(outcomes.models)}")
            settings["order"] = tuple(outcomes.models.index(name) for name in order)
    return settings
