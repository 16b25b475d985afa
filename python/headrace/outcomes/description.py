"""A description of a table: what was read, and what looks odd about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from headrace.arguments import BoolArray, FloatArray, listed
from headrace.outcomes.checks import missing_cells
from headrace.outcomes.fields import Fields

__all__ = ["Description", "described"]

#: Costs of models in one unit hardly differ by more.
MIXED_UNITS = 1e4

#: Highest qualities of models on one scale hardly differ by more.
MIXED_SCALES = 20.0

#: Fewer complete queries than this rarely suffice to fit on.
FEW_QUERIES = 100

#: Parts of names that say the unit of a cost.
UNITS = {
    "token": "tokens",
    "usd": "dollars",
    "spend": "dollars",
    "dollar": "dollars",
    "second": "seconds",
    "latency": "seconds",
}


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a table holds; see `Outcomes.describe`.

    Attributes
    ----------
    n_queries, n_complete : int
        Rows, and those among them on which every model has quality and cost.
    n_duplicate_ids : int
        Rows whose id had been given before.
    models : tuple of dict
        Per model "model", "quality" and "cost" (means, None where unknown) and "missing" (cells).
    cost : str
        Column that serves as the cost.
    cost_unit : str
        What its unit seems to be.
    further_costs, queries, responses : tuple of str
        Names of the other columns.
    remarks : tuple of str
        What looks odd.
    """

    n_queries: int
    n_complete: int
    n_duplicate_ids: int
    models: tuple[dict[str, Any], ...]
    cost: str
    cost_unit: str
    further_costs: tuple[str, ...]
    queries: tuple[str, ...]
    responses: tuple[str, ...]
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        repeated = f", {self.n_duplicate_ids} repeated ids" if self.n_duplicate_ids else ""
        lines = [
            f"{self.n_queries} queries x {len(self.models)} models; {self.n_complete} queries complete{repeated}",
            f"cost: column {self.cost!r}, {self.cost_unit}",
            f"{'model':<32} {'quality':>8} {'mean cost':>10} {'missing':>8}",
        ]
        for row in self.models:
            quality, cost = (_shown(row[name]) for name in ("quality", "cost"))
            lines.append(f"{row['model']:<32} {quality:>8} {cost:>10} {row['missing']:>8}")
        return "\n".join([*lines, *(f"note: {remark}" for remark in self.remarks)])

    def to_dict(self) -> dict[str, Any]:
        """Give the fields, ready for JSON."""
        return asdict(self)


def described(outcomes: Fields) -> Description:
    """Describe a table; see `Outcomes.describe`."""
    cells = np.stack([outcomes.quality, *outcomes.costs.values()])
    unlabelled: BoolArray = np.asarray(np.isnan(cells).any(axis=0), dtype=np.bool_)
    means = zip(outcomes.models, outcomes.mean_quality, outcomes.mean_cost, unlabelled.sum(axis=0), strict=True)
    models = tuple(
        {"model": name, "quality": _known(quality), "cost": _known(cost), "missing": int(missing)}
        for name, quality, cost, missing in means
    )
    n_complete = int((~unlabelled.any(axis=1)).sum())
    return Description(
        n_queries=outcomes.n_queries,
        n_complete=n_complete,
        n_duplicate_ids=outcomes.n_duplicate_ids,
        models=models,
        cost=outcomes.cost_name,
        cost_unit=unit_of(outcomes),
        further_costs=tuple(outcomes.further_costs),
        queries=tuple(outcomes.queries),
        responses=tuple(outcomes.responses),
        remarks=tuple(_remarks(outcomes, n_complete)),
    )


def unit_of(outcomes: Fields) -> str:
    """Guess the unit of a table's cost."""
    return cost_unit(" or ".join(_cost_names(outcomes)), outcomes.cost)


