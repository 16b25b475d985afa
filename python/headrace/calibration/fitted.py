"""A fit: the best estimators, the rule and its settings, and the calibrator that knows every budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from headrace.beliefs.belief_table import BeliefTable, Kept
from headrace.beliefs.fitting import best_cross_fit, fit_estimators, outside_groups
from headrace.calibration.calibrator import Calibrator
from headrace.calibration.exchange_rates import Walked
from headrace.calibration.parts import Parts
from headrace.calibration.settings import Calibration, calibrate, path_area, rule_settings
from headrace.estimators.one_query import Kinds
from headrace.estimators.protocol import CostEstimator, Estimators, QualityEstimator
from headrace.outcomes import Outcomes

__all__ = ["Fitted", "Plan", "fit_and_calibrate", "rules_for"]


#: The uncertainty scale at which rules are compared.
SCALE = 0.5


class Plan(NamedTuple):
    """What is fitted, and how.

    Attributes
    ----------
    qualities : sequence of QualityEstimator
        Unfitted; the best is taken, see `best_cross_fit`.
    cost : CostEstimator
        Unfitted.
    rule : str or None
        None: the table decides; see `rules_for`.
    order : sequence of str or None
    uncertainty_scale : float or None
    answer : {"best", "last"}
    max_depth, n_folds, seed : int
    """

    qualities: Sequence[QualityEstimator]
    cost: CostEstimator
    rule: str | None
    order: Sequence[str] | None
    uncertainty_scale: float | None
    answer: str
    max_depth: int
    n_folds: int
    seed: int

    @classmethod
    def of(cls, router: Any, qualities: Sequence[QualityEstimator], cost: CostEstimator) -> Plan:
        """Give the plan of a router's settings, which were checked."""
        scale = None if router.uncertainty_scale is None else float(router.uncertainty_scale)
        numbers = (int(getattr(router, name)) for name in ("max_depth", "n_folds", "seed"))
        return cls(qualities, cost, router.rule, router.order, scale, router.answer, *numbers)


class Fitted(NamedTuple):
    """What a fit gives.

    Attributes
    ----------
    rule : str
    quality : QualityEstimator
        The best of those given, unfitted.
    errors : tuple of float
        Their errors; see `CrossFit`.
    estimators : tuple of (QualityEstimator, tuple of CostEstimator)
        Those that serve.
    held_out : Kept
        What they believe of the calibration queries.
    settings : dict
        Of the rule.
    calibrator : Calibrator
    walked : Walked
        The calibration queries, by the first cost alone.
    query_columns, response_columns : Kinds
        Columns of the table: type, and shape of a cell.
    n_dropped : int
        As in `Parts`.
    """

    rule: str
    quality: QualityEstimator
    errors: tuple[float, ...]
    estimators: tuple[Estimators, ...]
    held_out: Kept
    settings: dict[str, Any]
    calibrator: Calibrator
    walked: Walked
    query_columns: Kinds
    response_columns: Kinds
    n_dropped: int


def rules_for(rule: str | None, outcomes: Outcomes) -> tuple[str, ...]:
    """Give the rules among which a fit chooses.

    Where none is named: cascade routing; of a table where a run shows its quality, the index rule, which prices the
    option to stop at what is seen, or the cascade.

    Examples
    --------
    >>> from headrace import Outcomes
    >>> from headrace.calibration.fitted import rules_for
    >>> table = Outcomes(models=["a", "b"], quality=[[0, 1]], cost=[1, 2])
    >>> rules_for(None, table), rules_for("routing", table)
    (('cascade-routing',), ('routing',))
    """
    if rule is not None:
        return (rule,)
    return ("index", "cascade") if "quality" in outcomes.responses else ("cascade-routing",)


def fit_and_calibrate(parts: Parts, plan: Plan, *, progress: Callable[[float], None] | None = None) -> Fitted:
    """Fit the estimators, choose the rule and its scale, and walk the calibration queries.

    Parameters
    ----------
    parts : Parts
        Labelled queries by their use.
    plan : Plan
    progress : callable, optional
        Called with the share done.

    Returns
    -------
    Fitted
    """
    fitting, partial, apart, n_dropped = parts
    table, quality, errors = best_cross_fit(
        fitting,
        plan.qualities,
        plan.cost,
        n_folds=min(plan.n_folds, fitting.n_queries // 2),
        seed=plan.seed,
        max_depth=plan.max_depth,
        partial=partial,
    )
    rule, chosen = _best_rule(table, plan, progress)
    estimators, served = table.estimators, table
    if apart is not None:
        estimators = (fit_estimators(fitting, quality, plan.cost, outside_groups(partial, apart)),)
        served = BeliefTable.served(apart, estimators)
    calibrator = Calibrator(rule, chosen, plan.answer, served, None if apart is None else table)
    return Fitted(
        rule,
        quality,
        errors,
        estimators,
        Kept(served),
        chosen.settings,
        calibrator,
        calibrator.walked((1.0,)),
        {name: (cells.dtype, cells.shape[1:]) for name, cells in fitting.queries.items()},
        {name: (cells.dtype, cells.shape[2:]) for name, cells in fitting.responses.items()},
        n_dropped,
    )


def _best_rule(table: BeliefTable, plan: Plan, progress: Callable[[float], None] | None) -> tuple[str, Calibration]:
    """Take the rule of the largest area at one scale, of equal ones the first, and calibrate it."""
    outcomes = table.outcomes

    def calibrated(rule: str, scale: float | None, tell: Callable[[float], None] | None = None) -> Calibration:
        settings = rule_settings(rule, outcomes, max_depth=plan.max_depth, order=plan.order)
        return calibrate(rule, table, settings=settings, uncertainty_scale=scale, answer=plan.answer, progress=tell)

    rules = rules_for(plan.rule, outcomes)
    if len(rules) > 1:
        # Each at its best scale would add a third to the fit, and gains no more (docs/decisions/0021-default-rule.md).
        scale = SCALE if plan.uncertainty_scale is None else plan.uncertainty_scale
        areas = [path_area(calibrated(rule, scale).path, outcomes) for rule in rules]
        rules = (rules[areas.index(max(areas))],)
    return rules[0], calibrated(rules[0], plan.uncertainty_scale, progress)
