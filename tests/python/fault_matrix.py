"""The fault matrix: what each fault of the fake provider becomes, whichever way a runner is reached."""

from __future__ import annotations

import headrace as hr

#: Fault of the server, the kind that it becomes, and how often the model is called for one query.
MATRIX = [
    ("429 after=0.01", "rate_limited", 2),
    ("429 after=600", "rate_limited", 1),
    ("500", "server", 2),
    ("503", "overloaded", 2),
    ("529", "overloaded", 2),
    ("cut", "connection", 2),
    ("hang", "timeout", 1),
    ("bad_json", "malformed", 2),
    ("no_choices", "malformed", 2),
    ("empty", "malformed", 2),
    ("big", "malformed", 2),
    ("400", "bad_request", 1),
    ("401", "auth", 1),
    ("context", "context", 1),
    ("filter", "filtered", 1),
    ("filter_400", "filtered", 1),
]

#: Their names as tests.
NAMES = [fault.replace(" ", "-") for fault, _, _ in MATRIX]


def small_first(decider: hr.Decider, prefix: str, fault: str) -> tuple[str, str]:
    """Give the id and the text of a query whose walk begins with the small model, which has that fault."""
    for number in range(100):
        id = f"{prefix}-{number}"
        text = f"17 + 25 [id {id}] [fault small={fault}]"
        if decider.start({"text": text, "difficulty": 0.1}, id=id).next() == "small":
            return id, text
    raise AssertionError("the small model is never the first")
