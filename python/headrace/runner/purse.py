"""Purses: what one query may take from its account, and how a runner makes do with little.

What is reserved for a call is `Accounts.largest_cost` of its model. Where none is given, it is the estimate times the
largest ratio of a run's cost to its estimate that the fit saw for the model, or times `USUAL`, where that isn't known.
A call can cost more than that; nothing a fit has seen is a bound of what comes.

The more of an account is spent, the less a query may cost on average: once less than `LITTLE` of the limit is left, the
decider's mean cost shrinks in proportion to what is left, down to the cheapest point of the budget path. For every
decider there are `N_POINTS` such points, which share its estimators.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from headrace.arguments import listed
from headrace.errors import AccountEmpty
from headrace.runner.accounts import Accounts, Hold
from headrace.serving import Decider

__all__ = ["Purse", "Purses"]

#: Share of the limit below which queries become cheaper.
LITTLE = 0.2

#: Points between the decider's own and nothing.
N_POINTS = 16

#: What is reserved is the estimate times this, where nothing else is known.
USUAL = 4.0

logger: logging.Logger = logging.getLogger("headrace")


class Purses:
    """Opens accounts for the queries of one decider.

    Parameters
    ----------
    accounts : Accounts or None
    decider : Decider

    Raises
    ------
    ValueError
        A largest cost of a model that the decider doesn't have.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import headrace as hr
    >>> from headrace.datasets import NoisyOracle, simulate
    >>> from headrace.runner import Accounts
    >>> from headrace.runner.purse import Purses
    >>> decider = hr.Router(quality=NoisyOracle()).fit(simulate(500, 3), budget=0.004).decider_
    >>> accounts = Accounts(pathlib.Path(tempfile.mkdtemp()) / "accounts.db", limit=1.0)
    >>> purses = Purses(accounts, decider)
    >>> purses.open("user-17").decider is decider
    True
    >>> accounts.settle(accounts.reserve("user-17", 0.9), 0.9)
    >>> round(purses.open("user-17").decider.point.cost, 6)  # half of the last fifth
    0.002
    """

    def __init__(self, accounts: Accounts | None, decider: Decider) -> None:
        self.accounts: Accounts | None = accounts
        self.decider: Decider = decider
        unknown = [name for name in (accounts.largest_cost if accounts else ()) if name not in decider.models]
        if unknown:
            raise ValueError(f"largest_cost: unknown model {unknown[0]!r}; known: {listed(decider.models)}")
        ratios = {} if decider.promised is None else decider.promised.ratios
        self._ratios = {name: max(1.0, math.exp(np.max(logs))) for name, logs in ratios.items() if len(logs)}
        self._points: dict[int, Decider] = {N_POINTS: decider}

    def open(self, account: str | None) -> Purse | None:
        """Open an account for a query; None where it has none.

        Raises
        ------
        AccountEmpty
            Nothing is left.
        ValueError
            There are no accounts.
        """
        if account is None:
            return None
        if self.accounts is None:
            raise ValueError("account: this runner keeps none; give it Runner(accounts=Accounts(...))")
        return Purse(self, self.accounts, account)

    def at(self, share: float) -> Decider:
        """Give the decider whose mean cost is a share of what it usually is, from 0 to 1; rounded down to the grid."""
        place = math.floor(N_POINTS * min(share, 1.0))
        if place not in self._points:
            self._points[place] = self._cheaper(place / N_POINTS)
        return self._points[place]

    def bound(self, model: str, estimate: float) -> float:
        """Give what is reserved for a call."""
        if self.accounts is not None and model in self.accounts.largest_cost:
            return self.accounts.largest_cost[model]
        if not math.isfinite(estimate):
            return float(self.decider.path.cost.max())
        return max(estimate, 0.0) * self._ratios.get(model, USUAL)

    def _cheaper(self, share: float) -> Decider:
        name, path = self.decider.policy.costs[0], self.decider.path
        wanted = max(share * self.decider.point.cost, float(path.costs[name].min()))
        with suppress(ValueError):  # budgets for several costs: their exchange rates need labelled queries
            return self.decider.with_budget({name: wanted})
        return self.decider


class Purse:
    """What one query may take from its account; made by `Purses.open`.

    Attributes
    ----------
    decider : Decider
        The one that decides: cheaper, where little is left.
    refusal : AccountEmpty or None
        Why the last call that wasn't covered wasn't.
    """

    def __init__(self, purses: Purses, accounts: Accounts, account: str) -> None:
        balance = accounts.balance(account)
        if balance.left <= 0.0:
            raise balance.refusal()
        self.refusal: AccountEmpty | None = None
        self.decider: Decider = purses.at(balance.left / (LITTLE * balance.limit))
        self._purses, self._accounts, self._balance = purses, accounts, balance
        self._holds: dict[str, Hold] = {}
        self._is_cap = False

    @property
    def left(self) -> float | None:
        """What is left of the account now; None where the file can't be read."""
        with suppress(sqlite3.Error):
            return self._accounts.left(self._balance.account)
        return None

    def deadline(self, deadline_s: float | None) -> float:
        """Give the query's deadline, in seconds: no reservation may end before its call."""
        longest = 0.5 * self._accounts.hold_s
        return longest if deadline_s is None else min(deadline_s, longest)

    def cap(self, max_cost: float | Mapping[str, float] | None) -> Any:
        """Give the query's cap: as it was, and what is left."""
        first = self.decider.policy.costs[0]
        caps = dict(max_cost) if isinstance(max_cost, Mapping) else {} if max_cost is None else {first: max_cost}
        others = [cap for cap in (caps.get(first), self._accounts.per_request) if cap is not None]
        self._is_cap = all(self._balance.left < cap for cap in others)
        return {**caps, first: min([*others, self._balance.left])}

    def told(self, error: ValueError) -> ValueError:
        """Say of a cap that is too small that it is the account's, where it is."""
        return self._balance.refusal() if self._is_cap else error

    def reserve(self, model: str, estimate: float) -> bool:
        """Tell whether the account covers a call of a model: then it is reserved, unless it has been before.

        Where the file can't be written, no call is covered.
        """
        if model in self._holds:
            return True
        try:
            self._holds[model] = self._accounts.reserve(self._balance.account, self._purses.bound(model, estimate))
        except AccountEmpty as error:
            self.refusal = error
            return False
        except sqlite3.Error as error:
            logger.error("the cost of a call can't be reserved: %s", error)
            return False
        return True

    def settle(self, model: str, spent: float) -> None:
        """Book what a call cost. An answer that is there isn't lost where the file can't be written."""
        hold = self._holds.pop(model, None)
        if hold is None:
            return
        try:
            self._accounts.settle(hold, spent)
        except sqlite3.Error as error:
            logger.error("the cost of a call can't be booked: %s", error)

    def close(self, begun: str | None) -> None:
        """Release what is reserved still; a model whose answer was broken off has cost all of its reservation."""
        for model in list(self._holds):
            self.settle(model, self._holds[model].amount if model == begun else 0.0)
