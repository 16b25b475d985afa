"""What one query is bound to: the models that may run, caps on its costs, and what running costs now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from headrace.arguments import LARGEST, FloatArray, listed
from headrace.policy import Policy
from headrace.serving.caps import NO_CAPS, Caps
from headrace.serving.columns import above_largest, checked_caps, sequence_of, shown

__all__ = ["Limits", "index_of", "limits_of"]


class Limits(NamedTuple):
    """What one query is bound to.

    Attributes
    ----------
    options : dict
        As the user gave them.
    allowed : list of int
        Models that may run.
    caps : Caps
    switching : ndarray of shape (n_models,), optional
        What running a model costs more in the state that a conversation is in.
    prices : ndarray of shape (n_models,), optional
        Factors of the costs since the fit.
    """

    options: Mapping[str, Any]
    allowed: list[int]
    caps: Caps
    switching: FloatArray | None
    prices: FloatArray | None

    def charged(self, costs: FloatArray, bought: FloatArray | float, models: Sequence[str]) -> FloatArray:
        """Give the first cost of each model at the prices and in the state of now.

        Parameters
        ----------
        costs : ndarray of shape (n_models,)
            As estimated, `bought` among them.
        bought : ndarray of shape (n_models,), or 0
            What the columns cost that are bought after a run: no model's price changes it.
        models : sequence of str

        Raises
        ------
        ValueError
            A cost beyond what may be calculated with.
        """
        charged = costs if self.prices is None else (costs - bought) * self.prices + bought
        if self.switching is not None:
            charged = charged + self.switching
        j = int(charged.argmax())
        if charged[j] > LARGEST:
            wanted = f"prices, switching_cost: expected costs up to {LARGEST:g} with them"
            raise ValueError(f"{wanted}, got {charged[j]:.3g} for {models[j]!r}")
        return charged


def limits_of(
    policy: Policy,
    *,
    allowed: Sequence[str] | None = None,
    deny: Sequence[str] = (),
    max_cost: float | Mapping[str, float] | None = None,
    switching_cost: Mapping[str, float] | None = None,
    prices: Mapping[str, float] | None = None,
) -> Limits:
    """Check the options of `Decider.start`, which says what they are; errors as there.

    Examples
    --------
    >>> from headrace.policy import Policy
    >>> from headrace.serving.limits import limits_of
    >>> limits_of(Policy(("small", "large"), "routing", {}, (1.0, 1.0)), deny=["small"]).allowed
    [1]
    """
    models = policy.models
    denied = {index_of("deny", name, models) for name in sequence_of("deny", deny)}
    every = models if allowed is None else sequence_of("allowed", allowed)
    caps = NO_CAPS
    if max_cost is not None:
        # The rule keeps the cap of the very cost that it trades, for the whole plan.
        caps = Caps(checked_caps(max_cost, policy.costs), policy.costs[0] if policy.rates == (1.0,) else None)
    options = {"allowed": allowed, "deny": deny, "max_cost": max_cost}
    options |= {"switching_cost": switching_cost, "prices": prices}
    return Limits(
        options,
        [j for j in (index_of("allowed", name, models) for name in every) if j not in denied],
        caps,
        _of_models("switching_cost", switching_cost, models, 0.0) if switching_cost is not None else None,
        _of_models("prices", prices, models, 1.0) if prices is not None else None,
    )


def index_of(argument: str, name: str, models: Sequence[str]) -> int:
    """Give the index of a model.

    Raises
    ------
    ValueError
        An unknown model; it names the argument.
    """
    try:
        return models.index(name)
    except ValueError:
        raise ValueError(f"{argument}: unknown model {name!r}; known: {listed(models)}") from None


def _of_models(argument: str, given: Mapping[str, float], models: Sequence[str], default: float) -> FloatArray:
    """Give a number per model, from those that are named."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{argument}: expected a mapping of model to number, got {type(given).__name__}")
    numbers = np.full(len(models), default)
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= value <= LARGEST:
            wanted = f"{argument}: expected finite numbers >= 0"
            raise ValueError(f"{wanted}, got {shown(value)} for {name!r}{above_largest(value)}")
        numbers[index_of(argument, name, models)] = value
    return numbers
