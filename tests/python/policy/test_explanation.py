"""Explanations against the rules themselves: what is said to flip a decision flips it, and nothing nearer does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.policy.explanation import explain

MODELS = ("a", "b", "c")
RULES: dict[str, dict[str, Any]] = {
    "routing": {},
    "cascade": {"max_depth": 3},
    "cascade-routing": {"max_depth": 3, "uncertainty_scale": 0.5},
    "index": {},
    "threshold-cascade": {},
}


def policy_of(rule: str, shown: float, **changes: Any) -> hr.Policy:
    """Make a policy of one rule, by its cost weight or its threshold."""
    parameter = -shown if rule == "threshold-cascade" else shown
    return hr.Policy(MODELS, rule, RULES[rule], (parameter, parameter), **changes)


def beliefs(seed: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.3, 0.9, 3), rng.uniform(0.0, 0.1, 3), rng.uniform(0.0, 0.1, 3)


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("run", [(), ("b",)])
@pytest.mark.parametrize("seed", range(6))
def test_flips_flip_and_nothing_nearer_does(rule: str, run: tuple[str, ...], seed: int) -> None:
    quality, cost, variance = beliefs(seed)
    shown = 0.6 if rule == "threshold-cascade" else 2.0

    def decided(parameter: float) -> str | None:
        return explain(policy_of(rule, parameter), quality, cost, variance=variance, run=run).next

    why = explain(policy_of(rule, shown), quality, cost, variance=variance, run=run)
    ends = {"below": 0.0, "above": 1.0 if rule == "threshold-cascade" else 1e6}
    for flip in why.flips:
        side = "below" if flip.parameter < shown else "above"
        away = -1e-4 if side == "below" else 1e-4
        assert decided(flip.parameter * (1.0 + away)) == flip.next != why.next
        assert flip.change == pytest.approx(flip.parameter / shown - 1.0)
        ends[side] = flip.parameter * (1.0 - away)
    for parameter in np.linspace(ends["below"], min(ends["above"], 100.0), 40):
        assert decided(float(parameter)) == why.next


@pytest.mark.parametrize("rule", ["cascade-routing", "index", "routing"])
@pytest.mark.parametrize("seed", range(6))
def test_the_runner_up_is_what_would_run_without_the_winner(rule: str, seed: int) -> None:
    quality, cost, variance = beliefs(seed)
    policy = policy_of(rule, 1.0)
    why = explain(policy, quality, cost, variance=variance)
    assert why.margin is not None
    assert why.margin >= 0.0
    allowed = [j for j, name in enumerate(MODELS) if name != why.next]
    other = policy.rules[0].select(quality, cost, variance=variance, allowed=allowed)
    assert why.runner_up == MODELS[other.next]  # type: ignore[index]  # it runs one


def test_scores_are_those_of_one_model_each() -> None:
    quality, cost, variance = beliefs(0)
    why = explain(policy_of("routing", 2.0), quality, cost, variance=variance)
    assert [row["score"] for row in why.models] == pytest.approx((quality - 2.0 * cost).tolist())
    # The reservation value: the r at which running the model is worth its cost, E[(Q - r)+] = cost weight x cost.
    why = explain(policy_of("index", 2.0), quality, cost, variance=variance)
    for j, row in enumerate(why.models):
        gain = hr.expected_max([quality[j], row["score"]], variance=[variance[j], 0.0]) - row["score"]
        assert gain == pytest.approx(2.0 * cost[j], abs=1e-9)


def test_several_costs_count_as_in_a_session() -> None:
    policy = policy_of("routing", 1.0, costs=("usd", "seconds"), rates=(1.0, 0.5))
    costs = [[0.1, 0.2, 0.3], [1.0, 0.4, 0.2]]
    first = explain(policy, [0.5, 0.5, 0.5], costs)
    assert [row["cost"] for row in first.models] == pytest.approx([0.6, 0.4, 0.4])
    second = explain(policy, [0.5, 0.5, 0.5], costs, run=["b"])
    assert [row["cost"] for row in second.models] == pytest.approx([0.6, 0.4, 0.4])
    with pytest.raises(
        ValueError, match=r"cost: expected usd and seconds of each of .*, shape \(2, 3\); got shape \(1, 3\)"
    ):
        explain(policy, [0.5, 0.5, 0.5], costs[0])


def test_a_value_is_called_believed_and_a_forecast_is_told_if_given() -> None:
    policy = policy_of("cascade-routing", 0.1, costs=("usd", "seconds"))
    bare = explain(policy, [0.5, 0.6, 0.7], [1.0, 2.0, 3.0])
    assert "believed value 0." in str(bare)
    assert "orecast" not in str(bare)
    assert bare.to_dict()["forecast"] is None
    forecast = {"quality": 0.625, "costs": {"usd": 1.5, "seconds": 20.0}}
    told = explain(policy, [0.5, 0.6, 0.7], [1.0, 2.0, 3.0], forecast=forecast)
    assert "Forecast, the mean over all calibration queries: quality 0.625, usd 1.5, seconds 20" in str(told)
    assert told.to_dict()["forecast"] == forecast


def test_an_infinite_cost_weight_is_explained() -> None:
    why = explain(policy_of("cascade-routing", float("inf")), [0.5, 0.6, 0.7], [1.0, 2.0, 3.0])
    assert (why.next, why.tradeoff, why.margin) == ("a", None, None)
    assert str(why).startswith("Run a: cascade-routing, cost weight inf")


@pytest.mark.parametrize("rule", ["cascade", "cascade-routing", "routing", "threshold-cascade"])
@pytest.mark.parametrize("spread", ["covariance", "loading"])
def test_models_that_may_not_run_are_left_out_of_every_answer(rule: str, spread: str) -> None:
    quality, cost, variance = beliefs(3)
    shared = np.full(3, 0.2)
    given: dict[str, Any] = {"covariance": np.diag(variance) + np.outer(shared, shared)}
    if spread == "loading":
        given = {"variance": variance, "loading": shared}
    policy = policy_of(rule, 0.5 if rule == "threshold-cascade" else 2.0)
    why = explain(policy, quality, cost, allowed=["a", "c"], run=("a",), **given)
    wanted = policy.rules[0].select(quality, cost, allowed=[0, 2], run=(0,), **given)
    assert why.next == (None if wanted.next is None else MODELS[wanted.next])
    assert [row["allowed"] for row in why.models] == [True, False, True]
    assert [row["sd"] for row in why.models] == pytest.approx(np.sqrt(variance + 0.04).tolist())
    assert "b" not in (why.next, why.runner_up, *why.plan, *(flip.next for flip in why.flips))
    for flip in why.flips:
        away = -1e-4 if flip.parameter < why.parameter else 1e-4
        other = policy_of(rule, flip.parameter * (1.0 + away)).rules[0]
        chosen = other.select(quality, cost, allowed=[0, 2], run=(0,), **given).next
        assert flip.next == (None if chosen is None else MODELS[chosen])


def test_a_cap_counts_and_no_flip_is_told() -> None:
    quality, variance = [0.3, 0.6, 0.9], [0.05, 0.05, 0.05]
    policy = policy_of("cascade-routing", 0.1)
    free, capped = (explain(policy, quality, [0.1, 0.2, 3.0], variance=variance, max_cost=cap) for cap in (None, 0.4))
    assert "c" in free.plan
    assert "c" not in capped.plan
    assert (free.flips == (), capped.flips) == (False, ())
    assert "would change that" not in str(capped)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"allowed": ["d"]}, "allowed: unknown model 'd'; known: 'a', 'b', 'c'"),
        ({"covariance": np.eye(2)}, r"covariance: expected shape \(3, 3\), got \(2, 2\)"),
        ({"loading": [0.1]}, r"loading: expected shape \(3,\), got \(1,\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explain(policy_of("routing", 1.0), [0.5, 0.5, 0.5], [0.1, 0.1, 0.1], **given)
