"""A fit: the best estimators, the rule's settings, and the calibrator that knows every budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from headrace.beliefs.belief_table import BeliefTable
from headrace.beliefs.fitting import best_cross_fit, fit_estimators, outside_groups
from headrace.calibration.calibrator import Calibrator
from headrace.calibration.exchange_rates import Walked
from headrace.calibration.parts import Parts
from headrace.calibration.settings import calibrate
from headrace.estimators.protocol import CostEstimator, Estimators, QualityEstimator

__all__ = ["Fitted", "fit_and_calibrate"]


class Fitted(NamedTuple):
    """What a fit gives.

    Attributes
    ----------
    quality : QualityEstimator
        The best of those given, unfitted.
    errors : tuple of float
        Their errors; see `CrossFit`.
    estimators : tuple of (QualityEstimator, tuple of CostEstimator)
        Those that serve.
    served : BeliefTable
        What they believe of the calibration queries.
    settings : dict
        Of the rule.
    calibrator : Calibrator
    walked : Walked
        The calibration queries, by the first cost alone.
    """

    quality: QualityEstimator
    errors: tuple[float, ...]
    estimators: tuple[Estimators, ...]
    served: BeliefTable
    settings: dict[str, Any]
    calibrator: Calibrator
    walked: Walked


def fit_and_calibrate(
    parts: Parts,
    qualities: Sequence[QualityEstimator],
    cost: CostEstimator,
    *,
    rule: str,
    settings: Mapping[str, Any],
    uncertainty_scale: float | None,
    answer: str,
    max_depth: int,
    n_folds: int,
    seed: int,
    progress: Callable[[float], None] | None = None,
) -> Fitted:
    """Fit the estimators, choose the rule's scale, and walk the calibration queries.

    Parameters
    ----------
    parts : Parts
        Labelled queries by their use.
    qualities : sequence of QualityEstimator
        Unfitted; the best is taken, see `best_cross_fit`.
    cost : CostEstimator
        Unfitted.
    rule, settings, uncertainty_scale, answer, progress
        As in `calibrate`.
    max_depth, n_folds, seed : int
        Of the cross-fitting.

    Returns
    -------
    Fitted
    """
    fitting, partial, apart, _ = parts
    table, quality, errors = best_cross_fit(
        fitting,
        qualities,
        cost,
        n_folds=min(n_folds, fitting.n_queries // 2),
        seed=seed,
        max_depth=max_depth,
        partial=partial,
    )
    chosen = calibrate(
        rule, table, settings=settings, uncertainty_scale=uncertainty_scale, answer=answer, progress=progress
    )
    estimators, served = table.estimators, table
    if apart is not None:
        estimators = (fit_estimators(fitting, quality, cost, outside_groups(partial, apart)),)
        served = BeliefTable.served(apart, estimators)
    calibrator = Calibrator(rule, chosen, answer, served, None if apart is None else table)
    return Fitted(quality, errors, estimators, served, chosen.settings, calibrator, calibrator.walked((1.0,)))
