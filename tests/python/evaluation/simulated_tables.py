"""Small tables with beliefs that know something of the outcomes, for tests of baselines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import headrace as hr
from headrace.estimators.belief import Belief

Floats = npt.NDArray[np.float64]


class Simulated:
    """A table and beliefs of it: noise around the truth, less of it the more models have run; stands for a BeliefTable.

    Whole tenths where `coarse`, so that estimates are often equal.
    """

    def __init__(self, seed: int, n: int, k: int, *, coarse: bool = False) -> None:
        rng = np.random.default_rng(seed)
        chance = 1.0 / (1.0 + np.exp(-1.5 * (rng.normal(size=(n, 1)) + np.linspace(-1.0, 1.0, k))))
        quality = (rng.random((n, k)) < chance).astype(float)
        cost = 10.0 ** np.linspace(0.0, 1.5, k) * rng.uniform(0.5, 1.5, (n, k))
        self.outcomes = hr.Outcomes(models=[f"m{j}" for j in range(k)], quality=quality, cost=cost)
        self.chance, self.coarse, self.seed = chance, coarse, seed

    def __call__(
        self, rows: npt.NDArray[np.intp], run: npt.NDArray[np.bool_], *, priced: bool = True
    ) -> tuple[Belief, Floats]:
        rng = np.random.default_rng([self.seed, *run.tolist()])
        known = self.chance + 0.3 * (self.outcomes.quality - self.chance) * run
        belief = known + rng.normal(size=known.shape) * 0.4 / (1.0 + run.sum())
        price = self.outcomes.cost * rng.uniform(0.8, 1.25, known.shape)
        return Belief((belief.round(1) if self.coarse else belief)[rows]), price[rows]
