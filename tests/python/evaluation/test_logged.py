"""Other budgets from a log: audits are right at every budget, weights near the logged one; too little is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from decision_logs import BUDGET, fitted, logged, walked

import headrace as hr
from headrace.datasets import simulate
from headrace.evaluation.logged import PolicyLog, evaluate_log, policies_in, recalibrated

BUDGETS = (0.5 * BUDGET, BUDGET, 2.0 * BUDGET)


@pytest.fixture(scope="module")
def table() -> hr.Outcomes:
    return simulate(1000, 3, rng=2)


@pytest.fixture(scope="module")
def audited(table: hr.Outcomes) -> list[dict[str, Any]]:
    """Every query audited, so that a test may take any part of them."""
    return list(logged(fitted(), table, audit=1.0))


@pytest.fixture(scope="module")
def explored(table: hr.Outcomes) -> list[dict[str, Any]]:
    return list(logged(fitted(), table, explore=0.3))


@pytest.fixture(scope="module")
def truth(table: hr.Outcomes) -> dict[float, tuple[float, float]]:
    means = {}
    for budget in BUDGETS:
        cost, quality = walked(fitted().with_budget(budget), table)
        means[budget] = float(cost.mean()), float(quality.mean())
    return means


def part_of(events: list[dict[str, Any]], rows: list[int]) -> list[dict[str, Any]]:
    """Take some queries of a log, one as often as it is named."""
    copies = Counter(str(row) for row in rows)
    return [event for event in events for _ in range(copies[event["id"]] if "id" in event else 1)]


def test_audits_are_right_at_half_and_at_twice_the_logged_budget(
    audited: list[dict[str, Any]], truth: dict[float, tuple[float, float]]
) -> None:
    estimates = evaluate_log(part_of(audited, list(range(300))), BUDGETS)
    assert [estimate.budget for estimate in estimates] == list(BUDGETS)
    for estimate in estimates:
        cost, quality = truth[estimate.budget]
        assert estimate.quality is not None
        assert estimate.cost.n == estimate.quality.n == 300
        assert abs(estimate.cost.value - cost) < 2.0 * estimate.cost.standard_error
        assert abs(estimate.quality.value - quality) < 2.0 * estimate.quality.standard_error
        assert 0.005 < estimate.quality.standard_error < 0.03


def test_audits_have_no_bias_and_their_standard_errors_are_true(
    audited: list[dict[str, Any]], truth: dict[float, tuple[float, float]]
) -> None:
    rng = np.random.default_rng(0)
    deviations, errors = [], []
    for _ in range(50):
        rows = rng.choice(1000, size=200, replace=False).tolist()
        for estimate in evaluate_log(part_of(audited, rows), BUDGETS):
            assert estimate.quality is not None
            cost, quality = truth[estimate.budget]
            deviations.append([estimate.cost.value / cost - 1.0, estimate.quality.value - quality])
            errors.append([estimate.cost.standard_error / cost, estimate.quality.standard_error])
    by_budget = np.array(deviations).reshape(50, 3, 2)
    expected = np.array(errors).reshape(50, 3, 2).mean(axis=0)
    # Fifty means, each with its own error: a bias of two of theirs would be seen.
    assert (np.abs(by_budget.mean(axis=0)) < 2.0 * expected / np.sqrt(50) + [0.01, 0.003]).all()
    assert (np.abs(by_budget.std(axis=0) / expected - 1.0) < 0.35).all()


def test_every_point_of_the_grid_is_what_walking_there_gives(audited: list[dict[str, Any]], table: hr.Outcomes) -> None:
    log = next(iter(policies_in(audited).values()))
    costs, quality = log.replayed()
    few = table.take(range(300))
    for budget in (float(log.grid[5, 1]), float(log.grid[20, 1])):
        estimate = evaluate_log(audited, budget)[0]
        point = int(np.flatnonzero(log.grid[:, 1] == budget)[0])
        assert estimate.cost.value == pytest.approx(costs[:, point, 0].mean())
        cost, right = walked(fitted().with_budget(budget), few)
        assert costs[:300, point, 0] == pytest.approx(cost)
        assert quality[:300, point].tolist() == right.tolist()


def test_a_query_that_comes_again_brings_no_new_draw(audited: list[dict[str, Any]]) -> None:
    once = evaluate_log(part_of(audited, list(range(200))), BUDGET)[0]
    twice = evaluate_log(part_of(audited, list(range(200)) * 2), BUDGET)[0]
    assert twice.cost.n == 400
    assert twice.cost.value == pytest.approx(once.cost.value)
    assert twice.cost.standard_error == pytest.approx(once.cost.standard_error)


def test_quality_needs_labels_of_all_answers(audited: list[dict[str, Any]]) -> None:
    ungraded = [event | {"quality": {}} if event["event"] == "audit" else event for event in audited]
    estimate = evaluate_log(ungraded, BUDGET)[0]
    assert estimate.quality is None
    assert estimate.cost.n == 1000
    later = [
        {"event": "feedback", "id": event["id"], "quality": quality, "model": model}
        for event in part_of(audited, list(range(100)))
        if event["event"] == "audit"
        for model, quality in event["quality"].items()
    ]
    told = evaluate_log(ungraded + later, BUDGET)[0]
    assert told.quality is not None
    assert told.quality.n == 100


def test_what_a_log_cannot_say_is_refused(audited: list[dict[str, Any]], explored: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match="expected at least 30 audited queries, got 12"):
        evaluate_log(part_of(audited, list(range(12))), BUDGET)
    with pytest.raises(ValueError, match=r"budget: expected at least .*, the mean cost per query of the cheapest"):
        evaluate_log(audited, 1e-6)
    with pytest.raises(ValueError, match="method: 'ips' needs decisions made with exploration; the log has none"):
        evaluate_log(audited, BUDGET, method="ips")
    with pytest.raises(ValueError, match="method: expected one of"):
        evaluate_log(audited, BUDGET, method="guess")
    with pytest.raises(ValueError, match="expected those of a decision log, which name their router; found none"):
        evaluate_log([], BUDGET)
    few = part_of(explored, list(range(90)))
    with pytest.raises(
        ValueError, match=r"is worth \d+ decisions \(its effective sample size\), expected at least 100"
    ):
        evaluate_log(few, BUDGET, method="ips")
    with pytest.raises(ValueError, match=r"is worth \d+ decisions"):
        evaluate_log(part_of(explored, list(range(400))), 3.0 * BUDGET, method="doubly-robust")


@pytest.mark.parametrize(
    ("kind", "part", "value", "message"),
    [
        ("policy", "grid", [[1.0, 2.0]], "'grid' to be a list of three numbers each, got"),
        ("policy", "models", "large", "'models' to be a list of texts, got 'large'"),
        ("decision", "model", 3, "'model' to be a text or null, got 3"),
        ("audit", "quality", [1.0], "'quality' to be an object of numbers, got"),
        ("audit", "models", {"small": None}, "'models' to be objects with kind and cost by model, got"),
        ("policy", "grid", [], "'grid' to be a list of three numbers each, got"),
        ("policy", "grid", [[10**400, 1.0, 1.0]], "'grid' to be a list of three numbers each, got"),
        ("audit", "quality", {"model-1": 10**400}, "'quality' to be an object of numbers, got"),
        ("audit", "replays", None, "'replays' to be a list of stretches of the grid from 0 on: .*, got None"),
        ("audit", "replays", [], "'replays' to be a list of stretches"),
        ("audit", "replays", [[1, [], None, [0.0]]], "'replays' to be a list of stretches"),
        ("audit", "replays", [[0, [], None, [0.0]]] * 2, "'replays' to be a list of stretches"),
        ("audit", "replays", [[0, [], None, [0.0]], [10**6, [], None, [0.0]]], "'replays' to be a list of stretches"),
        ("audit", "replays", [[0, ["model-1"], "none", [0.0]]], "'replays' to be a list of stretches"),
        ("audit", "replays", [[0, [], None, [0.0, 1.0]]], "'replays' to be a list of stretches"),
        ("audit", "replays", [[0, [], None, ["free"]]], "'replays' to be a list of stretches"),
        ("feedback", "quality", "good", "'quality' to be a number up to 1e[+]150, got 'good'"),
    ],
)
def test_events_of_another_shape_are_refused(
    audited: list[dict[str, Any]], kind: str, part: str, value: Any, message: str
) -> None:
    article = "an" if kind == "audit" else "a"
    feedback = {"event": "feedback", "id": "q-0", "model": None, "quality": 1.0}
    wrong = [{**event, part: value} if event["event"] == kind else event for event in [*audited[:40], feedback]]
    assert wrong != [*audited[:40], feedback]
    with pytest.raises(ValueError, match=f"^events: {article} {kind} event( of '.*')?: expected {message}"):
        policies_in(wrong)
    lacking = [{n: v for n, v in event.items() if n != part or event["event"] != kind} for event in wrong]
    with pytest.raises(
        ValueError, match=f"^events: {article} {kind} event( of '.*')?: expected '{part}' to be .*, but there is none"
    ):
        policies_in(lacking)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("rate", 1.5),
        ("rate", None),
        ("own", -1),
        ("own", 10**6),
        ("own", "first"),
        ("point", 0.5),
        ("agree", [0, 10**6]),
        ("agree", 3),
        ("believed", []),
        ("believed", [[0.5]]),
        ("believed", [["much", 1.0]]),
    ],
)
def test_explorations_of_another_shape_are_refused(explored: list[dict[str, Any]], part: str, value: Any) -> None:
    wrong = [{**e, "explored": {**e["explored"], part: value}} if e["event"] == "decision" else e for e in explored[:9]]
    with pytest.raises(
        ValueError, match=r"^events: a decision event of '0': expected 'explored' to be null, or an object"
    ):
        policies_in(wrong)
    for cost in ({}, {"cost": None}, {"cost": "free"}, 3):
        with pytest.raises(
            ValueError, match=r"^events: a decision event of '0': expected 'cost' to be an object of num"
        ):
            policies_in([{**event, "cost": cost} if event["event"] == "decision" else event for event in explored[:9]])


def test_a_label_that_a_log_knows_as_null_is_missing(audited: list[dict[str, Any]]) -> None:
    events = [{**e, "quality": dict.fromkeys(e["quality"])} if e["event"] == "audit" else e for e in audited]
    assert evaluate_log(events, BUDGET)[0].quality is None


def test_more_than_all_that_can_be_spent_is_not_extrapolated(audited: list[dict[str, Any]]) -> None:
    estimate = evaluate_log(audited, 1.0)[0]
    assert estimate.expected.cost == pytest.approx(fitted().path.cost.max())
    assert estimate.cost.value < 0.05


def drawn(log: PolicyLog, n: int, rate: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Draw decisions with exploration from what all points would have done with audited queries."""
    costs, quality = log.replayed()
    n_points = len(log.grid)
    own = int(np.argmin(np.abs(log.grid[:, 1] - BUDGET)))
    walks = np.array(
        [
            np.searchsorted([replay[0] for replay in audit["replays"]], np.arange(n_points), "right")
            for audit in log.audits
        ]
    )
    told = {"policy": log.policy, "model": "any"}
    believed = log.grid[:, [2, 1]].tolist()
    events: list[dict[str, Any]] = []
    for number, row in enumerate(rng.integers(len(log.audits), size=n).tolist()):
        point = int(rng.integers(n_points)) if rng.random() < rate else own
        agree = np.flatnonzero(walks[row] == walks[row, point]).tolist()
        explored = {"rate": rate, "own": own, "point": point, "agree": agree, "believed": believed}
        spent = {"cost": float(costs[row, point, 0])}
        events += [
            {**told, "event": "decision", "id": f"d-{number}", "steps": [], "cost": spent, "explored": explored},
            {"event": "feedback", "id": f"d-{number}", "quality": float(quality[row, point])},
        ]
    return events


