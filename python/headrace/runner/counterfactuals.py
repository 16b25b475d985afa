"""What other budgets would have done with a query: the decision log holds it, and so needs no text.

A grid of points of the budget path stands for all budgets: between two neighbours a policy mixes per query, so that
its means are those of the two, mixed. Two ways lead to the means at the points:

- *Audits.* On a share of queries all models run, and the walk is replayed at every point. Right for every budget.
- *Exploration*, where it is asked for: at a stated rate, a query is decided at a random point. A `Watcher` notes which
  points would have decided alike all along, so that the probability of the walk is known for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from headrace.errors import CapTooSmall, NoModelLeft
from headrace.policy.hashing import share_of
from headrace.rules import Decision, Rule, make_rule
from headrace.serving import Decider, Session

__all__ = ["Counterfactuals", "GridPoint", "Ran", "Replay", "Watcher", "is_audited"]

#: Points along the path; the policy's own come on top. Mixing neighbours of 24 takes .001 of quality on average.
N_POINTS = 24

#: Before an id where it is hashed: independent of what mixes rules, and of the folds.
AUDIT, EXPLORE, POINT = "audit of ", "explore ", "point of "

#: First point of a stretch of the grid on which walks are equal; models run, the answer's model, each cost.
Replay: TypeAlias = tuple[int, list[str], str | None, list[float]]


class GridPoint(NamedTuple):
    """A point of the budget path.

    Attributes
    ----------
    parameter : float
        The cost weight; for a threshold cascade, minus the threshold.
    cost, quality : float
        Means per query that the path expects there.
    """

    parameter: float
    cost: float
    quality: float


class Ran(NamedTuple):
    """What came of one model, as a session was told.

    Attributes
    ----------
    kind : str
        "ok", or the kind of fault.
    response : mapping of str to value or None
        The columns that `Session.observe` gets; None for a fault.
    cost : float or mapping of str to float or None
        As in `Session.observe`, or in `Session.fail`.
    """

    kind: str
    response: Mapping[str, Any] | None
    cost: float | Mapping[str, float] | None


def is_audited(id: str, share: float) -> bool:
    """Tell whether a query is audited: a hash of its id says so, the same everywhere.

    Examples
    --------
    >>> from headrace.runner.counterfactuals import is_audited
    >>> sum(is_audited(f"q-{i}", 0.25) for i in range(1000))
    248
    """
    return share_of(0, AUDIT + id) < share


class Counterfactuals:
    """What a decider would do at each point of its grid; made once for a decider.

    Parameters
    ----------
    decider : Decider

    Attributes
    ----------
    decider : Decider
    grid : tuple of GridPoint
        From the most expensive point to the cheapest, by rising parameter: evenly in the logarithm of the cost, and the
        points of the policy itself.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.datasets import NoisyOracle, simulate
    >>> from headrace.runner.counterfactuals import Counterfactuals
    >>> decider = hr.Router(quality=NoisyOracle()).fit(simulate(300, 3), budget=0.003).decider_
    >>> counterfactuals = Counterfactuals(decider)
    >>> set(decider.policy.parameters) <= {point.parameter for point in counterfactuals.grid}
    True
    >>> costs = [point.cost for point in counterfactuals.grid]
    >>> bool(costs[0] == decider.path.cost.max()), bool(costs[-1] == decider.path.cost.min())
    (True, True)
    """

    def __init__(self, decider: Decider) -> None:
        self.decider: Decider = decider
        self.grid: tuple[GridPoint, ...] = _grid_of(decider)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rule at each point."""
        policy = self.decider.policy
        return tuple(make_rule(policy.rule, point.parameter, policy.settings) for point in self.grid)

    def own_point(self, id: str) -> int:
        """Give the point at which the policy itself decides a query."""
        policy = self.decider.policy
        cheap = policy.rules[0] is policy.rule_for(id)
        parameters = [point.parameter for point in self.grid]
        return parameters.index(policy.parameters[0 if cheap else 1])

    def at(self, point: int) -> Decider:
        """Give the decider that decides every query at a point."""
        parameter = self.grid[point].parameter
        policy = replace(self.decider.policy, parameters=(parameter, parameter), share=1.0)
        return replace(self.decider, policy=policy, promised=None)

    def replays(self, query: Mapping[str, Any] | str, runs: Mapping[str, Ran], **start: Any) -> list[Replay]:
        """Replay the walk at every point of the grid, with all responses at hand.

        Parameters
        ----------
        query : mapping of str to value, or str
        runs : mapping of str to Ran
            What came of each model.
        **start
            What `Decider.start` got beside the query: ``id=``, ``allowed=``, ...

        Returns
        -------
        list of (int, list of str, str or None, list of float)
            For each stretch of the grid on which walks are equal: its first point, the models run in their order, the
            model of the answer (None if there is none), and what was spent of each cost.
        """
        states: dict[frozenset[str], tuple[Session, list[int | None] | None]] = {}

        def state(done: Sequence[str]) -> tuple[Session, list[int | None] | None]:
            """Give the session after some runs, and what each point decides; None where the walk can't go on."""
            key = frozenset(done)
            if key not in states:
                session = self.decider.start(query, **start)
                for model in done:
                    _tell(session, model, runs[model])
                try:
                    states[key] = session, [one.next for one in decisions_of(session, self.rules)]
                except (NoModelLeft, CapTooSmall):
                    states[key] = session, None
            return states[key]

        replays: list[Replay] = []
        for point in range(len(self.grid)):
            done: list[str] = []
            while (chosen := state(done)[1]) is not None and (j := chosen[point]) is not None:
                done.append(self.decider.models[j])
            session, answered = state(done)[0], [model for model in done if runs[model].kind == "ok"]
            answer = None
            if answered:
                answer = answered[-1] if self.decider.answer == "last" else session.model
            walk = (done, answer, list(session.costs.values()))
            if not replays or replays[-1][1:] != walk:
                replays.append((point, *walk))
        return replays

    def watch(self, id: str, rate: float) -> Watcher:
        """Say where a query is decided while a share `rate` of queries explores, and watch its walk.

        Parameters
        ----------
        id : str
            A hash of it draws; the same id gets the same treatment.
        rate : float
            Share of queries that are decided at a random point.

        Returns
        -------
        Watcher
            Its `decider` is the one to start the session from.
        """
        seed, own = self.decider.policy.seed, self.own_point(id)
        point = int(share_of(seed, POINT + id) * len(self.grid)) if share_of(seed, EXPLORE + id) < rate else None
        return Watcher(self, rate, own, point)


