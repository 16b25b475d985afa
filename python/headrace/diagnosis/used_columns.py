"""What a table will be used for: what its columns bring, which may know the outcome, and what else looks odd."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from types import NoneType
from typing import Any

import numpy as np

from headrace.arguments import Column, listed
from headrace.calibration.walk import Stops
from headrace.diagnosis.columns import FEWEST_QUERIES, MOST_QUERIES, ColumnGain, column_gains
from headrace.outcomes import Outcomes
from headrace.outcomes.description import UNITS, unit_of

__all__ = ["Oddity", "UsedColumns", "unused_models", "used_columns"]

#: Lines that a summary has at most.
MOST_LINES = 10

#: Columns of one kind that a summary names.
MOST_NAMED = 6

#: Half the width of a 95% interval, in standard errors.
NORMAL_95 = 1.96

#: A model is unused if at no budget it runs on a larger share of the queries than this.
UNUSED_SHARE = 0.01

#: How the oddities are ranked, the most important first.
KINDS = ("suspect", "shows quality", "unusable", "unused model", "repeated rows", "twin names", "zero costs", "unit")


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """Something about a table that looks wrong.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    names : tuple of str
        The columns or models in question.
    text : str
        What it is, and what to do.
    """

    kind: str
    names: tuple[str, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class UsedColumns:
    """What each column of a table brings, and what looks odd; see `used_columns`.

    Attributes
    ----------
    columns : tuple of ColumnGain
        Query columns, then response columns; of each kind the largest gain first.
    oddities : tuple of Oddity
        The most important first.
    n_queries : int
        Queries looked at.
    error : float or None
        Mean squared error of the estimates of quality before any run, with all query columns; None if there were too
        few complete queries.
    """

    columns: tuple[ColumnGain, ...]
    oddities: tuple[Oddity, ...]
    n_queries: int
    error: float | None

    @property
    def suspects(self) -> tuple[str, ...]:
        """Names of the query columns that may know the outcome."""
        return tuple(column.name for column in self.columns if column.suspicion is not None)

    def __str__(self) -> str:
        return self.summary()

    def summary(self, *, skip: Collection[str] = ()) -> str:
        """Give at most ten lines: suspects, what columns bring, and the other oddities but for some kinds."""
        first = [oddity.text for oddity in self.oddities if oddity.kind == KINDS[0]]
        rest = [oddity.text for oddity in self.oddities if oddity.kind not in (KINDS[0], *skip)]
        lines = [*first, *self._gains(), *rest]
        if len(lines) > MOST_LINES:
            lines = [*lines[: MOST_LINES - 1], f"{len(lines) - MOST_LINES + 1} more lines: --json, or to_dict()"]
        return "\n".join(lines)

    def _gains(self) -> list[str]:
        if self.error is None:
            return [f"what columns bring wasn't measured: {self.n_queries} complete queries are too few"]
        lines = [
            f"what columns bring: squared error of quality without one, minus that with it, ± 95%, on {self.n_queries} "
            f"held-out queries; before any run the error is {self.error:.4f}"
        ]
        for kind, when in (("query", "before any run"), ("response", "once models have run")):
            shown = [_shown(column) for column in self.columns if column.kind == kind and column.problem is None]
            more = f", {len(shown) - MOST_NAMED} more" if len(shown) > MOST_NAMED else ""
            lines.append(f"{kind} columns, {when}: {', '.join(shown[:MOST_NAMED]) or 'none'}{more}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Give all of it, ready for JSON."""
        return asdict(self)