@pytest.mark.parametrize("method", ["ips", "doubly-robust"])
def test_weights_are_right_near_the_logged_budget(audited: list[dict[str, Any]], method: str) -> None:
    log = next(iter(policies_in(audited).values()))
    costs, quality = log.replayed()
    rng = np.random.default_rng(0)
    logs = [[audited[0], *drawn(log, 5000, 0.6, rng)] for _ in range(12)]
    for budget in (0.5 * BUDGET, BUDGET):
        _, weights = log.mixture(budget)
        truth = np.array([(costs[:, :, 0] @ weights).mean(), (quality @ weights).mean()])
        estimates = [evaluate_log(events, budget, method=method)[0] for events in logs]
        assert all(100.0 < one.effective <= 5000.0 for one in estimates)
        pairs = [(one.cost, one.quality) for one in estimates if one.quality is not None]
        values = np.array([[cost.value, right.value] for cost, right in pairs])
        errors = np.array([[cost.standard_error, right.standard_error] for cost, right in pairs])
        assert (np.abs(values.mean(axis=0) - truth) < 3.0 * values.std(axis=0) / np.sqrt(12) + 0.001 * truth).all()
        assert ((np.abs(values - truth) < 2.0 * errors).mean(axis=0) > 0.7).all()


def test_the_probability_of_a_walk_is_that_of_walking_it(explored: list[dict[str, Any]]) -> None:
    decisions = [event["explored"] for event in explored if event["event"] == "decision"]
    assert np.mean([one["point"] is not None for one in decisions]) == pytest.approx(0.3, abs=0.03)
    for one in decisions:
        decided_at = one["own"] if one["point"] is None else one["point"]
        assert decided_at in one["agree"]
    # Weights of any point have mean 1.
    n_points = len(policies_in(explored)[fitted().fingerprint].grid)
    for point in range(0, n_points, 5):
        weights = [
            (point in one["agree"]) / (0.7 * (one["own"] in one["agree"]) + 0.3 * len(one["agree"]) / n_points)
            for one in decisions
        ]
        assert np.mean(weights) == pytest.approx(1.0, abs=4.0 * np.std(weights) / np.sqrt(len(weights)))


