"""Numbers at the edges of what the core takes: the decision is right, or an ordinary error names the argument."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace import _core

FAR_BELOW = [-1e5, -1e10, -1e17, -1e140]
SPREADS: list[dict[str, Any]] = [
    {},
    {"variance": [0.01] * 3},
    {"covariance": np.eye(3) * 0.01},
    {"variance": [0.01] * 3, "loading": [0.1, 0.2, 0.3]},
]


@pytest.mark.parametrize("worst", FAR_BELOW)
@pytest.mark.parametrize("allowed", [None, [1, 2]])
@pytest.mark.parametrize("spread", SPREADS, ids=["certain", "variance", "covariance", "loading"])
def test_a_model_far_below_the_others_blurs_nothing(worst: float, allowed: Any, spread: Any) -> None:
    cost = [0.1, 0.1, 0.2]
    for rule in (hr.Routing(0.01), hr.CascadeRouting(0.01), hr.CascadeRouting(0.01, max_depth=1)):
        got = rule.select([worst, 0.5, 0.59], cost, allowed=allowed, **spread)
        plain = rule.select([0.0, 0.5, 0.59], cost, allowed=[1, 2], **spread)
        assert (got.next, got.plan) == (plain.next, plain.plan)
        assert got.tradeoff == pytest.approx(plain.tradeoff, abs=1e-7)
        batch = rule.select_batch([[worst, 0.5, 0.59]] * 3, cost, allowed=[[allowed is None, True, True]] * 3, **spread)
        assert batch.tolist() == [plain.next] * 3


@pytest.mark.parametrize("worst", FAR_BELOW)
@pytest.mark.parametrize("spread", SPREADS, ids=["certain", "variance", "covariance", "loading"])
def test_a_failed_model_that_has_run_blurs_nothing(worst: float, spread: Any) -> None:
    for rule in (hr.CascadeRouting(0.01), hr.Cascade(0.01)):
        got = rule.select([worst, 0.5, 0.59], [0.1, 0.1, 0.2], run=[0], **spread)
        plain = rule.select([-1.0, 0.5, 0.59], [0.1, 0.1, 0.2], run=[0], **spread)
        assert (got.next, got.plan) == (plain.next, plain.plan)
        assert got.value == pytest.approx(plain.value, abs=1e-6)


def test_a_model_whose_price_is_out_of_reach_blurs_nothing() -> None:
    quality, cost = [1e10, 0.5, 0.59], [1e13, 0.1, 0.2]
    assert hr.Routing(0.01).select(quality, cost).next == 2
    assert hr.CascadeRouting(0.01).select(quality, cost).next == 2
    cascade = hr.Cascade(0.01, order=[1, 2, 0]).select(quality, cost)
    assert cascade.plan == (1, 2)


def test_profiles_keep_the_breakpoints_of_models_above_a_hopeless_one() -> None:
    for rule in (hr.Routing(0.0), hr.CascadeRouting(0.0), hr.IndexRule(0.0)):
        _, lower, _, model = rule.profile_batch(
            [[-1e10, 0.5, 0.59]], [0.1, 0.11, 0.2], lower=[0.0], upper=[math.inf], variance=[1e-6] * 3
        )
        assert {1, 2} <= set(model.tolist())
        assert lower[model.tolist().index(2) + 1] == pytest.approx(0.09 / 0.09, abs=0.05)


@pytest.mark.parametrize("models", [([-1e17, 0.9], 0.9), ([0.9, -1e17], 0.9), ([-1e17, 0.9, 0.2], 0.9)])
@pytest.mark.parametrize("kind", ["variance", "covariance"])
def test_expected_max_beside_a_hopeless_model(models: tuple[list[float], float], kind: str) -> None:
    quality, expected = models
    spread = [0.01] * len(quality)
    value, error = hr.expected_max(
        quality, **{kind: spread if kind == "variance" else np.diag(spread)}, with_error=True
    )
    assert value == pytest.approx(expected, abs=1e-6)
    assert error < 1e-3


def test_prices_that_overflow_leave_a_right_decision() -> None:
    quality, cost = [0.5, 0.6, 0.7], [1e17, 1e17, 2e17]
    for rule in (hr.Routing(1e300), hr.CascadeRouting(1e300), hr.IndexRule(1e300), hr.Routing(1e20)):
        assert rule.select(quality, cost, variance=[0.01] * 3).next == 1
        assert rule.select(quality, [0.0, 1e17, 1e17], variance=[0.01] * 3).next == 0
        assert rule.select(quality, cost, variance=[0.01] * 3, run=[0]).next is None
        assert rule.select(quality, cost, variance=[0.01] * 3, max_cost=1.5e17).next == 1
        assert rule.select_batch([quality] * 2, cost, variance=[0.01] * 3).tolist() == [1, 1]
    assert hr.Cascade(1e300).select(quality, cost, variance=[0.01] * 3).plan == (0,)
    assert hr.Cascade(1e300).select(quality, cost, variance=[0.01] * 3, run=[0]).next is None


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-200, 1e-150, 1e150])
@pytest.mark.parametrize("quality", [[0.0, 0.0, 0.0], [0.5, 0.6, 0.5], [0.0, 1e-12, 0.3]])
@pytest.mark.parametrize("number", [5e-324, 1e-310, 1e-200, 0.01, 1e150])
def test_deviations_at_the_ends_of_the_range_give_finite_values(
    scale: float, quality: list[float], number: float
) -> None:
    spreads: list[dict[str, Any]] = [
        {"variance": [number] * 3},
        {"variance": [number, 0.0, 0.01]},
        {"covariance": np.eye(3) * number},
        {"covariance": np.eye(3) * number * 0.5 + number * 0.5},
        {"variance": [number] * 3, "loading": [number, -number, 0.0]},
    ]
    cost = [0.1, 0.2, 0.3]
    for spread in spreads:
        value, error = hr.expected_max(quality, **spread, uncertainty_scale=scale, with_error=True)
        assert math.isfinite(value)
        assert 0.0 <= error < math.inf
        rules = [hr.CascadeRouting(0.1, uncertainty_scale=scale), hr.Cascade(0.1, uncertainty_scale=scale)]
        if "loading" not in spread:
            rules.append(hr.IndexRule(0.1, uncertainty_scale=scale))
        for rule in rules:
            for run in (None, [0], [0, 1]):
                decision = rule.select(quality, cost, **spread, run=run)
                assert math.isfinite(decision.value)
                assert math.isfinite(decision.tradeoff)
                assert decision.value >= max(quality[j] for j in decision.plan) - 1e-6 * max(1.0, abs(decision.value))


def test_shapes_without_models_or_rows_are_no_panic() -> None:
    empty = np.zeros((0, 0), dtype=bool)
    for members, runs, n in [
        (np.zeros((2, 0), dtype=bool), np.zeros((3, 0), dtype=bool), 3),
        (empty, np.zeros((1, 0), dtype=bool), 1),
        (empty, empty, 1),
        (np.zeros((0, 2), dtype=bool), np.zeros((0, 2), dtype=bool), 0),
    ]:
        _, ends, weights, residual = _core.regressions(np.eye(n), members, runs)
        assert len(ends) == len(runs) == len(residual)
        assert weights.shape[1:] == (n - len(members),)
    for d, n_targets in [(0, 0), (3, 0), (0, 2)]:
        weights, left, freedom = _core.ridge(np.eye(d), np.zeros((d, n_targets)), np.ones(n_targets), 5, [1.0])
        assert (weights.shape, left.tolist(), freedom.tolist()) == (
            (d, n_targets),
            [1.0] * n_targets,
            [0.8] * n_targets,
        )
    no_plans = np.zeros((0, 2), dtype=bool)
    assert _core.expected_max_batch(np.zeros((0, 2)), no_plans, row=np.zeros(0, int)).shape == (0,)
    with pytest.raises(ValueError, match="quality"):
        _core.expected_max_batch(np.zeros((2, 0)), np.zeros((1, 0), dtype=bool), row=[0])
    with pytest.raises(ValueError, match="quality"):
        _core.expected_max_batch(np.zeros((2, 200)), np.ones((1, 200), dtype=bool), row=[0])
    assert _core.project_texts([], [1.0, 1.0], np.zeros((2, 0))).shape == (0, 0)
    assert _core.project_texts([b"abcde"], [1.0, 1.0], np.zeros((2, 0))).shape == (1, 0)
    for rule in (hr.Routing(1.0), hr.ThresholdCascade(0.5)):
        assert rule.select_batch(np.zeros((0, 2)), [0.1, 0.1]).shape == (0,)
        with pytest.raises(ValueError, match="quality"):
            rule.select_batch(np.zeros((2, 0)), [], run=np.zeros((2, 0), dtype=bool))
        with pytest.raises(ValueError, match="quality"):
            rule.select_batch(np.zeros((2, 200)), np.zeros(200), run=np.ones((2, 200), dtype=bool))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gram": np.eye(3)}, "gram: expected shape \\(2, 2\\), got shape \\(3, 3\\)"),
        ({"pull": np.ones(2)}, "pull: expected two axes, got shape \\(2,\\)"),
        ({"squares": np.ones(2)}, "squares: expected shape \\(1,\\), got shape \\(2,\\)"),
        ({"n": 0}, "n: expected at least 1, got 0"),
        ({"penalties": []}, "penalties: expected at least one number, got none"),
        ({"penalties": [1.0, -1.0]}, "penalties: expected finite numbers >= 0, got -1"),
        ({"penalties": [np.nan]}, "penalties: expected finite numbers >= 0, got NaN"),
    ],
)
def test_what_is_wrong_with_a_ridge_is_named(changed: dict[str, Any], message: str) -> None:
    given = {"gram": np.eye(2), "pull": np.ones((2, 1)), "squares": [1.0], "n": 5, "penalties": [1.0]}
    with pytest.raises(ValueError, match=message):
        _core.ridge(**given | changed)


INTERRUPTED = """
import os, signal, threading, time
import numpy as np
import headrace as hr

