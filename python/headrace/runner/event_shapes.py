"""What the readers of a decision log rely on in its events: a log may come from anyone, and be changed on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["checked_event"]


class _Shape(NamedTuple):
    """Whether a value is one of its kind, and what is told where it isn't."""

    fits: Callable[[Any], bool]
    wanted: str


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_run(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("kind"), str) and "cost" in value


def _is_point(value: Any) -> bool:
    """Whether it is a point of the path: its parameter, which JSON may know as "inf", its cost and its quality."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(isinstance(part, int | float) or part == "inf" for part in value)
    )


TEXT = _Shape(_is_text, "a text")
TEXTS = _Shape(_are_texts, "a list of texts")
NAME = _Shape(lambda value: value is None or _is_text(value), "a text or null")
POINTS = _Shape(
    lambda value: isinstance(value, list | tuple) and all(map(_is_point, value)), "a list of three numbers each"
)
NUMBER = _Shape(lambda value: value is None or isinstance(value, int | float), "a number")
NUMBERS = _Shape(
    lambda value: isinstance(value, Mapping) and all(NUMBER.fits(item) for item in value.values()),
    "an object of numbers",
)
STEPS = _Shape(
    lambda value: (
        isinstance(value, list | tuple) and all(_is_run(step) and _is_text(step.get("model")) for step in value)
    ),
    "a list of objects with model, kind and cost",
)
RUNS = _Shape(
    lambda value: isinstance(value, Mapping) and all(map(_is_run, value.values())),
    "objects with kind and cost by model",
)

#: By event, what each must hold; of a feedback, also "model", which may lack.
SHAPES: Mapping[str, Mapping[str, _Shape]] = {
    "policy": {"policy": TEXT, "models": TEXTS, "costs": TEXTS, "grid": POINTS},
    "decision": {"id": TEXT, "model": NAME, "steps": STEPS},
    "audit": {"id": TEXT, "models": RUNS, "quality": NUMBERS},
    "feedback": {"id": TEXT, "quality": NUMBER},
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
    ValueError: log: a feedback event: expected 'quality' to be a number, but there is none
    """
    kind = event["event"]
    for name, shape in SHAPES.get(kind, {}).items():
        if name not in event:
            raise ValueError(f"{source}: a {kind} event: expected {name!r} to be {shape.wanted}, but there is none")
        if not shape.fits(event[name]):
            raise ValueError(
                f"{source}: a {kind} event: expected {name!r} to be {shape.wanted}, got {event[name]!r:.40}"
            )
    if kind == "feedback" and not NAME.fits(event.get("model")):
        raise ValueError(
            f"{source}: a feedback event: expected 'model' to be {NAME.wanted}, got {event['model']!r:.40}"
        )
    return event
