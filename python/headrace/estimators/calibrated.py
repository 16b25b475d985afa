"""Calibrated quality: another estimator's estimates, mapped to what such estimates turned out to be worth.

For each model one map is learned from its estimates before its own run, and one from those after it
(`calibration_maps`): out-of-fold estimates and labels, for run sets along random orders of the models. The update still
to come is then that of the mapped estimates: its mean square on held-out rows, over the one believed, rescales the
variances.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from headrace.arguments import BoolArray, FloatArray, IndexArray
from headrace.estimators.belief import Belief
from headrace.estimators.calibration_maps import MAPS, Sample, room
from headrace.estimators.linear import LinearQuality
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import QualityEstimator, Queries
from headrace.estimators.responses import Responses
from headrace.estimators.run_set_regressions import common_run
from headrace.estimators.state import Stateful
from headrace.estimators.targets import checked_targets

__all__ = ["CalibratedQuality"]

#: Folds in which estimates are made for the maps to learn from.
N_FOLDS = 5

#: Random orders of the models; the sets of those that come first are looked at, and each model alone.
N_ORDERS = 3

#: Fewest labelled queries: two folds of two.
FEWEST = 4


class CalibratedQuality(
    Parameters, Stateful, part="calibrated-quality", kept=("base_", "update_scale_", "_maps", "_low", "_width")
):
    """Another estimator's estimates, calibrated on held-out folds; the variances of updates are rescaled to match.

    Parameters
    ----------
    base : QualityEstimator, optional
        Unfitted; `LinearQuality` by default. It is fitted six times: on all queries, and without each of five folds.
    method : {"platt", "isotonic"} or None, default "platt"
        Platt's maps have two parameters each, isotonic ones as many as the labels support: for some 2,000 labelled
        queries and more. None leaves the estimates as they are, and rescales the variances only.
    logit_variance : bool, default False
        Let updates shrink as an estimate p nears an end of the range, as if they were alike on the logit scale: with
        standard deviations in proportion to p (1 - p).

    Attributes
    ----------
    base_ : QualityEstimator
        Fitted on all queries.
    update_scale_ : ndarray of shape (2, n_models)
        Factor of the variances, before (first row) and after a model's own run; with `logit_variance`, it goes with
        (p (1 - p))^2.

    Notes
    -----
    Qualities between 0 and 1 are taken as probabilities, others in shares of their range. Predictions after the fit are
    NumPy on frozen numbers. The ridge regressions of `LinearQuality` are calibrated already, but for estimates of
    exactly 0 and 1 (docs/results/calibrated_quality.md); `Router.diagnose` says whether yours are. An estimator isn't
    told of groups, so that copies of a query may be in several folds.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.estimators import CalibratedQuality, ClusterQuality
    >>> table = hr.datasets.load_quickstart().take(range(600))
    >>> estimator = CalibratedQuality(ClusterQuality(n_clusters=30))
    >>> _ = estimator.fit(table.queries, table.responses_for([True] * 5), table.quality)
    >>> estimator.predict(table.queries, table.responses_for([False] * 5)).quality.shape
    (600, 5)
    """

    base_: QualityEstimator
    update_scale_: FloatArray

    def __init__(
        self, base: QualityEstimator | None = None, *, method: str | None = "platt", logit_variance: bool = False
    ) -> None:
        self.base = base
        self.method = method
        self.logit_variance = logit_variance

    @property
    def accepts_missing(self) -> bool:
        """Whether labels, and responses of models that never ran, may be missing in a fit: if the base says so."""
        return bool(getattr(self.base, "accepts_missing", False))

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Fit the base, and the maps to its out-of-fold estimates.

        Raises
        ------
        ValueError
            An unknown method; fewer than four labelled queries; what the base refuses.
        ModuleNotFoundError
            scikit-learn is not installed, and the method isn't None.
        """
        if self.method not in MAPS:
            raise ValueError(f"method: expected one of {', '.join(map(repr, MAPS))}; got {self.method!r}")
        base = LinearQuality() if self.base is None else self.base
        values = checked_targets(targets, partly=self.accepts_missing)
        if len(values) < FEWEST:
            raise ValueError(
                f"targets: expected at least {FEWEST} labelled queries to calibrate with, got {len(values)}"
            )
        self._low, self._width = _range(values)
        held_out = _held_out(base, queries, responses, values)
        self._maps = MAPS[self.method].fit(self._samples(held_out, values))
        self.update_scale_ = self._update_scale(held_out, values.shape[1])
        self.base_ = copy.deepcopy(base).fit(queries, responses, targets)
        return self

    def predict(self, queries: Queries, responses: Responses) -> Belief:
        """Estimate for queries in all of which the same models have run."""
        run = common_run(responses)
        belief = self.base_.predict(queries, responses)
        shares = self._mapped(belief.quality, run)
        scale = np.sqrt(self.update_scale_[run.astype(np.intp), np.arange(len(run))])
        if self.logit_variance:
            scale = scale * room(shares)
        variance, covariance, loading = belief.variance, belief.covariance, belief.loading
        return Belief(
            self._low + self._width * shares,
            None if variance is None else variance * scale**2,
            None if covariance is None else covariance * (scale[..., :, None] * scale[..., None, :]),
            None if loading is None else loading * scale,
        )

    def warm(self, runs: BoolArray) -> None:
        """Let the base fit what it would otherwise fit when a run set is first met."""
        if hasattr(self.base_, "warm"):
            self.base_.warm(runs)

    def _mapped(self, estimates: FloatArray, run: BoolArray) -> FloatArray:
        """Map estimates, and give them in shares of the range."""
        return self._maps((estimates - self._low) / self._width, run)

    def _samples(self, held_out: list[_HeldOut], values: FloatArray) -> list[list[Sample]]:
        """Gather the estimates and labels of each stage and model."""
        shares = (values - self._low) / self._width
        stages: list[list[Sample]] = []
        for ran in (False, True):
            stages.append([])
            for j in range(values.shape[1]):
                parts = [part for part in held_out if part.run[j] == ran]
                rows = np.concatenate([np.empty(0, dtype=np.intp), *(part.rows for part in parts)])
                estimates = np.concatenate([np.empty(0), *(part.estimates[:, j] for part in parts)])
                known = ~np.isnan(shares[rows, j])
                rows, estimates = rows[known], (estimates[known] - self._low) / self._width
                stages[-1].append(Sample(estimates, shares[rows, j], len(np.unique(rows))))
        return stages

    def _update_scale(self, held_out: list[_HeldOut], n_models: int) -> FloatArray:
        """Divide the mean square of realised updates by that of the believed ones."""
        realised, believed = np.zeros((2, n_models)), np.zeros((2, n_models))
        models, everything = np.arange(n_models), np.ones(n_models, dtype=np.bool_)
        for part in held_out:
            complete = ~np.isnan(part.final).any(axis=1)
            if part.variance is None or part.run.all() or not complete.any():
                continue
            now = self._mapped(part.estimates[complete], part.run)
            update = self._width * (self._mapped(part.final[complete], everything) - now)
            weight = room(now) ** 2 if self.logit_variance else np.ones_like(now)
            stage = part.run.astype(np.intp)
            realised[stage, models] += (update**2).sum(axis=0)
            believed[stage, models] += (part.variance[complete] * weight).sum(axis=0)
        return np.divide(realised, believed, out=np.ones_like(realised), where=believed > 0.0)


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Estimates of rows whose labels the estimator has not seen, after one run set."""

    run: BoolArray
    rows: IndexArray
    estimates: FloatArray
    #: Believed variances of the updates to come; None where the estimator gives none.
    variance: FloatArray | None
    #: Estimates after all models, NaN where not all have run.
    final: FloatArray


def _held_out(base: QualityEstimator, queries: Queries, responses: Responses, values: FloatArray) -> list[_HeldOut]:
    """Estimate each fold by a copy that was fitted without it, for several run sets."""
    rng = np.random.default_rng(0)
    n, n_models = values.shape
    n_folds = min(N_FOLDS, n // 2)
    fold_of_row = rng.permutation(n) % n_folds
    run_sets = _run_sets(n_models, rng)
    parts = []
    for fold in range(n_folds):
        others, rows = np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold)
        fitted = copy.deepcopy(base).fit(_rows(queries, others), responses.take(others), values[others])
        final = np.full((n, n_models), np.nan)
        for run in run_sets:
            ran = rows[responses.run[rows][:, run].all(axis=1)]
            if not len(ran):
                continue
            belief = fitted.predict(_rows(queries, ran), responses.take(ran).with_run(run))
            if run.all():
                final[ran] = belief.quality
            parts.append(_HeldOut(run, ran, belief.quality, _variances(belief), final[ran]))
    return parts


def _run_sets(n_models: int, rng: np.random.Generator) -> list[BoolArray]:
    """Give all models, then none, each alone, and those that come first in random orders; no set twice."""
    ranks = np.array([rng.permutation(n_models) for _ in range(N_ORDERS)])
    first = [ranks < size for size in range(2, n_models)]
    sets = np.concatenate([np.zeros((1, n_models), dtype=np.bool_), np.eye(n_models, dtype=np.bool_), *first])
    everything = np.ones(n_models, dtype=np.bool_)
    return [everything, *(run for run in np.unique(sets, axis=0) if not run.all())]


def _range(values: FloatArray) -> tuple[float, float]:
    """Lower end and width: 0 and 1 for scores in between, else those of the targets."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    return low, high - low if high > low else 1.0


def _variances(belief: Belief) -> FloatArray | None:
    """Variances of the updates to come, of shape (m, n_models)."""
    if belief.covariance is not None:
        variance = np.diagonal(belief.covariance, axis1=-2, axis2=-1)
    elif belief.variance is None and belief.loading is None:
        return None
    else:
        variance = np.zeros(1) if belief.variance is None else belief.variance
    if belief.loading is not None:
        variance = variance + belief.loading**2
    return np.broadcast_to(variance, belief.quality.shape)


def _rows(queries: Queries, rows: IndexArray) -> dict[str, Any]:
    return {name: values[rows] for name, values in queries.items()}
