"""The events of the decision log: what each of them holds. None holds a text of a query or of an answer.

=========  ===========================================================================================================
Event      It holds
=========  ===========================================================================================================
policy     fingerprint, models, costs, rule, budget or quality target, and the grid: parameter, mean cost and quality
decision   id, policy, hash of the query's columns, pool; of each step the model, how it went, cost and quality as
           expected, cost, plan and seconds; the answer's model, costs, why it stopped, seconds, exploration
audit      id, policy; how each model's run went, and its cost; the walk at every point of the grid; qualities
feedback   id, quality, and whose answer it is
=========  ===========================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.policy.hashing import content_id
from headrace.runner.counterfactuals import Counterfactuals, Ran, Replay, Watcher
from headrace.serving import Session

__all__ = ["audit_event", "decision_event", "feedback_event", "policy_event"]


def policy_event(counterfactuals: Counterfactuals) -> dict[str, Any]:
    """Make the event that says what a fingerprint stands for; to be appended before any other event of the decider."""
    decider = counterfactuals.decider
    return {
        "event": "policy",
        "policy": decider.fingerprint,
        "models": decider.models,
        "costs": decider.policy.costs,
        "rule": decider.policy.rule,
        "budget": decider.budget,
        "quality_target": decider.quality_target,
        "grid": [list(point) for point in counterfactuals.grid],
    }


def decision_event(
    session: Session,
    *,
    policy: str,
    steps: Sequence[Mapping[str, Any]],
    stopped: str,
    seconds: float,
    watcher: Watcher | None = None,
    audited: bool = False,
) -> dict[str, Any]:
    """Make the event of a decision that has ended.

    Parameters
    ----------
    session : Session
    policy : str
        Fingerprint of the decider that is served, whether or not the query was decided at another point of its grid.
    steps : sequence of mapping
        Of each call "model", "kind" ("ok", or that of the fault), "expected" (its cost by estimate), "quality" (as
        believed before), "cost", "plan" and "seconds".
    stopped : str
        Why it ended, e.g. "plan" or "deadline".
    seconds : float
        From the query to the answer.
    watcher : Watcher, optional
        Where exploration is on.
    audited : bool
        Whether an audit follows.
    """
    return {
        "event": "decision",
        "id": session.id,
        "policy": policy,
        "query": content_id(session._query.cells),
        "pool": [session._models[j] for j in session._limits.allowed],
        "steps": [dict(step) for step in steps],
        "model": session.model if session.run else None,
        "cost": session.costs,
        "stopped": stopped,
        "seconds": seconds,
        "explored": None if watcher is None else watcher.to_dict(),
        "audited": audited,
    }


def audit_event(
    id: str,
    *,
    policy: str,
    runs: Mapping[str, Ran],
    replays: Sequence[Replay],
    quality: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Make the event of an audit.

    Parameters
    ----------
    id, policy : str
        As in the decision's event.
    runs : mapping of str to Ran
        What came of each model; responses aren't kept.
    replays : sequence of Replay
        As `Counterfactuals.replays` gives them.
    quality : mapping of str to float, optional
        What a grader makes of each answer; it can come later, as feedback.
    """
    return {
        "event": "audit",
        "id": id,
        "policy": policy,
        "models": {model: {"kind": ran.kind, "cost": ran.cost} for model, ran in runs.items()},
        "replays": [list(replay) for replay in replays],
        "quality": dict(quality or {}),
    }


def feedback_event(id: str, quality: float, *, model: str | None = None) -> dict[str, Any]:
    """Make the event of a label: how good an answer was; by default the decision's.

    Examples
    --------
    >>> from headrace.runner.events import feedback_event
    >>> feedback_event("q-17", True)
    {'event': 'feedback', 'id': 'q-17', 'quality': 1.0, 'model': None}
    """
    return {"event": "feedback", "id": id, "quality": float(quality), "model": model}
