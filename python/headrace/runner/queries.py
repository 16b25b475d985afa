"""What a runner is asked: a text, columns or a conversation, and on what terms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

from headrace.runner.targets import Message

__all__ = ["Asked", "Query", "Terms", "asked_of", "text_of", "with_deadline"]

#: A query: its text, its columns, or a conversation in OpenAI's format.
Query: TypeAlias = str | Mapping[str, Any] | Sequence[Message]


class Terms(TypedDict, total=False):
    """On what terms a query is answered; see `Runner.arun`."""

    id: str
    account: str
    columns: Mapping[str, Any]
    options: Mapping[str, Any]
    allowed: Sequence[str]
    deny: Sequence[str]
    requires: Collection[str]
    max_cost: float | Mapping[str, float]
    deadline_s: float
    switching_cost: Mapping[str, float]
    prices: Mapping[str, float]
    strict: bool


@dataclass(frozen=True)
class Asked:
    """A query, as the decider and as the targets see it.

    Attributes
    ----------
    columns : mapping of str to value
        For the decider.
    given : str or mapping of str to value
        For functions.
    messages : tuple of mapping
        For servers.
    options : mapping of str to value
        What else servers get.
    """

    columns: Mapping[str, Any]
    given: str | Mapping[str, Any]
    messages: tuple[Message, ...]
    options: Mapping[str, Any]


def asked_of(
    query: Query, columns: Mapping[str, Any] | None, options: Mapping[str, Any] | None, known: Collection[str]
) -> Asked:
    """Make of a query what the decider and the targets see.

    Parameters
    ----------
    query : str, mapping or sequence of messages
    columns : mapping of str to value, optional
        Further columns.
    options : mapping of str to value, optional
        What else servers get.
    known : collection of str
        Columns of the fit. The text of a conversation is a column only where the fit had one.

    Raises
    ------
    TypeError, ValueError
        Something else; a conversation without a message.

    Examples
    --------
    >>> from headrace.runner.queries import asked_of
    >>> asked_of([{"role": "user", "content": "Why?"}], {"task": "talk"}, None, {"text", "task"}).columns
    {'text': 'Why?', 'task': 'talk'}
    >>> asked_of("Why?", None, None, {"text"}).messages
    ({'role': 'user', 'content': 'Why?'},)
    """
    for name, given in (("columns", columns), ("options", options)):
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"{name}: expected a mapping of names to values, got {type(given).__name__}")
    further, called = dict(columns or {}), dict(options or {})
    if isinstance(query, str):
        return Asked({"text": query, **further}, query, _user(query), called)
    if isinstance(query, Mapping):
        text = query.get("text")
        return Asked({**query, **further}, query, _user(text) if isinstance(text, str) else (), called)
    if not isinstance(query, Sequence) or not all(isinstance(message, Mapping) for message in query):
        raise TypeError(f"query: expected a text, columns or messages, got {type(query).__name__}")
    if not query:
        raise ValueError("query: expected at least one message, got none")
    messages = tuple(message for message in query if isinstance(message, Mapping))
    text = text_of(messages[-1])
    return Asked({**({"text": text} if "text" in known else {}), **further}, text, messages, called)


def text_of(message: Message) -> str:
    """Give the text of a message: its content, or the parts of it that are text.

    Examples
    --------
    >>> from headrace.runner.queries import text_of
    >>> text_of({"role": "user", "content": [{"type": "text", "text": "Why"}, {"type": "image_url"}]})
    'Why'
    """
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else ()
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def with_deadline(
    max_cost: float | Mapping[str, float] | None, deadline_s: float, costs: Sequence[str]
) -> float | Mapping[str, float] | None:
    """Make the deadline a cap as well, where seconds are one of the costs that the plan knows."""
    if "seconds" not in costs:
        return max_cost
    caps = dict(max_cost) if isinstance(max_cost, Mapping) else {} if max_cost is None else {costs[0]: max_cost}
    return {"seconds": deadline_s, **caps}


def _user(text: str) -> tuple[Message, ...]:
    return ({"role": "user", "content": text},)
