"""Defects of the published implementation of cascade routing, each with a test that would catch it here.

Dekoninck, Baader and Vechev, "A unified approach to routing and cascading for LLMs" (ICML 2025). The numbers are those
of the list of defects that this package was written against.
"""

from __future__ import annotations

import itertools
import math
from importlib.metadata import requires

import numpy as np
import pytest

import headrace as hr

# Expected maxima of two and of three independent standard normals.
TWO, THREE = 1 / math.sqrt(math.pi), 1.5 / math.sqrt(math.pi)


@pytest.mark.parametrize("sd", [0.01, 0.1, 2.0])
def test_defect_1_samples_are_scaled_by_the_standard_deviation(sd: float) -> None:
    """Scaled by the variance, the first would be 0.5 + sd^2 / sqrt(pi)."""
    assert hr.expected_max([0.5] * 2, variance=[sd**2] * 2) == pytest.approx(0.5 + sd * TWO, rel=1e-12)
    assert hr.expected_max([0.5] * 3, variance=[sd**2] * 3) == pytest.approx(0.5 + sd * THREE, rel=1e-6)
    correlated, error = hr.expected_max([0.5] * 3, covariance=sd**2 * np.eye(3), with_error=True)
    assert correlated == pytest.approx(0.5 + sd * THREE, abs=error)
    assert error < 5e-3 * sd
    half = hr.expected_max([0.5] * 2, variance=[sd**2] * 2, uncertainty_scale=0.5)
    assert half == pytest.approx(0.5 + sd / 2 * TWO, rel=1e-12)


def test_defect_1_decisions_use_the_standard_deviation() -> None:
    quality, variance = [0.5, 0.5, 0.5], [0.01] * 3
    for rule in (hr.CascadeRouting(0.1), hr.Cascade(0.1)):
        two = rule.select(quality, [0.1, 0.1, 9.0], variance=variance)
        assert two.value == pytest.approx(0.5 + 0.1 * TWO, abs=1e-7)
        three = rule.select(quality, [0.1, 0.1, 0.1], variance=variance)
        assert three.value == pytest.approx(0.5 + 0.1 * THREE, abs=1e-7)
        joint = rule.select(quality, [0.1, 0.1, 0.1], covariance=np.diag(variance))
        assert joint.value == pytest.approx(0.5 + 0.1 * THREE, abs=1e-3)
    # With model 0 run, E[(Q_1 - Q_0)+] = 0.1 / sqrt(pi) = 0.0564: worth a price of 0.05, not one of 0.06. Taken for the
    # standard deviation, the variance of 0.01 would make it 0.0056.
    for price, plan in ((0.05, (0, 1)), (0.06, (0,))):
        decision = hr.CascadeRouting(1.0).select(quality[:2], [0.0, price], variance=variance[:2], run=[0])
        assert decision.plan == plan
    # The reservation value of Q ~ N(0.5, 0.1^2) at the price 0.1 / sqrt(2 pi) is its mean.
    for seen, following in ((0.49, 1), (0.51, None)):
        price = 0.1 / math.sqrt(2 * math.pi)
        decision = hr.IndexRule(1.0).select([seen, 0.5], [0.0, price], variance=[0.0, 0.01], run=[0])
        assert decision.next == following


@pytest.mark.parametrize("uncertainty", ["variance", "covariance"])
@pytest.mark.parametrize("run", [[], [0]])
def test_defect_3_a_useless_model_leaves_all_supersets(uncertainty: str, run: list[int]) -> None:
    """Only three of 30 models are of any use; pruned one branch at a time, the other 27 span 2^27 sets."""
    n_models = 30
    quality = np.full(n_models, 0.5)
    cost = np.full(n_models, 0.06) + 1e-4 * np.arange(n_models)
    useful = [0, 7, 19]
    quality[useful], cost[useful] = 0.52, 0.01
    variance = np.full(n_models, 0.01)
    spread = {"variance": variance} if uncertainty == "variance" else {"covariance": np.diag(variance)}
    decision = hr.CascadeRouting(1.0, max_depth=n_models).select(quality, cost, **spread, run=run)
    assert (decision.status, decision.plan) == ("optimal", tuple(useful))
    assert decision.n_nodes <= 3 * n_models


@pytest.mark.parametrize("run", [[], [0]])
def test_defect_3_free_models_that_add_nothing_leave_all_supersets(run: list[int]) -> None:
    """A bound on what is still to be gained doesn't cut them: neither do they lower the tradeoff."""
    n_models = 30
    quality = 0.01 * np.arange(n_models)
    cost, variance = np.zeros(n_models), np.zeros(n_models)
    useful = [0, 7, 19]
    quality[useful], cost[useful], variance[useful] = 0.9, 0.01, 0.0001
    decision = hr.CascadeRouting(0.1, max_depth=n_models).select(quality, cost, variance=variance, run=run)
    assert (decision.status, decision.plan) == ("optimal", tuple(useful))
    assert decision.n_nodes <= 3 * n_models


def test_defect_3_nodes_grow_with_the_models_not_with_their_subsets() -> None:
    """The inputs of the published runtime script: quality and cost uniform, variance 0.01, nothing run."""
    for n_models, limit in ((11, 60), (30, 120), (100, 300)):
        rng = np.random.default_rng(n_models)
        nodes = []
        for _ in range(30):
            quality, cost = rng.random((2, n_models))
            rule = hr.CascadeRouting(float(rng.random()), max_depth=n_models)
            decision = rule.select(quality, cost, variance=[0.01] * n_models)
            assert decision.status == "optimal"
            nodes.append(decision.n_nodes)
        assert np.mean(nodes) < limit


def test_defect_4_the_next_model_is_the_cheapest_of_the_plan_for_this_query() -> None:
    rule = hr.CascadeRouting(0.1)
    quality, variance = [0.5, 0.5, 0.5], [0.04] * 3
    costs = [list(cost) for cost in itertools.permutations([0.1, 0.2, 0.3])]
    for cost in costs:
        decision = rule.select(quality, cost, variance=variance)
        assert decision.plan == (0, 1, 2)
        assert decision.next == int(np.argmin(cost))
        after = rule.select(quality, cost, variance=variance, run=[decision.next])
        assert after.plan == (0, 1, 2)
        assert after.next == cost.index(0.2)
    models = rule.select_batch([quality] * 6, costs, variance=variance)
    assert models.tolist() == [cost.index(0.1) for cost in costs]


def test_defect_8_no_version_of_numpy_is_shut_out_and_arrays_pass_both_ways() -> None:
    [numpy] = [line for line in requires("headrace") or [] if line.startswith("numpy")]
    assert "<" not in numpy
    assert "==" not in numpy
    models = hr.Routing(0.0).select_batch(np.eye(3, dtype=np.float32), np.zeros(3))
    np.testing.assert_array_equal(models, np.arange(3, dtype=np.int32), strict=True)
