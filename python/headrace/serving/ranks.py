r"""Ranks: whether values have risen or fallen, told at any time, whatever their distribution.

Let X_1, X_2, ... be exchangeable as long as nothing changes: known ones first, then those that come. The rank of X_t
among all up to it, with ties broken by chance, gives p_t = (number below + U (number alike, with itself)) / t, and
these p_t are independent and uniform on (0, 1), exactly (Vovk, Gammerman and Shafer 2005, theorem 8.2): heavy tails,
few known values and an unknown distribution don't matter. So the normal scores z_t = Phi^-1(p_t) are independent
N(0, 1), and for every bet b

    L_t(b) = exp(b z_t - b^2 / 2)

has mean 1. After a shift of all values the scores have another mean, about the shift over the spread, and products of
L_t(b) with b of its sign grow. When it comes isn't known: products are started at all times k, with weights
w_k = 1 / log2(k + 1) - 1 / log2(k + 2), which sum to 1. Their sum is an e-detector of Shiryaev and Roberts' kind (Shin,
Ramdas and Rinaldo 2023), and takes one number:

    M_t(b) = (M_{t-1}(b) + w_t) L_t(b),    M_0 = 0.

M_t(b) and the weights still to come are a nonnegative martingale that starts at 1; so is their mean over the bets.
By Ville's inequality P(M_t >= 1 / alpha at any t) <= alpha. Each side has one half of the error. A shift at time k by d
standard deviations is seen about 2 (log(1 / alpha) + log(k log^2 k)) / d^2 values later: the second logarithm is what
it costs not to know when.

Values are counted in steps, so that the state is of constant size; exchangeable values stay so. What comes after a
shift joins what is known: a shift is told soon or, where it is small or few values are known, never, and a slow drift
may pass. Shifts below half of the least bet, a sixteenth of the spread, are left alone.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from headrace.arguments import FloatArray

__all__ = ["RankDetector"]

#: Values are counted in steps of this, and so many of them on either side: of logarithms, 2% and a factor of 1,000.
STEP = 0.02
N_STEPS = 345

#: Bets on a rise, and, negative, on a fall.
BETS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)

#: The latest mean is over about so many values.
LATEST = 100

#: Ranks are kept this far from 0 and 1, whose scores are infinite.
MARGIN = 1e-12

NORMAL = NormalDist()


class RankDetector:
    """Tells whether values have risen or fallen, against those known before and those seen since.

    Parameters
    ----------
    known : ndarray
        Values from before, in any order; there may be none.
    confidence : float
        Probability that it never tells so while nothing changes.

    Attributes
    ----------
    n : int
        Number of values seen.
    latest : float
        Mean of the latest, about a hundred; NaN before the first.
    verdict : {"as promised", "above", "below"}
        Once something has changed, what was told first.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.serving.ranks import RankDetector
    >>> values = np.random.default_rng(1).normal(size=6000)
    >>> detector = RankDetector(values[:1000], 0.95)
    >>> for value in values[1000:]:
    ...     detector.add(value)
    >>> detector.verdict
    'as promised'
    >>> while detector.verdict == "as promised":
    ...     detector.add(1.0 + values[detector.n % 1000])
    >>> detector.verdict, detector.n < 5100
    ('above', True)
    """

    def __init__(self, known: FloatArray, confidence: float) -> None:
        self.n: int = 0
        self.latest: float = math.nan
        self.verdict: str = "as promised"
        places = np.clip(np.rint(np.asarray(known) / STEP), -N_STEPS, N_STEPS).astype(np.intp) + N_STEPS
        self._counts = np.bincount(places, minlength=2 * N_STEPS + 1)
        self._n_all = len(places)
        self._rise = self._fall = [0.0] * len(BETS)
        self._needed = 2.0 * len(BETS) / (1.0 - confidence)
        self._ties = np.random.default_rng(0)

    def add(self, value: float) -> None:
        """Take in a value."""
        self.n += 1
        self.latest = value if self.n == 1 else self.latest + (value - self.latest) / min(self.n, LATEST)
        if self.verdict != "as promised":
            return
        place = min(max(round(value / STEP), -N_STEPS), N_STEPS) + N_STEPS
        self._n_all += 1
        self._counts[place] += 1
        below, alike = int(self._counts[:place].sum()), int(self._counts[place])
        rank = (below + self._ties.random() * alike) / self._n_all
        score = NORMAL.inv_cdf(min(max(rank, MARGIN), 1.0 - MARGIN))
        weight = 1.0 / math.log2(self.n + 1.0) - 1.0 / math.log2(self.n + 2.0)
        self._rise, self._fall = _grown(self._rise, weight, score), _grown(self._fall, weight, -score)
        rise, fall = sum(self._rise), sum(self._fall)
        if max(rise, fall) >= self._needed:
            self.verdict = "above" if rise > fall else "below"


def _grown(evidence: list[float], weight: float, score: float) -> list[float]:
    """Give the evidence of each bet after one more score."""
    return [(e + weight) * math.exp(bet * score - bet**2 / 2.0) for e, bet in zip(evidence, BETS, strict=True)]
