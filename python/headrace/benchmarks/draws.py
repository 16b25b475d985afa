"""Several draws of the queries to fit and to test (and of the noise, where there is some), compared as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headrace.arguments import FloatArray
from headrace.evaluation.bootstrap import Estimate, estimate
from headrace.evaluation.method import Curves

__all__ = ["Draws", "drawn"]


@dataclass(frozen=True)
class Draws:
    """The curves of the same methods on several draws.

    An estimate is the mean over the draws. Its interval is that of one draw: it pools the bootstrap resamples of the
    test queries of all draws, so it covers the queries, the split and the noise, and doesn't shrink with more draws.

    Attributes
    ----------
    curves : tuple of Curves

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.benchmarks.draws import Draws
    >>> from headrace.estimators import LinearCost, LinearQuality
    >>> from headrace.evaluation.curves import cross_fitted, replayed
    >>> table = hr.datasets.load_quickstart().select(["centroid", "network", "svm"])
    >>> def one(seed):
    ...     parts = table.split(0.3, rng=seed)
    ...     return replayed(*cross_fitted(*parts, LinearQuality(), LinearCost()), ["routing"])
    >>> draws = Draws.of(one, n_draws=2)
    >>> draws.difference("routing", "linear interpolation").value > 0.0
    True
    """

    curves: tuple[Curves, ...]

    @classmethod
    def of(cls, one: Callable[[int], Curves], n_draws: int) -> Draws:
        """Make the draws, one for each seed from 0."""
        return cls(tuple(one(seed) for seed in range(n_draws)))

    def area(self, method: str) -> Estimate:
        """Area of a method, in %."""
        values = [one[method].area for one in self.curves]
        return self._pooled(values, [one[method].resampled for one in self.curves])

    def difference(self, a: str, b: str) -> Estimate:
        """Area of method `a` minus that of `b`, on the same queries, in %."""
        values = [one[a].area - one[b].area for one in self.curves]
        return self._pooled(values, [one[a].resampled - one[b].resampled for one in self.curves])

    @staticmethod
    def _pooled(values: Sequence[float], resampled: Sequence[FloatArray]) -> Estimate:
        return estimate(100.0 * float(np.mean(values)), 100.0 * np.concatenate(resampled))


def drawn(n_draws: int) -> str:
    """Write a number of draws."""
    return "1 draw" if n_draws == 1 else f"{n_draws} draws"