def test_two_policies_in_one_log_are_kept_apart(audited: list[dict[str, Any]], table: hr.Outcomes) -> None:
    swapped = fitted().with_budget(0.5 * BUDGET)
    dear = simulate(200, 3, rng=5)
    second = list(logged(swapped, dear, audit=1.0, prefix="s-"))
    first = part_of(audited, list(range(200)))
    mixed = [event for pair in zip(first, second, strict=False) for event in pair]
    estimates = evaluate_log(mixed, BUDGET)
    assert [one.policy for one in estimates] == [fitted().fingerprint, swapped.fingerprint]
    assert estimates[0].cost == evaluate_log(first[: len(mixed) // 2], BUDGET)[0].cost
    assert estimates[1].cost == evaluate_log(second[: len(mixed) // 2], BUDGET)[0].cost


def test_a_recalibrated_router_keeps_its_budget_after_a_change_of_prices(table: hr.Outcomes) -> None:
    decider = fitted()
    dearer = simulate(1400, 3, rng=7)
    cost = dearer.cost * [1.0, 1.5, 2.0]
    changed = hr.Outcomes(
        models=list(dearer.models),
        quality=dearer.quality,
        cost=cost,
        queries=dict(dearer.queries),
        responses=dict(dearer.responses),
    )
    events = list(logged(decider, changed.take(range(400)), audit=1.0))
    anew = recalibrated(decider, events)
    test = changed.take(range(400, 1400))
    before, after = walked(decider, test)[0].mean(), walked(anew, test)[0].mean()
    assert before > 1.3 * BUDGET
    assert after == pytest.approx(BUDGET, rel=0.15)
    assert anew.budget == decider.budget
    assert anew.point.cost == pytest.approx(BUDGET)
    assert (np.diff(anew.path.cost) <= 0.0).all()
    assert np.array_equal(anew.path.parameter, decider.path.parameter)
    assert walked(anew, test)[1].mean() == pytest.approx(anew.point.quality, abs=0.055)


def test_recalibration_needs_audits_of_this_router(audited: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"expected at least 100 audited queries of this router \(.*\), got 99"):
        recalibrated(fitted(), part_of(audited, list(range(99))))
    with pytest.raises(ValueError, match=r"got 0; 1000 are of router [0-9a-f]{16}"):
        recalibrated(fitted().with_budget(0.004), audited)


def test_without_labels_costs_alone_are_set_right(audited: list[dict[str, Any]]) -> None:
    ungraded = [event | {"quality": {}} if event["event"] == "audit" else event for event in audited]
    ungraded = [event for event in ungraded if event["event"] != "feedback"]
    anew = recalibrated(fitted(), ungraded)
    assert np.array_equal(anew.path.quality, fitted().path.quality)
    assert anew.path.cost.max() == pytest.approx(
        np.mean([event["replays"][0][3][0] for event in audited if event["event"] == "audit"])
    )