def _cost_names(outcomes: Fields) -> list[str]:
    """Give the names of the cost: its own, and those of response columns with the same numbers."""
    same = [
        name
        for name, cells in outcomes.responses.items()
        if cells.dtype.kind in "iuf" and np.array_equal(cells, outcomes.cost, equal_nan=True)
    ]
    return list(dict.fromkeys([outcomes.cost_name, *same]))


def cost_unit(name: str, cost: FloatArray) -> str:
    """Guess the unit of a cost, from its name or else from its median.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.description import cost_unit
    >>> cost_unit("spend", np.array([3.0])), cost_unit("cost", np.array([310.0, 12.0]))
    ('dollars by its name', 'tokens or another count, hardly dollars: the median is 161')
    """
    for part, unit in UNITS.items():
        if part in name.lower():
            return f"{unit} by its name"
    positive = cost[cost > 0.0]
    if not len(positive):
        return "all zero"
    median = float(np.median(positive))
    if median <= 1.0:
        return f"perhaps dollars: the median is {median:.3g}"
    counts = bool((positive == np.round(positive)).all())
    unit = "tokens or another count, hardly dollars" if counts else "a fine unit, hardly dollars"
    return f"{unit}: the median is {median:.3g}"


def _paid(outcomes: Fields) -> list[str]:
    """Say of each column that is bought what it costs, and how many queries have it for all of their runs."""
    said = []
    for name, price in outcomes.column_cost.items():
        lacks = (missing_cells(outcomes.responses[name]) | np.isnan(price)) & ~np.isnan(outcomes.quality)
        n_whole = int((~lacks.any(axis=1)).sum())
        mean = float(price[~np.isnan(price)].mean()) if not np.isnan(price).all() else np.nan
        said.append(f"{name}: bought at a mean price of {mean:.4g}; {n_whole} of {outcomes.n_queries} queries have it")
    return said


def _remarks(outcomes: Fields, n_complete: int) -> list[str]:
    no_verdict = _no_verdict(outcomes)
    remarks = [
        *outcomes.notes,
        *_paid(outcomes),
        _mixed_units(outcomes),
        *_free_runs(outcomes),
        _mixed_scales(outcomes),
        _constant_quality(outcomes),
        no_verdict,
        _unlabelled(outcomes),
        _same_texts(outcomes),
    ]
    if outcomes.n_duplicate_ids and outcomes.groups is None:
        remarks.append(
            "ids: each row counts as a query of its own; rows of one query need a column 'group', or they are fitted "
            "and tested on at once"
        )
    if outcomes.n_models == 1:
        remarks.append("models: there is one model only, so nothing to choose")
    if not n_complete and outcomes.n_models > 1:
        remarks.append(_one_model_per_query(outcomes))
    elif n_complete < min(FEW_QUERIES, outcomes.n_queries):
        remarks.append(f"only {n_complete} of {outcomes.n_queries} queries have every model's quality and cost")
    elif n_complete < FEW_QUERIES:
        remarks.append(f"{n_complete} complete queries are few to fit on; some hundred are better")
    outside = float(np.nanmax(np.abs(outcomes.quality - 0.5))) if not np.isnan(outcomes.quality).all() else 0.0
    if outside > 0.5 and not no_verdict:
        span = f"{np.nanmin(outcomes.quality):g} to {np.nanmax(outcomes.quality):g}"
        remarks.append(f"quality: goes from {span}; results, cost weights and targets are in that unit, and not in %")
    return [remark for remark in remarks if remark]


def _free_runs(outcomes: Fields) -> list[str]:
    """Tell of models some of whose runs cost nothing: their mean cost is too low."""
    remarks = []
    for j, name in enumerate(outcomes.models):
        cost = outcomes.cost[:, j]
        n_free, n_known = int((cost == 0.0).sum()), int((~np.isnan(cost)).sum())
        if 0 < n_free < n_known:
            remarks.append(
                f"cost: {n_free} of {n_known} runs of {name!r} cost 0{outcomes.place(cost == 0.0, name)}: hits of a "
                "cache, failed calls, usage not recorded? As they stand, they lower its mean cost"
            )
    return remarks


