"""The calibrator: after a fit, it gives the policy for any budget, any exchange rates and any confidence."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray, listed
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration.exchange_rates import Walked, balance, one_cost
from headrace.calibration.guarantee import TAIL, USUAL, Guarantee, fixed_sequence, tail_ratio
from headrace.calibration.promises import Tests, sequence, shuffled
from headrace.calibration.settings import Calibration
from headrace.calibration.walk import budget_path, walk
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import BudgetPath, PathPoint, rounded, shown_limits
from headrace.rules import make_rule
from headrace.serving.promised import Promised, log_ratio

__all__ = ["Calibrator", "Chosen"]

#: Fewest runs of a model in a log from which a change of its costs is taken.
FEWEST_RUNS = 10

#: Values up to this multiple of the largest seen in the calibration count in full when drift is watched.
MARGIN = 2.0


class Chosen(NamedTuple):
    """A policy's point on the path, and what is promised of it.

    Attributes
    ----------
    walked : Walked
        The calibration queries at the exchange rates of the policy.
    point : PathPoint
    guarantee : Guarantee or None
    promised : Promised
    """

    walked: Walked
    point: PathPoint
    guarantee: Guarantee | None
    promised: Promised


class Calibrator:
    """Gives the budget path at any exchange rates, and the policy that can be promised.

    Parameters
    ----------
    rule : str
        A key of `headrace.rules.RULES`.
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
        self.costs: tuple[str, ...] = tuple(table.outcomes.costs)
        self._models = table.outcomes.models
        self.n_queries: int = table.outcomes.n_queries
        #: Realised costs of the calibration queries, which say what a stop cost.
        self.realised: dict[str, FloatArray] = dict(table.outcomes.costs)
        #: The most that a query can cost, as far as it was given, by name of the cost.
        self.largest_cost: Mapping[str, float] = {}
        self._rule, self._answer = rule, answer
        self._settings = chosen.settings
        first = Walked((1.0,), chosen.path, chosen.stops)
        self._groups = _groups(table.outcomes)
        self._fitting_groups = None if fitting is None else _groups(fitting.outcomes)
        self._fitting_costs = {} if fitting is None else dict(fitting.outcomes.costs)
        self._qualities = _span((table if fitting is None else fitting).outcomes.quality)
        self._tables: tuple[BeliefTable, BeliefTable | None] | None = (table, fitting)
        #: The last walk of the calibration queries, and that of the fitting queries at the same rates.
        self._last = first if fitting is None else self._walk(table, (1.0,), self.realised), first
        self._expected = table.costs_before()
        #: How much each model's costs have changed since the fit, by name of the cost.
        self.price_changes: dict[str, FloatArray] = {}
        if len(self.costs) == 1:
            # No other rates to walk at: the labelled queries can be forgotten.
            self._tables = None

    def copy(self) -> Calibrator:
        """Give a copy that shares nothing that changes."""
        calibrator = copy.copy(self)
        calibrator.realised, calibrator.price_changes = dict(self.realised), dict(self.price_changes)
        return calibrator

    def chosen(
        self,
        walked: Walked,
        budget: Mapping[str, float] | None,
        quality_target: float | None,
        confidence: float | None,
        *,
        mix: str,
    ) -> Chosen:
        """Choose the policy for budgets, or for a quality target.

        Parameters
        ----------
        walked : Walked
            The calibration queries, at any rates.
        budget : mapping of str to float, optional
        quality_target : float, optional
            Either budgets or a target.
        confidence : float, optional
            With which it is to be kept.
        mix : {"per-query", "deterministic"}

        Raises
        ------
        ValueError
            What isn't feasible, or can't be promised: the message states the nearest that can.
        """
        rates = (1.0,) if budget is None else self.balanced(budget)
        if rates != walked.rates:
            walked = self.walked(rates)
        path = walked.path
        point = path.chosen(quality_target=quality_target) if budget is None else self.within(walked, budget)
        guarantee: Guarantee | None = None
        if confidence is not None:
            point, guarantee = self.guaranteed(walked, budget, quality_target, confidence, point)
        elif mix == "deterministic":
            point = path.alone(point, for_quality=budget is None)
        return Chosen(walked, point, guarantee, self.promised(walked, point))

    def walked(self, rates: tuple[float, ...]) -> Walked:
        """Walk the calibration queries at some exchange rates."""
        return self._both(rates)[0]

    def _both(self, rates: tuple[float, ...]) -> tuple[Walked, Walked]:
        if rates != self._last[0].rates:
            assert self._tables is not None  # there are several costs
            table, fitting = self._tables
            walked = self._walk(table, rates, self.realised)
            self._last = walked, walked if fitting is None else self._walk(fitting, rates, self._fitting_costs)
        return self._last

    def judging(self, budget: Mapping[str, float] | None) -> Walked:
        """Give the walk by which fits are compared: of the fitting queries, where calibration is kept apart."""
        return self._both((1.0,) if budget is None else self.balanced(budget))[1]

    def judged_on(self, rows: IndexArray, budget: Mapping[str, float] | None) -> BudgetPath:
        """Give the path of that walk on some of its queries."""
        walked = self.judging(budget)
        if len(rows) == walked.path.n_queries:
            return walked.path
        costs = self._fitting_costs or self.realised
        return budget_path(walked.stops.of(rows), {name: cost[rows] for name, cost in costs.items()})

    def balanced(self, budget: Mapping[str, float]) -> tuple[float, ...]:
        """Find the exchange rates that suit some budgets, on the fitting queries where these are others."""
        if self._tables is None:
            return (1.0,)
        if len(budget) == 1:
            return one_cost(self.costs, *budget)
        table, fitting = self._tables
        searched, costs = (table, self.realised) if fitting is None else (fitting, self._fitting_costs)
        return balance(lambda rates: self._walk(searched, rates, costs), budget, self.costs).rates

    def within(self, walked: Walked, budget: Mapping[str, float]) -> PathPoint:
        """Find the point of a path that meets some budgets; if none does, say what each of them could be."""
        try:
            return walked.path.at(budget=budget)
        except ValueError as error:
            if len(budget) == 1:
                raise
            cheapest = {}
            for name, limit in budget.items():
                path = self.walked(one_cost(self.costs, name)).path
                path.at(budget={name: limit})
                cheapest[name] = {other: float(path.costs[other][-1]) for other in budget}
            shown = "; ".join(f"the cheapest in {name} takes {shown_limits(costs)}" for name, costs in cheapest.items())
            raise ValueError(f"budget: no policy found that keeps {shown_limits(budget)} together; {shown}") from error

    def promised(self, walked: Walked, point: PathPoint) -> Promised:
        """Give cost and quality of each calibration query under a policy, and the range of each that counts."""
        stops = walked.stops
        cheap, costly = (stops.at(parameter) for parameter in point.parameters)
        columns = {name: stops.total(cost) for name, cost in self.realised.items()} | {"quality": stops.quality}
        mixed = {name: point.share * v[cheap] + (1.0 - point.share) * v[costly] for name, v in columns.items()}
        ends = {name: (0.0, MARGIN * float(max(v[cheap].max(), v[costly].max()))) for name, v in columns.items()}
        # A table may be sorted; a confidence sequence needs an order that doesn't depend on the values.
        order = shuffled(self.n_queries)
        values = {name: column[order] for name, column in mixed.items()}
        return Promised(values, ends | {"quality": self._qualities}, self._ratios(walked, point))

    def _ratios(self, walked: Walked, point: PathPoint) -> dict[str, FloatArray]:
        """Give the log ratios of realised to estimated costs of each model's runs under a policy.

        None where several costs are traded: estimates are known of their sum only.
        """
        if walked.rates != (1.0,):
            return {}
        runs, cost = walked.stops.runs, self.realised[self.costs[0]]
        cheaply = np.random.default_rng(0).random(self.n_queries) < point.share
        here = np.concatenate(
            [
                index[cheaply[runs.row[index]] == is_cheap]
                for index, is_cheap in zip(map(runs.at, point.parameters), (True, False), strict=True)
            ]
        )
        model = runs.model[here]
        ratios = log_ratio(cost[runs.row[here], model], runs.expected[here])
        return {self._models[j]: ratios[model == j] for j in np.unique(model).tolist()}

    def updated(self, table: BeliefTable, walked: Walked, point: PathPoint) -> Calibrator:
        """Give a calibrator for new queries: complete ones replace the old, a log with missing cells reprices them."""
        return self.repriced(table, walked, point) if table.outcomes.n_missing else self.replaced(table)

    def replaced(self, table: BeliefTable) -> Calibrator:
        """Give a calibrator for other calibration queries."""
        calibrator = copy.copy(self)
        calibrator.n_queries = table.outcomes.n_queries
        calibrator.realised = dict(table.outcomes.costs)
        calibrator._groups = _groups(table.outcomes)
        calibrator._expected = table.costs_before()
        walked = calibrator._walk(table, table.rates, calibrator.realised)
        calibrator._last = walked, self._both(table.rates)[1] if self._fitting_costs else walked
        if self._tables is not None:
            calibrator._tables = (table, self._tables[1])
        return calibrator

    def repriced(self, log: BeliefTable, walked: Walked, point: PathPoint) -> Calibrator:
        """Give a calibrator for the same queries at the costs of a log."""
        calibrator = copy.copy(self)
        cheap = walked.stops.at(point.parameters[0])
        ran = walked.stops.run_sets[walked.stops.run[cheap]]
        expected = log.costs_before()
        calibrator.realised, calibrator.price_changes = {}, {}
        for number, (name, cost) in enumerate(self.realised.items()):
            logged = log.outcomes.costs[name]
            change = _ratio(logged, expected[number], ~np.isnan(logged)) / _ratio(cost, self._expected[number], ran)
            known = np.isfinite(change)
            if not known.all():
                kept = listed(model for model, is_known in zip(log.outcomes.models, known, strict=True) if not is_known)
                few = f"fewer than {FEWEST_RUNS} runs in the new outcomes or in the calibration"
                warnings.warn(f"{name} of {kept} is taken as unchanged: {few}", stacklevel=3)
            change = np.where(known, change, 1.0)
            calibrator.realised[name] = cost * change
            calibrator.price_changes[name] = change * self.price_changes.get(name, 1.0)
        repriced = walked._replace(path=budget_path(walked.stops, calibrator.realised))
        calibrator._last = repriced, self._both(walked.rates)[1] if self._fitting_costs else repriced
        return calibrator

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
        fitting = self._both(walked.rates)[1]
        tests = Tests(
            walked,
            fitting,
            self.realised,
            self._fitting_costs,
            self._groups,
            self._fitting_groups,
            self._qualities,
            confidence,
            self.largest_cost,
        )
        limits = dict(budget or {}) if target is None else {"quality": target}
        tested = sequence(fitting.path, limits, for_quality=target is not None)
        passed = fixed_sequence((tests.evidence(parameter, limits) for parameter in tested), confidence)
        if not passed:
            raise ValueError(self._refusal(tests, tested[0], limits, confidence))
        point = walked.path.realised(tested[passed - 1])
        price = point.cost - without.cost if target is not None else without.quality - point.quality
        given = tuple(name for name in tests.largest if name in self.largest_cost)
        least = None if target is None else self._qualities[0]
        guarantee = Guarantee(limits, confidence, tests.largest, self.n_queries, price, given, least)
        self._warn_of_tails(guarantee)
        return point, guarantee

    def _refusal(self, tests: Tests, safest: float, limits: Mapping[str, float], confidence: float) -> str:
        """Say what could be promised, and how many queries the promise asked for would take."""
        up = "quality" not in limits
        argument, side = ("budget", "at least") if up else ("quality_target", "at most")
        nearest = {name: rounded(limit, up=up) for name, limit in tests.nearest(safest, limits).items()}
        message = (
            f"{argument}: expected {side} {shown_limits(nearest)}, which can be promised with confidence "
            f"{confidence:g} from {self.n_queries} calibration queries; got {shown_limits(limits)}"
        )
        needed = tests.n_needed(safest, limits) if up else np.inf
        if needed > self.n_queries and np.isfinite(needed):
            message += f", which takes about {float(f'{needed:.2g}'):.0f} calibration queries"
        if given := {name: largest for name, largest in self.largest_cost.items() if name in limits}:
            message += f", as a query may cost {shown_limits(given)} (largest_cost)"
        return message

    def _warn_of_tails(self, guarantee: Guarantee) -> None:
        """Warn where the costs seen leave doubt of what a query can cost."""
        for name in guarantee.largest:
            if name in guarantee.given:
                continue
            halves = [costs[name] for costs in (self.realised, self._fitting_costs)]
            ratio = np.max([tail_ratio(cost) for cost in halves], axis=0)
            model = int(ratio.argmax())
            if ratio[model] > TAIL:
                most = max(float(cost[:, model].max()) for cost in halves)
                warnings.warn(
                    f"{name} has a heavy tail: a query of {self._models[model]} took {most:.4g}, {ratio[model]:.3g} "
                    f"times what {USUAL:.0%} of them take at most. The promise holds {guarantee.condition}; give "
                    "largest_cost=..., e.g. from the price and the limit of tokens, for one that you know",
                    stacklevel=2,
                )

    def _walk(self, table: BeliefTable, rates: tuple[float, ...], costs: Mapping[str, FloatArray]) -> Walked:
        rule = make_rule(self._rule, 0.0, self._settings)
        believed = table.at_rates(rates)
        stops = walk(rule, table.outcomes, believed, answer=self._answer)
        return Walked(rates, budget_path(stops, costs), stops)


def _ratio(realised: FloatArray, expected: FloatArray, cells: BoolArray) -> FloatArray:
    """Give each model's realised costs over the expected ones, on some cells; NaN where there are too few."""
    above = np.where(cells, realised, 0.0).sum(axis=0)
    below = np.where(cells, expected, 0.0).sum(axis=0)
    enough = (cells.sum(axis=0) >= FEWEST_RUNS) & (below > 0.0) & (above > 0.0)
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=enough))


def _groups(outcomes: Outcomes) -> IndexArray | None:
    return None if outcomes.groups is None else outcomes.group_of_row


def _span(values: FloatArray) -> tuple[float, float]:
    return float(values.min()), float(values.max())
