"""What came of one query: the answer, what it cost, and every call that was made for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.errors import NoModelLeft
from headrace.notebook import html_table
from headrace.policy.explanation import Explanation
from headrace.runner.targets import Reply
from headrace.serving.session import Session

__all__ = ["Attempt", "Delta", "Exhausted", "Result"]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One call of a model.

    Attributes
    ----------
    model : str
    kind : str
        "ok", a kind of fault (`faults.KINDS`), or "breaker": not called, since its breaker is open; "account":
        not called, since what is left of the account doesn't cover it.
    cost : dict of str to float
        What it cost, of each cost by name; 0 where that isn't known of a call that failed.
    seconds : float
    detail : str
        What is known of a fault, in a few words.
    expected_quality, expected_cost : float
        What was believed before the call; the cost is the first one.
    plan : tuple of str
        The plan that it was a part of.
    """

    model: str
    kind: str
    cost: dict[str, float]
    seconds: float
    detail: str = ""
    expected_quality: float
    expected_cost: float
    plan: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """What came of one query.

    Attributes
    ----------
    id : str
        Id of the query.
    model : str or None
        The model whose answer it is; None where there is no answer.
    answer : object
        The answer; None where there is none.
    reply : Reply or None
        All that the model returned.
    costs : dict of str to float
        Cost of all calls together, of each cost by name.
    seconds : float
        From the start to the answer.
    attempts : tuple of Attempt
        Every call, in the order in which they ended.
    stopped : {"plan", "deadline", "exhausted", "error", "shadow", "cancelled"}
        Why there was no further call: the plan wanted none; the deadline came; no model was left; an estimate failed; a
        fixed model served, and the decision was logged only; or nobody waited any more, which only observers see.
    policy : str
        Fingerprint of the decider that decided.
    left : float or None
        What is left of the account; None without one.
    """

    id: str
    model: str | None
    answer: Any = None
    reply: Reply | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    seconds: float
    attempts: tuple[Attempt, ...]
    stopped: str
    policy: str
    session: Session
    left: float | None = None

    @property
    def cost(self) -> float:
        """Cost of all calls together; of several costs, the first."""
        return next(iter(self.costs.values()))

    @property
    def run(self) -> tuple[str, ...]:
        """Models that gave an answer, in their order."""
        return tuple(attempt.model for attempt in self.attempts if attempt.kind == "ok")

    def why(self) -> Explanation:
        """Say what is believed of each model after these runs, and what would be decided now."""
        return self.session.why()

    def __repr__(self) -> str:
        calls = " > ".join(a.model + ("" if a.kind == "ok" else f" ({a.kind})") for a in self.attempts) or "no call"
        spent = ", ".join(f"{name} {value:.4g}" for name, value in self.costs.items())
        return f"Result({self.id!r}: {calls}; answer of {self.model}; {spent}; {self.seconds:.3g} s; {self.stopped})"

    def _repr_html_(self) -> str:
        rows = [
            (a.model, a.kind, ", ".join(f"{value:.4g}" for value in a.cost.values()), f"{a.seconds:.3g}")
            for a in self.attempts
        ]
        return html_table(repr(self), rows, ("model", "", "cost", "seconds"))


class Delta(dict[str, Any]):
    """A piece of an answer, as a choice's ``delta`` in OpenAI's format, that knows whose answer it is.

    Parameters
    ----------
    delta : mapping
    id : str
        Id of the query.
    model : str
    policy : str
        Fingerprint of the decider that decided.

    Examples
    --------
    >>> from headrace.runner import Delta
    >>> piece = Delta({"content": "4"}, id="q-17", model="small", policy="")
    >>> piece == {"content": "4"}, piece.model
    (True, 'small')
    """

    def __init__(self, delta: Mapping[str, Any], *, id: str, model: str, policy: str) -> None:
        super().__init__(delta)
        self.id: str = id
        self.model: str = model
        self.policy: str = policy


class Exhausted(NoModelLeft):
    """No model gave an answer.

    Parameters
    ----------
    result : Result
        What was tried.
    """

    def __init__(self, result: Result) -> None:
        tried = ", ".join(f"{a.model}: {a.kind}" for a in result.attempts) or "none"
        super().__init__(f"query {result.id!r}: no model gave an answer ({result.stopped}); tried: {tried}")
        self.result = result
