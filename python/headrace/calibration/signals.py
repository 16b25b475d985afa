"""Paid signals: response columns that are bought after each run, or not, whichever brings more at the budget.

Between buying never and buying after each run lies little: rules that decide anew at each step whether to buy gained
less than a tenth of a point (docs/decisions/0020-paid-columns.md). So a router is fitted for each of a few sets of
columns, and the budget decides between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import FloatArray, IndexArray
from headrace.calibration.fitted import Fitted, Plan, fit_and_calibrate
from headrace.calibration.parts import Parts
from headrace.calibration.settings import shared
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import BudgetPath

__all__ = ["Alternative", "Signals", "best_alternative", "fit_alternatives", "signals"]

#: Budgets at which sets of columns are compared.
N_BUDGETS = 60

#: A smaller gain of quality is told as less than this.
LEAST_GAIN = 0.001


class Alternative(NamedTuple):
    """A fit that buys some columns.

    Attributes
    ----------
    bought : tuple of str
        Columns that are bought after each run.
    prices : dict of str to ndarray of shape (n_models,)
        Mean price of each of them, by model.
    fitted : Fitted
    rows : ndarray of int
        Those of the queries that fit which it was fitted on: all, but for missing cells of the columns.
    """

    bought: tuple[str, ...]
    prices: dict[str, FloatArray]
    fitted: Fitted
    rows: IndexArray

    def attributes(self) -> dict[str, Any]:
        """Give what a router holds of it."""
        fitted = self.fitted
        return {
            "rule_": fitted.rule,
            "bought_": self.bought,
            "path_": fitted.walked.path,
            "walked_": fitted.walked,
            "uncertainty_scale_": fitted.settings.get("uncertainty_scale"),
            "quality_": fitted.quality,
            "quality_errors_": fitted.errors,
            "estimators_": fitted.estimators,
            "query_columns_": dict(fitted.query_columns),
            "response_columns_": dict(fitted.response_columns),
            "n_dropped_": fitted.n_dropped,
            "_settings": fitted.settings,
            "_held_out": fitted.held_out,
            "_calibrator": fitted.calibrator.copy(),
            "_prices": self.prices,
        }

    def gain_over(self, plain: Alternative, budget: Mapping[str, float] | None, target: float | None) -> float:
        """Give what it brings at a budget more than buying nothing: quality, or less cost for a quality target.

        Both are compared on the same queries; minus infinity where it can't be had.
        """
        mine, calibrator = self.fitted.calibrator.judging(budget), plain.fitted.calibrator
        try:
            here = mine.path.at(budget=budget, quality=target)
        except ValueError:
            return -np.inf
        try:
            there = calibrator.judged_on(self.rows, budget).at(budget=budget, quality=target)
        except ValueError:
            return np.inf
        return here.quality - there.quality if target is None else there.cost - here.cost


@dataclass(frozen=True, eq=False, repr=False)
class Signals:
    """What it brings to buy columns, by budget, on the queries of the fit; ``router.signals_``.

    Attributes
    ----------
    budgets : ndarray of shape (n_budgets,)
    bought : tuple of tuple of str
        The sets of columns; the first one is empty.
    gains : ndarray of shape (n_sets, n_budgets)
        Mean quality at each budget minus that of never buying; minus infinity where the budget doesn't cover it.
    cost_name : str
    in_points : bool, default True
        Whether all qualities lie between 0 and 1, so that their differences are told in points.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.calibration.signals import Signals
    >>> gains = np.array([[0.0, 0.0, 0.0], [-np.inf, 0.01, 0.04]])
    >>> signals = Signals(np.array([0.1, 0.2, 0.4]), ((), ("judge",)), gains, "usd")
    >>> print(signals)
    judge pays from 0.2 usd on: up to +4.0 points of quality, at 0.4 usd
    >>> signals.best.tolist()
    [0, 1, 1]
    """

    budgets: FloatArray
    bought: tuple[tuple[str, ...], ...]
    gains: FloatArray
    cost_name: str
    in_points: bool = True

    @property
    def best(self) -> IndexArray:
        """The set that brings most at each budget; of equal ones, the first."""
        return np.asarray(self.gains.argmax(axis=0))

    @property
    def words(self) -> list[str]:
        """Say of each set at which budgets it brings most, and how much more than buying nothing."""
        return [self._words(number, columns) for number, columns in enumerate(self.bought) if columns]

    def _words(self, number: int, columns: tuple[str, ...]) -> str:
        several = len(columns) > 1
        named = f"{' and '.join(columns)} together" if several else columns[0]
        here = np.flatnonzero(self.best == number)
        if not len(here):
            if self.gains[number].max() <= 0.0:
                return f"{named} {'do' if several else 'does'}n't pay at any budget"
            return f"{named}: {self._most(number, slice(None))}; another set brings more at every budget"
        first, last = int(here[0]), int(here[-1])
        ends = self._amount(first)
        if last > first:
            ends = f"from {ends} on" if last == len(self.budgets) - 1 else f"from {ends} to {self._amount(last)}"
        # Where sets are close, now one is ahead and now another.
        n_between = last - first + 1
        where = ends if len(here) == n_between else f"at {len(here)} of {n_between} budgets {ends}"
        where = where if last > first else f"at {ends} only"
        return f"{named} {'pay' if several else 'pays'} {where}: {self._most(number, here)}"

    def _most(self, number: int, where: IndexArray | slice) -> str:
        """Say how much a set brings at most, and where."""
        budgets = np.arange(len(self.budgets))[where]
        at = int(budgets[self.gains[number, budgets].argmax()])
        gain = float(self.gains[number, at])
        if not self.in_points:
            said = f"{gain:+.3g}"
        else:
            said = f"{100.0 * gain:+.1f} points" if gain >= LEAST_GAIN else f"less than {100.0 * LEAST_GAIN:g} points"
        return f"up to {said} of quality, at {self._amount(at)}"

    def _amount(self, at: int) -> str:
        unit = "" if self.cost_name == "cost" else f" {self.cost_name}"
        return f"{self.budgets[at]:.3g}{unit}"

    def __repr__(self) -> str:
        return "\n".join(self.words)


def fit_alternatives(
    parts: Parts, plan: Plan, *, progress: Callable[[float], None] | None = None
) -> tuple[Alternative, ...]:
    """Fit with no paid column, with each alone, with all; of three and more, also with those that the best gains by.

    Parameters
    ----------
    parts : Parts
        Labelled queries by their use, with their paid columns.
    plan : Plan
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    tuple of Alternative
        The one that buys nothing first.
    """
    names = tuple(parts.fitting.column_cost)
    place = {label: row for row, label in enumerate(parts.fitting.ids)} if names else {}
    counted = itertools.count()

    def fit(bought: tuple[str, ...]) -> Alternative:
        here = parts.buying(bought)
        # How many sets there will be isn't known before: those of one and of all.
        told = shared(progress, min(next(counted), len(names)), len(names) + 1)
        rows = np.array([place[label] for label in here.fitting.ids], dtype=np.intp) if names else np.zeros(0, np.intp)
        return Alternative(bought, _prices(parts.fitting, bought), fit_and_calibrate(here, plan, progress=told), rows)

    fits = {bought: fit(bought) for bought in [(), *((name,) for name in names)]}
    plain = fits[()]
    while len(names) > 2:
        # From the best set so far: the best column to add to it, for as long as one gains.
        best = max(fits, key=lambda bought: mean_gain(fits[bought], plain))
        wider = [tuple(name for name in names if name in (*best, other)) for other in names if other not in best]
        fits |= {bought: fit(bought) for bought in wider if bought not in fits}
        if not best or max((mean_gain(fits[bought], plain) for bought in wider), default=0.0) <= mean_gain(
            fits[best], plain
        ):
            break
    if names not in fits:
        fits[names] = fit(names)
    return tuple(fits.values())


def best_alternative(
    alternatives: Sequence[Alternative], budget: Mapping[str, float] | None, target: float | None
) -> Alternative:
    """Take the fit that brings most at a budget or a target, or else over all budgets; of equal ones the first."""
    plain = alternatives[0]
    if len(alternatives) == 1:
        return plain
    if budget is None and target is None:
        gains = [0.0, *(mean_gain(other, plain) for other in alternatives[1:])]
    else:
        gains = [0.0, *(other.gain_over(plain, budget, target) for other in alternatives[1:])]
    return alternatives[int(np.argmax(gains))]


def mean_gain(alternative: Alternative, plain: Alternative) -> float:
    """Mean gain over the budgets that it covers, those that it doesn't cover counting as none."""
    gains = _gains([plain, alternative], _budgets([plain, alternative]))[1]
    return float(np.where(np.isfinite(gains), gains, 0.0).mean())


