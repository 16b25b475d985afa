"""Paid columns in a fit: which sets are fitted, which one a budget gets, and what is compared on which queries."""

from dataclasses import replace

import numpy as np
import pytest

import headrace as hr
from headrace.calibration.signals import Signals, fit_alternatives
from headrace.calibration.walk import budget_path, walk
from headrace.datasets import simulate
from headrace.estimators.belief import Belief
from headrace.rules import make_rule


def judged(table, price, noise=0.1, *, seed=7_000, names=("judge",), keep=1.0):
    """Add columns that tell the quality but for noise; some queries lack them."""
    rng = np.random.default_rng(seed)
    columns = {}
    for name in names:
        column = table.quality + rng.normal(0.0, noise, table.quality.shape)
        column[rng.random(len(table)) >= keep] = np.nan
        columns[name] = column
    return hr.Outcomes(
        models=table.models,
        quality=table.quality,
        cost=table.cost,
        ids=table.ids,
        queries=dict(table.queries),
        responses=columns,
        column_cost=dict.fromkeys(names, price),
    )


@pytest.fixture(scope="module")
def log():
    return simulate(600, 3, noise="high")


@pytest.fixture(scope="module")
def fitted(log):
    return hr.Router().fit(judged(log, 0.1 * float(log.mean_cost.min())))


def test_a_budget_gets_what_brings_more(log, fitted):
    table = judged(log, 0.1 * float(log.mean_cost.min()))
    never, always = (hr.Router().fit(table.buying(columns)) for columns in ((), "judge"))
    assert fitted.signals_.bought == ((), ("judge",))
    choices = set()
    for budget in np.geomspace(1.2 * float(always.path_.cost.min()), float(log.mean_cost.max()), 7):
        router = fitted.with_budget(budget)
        qualities = [one.with_budget(budget).point_.quality for one in (never, always)]
        assert router.point_.quality == max(qualities)
        assert router.bought_ == ((), ("judge",))[int(np.argmax(qualities))]
        choices.add(router.bought_)
    assert ("judge",) in choices


def test_a_quality_target_gets_what_costs_less(log, fitted):
    table = judged(log, 0.1 * float(log.mean_cost.min()))
    routers = [hr.Router().fit(table.buying(columns)) for columns in ((), "judge")]
    target = 0.95 * min(float(router.path_.quality.max()) for router in routers)
    costs = [router.with_quality_target(target).point_.cost for router in routers]
    assert fitted.with_quality_target(target).point_.cost == min(costs)


def test_a_signal_that_costs_too_much_is_never_bought(log):
    router = hr.Router().fit(judged(log, 100.0 * float(log.mean_cost.max())))
    most = float(router.buying().path_.cost.max())
    for budget in np.linspace(2.0 * float(log.mean_cost.min()), most, 5):
        assert router.with_budget(budget).bought_ == ()
    signals = router.signals_
    assert (signals.gains[1, signals.budgets <= most] == -np.inf).all()
    beyond = hr.Router().fit(judged(log, 0.0, noise=1e6)).signals_
    assert beyond.gains.max() < 0.02


def test_noise_that_is_free_changes_little_and_knowledge_that_is_free_pays_everywhere(log):
    known = hr.Router().fit(judged(log, 0.0, noise=0.01)).signals_
    assert (known.best[5:] == 1).all()
    gains = hr.Router().fit(judged(log, 0.0, noise=1e6)).signals_.gains[1]
    assert np.abs(gains[np.isfinite(gains)]).max() < 0.02


def test_sets_are_compared_on_the_queries_that_have_the_column(log):
    table = judged(log, 0.1 * float(log.mean_cost.min()), keep=0.5)
    router = hr.Router().fit(table)
    n_known = table.having(["judge"]).n_queries
    assert 200 < n_known < 400
    bought = router.buying("judge")
    assert bought.path_.n_queries == n_known
    assert bought.n_dropped_ == 600 - n_known
    assert router.buying().path_.n_queries == 600
    # Never buying, on those queries alone: by hand.
    plain = router.buying()
    rows = [table.ids.index(label) for label in table.having(["judge"]).ids]
    stops = plain.walked_.stops
    budget = float(log.mean_cost.max()) / 3
    cheap, costly = (stops.of(np.array(rows)).at(p) for p in (0.0, 0.0))
    assert len(cheap) == len(costly) == n_known
    mine = bought.with_budget(budget).point_.quality
    path = budget_path(stops.of(np.array(rows)), {"cost": table.cost[rows]})
    gain = mine - path.at(budget=budget).quality
    assert router.with_budget(budget).bought_ == (("judge",) if gain > 0 else ())


