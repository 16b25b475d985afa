"""What a runner writes into the decision log: decisions, audits, exploration, feedback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from headrace.arguments import checked_number
from headrace.runner.counterfactuals import Counterfactuals, Ran, Watcher, is_audited
from headrace.runner.events import audit_event, decision_event, feedback_event, policy_event
from headrace.runner.faults import Fault
from headrace.runner.log import DecisionLog
from headrace.runner.targets import Reply
from headrace.runner.walk import Walk
from headrace.serving import Decider

__all__ = ["Grade", "Recording"]

#: What a grader is: a function of the query, as it was given, and of a reply; None where it can't tell.
Grade = Callable[[Any, Reply], float | None]

logger: logging.Logger = logging.getLogger("headrace")


class Recording:
    """Writes what a runner does; a log that can't be written ends no query.

    Parameters
    ----------
    log : DecisionLog or None
    audit : float
        Share of the queries on which all models run after the answer.
    explore : float
        Share of the queries that are decided at a random point of the budget path.
    grade : callable, optional
        Says how good an audited answer is.

    Raises
    ------
    TypeError, ValueError
        No share from 0 to 1; audits or exploration without a log.
    """

    def __init__(self, log: DecisionLog | None, *, audit: float, explore: float, grade: Grade | None) -> None:
        for name, share in (("audit", audit), ("explore", explore)):
            if not 0.0 <= checked_number(name, share) <= 1.0:
                raise ValueError(f"{name}: expected a share of the queries, from 0 to 1, got {share}")
            if share and log is None:
                raise ValueError(f"{name}: expected a log that keeps what comes of it, got none")
        self._log = log
        self._audit, self._explore, self._grade = audit, explore, grade
        self._known: Counterfactuals | None = None

    def decides(self, decider: Decider) -> None:
        """Take in which decider decides from now on."""
        if self._log is None:
            return
        self._known = Counterfactuals(decider)
        self._append(policy_event(self._known))

    def watcher(self, id: str) -> Watcher | None:
        """Say where a query is decided, where exploration is on."""
        return self._known.watch(id, self._explore) if self._known is not None and self._explore else None

    def audits(self, walk: Walk) -> bool:
        """Tell whether all models are to run on a query that has been answered."""
        known = self._known is not None and self._known.decider.fingerprint == walk.policy
        return known and bool(self._audit) and bool(walk.replies) and is_audited(walk.session.id, self._audit)

    def decided(self, walk: Walk, *, seconds: float, audited: bool) -> None:
        """Write down a query that has ended."""
        if self._log is None:
            return
        steps = [
            {
                "model": one.model,
                "kind": one.kind,
                "expected": one.expected_cost,
                "quality": one.expected_quality,
                "cost": next(iter(one.cost.values())),
                "plan": one.plan,
                "seconds": round(one.seconds, 6),
            }
            for one in walk.attempts
        ]
        self._append(
            decision_event(
                walk.session,
                policy=walk.policy,
                steps=steps,
                stopped=walk.stopped,
                seconds=round(seconds, 6),
                watcher=walk.watcher,
                audited=audited,
            )
        )

    async def audited(
        self, walk: Walk, query: Any, outcomes: Mapping[str, Reply | Fault], start: Mapping[str, Any]
    ) -> None:
        """Write down what all models returned on a query, and what every budget would have done with it.

        Parameters
        ----------
        walk : Walk
        query : object
            The query, as it was given.
        outcomes : mapping of str to Reply or Fault
            What came of each model.
        start : mapping
            What `Decider.start` got.
        """
        known = self._known
        if known is None or known.decider.fingerprint != walk.policy:
            return  # another decider has taken over meanwhile
        runs = {name: _ran(outcome) for name, outcome in outcomes.items()}
        replays = await asyncio.to_thread(known.replays, runs=runs, **start)
        replies = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Reply)}
        quality = {}
        if self._grade is not None:
            graded = {name: await asyncio.to_thread(self._grade, query, reply) for name, reply in replies.items()}
            quality = {name: float(value) for name, value in graded.items() if value is not None}
        self._append(audit_event(walk.session.id, policy=walk.policy, runs=runs, replays=replays, quality=quality))

    def feedback(self, id: str, quality: float, model: str | None) -> None:
        """Write down how good an answer was.

        Raises
        ------
        ValueError
            There is no log.
        """
        if self._log is None:
            raise ValueError("feedback: this runner has no log that could keep it")
        self._log.append(feedback_event(id, quality, model=model))

    def _append(self, event: Mapping[str, Any]) -> None:
        if self._log is None:
            return
        try:
            self._log.append(event)
        except OSError as error:
            logger.error("the decision log can't be written: %s", error.strerror)


def _ran(outcome: Reply | Fault) -> Ran:
    """Give what came of a model as a session is told it."""
    if isinstance(outcome, Fault):
        return Ran(outcome.kind, None, outcome.cost)
    return Ran("ok", {**outcome.columns, "answer": outcome.answer}, outcome.cost)