class Watcher:
    """Notes which points of the grid would have decided as a session does, at every decision of it.

    Made by `Counterfactuals.watch`. Tell it of every decision, by `saw`, right after `Session.next` returned.

    Attributes
    ----------
    decider : Decider
        Whose session is to be watched.
    """

    def __init__(self, counterfactuals: Counterfactuals, rate: float, own: int, point: int | None) -> None:
        self.decider: Decider = counterfactuals.decider if point is None else counterfactuals.at(point)
        self._rules = counterfactuals.rules
        self._drawn = {"rate": rate, "own": own, "point": point}
        self._agree = list(range(len(self._rules)))
        self._believed: list[tuple[float, float]] = []

    def saw(self, session: Session) -> None:
        """Take in a decision, which `session` has just made."""
        made = session.decision
        if made is None:
            raise ValueError("session: expected one whose next() has just returned")
        if not self._agree:
            return
        rules = [self._rules[point] for point in self._agree]
        decisions = dict(zip(self._agree, decisions_of(session, rules), strict=True))
        if not self._believed:
            costs = session.estimates()[1][0]
            self._believed = [
                (float(f"{one.value:.4g}"), float(f"{sum(costs[j] for j in one.plan):.4g}"))
                for one in decisions.values()
            ]
        self._agree = [point for point, one in decisions.items() if one.next == made.next]

    def to_dict(self) -> dict[str, Any]:
        """Give what the log keeps: rate, own point and drawn one, points that agree, (quality, cost) of each plan."""
        return {**self._drawn, "agree": self._agree, "believed": self._believed}


class _Asked:
    """Stands in a session's place of a rule, and asks many."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.decisions: list[Decision] = []

    def select(self, *beliefs: Any, **more: Any) -> Decision:
        self.decisions = [rule.select(*beliefs, **more) for rule in self.rules]
        return self.decisions[0]


def decisions_of(session: Session, rules: Sequence[Rule]) -> list[Decision]:
    """Give what other rules would decide in a session's place; the session stays as it is. Errors as `Session.next`."""
    own, decision, asked = session._rule, session.decision, _Asked(rules)
    try:
        session._rule = asked  # type: ignore[assignment]  # it selects, and that is all that is asked of it
        session.next()
        return asked.decisions
    finally:
        session._rule, session.decision = own, decision


def _tell(session: Session, model: str, ran: Ran) -> None:
    if ran.kind == "ok":
        session.observe(model, ran.response, cost=ran.cost, extra="ignore")
    else:
        session.fail(model, kind=ran.kind, cost=0.0 if ran.cost is None else ran.cost)


def _grid_of(decider: Decider) -> tuple[GridPoint, ...]:
    path = decider.path
    least, most = float(path.cost.min()), float(path.cost.max())
    spaced = np.geomspace(least, most, N_POINTS) if least > 0.0 else np.linspace(least, most, N_POINTS)
    limits = [most, *spaced[-2:0:-1].tolist(), least]
    places = {int(np.argmax(path.cost <= limit)) for limit in limits}
    points = {path.inside(place): path.realised(path.inside(place)) for place in sorted(places)}
    points |= {parameter: path.realised(parameter) for parameter in decider.policy.parameters}
    return tuple(
        GridPoint(parameter, points[parameter].cost, points[parameter].quality) for parameter in sorted(points)
    )
