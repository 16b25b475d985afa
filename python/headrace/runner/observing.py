"""Who watches queries: told of each call and of the end, and of no text but what a `Result` holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from headrace.runner.result import Attempt, Result

__all__ = ["Observation", "Observed", "Observer"]

logger: logging.Logger = logging.getLogger("headrace")


class Observation(Protocol):
    """Watches one query."""

    def called(self, attempt: Attempt, usage: Mapping[str, int]) -> None:
        """Take in that a call has ended, and the tokens that the provider counted."""
        ...

    def ended(self, result: Result) -> None:
        """Take in that the query has ended: with an answer, without one, or cancelled."""
        ...


class Observer(Protocol):
    """Watches queries; called in the loop and the context of each, so that it must not wait for anything."""

    def begin(self, id: str) -> Observation:
        """Take in that a query begins. Two that run at once may have the same id."""
        ...


class Observed:
    """What an observer makes of one query; one that fails is logged, and ends no query.

    Parameters
    ----------
    observer : Observer or None
    id : str
        Id of the query.
    """

    def __init__(self, observer: Observer | None, id: str) -> None:
        self._observation: Observation | None = None
        if observer is not None:
            try:
                self._observation = observer.begin(id)
            except Exception:
                self._failed()

    def called(self, attempt: Attempt, usage: Mapping[str, int]) -> None:
        """Tell of a call."""
        if self._observation is not None:
            try:
                self._observation.called(attempt, usage)
            except Exception:
                self._failed()

    def ended(self, result: Result) -> None:
        """Tell of the end."""
        if self._observation is not None:
            try:
                self._observation.ended(result)
            except Exception:
                self._failed()

    def _failed(self) -> None:
        logger.exception("the runner's observer failed")
