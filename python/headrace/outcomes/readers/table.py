"""How a table is read, and the table that readers make: the arguments of `Outcomes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy.typing as npt

from headrace.arguments import Column, FloatArray
from headrace.outcomes.rows import Rows

#: Before the name of a cost in our wide layout, "<model>|cost:usd". Without such columns "<model>|cost" is the cost.
COST_PREFIX = "cost:"

#: Before the name of a response column that is bought, "<model>|price:judge".
PRICE_PREFIX = "price:"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a table is to be read; see `Outcomes.from_file`.

    Parameters
    ----------
    layout : str, optional
    cost : str or sequence of str, optional
    verified : bool
    labels : Path, optional
    prices : mapping of str to float, optional
    rename : mapping of str to str, optional
    """

    layout: str | None = None
    cost: str | Sequence[str] | None = None
    verified: bool = False
    labels: Path | None = None
    prices: Mapping[str, float] | None = None
    rename: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.prices is not None and self.cost is not None:
            raise ValueError("cost, prices: expected one of them, got both")
        for argument in ("prices", "rename"):
            value = getattr(self, argument)
            if value is not None and not isinstance(value, Mapping):
                raise TypeError(f"{argument}: expected a mapping, got {type(value).__name__}")

    @property
    def costs(self) -> list[str] | None:
        """Names of the columns that are to be the costs; None if none was named."""
        if self.cost is None or isinstance(self.cost, str):
            return None if self.cost is None else [self.cost]
        names = list(self.cost) if hasattr(self.cost, "__iter__") else []
        if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            wanted = "None, the name of a per-model column, or several different ones"
            raise TypeError(f"cost: expected {wanted}, got {self.cost!r}")
        return names


class Table(TypedDict):
    """The arguments of `Outcomes`."""

    models: Sequence[str]
    quality: FloatArray
    cost: Mapping[str, FloatArray]
    ids: Sequence[str | int] | None
    queries: Mapping[str, Column]
    responses: Mapping[str, Column]
    column_cost: Mapping[str, npt.ArrayLike]
    groups: Column | None
    notes: Sequence[str]
    origin: Rows | None


def with_observed_quality(table: Table) -> Table:
    """Make quality a response column too: what has run shows it."""
    return {**table, "responses": {**table["responses"], "quality": table["quality"]}}
