"""Why a policy decides as it does on some beliefs: the candidates, what was beaten, and what would flip it.

One result for sessions, the command line and beliefs from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headrace.arguments import FloatArray, checked_numbers, listed
from headrace.json_values import plain
from headrace.policy.policy import Policy, weighed
from headrace.rules import RULES, Decision, Rule, expected_max, make_rule

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


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a policy decides as it does; see `explain`.

    Attributes
    ----------
    id : str or None
        Id of the query, where it is known.
    rule : str
        Name of the rule.
    parameter : float
        Its cost weight, or its threshold.
    share : float
        Share of the queries that the rule decides with this parameter.
    run : tuple of str
        Models that have run.
    spent : dict of str to float
        What all runs cost so far, by name of the cost, where it is known.
    excluded : dict of str to str
        Models that may not run, and why.
    notes : tuple of str
        What else is to be known, e.g. values that were taken as missing.
    next : str or None
        The model to run now; None = stop.
    plan : tuple of str
    value, tradeoff : float or None
        Of the plan, to compare plans by; no forecast of quality. None at an infinite cost weight.
    status : str
    score : str
        What is compared: "tradeoff", "reservation value" or "quality".
    models : tuple of dict
        Per model "model", "quality", "sd" (of the update still to come), "cost" (the one that the rule trades),
        "costs" (each by name), "run", "allowed", "in_plan" and "score", that of running this model only.
    runner_up : str or None
        What comes second: a model to run now, or "stop".
    margin : float or None
        How far its score is behind.
    flips : tuple of Flip
        At most two: with less weight on cost, and with more. Not looked for where a cap on the cost is set.
    forecast : dict or None
        "quality" and "costs" (by name): what the policy brought on average over the calibration queries, if known.
    """

    id: str | None
    rule: str
    parameter: float
    share: float
    run: tuple[str, ...]
    spent: dict[str, float]
    excluded: dict[str, str]
    notes: tuple[str, ...]
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
    capped: bool = False
    forecast: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain dicts, ready for JSON; an infinite cost weight is the text "inf"."""
        fields: dict[str, Any] = plain(asdict(self), infinity="inf")
        return fields

    def __str__(self) -> str:
        named = RULES[self.rule].parameter
        decides = f"which decides {self.share:.0%} of queries"
        lines = [f"{_action(self.next)}: {self.rule}, {named} {self.parameter:.4g}, {decides}"]
        if self.value is not None and self.tradeoff is not None:
            plan = ", ".join(self.plan) or "nothing"
            lines.append(f"Plan: {plan}; believed value {self.value:.4f}, tradeoff {self.tradeoff:.4f}")
        if self.forecast is not None:
            brought = {"quality": self.forecast["quality"], **self.forecast["costs"]}
            told = ", ".join(f"{name} {mean:.4g}" for name, mean in brought.items())
            lines.append(f"Forecast, the mean over all calibration queries: {told}")
        if self.runner_up is not None and self.margin is not None:
            second = "stopping" if self.runner_up == "stop" else f"running {self.runner_up} now"
            lines.append(f"It beats {second} by {self.margin:.4g} in {self.score}")
        for flip in self.flips:
            change = "" if flip.change is None else f" ({flip.change:+.0%})"
            side = "below" if flip.parameter < self.parameter else "above"
            lines.append(f"{side.capitalize()} a {named} of {flip.parameter:.4g}{change}: {_action(flip.next).lower()}")
        if not self.flips and not self.capped:
            lines.append(f"No {named} would change that")
        lines += [f"{model} may not run: {reason}" for model, reason in self.excluded.items()]
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def explain(
    policy: Policy,
    quality: npt.ArrayLike,
    cost: npt.ArrayLike,
    *,
    variance: npt.ArrayLike | None = None,
    covariance: npt.ArrayLike | None = None,
    loading: npt.ArrayLike | None = None,
    run: Sequence[str] = (),
    allowed: Sequence[str] | None = None,
    max_cost: float | None = None,
    spent: Mapping[str, float] | None = None,
    excluded: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    id: str | None = None,  # the word that users say
    forecast: dict[str, Any] | None = None,
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
    covariance : array-like of shape (n_models, n_models), optional
        The same, jointly.
    loading : array-like of shape (n_models,), optional
        As in the rules' ``select``.
    run : sequence of str
        Models that have run.
    allowed : sequence of str, optional
        Models that may run; all by default.
    max_cost : float, optional
        Cap on the cost of the plan that is still to be added.
    spent : mapping of str to float, optional
        What has been spent so far: it is told, and doesn't count.
    excluded : mapping of str to str, optional
        What keeps a model from running: it is told.
    notes : sequence of str
        What else is to be told.
    id : str, optional
        Id of the query, which says which of the policy's two rules decides; by default the one that decides more.
    forecast : dict, optional
        As in `Explanation`: it is told.

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
    Plan: small, large; believed value 0.8654, tradeoff 0.7454
    It beats running large now by 0.04542 in tradeoff
    No cost weight would change that
    """
    beliefs = _Beliefs.of(policy, quality, cost, _Spread.of(len(policy.models), variance, covariance, loading), run)
    may_run = tuple(range(len(policy.models))) if allowed is None else _indices("allowed", policy, allowed)
    number = int(policy.share < 0.5)
    if id is not None:
        number = policy.rules.index(policy.rule_for(id))
    rule, parameter = policy.rules[number], policy.parameters[number]
    decision = beliefs.decided(rule, may_run, max_cost)
    scores, stop = beliefs.scores(policy.rule, rule, parameter)
    runner_up, margin = _runner_up(policy, rule, decision, beliefs, scores, stop, may_run, max_cost)
    shares = (policy.share, 1.0 - policy.share)
    same = policy.rules[0] == policy.rules[1]
    finite = bool(np.isfinite(decision.tradeoff))
    kind = RULES[policy.rule]
    models = tuple(
        {
            "model": name,
            "quality": float(beliefs.quality[j]),
            "sd": float(np.sqrt(beliefs.spread.marginal[j])),
            "cost": float(beliefs.cost[j]),
            "costs": {cost: float(values[j]) for cost, values in zip(policy.costs, beliefs.costs, strict=False)},
            "run": j in beliefs.run,
            "allowed": j in may_run,
            "in_plan": j in decision.plan,
            "score": None if not np.isfinite(scores[j]) else float(scores[j]),
        }
        for j, name in enumerate(policy.models)
    )
    return Explanation(
        id=id,
        rule=policy.rule,
        parameter=kind.sign * parameter,
        share=1.0 if same else shares[number],
        run=tuple(run),
        spent=dict(spent or {}),
        excluded=dict(excluded or {}),
        notes=tuple(notes),
        next=None if decision.next is None else policy.models[decision.next],
        plan=tuple(policy.models[j] for j in decision.plan),
        value=float(decision.value) if finite else None,
        tradeoff=float(decision.tradeoff) if finite else None,
        status=decision.status,
        score=kind.score,
        models=models,
        runner_up=runner_up,
        margin=margin,
        flips=() if max_cost is not None else _flips(policy, parameter, beliefs, may_run),
        capped=max_cost is not None,
        forecast=forecast,
    )


