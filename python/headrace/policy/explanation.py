"""Why a policy decides as it does on some beliefs: the candidates, what was beaten, and what would flip it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.arguments import FloatArray, checked_numbers, listed
from headrace.policy.policy import Policy, weighed
from headrace.rules import RULES, Decision, Rule, expected_max

__all__ = ["Explanation", "Flip", "explain"]

#: Halvings of the interval in which a reservation value is searched.
N_HALVINGS = 60


@dataclass(frozen=True)
class Flip:
    """The nearest value of the rule's parameter at which it decides otherwise.

    Attributes
    ----------
    parameter : float
        The cost weight, or the threshold.
    next : str or None
        What it then runs; None = stop.
    change : float or None
        Relative change from the present value; None where that is zero or infinite.
    """

    parameter: float
    next: str | None
    change: float | None


@dataclass(frozen=True)
class Explanation:
    """Why a policy decides as it does; see `explain`.

    Attributes
    ----------
    rule : str
        Name of the rule.
    parameter : float
        Its cost weight, or its threshold.
    share : float
        Share of the queries that the rule decides with this parameter.
    next : str or None
        The model to run now; None = stop.
    plan : tuple of str
    value, tradeoff : float or None
        Of the plan; None at an infinite cost weight.
    status : str
    score : str
        What is compared: "tradeoff", "reservation value" or "quality".
    models : tuple of dict
        Per model "model", "quality", "sd", "cost", "run", "in_plan" and "score", that of running this model only.
    runner_up : str or None
        What comes second: a model to run now, or "stop".
    margin : float or None
        How far its score is behind.
    flips : tuple of Flip
        At most two: with less weight on cost, and with more.
    """

    rule: str
    parameter: float
    share: float
    next: str | None
    plan: tuple[str, ...]
    value: float | None
    tradeoff: float | None
    status: str
    score: str
    models: tuple[dict[str, Any], ...]
    runner_up: str | None
    margin: float | None
    flips: tuple[Flip, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain dicts."""
        return asdict(self)

    def __str__(self) -> str:
        named = RULES[self.rule].parameter
        decides = f"which decides {self.share:.0%} of queries"
        lines = [f"{_action(self.next)}: {self.rule}, {named} {self.parameter:.4g}, {decides}"]
        if self.value is not None and self.tradeoff is not None:
            plan = ", ".join(self.plan) or "nothing"
            lines.append(f"Plan: {plan}; expected quality {self.value:.4f}, tradeoff {self.tradeoff:.4f}")
        if self.runner_up is not None and self.margin is not None:
            second = "stopping" if self.runner_up == "stop" else f"running {self.runner_up} now"
            lines.append(f"It beats {second} by {self.margin:.4g} in {self.score}")
        for flip in self.flips:
            change = "" if flip.change is None else f" ({flip.change:+.0%})"
            side = "below" if flip.parameter < self.parameter else "above"
            lines.append(f"{side.capitalize()} a {named} of {flip.parameter:.4g}{change}: {_action(flip.next).lower()}")
        if not self.flips:
            lines.append(f"No {named} would change that")
        return "\n".join(lines)


