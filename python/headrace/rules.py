"""The rules, what each of them takes, and what they decide: numbers in, decision out.

They live in the compiled core; this module names them. `RULES` is the one place that tells the kinds apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from headrace._core import (
    Cascade,
    CascadeRouting,
    Decision,
    IndexRule,
    Routing,
    Rule,
    ThresholdCascade,
    expected_max,
)

__all__ = [
    "RULES",
    "Cascade",
    "CascadeRouting",
    "Decision",
    "IndexRule",
    "Routing",
    "Rule",
    "RuleKind",
    "ThresholdCascade",
    "expected_max",
    "make_rule",
]


class RuleKind(NamedTuple):
    """What a kind of rule takes, and how its numbers are to be read.

    Attributes
    ----------
    make : callable
        Its class.
    settings : tuple of str
        Those of "max_depth", "order" and "uncertainty_scale" that it takes.
    parameter : {"cost weight", "threshold"}
        The number that the budget path varies.
    sign : float
        -1 for a threshold: calibration counts minus the threshold, so that a higher number is cheaper for all kinds.
    score : str
        What it compares.
    estimates : {"before", "after", "both"}
        When it asks the estimators: before the first run, after each run, or both.
    answer : {"best", "last"} or None
        Which answer it returns by its definition; None = as one likes.
    """

    make: Callable[..., Rule]
    settings: tuple[str, ...] = ()
    parameter: str = "cost weight"
    sign: float = 1.0
    score: str = "tradeoff"
    estimates: str = "both"
    answer: str | None = None


#: The kinds of rules, by the names that users write.
RULES: dict[str, RuleKind] = {
    "routing": RuleKind(Routing, estimates="before"),
    "threshold-cascade": RuleKind(
        ThresholdCascade,
        ("order",),
        parameter="threshold",
        sign=-1.0,
        score="quality",
        estimates="after",
        answer="last",
    ),
    "cascade": RuleKind(Cascade, ("max_depth", "order", "uncertainty_scale")),
    "cascade-routing": RuleKind(CascadeRouting, ("max_depth", "uncertainty_scale")),
    "index": RuleKind(IndexRule, ("uncertainty_scale",), score="reservation value"),
}


def make_rule(name: str, parameter: float, settings: Mapping[str, Any]) -> Rule:
    """Make a rule of a kind of `RULES`.

    Parameters
    ----------
    name : str
        A key of `RULES`.
    parameter : float
        The cost weight; for a threshold cascade, minus the threshold.
    settings : mapping
        Its other settings.

    Raises
    ------
    ValueError
        Settings that the kind doesn't take.

    Examples
    --------
    >>> from headrace.rules import make_rule
    >>> make_rule("threshold-cascade", -0.7, {"order": (0, 1)}).thresholds
    (0.7,)
    """
    kind = RULES[name]
    try:
        return kind.make(kind.sign * parameter, **settings)
    except TypeError as error:
        raise ValueError(f"settings: {name} does not take {dict(settings)} ({error})") from error