class _Spread(NamedTuple):
    """How far estimates may still move, in one of the forms that the rules take."""

    variance: FloatArray | None
    covariance: FloatArray | None
    loading: FloatArray | None

    @classmethod
    def of(
        cls,
        n_models: int,
        variance: npt.ArrayLike | None,
        covariance: npt.ArrayLike | None,
        loading: npt.ArrayLike | None,
    ) -> _Spread:
        if covariance is None and variance is None:
            variance = np.zeros(n_models)
        given = {"variance": variance, "covariance": covariance, "loading": loading}
        checked = {name: None if values is None else checked_numbers(name, values) for name, values in given.items()}
        for name, values in checked.items():
            wanted = (n_models, n_models) if name == "covariance" else (n_models,)
            if values is not None and values.shape != wanted:
                raise ValueError(f"{name}: expected shape {wanted}, got {values.shape}")
        return cls(**checked)

    @property
    def marginal(self) -> FloatArray:
        """Variance of each model by itself."""
        if self.covariance is not None:
            return np.asarray(self.covariance.diagonal())
        assert self.variance is not None  # one of the two is given
        return self.variance if self.loading is None else self.variance + self.loading**2

    def of_models(self, some: Sequence[int]) -> _Spread:
        """Take the part of some models."""
        index = list(some)
        return _Spread(
            None if self.variance is None else self.variance[index],
            None if self.covariance is None else self.covariance[np.ix_(index, index)],
            None if self.loading is None else self.loading[index],
        )

    def batched(self) -> dict[str, Any]:
        """Give the arguments for a batch of one query."""
        return {name: None if values is None else values[None] for name, values in self._asdict().items()}


def _indices(argument: str, policy: Policy, names: Sequence[str]) -> tuple[int, ...]:
    unknown = [name for name in names if name not in policy.models]
    if unknown:
        raise ValueError(f"{argument}: unknown model {unknown[0]!r}; known: {listed(policy.models)}")
    return tuple(policy.models.index(name) for name in names)