def explain(
    policy: Policy,
    quality: npt.ArrayLike,
    cost: npt.ArrayLike,
    *,
    variance: npt.ArrayLike | None = None,
    run: Sequence[str] = (),
    id: str | None = None,  # the word that users say
) -> Explanation:
    """Explain what a policy decides on some beliefs.

    Parameters
    ----------
    policy : Policy
    quality : array-like of shape (n_models,)
        Estimated quality of each model's answer.
    cost : array-like of shape (n_models,) or (n_costs, n_models)
        Estimated cost of each model; one row for each cost of the policy where its rule trades several.
    variance : array-like of shape (n_models,), optional
        Variance of the update of each quality still to come; zero by default.
    run : sequence of str
        Models that have run.
    id : str, optional
        Id of the query, which says which of the policy's two rules decides; by default the one that decides more.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError
        Numbers that don't fit the policy's models; an unknown model.

    Examples
    --------
    >>> from headrace import Policy
    >>> from headrace.policy.explanation import explain
    >>> policy = Policy(("small", "large"), "cascade-routing", {"max_depth": 2}, (2.0, 1.0), 0.75)
    >>> print(explain(policy, [0.6, 0.8], [0.01, 0.05], variance=[0.09, 0.04]))
    Run small: cascade-routing, cost weight 2, which decides 75% of queries
    Plan: small, large; expected quality 0.8654, tradeoff 0.7454
    It beats running large now by 0.04542 in tradeoff
    No cost weight would change that
    """
    beliefs = _Beliefs.of(policy, quality, cost, variance, run)
    number = int(policy.share < 0.5)
    if id is not None:
        number = policy.rules.index(policy.rule_for(id))
    rule, parameter = policy.rules[number], policy.parameters[number]
    decision = rule.select(beliefs.quality, beliefs.cost, variance=beliefs.variance, run=beliefs.run)
    scores, stop = beliefs.scores(policy.rule, rule, parameter)
    runner_up, margin = _runner_up(policy, rule, decision, beliefs, scores, stop)
    shares = (policy.share, 1.0 - policy.share)
    same = policy.rules[0] == policy.rules[1]
    finite = bool(np.isfinite(decision.tradeoff))
    sign = RULES[policy.rule].sign
    models = tuple(
        {
            "model": name,
            "quality": float(beliefs.quality[j]),
            "sd": float(np.sqrt(beliefs.variance[j])),
            "cost": float(beliefs.cost[j]),
            "run": j in beliefs.run,
            "in_plan": j in decision.plan,
            "score": None if not np.isfinite(scores[j]) else float(scores[j]),
        }
        for j, name in enumerate(policy.models)
    )
    return Explanation(
        policy.rule,
        sign * parameter,
        1.0 if same else shares[number],
        None if decision.next is None else policy.models[decision.next],
        tuple(policy.models[j] for j in decision.plan),
        float(decision.value) if finite else None,
        float(decision.tradeoff) if finite else None,
        decision.status,
        RULES[policy.rule].score,
        models,
        runner_up,
        margin,
        _flips(policy, rule, parameter, beliefs, sign),
    )


@dataclass(frozen=True)
class _Beliefs:
    """Beliefs about one query, checked; the cost is the one that the rule trades."""

    quality: FloatArray
    cost: FloatArray
    variance: FloatArray
    run: tuple[int, ...]

    @classmethod
    def of(
        cls,
        policy: Policy,
        quality: npt.ArrayLike,
        cost: npt.ArrayLike,
        variance: npt.ArrayLike | None,
        run: Sequence[str],
    ) -> _Beliefs:
        n_models = len(policy.models)
        unknown = [name for name in run if name not in policy.models]
        if unknown:
            raise ValueError(f"run: unknown model {unknown[0]!r}; known: {listed(policy.models)}")
        costs = np.atleast_2d(checked_numbers("cost", cost))
        wanted = (len(policy.rates), n_models)
        if costs.shape[1] != n_models or costs.shape[0] < wanted[0]:
            raise ValueError(
                f"cost: expected shape {wanted}, the costs {policy.costs} of each model, got {costs.shape}"
            )
        spread = np.zeros(n_models) if variance is None else checked_numbers("variance", variance)
        levels = checked_numbers("quality", quality)
        for name, values in (("quality", levels), ("variance", spread)):
            if values.shape != (n_models,):
                raise ValueError(f"{name}: expected one number for each of {listed(policy.models)}, got {values.shape}")
        return cls(levels, weighed(costs, policy.rates), spread, tuple(map(policy.models.index, run)))

    def scores(self, name: str, rule: Rule, parameter: float) -> tuple[FloatArray, float]:
        """Give the score of running each model and no other, and that of stopping."""
        stop = max((float(self.quality[j]) for j in self.run), default=-np.inf)
        n_models = len(self.quality)
        if name == "threshold-cascade":
            return self.quality, stop
        scale = float(getattr(rule, "uncertainty_scale", 0.0))
        if name == "index":
            return np.array([self._reservation(j, scale, parameter) for j in range(n_models)]), stop
        # Free models stay comparable at an infinite cost weight.
        with np.errstate(invalid="ignore"):
            price = np.where(self.cost == 0.0, 0.0, parameter * self.cost)
        values = [self._value((*self.run, j), scale) for j in range(n_models)]
        scores = np.array([stop if j in self.run else values[j] - price[j] for j in range(n_models)])
        return scores, self._value(self.run, scale) if self.run else stop

    def _value(self, models: Sequence[int], scale: float) -> float:
        some = sorted(set(models))
        return float(expected_max(self.quality[some], variance=self.variance[some], uncertainty_scale=scale))

    def _reservation(self, j: int, scale: float, cost_weight: float) -> float:
        """Solve E[(Q - r)+] = cost weight x cost for r, by halving."""
        if j in self.run:
            return float(self.quality[j])
        price = cost_weight * float(self.cost[j]) if self.cost[j] else 0.0
        sd = scale * float(np.sqrt(self.variance[j]))
        low, high = float(self.quality[j]) - price - 1e-12, float(self.quality[j]) + 40.0 * sd
        if not np.isfinite(low):
            return -np.inf
        for _ in range(N_HALVINGS):
            middle = 0.5 * (low + high)
            pair = [float(self.quality[j]), middle]
            gain = float(expected_max(pair, variance=[self.variance[j], 0.0], uncertainty_scale=scale)) - middle
            low, high = (middle, high) if gain > price else (low, middle)
        return low