def signals(alternatives: Sequence[Alternative], outcomes: Outcomes) -> Signals | None:
    """Compare fits of complete queries over all budgets; None where there is one only."""
    if len(alternatives) == 1:
        return None
    budgets = _budgets(alternatives)
    bought = tuple(one.bought for one in alternatives)
    in_points = bool(outcomes.quality.min() >= 0.0 and outcomes.quality.max() <= 1.0)
    return Signals(budgets, bought, _gains(alternatives, budgets), outcomes.cost_name, in_points)


def _prices(outcomes: Outcomes, bought: Sequence[str]) -> dict[str, FloatArray]:
    """Give the mean price of each column bought, by model."""
    with np.errstate(invalid="ignore"):
        return {name: np.nanmean(outcomes.column_cost[name], axis=0) for name in bought}


def _budgets(alternatives: Sequence[Alternative]) -> FloatArray:
    paths = [one.fitted.calibrator.judging(None).path for one in alternatives]
    lowest, highest = float(paths[0].cost.min()), max(float(path.cost.max()) for path in paths)
    if lowest <= 0.0:
        return np.linspace(lowest, highest, N_BUDGETS)
    return np.geomspace(lowest, highest, N_BUDGETS)


def _gains(alternatives: Sequence[Alternative], budgets: FloatArray) -> FloatArray:
    plain = alternatives[0].fitted.calibrator
    gains = np.zeros((len(alternatives), len(budgets)))
    for number, one in enumerate(alternatives[1:], start=1):
        mine, its = one.fitted.calibrator.judging(None).path, plain.judged_on(one.rows, None)
        gains[number] = _qualities(mine, budgets) - np.maximum(_qualities(its, budgets), its.quality.min())
    return gains


def _qualities(path: BudgetPath, budgets: FloatArray) -> FloatArray:
    """Mean quality at each budget; minus infinity below the cheapest."""
    least = float(path.cost.min())
    return np.array([path.at(budget=float(b)).quality if b >= least else -np.inf for b in budgets])
