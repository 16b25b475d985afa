"""The verdict in words: what the budget buys, what is saved, and how sure that is."""

from __future__ import annotations

from collections import Counter

import numpy as np

from headrace.arguments import IndexArray
from headrace.evaluation.baselines import LABELS, LINEAR, ORACLE
from headrace.evaluation.bootstrap import Estimate
from headrace.evaluation.conclusion import ALONE, LEAST_SAVING, MIXING, PAYS, SAVES, conclusion, nothing_to_trade
from headrace.evaluation.findings import NEARLY
from headrace.evaluation.report.units import Units
from headrace.evaluation.scorecard import Scorecard
from headrace.evaluation.traffic import entropy

__all__ = ["best_rival", "same_line", "shares", "verdict"]

#: Share of the answers from which one model is said to answer nearly everything.
COLLAPSED = 0.95

#: Lines nearer to each other than this share of their height can't be told apart in a picture.
SAME_LINE = 0.01

#: How the first sentence begins.
BEGINNINGS = {
    PAYS: "This router pays at this budget: ",
    SAVES: "This router pays by its cost: ",
    MIXING: "Mixing single models at random is better at this budget: ",
}


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


def verdict(card: Scorecard, cost_unit: str = "") -> list[str]:
    """Say what the budget buys, what is saved at equal quality, how sure that is, and what is suspicious.

    Parameters
    ----------
    card : Scorecard
    cost_unit : str
        Of the first cost; by default its name.

    Returns
    -------
    list of str
        Sentences; the first one is the verdict.
    """
    units = Units.of(card, cost_unit)
    sentences = [_headline(card, units)]
    if not nothing_to_trade(card):
        sentences += [_savings(card, units), *_sure(card, units)]
    sentences += [*_again(card, units), *_against_others(card, units), *_paid(card, units)]
    return [*sentences, *_budget(card, units), *_collapse(card)]


def best_rival(card: Scorecard, *, apart: bool = False) -> str | None:
    """Name the method of the largest area besides the router, mixing and the oracle.

    Parameters
    ----------
    card : Scorecard
    apart : bool, default False
        Whether methods that do nearly the same as the router are left out: their lines would lie on each other.
    """
    left = same_line(card) if apart else []
    rivals = [method for method in card.methods if method.name not in ("router", LINEAR, ORACLE, *left)]
    return max(rivals, key=lambda method: method.area).name if rivals else None


def same_line(card: Scorecard) -> list[str]:
    """Name the other methods whose lines can't be told from the router's."""
    own = card["router"].quality
    near = SAME_LINE * float(np.ptp(own))
    others = [method for method in card.methods if method.name not in ("router", LINEAR, ORACLE)]
    return [method.name for method in others if float(np.abs(method.quality - own).max()) <= near]


def _headline(card: Scorecard, units: Units) -> str:
    if nothing_to_trade(card):
        best = card.best_single
        its_cost = units.spent(best.cost.value, inside=True)
        return (
            f"Use {best.model} alone: on these {card.n_test} queries it is the best model and the cheapest one "
            f"({units.quality(best.quality.value)} at {its_cost}), so there "
            "is nothing to trade."
        )
    rival = card.chosen.rival
    found = conclusion(card)
    begins = f"Use {rival} alone at this budget: " if found == ALONE else BEGINNINGS.get(found, _not_shown(card))
    here = f"{units.quality(card.chosen.quality.value)} at {units.spent(float(card.budgets[card.at]))}"
    if found == ALONE:
        here = f"this router gives {here}"
    return f"{begins}{here}; {', '.join([_affordable(card, units), *_mixing(card, units)])}."


def _not_shown(card: Scorecard) -> str:
    """Begin a verdict that is open."""
    return f"No gain at this budget is shown by these {card.n_test} queries: "


def _affordable(card: Scorecard, units: Units) -> str:
    if card.chosen.rival is None:
        return "no single model is so cheap"
    single = next(single for single in card.singles if single.model == card.chosen.rival)
    which = "the best model of all" if single.model == card.best_single.model else "the best model that it can afford"
    return f"{which}, {single.model}, gives {units.quality(single.quality.value)}"


def _mixing(card: Scorecard, units: Units) -> list[str]:
    if all(method.name != LINEAR for method in card.methods):
        return []
    mixing = card[LINEAR]
    return [f"mixing {units.quality(mixing.quality[card.at])}"] if mixing.feasible[card.at] else []


def _sure(card: Scorecard, units: Units) -> list[str]:
    """Say how sure the differences at the budget are."""
    parts = []
    if card.chosen.rival is not None:
        parts.append((card.chosen.rival, card.chosen.gain))
    if _mixing(card, units):
        parts.append(("mixing", card.gain_over(LINEAR)))
    if not parts:
        return []
    says = [
        f"{_compared(gain, 'ahead of', 'behind', 'not told apart from')} {name} ({units.difference(gain)})"
        for name, gain in parts
    ]
    return [f"At this budget the router is {' and '.join(says)}; in brackets: the 95% interval."]


def _savings(card: Scorecard, units: Units) -> str:
    best = card.best_single
    its_cost = units.spent(best.cost.value, inside=True)
    named = f"{best.model}, the best single model ({units.quality(best.quality.value)} at {its_cost})"
    if all(best.cost.value <= other.cost.value for other in card.singles):
        router = card["router"]
        top = int(router.quality.argmax())
        return (
            f"No model is cheaper than {named}; with more money the router reaches "
            f"{units.quality(router.quality[top])} at {units.spent(router.cost[top])}."
        )
    if best.saving.value > LEAST_SAVING:
        sure = "" if best.saving.low > LEAST_SAVING else ", which isn't sure"
        return f"It reaches the quality of {named}, at {shares(best.saving)} less cost{sure}."
    if best.near_saving.value > LEAST_SAVING:
        sure = "" if best.near_saving.low > LEAST_SAVING else ", which isn't sure"
        return (
            f"It doesn't reach the quality of {named} at less cost, but comes within "
            f"{units.scale * NEARLY:g}{units.word} of it at "
            f"{shares(best.near_saving)} less cost{sure}."
        )
    return f"It doesn't come near the quality of {named} at less cost."


