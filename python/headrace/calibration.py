"""Calibration: a rule on a labelled table, its settings chosen by the area under its budget path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from headrace.belief_table import BeliefTable
from headrace.budget_path import BudgetPath
from headrace.outcomes import Outcomes
from headrace.policy import make_rule
from headrace.walk import Stops, budget_path, walk

__all__ = ["UNCERTAINTY_SCALES", "Calibration", "StepWeights", "calibrate", "rule_settings"]

#: Factors of the standard deviations among which the fit chooses.
UNCERTAINTY_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.3)

#: Factors of the cost weight tried at each step.
STEP_FACTORS = (1.0, 0.5, 0.7, 1.4, 2.0)


class Calibration(NamedTuple):
    """A rule's budget path at the uncertainty scale of the largest area under it.

    Attributes
    ----------
    path : BudgetPath
    stops : Stops
        What the path sums.
    settings : dict
        The rule's settings, the scale among them where the rule has one.
    areas : dict of float to float
        Area under the path at each scale tried.
    step_weights : tuple of float
        Factors of the cost weight at each step; empty: one cost weight for all steps.
    """

    path: BudgetPath
    stops: Stops
    settings: dict[str, Any]
    areas: dict[float, float]
    step_weights: tuple[float, ...] = ()


class StepWeights(NamedTuple):
    """Factors of the cost weight at each step, and whether held-out queries agree with them.

    Attributes
    ----------
    found : tuple of float
        The first is 1.
    kept : bool
    """

    found: tuple[float, ...]
    kept: bool


def calibrate(
    rule: str,
    table: BeliefTable,
    *,
    settings: Mapping[str, Any] | None = None,
    uncertainty_scale: float | None = None,
    step_weights: Sequence[float] | str = (),
    answer: str = "best",
    progress: Callable[[float], None] | None = None,
) -> Calibration:
    """Walk a labelled table with a rule, and choose its uncertainty scale.

    Parameters
    ----------
    rule : str
        A key of `headrace.policy.RULES`.
    table : BeliefTable
        Beliefs by estimators that have not seen the labels.
    settings : mapping, optional
        Settings of the rule apart from its parameter and its scale.
    uncertainty_scale : float, optional
        Fixes the scale. By default it is the one of `UNCERTAINTY_SCALES` whose path has the largest area (mean quality
        over the range of costs of the single models).
    step_weights : sequence of float or "search", optional
        Factors of the cost weight at each step. "search" looks for some, and keeps them where held-out queries agree.
    answer : {"best", "last"}
        Which answer is returned.
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    Calibration

    Notes
    -----
    The area of one scale's path is a mean over queries whose labels neither the estimators nor the path's own parameter
    have been fitted to, so the areas of the few scales can be compared on the calibration data itself.
    """
    outcomes = table.outcomes
    settings = dict(settings or {})
    scaled = rule in ("cascade", "cascade-routing", "index")
    scales: Sequence[float | None] = [None]
    if scaled:
        scales = UNCERTAINTY_SCALES if uncertainty_scale is None else [uncertainty_scale]
    weights = () if isinstance(step_weights, str) else tuple(float(weight) for weight in step_weights)
    best: Calibration | None = None
    areas: dict[float, float] = {}
    for done, scale in enumerate(scales):
        chosen = settings if scale is None else settings | {"uncertainty_scale": scale}
        stops = walk(make_rule(rule, 0.0, chosen), outcomes, table, answer=answer, step_weights=weights)
        path = budget_path(stops, outcomes.costs)
        area = path_area(path, outcomes)
        if scale is not None:
            areas[scale] = area
        if best is None or area > max(a for s, a in areas.items() if s != scale):
            best = Calibration(path, stops, chosen, areas, weights)
        if progress is not None:
            progress((done + 1) / len(scales))
    assert best is not None  # there is at least one scale
    if isinstance(step_weights, str):
        search = search_step_weights(rule, table, best.settings, answer=answer)
        weights = search.found if search.kept else ()
        stops = walk(make_rule(rule, 0.0, best.settings), outcomes, table, answer=answer, step_weights=weights)
        best = best._replace(path=budget_path(stops, outcomes.costs), stops=stops, step_weights=weights)
    return best


def path_area(path: BudgetPath, outcomes: Outcomes) -> float:
    """Area under a path over the range of costs of a table's single models; without a range, its best quality."""
    lowest, highest = float(outcomes.mean_cost.min()), float(outcomes.mean_cost.max())
    if not highest > lowest:
        return float(path.quality.max())
    return path.area(lowest, highest, float(outcomes.mean_quality.min()))


def search_step_weights(
    rule: str, table: BeliefTable, settings: Mapping[str, Any], *, answer: str = "best"
) -> StepWeights:
    """Search for factors of the cost weight at the steps after the first, step by step.

    Parameters
    ----------
    rule, table, settings, answer
        As in `calibrate`.

    Returns
    -------
    StepWeights
        To be kept if on both halves of the queries the factors found on the other half enlarge the area under the path.
    """
    outcomes = table.outcomes
    n_steps = min(int(settings.get("max_depth", 1)), outcomes.n_models)
    if rule not in ("cascade", "cascade-routing") or n_steps < 2 or outcomes.n_groups < 2:
        return StepWeights((), False)
    half = outcomes.folds(2)
    parts = [(outcomes.take(half == h), half == h) for h in (0, 1)]
    known: dict[tuple[float, ...], list[float]] = {}

    def areas(weights: tuple[float, ...]) -> list[float]:
        """Areas under the paths of either half, and of all queries."""
        if weights not in known:
            made = make_rule(rule, 0.0, dict(settings))
            stops = walk(made, outcomes, table, answer=answer, step_weights=weights)
            halves = [path_area(budget_path(stops.of_rows(rows), part.costs), part) for part, rows in parts]
            known[weights] = [*halves, path_area(budget_path(stops, outcomes.costs), outcomes)]
        return known[weights]

    def search(which: int) -> tuple[float, ...]:
        weights = (1.0,) * n_steps
        for step in range(1, n_steps):
            tried = [(*weights[:step], *(factor,) * (n_steps - step)) for factor in STEP_FACTORS]
            weights = max(tried, key=lambda candidate: areas(candidate)[which])
        return weights

    constant = areas((1.0,) * n_steps)
    gains = [areas(search(other))[here] - constant[here] for here, other in ((0, 1), (1, 0))]
    return StepWeights(search(2), min(gains) > 0.0)


def rule_settings(
    rule: str, outcomes: Outcomes, *, max_depth: int = 5, order: Sequence[str] | None = None
) -> dict[str, Any]:
    """Give the settings that a rule takes: depth, and for cascades the order (by rising mean cost by default)."""
    settings: dict[str, Any] = {}
    if rule in ("cascade", "cascade-routing"):
        settings["max_depth"] = max_depth
    if rule in ("cascade", "threshold-cascade"):
        if order is None:
            settings["order"] = tuple(np.argsort(outcomes.mean_cost, kind="stable").tolist())
        else:
            unknown = [name for name in order if name not in outcomes.models]
            if unknown:
                raise ValueError(f"order: unknown model {unknown[0]!r}; known: {', '.join(outcomes.models)}")
            settings["order"] = tuple(outcomes.models.index(name) for name in order)
    return settings
