"""Calibration: a rule on a labelled table, its settings chosen by the area under its budget path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray, checked_confidence, checked_number, listed
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration.race import Race, is_large_table, race_of
from headrace.calibration.walk import Stops, budget_path, walk_together
from headrace.estimators.belief import Belief
from headrace.outcomes import Outcomes
from headrace.policy.budget_path import BudgetPath
from headrace.rules import RULES, Rule, make_rule

__all__ = [
    "UNCERTAINTY_SCALES",
    "Calibration",
    "calibrate",
    "check_log",
    "check_settings",
    "check_table",
    "check_wanted",
    "checked_largest",
    "path_area",
    "rule_settings",
    "shared",
]

#: Factors of the standard deviations among which the fit chooses.
UNCERTAINTY_SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.3)

#: Of a large table so many are walked first, and larger ones one by one: they run more models, so their walks are long.
N_SMALL = 3


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
        Area under the path at each scale that was walked on all queries.
    """

    path: BudgetPath
    stops: Stops
    settings: dict[str, Any]
    areas: dict[float, float]


def calibrate(
    rule: str,
    table: BeliefTable,
    *,
    settings: Mapping[str, Any] | None = None,
    uncertainty_scale: float | None = None,
    answer: str = "best",
    progress: Callable[[float], None] | None = None,
) -> Calibration:
    """Walk a labelled table with a rule, and choose its uncertainty scale.

    Parameters
    ----------
    rule : str
        A key of `headrace.rules.RULES`.
    table : BeliefTable
        Beliefs by estimators that have not seen the labels.
    settings : mapping, optional
        Settings of the rule apart from its parameter and its scale.
    uncertainty_scale : float, optional
        Fixes the scale. By default it is the one of `UNCERTAINTY_SCALES` whose path has the largest area (mean quality
        over the range of costs of the single models).
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

    From 600 queries on, all scales are first walked on a third of them, 2,000 at most. Those that are surely worse
    there than the best, by more than three standard errors of the difference, are dropped; the others are walked on the
    other queries too (`headrace.calibration.race`). Of tables of more than 25,000 cells, one standard error is enough,
    and scales are dropped after a third of the third, too. Scales above 0.5 are walked one by one there, until one is
    dropped: those above it aren't tried.
    """
    outcomes = table.outcomes
    settings = dict(settings or {})
    tried = [settings]
    if "uncertainty_scale" in RULES[rule].settings:
        scales = UNCERTAINTY_SCALES if uncertainty_scale is None else (uncertainty_scale,)
        tried = [settings | {"uncertainty_scale": scale} for scale in scales]
    race = race_of(outcomes) if len(tried) > 1 else None
    parts = (np.arange(outcomes.n_queries),) if race is None else race.parts
    walked: list[list[tuple[IndexArray, Stops]]] = [[] for _ in tried]

    def tell(share: float) -> None:
        if progress is not None and share > 0.0:
            progress(share)

    for number, rows in enumerate(parts):
        rules = [make_rule(rule, 0.0, chosen) for chosen in tried]
        told = shared(tell, number, len(parts))
        if race is not None and is_large_table(outcomes) and number == 0:
            ended = _climb(rules, table, race, answer, told)
        else:
            ended = _walk_part(rules, table, rows, answer, told)
        tried, walked = tried[: len(ended)], walked[: len(ended)]
        for so_far, stops in zip(walked, ended, strict=True):
            so_far.append((rows, stops))
        if race is not None and number + 1 < len(parts):
            kept = np.flatnonzero(race.still_in([Stops.joined(so_far) for so_far in walked], number, outcomes))
            tried, walked = [tried[i] for i in kept], [walked[i] for i in kept]
    stopped = [Stops.joined(so_far) for so_far in walked]
    best: Calibration | None = None
    areas: dict[float, float] = {}
    for chosen, stops in zip(tried, stopped, strict=True):
        path = budget_path(stops, outcomes.costs)
        area = path_area(path, outcomes)
        if best is None or area > max(areas.values()):
            best = Calibration(path, stops, chosen, areas)
        if "uncertainty_scale" in chosen:
            areas[chosen["uncertainty_scale"]] = area
    if progress is not None:
        progress(1.0)
    assert best is not None  # there is at least one scale
    return best


def _climb(
    rules: Sequence[Rule], table: BeliefTable, race: Race, answer: str, progress: Callable[[float], None] | None
) -> list[Stops]:
    """Walk the first part with rules of rising scales, those of large ones one by one, up to one that is dropped."""
    rows = race.parts[0]
    ended: list[Stops] = []
    groups = [rules[:N_SMALL], *([rule] for rule in rules[N_SMALL:])]
    for number, group in enumerate(groups):
        ended += _walk_part(group, table, rows, answer, shared(progress, number, len(groups)))
        if not race.still_in([Stops.joined([(rows, stops)]) for stops in ended], 0, table.outcomes)[-1]:
            break
    return ended


