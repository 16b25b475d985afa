"""The rules as Python objects, and their decisions against hand-checked numbers, oracles and each other."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import pickle
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

import headrace as hr

Floats = npt.NDArray[np.float64]

# The expected maximum of two standard normals.
TWO = 1 / math.sqrt(math.pi)

# The core values independent sets to 1e-7 of the largest standard deviation; those here are below 1.
ACCURACY = 2e-7

# Every rule: a call that sets all there is, what the getters then say, and the defaults.
SETTINGS: list[tuple[type[hr.Rule], dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (hr.Routing, {"cost_weight": 0.25}, {}, {}),
    (hr.ThresholdCascade, {"thresholds": [0.5, 0.75], "order": [2, 0, 1]}, {"thresholds": 0.7}, {"order": None}),
    (
        hr.Cascade,
        {"cost_weight": 0.25, "order": [1, 0], "max_depth": 3, "uncertainty_scale": 0.5},
        {"cost_weight": 1.0},
        {"order": None, "max_depth": 128, "uncertainty_scale": 1.0},
    ),
    (
        hr.CascadeRouting,
        {"cost_weight": 0.25, "max_depth": 3, "uncertainty_scale": 0.5, "node_limit": 77},
        {"cost_weight": 1.0},
        {"max_depth": 5, "uncertainty_scale": 1.0, "node_limit": 100_000},
    ),
    (
        hr.IndexRule,
        {"cost_weight": 0.25, "uncertainty_scale": 0.5},
        {"cost_weight": 1.0},
        {"uncertainty_scale": 1.0},
    ),
]
NAMES = [row[0].__name__ for row in SETTINGS]

# One rule of each kind at one cost weight; a threshold cascade is told by minus its threshold.
MAKERS: dict[str, Callable[[float], hr.Rule]] = {
    "Routing": hr.Routing,
    "ThresholdCascade": lambda parameter: hr.ThresholdCascade(-parameter, order=[2, 0, 3, 1]),
    "Cascade": lambda cost_weight: hr.Cascade(cost_weight, order=[1, 3, 0, 2]),
    "CascadeRouting": hr.CascadeRouting,
    "IndexRule": hr.IndexRule,
}
KINDS = list(MAKERS)
N_MODELS = 4


def as_stored(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


@pytest.fixture(params=SETTINGS, ids=NAMES)
def rule(request: pytest.FixtureRequest) -> hr.Rule:
    kind, settings, _, _ = request.param
    return kind(**settings)


@pytest.fixture
def decision() -> hr.Decision:
    rule = hr.CascadeRouting(0.5, max_depth=2)
    return rule.select([0.6, 0.7, 0.8], [0.01, 0.05, 0.3], variance=[0.09, 0.06, 0.04], run=[2])


# Rules as objects


@pytest.mark.parametrize(("kind", "settings", "least", "defaults"), SETTINGS, ids=NAMES)
def test_settings_come_back_and_have_defaults(
    kind: type[hr.Rule], settings: dict[str, Any], least: dict[str, Any], defaults: dict[str, Any]
) -> None:
    rule = kind(**settings)
    assert {name: getattr(rule, name) for name in settings} == as_stored(settings)
    rule = kind(**(least or settings))
    assert {name: getattr(rule, name) for name in defaults} == defaults


@pytest.mark.parametrize(("kind", "settings", "least", "defaults"), SETTINGS, ids=NAMES)
def test_the_signature_shows_the_defaults(
    kind: type[hr.Rule], settings: dict[str, Any], least: dict[str, Any], defaults: dict[str, Any]
) -> None:
    parameters = inspect.signature(kind).parameters
    assert list(parameters) == list(settings)
    first, *others = parameters.values()
    assert first.default is inspect.Parameter.empty
    assert {other.name: other.default for other in others} == defaults
    assert all(other.kind is inspect.Parameter.KEYWORD_ONLY for other in others)


def test_one_threshold_is_a_sequence_of_one() -> None:
    assert hr.ThresholdCascade(0.7).thresholds == (0.7,)
    assert hr.ThresholdCascade(np.array([0.25, -math.inf])).thresholds == (0.25, -math.inf)


def test_every_rule_is_a_rule_and_the_base_is_not_made(rule: hr.Rule) -> None:
    assert isinstance(rule, hr.Rule)
    with pytest.raises(TypeError, match="cannot create"):
        hr.Rule()


def test_a_rule_is_immutable(rule: hr.Rule) -> None:
    for name in [*inspect.signature(type(rule)).parameters, "anything_else"]:
        with pytest.raises(AttributeError):
            setattr(rule, name, 1)
        with pytest.raises(AttributeError):
            delattr(rule, name)


def test_equal_settings_make_equal_rules_of_one_hash(rule: hr.Rule) -> None:
    twin = eval(repr(rule), vars(hr))
    assert twin == rule
    assert (twin != rule) is False
    assert hash(twin) == hash(rule)
    assert {rule: "a"}[twin] == "a"


@pytest.mark.parametrize(("kind", "settings", "least", "defaults"), SETTINGS, ids=NAMES)
def test_every_setting_tells_rules_apart(
    kind: type[hr.Rule], settings: dict[str, Any], least: dict[str, Any], defaults: dict[str, Any]
) -> None:
    other = {"cost_weight": 0.125, "thresholds": [0.5, 0.625], "order": [0, 1], "max_depth": 2}
    other |= {"uncertainty_scale": 0.75, "node_limit": 78}
    rule = kind(**settings)
    for name in settings:
        changed = kind(**settings | {name: other[name]})
        assert changed != rule
        assert hash(changed) != hash(rule)


def test_rules_of_different_kinds_differ(rule: hr.Rule) -> None:
    others = [kind(**settings) for kind, settings, _, _ in SETTINGS if kind is not type(rule)]
    assert all(rule != other for other in others)
    assert rule != repr(rule)
    assert rule != None  # noqa: E711 - the comparison itself is tested


def test_zero_of_either_sign_is_one_setting() -> None:
    assert hr.Routing(0.0) == hr.Routing(-0.0)
    assert hash(hr.Routing(0.0)) == hash(hr.Routing(-0.0))


def test_repr_holds_all_digits() -> None:
    assert repr(hr.Routing(0.1)) == "Routing(cost_weight=0.1)"
    assert repr(hr.ThresholdCascade(0.7)) == "ThresholdCascade(thresholds=(0.7,), order=None)"
    for cost_weight in (0.1, 1 / 3, 5e-324, 1.7976931348623157e308, math.inf):
        for make in (hr.Routing, hr.Cascade, hr.CascadeRouting, hr.IndexRule):
            rule = make(cost_weight)
            assert eval(repr(rule), vars(hr) | {"inf": math.inf}) == rule


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_rules_and_decisions_survive_a_pickle(rule: hr.Rule, decision: hr.Decision, protocol: int) -> None:
    for thing in (rule, decision):
        twin = pickle.loads(pickle.dumps(thing, protocol))
        assert type(twin) is type(thing)
        assert twin == thing
        assert hash(twin) == hash(thing)
        assert repr(twin) == repr(thing)


def test_rules_and_decisions_are_copied(rule: hr.Rule, decision: hr.Decision) -> None:
    for thing in (rule, decision):
        assert copy.copy(thing) == thing
        assert copy.deepcopy([thing]) == [thing]


# Decisions as objects

FIELDS = ["next", "plan", "value", "tradeoff", "status", "gap", "n_nodes"]


def test_a_decision_holds_what_it_is_given() -> None:
    given = (1, (0, 1), 0.75, 0.5, "bounded", 0.125, 9)
    made = hr.Decision(1, [1, 0], 0.75, 0.5, status="bounded", gap=0.125, n_nodes=9)
    assert tuple(getattr(made, field) for field in FIELDS) == given
    plain = hr.Decision(None, (), 0.0, 0.0)
    assert tuple(getattr(plain, field) for field in FIELDS) == (None, (), 0.0, 0.0, "optimal", 0.0, 1)
    assert hr.Decision(127, [127], 0.0, 0.0).plan == (127,)


def test_a_decision_has_the_documented_types(decision: hr.Decision) -> None:
    types = (int, tuple, float, float, str, float, int)
    assert tuple(type(getattr(decision, field)) for field in FIELDS) == types
    assert {type(model) for model in decision.plan} == {int}


def test_a_decision_is_immutable(decision: hr.Decision) -> None:
    for field in [*FIELDS, "anything_else"]:
        with pytest.raises(AttributeError):
            setattr(decision, field, 1)


def test_every_field_tells_decisions_apart() -> None:
    base: dict[str, Any] = {"next": 1, "plan": (0, 1), "value": 0.75, "tradeoff": 0.5}
    twin = hr.Decision(**base)
    assert twin == hr.Decision(**base)
    assert hash(twin) == hash(hr.Decision(**base))
    changes = {"next": None, "plan": (1,), "value": 0.5, "tradeoff": 0.75, "status": "bounded"}
    for field, value in (changes | {"gap": 0.5, "n_nodes": 2}).items():
        assert hr.Decision(**base | {field: value}) != twin
    assert twin != tuple(base.values())


def test_the_text_of_a_decision_makes_it_again(decision: hr.Decision) -> None:
    assert eval(repr(decision), vars(hr)) == decision


# What each rule decides, by hand


def test_routing_runs_the_best_single_model_and_stops() -> None:
    quality, cost = [0.5, 0.75], [0.125, 0.5]
    costly = hr.Routing(1.0).select(quality, cost)
    assert (costly.next, costly.plan, costly.value, costly.tradeoff) == (0, (0,), 0.5, 0.375)
    cheap = hr.Routing(0.25).select(quality, cost)
    assert (cheap.next, cheap.plan, cheap.value, cheap.tradeoff) == (1, (1,), 0.75, 0.625)
    for run in ([0], [1], [0, 1]):
        after = hr.Routing(0.25).select(quality, cost, run=run)
        assert (after.next, after.plan, after.tradeoff) == (None, tuple(run), max(quality[j] for j in run))


def test_routing_ignores_uncertainty() -> None:
    rule = hr.Routing(0.25)
    certain = rule.select([0.5, 0.75, 0.625], [0.125, 0.5, 0.25])
    assert rule.select([0.5, 0.75, 0.625], [0.125, 0.5, 0.25], variance=[4.0, 0.0, 1.0]) == certain


def test_the_threshold_cascade_goes_on_below_its_threshold() -> None:
    quality, cost = [0.5, 0.625, 0.75], [1.0, 2.0, 3.0]
    rule = hr.ThresholdCascade(0.625)
    first = rule.select(quality, cost)
    assert (first.next, first.plan, first.value) == (0, (0,), 0.5)
    assert rule.select(quality, cost, run=[0]).next == 1
    stop = rule.select(quality, cost, run=[0, 1])
    assert (stop.next, stop.plan, stop.value, stop.tradeoff) == (None, (0, 1), 0.625, 0.625)
    assert hr.ThresholdCascade(math.inf).select(quality, cost, run=[0, 1, 2]).next is None


def test_a_threshold_cascade_has_a_threshold_per_step_and_an_order() -> None:
    quality, cost = [0.5, 0.625, 0.75], [1.0, 2.0, 3.0]
    rule = hr.ThresholdCascade([0.8, 0.5], order=[2, 0, 1])
    steps = [rule.select(quality, cost, run=run).next for run in ([], [2], [2, 0])]
    assert steps == [2, 0, None]
    # A step beyond the last threshold stops; a model that isn't in the order never runs.
    short = hr.ThresholdCascade([0.8, 0.8])
    assert [short.select([0.5] * 4, [1.0] * 4, run=run).next for run in ([0, 1], [0, 1, 2])] == [2, None]
    assert hr.ThresholdCascade(0.9, order=[2, 0]).select(quality, cost, run=[2, 0]).next is None


def test_a_threshold_cascade_passes_over_what_may_not_run() -> None:
    quality, cost = [0.5, 0.625, 0.75], [1.0, 3.0, 2.0]
    rule = hr.ThresholdCascade(0.9)
    assert rule.select(quality, cost, allowed=[1, 2]).next == 1
    assert rule.select(quality, cost, run=[0], allowed=[0, 2]).next == 2
    assert rule.select(quality, cost, run=[0], max_cost=2.0).next == 2
    assert rule.select(quality, cost, run=[0], max_cost=1.0).next is None


def test_a_cascade_looks_past_the_next_model() -> None:
    # Model 1 adds nothing, but model 2 behind it pays for both: 0.875 - 0.5 (0.125 + 0.25) > 0.625.
    decision = hr.Cascade(0.5).select([0.625, 0.625, 0.875], [0.125, 0.125, 0.25], run=[0])
    assert (decision.next, decision.plan, decision.value, decision.tradeoff) == (1, (0, 1, 2), 0.875, 0.6875)
    stop = hr.Cascade(1.0).select([0.625, 0.625, 0.875], [0.125, 0.125, 0.25], run=[0])
    assert (stop.next, stop.plan, stop.tradeoff) == (None, (0,), 0.625)


def test_a_cascade_keeps_its_order_and_its_depth() -> None:
    quality, cost = [0.5, 0.625, 0.75], [0.125, 0.125, 0.125]
    rule = hr.Cascade(0.125, order=[1, 0, 2])
    assert (rule.select(quality, cost).next, rule.select(quality, cost).plan) == (1, (0, 1, 2))
    assert hr.Cascade(0.125, order=[1, 0, 2], max_depth=2).select(quality, cost).plan == (1,)
    assert hr.Cascade(0.125, order=[1, 0]).select(quality, cost).plan == (1,)
    # Models that the order passed aren't taken up again.
    assert rule.select(quality, cost, run=[0]).plan == (0, 2)
    assert rule.select(quality, cost, run=[2]).next is None


def test_cascade_routing_values_a_pair_by_its_expected_maximum() -> None:
    quality, variance = [0.5, 0.5], [0.01, 0.01]
    both = hr.CascadeRouting(0.1).select(quality, [0.2, 0.1], variance=variance)
    assert (both.next, both.plan, both.status, both.gap) == (1, (0, 1), "optimal", 0.0)
    assert both.value == pytest.approx(0.5 + 0.1 * TWO, abs=1e-14)
    assert both.tradeoff == pytest.approx(0.5 + 0.1 * TWO - 0.1 * 0.3, abs=1e-14)
    one = hr.CascadeRouting(1.0).select(quality, [0.2, 0.1], variance=variance)
    assert (one.next, one.plan, one.value, one.tradeoff) == (1, (1,), 0.5, 0.4)
    after = hr.CascadeRouting(0.1).select(quality, [9.0, 0.1], variance=variance, run=[0])
    assert (after.next, after.plan) == (1, (0, 1))
    assert after.tradeoff == pytest.approx(0.5 + 0.1 * TWO - 0.01, abs=1e-14)


def test_perfectly_correlated_models_add_nothing_to_each_other() -> None:
    covariance = np.full((2, 2), 0.01)
    rule = hr.CascadeRouting(0.1)
    assert rule.select([0.5, 0.5], [0.2, 0.1], covariance=covariance).plan == (1,)
    assert rule.select([0.5, 0.5], [0.2, 0.1], covariance=np.diag([0.01, 0.01])).plan == (0, 1)


def test_a_covariance_of_three_is_close_to_its_variances() -> None:
    quality, cost, variance = [0.5, 0.45, 0.6], [0.2, 0.1, 0.3], [0.04, 0.09, 0.02]
    rule = hr.CascadeRouting(0.05)
    independent = rule.select(quality, cost, variance=variance)
    correlated = rule.select(quality, cost, covariance=np.diag(variance))
    assert (correlated.next, correlated.plan) == (independent.next, independent.plan)
    assert correlated.value == pytest.approx(independent.value, abs=2e-3)


@pytest.mark.parametrize("kind", ["Cascade", "CascadeRouting", "IndexRule"])
def test_the_uncertainty_scale_multiplies_standard_deviations(kind: str) -> None:
    make = getattr(hr, kind)
    quality, cost, variance = np.array([0.5, 0.6]), [0.1, 0.2], np.array([0.04, 0.09])
    scaled = make(0.1, uncertainty_scale=0.5).select(quality, cost, variance=variance, run=[0])
    assert scaled == make(0.1).select(quality, cost, variance=variance / 4, run=[0])
    none = make(0.1, uncertainty_scale=0.0).select(quality, cost, variance=variance, run=[0])
    assert none == make(0.1).select(quality, cost, run=[0])


def reservation(mean: float, sd: float, price: float) -> float:
    """Solve E[(Q - r)+] = price for r."""

    def excess(r: float) -> float:
        z = (mean - r) / sd
        return (mean - r) * float(norm.cdf(z)) + sd * float(norm.pdf(z)) - price

    return float(brentq(excess, mean - 60 * sd - price, mean + 12 * sd, xtol=1e-14))


def test_the_index_rule_runs_the_highest_reservation_value() -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        quality, cost = rng.uniform(0.3, 0.9, 4), rng.uniform(0.05, 0.5, 4)
        sd, cost_weight = rng.uniform(0.05, 0.4, 4), rng.uniform(0.01, 1.5)
        indices = [reservation(*each, cost_weight * c) for *each, c in zip(quality, sd, cost, strict=True)]  # type: ignore[call-arg]
        rule = hr.IndexRule(cost_weight)
        assert rule.select(quality, cost, variance=sd**2).next == int(np.argmax(indices))
        left = max(indices[1:])
        after = rule.select(quality, cost, variance=sd**2, run=[0]).next
        assert after == (1 + int(np.argmax(indices[1:])) if left > quality[0] else None)


def test_the_index_rule_of_certain_models_is_routing() -> None:
    decision = hr.IndexRule(1.0).select([0.5, 0.75], [0.125, 0.25])
    assert (decision.next, decision.plan, decision.value, decision.tradeoff) == (1, (1,), 0.75, 0.5)
    stop = hr.IndexRule(1.0).select([0.5, 0.75], [0.125, 0.25], run=[0])
    assert (stop.next, stop.plan, stop.value, stop.tradeoff) == (None, (0,), 0.5, 0.5)
    on = hr.IndexRule(0.5).select([0.5, 0.75], [0.125, 0.25], run=[0])
    assert (on.next, on.plan, on.value, on.tradeoff) == (1, (0, 1), 0.75, 0.625)


# Ties


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_a_better_tradeoff_wins_only_beyond_rounding(scale: float) -> None:
    for rule in (hr.Routing(0.0), hr.CascadeRouting(0.0)):
        cost = [0.25, 0.125]
        assert rule.select([scale * (1 + 1e-10), scale], cost).next == 0
        assert rule.select([scale * (1 + 1e-12), scale], cost).next == 1


def test_among_equal_tradeoffs_the_cheaper_wins() -> None:
    # 0.5 - 0.25 = 0.75 - 0.5, exactly.
    for rule in (hr.Routing(1.0), hr.CascadeRouting(1.0), hr.IndexRule(1.0)):
        assert rule.select([0.5, 0.75], [0.25, 0.5]).plan == (0,)
        assert rule.select([0.75, 0.5], [0.5, 0.25]).plan == (1,)
    # Alike but for a cost that has no weight.
    alike: dict[str, Any] = {"quality": [0.5] * 4, "cost": [0.5, 0.375, 0.25, 0.125], "variance": [0.25] * 4}
    assert hr.CascadeRouting(0.0, max_depth=2).select(**alike).plan == (2, 3)
    assert hr.CascadeRouting(0.0, max_depth=3).select(**alike, run=[1]).plan == (1, 2, 3)
    # Going on is worth exactly as much as stopping.
    for rule in (hr.Cascade(1.0), hr.CascadeRouting(1.0), hr.IndexRule(1.0)):
        assert rule.select([0.5, 0.75], [0.25, 0.25], run=[0]).next is None


def test_among_equal_costs_the_plan_with_fewer_models_wins() -> None:
    for rule in (hr.Cascade(1.0), hr.CascadeRouting(1.0)):
        assert rule.select([0.75, 0.5, 0.75], [0.0, 0.0, 0.0]).plan == (0,)
        assert rule.select([0.75, 0.5, 0.75], [0.0, 0.0, 0.0], run=[2]).plan == (2,)


def test_among_equal_plans_the_lexicographically_smallest_wins() -> None:
    assert hr.Routing(1.0).select([0.25, 0.5, 0.5], [0.0, 0.125, 0.125]).plan == (1,)
    alike = {"quality": [0.5] * 5, "cost": [0.125] * 5, "variance": [0.25] * 5}
    assert hr.CascadeRouting(0.01, max_depth=3).select(**alike).plan == (0, 1, 2)
    assert hr.CascadeRouting(0.01, max_depth=3).select(**alike, run=[3]).plan == (0, 1, 3)
    assert hr.CascadeRouting(0.01, max_depth=2).select(**alike, allowed=[1, 4, 3]).plan == (1, 3)
    assert hr.IndexRule(0.01).select(**alike).next == 0
    covariance = np.diag([0.25, 0.25])
    assert hr.CascadeRouting(10.0).select([0.5, 0.5], [0.125, 0.125], covariance=covariance).plan == (0,)


def test_at_a_cost_weight_of_zero_the_index_rule_takes_the_order_of_the_smallest_ones() -> None:
    # Every reservation value is infinite there; the order is that of their limit.
    for variance in ([0.04, 0.04, 0.04], [0.01, 0.09, 0.04], [0.0, 0.04, 0.09]):
        numbers = {"quality": [0.9, 0.5, 0.6], "cost": [0.5, 0.25, 0.25], "variance": variance}
        assert hr.IndexRule(0.0).select(**numbers).next == hr.IndexRule(1e-14).select(**numbers).next
    assert hr.IndexRule(0.0).select([0.9, 0.5, 0.6], [0.5, 0.25, 0.25], variance=[0.04, 0.04, 0.04]).next == 0


# What may run, what has run, what it may cost


def masks(models: Iterable[int], n_models: int) -> list[Any]:
    indices = sorted(models)
    mask = np.isin(np.arange(n_models), indices)
    return [
        indices,
        tuple(indices),
        set(indices),
        iter(indices),
        np.array(indices, np.int64),
        np.array(indices, np.uint8),
        mask,
        mask.tolist(),
        list(mask),
        np.repeat(mask, 3)[::3],
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("models", [{0}, {1, 3}, {0, 1, 2, 3}])
def test_indices_and_masks_say_the_same(kind: str, models: set[int]) -> None:
    rng = np.random.default_rng(17)
    quality, cost, variance = rng.uniform(size=(3, N_MODELS))
    rule = MAKERS[kind](0.1 if kind != "ThresholdCascade" else -0.5)
    for argument in ("run", "allowed"):
        decisions = [
            rule.select(quality, cost, variance=variance, **{argument: form}) for form in masks(models, N_MODELS)
        ]
        assert len(set(decisions)) == 1
        assert all(decision == decisions[0] for decision in decisions)


def test_no_model_named_has_run_or_is_allowed() -> None:
    rule = hr.CascadeRouting(0.1)
    free = rule.select([0.5, 0.6], [0.1, 0.2])
    for none in ([], (), np.zeros(2, bool), np.array([], np.int64), [False, False]):
        assert rule.select([0.5, 0.6], [0.1, 0.2], run=none) == free
        assert rule.select([0.5, 0.6], [0.1, 0.2], run=[1], allowed=none).next is None


@pytest.mark.parametrize("kind", KINDS)
def test_only_allowed_models_that_have_not_run_come_next(kind: str) -> None:
    rng = np.random.default_rng(23)
    for _ in range(60):
        quality, cost, variance = rng.uniform(size=(3, N_MODELS))
        run, allowed = rng.random((2, N_MODELS)) < 0.5
        if not (run | allowed).any():
            continue
        rule = MAKERS[kind](rng.uniform(0, 0.3) * (-3 if kind == "ThresholdCascade" else 1))
        decision = rule.select(quality, cost, variance=variance, run=run, allowed=run | allowed)
        added = set(decision.plan) - set(np.flatnonzero(run))
        assert set(np.flatnonzero(run)) <= set(decision.plan)
        assert added <= set(np.flatnonzero(allowed & ~run))
        assert (decision.next is None) == (not added)
        assert decision.next is None or decision.next in added


def test_the_cap_counts_what_is_still_to_be_added() -> None:
    quality, cost, variance = [0.5, 0.5, 0.5], [0.25, 0.5, 9.0], [0.25, 0.25, 0.25]
    rule = hr.CascadeRouting(0.01)
    problem = {"quality": quality, "cost": cost, "variance": variance}
    assert rule.select(**problem).plan == (0, 1, 2)
    assert rule.select(**problem, max_cost=math.inf).plan == (0, 1, 2)
    assert rule.select(**problem, max_cost=0.75).plan == (0, 1)
    assert rule.select(**problem, max_cost=0.5).plan == (0,)
    assert rule.select(**problem, max_cost=0.75, run=[2]).plan == (0, 1, 2)
    assert rule.select(**problem, max_cost=0.0, run=[2]).next is None
    assert hr.Routing(0.0).select([0.5, 0.9], [0.25, 0.5], max_cost=0.25).next == 0
    assert hr.IndexRule(0.0).select([0.5, 0.9], [0.25, 0.5], max_cost=0.25).next == 0


def test_a_cascade_ends_where_the_cap_would_break() -> None:
    quality, cost = [0.5, 0.625, 0.75], [0.25, 0.5, 0.25]
    assert hr.Cascade(0.01).select(quality, cost, max_cost=0.5).plan == (0,)
    assert hr.Cascade(0.01).select(quality, cost, max_cost=1.0).plan == (0, 1, 2)
    # On its own too costly, model 1 is passed over; within the cap, it ends the prefixes.
    assert hr.Cascade(0.01).select(quality, [0.25, 0.75, 0.25], max_cost=0.5).plan == (0, 2)


# The ends of the cost weight


@pytest.mark.parametrize("kind", ["Routing", "CascadeRouting", "IndexRule"])
def test_an_infinite_cost_weight_takes_the_cheapest(kind: str) -> None:
    rule = MAKERS[kind](math.inf)
    variance = [0.0, 0.09, 0.04]
    decision = rule.select([0.9, 0.5, 0.6], [0.5, 0.25, 0.125], variance=variance)
    assert (decision.next, decision.plan, decision.tradeoff) == (2, (2,), -math.inf)
    assert rule.select([0.9, 0.5, 0.6], [0.5, 0.125, 0.125], variance=variance).next == 2
    assert rule.select([0.5, 0.9], [0.25, 0.125], run=[0]).next is None


def test_an_infinite_cost_weight_takes_what_is_free() -> None:
    rule = hr.CascadeRouting(math.inf)
    decision = rule.select([0.5, 0.5, 0.9], [0.0, 0.0, 0.125], variance=[0.01, 0.01, 0.01])
    assert decision.plan == (0, 1)
    assert decision.tradeoff == pytest.approx(0.5 + 0.1 * TWO, abs=ACCURACY)
    assert rule.select([0.5, 0.6, 0.9], [0.5, 0.0, 0.125], run=[0]).plan == (0, 1)


def test_an_infinite_cost_weight_stops_a_cascade_at_once() -> None:
    rule = hr.Cascade(math.inf)
    assert rule.select([0.5, 0.9], [0.25, 0.125]).plan == (0,)
    assert rule.select([0.5, 0.9], [0.25, 0.125], run=[0]).next is None


def test_without_a_cost_weight_cost_only_breaks_ties() -> None:
    assert hr.Routing(0.0).select([0.5, 0.9, 0.8], [0.1, 9.0, 0.1]).next == 1
    problem: dict[str, Any] = {"quality": [0.5, 0.6, 0.7], "cost": [9.0, 8.0, 7.0], "variance": [0.04] * 3}
    assert hr.CascadeRouting(0.0).select(**problem).plan == (0, 1, 2)
    assert hr.Cascade(0.0).select(**problem).plan == (0, 1, 2)
    assert hr.CascadeRouting(0.0, max_depth=2).select(**problem).plan == (1, 2)


def test_the_depth_counts_what_has_run() -> None:
    problem: dict[str, Any] = {"quality": [0.5] * 4, "cost": [0.01] * 4, "variance": [0.09] * 4}
    for make in (hr.CascadeRouting, hr.Cascade):
        assert len(make(0.0, max_depth=3).select(**problem).plan) == 3
        assert len(make(0.0, max_depth=3).select(**problem, run=[0, 1]).plan) == 3
        assert make(0.0, max_depth=1).select(**problem, run=[0, 1]).plan == (0, 1)


def test_the_node_limit_bounds_the_search_and_proves_a_gap() -> None:
    rng = np.random.default_rng(3)
    n_models = 40
    quality = 0.5 + 1e-3 * rng.random(n_models)
    cost = 0.1 + 0.01 * rng.random(n_models)
    factor = rng.normal(size=(n_models, n_models))
    covariance = 0.1 * factor @ factor.T / n_models
    best = hr.CascadeRouting(0.002).select(quality, cost, covariance=covariance)
    assert (best.status, best.gap) == ("optimal", 0.0)
    nodes = []
    for node_limit in (1, 10, 100, 1000):
        some = hr.CascadeRouting(0.002, node_limit=node_limit).select(quality, cost, covariance=covariance)
        assert some.status == "bounded"
        assert some.gap > 0
        assert some.tradeoff <= best.tradeoff <= some.tradeoff + some.gap
        assert some.next in some.plan
        nodes.append(some.n_nodes)
    assert nodes == sorted(nodes)
    assert nodes[-1] <= 1000 < best.n_nodes


# Forms of the numbers


def unaligned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Copy the numbers to where none of them may stand: one byte on."""
    moved = np.ndarray(array.shape, array.dtype, buffer=bytearray(array.nbytes + 1), offset=1)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


