"""Calibration maps: from estimates to what such estimates turned out to be worth, for probabilities.

    Platt       g(t) = 1 / (1 + exp(-(a logit(t) + b))), a >= 0    (Platt 1999; a = 1, b = 0 changes nothing)
    isotonic    g the non-decreasing function of least squares, linear in between    (Zadrozny and Elkan 2002)

Both are pulled towards the identity by `PRIOR` labels that agree with the estimates, so that few labels do little harm.
scikit-learn fits them; what is kept are numbers.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from headrace.arguments import BoolArray, FloatArray
from headrace.estimators.state import Stateful

__all__ = ["MAPS", "IdentityMaps", "IsotonicMaps", "Maps", "PlattMaps", "Sample", "room"]

#: Labels that agree with the estimates, added to those of each map.
PRIOR = 50.0

#: Estimates nearer to 0 or 1 than this count as being that far off. A regression's estimate of exactly 0 or 1 is a
#: clipped one, and a smaller number lets such estimates pull at the slope.
LEAST = 0.03

#: Inverse strength of scikit-learn's penalty on the slope: next to none, it only settles slopes that nothing else does.
WEAK = 1e6


class Sample(NamedTuple):
    """What one map is learned from.

    Attributes
    ----------
    estimates, labels : ndarray of shape (n,)
        Between 0 and 1.
    n_labels : int
        Number of different labels among them: the same query may be there under several run sets.
    """

    estimates: FloatArray
    labels: FloatArray
    n_labels: int

    def towards_identity(self) -> FloatArray:
        """Mix the labels with the estimates themselves, as if `PRIOR` more labels agreed with these."""
        weight = PRIOR / (PRIOR + self.n_labels)
        return np.asarray((1.0 - weight) * self.labels + weight * np.clip(self.estimates, LEAST, 1.0 - LEAST))


class Maps(Protocol):
    """A map per stage (before and after a model's own run) and model."""

    def __call__(self, estimates: FloatArray, run: BoolArray) -> FloatArray:
        """Map estimates of shape (m, n_models), made once the models of `run` have run."""


class IdentityMaps(Stateful, part="identity-maps"):
    """Leaves the estimates as they are."""

    @classmethod
    def fit(cls, samples: Sequence[Sequence[Sample]]) -> Self:
        """Learn nothing."""
        return cls()

    def __call__(self, estimates: FloatArray, run: BoolArray) -> FloatArray:
        """Give the estimates."""
        return estimates


@dataclass(frozen=True, eq=False)
class PlattMaps(Stateful, part="platt-maps", kept=("slope", "intercept")):
    """Sigmoids of the logit: slopes and intercepts of shape (2, n_models).

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.calibration_maps import PlattMaps
    >>> maps = PlattMaps(np.array([[0.0], [1.0]]), np.array([[0.0], [0.0]]))
    >>> maps(np.array([[0.8]]), np.array([False])).round(3).tolist()
    [[0.5]]
    >>> maps(np.array([[0.8]]), np.array([True])).round(3).tolist()
    [[0.8]]
    """

    slope: FloatArray
    intercept: FloatArray

    @classmethod
    def fit(cls, samples: Sequence[Sequence[Sample]]) -> Self:
        """Fit each map by maximum likelihood; ``samples[stage][model]``."""
        parameters = np.array([[_platt(sample) for sample in of_stage] for of_stage in samples])
        return cls(parameters[..., 0], parameters[..., 1])

    def __call__(self, estimates: FloatArray, run: BoolArray) -> FloatArray:
        """Map estimates of shape (m, n_models)."""
        stage, models = run.astype(np.intp), np.arange(len(run))
        exponent = self.slope[stage, models] * _logit(estimates) + self.intercept[stage, models]
        return np.asarray(1.0 / (1.0 + np.exp(-exponent)))


@dataclass(frozen=True, eq=False)
class IsotonicMaps(Stateful, part="isotonic-maps", kept=("breakpoints",)):
    """Straight lines between breakpoints (x, y); ``breakpoints[stage][model]``."""

    breakpoints: tuple[tuple[tuple[FloatArray, FloatArray], ...], ...]

    @classmethod
    def fit(cls, samples: Sequence[Sequence[Sample]]) -> Self:
        """Fit each map by least squares; ``samples[stage][model]``."""
        return cls(tuple(tuple(_isotonic(sample) for sample in of_stage) for of_stage in samples))

    def __call__(self, estimates: FloatArray, run: BoolArray) -> FloatArray:
        """Map estimates of shape (m, n_models)."""
        mapped = np.empty_like(estimates)
        for j, ran in enumerate(run.tolist()):
            mapped[:, j] = np.interp(estimates[:, j], *self.breakpoints[ran][j])
        return mapped


#: Kinds of maps, by name.
MAPS: dict[str | None, type[IdentityMaps] | type[PlattMaps] | type[IsotonicMaps]] = {
    "platt": PlattMaps,
    "isotonic": IsotonicMaps,
    None: IdentityMaps,
}


def room(estimates: FloatArray) -> FloatArray:
    """Give the derivative p (1 - p) of the sigmoid: how far an estimate moves per step on the logit scale.

    Near 0 and 1 a little is left, as an estimate may be wrong there, too.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.estimators.calibration_maps import room
    >>> room(np.array([0.5, 0.9, 1.0])).round(3).tolist()
    [0.25, 0.09, 0.029]
    """
    inner = np.clip(estimates, LEAST, 1.0 - LEAST)
    return np.asarray(inner * (1.0 - inner))


def _platt(sample: Sample) -> tuple[float, float]:
    if not len(sample.labels):
        return 1.0, 0.0
    logits, labels = _logit(sample.estimates), sample.towards_identity()
    centre = float(logits.mean())
    features = np.concatenate([logits, logits])[:, None] - centre
    # A label of 0.7 is 0.7 of a right answer and 0.3 of a wrong one.
    answers, weights = np.repeat([1, 0], len(labels)), np.concatenate([labels, 1.0 - labels])
    regression = _sklearn("linear_model").LogisticRegression(C=WEAK).fit(features, answers, weights)
    slope, intercept = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    if slope <= 0.0:
        # Estimates that say nothing: out of fold they even seem to point the wrong way, as a fold that is above the
        # average leaves others that are below it.
        mean = float(labels.mean())
        return 0.0, math.log(mean / (1.0 - mean))
    return slope, intercept - slope * centre


def _isotonic(sample: Sample) -> tuple[FloatArray, FloatArray]:
    if not len(sample.labels):
        return np.array([0.0, 1.0]), np.array([0.0, 1.0])
    regression = _sklearn("isotonic").IsotonicRegression(out_of_bounds="clip")
    regression.fit(sample.estimates, sample.towards_identity())
    return regression.X_thresholds_, regression.y_thresholds_


def _logit(estimates: FloatArray) -> FloatArray:
    inner = np.clip(estimates, LEAST, 1.0 - LEAST)
    return np.asarray(np.log(inner / (1.0 - inner)))


def _sklearn(module: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ModuleNotFoundError as error:
        message = "calibration learns with scikit-learn; install it with: pip install 'headrace[estimators]'"
        raise ModuleNotFoundError(message, name=error.name) from error