def _no_verdict(outcomes: Fields) -> str:
    """Tell of a judge that gives -1 where it has no verdict."""
    known = outcomes.quality[~np.isnan(outcomes.quality)]
    n_odd = int((known == -1.0).sum())
    odd = (outcomes.quality == -1.0).any(axis=1)
    if not n_odd or n_odd == len(known) or (np.delete(known, np.flatnonzero(known == -1.0)) < 0.0).any():
        return ""
    return (
        f"quality: {n_odd} cells are -1{outcomes.place(odd)}, and no other is below 0: is that a judge without a "
        "verdict? Make them missing, or they are averaged in"
    )


def _same_texts(outcomes: Fields) -> str:
    """Tell of queries with one text that a split may put on both sides."""
    texts = outcomes.queries.get("text")
    if texts is None or texts.ndim > 1 or (outcomes.n_duplicate_ids and outcomes.groups is None):
        return ""
    pairs = zip(texts.tolist(), outcomes.group_of_row.tolist(), strict=True)
    different = {pair for pair in pairs if isinstance(pair[0], str) and pair[0]}
    n_spread = sum(n_groups for n_groups in Counter(text for text, _ in different).values() if n_groups > 1)
    if not n_spread:
        return ""
    return (
        f"text: {n_spread} queries or groups share their text with another one, so they are fitted and tested on at "
        "once; give queries of one text one group"
    )


def _one_model_per_query(outcomes: Fields) -> str:
    """Say what a log without a complete query lacks."""
    ran = ~np.isnan(outcomes.quality)
    each = "has one model only" if (ran.sum(axis=1) == 1).all() else "lacks some model"
    return (
        f"no query has every model's quality and cost: each {each}. A router compares models on the same queries: run "
        "every model on some hundred of them, or choose models that have queries in common"
    )


def _mixed_units(outcomes: Fields) -> str:
    medians = {}
    for j, name in enumerate(outcomes.models):
        cost = outcomes.cost[:, j]
        if (cost > 0.0).any():
            medians[name] = float(np.median(cost[cost > 0.0]))
    if len(medians) < 2:
        return ""
    high, low = max(medians, key=lambda name: medians[name]), min(medians, key=lambda name: medians[name])
    times = medians[high] / medians[low]
    if times < MIXED_UNITS:
        return ""
    return f"cost: the median of {high!r} is {times:.6g} times that of {low!r}; are they in one unit?"


def _mixed_scales(outcomes: Fields) -> str:
    """Tell a score of 0 to 1 of one model from one of 0 to 100 of another."""
    tops = {name: top for name, top in zip(outcomes.models, _tops(outcomes.quality), strict=True) if top > 0.0}
    if len(tops) < 2:
        return ""
    high, low = max(tops, key=lambda name: tops[name]), min(tops, key=lambda name: tops[name])
    if tops[high] < MIXED_SCALES * tops[low]:
        return ""
    return f"quality: {high!r} goes up to {tops[high]:g}, {low!r} to {tops[low]:g}; are they on one scale?"


def _tops(quality: FloatArray) -> list[float]:
    """Highest quality of each model; 0 where none is known."""
    tops: list[float] = np.where(np.isnan(quality), -np.inf, quality).max(axis=0, initial=0.0).tolist()
    return tops


def _constant_quality(outcomes: Fields) -> str:
    known = outcomes.quality[~np.isnan(outcomes.quality)]
    if len(known) and (known == known[0]).all():
        return f"quality: every cell is {known[0]:g}; the cheapest model is as good as any"
    return ""


def _unlabelled(outcomes: Fields) -> str:
    lacking = np.isnan(outcomes.mean_quality) | np.isnan(outcomes.mean_cost)
    if not lacking.any():
        return ""
    named = listed(name for name, lacks in zip(outcomes.models, lacking, strict=True) if lacks)
    return f"no quality or no cost at all for {named}; leave out by choosing models"


def _known(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
