"""The conclusion of an evaluation in one word: what its intervals allow to say at the router's budget."""

from __future__ import annotations

import numpy as np

from headrace.evaluation.baselines import LINEAR
from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.findings import Single
from headrace.evaluation.scorecard import Scorecard

__all__ = ["ALONE", "LEAST_SAVING", "MIXING", "NOT_SHOWN", "PAYS", "SAVES", "conclusion", "nothing_to_trade", "saved"]

#: The router is better, at its budget, than what else the budget buys.
PAYS = "pays"

#: The router is as good as the best model, for less.
SAVES = "pays by its cost"

#: No difference is shown.
NOT_SHOWN = "no gain shown"

#: A single model that the budget affords is better, or just as good and the cheapest one.
ALONE = "one model is better"

#: Mixing single models at random is better.
MIXING = "mixing is better"

#: Savings below this are shown as 0%, and count as none.
LEAST_SAVING = 0.005


def conclusion(card: Scorecard) -> str:
    """Say what an evaluation shows at the router's budget.

    Parameters
    ----------
    card : Scorecard

    Returns
    -------
    str
        `PAYS` where the router's quality is above that of the best model that the budget affords, and above that of
        mixing at the cost that the router realised, both with their intervals (where mixing wasn't evaluated: above the
        best model of all); `ALONE` or `MIXING` where one of these is above the router's; `SAVES` where the budget
        affords the best model of all, and the router reaches its quality, or nearly, at less cost; else `NOT_SHOWN`.

    Examples
    --------
    >>> import headrace as hr
    >>> from headrace.evaluation.conclusion import conclusion
    >>> fitting, test = hr.datasets.load_quickstart().select(["centroid", "network", "svm"]).split(0.5)
    >>> router = hr.Router(rule="routing").fit(fitting, budget=60.0)
    >>> conclusion(hr.evaluate(router, test, fitting=fitting, baselines=["linear interpolation"]))
    'pays'
    """
    if nothing_to_trade(card):
        return ALONE
    rival, over = card.chosen.rival, card.chosen.gain
    best = rival is not None and rival == card.best_single.model
    over_mixing = _over_mixing(card)
    if rival is not None and over.high < 0.0:
        return ALONE
    if over_mixing is not None and over_mixing.high < 0.0:
        return MIXING
    ahead = [difference.low > 0.0 for difference in (over if rival else None, over_mixing) if difference is not None]
    # No mixture is above the best model: where that one is beaten, mixing is.
    if ahead and all(ahead) and (best or any(method.name == LINEAR for method in card.methods)):
        return PAYS
    return SAVES if best and saved(card, card.best_single) else NOT_SHOWN


def saved(card: Scorecard, best: Single) -> bool:
    """Whether the router is shown to reach a model's quality, or nearly, at less cost."""
    if best.saving.low > LEAST_SAVING or (best.saving.value > LEAST_SAVING and best.gain.low > 0.0):
        return True
    # Half a point less is cheaper by mixing at random, too: it is a gain only where the router beats that.
    over_mixing = card.difference("router", LINEAR) if any(m.name == LINEAR for m in card.methods) else None
    return best.near_saving.low > LEAST_SAVING and over_mixing is not None and over_mixing.low > 0.0


def nothing_to_trade(card: Scorecard) -> bool:
    """Whether one model is the best and the cheapest one, and the router doesn't get above it."""
    best = card.best_single
    cheapest = all(best.cost.value <= other.cost.value for other in card.singles)
    return cheapest and not np.max(card["router"].quality) > best.quality.high


def _over_mixing(card: Scorecard) -> Estimate | None:
    """Give the router's gain over mixing, where that was evaluated and can be as cheap as the budget."""
    mixed = any(method.name == LINEAR and method.feasible[card.at] for method in card.methods)
    return card.gain_over(LINEAR) if mixed else None