rng = np.random.default_rng(0)
k = 128
quality = 0.5 + 1e-3 * rng.random(k)
cost = 0.1 + 0.01 * rng.random(k)
factor = rng.normal(size=(k, k))
covariance = 0.1 * factor @ factor.T / k
rule = hr.CascadeRouting(0.002, max_depth=12, node_limit=10**9)
sent, ticks = [], []

def interrupt():
    for _ in range(20):
        time.sleep(0.025)
        ticks.append(1)
    sent.append(time.process_time())
    os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Thread(target=interrupt).start()
try:
    CALL
except KeyboardInterrupt:
    print(time.process_time() - sent[0], len(ticks))
    print(rule.select([0.5, 0.6], [0.1, 0.9]).next)
"""


@pytest.mark.parametrize(
    "call",
    [
        "rule.select(quality, cost, covariance=covariance)",
        "rule.select_batch([quality] * 2, cost, covariance=covariance)",
        "rule.profile_batch([quality], cost, covariance=covariance, lower=[0.0], upper=[1.0])",
    ],
    ids=["one", "batch", "profile"],
)
@pytest.mark.skipif(sys.platform == "win32", reason="no process signals itself there")
def test_ctrl_c_ends_a_long_decision(call: str) -> None:
    code = textwrap.dedent(INTERRUPTED).replace("CALL", call)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    first, second = run.stdout.splitlines()
    seconds, ticks = first.split()
    # Milliseconds of the processor, however busy the machine is; meanwhile, other threads have run.
    assert float(seconds) < 2.0
    assert int(ticks) == 20
    assert second == "1"


def masked(values: Any) -> Any:
    return np.ma.array(values, mask=np.zeros(np.shape(values), dtype=bool))


def test_masked_arrays_are_refused_by_name() -> None:
    rule = hr.CascadeRouting(1.0)
    good: dict[str, Any] = {"quality": [0.5, 0.6], "cost": [0.1, 0.2], "variance": [0.01, 0.02]}
    for name in good:
        with pytest.raises(TypeError, match=rf"{name}.*mask.*fill or drop"):
            rule.select(**{**good, name: masked(good[name])})
        with pytest.raises(TypeError, match=rf"{name}.*mask.*fill or drop"):
            rule.select_batch(**{**good, "quality": [good["quality"]], name: masked([good[name]])})
    with pytest.raises(TypeError, match=r"quality.*mask"):
        rule.select_batch([masked([0.5, 0.6])], [0.1, 0.2])
    with pytest.raises(TypeError, match=r"run.*mask"):
        rule.select([0.5, 0.6], [0.1, 0.2], run=masked([True, False]))
    with pytest.raises(TypeError, match=r"covariance.*mask"):
        rule.select([0.5, 0.6], [0.1, 0.2], covariance=masked(np.eye(2)))
    with pytest.raises(TypeError, match=r"max_cost.*mask"):
        rule.select_batch([[0.5, 0.6]], [0.1, 0.2], max_cost=masked([1.0]))
    # Other subclasses of an array are arrays.
    assert rule.select(np.array([0.5, 0.6]).view(np.recarray), [0.1, 0.2]).next == 0


def test_tables_refuse_masked_arrays_by_name() -> None:
    quality, cost = np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([0.1, 0.2])
    with pytest.raises(TypeError, match=r"quality.*mask.*fill or drop"):
        hr.Outcomes(models=["x", "y"], quality=masked(quality), cost=cost)
    with pytest.raises(TypeError, match=r"cost.*mask.*fill or drop"):
        hr.Outcomes(models=["x", "y"], quality=quality, cost=masked(cost))
