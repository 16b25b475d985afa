"""A hard total for a batch: many queries at once, of which all runs together may cost so much and no more.

A cost weight keeps a budget in the mean; over fifty queries the spend still varies by a tenth or a fifth. Here the
weight is found for the batch at hand, from its own estimates, and again after each wave of runs: what one query
saved, others may spend.

For each wave, with the total that is left, the weight is the smallest of the decider's path at which all plans
together, by estimate, cost no more. A run starts only where its bound is left: the estimate times the largest ratio
of realised to estimated cost that the fit has seen of its model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headrace.arguments import checked_number, listed
from headrace.errors import CapTooSmall
from headrace.rules import Decision, make_rule
from headrace.serving.decider import Decider
from headrace.serving.session import Session

__all__ = ["Within", "decide_within"]

#: A run is bounded by this times its estimate, where it isn't known what the fit has seen of its model.
USUAL = 4.0


def decide_within(
    decider: Decider, queries: Sequence[Mapping[str, Any] | str], *, total: float, ids: Sequence[str] | None = None
) -> Within:
    """Start the walk over a batch of queries, whose runs together may cost a total.

    Parameters
    ----------
    decider : Decider
        One that trades a single cost.
    queries : sequence of mapping or str
        As in `Decider.start`.
    total : float
        In the unit of the cost.
    ids : sequence of str, optional
        One for each query.

    Returns
    -------
    Within

    Raises
    ------
    CapTooSmall
        The total doesn't pay one run, the cheapest by estimate, of each query; ``needed`` says what would.
    TypeError, ValueError
        A total that isn't a finite number >= 0; a decider of several costs; queries as in `Decider.start`.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.datasets import NoisyOracle, simulate
    >>> from headrace.serving import decide_within
    >>> table = simulate(300, 3)
    >>> decider = hr.Router(quality=NoisyOracle()).fit(table, budget=0.003).decider_
    >>> queries = [{name: column[row] for name, column in table.queries.items()} for row in range(20)]
    >>> walk = decide_within(decider, queries, total=0.05)
    >>> while wave := walk.next():
    ...     for row, model in wave.items():
    ...         j = table.models.index(model)
    ...         walk.observe(row, {}, cost=table.cost[row, j])
    >>> walk.spent <= 0.05, walk.unanswered
    (True, ())
    """
    if len(decider.policy.costs) > 1:
        raise ValueError(f"decider: expected one of a single cost, got {', '.join(decider.policy.costs)}")
    limit = checked_number("total", total)
    if not 0.0 <= limit < math.inf:
        raise ValueError(f"total: expected a finite number >= 0, got {total!r}")
    if ids is not None and len(ids) != len(queries):
        raise ValueError(f"ids: expected one for each of {len(queries)} queries, got {len(ids)}")
    sessions = [decider.start(query, id=None if ids is None else ids[row]) for row, query in enumerate(queries)]
    return Within(decider, sessions, limit)


class Within:
    """The walk over a batch within a total: ask for the `next` wave, run it, `observe` each response, until none comes.

    Made by `decide_within`. A run that failed is told by `fail`.

    Attributes
    ----------
    sessions : tuple of Session
        One for each query, with its answer.
    total : float
    """

    def __init__(self, decider: Decider, sessions: Sequence[Session], total: float) -> None:
        self.sessions: tuple[Session, ...] = tuple(sessions)
        self.total: float = total
        self._policy = decider.policy
        ratios = {} if decider.promised is None else decider.promised.ratios
        seen = [ratios[name] if len(ratios.get(name, ())) else [math.log(USUAL)] for name in decider.models]
        self._most = [max(1.0, math.exp(max(logs))) for logs in seen]
        self._parameters: list[float] = np.unique(decider.path.parameter).tolist()
        self._wave: dict[int, str] = {}
        cheapest = math.fsum(min(self._costs(session)) for session in self.sessions)
        if cheapest > total:
            raise CapTooSmall(
                f"total: expected at least {cheapest:.6g}, which one run of the cheapest model for each of "
                f"{len(self.sessions)} queries is expected to cost; got {total:.6g}",
                needed=cheapest,
            )

    def __repr__(self) -> str:
        waiting = f", {len(self._wave)} runs awaited" if self._wave else ""
        unanswered = f", {len(self.unanswered)} unanswered" if self.unanswered else ""
        return f"Within({len(self.sessions)} queries: {self.spent:.4g} of {self.total:.4g} spent{waiting}{unanswered})"

    @property
    def spent(self) -> float:
        """Cost of all runs so far."""
        return math.fsum(session.cost for session in self.sessions)

    @property
    def unanswered(self) -> tuple[int, ...]:
        """Rows without an answer so far."""
        return tuple(row for row, session in enumerate(self.sessions) if not session.run)

    def next(self) -> dict[int, str]:
        """Give the models to run now, by the row of their query; empty = the batch is done.

        Raises
        ------
        ValueError
            Runs of the wave before have been told of neither by `observe` nor by `fail`.
        """
        if self._wave:
            raise ValueError(
                f"next: the runs of rows {listed(self._wave)} have been told of neither by observe nor by fail"
            )
        left = self.total - self.spent
        decisions = self._decisions(left)
        # Queries without an answer come first.
        for row in sorted(decisions, key=lambda row: bool(self.sessions[row].run)):
            chosen = decisions[row].next
            if chosen is None:
                continue
            bound = self._costs(self.sessions[row])[chosen] * self._most[chosen]
            if bound <= left:
                left -= bound
                self._wave[row] = self._policy.models[chosen]
        return dict(self._wave)

    def observe(self, row: int, response: Any, *, cost: float | None = None) -> None:
        """Take in what the model that runs for a row returned; otherwise as `Session.observe`."""
        self.sessions[row].observe(self._model(row), response, cost=cost)
        del self._wave[row]

    def fail(self, row: int, *, kind: str = "error", cost: float = 0.0) -> None:
        """Tell that the run for a row failed; otherwise as `Session.fail`."""
        self.sessions[row].fail(self._model(row), kind=kind, cost=cost)
        del self._wave[row]

    def _model(self, row: int) -> str:
        if row not in self._wave:
            raise ValueError(f"row: no run of row {row!r} is awaited; awaited: {listed(self._wave)}")
        return self._wave[row]

    @staticmethod
    def _costs(session: Session) -> list[float]:
        costs: list[float] = session.estimates()[1][0].tolist()
        return costs

    def _decisions(self, left: float) -> dict[int, Decision]:
        """Decide every query that may go on, at the smallest weight whose plans cost no more than what is left."""
        open_rows = [row for row, session in enumerate(self.sessions) if len(session.failed) < len(self._policy.models)]
        low, high = 0, len(self._parameters) - 1
        while low < high:
            middle = (low + high) // 2
            if self._planned(open_rows, middle)[1] <= left:
                high = middle
            else:
                low = middle + 1
        return self._planned(open_rows, low)[0]

    def _planned(self, rows: Sequence[int], place: int) -> tuple[dict[int, Decision], float]:
        """Decide rows at a weight of the path; give also what the runs still to come would cost, by estimate."""
        rule = make_rule(self._policy.rule, self._parameters[place], self._policy.settings)
        decisions = {row: self.sessions[row].decided(rule) for row in rows}
        planned = 0.0
        for row, decision in decisions.items():
            session = self.sessions[row]
            costs, ran = self._costs(session), {self._policy.models.index(name) for name in session.run}
            planned += math.fsum(costs[j] for j in decision.plan if j not in ran)
        return decisions, planned
