"""What an evaluation finds: the router against single models, the cost of estimates, latency, single decisions."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import headrace as hr
from headrace.beliefs.belief_table import BeliefTable
from headrace.calibration.walk import walk
from headrace.estimators import ConstantCost, ConstantQuality
from headrace.evaluation import Evaluation
from headrace.evaluation.bootstrap import interval, resampling_weights
from headrace.evaluation.metrics import cost_at_quality
from headrace.evaluation.traffic import entropy, reliability, served, walked_session
from headrace.rules import make_rule

Floats = npt.NDArray[np.float64]
Tables = tuple[hr.Outcomes, hr.Outcomes]

# Sums of a few hundred numbers, in another order.
EXACT = 1e-9


@pytest.fixture(scope="module")
def digits() -> Tables:
    fitting, test = hr.datasets.load_quickstart().select(["svm", "centroid", "network"]).split(0.5)
    return fitting.take(np.arange(300)), test.take(np.arange(240))


@pytest.fixture(scope="module")
def router(digits: Tables) -> hr.Router:
    return hr.Router().fit(digits[0], budget=60.0)


@pytest.fixture(scope="module")
def evaluation(router: hr.Router, digits: Tables) -> Evaluation:
    return hr.evaluate(router, digits[1], fitting=digits[0])


# Numbers with intervals


def test_savings_and_gains_against_plain_loops(evaluation: Evaluation, digits: Tables) -> None:
    test, curve = digits[1], evaluation["router"]
    weights = resampling_weights(test, 0)
    order = np.lexsort((curve.quality, curve.cost))
    cost, quality = curve.cost[order], curve.quality[order]
    for j, single in enumerate(evaluation.singles):
        assert single.cost.value == pytest.approx(test.cost[:, j].mean())
        assert single.quality.value == pytest.approx(test.quality[:, j].mean())
        assert single.quality[1:] == pytest.approx(np.quantile(weights @ test.quality[:, j], [0.025, 0.975]))
        wanted = test.quality[:, j].mean()
        reached = math.inf
        for i in range(len(cost)):
            if quality[i] >= wanted:
                reached = cost[i]
                if i:
                    share = (wanted - quality[i - 1]) / (quality[i] - quality[i - 1])
                    reached = cost[i - 1] + share * (cost[i] - cost[i - 1])
                break
        assert single.saving.value == pytest.approx(1.0 - reached / test.cost[:, j].mean())
        assert single.near_saving.value >= single.saving.value
        curves = zip(curve.resampled_cost, curve.resampled_quality, weights @ test.quality[:, j], strict=True)
        spent = np.array([cost_at_quality(c, q, quality - 0.005) for c, q, quality in curves])
        assert single.near_saving[1:] == pytest.approx(interval(1.0 - spent / (weights @ test.cost[:, j])))
        if single.gain.value > -math.inf:
            here = np.interp(test.cost[:, j].mean(), cost, quality)
            assert single.gain.value == pytest.approx(here - wanted)
    assert evaluation.best_single.model == "svm"


class Loaded:
    """A noisy oracle whose updates share a factor."""

    def fit(self, queries: Any, responses: Any, quality: Any) -> Loaded:
        self.oracle = hr.datasets.NoisyOracle().fit(queries, responses, quality)
        return self

    def predict(self, queries: Any, responses: Any) -> Any:
        belief = self.oracle.predict(queries, responses)
        assert belief.variance is not None
        return belief._replace(variance=0.1 * belief.variance, loading=np.sqrt(0.9 * belief.variance))


def test_flows_follow_beliefs_of_one_factor() -> None:
    fitting, test = hr.datasets.simulate(600, 4).split(0.5)
    router = hr.Router(quality=Loaded(), mix="deterministic").fit(fitting, budget=float(np.median(fitting.mean_cost)))
    chosen = hr.evaluate(router, test, fitting=fitting, baselines=[], n_resamples=10, n_examples=0).chosen
    walked = [walked_session(router, test, row) for row in range(test.n_queries)]
    flow = np.zeros((4, 4))
    for session in walked:
        flow[test.models.index(session.run[0]), test.models.index(session.model)] += 1.0 / test.n_queries
    np.testing.assert_allclose(chosen.flow, flow, atol=EXACT)


def test_differences_are_paired(evaluation: Evaluation) -> None:
    one, other = evaluation["router"], evaluation["routing"]
    difference = evaluation.difference("router", "routing")
    assert difference.value == one.area - other.area
    assert difference[1:] == pytest.approx(np.quantile(one.resampled - other.resampled, [0.025, 0.975]))
    at = evaluation.quality_difference("router", "routing")
    assert at.value == one.quality[evaluation.at] - other.quality[evaluation.at]
    assert at.low <= at.value <= at.high
    with pytest.raises(KeyError, match="lottery"):
        evaluation["lottery"]


def test_one_model_that_is_best_and_cheapest_wins() -> None:
    rng = np.random.default_rng(4)
    table = hr.Outcomes(
        models=["small", "large"],
        quality=(rng.random((400, 2)) < [0.9, 0.6]).astype(float),
        cost=[1.0, 5.0],
        queries={"hint": rng.normal(size=400)},
    )
    fitting, test = table.split(0.5)
    result = hr.evaluate(hr.Router().fit(fitting), test, n_resamples=100)
    assert result.verdict[0].startswith("Use small alone: ")
    assert "nothing to trade" in result.verdict[0]
    assert any(sentence.startswith("Collapse: small answers 100%") for sentence in result.verdict)
    assert result.chosen.assumed
    assert result.singles[0].gain.value == pytest.approx(0.0, abs=0.02)


def test_a_router_that_is_worse_than_one_model_is_told_so() -> None:
    """Estimates that are noise on the fitting part and opposite to the truth on the test part."""
    rng = np.random.default_rng(5)
    hint = rng.normal(size=600)
    right = np.stack([hint > 0, np.ones(600) > 0], axis=1).astype(float)
    fitting, test = (
        hr.Outcomes(models=["a", "b"], quality=q, cost=[1.0, 2.0], queries={"hint": hint}, ids=range(n, n + 600))
        for n, q in ((0, right), (600, np.stack([hint < 0, np.ones(600) > 0], axis=1).astype(float)))
    )
    result = hr.evaluate(hr.Router(rule="routing").fit(fitting, budget=1.5), test, n_resamples=100)
    # At the expensive model's cost it still sends half of the queries to the cheap one, all of them wrong.
    assert result.best_single.model == "b"
    assert result.best_single.gain.high <= 0.0
    assert result.difference("router", "linear interpolation").high < 0.0
    assert "is beaten by mixing single models" in " ".join(result.verdict)


@pytest.mark.parametrize("edge", [0.4, -0.4])
def test_a_router_that_knows_pays(edge: float) -> None:
    rng = np.random.default_rng(6)
    hint = rng.normal(size=600)
    # Each model is right where the other one is wrong; the expensive one a little more often, or less.
    quality = np.stack([hint > edge, hint <= edge], axis=1).astype(float)
    table = hr.Outcomes(models=["a", "b"], quality=quality, cost=[1.0, 2.0], queries={"hint": hint})
    fitting, test = table.split(0.5)
    result = hr.evaluate(hr.Router(rule="routing").fit(fitting, budget=1.5), test, n_resamples=100)
    assert result.best_single.model == ("b" if edge > 0 else "a")
    assert result.verdict[0].startswith("This router pays at this budget: ")
    if edge > 0:
        assert result.best_single.gain.low > 0.2
        assert result.best_single.saving.low > 0.0
        assert "the best model that it can afford, a, gives 35.7%, mixing 50.0%." in result.verdict[0]
        assert "It reaches the quality of b, the best single model (64.3% at 2 per query), at" in result.verdict[1]
    assert result["router"].area > result["linear interpolation"].area + 0.1


def test_a_router_that_knows_nothing_doesnt_pay() -> None:
    # Half a point below the better, more expensive model is to be had for less by mixing the two at random, too.
    rng = np.random.default_rng(8)
    quality = (rng.random((400, 2)) < [0.4, 0.8]).astype(float)
    table = hr.Outcomes(models=["a", "b"], quality=quality, cost=[1.0, 2.0], queries={"hint": rng.normal(size=400)})
    fitting, test = table.split(0.5)
    router = hr.Router(quality=ConstantQuality(), cost=ConstantCost()).fit(fitting, budget=1.5)
    for baselines in (["linear interpolation"], []):
        result = hr.evaluate(router, test, fitting=fitting, baselines=baselines, n_resamples=100)
        assert result.best_single.near_saving.low > 0.0
        assert result.verdict[0].startswith("No gain at this budget is shown by these 200 queries: ")


# What estimates cost, and how long runs take


@pytest.mark.parametrize("per", ["query", "decision"])
def test_the_cost_of_estimates_moves_the_curves(per: str, evaluation: Evaluation, digits: Tables) -> None:
    fitting, test = digits
    router = hr.Router().fit(fitting, budget=60.0)
    costly = hr.evaluate(router, test, fitting=fitting, estimation_cost=2.0, estimation_per=per)
    for method, free in zip(costly.methods, evaluation.methods, strict=True):
        decisions = {
            **dict.fromkeys(("linear interpolation", "agreement", "oracle"), 0.0 * free.n_runs),
            **dict.fromkeys(("routing", "clusters"), np.ones_like(free.n_runs)),
            **dict.fromkeys(
                ("threshold-cascade", "pairs"), free.n_runs if per == "decision" else 1.0 + 0.0 * free.n_runs
            ),
        }.get(method.name, free.n_runs + 1.0 if per == "decision" else np.ones_like(free.n_runs))
        np.testing.assert_allclose(method.cost, free.cost + 2.0 * decisions, rtol=EXACT)
        np.testing.assert_array_equal(method.quality, free.quality)
        # Budgets are about the models.
        assert method.excess == free.excess
        assert (method.area < free.area) == (decisions.max() > 0.0)
    assert costly.chosen.costs == evaluation.chosen.costs
    assert costly.best_single.saving.value < evaluation.best_single.saving.value or math.isinf(
        costly.best_single.saving.value
    )


@pytest.mark.parametrize("per", ["query", "decision"])
@pytest.mark.parametrize("rule", ["routing", "threshold-cascade", "cascade-routing"])
def test_seconds_of_estimates_are_measured(rule: str, per: str, digits: Tables) -> None:
    fitting, test = (dataclasses.replace(part, cost={"usd": part.cost, "seconds": part.cost}) for part in digits)
    router = hr.Router(rule=rule).fit(fitting, budget=60.0)
    keywords: dict[str, Any] = {"baselines": [], "n_resamples": 20, "n_examples": 0, "estimation_per": per}
    free = hr.evaluate(router, test, **keywords)
    timed = hr.evaluate(router, test, estimation_cost={"usd": 3.0, "seconds": "measured"}, **keywords)
    assert (free.estimation_cost, free.estimation_seconds, timed.estimation_cost) == (0.0, 0.0, 3.0)
    # A decision takes microseconds to milliseconds, an estimate too.
    assert 1e-6 < timed.estimation_seconds < 1.0
    decisions = 1.0
    if per == "decision" and rule != "routing":
        steps = [stopped(router, test, row) for row in range(test.n_queries)]
        decisions = float(np.mean(steps)) + (rule == "cascade-routing")
    added = timed.latency[0].mean - free.latency[0].mean
    assert added == pytest.approx(timed.estimation_seconds * decisions, rel=1e-6)
    assert timed.latency[1:] == free.latency[1:]
    assert (timed["router"].cost > free["router"].cost).all()


def stopped(router: hr.Router, test: hr.Outcomes, row: int) -> int:
    return len(walked_session(router, test, row).run)


def test_measured_seconds_are_on_the_curves_where_seconds_are_the_cost(digits: Tables) -> None:
    fitting, test = (dataclasses.replace(part, cost={"seconds": part.cost}) for part in digits)
    router = hr.Router(rule="routing").fit(fitting, budget=60.0)
    keywords: dict[str, Any] = {"baselines": [], "n_resamples": 20, "n_examples": 0}
    timed = hr.evaluate(router, test, estimation_cost="measured", **keywords)
    free = hr.evaluate(router, test, **keywords)
    assert timed.estimation_cost == timed.estimation_seconds > 0.0
    np.testing.assert_allclose(timed["router"].cost, free["router"].cost + timed.estimation_cost, rtol=EXACT)


def test_seconds_of_sequential_runs_add_up(digits: Tables) -> None:
    timed = [dataclasses.replace(part, cost={"usd": part.cost, "seconds": part.cost**0.5}) for part in digits]
    # Constant estimates: the two rules that are mixed are far from each other.
    router = hr.Router(quality=ConstantQuality(), cost=ConstantCost()).fit(timed[0], budget=60.0)
    result = hr.evaluate(router, timed[1], baselines=["routing", "linear interpolation"], n_resamples=20)
    assert [row.name for row in result.latency] == ["router", "svm", "centroid", "network"]
    seconds = []
    for row in range(timed[1].n_queries):
        query = {name: column[row] for name, column in timed[1].queries.items()}
        session = router.start(query, id=timed[1].ids[row])
        total = 0.0
        while (model := session.next()) is not None:
            j = timed[1].models.index(model)
            session.observe(model, {name: column[row, j] for name, column in timed[1].responses.items()})
            total += timed[1].costs["seconds"][row, j]
        seconds.append(total)
    first = result.latency[0]
    assert (first.mean, first.median) == pytest.approx((np.mean(seconds), np.median(seconds)))
    assert first.percentile_95 == pytest.approx(np.quantile(seconds, 0.95))
    single = timed[1].costs["seconds"][:, 0]
    assert result.latency[1].mean == pytest.approx(single.mean())
    for method in result.methods:
        assert method.further_costs["seconds"].shape == method.cost.shape
    assert set(result.chosen.costs) == {"usd", "seconds"}
    assert "seconds, router" in result.summary()


def test_served_stops_are_those_of_sessions() -> None:
    table = hr.datasets.simulate(200, 3)
    fitting, test = table.split(0.5)
    # Nothing is known of a query, so the two rules that are mixed are far from each other.
    router = hr.Router(quality=ConstantQuality(), cost=ConstantCost(), max_depth=1).fit(fitting, budget=0.002)
    assert 0.2 < router.point_.share < 0.8
    held_out = BeliefTable.served(test, router.estimators_)
    stops = walk(make_rule("cascade-routing", 0.0, dict(router.policy_.settings)), test, held_out)
    run = stops.run[served(router, test, stops)]
    assert len(np.unique(run)) > 1
    for row in range(test.n_queries):
        session = router.start({name: values[row] for name, values in test.queries.items()}, id=test.ids[row])
        session.observe(first := session.next() or "", {})
        assert session.next() is None
        assert np.flatnonzero(stops.run_sets[run[row]]).tolist() == [test.models.index(first)]


def test_without_seconds_there_is_no_latency(evaluation: Evaluation) -> None:
    assert evaluation.latency == ()


# Diagnostics


def test_reliability_by_hand(router: hr.Router, digits: Tables) -> None:
    test = digits[1]
    table = BeliefTable.served(test, router.estimators_)
    entries = reliability(table)
    assert [(entry.model, entry.stage) for entry in entries] == [
        (model, stage) for model in test.models for stage in ("before", "after")
    ]
    estimates = table(np.arange(240), np.zeros(3, dtype=np.bool_))[0].quality[:, 1]
    entry = entries[2]
    assert entry.n.sum() == 240
    assert len(entry.n) == 10
    assert len(np.unique(estimates)) == 240
    assert (entry.n == 24).all()
    ranked = np.argsort(estimates, kind="stable")
    start = 0
    for size, estimated, realised in zip(entry.n, entry.estimate, entry.quality, strict=True):
        rows = ranked[start : start + size]
        assert estimated == pytest.approx(estimates[rows].mean())
        assert realised == pytest.approx(test.quality[rows, 1].mean())
        start += size
    assert entry.error == pytest.approx(sum(entry.n * abs(entry.estimate - entry.quality)) / 240)


def test_entropy() -> None:
    assert entropy(np.array([0.25] * 4)) == pytest.approx(1.0)
    assert entropy(np.array([0.5, 0.5, 0.0, 0.0])) == pytest.approx(0.5)
    assert entropy(np.array([1.0])) == 0.0


def test_examples_are_what_the_router_does(evaluation: Evaluation, router: hr.Router, digits: Tables) -> None:
    test = digits[1]
    assert 1 <= len(evaluation.examples) <= 6
    counts = [example["n_alike"] for example in evaluation.examples]
    assert counts == sorted(counts, reverse=True)
    for example in evaluation.examples:
        row = test.ids.index(example["id"])
        assert example["quality"] == test.quality[row, test.models.index(example["answer"])]
        assert example["cost"] == pytest.approx(sum(test.cost[row, test.models.index(m)] for m in example["run"]))
        assert [step["next"] for step in example["steps"]] == [*example["run"], None]
        assert example["text"] is None
    assert sum(counts) <= test.n_queries
    assert hr.evaluate(router, test, baselines=[], n_examples=0, n_resamples=2).examples == ()