def test_easy_queries_make_no_column_worth_its_price(log):
    """A column that only easy queries have: those that have it not would be held against never buying."""
    table = judged(log, 0.1 * float(log.mean_cost.min()), noise=1e6)
    hard = log.quality.sum(axis=1) < 2
    assert 100 < hard.sum() < 500
    column = np.array(table.responses["judge"])
    column[hard] = np.nan
    lacking = replace(table, responses={"judge": column})
    router = hr.Router(quality="linear").fit(lacking)
    easy = router.buying("judge").path_.quality.max() - router.buying().path_.quality.max()
    assert easy > 0.1
    gains = router.signals_.gains[1]
    assert gains[np.isfinite(gains)].max() < 0.03
    for budget in np.linspace(2.0 * float(log.mean_cost.min()), float(log.mean_cost.max()), 4):
        gain = router._alternatives[1].gain_over(router._alternatives[0], {"cost": budget}, None)
        assert gain < 0.03


@pytest.mark.parametrize("rule", ["routing", "cascade", "cascade-routing", "index", "threshold-cascade"])
def test_the_stops_of_some_queries_are_those_of_a_walk_over_them(log, rule):
    believe = _Given(log)
    settings = {"order": (0, 1, 2)} if "cascade" in rule and rule != "cascade-routing" else {}
    made = make_rule(rule, 0.0, settings)
    whole = walk(made, log, believe)
    rows = np.array([3, 4, 77, 500])
    part = log.take(rows)
    alone = walk(made, part, _Given(part))
    some = whole.of(rows)
    for one, other in ((some, alone), (some.runs, alone.runs)):
        columns = [name for name in one._fields if name not in ("run", "run_sets", "runs")]
        order = [np.lexsort((side.lower, side.row)) for side in (one, other)]
        for name in columns:
            np.testing.assert_array_equal(getattr(one, name)[order[0]], getattr(other, name)[order[1]])
        if one is some:
            ran = (some.run_sets[some.run], alone.run_sets[alone.run])
            np.testing.assert_array_equal(*(sets[rows] for sets, rows in zip(ran, order, strict=True)))


class _Given:
    """Believes what depends on a row's numbers alone."""

    def __init__(self, table):
        self.table = table

    def __call__(self, rows, run, *, priced=True):
        quality = np.where(run, self.table.quality[rows], 0.5 + 0.1 * np.sin(100.0 * self.table.cost[rows]))
        return Belief(quality, np.where(run, 0.0, 0.04) + np.zeros_like(quality)), self.table.cost[rows]


def test_several_columns_are_tried_alone_together_and_as_they_add_up(log):
    price = 0.05 * float(log.mean_cost.min())
    assert hr.Router(rule="routing").fit(judged(log, price, names=("a", "b"))).signals_.bought == (
        (),
        ("a",),
        ("b",),
        ("a", "b"),
    )
    names = ("a", "b", "c")
    sets = hr.Router(rule="cascade").fit(judged(log, price, names=names)).signals_.bought
    assert set(sets) >= {(), ("a",), ("b",), ("c",), names}
    assert all(columns == tuple(n for n in names if n in columns) for columns in sets)
    assert len(set(sets)) == len(sets)


def test_a_confidence_chooses_by_the_queries_that_fit(log):
    """What is tested for a promise must not have chosen what is promised."""
    table = judged(log, 0.1 * float(log.mean_cost.min()))
    budget = float(log.mean_cost.max()) / 2
    router = hr.Router().fit(table, budget=budget, confidence=0.8)
    calibrators = [one.fitted.calibrator for one in router._alternatives]
    qualities = [calibrator.judging(None).path.at(budget=budget).quality for calibrator in calibrators]
    assert router.bought_ == ((), ("judge",))[int(np.argmax(qualities))]
    assert all(calibrator.judging(None).path.n_queries == 300 for calibrator in calibrators)
    gain = router._alternatives[1].gain_over(router._alternatives[0], {"cost": budget}, None)
    assert gain == qualities[1] - qualities[0]
    tested = [one.fitted.walked.path.at(budget=budget).quality for one in router._alternatives]
    assert gain != tested[1] - tested[0]
    assert router.guarantee_.n_queries == 300


def test_too_few_queries_with_the_column_are_told(log):
    table = judged(log, 0.1)
    few = np.array(table.responses["judge"])
    few[2:] = np.nan
    lacking = hr.Outcomes(
        models=table.models,
        quality=table.quality,
        cost=table.cost,
        responses={"judge": few},
        column_cost={"judge": 1.0},
    )
    with pytest.raises(ValueError, match="outcomes: expected at least 4 queries with 'judge' of every model, got 2"):
        hr.Router().fit(lacking)


