"""The verdict in words: what the intervals allow to say."""

from __future__ import annotations

import numpy as np

from headrace.evaluation.baselines import LABELS, LINEAR
from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.findings import NEARLY
from headrace.evaluation.scorecard import Scorecard
from headrace.evaluation.traffic import entropy

__all__ = ["points", "shares", "verdict"]

#: Share of the answers from which one model is said to answer nearly everything.
COLLAPSED = 0.95

#: Savings below this are shown as 0%, and count as none.
LEAST_SAVING = 0.005


def points(difference: Estimate) -> str:
    """Write a difference of qualities in percentage points, with its interval.

    Examples
    --------
    >>> from headrace.evaluation.bootstrap import Estimate
    >>> from headrace.evaluation.report.verdict import points
    >>> points(Estimate(0.0123, -0.001, 0.02))
    '+1.2 points [-0.1, +2.0]'
    """
    value, low, high = (100.0 * number for number in difference)
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def shares(part: Estimate) -> str:
    """Write a share in percent, with its interval; a bound that is infinite is left open.

    Examples
    --------
    >>> from headrace.evaluation.bootstrap import Estimate
    >>> from headrace.evaluation.report.verdict import shares
    >>> shares(Estimate(0.5, 0.25, 0.75)), shares(Estimate(0.5, float("-inf"), 0.75))
    ('50% [25%, 75%]', '50% [none, 75%]')
    """
    value, low, high = (f"{round(100.0 * number):d}%" if np.isfinite(number) else "none" for number in part)
    return f"{value} [{low}, {high}]"


def verdict(card: Scorecard) -> list[str]:
    """Say whether the router pays, by how much, and what is suspicious.

    Parameters
    ----------
    card : Scorecard

    Returns
    -------
    list of str
        Sentences; the first one is the verdict.
    """
    return [_headline(card), *_against_others(card), _budget(card), *_collapse(card)]


def _headline(card: Scorecard) -> str:
    best = card.best_single
    model, gain = best.model, best.gain
    if all(best.cost.value <= other.cost.value for other in card.singles):
        router = card["router"]
        top = int(router.quality.argmax())
        if router.quality[top] > best.quality.high:
            return (
                f"This router pays: {model} is the best single model and the cheapest one, with a quality of "
                f"{100.0 * best.quality.value:.1f}% at {best.cost.value:.4g}; the router reaches "
                f"{100.0 * router.quality[top]:.1f}% at {router.cost[top]:.4g}."
            )
        return (
            f"Use {model} alone: on these {card.n_test} queries it is the best model and the cheapest one, "
            "so there is nothing to trade."
        )
    near = f"comes within {100.0 * NEARLY:g} points of it at {shares(best.near_saving)} less cost"
    saved = f"It {near}." if best.near_saving.value > 0.0 else "It doesn't come near that model at less cost."
    if best.saving.low > LEAST_SAVING or (best.saving.value > 0.0 and gain.low > 0.0):
        saved = f"It reaches that model's quality at {shares(best.saving)} less cost."
    if gain.high < 0.0:
        lost = f"by {points(gain)}" if np.isfinite(gain.value) else "which this router can't even keep"
        if best.near_saving.low > 0.0:
            return f"{model} alone stays ahead at its own cost, {lost}; this router {near}."
        return f"{model} alone wins at its own cost, {lost}. Use that model unless the budget is below its cost."
    if gain.low > 0.0:
        return (
            f"This router pays: at the cost of the best single model, {model}, it is better by {points(gain)}. {saved}"
        )
    equal = f"at the cost of the best single model, {model}, the two can't be told apart, {points(gain)}."
    # Half a point less is cheaper by mixing at random, too: it is a gain only where the router beats that.
    known = any(method.name == LINEAR for method in card.methods)
    nearly = best.near_saving.low > LEAST_SAVING and known and card.difference("router", LINEAR).low > 0.0
    if best.saving.low > LEAST_SAVING or nearly:
        return f"This router pays: {equal} {saved}"
    return f"No gain over {model} alone is shown by these {card.n_test} queries: {equal} {saved}"


def _against_others(card: Scorecard) -> list[str]:
    sentences = []
    names = [method.name for method in card.methods]
    if LINEAR in names:
        difference = card.difference("router", LINEAR)
        says = _compared(difference, "beats", "is beaten by", "can't be told from")
        sentences.append(f"Over all budgets it {says} mixing single models at random: {points(difference)} of area.")
    rivals = [method for method in card.methods if method.name not in ("router", LINEAR, "oracle")]
    if rivals:
        best = max(rivals, key=lambda method: method.area)
        difference = card.difference("router", best.name)
        says = _compared(difference, "is ahead of", "is behind", "can't be told from")
        sentences.append(f"It {says} the best of the other methods, {LABELS[best.name]}: {points(difference)}.")
    return sentences


def _compared(difference: Estimate, ahead: str, behind: str, open_: str) -> str:
    return ahead if difference.low > 0.0 else behind if difference.high < 0.0 else open_


def _budget(card: Scorecard) -> str:
    chosen = card.chosen
    if chosen.assumed:
        return "The router has no budget of its own; the middle one is shown."
    if not np.isnan(chosen.quality_target):
        target = chosen.quality_target
        quality = chosen.quality
        says = "reached" if quality.low >= target else "missed" if quality.high < target else "met within the error"
        return (
            f"The quality target {target:.4g} was {says}: {quality.value:.4g} [{quality.low:.4g}, {quality.high:.4g}]."
        )
    sentences = []
    for name, excess in chosen.excess.items():
        cost = chosen.costs[name]
        says = _compared(excess, "exceeded", "kept", "met within the error")
        sentences.append(
            f"The budget of {chosen.budget[name]:.4g} ({name}) was {says}: {cost.value:.4g} "
            f"[{cost.low:.4g}, {cost.high:.4g}] spent on models."
        )
    return " ".join(sentences)


def _collapse(card: Scorecard) -> list[str]:
    answers = card.chosen.answers
    top = int(answers.argmax())
    if answers[top] < COLLAPSED:
        return []
    return [
        f"Collapse: {card.models[top]} answers {100.0 * answers[top]:.0f}% of the queries at this budget "
        f"(entropy {entropy(answers):.2f} of 1); the router hardly routes there."
    ]
