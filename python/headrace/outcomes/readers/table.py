"""The table that readers make: the arguments of `Outcomes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from headrace.arguments import Column, FloatArray

#: Before the name of a cost in our wide layout, where the name isn't "cost": "<model>|cost:usd".
COST_PREFIX = "cost:"


class Table(TypedDict):
    """The arguments of `Outcomes`."""

    models: Sequence[str]
    quality: FloatArray
    cost: Mapping[str, FloatArray]
    ids: Sequence[str | int] | None
    queries: Mapping[str, Column]
    responses: Mapping[str, Column]
    groups: Column | None


def with_observed_quality(table: Table) -> Table:
    """Make quality a response column too: what has run shows it."""
    return {**table, "responses": {**table["responses"], "quality": table["quality"]}}
