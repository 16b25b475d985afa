"""Breakers: a model that keeps failing is left alone for a while.

Per model, the calls of the last seconds are counted. Where too many of them failed, the breaker opens: the model isn't
called until the cooldown is over; then one call tries it, and closes the breaker or opens it anew. A breaker never
takes the last model away: a runner that has no other model left calls those behind open breakers all the same.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from headrace.arguments import checked_int, checked_number, checked_seconds

__all__ = ["Breaker", "Breakers"]


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """When a model is left alone.

    Parameters
    ----------
    min_calls : int, default 20
        Calls in the window before anything is concluded.
    share : float, default 0.5
        Share of failed calls at which the breaker opens.
    window_s, cooldown_s : float
        Seconds that are looked at, and seconds until the model is tried again.

    Raises
    ------
    TypeError, ValueError
        Values out of range.
    """

    min_calls: int = 20
    share: float = 0.5
    window_s: float = 30.0
    cooldown_s: float = 10.0

    def __post_init__(self) -> None:
        checked_int("min_calls", self.min_calls, 1)
        if not 0.0 < checked_number("share", self.share) <= 1.0:
            raise ValueError(f"share: expected a number above 0 and at most 1, got {self.share}")
        checked_seconds("window_s", self.window_s)
        checked_seconds("cooldown_s", self.cooldown_s)


class Breakers:
    """The breakers of all models; threads may share them.

    Parameters
    ----------
    settings : Breaker or None
        None: never open.
    clock : callable
        Gives seconds.

    Examples
    --------
    >>> from headrace.runner.breaker import Breaker, Breakers
    >>> now = 0.0
    >>> breakers = Breakers(Breaker(min_calls=2, cooldown_s=10.0), clock=lambda: now)
    >>> for _ in range(2):
    ...     breakers.count("small", failed=True)
    >>> breakers.admits("small"), breakers.admits("large")
    (False, True)
    >>> now = 11.0
    >>> breakers.admits("small"), breakers.admits("small")
    (True, False)
    """

    def __init__(self, settings: Breaker | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = Lock()
        self._calls: dict[str, deque[tuple[float, bool]]] = {}
        #: Of models whose breaker is open: when they are tried again.
        self._until: dict[str, float] = {}

    def admits(self, model: str) -> bool:
        """Tell whether a model may be called now; after the cooldown, one caller is told so for another cooldown."""
        if self._settings is None:
            return True
        with self._lock:
            until = self._until.get(model)
            if until is None:
                return True
            now = self._clock()
            if now < until:
                return False
            self._until[model] = now + self._settings.cooldown_s
            return True

    def count(self, model: str, *, failed: bool) -> None:
        """Take in how a call went."""
        if self._settings is None:
            return
        with self._lock:
            now = self._clock()
            if model in self._until:
                if failed:
                    self._until[model] = now + self._settings.cooldown_s
                else:
                    del self._until[model]
                    self._calls.pop(model, None)
                return
            calls = self._calls.setdefault(model, deque())
            calls.append((now, failed))
            while calls and calls[0][0] < now - self._settings.window_s:
                calls.popleft()
            n_failed = sum(bad for _, bad in calls)
            if failed and len(calls) >= self._settings.min_calls and n_failed >= self._settings.share * len(calls):
                self._until[model] = now + self._settings.cooldown_s
                calls.clear()

    def open(self) -> tuple[str, ...]:
        """Name the models that are left alone now."""
        with self._lock:
            now = self._clock()
            return tuple(model for model, until in self._until.items() if now < until)