def _walk_part(
    rules: Sequence[Rule], table: BeliefTable, rows: IndexArray, answer: str, progress: Callable[[float], None] | None
) -> list[Stops]:
    """Walk some rows of a table with each rule."""

    def believe(some: IndexArray, run: BoolArray, /, *, priced: bool = True) -> tuple[Belief, FloatArray]:
        return table(rows[some], run, priced=priced)

    return walk_together(rules, table.outcomes.take(rows), believe, answer=answer, progress=progress)


def shared(progress: Callable[[float], None] | None, number: int, n_parts: int) -> Callable[[float], None] | None:
    """Give what one of some equal parts reports its share to."""
    if progress is None or n_parts == 1:
        return progress
    return lambda share: progress((number + share) / n_parts)


def path_area(path: BudgetPath, outcomes: Outcomes) -> float:
    """Area under a path over the range of costs of a table's single models; without a range, its best quality."""
    lowest, highest = float(outcomes.mean_cost.min()), float(outcomes.mean_cost.max())
    if not highest > lowest:
        return float(path.quality.max())
    return path.area(lowest, highest, float(outcomes.mean_quality.min()))


def rule_settings(
    rule: str, outcomes: Outcomes, *, max_depth: int = 5, order: Sequence[str] | None = None
) -> dict[str, Any]:
    """Give the settings that a rule takes: depth, and for cascades the order (by rising mean cost by default)."""
    settings: dict[str, Any] = {}
    if "max_depth" in RULES[rule].settings:
        settings["max_depth"] = max_depth
    if "order" in RULES[rule].settings:
        if order is None:
            settings["order"] = tuple(np.argsort(outcomes.mean_cost, kind="stable").tolist())
        else:
            unknown = [name for name in order if name not in outcomes.models]
            if unknown:
                raise ValueError(f"order: unknown model {unknown[0]!r}; known: {', '.join(outcomes.models)}")
            settings["order"] = tuple(outcomes.models.index(name) for name in order)
    return settings


def check_settings(rule: Any, answer: Any, mix: Any, order: Any) -> None:
    """Refuse settings of a router that name nothing, or that its rule doesn't take."""
    choices = {
        "rule": (rule, tuple(RULES)),
        "answer": (answer, ("best", "last")),
        "mix": (mix, ("per-query", "deterministic")),
    }
    for name, (given, known) in choices.items():
        if given not in known and not (given is None and name == "rule"):
            raise ValueError(f"{name}: expected one of {', '.join(known)}; got {given!r}")
    if order is not None and (rule is None or "order" not in RULES[rule].settings):
        named = "without a rule" if rule is None else f"for {rule}, which has no order of its own"
        raise ValueError(f"order: expected None {named}, got {order!r}")


def check_table(argument: str, table: Any) -> None:
    """Refuse anything but a table of outcomes."""
    if not isinstance(table, Outcomes):
        raise TypeError(f"{argument}: expected an Outcomes table, got {type(table).__name__}")


def check_wanted(budget: Any, quality_target: Any, confidence: Any) -> None:
    """Refuse a budget and a target together, and a confidence of neither."""
    if budget is not None and quality_target is not None:
        raise ValueError("budget, quality_target: expected at most one of them")
    if quality_target is not None:
        checked_number("quality_target", quality_target)
    if confidence is None:
        return
    checked_confidence(confidence)
    if budget is None and quality_target is None:
        raise ValueError("confidence: expected a budget or a quality_target to promise")


def checked_largest(
    largest_cost: Any, costs: Sequence[str], quality_target: Any, *, is_promised: bool
) -> dict[str, float]:
    """Give the most that a query can cost, for each cost named; a number is that of the first."""
    if largest_cost is None:
        return {}
    if quality_target is not None:
        raise ValueError("largest_cost: expected None for a quality_target, which promises no cost")
    if not is_promised:
        raise ValueError("largest_cost: expected a confidence too, or a calibration: nothing is promised without")
    named = dict(largest_cost) if isinstance(largest_cost, Mapping) else {costs[0]: largest_cost}
    for name, value in named.items():
        if name not in costs:
            raise ValueError(f"largest_cost: unknown cost {name!r}; known: {listed(costs)}")
        if not 0.0 < checked_number("largest_cost", value) < np.inf:
            raise ValueError(f"largest_cost: expected a finite number above 0, got {value}")
    return {name: float(value) for name, value in named.items()}


def check_log(outcomes: Outcomes, costs: Sequence[str], *, complete: bool) -> None:
    """Refuse new outcomes that can't recalibrate: other costs, none at all, or missing cells where all are needed."""
    if tuple(outcomes.costs) != tuple(costs):
        raise ValueError(f"new_outcomes: expected the costs {tuple(costs)}, got {tuple(outcomes.costs)}")
    if all(np.isnan(cost).all() for cost in outcomes.costs.values()):
        raise ValueError("new_outcomes: expected costs of runs, got none")
    if outcomes.n_missing and complete:
        wanted = "every model's quality and cost on each query, for a router with a confidence"
        raise ValueError(f"new_outcomes: expected {wanted}; got {outcomes.n_missing} missing cells")