def forms(values: Sequence[float]) -> dict[str, Any]:
    array = np.array(values, np.float64)
    frozen = array.copy()
    frozen.flags.writeable = False
    return {
        "list": list(values),
        "tuple": tuple(values),
        "array": array,
        "float32": array.astype(np.float32),
        "float16": array.astype(np.float16),
        "strided": np.repeat(array, 3)[::3],
        "reversed": array[::-1].copy()[::-1],
        "column": np.asfortranarray(np.tile(array, (3, 1)))[1],
        "read-only": frozen,
        "unaligned": unaligned(array),
        "big-endian": array.astype(">f8"),
        "objects": array.astype(object),
        "numpy scalars": list(array.astype(np.float32)),
        "generator": (value for value in values),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_the_numbers_gives_the_same_decision(kind: str) -> None:
    # Exact in float16, so that all forms hold the same numbers.
    numbers = {"quality": [0.5, 0.625, 0.75, 0.5], "cost": [0.125, 0.25, 0.5, 0.25]}
    numbers["variance"] = [0.25, 0.125, 0.0625, 0.5]
    rule = MAKERS[kind](0.25 if kind != "ThresholdCascade" else -0.6)
    expected = rule.select(**numbers)
    for argument, values in numbers.items():
        for name, form in forms(values).items():
            assert rule.select(**numbers | {argument: form}) == expected, (argument, name)
    covariance = np.diag(numbers.pop("variance"))
    expected = rule.select(**numbers, covariance=covariance)
    matrices = [
        covariance.tolist(),
        covariance.astype(np.float32),
        np.asfortranarray(covariance),
        unaligned(covariance),
    ]
    for form in [*matrices, np.kron(covariance, np.ones((2, 2)))[::2, ::2]]:
        assert rule.select(**numbers, covariance=form) == expected
    # Of an asymmetry within rounding, the same entries count in any order of memory.
    covariance = covariance + 1e-11 * np.arange(16.0).reshape(4, 4)
    expected = rule.select(**numbers, covariance=covariance)
    assert rule.select(**numbers, covariance=np.asfortranarray(covariance)) == expected


def test_an_unaligned_array_that_copies_to_itself_is_read() -> None:
    class Itself(np.ndarray):
        def copy(self, *_: object) -> Itself:  # type: ignore[override]
            return self

    def itself(values: Any) -> np.ndarray[Any, Any]:
        return unaligned(np.array(values)).view(Itself)

    rule = hr.CascadeRouting(0.5)
    quality, cost, covariance = [0.5, 0.75], [0.125, 0.25], [[0.25, 0.0], [0.0, 0.125]]
    expected = rule.select(quality, cost, covariance=covariance)
    assert rule.select(itself(quality), itself(cost), covariance=itself(covariance)) == expected
    batch = rule.select_batch(itself([quality]), itself(cost), covariance=itself(covariance))
    assert batch.tolist() == [expected.next]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_numbers_are_numbers(kind: str) -> None:
    rule = MAKERS[kind](0.25 if kind != "ThresholdCascade" else -2)
    expected = rule.select([1.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0], variance=[4.0, 1.0, 0.0, 9.0])
    assert rule.select([1, 3, 2, 1], range(1, 5), variance=np.array([4, 1, 0, 9])) == expected
    assert rule.select([1, 3.0, 2, 1], np.arange(1, 5, dtype=np.int8), variance=(4, 1, 0, 9)) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_a_batch_gives_the_same_models(kind: str) -> None:
    rng = np.random.default_rng(8)
    quality = rng.integers(0, 9, (40, N_MODELS)) / 8
    cost = rng.integers(1, 9, (40, N_MODELS)) / 8
    rule = MAKERS[kind](0.25 if kind != "ThresholdCascade" else -0.6)
    expected = rule.select_batch(quality, cost).tolist()
    frozen = quality.copy()
    frozen.flags.writeable = False
    wide = np.zeros((80, 2 * N_MODELS))
    wide[::2, ::2] = quality
    numbers = [quality.tolist(), quality.astype(np.float32), np.asfortranarray(quality), frozen, unaligned(quality)]
    for form in [*numbers, wide[::2, ::2], quality.astype(">f8"), list(quality)]:
        assert rule.select_batch(form, cost).tolist() == expected


# Batches


def problems(seed: int, n: int, uncertainty: str) -> dict[str, Any]:
    """Draw a batch of problems, its optional arguments keyed as `select_batch` takes them."""
    rng = np.random.default_rng(seed)
    batch: dict[str, Any] = {
        "quality": rng.uniform(0.3, 0.9, (n, N_MODELS)),
        "cost": rng.uniform(0.01, 0.5, (n, N_MODELS)),
    }
    shape = () if uncertainty.startswith("shared") else (n,)
    if uncertainty.startswith("shared"):
        batch["cost"] = batch["cost"][0]
    if uncertainty.endswith("variance"):
        batch["variance"] = rng.uniform(0, 0.1, (*shape, N_MODELS))
    elif uncertainty.endswith("covariance"):
        factor = 0.3 * rng.normal(size=(*shape, N_MODELS, N_MODELS)) / math.sqrt(N_MODELS)
        batch["covariance"] = factor @ np.swapaxes(factor, -1, -2)
    elif uncertainty.endswith("loading"):
        batch["variance"] = rng.uniform(0, 0.1, (*shape, N_MODELS))
        batch["loading"] = 0.2 * rng.normal(size=(*shape, N_MODELS))
    return batch


def row_of(batch: dict[str, Any], row: int) -> dict[str, Any]:
    """Return one row of a batch, where an argument lacks the axis of the rows, the argument itself."""
    axes = {"quality": 2, "cost": 2, "variance": 2, "covariance": 3, "loading": 2}
    axes |= {"run": 2, "allowed": 2, "max_cost": 1}
    return {name: value[row] if np.ndim(value) == axes[name] else value for name, value in batch.items()}


def assert_batch_is_a_loop(rule: hr.Rule, batch: dict[str, Any]) -> None:
    n = len(batch["quality"])
    loop = [rule.select(**row_of(batch, row)).next for row in range(n)]
    expected = [-1 if model is None else model for model in loop]
    for threads in (1, 2, 4, None):
        models = rule.select_batch(**batch, threads=threads)
        assert models.dtype == np.int32
        assert models.shape == (n,)
        assert models.tolist() == expected, threads


def some_rule(kind: str) -> hr.Rule:
    return MAKERS[kind](0.3 if kind != "ThresholdCascade" else -0.6)


def kinds_with(*uncertainties: str) -> pytest.MarkDecorator:
    """Every kind of rule with every uncertainty, but for the index rule, which takes no loading."""
    pairs = [(kind, name) for kind in KINDS for name in uncertainties]
    taken = [(kind, name) for kind, name in pairs if kind != "IndexRule" or not name.endswith("loading")]
    return pytest.mark.parametrize(("kind", "uncertainty"), taken)


UNCERTAINTIES = ["none", "variance", "covariance", "loading"]


@kinds_with(*UNCERTAINTIES, *(f"shared {name}" for name in UNCERTAINTIES))
@pytest.mark.parametrize("n", [1, 150])
def test_a_batch_is_a_loop(kind: str, uncertainty: str, n: int) -> None:
    assert_batch_is_a_loop(some_rule(kind), problems(29, n, uncertainty))


@kinds_with("variance", "covariance", "loading")
def test_a_batch_with_all_arguments_is_a_loop(kind: str, uncertainty: str) -> None:
    n = 150
    batch = problems(31, n, uncertainty)
    rng = np.random.default_rng(37)
    batch["run"] = rng.random((n, N_MODELS)) < 0.3
    batch["allowed"] = rng.random((n, N_MODELS)) < 0.7
    batch["allowed"][np.arange(n), rng.integers(0, N_MODELS, n)] = True
    batch["run"][~(batch["allowed"] & ~batch["run"]).any(axis=1), 0] = True
    batch["max_cost"] = np.where(batch["run"].any(axis=1), rng.uniform(0, 0.6, n), math.inf)
    assert_batch_is_a_loop(some_rule(kind), batch)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_caps_are_shared_by_all_rows(kind: str) -> None:
    batch = problems(41, 70, "variance")
    batch |= {"run": np.array([True, False, False, False]), "allowed": np.array([True, True, False, True])}
    assert_batch_is_a_loop(some_rule(kind), batch | {"max_cost": 0.25})


def test_a_batch_of_nothing_is_nothing() -> None:
    empty = np.zeros((0, 3))
    for kind in KINDS:
        models = some_rule(kind).select_batch(empty, empty, variance=empty)
        assert models.shape == (0,)
        assert models.dtype == np.int32


def test_a_batch_leaves_its_arguments_alone() -> None:
    batch = problems(43, 70, "covariance")
    before = copy.deepcopy(batch)
    hr.CascadeRouting(0.3).select_batch(**batch)
    for name, value in batch.items():
        np.testing.assert_array_equal(value, before[name])


# Profiles


def pieces_of(rule: hr.Rule, batch: dict[str, Any], lower: Floats, upper: Floats) -> list[list[Any]]:
    """Return the pieces of each row, as `(lower, upper, next)`."""
    row, starts, ends, models = rule.profile_batch(**batch, lower=lower, upper=upper)
    assert (row.dtype, starts.dtype, ends.dtype, models.dtype) == (np.int64, float, float, np.int32)
    assert row.tolist() == sorted(row.tolist())
    rows: list[list[Any]] = [[] for _ in lower]
    for at, *piece in zip(row.tolist(), starts.tolist(), ends.tolist(), models.tolist(), strict=True):
        rows[at].append(piece)
    return rows


def assert_profile_is_a_step_function(rows: list[list[Any]], lower: Floats, upper: Floats) -> None:
    for pieces, low, high in zip(rows, lower, upper, strict=True):
        assert pieces[0][0] == low
        assert pieces[-1][1] == high
        assert all(start < end for start, end, _ in pieces)
        for (_, end, model), (start, _, other) in itertools.pairwise(pieces):
            assert start == end
            assert model != other


@kinds_with(*UNCERTAINTIES, "shared variance", "shared loading")
@pytest.mark.parametrize("with_run", [False, True])
def test_a_profile_says_what_every_parameter_would_do(kind: str, uncertainty: str, with_run: bool) -> None:
    n = 40
    batch = problems(47, n, uncertainty)
    rng = np.random.default_rng(53)
    if with_run:
        batch["run"] = rng.random((n, N_MODELS)) < 0.4
    lowest = -1.0 if kind == "ThresholdCascade" else 0.0
    lower = np.where(rng.random(n) < 0.5, lowest, lowest + 0.2)
    upper = np.where(rng.random(n) < 0.5, math.inf, 2.0)
    rows = pieces_of(MAKERS[kind](0.5), batch, lower, upper)
    assert_profile_is_a_step_function(rows, lower, upper)
    for row, pieces in enumerate(rows):
        for parameter in rng.uniform(lower[row], min(upper[row], 4.0), 25):
            # Next to an end of a piece, either neighbour is right to the accuracy of the values.
            if any(abs(parameter - end) < 1e-5 for piece in pieces for end in piece[:2]):
                continue
            [expected] = [model for start, end, model in pieces if start < parameter < end]
            model = MAKERS[kind](parameter).select(**row_of(batch, row)).next
            assert (-1 if model is None else model) == expected, (row, parameter, pieces)


@pytest.mark.parametrize("kind", KINDS)
def test_a_profile_does_not_depend_on_threads_or_the_rules_own_parameter(kind: str) -> None:
    batch = problems(59, 60, "variance")
    interval = {"lower": np.zeros(60), "upper": np.full(60, math.inf)}
    expected = MAKERS[kind](0.0).profile_batch(**batch, **interval)
    for threads in (1, 2, 4):
        again = MAKERS[kind](7.0).profile_batch(**batch, **interval, threads=threads)
        for column, other in zip(expected, again, strict=True):
            np.testing.assert_array_equal(column, other)


def test_a_profile_by_hand() -> None:
    # 0.75 - 0.5 lambda meets 0.5 - 0.25 lambda at 1; with model 0 run, 0.75 - 0.5 lambda meets 0.5 at 0.5.
    rows = pieces_of(
        hr.Routing(0.0),
        {"quality": [[0.5, 0.75]], "cost": [0.25, 0.5]},
        np.array([0.0]),
        np.array([math.inf]),
    )
    assert rows == [[[0.0, 1.0, 1], [1.0, math.inf, 0]]]
    batch = {"quality": [[0.5, 0.75]], "cost": [0.25, 0.5], "run": [True, False]}
    rows = pieces_of(hr.CascadeRouting(0.0), batch, np.array([0.0]), np.array([math.inf]))
    assert rows == [[[0.0, 0.5, 1], [0.5, math.inf, -1]]]
    rows = pieces_of(hr.ThresholdCascade(0.0), batch, np.array([-math.inf]), np.array([math.inf]))
    assert rows == [[[-math.inf, -0.5, 1], [-0.5, math.inf, -1]]]


def test_a_profile_of_the_index_rule_finds_a_model_that_leads_in_the_middle_only() -> None:
    # Model 0 is cheap and may turn out good; model 1, almost surely 0.8, leads at levels between 0.48 and 0.72.
    batch = {"quality": [[0.4, 0.8]], "cost": [0.13, 0.5], "variance": [0.09, 0.0001]}
    [pieces] = pieces_of(hr.IndexRule(0.0), batch, np.array([0.0]), np.array([math.inf]))
    assert [model for _, _, model in pieces] == [0, 1, 0]
    assert [hr.IndexRule(at).select(**row_of(batch, 0)).next for at in (0.05, 0.4, 0.9)] == [0, 1, 0]


# Oracles


def expected_max(quality: Floats, sd: Floats, models: Sequence[int]) -> float:
    """Integrate 1 - prod F above the lowest of the means, and -prod F below it."""
    mean, spread = quality[list(models)], sd[list(models)]
    if len(models) == 1:
        return float(mean[0])

    def product(t: float) -> float:
        return float(np.prod(ndtr((t - mean) / spread)))

    middle, reach = float(mean.max()), 9 * float(spread.max())
    below, _ = quad(product, mean.min() - reach, middle, epsabs=1e-11, limit=200)
    above, _ = quad(lambda t: 1 - product(t), middle, middle + reach, epsabs=1e-11, limit=200)
    return middle - below + above


class Drawn:
    """A random problem, and the exact tradeoff of every plan of it."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n_models = int(rng.integers(2, 7))
        self.quality = rng.uniform(0.2, 0.9, n_models)
        self.cost = rng.uniform(0.0, 0.4, n_models)
        self.sd = rng.choice([0.02, 0.2, 0.5], n_models) * rng.uniform(0.5, 1.5, n_models)
        self.cost_weight = float(rng.choice([0.02, 0.1, 0.5]))
        self.run = tuple(np.flatnonzero(rng.random(n_models) < 0.2).tolist())
        self.allowed = tuple(np.flatnonzero(rng.random(n_models) < 0.9).tolist()) or (0,)
        self.max_depth = int(rng.integers(1, 5))
        cheapest = min(self.cost[list(self.allowed)])
        self.max_cost = float(cheapest + rng.uniform(0.1, 0.8))

    def arguments(self) -> dict[str, Any]:
        return {
            "quality": self.quality,
            "cost": self.cost,
            "variance": self.sd**2,
            "run": self.run,
            "allowed": self.allowed,
            "max_cost": self.max_cost,
        }

    def added_cost(self, plan: Sequence[int]) -> float:
        return float(sum(self.cost[j] for j in plan if j not in self.run))

    def tradeoff(self, plan: Sequence[int]) -> float:
        return expected_max(self.quality, self.sd, plan) - self.cost_weight * self.added_cost(plan)

    def ranked(self, plans: Iterable[Sequence[int]]) -> list[tuple[float, tuple[int, ...]]]:
        return sorted(((self.tradeoff(plan), tuple(sorted(plan))) for plan in plans), reverse=True)

    def subsets(self) -> Iterable[tuple[int, ...]]:
        open_models = [j for j in self.allowed if j not in self.run]
        for size in range(0 if self.run else 1, len(open_models) + 1):
            for added in itertools.combinations(open_models, size):
                fits = len(self.run) + size <= self.max_depth or not added
                if fits and self.added_cost(added) <= self.max_cost:
                    yield self.run + added

    def prefixes(self, order: Sequence[int]) -> Iterable[tuple[int, ...]]:
        if self.run:
            yield self.run
        passed = max((order.index(j) + 1 for j in self.run), default=0)
        plan = self.run
        for j in order[passed:]:
            if j not in self.allowed or self.cost[j] > self.max_cost:
                continue
            plan = (*plan, j)
            if len(plan) > self.max_depth or self.added_cost(plan) > self.max_cost:
                return
            yield plan


def assert_best(decision: hr.Decision, drawn: Drawn, ranked: list[tuple[float, tuple[int, ...]]]) -> None:
    best, plan = ranked[0]
    assert decision.tradeoff == pytest.approx(best, abs=ACCURACY)
    assert decision.value == pytest.approx(best + drawn.cost_weight * drawn.added_cost(plan), abs=1e-6)
    if len(ranked) == 1 or best - ranked[1][0] > 1e-7:
        assert decision.plan == plan


@pytest.mark.parametrize("seed", range(60))
def test_cascade_routing_equals_the_exhaustive_oracle(seed: int) -> None:
    drawn = Drawn(seed)
    rule = hr.CascadeRouting(drawn.cost_weight, max_depth=drawn.max_depth)
    decision = rule.select(**drawn.arguments())
    assert decision.status == "optimal"
    assert_best(decision, drawn, drawn.ranked(drawn.subsets()))
    added = [j for j in decision.plan if j not in drawn.run]
    assert decision.next == (min(added, key=lambda j: drawn.cost[j]) if added else None)


@pytest.mark.parametrize("seed", range(60, 120))
def test_a_cascade_equals_the_oracle_of_prefixes(seed: int) -> None:
    drawn = Drawn(seed)
    order = np.random.default_rng(seed).permutation(len(drawn.quality)).tolist()
    rule = hr.Cascade(drawn.cost_weight, order=order, max_depth=drawn.max_depth)
    decision = rule.select(**drawn.arguments())
    assert_best(decision, drawn, drawn.ranked(drawn.prefixes(order)))
    added = [j for j in order if j in decision.plan and j not in drawn.run]
    assert decision.next == (added[0] if added else None)


@pytest.mark.parametrize("n_models", [2, 17, 128])
def test_routing_equals_argmax(n_models: int) -> None:
    rng = np.random.default_rng(61)
    quality, cost = rng.random((2, 200, n_models))
    for cost_weight in (0.0, 0.3, 2.0):
        expected = np.argmax(quality - cost_weight * cost, axis=1)
        np.testing.assert_array_equal(hr.Routing(cost_weight).select_batch(quality, cost), expected)


@pytest.mark.parametrize("n_models", [1, 2, 3, 6])
def test_expected_max_equals_the_integral(n_models: int) -> None:
    rng = np.random.default_rng(67)
    for _ in range(10):
        quality = rng.uniform(0.2, 0.9, n_models)
        sd = rng.choice([0.02, 0.2, 0.5], n_models) * rng.uniform(0.5, 1.5, n_models)
        exact = expected_max(quality, sd, range(n_models))
        value, error = hr.expected_max(quality, variance=sd**2, with_error=True)
        assert abs(value - exact) <= error + 1e-10
        assert value == hr.expected_max(quality, variance=sd**2)
        wide = hr.expected_max(quality, variance=(sd / 2) ** 2, uncertainty_scale=2.0)
        assert wide == pytest.approx(value, abs=1e-12)


def test_expected_max_of_correlated_models_states_an_honest_error() -> None:
    # Exchangeable with correlation 1/2: a common part, and three independent ones of half the variance.
    exact = 0.5 + 0.2 * math.sqrt(0.5) * 0.8462843753216345
    covariance = 0.04 * (np.eye(3) + np.ones((3, 3))) / 2
    value, error = hr.expected_max([0.5] * 3, covariance=covariance, with_error=True)
    assert 0 < error < 1e-3
    assert abs(value - exact) <= error
    wide = hr.expected_max([0.5] * 3, covariance=covariance / 4, uncertainty_scale=2.0)
    assert wide == pytest.approx(value, abs=1e-12)
    pair, none = hr.expected_max([0.5, 0.5], covariance=covariance[:2, :2], with_error=True)
    assert pair == pytest.approx(0.5 + 0.2 * math.sqrt(0.5) * TWO, abs=1e-14)
    assert none == 0.0


# One factor that all models share


def one_factor_max(quality: Floats, sd: Floats, loading: Floats, models: Sequence[int]) -> float:
    """Average the expected maximum of independent models over the factor, by Gauss-Hermite's rule."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    values = [expected_max(quality + loading * z, sd, models) for z in nodes]
    return float(weights @ values / weights.sum())


class DrawnFactor(Drawn):
    """A random problem in which models share one factor."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        rng = np.random.default_rng(seed + 1000)
        self.sd = rng.uniform(0.15, 0.4, len(self.quality))
        self.loading = rng.uniform(-0.1, 0.3, len(self.quality))

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"loading": self.loading}

    def tradeoff(self, plan: Sequence[int]) -> float:
        return one_factor_max(self.quality, self.sd, self.loading, plan) - self.cost_weight * self.added_cost(plan)


@pytest.mark.parametrize("seed", range(5))
def test_cascade_routing_with_a_factor_equals_the_exhaustive_oracle(seed: int) -> None:
    drawn = DrawnFactor(seed)
    rule = hr.CascadeRouting(drawn.cost_weight, max_depth=drawn.max_depth)
    decision = rule.select(**drawn.arguments())
    assert decision.status == "optimal"
    assert_best(decision, drawn, drawn.ranked(drawn.subsets()))


@pytest.mark.parametrize("n_models", [1, 2, 3, 5, 8])
def test_expected_max_with_a_factor_equals_that_with_its_covariance(n_models: int) -> None:
    rng = np.random.default_rng(71)
    covered = 0
    for _ in range(20):
        quality = rng.uniform(0.2, 0.9, n_models)
        variance = rng.uniform(0.0, 0.1, n_models)
        loading = 0.2 * rng.normal(size=n_models)
        value, error = hr.expected_max(quality, variance=variance, loading=loading, with_error=True)
        covariance = np.outer(loading, loading) + np.diag(variance)
        other, other_error = hr.expected_max(quality, covariance=covariance, with_error=True)
        covered += abs(value - other) <= error + other_error + 1e-14
        assert error < 1e-5
        wide = hr.expected_max(quality, variance=variance / 4, loading=loading / 2, uncertainty_scale=2.0)
        assert wide == pytest.approx(value, abs=1e-12)
        turned = hr.expected_max(quality, variance=variance, loading=-loading)
        assert turned == pytest.approx(value, abs=1e-12)
    # The covariance's error is an interval of 99%.
    assert covered >= 19


def test_one_model_with_a_loading_is_worth_its_mean() -> None:
    assert hr.expected_max([0.3], variance=[0.04], loading=[0.5], with_error=True) == (0.3, 0.0)


def test_what_all_models_share_changes_no_decision() -> None:
    batch = problems(73, 100, "variance")
    rule = hr.CascadeRouting(0.3)
    expected = rule.select_batch(**batch)
    for shared in (0.0, 0.4):
        np.testing.assert_array_equal(rule.select_batch(**batch, loading=np.full(N_MODELS, shared)), expected)


def test_models_that_fail_together_are_worth_less_together() -> None:
    # A loading of the same sign as the others takes from the distance of two models; one of the other sign adds to it.
    quality, variance = [0.5, 0.5, 0.4], [0.01, 0.01, 0.01]
    together = hr.expected_max(quality, variance=variance, loading=[0.2, 0.2, 0.2])
    apart = hr.expected_max(quality, variance=variance, loading=[0.2, -0.2, 0.2])
    assert together == pytest.approx(hr.expected_max(quality, variance=variance), abs=1e-7)
    assert apart > together + 0.1


def test_the_index_rule_takes_the_variances_of_a_common_factor() -> None:
    rng = np.random.default_rng(71)
    for _ in range(200):
        k = int(rng.integers(1, 7))
        quality, cost, own = rng.random(k), rng.random(k), rng.random(k)
        loading = rng.normal(0.0, 0.5, k)
        rule = hr.IndexRule(float(rng.exponential()), uncertainty_scale=float(rng.random()))
        run = rng.random(k) < 0.3
        marginal = own + loading**2
        one = rule.select(quality, cost, variance=own, loading=loading, run=run)
        other = rule.select(quality, cost, variance=marginal, run=run)
        assert (one.next, one.value, one.tradeoff) == (other.next, other.value, other.tradeoff)
        stretch = {"lower": [0.0], "upper": [np.inf], "run": run}
        pieces = rule.profile_batch(quality[None], cost[None], variance=own[None], loading=loading[None], **stretch)
        others = rule.profile_batch(quality[None], cost[None], variance=marginal[None], **stretch)
        for mine, its in zip(pieces, others, strict=True):
            np.testing.assert_array_equal(mine, its)
