"""Guarantees: bounds on a mean that hold for a finite sample, and the choice of a policy by them.

A bounded variable's mean is bounded by betting against the claim that it is worse than promised: with slack s_i
(positive where the promise is more than kept) and s_i >= -w, the capital prod(1 + f s_i / w) is a supermartingale for
every stake f in [0, 1) if the mean slack is not positive. By Ville's inequality it ever exceeds 1/delta with
probability delta at most (Waudby-Smith and Ramdas, JRSS B 2024, section 4). The stake, w sqrt(2 log(1/delta) / n) / sd
but at most 0.99, makes the margin that is needed about sd sqrt(2 log(1/delta) / n); the sd comes from other queries.

Policies along a budget path are tested one after the other, from the safest on, in an order that doesn't depend on the
data tested on; the last one before the first failure is taken. The probability that it breaks the promise is at most
delta (fixed-sequence testing, as in Angelopoulos et al., Learn then Test, Annals of Applied Statistics 2025).

Assumed: the calibration queries and those to come are exchangeable, and calibration has not been used to fit estimators
or to choose settings. Queries of one group, such as the turns of a conversation, may depend on each other: then it is
groups that are exchangeable, and each is one bet, with the sum of its slacks over the size of the largest.

No finite sample can exclude what was never seen: a promise holds provided that no query, with all its runs, costs more
than `largest`. The user gives that, or it is the largest among the fitting queries. A calibration query beyond the
latter raises it, and then the weaker evidence of the two counts, so that no cost seen is cut, and the test by the
fitting queries stays valid. Qualities count from the least among the fitting queries on.

Far above the costs seen, no other bound does much better: an exception of probability p is in none of n queries with
probability (1 - p)^n, so that any method needs log(1/delta) largest / (limit - mean) queries; the boldest stake needs
1/0.99 times that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import FloatArray, IndexArray
from headrace.policy.budget_path import shown_limits

__all__ = [
    "Guarantee",
    "by_group",
    "cost_evidence",
    "fixed_sequence",
    "mean_upper_bound",
    "quality_evidence",
    "queries_needed",
    "tail_ratio",
]

#: The largest stake: with all of it, one query could lose everything.
BOLDEST = 0.99

#: Halvings of the interval in which a bound is searched.
N_HALVINGS = 50

#: Costs have a tail where the largest of a model exceeds so many times what `USUAL` of its queries cost at most.
TAIL = 10.0
USUAL = 0.95

#: More queries than this are not asked for.
MOST_QUERIES = 10**9


class Guarantee(NamedTuple):
    """What is promised of a policy's means on fresh queries, with which confidence.

    Attributes
    ----------
    limits : dict of str to float
        Largest mean of each cost named, or the least mean "quality".
    confidence : float
        Probability, over calibration tables, that the promise is kept.
    largest : dict of str to float
        The promise of a cost holds provided that no query, with all its runs, costs more. As given, or the largest
        seen under the policies that were tested.
    n_queries : int
        Number of calibration queries.
    price : float
        Quality that the guarantee costs: that of the policy which meets the budget on the calibration queries without
        any margin, minus this one's. For a quality target, the cost that it takes more.
    given : tuple of str
        Costs of which the largest was given.
    least : float or None
        The promise of a quality holds provided that no query's quality is below; None for a promise of costs.
    """

    limits: dict[str, float]
    confidence: float
    largest: dict[str, float]
    n_queries: int
    price: float
    given: tuple[str, ...] = ()
    least: float | None = None

    @property
    def words(self) -> str:
        """Confidence and condition, in words."""
        return f"promised with confidence {self.confidence:g}, {self.condition}"

    @property
    def condition(self) -> str:
        """What must be true of the queries to come, in words.

        Examples
        --------
        >>> from headrace.calibration.guarantee import Guarantee
        >>> Guarantee({"cost": 0.002}, 0.9, {"cost": 0.04}, 500, 0.01, given=("cost",)).condition
        'provided that no query costs more than 0.04 (as given)'
        >>> Guarantee({"cost": 0.002}, 0.9, {"cost": 0.04}, 500, 0.01).condition
        'provided that no query costs more than 0.04 (the most expensive seen)'
        """
        if self.least is not None:
            return f"provided that no query's quality is below {self.least:.6g} (the least seen)"
        known = {name: "as given" if name in self.given else "the most expensive seen" for name in self.largest}
        one = len(set(known.values())) == 1
        shown = {
            name: f"{largest:.6g}" + ("" if one else f" ({known[name]})") for name, largest in self.largest.items()
        }
        source = f" ({next(iter(known.values()))})" if one else ""
        return f"provided that no query costs more than {shown_limits(shown)}{source}"

    def to_dict(self) -> dict[str, Any]:
        """Give the numbers and the condition, ready for JSON."""
        return {**self._asdict(), "condition": self.condition}


def cost_evidence(
    cost: FloatArray,
    limit: float,
    largest: float,
    *,
    sd: float,
    confidence: float,
    groups: IndexArray | None = None,
) -> float:
    """Logarithm of the evidence that the mean of a cost is at most `limit`.

    Parameters
    ----------
    cost : ndarray of shape (n,)
        Costs of the queries, >= 0, in an order that doesn't depend on them.
    limit : float
        The limit promised.
    largest : float
        Costs above it count as much.
    sd : float
        Standard deviation of the bets that is expected, from other queries; it decides the power only, not the
        validity.
    confidence : float
        The confidence for which the power is best.
    groups : int ndarray of shape (n,), optional
        Number of the group of each query, from 0 on in an order that doesn't depend on the costs; by default all
        queries are independent.

    Returns
    -------
    float
        If the mean is above the limit, it exceeds log(1/delta) with probability delta at most, for any delta.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.calibration.guarantee import cost_evidence
    >>> costs = np.random.default_rng(0).uniform(size=1000)
    >>> [round(cost_evidence(costs, limit, 1.0, sd=0.29, confidence=0.95), 1) for limit in (0.5, 0.52, 0.54)]
    [0.3, 0.4, 3.5]
    """
    if largest <= limit:
        return float("inf")
    return _log_evidence(by_group(limit - np.minimum(cost, largest), groups), largest - limit, sd, confidence)


def quality_evidence(
    quality: FloatArray,
    target: float,
    least: float,
    greatest: float,
    *,
    sd: float,
    confidence: float,
    groups: IndexArray | None = None,
) -> float:
    """Logarithm of the evidence that a mean quality is at least `target`; it counts from `least` to `greatest` only.

    Otherwise as `cost_evidence`.
    """
    if target <= least:
        return float("inf")
    return _log_evidence(by_group(np.clip(quality, least, greatest) - target, groups), target - least, sd, confidence)


def fixed_sequence(evidence: Iterable[float], confidence: float) -> int:
    """Count the claims, tested in the order given, before the first for which the evidence doesn't suffice.

    Examples
    --------
    >>> from headrace.calibration.guarantee import fixed_sequence
    >>> fixed_sequence([9.0, 5.0, 2.0, 7.0], confidence=0.95)
    2
    """
    needed = -np.log1p(-confidence)
    passed = 0
    for value in evidence:
        if value < needed:
            break
        passed += 1
    return passed


def mean_upper_bound(
    cost: FloatArray, largest: float, *, sd: float, confidence: float, groups: IndexArray | None = None
) -> float:
    """Upper confidence bound of the mean of a cost.

    Parameters
    ----------
    cost, largest, sd, confidence, groups
        As in `cost_evidence`.

    Returns
    -------
    float
        The smallest limit for which `cost_evidence` suffices; at most `largest`.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.calibration.guarantee import mean_upper_bound
    >>> costs = np.random.default_rng(0).exponential(size=1000)
    >>> round(float(costs.mean()), 2), round(mean_upper_bound(costs, 10.0, sd=1.0, confidence=0.95), 2)
    (1.02, 1.1)
    """
    low, high = float(np.minimum(cost, largest).mean()), largest
    for _ in range(N_HALVINGS):
        middle = 0.5 * (low + high)
        evidence = cost_evidence(cost, middle, largest, sd=sd, confidence=confidence, groups=groups)
        if fixed_sequence([evidence], confidence):
            high = middle
        else:
            low = middle
    return high


def queries_needed(
    cost: FloatArray, limit: float, largest: float, *, sd: float, confidence: float, groups: IndexArray | None = None
) -> float:
    """Estimate how many queries like these would suffice for a limit.

    Parameters
    ----------
    cost, limit, largest, sd, confidence, groups
        As in `cost_evidence`.

    Returns
    -------
    float
        Number of queries for which the expected evidence suffices; infinity if none does.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.calibration.guarantee import queries_needed
    >>> costs = np.full(50, 1.0)
    >>> [round(queries_needed(costs, limit, 100.0, sd=0.1, confidence=0.9)) for limit in (1.5, 3.0)]
    [460, 114]
    """
    if largest <= limit:
        return float(len(cost))
    slack = by_group(limit - np.minimum(cost, largest), groups)

    def suffices(n_bets: int) -> bool:
        share = _stake(largest - limit, sd, confidence, n_bets) / (largest - limit)
        return bool(n_bets * np.log1p(share * slack).mean() >= -np.log1p(-confidence))

    high = 1
    while not suffices(high):
        high *= 2
        if high > MOST_QUERIES:
            return float("inf")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high * len(cost) / len(slack)


def tail_ratio(cost: FloatArray) -> FloatArray:
    """Give how many times the largest cost of each model exceeds what 95% of its queries cost at most.

    Parameters
    ----------
    cost : ndarray of shape (n_queries, n_models)

    Returns
    -------
    ndarray of shape (n_models,)
        1 for a model whose costs are all zero.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.calibration.guarantee import tail_ratio
    >>> tail_ratio(np.array([[1.0, 1.0]] * 99 + [[2.0, 100.0]])).tolist()
    [2.0, 100.0]
    """
    usual, most = np.quantile(cost, USUAL, axis=0, method="lower"), cost.max(axis=0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.divide(most, usual, out=np.ones(len(most)), where=most > 0.0))


def by_group(slack: FloatArray, groups: IndexArray | None) -> FloatArray:
    """Sum up values by group, over the size of the largest group.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.calibration.guarantee import by_group
    >>> by_group(np.array([1.0, -1.0, 4.0]), np.array([1, 0, 1])).tolist()
    [-0.5, 2.5]
    """
    if groups is None:
        return slack
    return np.asarray(np.bincount(groups, weights=slack) / np.bincount(groups).max())


def _log_evidence(slack: FloatArray, worst: float, sd: float, confidence: float) -> float:
    """Logarithm of the largest capital on the way; `slack` is never below -worst."""
    stake = _stake(worst, sd, confidence, len(slack))
    return float(np.cumsum(np.log1p(stake / worst * slack)).max(initial=0.0))


def _stake(worst: float, sd: float, confidence: float, n_bets: int) -> float:
    wanted = worst * float(np.sqrt(-2.0 * np.log1p(-confidence) / n_bets))
    return min(BOLDEST, wanted / sd) if sd > 0.0 else BOLDEST
