"""Sessions of a router that buys columns: what they want, and what they book."""

import json

import numpy as np
import pytest

import headrace as hr
from headrace.datasets import simulate

PRICE = 0.0005


@pytest.fixture(scope="module")
def table():
    plain = simulate(400, 3, noise="high")
    judge = plain.quality + np.random.default_rng(7_000).normal(0.0, 0.1, plain.quality.shape)
    return hr.Outcomes(
        models=plain.models,
        quality=plain.quality,
        cost=plain.cost,
        queries=dict(plain.queries),
        responses={"judge": judge},
        column_cost={"judge": np.array([PRICE, 2 * PRICE, 3 * PRICE])},
    )


@pytest.fixture(scope="module")
def decider(table):
    return hr.Router().fit(table).buying("judge").with_budget(float(table.mean_cost.max())).decider_


def query(table, row=0):
    return {name: column[row] for name, column in table.queries.items()}


def test_what_is_wanted_has_its_mean_price(decider):
    assert list(decider.wanted) == ["judge"]
    np.testing.assert_allclose(decider.wanted["judge"], [PRICE, 2 * PRICE, 3 * PRICE], rtol=1e-12)
    assert "buying judge" in repr(decider)
    assert ("bought after each run", "judge") in decider.told()


def test_a_column_is_booked_beside_the_run(table, decider):
    session = decider.start(query(table))
    assert session.wanted == ("judge",)
    model = table.models[1]
    session.observe(model, {"judge": 0.5}, cost=0.25)
    assert session.cost == pytest.approx(0.25 + 2 * PRICE, rel=1e-12)
    session.observe(table.models[2], {"judge": 0.5}, cost=0.25, column_cost={"judge": 0.125})
    assert session.cost == pytest.approx(0.625 + 2 * PRICE, rel=1e-12)
    assert session.why().notes == ()


def test_a_column_that_lacks_costs_nothing_and_is_noted(table, decider):
    session = decider.start(query(table))
    session.observe(table.models[0], {}, cost=0.25)
    session.observe(table.models[1], {"judge": None}, cost=0.25)
    assert session.cost == 0.5
    small, middle = (f"judge of {model} was not bought" for model in table.models[:2])
    assert session.why().notes == (small, middle)


def test_the_estimate_of_a_run_holds_its_column(table, decider):
    session = decider.start(query(table))
    expected = session.expected(table.models[1])[1]["cost"]
    session.observe(table.models[1], {"judge": 0.5})
    assert session.cost == pytest.approx(expected, rel=1e-12)
    alone = decider.start(query(table))
    alone.observe(table.models[1], {})
    assert alone.cost == pytest.approx(expected - 2 * PRICE, rel=1e-9)


def test_a_price_cut_of_a_model_leaves_the_column_s_price(table, decider):
    model = table.models[2]
    before = decider.start(query(table)).expected(model)[1]["cost"]
    after = decider.start(query(table), prices={model: 0.5}).expected(model)[1]["cost"]
    assert after == pytest.approx(0.5 * (before - 3 * PRICE) + 3 * PRICE, rel=1e-9)


def test_what_is_no_price_of_a_column_is_refused(table, decider):
    session = decider.start(query(table))
    with pytest.raises(ValueError, match="column_cost: expected columns of wanted, 'judge'; got 'tests'"):
        session.observe(table.models[0], {"judge": 0.5}, column_cost={"tests": 1.0})
    with pytest.raises(ValueError, match="column_cost: 'judge'"):
        session.observe(table.models[0], {"judge": 0.5}, column_cost={"judge": -1.0})
    assert session.run == ()
    assert session.cost == 0.0


def test_a_kept_session_goes_on_as_it_would(table, decider):
    session = decider.start(query(table), id="q")
    session.observe(table.models[0], {"judge": 0.25}, column_cost={"judge": 0.125})
    again = decider.resume(json.loads(json.dumps(session.to_dict())))
    assert again.costs == session.costs
    assert again.next() == session.next()
    assert [e.tolist() for e in (again.estimates()[0].quality, again.estimates()[1])] == [
        e.tolist() for e in (session.estimates()[0].quality, session.estimates()[1])
    ]


def test_a_file_keeps_what_is_bought(table, decider, tmp_path):
    decider.save(tmp_path / "router.headrace")
    loaded = hr.load(tmp_path / "router.headrace")
    assert loaded.wanted["judge"].tolist() == decider.wanted["judge"].tolist()
    assert loaded.start(query(table)).wanted == ("judge",)


def test_a_batch_decides_as_sessions_do(table, decider):
    bought = table.buying("judge")
    run = np.zeros((50, 3), dtype=bool)
    run[:, 0] = True
    part = bought.take(range(50))
    chosen = decider.select_batch(part.queries, ids=part.ids, responses=part.responses_for(run))
    for row in range(50):
        session = decider.start(query(part, row), id=part.ids[row])
        session.observe(table.models[0], {"judge": float(part.responses["judge"][row, 0])})
        model = session.next()
        assert chosen[row] == (-1 if model is None else table.models.index(model))


def test_nothing_is_wanted_of_a_router_without_prices(table):
    decider = hr.Router(rule="routing").fit(table.buying(), budget=float(table.mean_cost.max())).decider_
    session = decider.start(query(table))
    assert session.wanted == ()
    assert "buying" not in repr(decider)