def test_what_was_not_fitted_is_not_bought(log, fitted):
    with pytest.raises(ValueError, match=r"columns: expected a set that was fitted: \(\), \('judge',\); got 'tests'"):
        fitted.buying("tests")
    with pytest.raises(ValueError, match="fitted: none"):
        hr.Router().buying()
    without = hr.Router(rule="routing").fit(log)
    assert without.signals_ is None
    assert without.bought_ == ()


def test_a_copy_that_buys_has_no_budget_and_keeps_to_its_columns(fitted, log):
    low = float(log.mean_cost.min()) * 1.5
    fixed = fitted.with_budget(low).buying("judge")
    assert not hasattr(fixed, "decider_")
    assert fixed.with_budget(float(log.mean_cost.max())).bought_ == ("judge",)


def test_recalibration_keeps_what_is_bought(log, fitted):
    table = judged(log, 0.1 * float(log.mean_cost.min()))
    router = fitted.with_budget(float(log.mean_cost.max()) / 2)
    again = router.recalibrate(judged(simulate(300, 3, noise="high", rng=5), 0.1 * float(log.mean_cost.min())))
    assert again.bought_ == router.bought_
    assert list(again.decider_.wanted) == list(router.decider_.wanted)
    assert again.signals_ is None
    assert router.diagnose(table.take(range(200))).findings


def test_progress_covers_all_fits(log):
    shares = []
    hr.Router(rule="cascade").fit(judged(log, 0.001), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_fits_of_one_table_without_prices_are_one(log):
    from headrace.calibration.fitted import Plan
    from headrace.calibration.parts import parted

    router = hr.Router(rule="routing")
    plan = Plan.of(router, [hr.estimators.LinearQuality()], hr.estimators.LinearCost())
    (one,) = fit_alternatives(parted(log, None, None, apart=False, seed=0), plan)
    assert one.bought == ()
    assert one.prices == {}


BUDGETS = np.array([0.1, 0.2, 0.4, 0.8])


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([0.0, 0.01, 0.02, 0.03], "judge pays from 0.2 usd on: up to +3.0 points of quality, at 0.8 usd"),
        ([0.0, 0.02, 0.01, 0.0], "judge pays from 0.2 usd to 0.4 usd: up to +2.0 points of quality, at 0.2 usd"),
        (
            [0.0, 0.02, -0.01, 0.03],
            "judge pays at 2 of 3 budgets from 0.2 usd on: up to +3.0 points of quality, at 0.8 usd",
        ),
        ([-np.inf, 0.0, 0.01, 0.0], "judge pays at 0.4 usd only: up to +1.0 points of quality, at 0.4 usd"),
        ([0.0, 0.0, 1e-4, 1e-4], "judge pays from 0.4 usd on: up to less than 0.1 points of quality, at 0.4 usd"),
        ([-np.inf, -0.1, 0.0, -0.2], "judge doesn't pay at any budget"),
    ],
)
def test_words_say_at_which_budgets_a_column_pays(gains, said):
    signals = Signals(BUDGETS, ((), ("judge",)), np.array([np.zeros(4), gains]), "usd")
    assert signals.words == [said]


def test_words_of_two_columns_tell_sets_apart():
    bought = ((), ("judge",), ("tests",), ("judge", "tests"))
    gains = np.array([np.zeros(4), [0.0, 0.01, 0.01, 0.01], [-1.0, -1.0, 0.0, -1.0], [-np.inf, 0.02, 0.02, 0.05]])
    assert Signals(BUDGETS, bought, gains, "cost").words == [
        "judge: up to +1.0 points of quality, at 0.2; another set brings more at every budget",
        "tests doesn't pay at any budget",
        "judge and tests together pay from 0.2 on: up to +5.0 points of quality, at 0.8",
    ]
    graded = Signals(BUDGETS, bought[:2], 100.0 * gains[:2], "usd", in_points=False)
    assert graded.words == ["judge pays from 0.2 usd on: up to +1 of quality, at 0.2 usd"]


def test_qualities_in_percent_are_no_points(log):
    graded = hr.Outcomes(models=log.models, quality=100.0 * log.quality, cost=log.cost, queries=dict(log.queries))
    signals = hr.Router(rule="routing", quality="linear").fit(judged(graded, 0.001)).signals_
    assert not signals.in_points
    assert "points" not in repr(signals)
