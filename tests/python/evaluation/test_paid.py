"""Paid columns on held-out queries: the router's choice, each set by itself, and what others are charged."""

import json
from dataclasses import replace

import numpy as np
import pytest

import headrace as hr
from headrace.commands.evaluate import judged as judged_by_command
from headrace.datasets import simulate


def judged(table, price, seed):
    judge = table.quality + np.random.default_rng(seed).normal(0.0, 0.2, table.quality.shape)
    return hr.Outcomes(
        models=table.models,
        quality=table.quality,
        cost=table.cost,
        ids=[f"{seed}-{label}" for label in table.ids],
        queries=dict(table.queries),
        responses={"judge": judge},
        column_cost={"judge": price},
    )


@pytest.fixture(scope="module")
def tables():
    fitting, test = simulate(400, 3, noise="high"), simulate(500, 3, noise="high", rng=1)
    price = 2.0 * float(fitting.mean_cost.min())
    return judged(fitting, price, 7_000), judged(test, price, 7_001)


@pytest.fixture(scope="module")
def evaluation(tables):
    fitting, test = tables
    router = hr.Router().fit(fitting, budget=float(fitting.mean_cost.max()) / 2)
    return router, hr.evaluate(
        router, test, fitting=fitting, baselines=["linear interpolation", "routing", "oracle"], n_resamples=50
    )


def test_each_budget_gets_the_curve_of_what_the_fit_chose(evaluation):
    router, card = evaluation
    assert [one.name for one in card.paid] == ["buying nothing", "buying judge"]
    chosen = set()
    for at, budget in enumerate(card.budgets.tolist()):
        try:
            bought = router.with_budget(budget).bought_
        except ValueError:
            bought = ()
        one = card.paid[len(bought)]
        chosen.add(bought)
        assert (card["router"].cost[at], card["router"].quality[at]) == (one.cost[at], one.quality[at])
    assert chosen == {(), ("judge",)}


def test_a_set_by_itself_is_what_a_router_without_choice_does(evaluation, tables):
    _, card = evaluation
    fitting, test = tables
    for one, columns in zip(card.paid, ((), ("judge",)), strict=True):
        alone = hr.Router().fit(fitting.buying(columns), budget=float(fitting.mean_cost.max()))
        again = hr.evaluate(
            alone, test.buying(columns), baselines=["linear interpolation"], budgets=card.budgets, n_resamples=50
        )
        at = np.searchsorted(again.budgets, card.budgets)
        np.testing.assert_allclose(again["router"].quality[at], one.quality, rtol=1e-12)
        np.testing.assert_allclose(again["router"].cost[at], one.cost, rtol=1e-12)


def test_single_models_and_baselines_pay_for_no_column(evaluation, tables):
    _, card = evaluation
    test = tables[1]
    assert [single.cost.value for single in card.singles] == pytest.approx(test.mean_cost.tolist(), rel=1e-12)
    plain = hr.Router().fit(tables[0].buying(), budget=float(test.mean_cost.max()))
    again = hr.evaluate(
        plain, test.buying(), fitting=tables[0].buying(), baselines=["linear interpolation", "routing"], n_resamples=50
    )
    shared = np.isin(card.budgets, again.budgets)
    at = np.searchsorted(again.budgets, card.budgets[shared])
    assert shared.sum() > 10
    for name in ("linear interpolation", "routing"):
        np.testing.assert_allclose(card[name].cost[shared], again[name].cost[at], rtol=1e-12)


def test_words_and_numbers_say_what_buying_brings(evaluation):
    router, card = evaluation
    said = " ".join(card.verdict)
    assert "Buying judge after each run pays " in said
    assert f"the router buys {' and '.join(router.bought_) or 'nothing'} after each run" in said
    numbers = json.loads(json.dumps(card.to_dict()))
    assert numbers["bought"] == list(router.bought_)
    assert [one["bought"] for one in numbers["paid_columns"]] == ["buying nothing", "buying judge"]
    choice = numbers["paid_columns"][0]["router_minus_this"]
    assert choice["value"] == pytest.approx(card["router"].area - card.paid[0].area)