def used_columns(
    outcomes: Outcomes,
    *,
    stops: Stops | None = None,
    max_queries: int = MOST_QUERIES,
    rng: int | np.random.Generator | None = None,
) -> UsedColumns:
    """Say which columns a router would use, what each brings, which may know the outcome, and what else looks odd.

    Parameters
    ----------
    outcomes : Outcomes
        Its complete queries count.
    stops : Stops, optional
        Where walks of a fitted rule ended, for the models that no budget uses.
    max_queries : int, default 2000
        Of more complete queries, so many drawn at random are looked at.
    rng : None, int or numpy.random.Generator, optional
        Source of randomness; None means seed 0.

    Returns
    -------
    UsedColumns
        `print` shows ten lines of it at most, `to_dict` gives all.

    Examples
    --------
    >>> import numpy as np
    >>> import headrace as hr
    >>> from headrace.diagnosis import used_columns
    >>> table = hr.Outcomes(
    ...     models=["a", "b"],
    ...     quality=np.random.default_rng(0).integers(0, 2, size=(400, 2)),
    ...     cost=[1, 2],
    ...     queries={"length": np.arange(400.0)},
    ... )
    >>> used_columns(table).suspects
    ()
    >>> import dataclasses
    >>> leaking = dataclasses.replace(table, queries={"solved_by": table.quality.sum(axis=1)})
    >>> used_columns(leaking).suspects
    ('solved_by',)
    """
    n_complete = int((~outcomes.incomplete).sum())
    gains: tuple[ColumnGain, ...] = ()
    error, n_queries = None, n_complete
    if n_complete >= FEWEST_QUERIES and outcomes.n_groups > 1:
        gains, error, n_queries = column_gains(outcomes, max_queries=max_queries, rng=rng)
    else:
        gains = tuple(
            ColumnGain(name=name, kind=kind, gain=None, std_error=None)
            for kind, columns in (("query", outcomes.queries), ("response", outcomes.responses))
            for name in columns
        )
    oddities = [
        *_suspects(gains),
        *_shown_quality(outcomes),
        *(
            Oddity(kind="unusable", names=(c.name,), text=f"{c.problem}; leave it out with --ignore")
            for c in gains
            if c.problem
        ),
        *([] if stops is None else _unused(unused_models(stops, outcomes.models))),
        *_repeated_rows(outcomes),
        *_twins(outcomes),
        *_zero_costs(outcomes),
        *_units(outcomes),
    ]
    oddities.sort(key=lambda oddity: KINDS.index(oddity.kind))
    return UsedColumns(columns=gains, oddities=tuple(oddities), n_queries=n_queries, error=error)


def unused_models(stops: Stops, models: Sequence[str]) -> tuple[str, ...]:
    """Name the models that no value of a rule's parameter runs on more than 1% of the queries."""
    n_queries = int(stops.row.max(initial=0)) + 1
    unused = []
    for j, model in enumerate(models):
        ran = stops.run_sets[stops.run, j]
        # How many queries run the model rises where a stretch begins, and falls where it ends.
        ends = np.concatenate([stops.lower[ran], stops.upper[ran]])
        steps = np.repeat([1, -1], int(ran.sum()))
        order = np.lexsort((-steps, ends))
        if np.cumsum(steps[order]).max(initial=0) <= UNUSED_SHARE * n_queries:
            unused.append(model)
    return tuple(unused)


def _suspects(gains: Iterable[ColumnGain]) -> list[Oddity]:
    return [
        Oddity(
            kind="suspect",
            names=(column.name,),
            text=f"suspect: the query column {column.name!r} may know the outcome: {column.suspicion}. If it isn't "
            f"known before the models run, leave it out: --ignore {column.name}",
        )
        for column in gains
        if column.suspicion is not None
    ]


def _shown_quality(outcomes: Outcomes) -> list[Oddity]:
    """Tell of response columns that hold the quality under another name."""
    same = [
        name
        for name, cells in outcomes.responses.items()
        if name != "quality" and cells.dtype.kind in "biuf" and np.array_equal(cells, outcomes.quality, equal_nan=True)
    ]
    return [
        Oddity(
            kind="shows quality",
            names=(name,),
            text=f"the response column {name!r} is the quality itself: right if a run shows it in service, too (tests, "
            f"a schema); else leave it out: --ignore {name}",
        )
        for name in same
    ]


