"""Retries: how often a call that failed is made again, and after what wait."""

from __future__ import annotations

import random
from dataclasses import dataclass

from headrace.arguments import checked_int, checked_seconds
from headrace.runner.faults import KINDS, Fault

__all__ = ["Retry"]


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Calls again after faults that may pass: waits ``base_s * 2^n``, at most `cap_s`, less up to a half at random.

    A provider's Retry-After is waited for where it is at most `cap_s`; where it is longer, another model is asked.

    Parameters
    ----------
    attempts : int, default 2
        Calls of one model for one query at most; 1 = no retry.
    base_s, cap_s : float
        Seconds.

    Raises
    ------
    TypeError, ValueError
        Fewer than one attempt; seconds that aren't a finite number >= 0.

    Examples
    --------
    >>> from headrace.runner import Fault, Retry
    >>> retry = Retry(attempts=2, cap_s=5.0)
    >>> retry.wait(Fault("rate_limited", retry_after_s=1.5), n_calls=1)
    1.5
    >>> retry.wait(Fault("rate_limited", retry_after_s=60.0), n_calls=1), retry.wait(Fault("server"), n_calls=2)
    (None, None)
    """

    attempts: int = 2
    base_s: float = 0.2
    cap_s: float = 5.0

    def __post_init__(self) -> None:
        checked_int("attempts", self.attempts, 1)
        checked_seconds("base_s", self.base_s)
        checked_seconds("cap_s", self.cap_s)

    def wait(self, fault: Fault, *, n_calls: int) -> float | None:
        """Give the seconds to wait before the next call of the same model; None = no further call."""
        if n_calls >= self.attempts or not KINDS[fault.kind].retry:
            return None
        if fault.retry_after_s is not None:
            return fault.retry_after_s if fault.retry_after_s <= self.cap_s else None
        longest = min(self.base_s * 2.0 ** (n_calls - 1), self.cap_s)
        return longest * random.uniform(0.5, 1.0)
