"""Columns that a runner buys: what functions are asked, what is booked, and what becomes of those that fail."""

import asyncio
import logging

import numpy as np
import pytest

import headrace as hr
from headrace.datasets import simulate

PRICE = 0.0005


@pytest.fixture(scope="module")
def decider():
    plain = simulate(300, 2, noise="high")
    judge = plain.quality + np.random.default_rng(7_000).normal(0.0, 0.1, plain.quality.shape)
    table = hr.Outcomes(
        models=["small", "large"],
        quality=plain.quality,
        cost=plain.cost,
        queries={"size": plain.queries["size"]},
        responses={"judge": judge},
        column_cost={"judge": PRICE},
    )
    return hr.Router().fit(table).buying("judge").with_budget(0.4 * float(table.mean_cost.max())).decider_


def targets(answer="4"):
    return dict.fromkeys(("small", "large"), lambda query: {"answer": answer, "cost": 0.25})


def run(decider, judge, **settings):
    signals = {} if judge is None else {"judge": judge}
    with hr.Runner(decider, targets(), signals=signals, **settings) as runner:
        return runner.run({"size": 0.0}, id="q")


def test_a_function_is_asked_of_the_query_and_the_answer(decider):
    asked = []

    def judge(query, answer):
        asked.append((query, answer))
        return 0.9

    result = run(decider, judge)
    assert asked == [({"size": 0.0}, "4")] * len(result.run)
    assert result.cost == pytest.approx(len(result.run) * (0.25 + PRICE), rel=1e-12)
    assert result.session.why().notes == ()
    assert result.attempts[0].cost["cost"] == pytest.approx(0.25 + PRICE, rel=1e-12)


def test_a_verdict_changes_what_is_run(decider):
    sure, unsure = (run(decider, lambda query, answer, verdict=verdict: verdict) for verdict in (3.0, -1.0))
    assert len(sure.run) < len(unsure.run)


def test_a_coroutine_function_and_its_own_price_will_do(decider):
    async def judge(query, answer):
        await asyncio.sleep(0)
        return {"judge": 1.0, "cost": 0.125}

    result = run(decider, judge)
    assert result.cost == pytest.approx(len(result.run) * 0.375, rel=1e-12)


def test_a_column_that_came_with_the_answer_is_not_bought(decider):
    def judge(query, answer):
        raise AssertionError("asked")

    models = dict.fromkeys(("small", "large"), lambda query: {"answer": "4", "cost": 0.25, "judge": 0.9})
    with hr.Runner(decider, models, signals={"judge": judge}) as runner:
        result = runner.run({"size": 0.0})
    assert result.session.why().notes == ()


def test_a_function_that_fails_leaves_the_column_missing_and_says_no_text(decider, caplog):
    def judge(query, answer):
        raise ValueError(f"secret {answer}")

    with caplog.at_level(logging.WARNING, "headrace"):
        result = run(decider, judge)
    assert result.answer == "4"
    assert result.cost == pytest.approx(0.25 * len(result.run), rel=1e-12)
    assert result.session.why().notes[0] == f"judge of {result.run[0]} was not bought"
    assert f"column 'judge' of {result.run[0]} was not bought: ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_a_column_without_a_function_is_told_once(decider, caplog):
    with caplog.at_level(logging.WARNING, "headrace"), hr.Runner(decider, targets()) as runner:
        for number in range(3):
            runner.run({"size": float(number)})
    told = [record.message for record in caplog.records if "judge" in record.message]
    assert told == ["column 'judge' isn't bought: give signals={'judge': ...}; known: none"]


def test_what_is_no_function_is_refused(decider):
    with pytest.raises(TypeError, match="signals: expected a function of the query and the answer for 'judge'"):
        hr.Runner(decider, targets(), signals={"judge": 0.5})


def test_a_column_that_is_not_bought_is_refused_where_one_that_is_has_no_function(decider):
    def judge(query, answer):
        return 0.5

    message = "signals: expected functions for 'judge', which the router buys; got one for 'typo', and none for 'judge'"
    with pytest.raises(ValueError, match=message):
        hr.Runner(decider, targets(), signals={"typo": judge})
    # At another budget the router may buy more.
    with hr.Runner(decider, targets(), signals={"judge": judge, "tests": judge}) as runner:
        assert runner.run({"size": 0.0}).session.wanted == ("judge",)


def test_an_answer_that_is_streamed_at_once_is_not_judged(decider):
    def judge(query, answer):
        raise AssertionError("asked")

    class Streams:
        async def call(self, request):
            raise AssertionError("called")

        async def stream(self, request):
            yield {"content": "4"}
            yield hr.runner.Reply(answer="4", cost=0.25)

    with hr.Runner(decider, {"small": Streams(), "large": Streams()}, signals={"judge": judge}) as runner:
        *_, result = runner.iterate({"size": 0.0})
    assert result.answer == "4"


def test_a_gateway_refuses_a_router_that_buys(decider, tmp_path):
    from headrace.gateway.settings import read_settings

    decider.save(tmp_path / "router.headrace")
    (tmp_path / "serve.toml").write_text(
        'router = "router.headrace"\n'
        '[targets.small]\nurl = "http://127.0.0.1:1/v1"\nmodel = "a"\n'
        '[targets.large]\nurl = "http://127.0.0.1:1/v1"\nmodel = "b"\n'
    )
    with pytest.raises(ValueError, match="router: it buys 'judge' after each run, which a gateway can't"):
        read_settings(tmp_path / "serve.toml").runner()


def test_an_answer_is_not_lost_to_a_judge_that_is_slow(decider):
    async def judge(query, answer):
        await asyncio.sleep(60.0)

    result = run(decider, judge, timeout_s=0.05)
    assert result.answer == "4"
    assert [attempt.kind for attempt in result.attempts] == ["ok"] * len(result.run)
    assert result.session.why().notes[0] == f"judge of {result.run[0]} was not bought"


@pytest.mark.parametrize(
    "returned", [{"judge": 0.5, "cost": -1.0}, {"judge": 0.5, "cost": "free"}, "good", {"cost": 1}]
)
def test_a_verdict_of_another_kind_loses_no_answer(decider, returned):
    result = run(decider, lambda query, answer: returned)
    assert result.answer == "4"


def test_a_router_runs_one_query_with_what_it_buys():
    plain = simulate(200, 2, noise="high")
    table = hr.Outcomes(
        models=["small", "large"],
        quality=plain.quality,
        cost=plain.cost,
        queries={"size": plain.queries["size"]},
        responses={"judge": plain.quality},
        column_cost={"judge": PRICE},
    )
    router = hr.Router(quality="linear", rule="cascade").fit(table).buying("judge")
    router = router.with_budget(0.4 * float(table.mean_cost.max()))
    result = router.run({"size": 0.0}, targets(), signals={"judge": lambda query, answer: 0.5})
    assert result.cost == pytest.approx(len(result.run) * (0.25 + PRICE), rel=1e-12)