def _runner_up(
    policy: Policy, rule: Rule, decision: Decision, beliefs: _Beliefs, scores: FloatArray, stop: float
) -> tuple[str | None, float | None]:
    """Find what comes second, and by how much."""
    settled = policy.rule == "threshold-cascade" or (policy.rule == "routing" and bool(beliefs.run))
    if settled or not np.isfinite(decision.tradeoff):
        return None, None
    rest = [j for j in range(len(scores)) if j != decision.next and j not in beliefs.run]
    if policy.rule.startswith("cascade") and decision.next is not None and (rest or beliefs.run):
        # The best plan without the chosen model, by the same search.
        allowed = [*beliefs.run, *rest]
        other = rule.select(beliefs.quality, beliefs.cost, variance=beliefs.variance, run=beliefs.run, allowed=allowed)
        name = "stop" if other.next is None else policy.models[other.next]
        return name, float(decision.tradeoff - other.tradeoff)
    options = {policy.models[j]: float(scores[j]) for j in rest}
    if decision.next is not None and beliefs.run:
        options["stop"] = stop
    if not options:
        return None, None
    best = max(options, key=lambda name: options[name])
    chosen = stop if decision.next is None else float(scores[decision.next])
    return (best, chosen - options[best]) if np.isfinite(options[best]) else (None, None)


def _flips(policy: Policy, rule: Rule, parameter: float, beliefs: _Beliefs, sign: float) -> tuple[Flip, ...]:
    """Find where the decision changes on both sides of the parameter."""
    _, lower, upper, chosen = rule.profile_batch(
        beliefs.quality[None],
        beliefs.cost[None],
        variance=beliefs.variance[None],
        run=np.isin(np.arange(len(beliefs.quality)), beliefs.run)[None],
        lower=[-np.inf if sign < 0.0 else 0.0],
        upper=[np.inf],
    )
    here = min(int(np.searchsorted(upper, parameter, side="right")), len(upper) - 1)
    flips = []
    before = [i for i in range(here) if chosen[i] != chosen[here]]
    after = [i for i in range(here + 1, len(upper)) if chosen[i] != chosen[here]]
    for piece, ends in ((before[-1:], upper), (after[:1], lower)):
        for i in piece:
            at, now = sign * float(ends[i]), sign * parameter
            change = (at - now) / abs(now) if now and np.isfinite(now) else None
            flips.append(Flip(at, None if chosen[i] < 0 else policy.models[chosen[i]], change))
    return tuple(flips)


def _action(model: str | None) -> str:
    return "Stop" if model is None else f"Run {model}"