def _again(card: Scorecard, units: Units) -> list[str]:
    again = card.again
    if again is None:
        return []
    n = len(again.conclusions)
    times = {1: "once", 2: "twice"}.get(n, f"{n} times")
    if again.n_flips:
        counts = ", ".join(f"'{what}' {count}" for what, count in Counter(again.conclusions).most_common())
        said = f"Split again {times}, the verdict flips in {again.n_flips} of {n}: {counts}; here '{again.first}'."
    else:
        said = f"Split again {times}, the verdict never flips: '{again.first}' each time."
    if not again.qualities:
        return [said]
    low, high = min(again.qualities), max(again.qualities)
    less, more = (f"{units.scale * end:+.{units.digits}f}" for end in (min(again.over_mixing), max(again.over_mixing)))
    return [
        f"{said} Quality at the budget: {units.quality(low)} to {units.quality(high)}; "
        f"gain over mixing: {less} to {more}{units.word}."
    ]


def _against_others(card: Scorecard, units: Units) -> list[str]:
    sentences = []
    if any(method.name == LINEAR for method in card.methods):
        difference = card.difference("router", LINEAR)
        says = _compared(difference, "beats", "is beaten by", "can't be told from")
        sentences.append(
            f"Over all budgets it {says} mixing single models at random: {units.difference(difference)} of area."
        )
    rival = best_rival(card)
    if rival is not None:
        difference = card.difference("router", rival)
        says = _compared(difference, "is ahead of", "is behind", "can't be told from")
        sentences.append(
            f"Over all budgets it {says} the best of the other methods, {LABELS[rival]}: "
            f"{units.difference(difference)}."
        )
    return sentences


def _paid(card: Scorecard, units: Units) -> list[str]:
    """Say what it brings to buy columns: at which budgets surely, and over all budgets."""
    if not card.paid:
        return []
    never, *always = card.paid
    sentences = [f"At the budget shown the router buys {' and '.join(card.bought) or 'nothing'} after each run."]
    for one in always:
        gains = one.quality - never.quality
        least = np.quantile(one.resampled_quality - never.resampled_quality, 0.025, axis=0)
        pays = np.flatnonzero(one.feasible & (least > 0.0))
        if not len(pays):
            sentences.append(f"No gain of {one.name} after each run is shown at any budget.")
            continue
        most = int(pays[gains[pays].argmax()])
        gain = f"{units.scale * gains[most]:+.{units.digits}f}{units.word}"
        where = f"up to {gain}, at {units.amount(float(card.budgets[most]))}"
        sentences.append(
            f"{one.name[0].upper()}{one.name[1:]} after each run pays {_among(card, units, pays)}: {where}."
        )
    choices = []
    for one in card.paid:
        difference = card.choice_minus(one.name)
        says = _compared(difference, "ahead of", "behind", "not told apart from")
        which = "never buying" if one is never else f"always {one.name}"
        choices.append(f"{says} {which} ({units.difference(difference)} of area)")
    return [*sentences, f"Over all budgets its choice is {', '.join(choices)}."]


def _among(card: Scorecard, units: Units, at: IndexArray) -> str:
    """Say at which of the budgets, by their places in rising order."""
    first, last = int(at[0]), int(at[-1])
    ends = units.amount(float(card.budgets[first]))
    if first == last:
        return f"at {ends} only"
    is_open = last == len(card.budgets) - 1
    ends = f"from {ends} on" if is_open else f"from {ends} to {units.amount(float(card.budgets[last]))}"
    n_between = last - first + 1
    return ends if len(at) == n_between else f"at {len(at)} of {n_between} budgets {ends}"


def _compared(difference: Estimate, ahead: str, behind: str, open_: str) -> str:
    return ahead if difference.low > 0.0 else behind if difference.high < 0.0 else open_


def _budget(card: Scorecard, units: Units) -> list[str]:
    chosen = card.chosen
    if chosen.assumed:
        return ["The router has no budget of its own; the middle one is shown."]
    if not np.isnan(chosen.quality_target):
        target, quality = chosen.quality_target, chosen.quality
        says = "reached" if quality.low >= target else "missed" if quality.high < target else "met within the error"
        return [
            f"The quality target of {units.quality(target)} was {says}: {units.quality(quality.value)} "
            f"[{units.number(quality.low)}, {units.number(quality.high)}]."
        ]
    sentences = []
    for place, (name, excess) in enumerate(chosen.excess.items()):
        cost = chosen.costs[name]
        says = _compared(excess, "exceeded", "kept", "met within the error")
        its = units if name == card.cost_name and not place else units._replace(cost=name)
        sentences.append(
            f"The budget of {its.amount(chosen.budget[name])} was {says}: {cost.value:.4g} "
            f"[{cost.low:.4g}, {cost.high:.4g}] per query spent on models."
        )
    return sentences


def _collapse(card: Scorecard) -> list[str]:
    answers = card.chosen.answers
    top = int(answers.argmax())
    if answers[top] < COLLAPSED:
        return []
    return [
        f"Collapse: {card.models[top]} answers {100.0 * answers[top]:.0f}% of the queries at this budget "
        f"(entropy {entropy(answers):.2f} of 1); the router hardly routes there."
    ]