@dataclass(frozen=True)
class _Beliefs:
    """Beliefs about one query, checked; `cost` is the one that the rule trades, `costs` are all that were given."""

    quality: FloatArray
    cost: FloatArray
    costs: FloatArray
    spread: _Spread
    run: tuple[int, ...]

    @classmethod
    def of(
        cls, policy: Policy, quality: npt.ArrayLike, cost: npt.ArrayLike, spread: _Spread, run: Sequence[str]
    ) -> _Beliefs:
        n_models = len(policy.models)
        costs = np.atleast_2d(checked_numbers("cost", cost))
        wanted = (len(policy.rates), n_models)
        if costs.shape[1] != n_models or costs.shape[0] < wanted[0]:
            raise ValueError(
                f"cost: expected {' and '.join(policy.costs)} of each of {listed(policy.models)}, shape {wanted}; "
                f"got shape {costs.shape}"
            )
        levels = checked_numbers("quality", quality)
        if levels.shape != (n_models,):
            raise ValueError(
                f"quality: expected one number for each of {listed(policy.models)}, got shape {levels.shape}"
            )
        return cls(levels, weighed(costs, policy.rates), costs, spread, _indices("run", policy, run))

    def decided(self, rule: Rule, allowed: Sequence[int], max_cost: float | None) -> Decision:
        """Give the rule's decision."""
        return rule.select(
            self.quality, self.cost, run=self.run, allowed=allowed, max_cost=max_cost, **self.spread._asdict()
        )

    def scores(self, name: str, rule: Rule, parameter: float) -> tuple[FloatArray, float]:
        """Give the score of running each model and no other, and that of stopping."""
        stop = max((float(self.quality[j]) for j in self.run), default=-np.inf)
        n_models = len(self.quality)
        if RULES[name].score == "quality":
            return self.quality, stop
        scale = float(getattr(rule, "uncertainty_scale", 0.0))
        if RULES[name].score == "reservation value":
            return np.array([self._reservation(j, scale, parameter) for j in range(n_models)]), stop
        # Free models stay comparable at an infinite cost weight.
        with np.errstate(invalid="ignore"):
            price = np.where(self.cost == 0.0, 0.0, parameter * self.cost)
        values = [self._value((*self.run, j), scale) for j in range(n_models)]
        scores = np.array([stop if j in self.run else values[j] - price[j] for j in range(n_models)])
        return scores, self._value(self.run, scale) if self.run else stop

    def _value(self, models: Sequence[int], scale: float) -> float:
        some = sorted(set(models))
        part = self.spread.of_models(some)
        return float(expected_max(self.quality[some], uncertainty_scale=scale, **part._asdict()))

    def _reservation(self, j: int, scale: float, cost_weight: float) -> float:
        """Solve E[(Q - r)+] = cost weight x cost for r, by halving."""
        if j in self.run:
            return float(self.quality[j])
        price = cost_weight * float(self.cost[j]) if self.cost[j] else 0.0
        variance = float(self.spread.marginal[j])
        sd = scale * variance**0.5
        low, high = float(self.quality[j]) - price - 1e-12, float(self.quality[j]) + 40.0 * sd
        if not np.isfinite(low):
            return -np.inf
        for _ in range(N_HALVINGS):
            middle = 0.5 * (low + high)
            pair = [float(self.quality[j]), middle]
            gain = float(expected_max(pair, variance=[variance, 0.0], uncertainty_scale=scale)) - middle
            low, high = (middle, high) if gain > price else (low, middle)
        return low


def _runner_up(
    policy: Policy,
    rule: Rule,
    decision: Decision,
    beliefs: _Beliefs,
    scores: FloatArray,
    stop: float,
    allowed: Sequence[int],
    max_cost: float | None,
) -> tuple[str | None, float | None]:
    """Find what comes second, and by how much."""
    kind = RULES[policy.rule]
    settled = kind.score == "quality" or (kind.estimates == "before" and bool(beliefs.run))
    if settled or not np.isfinite(decision.tradeoff):
        return None, None
    rest = [j for j in allowed if j != decision.next and j not in beliefs.run]
    if "max_depth" in kind.settings and decision.next is not None and (rest or beliefs.run):
        # The best plan without the chosen model, by the same search.
        other = beliefs.decided(rule, [*beliefs.run, *rest], max_cost)
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


def _flips(policy: Policy, parameter: float, beliefs: _Beliefs, allowed: Sequence[int]) -> tuple[Flip, ...]:
    """Find where the decision changes on both sides of the parameter."""
    kind = RULES[policy.rule]
    # A profile knows nothing of models that may not run, so it is that of the others alone.
    kept = sorted({*allowed, *beliefs.run})
    settings = dict(policy.settings)
    if settings.get("order") is not None:
        settings["order"] = tuple(kept.index(j) for j in settings["order"] if j in kept)
    _, lower, upper, chosen = make_rule(policy.rule, 0.0, settings).profile_batch(
        beliefs.quality[kept][None],
        beliefs.cost[kept][None],
        run=np.isin(kept, beliefs.run)[None],
        lower=[-np.inf if kind.sign < 0.0 else 0.0],
        upper=[np.inf],
        **beliefs.spread.of_models(kept).batched(),
    )
    here = min(int(np.searchsorted(upper, parameter, side="right")), len(upper) - 1)
    flips = []
    before = [i for i in range(here) if chosen[i] != chosen[here]]
    after = [i for i in range(here + 1, len(upper)) if chosen[i] != chosen[here]]
    for piece, ends in ((before[-1:], upper), (after[:1], lower)):
        for i in piece:
            at, now = kind.sign * float(ends[i]), kind.sign * parameter
            change = (at - now) / abs(now) if now and np.isfinite(now) else None
            flips.append(Flip(at, None if chosen[i] < 0 else policy.models[kept[chosen[i]]], change))
    return tuple(flips)


def _action(model: str | None) -> str:
    return "Stop" if model is None else f"Run {model}"
