"""What the readers of a decision log rely on in its events: a log may come from anyone, and be changed on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from headrace.arguments import LARGEST

__all__ = ["checked_event", "checked_of_policy"]


class _Shape(NamedTuple):
    """Whether a value is one of its kind, and what is told where it isn't."""

    fits: Callable[[Any], bool]
    wanted: str


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return _is_list(value, _is_text)


def _is_number(value: Any) -> bool:
    """Whether it may be calculated with; NaN may, as JSON of other programs has it."""
    return isinstance(value, int | float) and not abs(value) > LARGEST


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0.0 <= value <= 1.0


def _is_list(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, list | tuple) and all(map(fits, value))


def _is_place(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_run(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("kind"), str) and "cost" in value


def _is_point(value: Any) -> bool:
    """Whether it is a point of the path: its parameter, which JSON may know as "inf", its cost and its quality."""
    return _is_list(value, lambda part: part in ("inf", math.inf) or _is_number(part)) and len(value) == 3


def _is_replay(value: Any) -> bool:
    """Whether it is a stretch of the grid: its first point, the models run, the answer's model, and what was spent."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        return False
    point, run, answer, spent = value
    return _is_place(point) and _are_texts(run) and (answer is None or _is_text(answer)) and _is_list(spent, _is_number)


def _are_replays(value: Any) -> bool:
    if not _is_list(value, _is_replay):
        return False
    points = [replay[0] for replay in value]
    return points[:1] == [0] and all(a < b for a, b in pairwise(points))


def _is_watched(value: Any) -> bool:
    """Whether it is null, or what `headrace.runner.counterfactuals.Watcher` keeps."""
    if value is None:
        return True
    return (
        isinstance(value, Mapping)
        and _is_share(value.get("rate"))
        and _is_place(value.get("own"))
        and (value.get("point") is None or _is_place(value["point"]))
        and _is_list(value.get("agree"), _is_place)
        and _is_list(value.get("believed"), lambda plan: _is_list(plan, NUMBER.fits) and len(plan) == 2)
    )


TEXT = _Shape(_is_text, "a text")
TEXTS = _Shape(_are_texts, "a list of texts")
NAME = _Shape(lambda value: value is None or _is_text(value), "a text or null")
POINTS = _Shape(lambda value: _is_list(value, _is_point) and len(value) > 0, "a list of three numbers each")
NUMBER = _Shape(lambda value: value is None or _is_number(value), f"a number up to {LARGEST:g}")
NUMBERS = _Shape(
    lambda value: isinstance(value, Mapping) and all(NUMBER.fits(item) for item in value.values()),
    "an object of numbers",
)
STEPS = _Shape(
    lambda value: _is_list(value, lambda step: _is_run(step) and _is_text(step.get("model"))),
    "a list of objects with model, kind and cost",
)
RUNS = _Shape(
    lambda value: isinstance(value, Mapping) and all(map(_is_run, value.values())),
    "objects with kind and cost by model",
)
REPLAYS = _Shape(
    _are_replays, "a list of stretches of the grid from 0 on: first point, models run, the answer's model, costs spent"
)
WATCHED = _Shape(_is_watched, "null, or an object with rate, own, point, agree and believed")

#: By event, what each must hold.
SHAPES: Mapping[str, Mapping[str, _Shape]] = {
    "policy": {"policy": TEXT, "models": TEXTS, "costs": TEXTS, "grid": POINTS},
    "decision": {"id": TEXT, "model": NAME, "steps": STEPS},
    "audit": {"id": TEXT, "models": RUNS, "quality": NUMBERS},
    "feedback": {"id": TEXT, "quality": NUMBER},
}

#: What may lack: only estimates from a log look at it, or not all of its readers.
OPTIONAL: Mapping[str, Mapping[str, _Shape]] = {
    "decision": {"policy": TEXT, "cost": NUMBERS, "explored": WATCHED},
    "audit": {"policy": TEXT, "replays": REPLAYS},
    "feedback": {"model": NAME},
}


def checked_event(event: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """Give an event, if it holds what its kind must (`headrace.runner.events`); other kinds pass.

    Parameters
    ----------
    event : mapping
        As JSON gives it, or as it was before it was written.
    source : str
        For messages.

    Raises
    ------
    ValueError
        It doesn't; the message names the kind, the key and what was wanted.

    Examples
    --------
    >>> from headrace.runner.event_shapes import checked_event
    >>> checked_event({"event": "feedback", "id": "q-17"}, "log")
    Traceback (most recent call last):
        ...
    ValueError: log: a feedback event of 'q-17': expected 'quality' to be a number up to 1e+150, but there is none
    """
    needed, optional = (shapes.get(event["event"], {}) for shapes in (SHAPES, OPTIONAL))
    for name, shape in {**needed, **optional}.items():
        if name not in event and name in optional:
            continue
        if name not in event or not shape.fits(event[name]):
            raise _misshapen(event, source, name, shape)
    return event


def checked_of_policy(event: Mapping[str, Any], source: str, costs: Sequence[str], n_points: int) -> Mapping[str, Any]:
    """Give an event that passes `checked_event`, if estimates of other budgets can be made of it.

    Parameters
    ----------
    event : mapping
        A decision, or an audit.
    source : str
        For messages.
    costs : sequence of str
        Of its policy.
    n_points : int
        Points of the policy's grid.

    Raises
    ------
    ValueError
        An audit without replays, or with some that aren't of this policy; a decision with exploration whose costs or
        points aren't.

    Examples
    --------
    >>> from headrace.runner.event_shapes import checked_of_policy
    >>> audit = {"event": "audit", "id": "q-17", "models": {}, "quality": {}}
    >>> checked_of_policy({**audit, "replays": [[0, [], None, [0.0]]]}, "log", ["usd"], 2)["id"]
    'q-17'
    """
    if event["event"] == "audit":
        answered = {model for model, run in event["models"].items() if run["kind"] == "ok"}
        if not (replays := event.get("replays")) or replays[-1][0] >= n_points:
            raise _misshapen(event, source, "replays", REPLAYS)
        for _, _, answer, spent in replays:
            if len(spent) != len(costs) or not (answer is None or answer in answered):
                raise _misshapen(event, source, "replays", REPLAYS)
    elif event.get("explored") and event["model"] is not None:
        known = event["explored"]
        if event.get("cost", {}).get(costs[0]) is None:
            raise _misshapen(event, source, "cost", NUMBERS)
        if len(known["believed"]) != n_points or max([known["own"], *known["agree"]]) >= n_points:
            raise _misshapen(event, source, "explored", WATCHED)
    return event


def _misshapen(event: Mapping[str, Any], source: str, name: str, shape: _Shape) -> ValueError:
    """Make the error that names an event, its key, what was wanted and what came."""
    kind = event["event"]
    whose = f" of {event['id']!r:.40}" if _is_text(event.get("id")) else ""
    came = f"got {event[name]!r:.40}" if name in event else "but there is none"
    article = "an" if kind[:1] in "aeiou" else "a"
    return ValueError(f"{source}: {article} {kind} event{whose}: expected {name!r} to be {shape.wanted}, {came}")