def _unused(models: Sequence[str]) -> list[Oddity]:
    if not models:
        return []
    return [
        Oddity(kind="unused model", names=tuple(models), text=f"no budget uses {listed(models)}: you can do without")
    ]


def _repeated_rows(outcomes: Outcomes) -> list[Oddity]:
    """Tell of rows that are the same in every column, but for their ids."""
    queries = [_hashable(values) for values in outcomes.queries.values()]
    others = [outcomes.quality, *outcomes.costs.values(), *outcomes.responses.values()]
    rows = list(zip(*queries, *map(_hashable, others), strict=True))
    first = {row: number for number, row in reversed(list(enumerate(rows)))}
    repeated = [number for number, row in enumerate(rows) if first[row] != number]
    n_repeated = len(repeated)
    # Where no column tells queries apart, rows of different queries are equal.
    if not n_repeated or not any(2 * len(set(values)) >= len(rows) for values in queries):
        return []
    text = (
        f"rows that repeat another one in every column: {n_repeated} of {len(rows)}{outcomes.place(repeated)}; was the "
        "log joined or read twice?"
    )
    return [Oddity(kind="repeated rows", names=(), text=text)]


def _hashable(values: Column) -> Sequence[Hashable]:
    """Give each row of a column as one value that is equal where the row is."""
    flat = values.reshape(len(values), -1)
    if values.dtype == object:
        if set(map(type, flat.ravel().tolist())) <= {str, NoneType}:
            return flat[:, 0].tolist() if flat.shape[1] == 1 else list(map(tuple, flat.tolist()))
        return [repr(row) for row in flat.tolist()]
    if not flat.shape[1]:
        return [b""] * len(flat)
    # A view, as a call of `tobytes` for each row takes eight times as long.
    return np.ascontiguousarray(flat).view(f"V{flat.itemsize * flat.shape[1]}").ravel().tolist()


def _twins(outcomes: Outcomes) -> list[Oddity]:
    """Tell of names that differ in case, spaces and signs alone."""
    oddities = []
    for what, names in (
        ("models", outcomes.models),
        ("query columns", outcomes.queries),
        ("response columns", outcomes.responses),
    ):
        alike: dict[str, list[str]] = {}
        for name in names:
            alike.setdefault(re.sub(r"[\W_]+", "", name.casefold()), []).append(name)
        for twins in alike.values():
            if len(twins) > 1:
                text = f"the {what} {listed(twins)} have almost one name: are they one?"
                oddities.append(Oddity(kind="twin names", names=tuple(twins), text=text))
    return oddities


def _zero_costs(outcomes: Outcomes) -> list[Oddity]:
    """Tell of models some of whose runs cost nothing."""
    oddities = []
    for j, model in enumerate(outcomes.models):
        cost = outcomes.cost[:, j]
        n_free, n_known = int((cost == 0.0).sum()), int((~np.isnan(cost)).sum())
        if n_free:
            text = f"{n_free} of {n_known} runs of {model!r} cost 0: a cache, or usage that wasn't recorded?"
            oddities.append(Oddity(kind="zero costs", names=(model,), text=text))
    return oddities


def _units(outcomes: Outcomes) -> list[Oddity]:
    """Tell what the unit of the cost may be, where its name doesn't say so."""
    if any(part in outcomes.cost_name.lower() for part in UNITS):
        return []
    text = f"cost: {unit_of(outcomes)}; budgets are in that unit"
    return [Oddity(kind="unit", names=(outcomes.cost_name,), text=text)]


def _shown(column: ColumnGain) -> str:
    if column.gain is None or column.std_error is None:
        return f"{column.name} (not measured)"
    return f"{column.name} {column.gain:+.4f} ±{NORMAL_95 * column.std_error:.4f}"