def test_the_verdict_tells_only_budgets_whose_interval_is_above_zero(evaluation):
    card = replace(evaluation[1], cost_name="usd")
    never, judge = card.paid
    least = np.quantile(judge.resampled_quality - never.resampled_quality, 0.025, axis=0)
    sure = card.budgets[judge.feasible & (least > 0.0)]
    said = next(sentence for sentence in card.verdict if sentence.startswith("Buying judge"))
    assert f"{sure[0]:.4g} usd" in said
    assert f"{100.0 * (judge.quality - never.quality)[np.isin(card.budgets, sure)].max():+.1f} points, at" in said
    assert said.count(" usd") >= 2


def test_the_verdict_of_two_columns_and_of_one_that_brings_nothing(evaluation):
    card = evaluation[1]
    never, judge = card.paid
    paid = (never, replace(never, name="buying Tests"), replace(judge, name="buying judge and Tests"))
    said = replace(card, paid=paid, bought=("judge", "Tests")).verdict
    assert "No gain of buying Tests after each run is shown at any budget." in said
    assert "At the budget shown the router buys judge and Tests after each run." in said
    assert any(sentence.startswith("Buying judge and Tests after each run pays") for sentence in said)
    over_all = next(sentence for sentence in said if sentence.startswith("Over all budgets its choice is"))
    assert "always buying Tests (" in over_all
    assert "never buying (" in over_all


def test_a_page_holds_them(evaluation, tmp_path):
    pytest.importorskip("jinja2")
    page = evaluation[1].report(tmp_path / "page.html").read_text()
    assert "Buying judge after each run pays" in page


def test_examples_book_what_the_table_says(evaluation, tables):
    _, card = evaluation
    test = tables[1].buying(card.bought)
    for example in card.examples:
        row = test.ids.index(example["id"])
        ran = [test.models.index(model) for model in example["run"]]
        assert example["cost"] == pytest.approx(float(test.cost[row, ran].sum()), rel=1e-9)


def test_a_table_without_the_price_is_refused(evaluation, tables):
    router, _ = evaluation
    test = tables[1]
    free = hr.Outcomes(
        models=test.models, quality=test.quality, cost=test.cost, ids=test.ids, queries=dict(test.queries)
    )
    with pytest.raises(ValueError, match="outcomes: expected a column_cost for 'judge', as in the fit"):
        hr.evaluate(router, free)


def test_queries_that_lack_the_column_are_left_out(evaluation, tables):
    router, _ = evaluation
    test = tables[1]
    judge = np.array(test.responses["judge"])
    judge[:100, 0] = np.nan
    lacking = replace(test, responses={"judge": judge})
    card = hr.evaluate(router, lacking, baselines=["linear interpolation"], n_resamples=10, n_examples=0)
    assert (card.n_test, card.n_dropped) == (400, 100)


def test_the_command_takes_such_a_log(tables):
    from rich.console import Console

    card = judged_by_command(Console(quiet=True), tables[0], None, hr.Router(), 0.0, 1)
    assert card.paid
    assert card.again is not None


def test_a_router_that_always_buys_is_judged_like_any_other(evaluation, tables):
    router, card = evaluation
    fitting, test = tables
    fixed = router.buying("judge").with_budget(float(card.budgets[card.at]))
    assert fixed.signals_ is None
    again = hr.evaluate(
        fixed, test, fitting=fitting, baselines=["linear interpolation"], budgets=card.budgets, n_resamples=10
    )
    always = card.paid[1]
    np.testing.assert_allclose(again["router"].quality, always.quality, rtol=1e-12)
    assert [single.cost.value for single in again.singles] == pytest.approx(test.mean_cost.tolist(), rel=1e-12)
    with pytest.raises(ValueError, match="fitting: expected the queries of the fit: this router always buys 'judge'"):
        hr.evaluate(fixed, test)
    never = hr.evaluate(
        router.buying().with_budget(float(card.budgets[card.at])), test, baselines=["linear interpolation"]
    )
    assert never.paid == ()
