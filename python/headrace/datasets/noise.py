"""Noise on a labelled table: looks at each answer's quality and cost that are wrong by a known amount.

The protocol of Dekoninck, Baader and Vechev (ICML 2025, section 5.1) on RouterBench: an estimate is
W (truth + noise) + b, with W and b by least squares on the fitting part. It puts the rules to a test in which no
feature matters, only how much an estimator knows, before a run and after it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Self

import numpy as np

from headrace.arguments import FloatArray, checked_number, checked_rng
from headrace.datasets.simulated import AFTER, BEFORE, PLACE
from headrace.estimators.parameters import Parameters
from headrace.estimators.protocol import Queries
from headrace.estimators.responses import Responses
from headrace.outcomes import Outcomes

__all__ = ["NoisyCost", "with_noise"]

COST_BEFORE = "noisy_cost_before"


def with_noise(
    outcomes: Outcomes,
    quality: tuple[float, float],
    cost: float = 0.0,
    *,
    rng: int | np.random.Generator | None = None,
) -> Outcomes:
    """Add what `NoisyOracle` and `NoisyCost` look at: qualities and costs with normal noise.

    Parameters
    ----------
    outcomes : Outcomes
        Labelled queries; NaN stays NaN.
    quality : tuple of float
        Standard deviation of the noise on the quality before a run and after it, >= 0.
    cost : float, default 0.0
        Standard deviation of the noise on the cost before a run, in the unit of the costs, >= 0. After the run the cost
        is spent, and no decision asks for it again.
    rng : None, int or Generator
        Source of randomness; None means seed 0.

    Returns
    -------
    Outcomes
        With the query columns "noisy_quality_before" and "noisy_cost_before", and the response columns "noisy_quality"
        and "place"; all other columns of queries and responses are dropped.

    Raises
    ------
    ValueError
        A noise that is negative or not finite.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.datasets import NoisyCost, NoisyOracle, with_noise
    >>> table = with_noise(hr.datasets.load_quickstart(), (0.6, 0.3), 20.0)
    >>> router = hr.Router(quality=NoisyOracle(), cost=NoisyCost(), rule="routing").fit(table, budget=100.0)
    >>> round(router.point_.cost, 6)
    100.0
    """
    deviations = [_deviation("quality", quality[0]), _deviation("quality", quality[1]), _deviation("cost", cost)]
    # A stream of its own: `simulate` with the same seed would draw the truth from the same numbers.
    [generator] = checked_rng(rng).spawn(1)
    shape = outcomes.quality.shape
    before, after, costs = (
        truth + deviation * generator.normal(size=shape)
        for truth, deviation in zip((outcomes.quality, outcomes.quality, outcomes.cost), deviations, strict=True)
    )
    places = np.tile(np.arange(shape[1]), (shape[0], 1))
    return replace(outcomes, queries={BEFORE: before, COST_BEFORE: costs}, responses={AFTER: after, PLACE: places})


def _deviation(argument: str, value: float) -> float:
    deviation = checked_number(argument, value)
    if not 0.0 <= deviation < math.inf:
        raise ValueError(f"{argument}: expected a finite standard deviation >= 0, got {deviation}")
    return deviation


class NoisyCost(Parameters):
    """Cost estimates from noisy looks at the truth, as `with_noise` provides them.

    Examples
    --------
    >>> import numpy as np
    >>> import headrace as hr
    >>> from headrace.datasets import NoisyCost, with_noise
    >>> table = with_noise(hr.datasets.simulate(500, 2), (0.6, 0.3), 0.0)
    >>> everything = table.responses_for(np.ones(2, dtype=bool))
    >>> estimates = NoisyCost().fit(table.queries, everything, table.cost).predict(table.queries, everything)
    >>> bool(np.allclose(estimates, table.cost))
    True
    """

    def fit(self, queries: Queries, responses: Responses, targets: FloatArray) -> Self:
        """Fit one line per model."""
        self._places = responses.column(PLACE)[0].astype(np.intp)
        looks = queries[COST_BEFORE][:, self._places]
        one = np.ones(len(targets))
        lines = [
            np.linalg.lstsq(np.column_stack([looks[:, j], one]), targets[:, j], rcond=None)[0]
            for j in range(targets.shape[1])
        ]
        self._slope, self._constant = np.transpose(lines)
        return self

    def predict(self, queries: Queries, responses: Responses) -> FloatArray:
        """Estimate by the line, cut off at zero."""
        return np.asarray(np.maximum(queries[COST_BEFORE][:, self._places] * self._slope + self._constant, 0.0))
