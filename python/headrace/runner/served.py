"""What a fitted router does as its decider would: for those who fit and serve in one program."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from headrace.runner.queries import Query, Terms
from headrace.runner.result import Result
from headrace.runner.runner import Runner
from headrace.runner.signals import SignalLike
from headrace.runner.targets import TargetLike
from headrace.serving import Decider, Session

__all__ = ["Served"]


class Served:
    """Calls of a decider, by an object that has one."""

    @abstractmethod
    def _served(self, method: str) -> Decider:
        """Give the decider, or say what lacks for the method.

        Raises
        ------
        ValueError
            There is none yet.
        """

    def start(self, query: Mapping[str, Any] | str, **options: Any) -> Session:
        """Start the walk over one query: `Decider.start` of `decider_`, which says what the options are.

        Raises
        ------
        ValueError
            No budget was given yet; what `Decider.start` refuses.
        """
        return self._served("start").start(query, **options)

    def select_batch(self, queries: Mapping[str, npt.ArrayLike], **options: Any) -> npt.NDArray[np.int32]:
        """Decide for many queries at once: `Decider.select_batch` of `decider_`; errors as `start`."""
        return self._served("select_batch").select_batch(queries, **options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what serves to a file that `headrace.load` reads: `Decider.save` of `decider_`; errors as there.

        Without a budget it is refused, as in `start`. The labelled queries stay behind: what is loaded can't be
        recalibrated, nor be given a confidence.
        """
        self._served("save").save(path)

    def run(
        self,
        query: Query,
        targets: Mapping[str, TargetLike | None],
        *,
        signals: Mapping[str, SignalLike] | None = None,
        **terms: Unpack[Terms],
    ) -> Result:
        """Call models for one query, as the decider says: `Runner.run` of a runner made for it.

        Parameters
        ----------
        query : str, mapping of str to value, or sequence of messages
        targets : mapping of str to function or target
            What to call for each model, as in `Runner`: functions of the query will do.
        signals : mapping of str to callable, optional
            Buy what the decider wants to know of answers, as in `Runner`.
        terms
            As in `Runner.arun`.

        Returns
        -------
        Result

        Raises
        ------
        Exhausted
            No model gave an answer.
        ValueError
            No budget was given yet; what `Runner` and `Runner.arun` refuse.

        Examples
        --------
        >>> import headrace as hr
        >>> models = {
        ...     "small": lambda text: {"answer": "even", "cost": 1},
        ...     "large": lambda text: {"answer": "odd" if int(text) % 2 else "even", "cost": 9},
        ... }
        >>> table = hr.Outcomes.collect(
        ...     [str(number) for number in range(80)],
        ...     models,
        ...     quality=lambda text, returned: returned["answer"] == models["large"](text)["answer"],
        ... )
        >>> router = hr.Router(quality="linear").fit(table, budget=9.5)
        >>> router.run("17", models).model in models
        True
        """
        with Runner(self._served("run"), targets, signals=signals) as runner:
            return runner.run(query, **terms)
