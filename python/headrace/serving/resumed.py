"""Sessions that outlive their process: what a store keeps of one, as JSON knows it.

`Session` and `Decider` call these functions, which know both from inside, and so don't import them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from headrace.arguments import listed
from headrace.json_values import MOST_LEVELS, nests_deeper, plain
from headrace.serving.columns import checked_cost

__all__ = ["KIND", "kept", "resumed"]

#: What says that a dict is a session's.
KIND = "headrace-session-1"

#: What is kept beside it.
KEPT: Mapping[str, type[Any]] = {
    "id": str,
    "models": list,
    "query": Mapping,
    "options": Mapping,
    "runs": list,
    "failed": Mapping,
    "costs": Mapping,
    "notes": list,
}

#: What is kept of a run.
RUN: Mapping[str, type[Any]] = {"model": str, "response": object, "costs": Mapping, "column_cost": Mapping}

#: Most levels of a response: it is on the fourth one of the state.
RESPONSE_LEVELS = MOST_LEVELS - 3

#: What `Decider.start` takes beside the query.
OPTIONS = ("allowed", "deny", "max_cost", "switching_cost", "prices")


def kept(session: Any) -> dict[str, Any]:
    """Give what `resumed` needs; see `Session.to_dict`.

    Raises
    ------
    TypeError
        A response that JSON can't hold.
    """
    runs = [
        {
            "model": model,
            "response": _json(f"response of {model!r}", _shallow(model, response)),
            "costs": costs,
            "column_cost": bought,
        }
        for model, (response, costs, bought) in zip(session.run, session._ran.values(), strict=True)
    ]
    return {
        "kind": KIND,
        "id": session.id,
        "models": list(session._models),
        "query": {name: plain(cell) for name, cell in session._query.cells.items()},
        "options": plain(session._limits.options, infinity="inf"),
        "runs": runs,
        "failed": dict(session.failed),
        "costs": dict(session.costs),
        "notes": list(session._notes),
    }


def resumed(decider: Any, state: Mapping[str, Any]) -> Any:
    """Make the session that `kept` told of; see `Decider.resume`."""
    # Messages below show parts, and so go down to their last level.
    for name, part in state.items() if isinstance(state, Mapping) else ():
        if nests_deeper(part, MOST_LEVELS - 1):
            most = MOST_LEVELS - 1
            raise ValueError(f"state: {name!r:.40}: expected at most {most} levels of lists and objects, got more")
    if not isinstance(state, Mapping) or state.get("kind") != KIND:
        raise ValueError(f"state: expected what Session.to_dict gave (kind {KIND!r}), got {type(state).__name__}")
    _require("state", state, KEPT)
    if state["models"] != list(decider.models):
        raise ValueError(f"state: it is of a session over {listed(state['models'])}; this decider has {decider.models}")
    options = {name: _options(state["options"].get(name)) for name in OPTIONS if name in state["options"]}
    session = decider.start(state["query"], id=state["id"], **options, strict=False)
    for run in state["runs"]:
        _require("state: a run", run, RUN)
        session.observe(
            run["model"], run["response"], cost=run["costs"], column_cost=run["column_cost"], extra="ignore"
        )
    if state["costs"].keys() != session.costs.keys():
        raise ValueError(f"state: expected costs {listed(session.costs)}, got {listed(state['costs'])}")
    session.costs = {name: checked_cost(f"state: cost {name!r}", value) for name, value in state["costs"].items()}
    for model, how in state["failed"].items():
        if model not in decider.models or model in session.run or not isinstance(how, str):
            raise ValueError(
                f"state: failed: expected models that haven't run, and how they failed; got {model!r}: {how!r}"
            )
    session.failed = dict(state["failed"])
    session._notes = [str(note) for note in state["notes"]]
    return session


def _require(label: str, given: Any, kinds: Mapping[str, type[Any]]) -> None:
    """Refuse what has not the parts that `kept` gives, or parts of other types."""
    lacking = [name for name in kinds if name not in given] if isinstance(given, Mapping) else list(kinds)
    if lacking:
        raise ValueError(f"{label}: expected what Session.to_dict gave, lacks {listed(lacking)}")
    for name, kind in kinds.items():
        if not isinstance(given[name], kind):
            raise ValueError(f"{label}: {name}: expected {kind.__name__}, got {type(given[name]).__name__}")


def _options(value: Any) -> Any:
    if value == "inf":
        return math.inf
    return {name: _options(item) for name, item in value.items()} if isinstance(value, Mapping) else value


def _shallow(model: str, response: Any) -> Any:
    """Pass a response on, if `resumed` takes as many levels."""
    if nests_deeper(response, RESPONSE_LEVELS):
        wanted = f"at most {RESPONSE_LEVELS} levels of lists and objects"
        raise TypeError(f"response of {model!r}: expected {wanted}, got more")
    return response


def _json(label: str, value: Any) -> Any:
    """Give a value as JSON knows it, or say that it can't be kept."""
    made = plain(value)
    if isinstance(made, Mapping):
        return {name: _json(f"{label}: {name!r}", item) for name, item in made.items()}
    if isinstance(made, list):
        return [_json(label, item) for item in made]
    if made is None or isinstance(made, str | bool | int | float):
        return made
    raise TypeError(f"{label}: expected what JSON can hold, got {type(made).__name__}")
