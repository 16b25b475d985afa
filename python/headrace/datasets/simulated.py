"""Simulated queries, and the noisy oracle: estimates that are the truth plus noise, before and after a run.

The protocol of Dekoninck, Baader and Vechev (ICML 2025, section 5.1) for RouterBench: an estimate is
W (quality + noise) + b, with W and b by least squares on the fitting part, and less noise after the model has run.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from headrace.arguments import FloatArray, checked_rng
from headrace.estimators.belief import Belief
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import Queries
from headrace.estimators.responses import Responses
from headrace.outcomes import Outcomes

__all__ = ["NOISE_LEVELS", "NoisyOracle", "simulate"]

#: Standard deviation of the noise on the quality, before and after a run.
NOISE_LEVELS = {"low": (0.6, 0.3), "medium": (1.6, 0.8), "high": (2.4, 1.2)}

#: Quality of the weakest and of the strongest simulated model.
QUALITIES = (0.35, 0.8)

#: Mean cost of the cheapest and of the most expensive simulated model.
COSTS = (1e-4, 1e-2)

#: Standard deviation of the shared difficulty, in units of a model's own randomness: models fail together.
SHARED_DIFFICULTY = 1.0

#: Standard deviation of the logarithm of a query's size, to which all its costs are proportional.
SIZE_SPREAD = 0.5

BEFORE, AFTER = "noisy_quality_before", "noisy_quality"

#: Response column that tells which column of `BEFORE` is a model's: a choice of models cuts responses, not queries.
PLACE = "place"


def simulate(
    n_queries: int, n_models: int, *, noise: str = "low", rng: int | np.random.Generator | None = None
) -> Outcomes:
    """Simulate labelled queries of models whose quality and cost rise together, with noisy looks at the quality.

    Parameters
    ----------
    n_queries, n_models : int
    noise : {"low", "medium", "high"}
        Level of the noise; see `NOISE_LEVELS`.
    rng : None, int or Generator
        Source of randomness; None means seed 0.

    Returns
    -------
    Outcomes
        Quality is 0 or 1, with accuracies from 0.35 to 0.8 and one difficulty per query that all models share; costs
        rise from 1e-4 to 1e-2 on average, proportional to a query's size. The query column "noisy_quality_before" of
        shape (n_queries, n_models) and the response column "noisy_quality" are what `NoisyOracle` looks at; "place"
        says which column of the former is the model's.

    Raises
    ------
    ValueError
        An unknown level of noise.

    Examples
    --------
    >>> from headrace.datasets import simulate
    >>> simulate(1000, 3).mean_quality.round(1).tolist()
    [0.4, 0.6, 0.8]
    """
    if noise not in NOISE_LEVELS:
        raise ValueError(f"noise: expected one of {', '.join(NOISE_LEVELS)}; got {noise!r}")
    generator = checked_rng(rng)
    share = np.linspace(0.0, 1.0, n_models)
    accuracy = QUALITIES[0] + share * (QUALITIES[1] - QUALITIES[0])
    shape = (n_queries, n_models)
    # A model is right where its ease, normal and correlated between the models, is among its best `accuracy` part.
    ease = generator.normal(size=shape) + SHARED_DIFFICULTY * generator.normal(size=(n_queries, 1))
    ranks = ease.argsort(axis=0).argsort(axis=0)
    quality = (ranks >= np.round((1.0 - accuracy) * n_queries)).astype(np.float64)
    size = np.exp(SIZE_SPREAD * generator.normal(size=(n_queries, 1)) - SIZE_SPREAD**2 / 2.0)
    cost = np.geomspace(*COSTS, n_models) * size
    before, after = (quality + sd * generator.normal(size=shape) for sd in NOISE_LEVELS[noise])
    return Outcomes(
        models=[f"model-{j + 1}" for j in range(n_models)],
        quality=quality,
        cost=cost,
        queries={BEFORE: before, "size": size[:, 0]},
        responses={AFTER: after, PLACE: np.tile(np.arange(n_models), (n_queries, 1))},
    )


class NoisyOracle(Parameters):
    """Quality estimates from noisy looks at the truth, as `simulate` provides them.

    Parameters
    ----------
    fusion : bool, default False
        After a run, combine both looks by least squares; by default, as in the paper, the second replaces the first.

    Examples
    --------
    >>> import headrace as hr
    >>> table = hr.datasets.simulate(500, 3)
    >>> router = hr.Router(quality=hr.datasets.NoisyOracle(fusion=True)).fit(table, budget=0.001)
    >>> round(router.point_.cost, 6)
    0.001
    """

    def __init__(self, *, fusion: bool = False) -> None:
        self.fusion = fusion

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Fit one regression per model and stage; the update's variance is that of the change between the stages."""
        self._places = responses.column(PLACE)[0].astype(np.intp)
        before, after = queries[BEFORE][:, self._places], np.asarray(responses.column(AFTER))
        n_models = targets.shape[1]
        self._before = np.empty((n_models, 2))
        self._after = np.empty((n_models, 3))
        self._variance = np.empty(n_models)
        one = np.ones(len(targets))
        for j in range(n_models):
            first = np.column_stack([before[:, j], one])
            second = np.column_stack([after[:, j], before[:, j] if self.fusion else np.zeros_like(one), one])
            self._before[j] = np.linalg.lstsq(first, targets[:, j], rcond=None)[0]
            self._after[j] = np.linalg.lstsq(second, targets[:, j], rcond=None)[0]
            self._variance[j] = np.mean((second @ self._after[j] - first @ self._before[j]) ** 2)
        return self

    def predict(self, queries: Queries, responses: Responses) -> Belief:
        """Estimate by the second look for models that have run, by the first for the others."""
        before = queries[BEFORE][:, self._places]
        after = np.nan_to_num(np.asarray(responses.column(AFTER), dtype=np.float64))
        ex_ante = before * self._before[:, 0] + self._before[:, 1]
        post_hoc = after * self._after[:, 0] + before * self._after[:, 1] + self._after[:, 2]
        quality = np.where(responses.run, post_hoc, ex_ante)
        return Belief(quality, variance=np.where(responses.run, 0.0, self._variance))
