"""The numbers of an evaluation: what the words, tables, charts and pages are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import FloatArray
from headrace.diagnosis.reliability import Reliability
from headrace.evaluation.bootstrap import Estimate, estimate
from headrace.evaluation.findings import Chosen, Latency, Single
from headrace.evaluation.method import Curves, MethodResult
from headrace.policy.budget_path import ROUNDING

__all__ = ["Again", "Scorecard"]


class Again(NamedTuple):
    """What other splits of the table find; made by `headrace.evaluation.splits.split_again`.

    Attributes
    ----------
    first : str
        Conclusion of the evaluation itself; see `headrace.evaluation.conclusion.conclusion`.
    conclusions : tuple of str
        That of each other split.
    qualities : tuple of float
        The router's mean quality at the budget, of each split that has a policy for it.
    over_mixing : tuple of float
        The same minus that of mixing single models at the same realised cost.
    """

    first: str
    conclusions: tuple[str, ...]
    qualities: tuple[float, ...]
    over_mixing: tuple[float, ...]

    @property
    def n_flips(self) -> int:
        """How many splits conclude something else."""
        return sum(one != self.first for one in self.conclusions)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Scorecard(Curves):
    """A router and other methods on held-out queries, in numbers.

    Attributes
    ----------
    budgets, methods, n_fit, n_test, left_out
        As in `headrace.evaluation.method.Curves`. The router, named "router", is the first of the methods.
    rule : str
        The router's rule.
    models : tuple of str
    cost_name : str
    n_dropped : int
        Queries left out for missing cells.
    calibrated_on : str
        What the baselines were calibrated on.
    at : int
        Index of the chosen budget among `budgets`.
    singles : tuple of Single
    chosen : Chosen
    answers, runs : ndarray of shape (n_budgets, n_models)
        Of the router: share of the queries that each model answers, and on which it is run.
    flows : ndarray of shape (n_budgets, n_models, n_models)
        Of the router: shares of first model run and model that answers.
    reliability : tuple of Reliability
    latency : tuple of Latency
        Empty without a cost named "seconds".
    estimation_cost, estimation_seconds : float
        What estimates cost, in the first cost and in seconds; 0 where that isn't known.
    estimation_per : str
    examples : tuple of dict
        Single decisions; see `headrace.evaluation.traffic.example_decisions`.
    quality_range : tuple of float
        Least and largest quality of a model on a test query: those between 0 and 1 are shown in percent.
    bought : tuple of str
        Paid columns that the router buys at the chosen budget.
    paid : tuple of MethodResult
        The router, if it bought the same columns at all budgets: nothing first; empty for a table without paid columns.
    again : Again or None
        What other splits of the table find; None where there was only one.
    """

    rule: str
    models: tuple[str, ...]
    cost_name: str
    n_dropped: int
    calibrated_on: str
    at: int
    singles: tuple[Single, ...]
    chosen: Chosen
    answers: FloatArray
    runs: FloatArray
    flows: FloatArray
    reliability: tuple[Reliability, ...]
    latency: tuple[Latency, ...]
    estimation_cost: float
    estimation_seconds: float
    estimation_per: str
    examples: tuple[dict[str, Any], ...]
    quality_range: tuple[float, float]
    bought: tuple[str, ...] = ()
    paid: tuple[MethodResult, ...] = ()
    again: Again | None = None

    @property
    def best_single(self) -> Single:
        """The single model of the highest quality; of equal ones, the cheapest."""
        return min(self.singles, key=lambda single: (-single.quality.value, single.cost.value))

    def choice_minus(self, name: str) -> Estimate:
        """Give the router's area minus that of buying the same columns at all budgets, one of `paid` by its name."""
        own, other = self["router"], next(one for one in self.paid if one.name == name)
        return estimate(own.area - other.area, own.resampled - other.resampled)

    def quality_difference(self, a: str, b: str, at: int | None = None) -> Estimate:
        """Give the quality of method `a` minus that of `b` at one of the budgets, by default the chosen one."""
        here = self.at if at is None else at
        first, second = self[a], self[b]
        resampled = first.resampled_quality[:, here] - second.resampled_quality[:, here]
        return estimate(first.quality[here] - second.quality[here], resampled)

    def gain_over(self, name: str) -> Estimate:
        """Give the router's quality at the chosen budget minus that of a method at the cost that the router realised.

        At the same budget, two methods rarely cost the same on the test queries; spending more is no better routing.
        On each resample both are read off the resampled curves. Left of a curve, its cheapest policy counts.
        """
        own, other, at = self["router"], self[name], self.at

        def gain(cost: FloatArray, quality: FloatArray, costs: FloatArray, qualities: FloatArray) -> float:
            order = np.lexsort((qualities, costs))
            return float(quality[at] - np.interp(cost[at], costs[order], qualities[order]))

        curves = (own.resampled_cost, own.resampled_quality, other.resampled_cost, other.resampled_quality)
        resampled = np.array([gain(*one) for one in zip(*curves, strict=True)])
        # Equal means, summed in another order, are no gain.
        resampled[np.abs(resampled) < ROUNDING * np.abs(own.resampled_quality[:, at])] = 0.0
        return estimate(gain(own.cost, own.quality, other.cost, other.quality), resampled)
