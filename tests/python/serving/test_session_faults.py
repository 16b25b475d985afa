"""What goes wrong in service: failed calls, odd values, misnamed columns. The walk goes on, or the error says what."""

from __future__ import annotations

import decimal
import math
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.errors import CapTooSmall, MissingColumn, NoModelLeft, UnknownColumn
from headrace.estimators import SwitchingCost

MODELS = ("small", "medium", "large")


def some_table(n: int = 200, seed: int = 0) -> hr.Outcomes:
    rng = np.random.default_rng(seed)
    difficulty = rng.uniform(size=n)
    right = rng.uniform(size=(n, 3)) < np.clip(1.2 - np.outer(difficulty, [1.2, 0.8, 0.4]), 0.0, 1.0)
    answer = np.where(right, "right", rng.choice(["a", "b", "c"], size=(n, 3))).astype(object)
    logprob = np.where(right, -0.2, -1.0) * rng.uniform(0.5, 1.5, size=(n, 3))
    tokens = np.empty((n, 3), dtype=object)
    for i, j in np.ndindex(n, 3):
        tokens[i, j] = [float(logprob[i, j])] * 3
    return hr.Outcomes(
        models=MODELS,
        quality=right.astype(float),
        cost=[1.0, 3.0, 10.0] * rng.uniform(0.9, 1.1, size=(n, 3)),
        queries={"difficulty": difficulty, "text": np.array([f"Question {i}?" for i in range(n)], dtype=object)},
        responses={"answer": answer, "logprob": logprob, "tokens": tokens},
    )


@pytest.fixture(scope="module")
def decider() -> hr.Decider:
    return hr.Router(quality="linear").fit(some_table(), budget=4.0).decider_


def query(row: int = 0) -> dict[str, Any]:
    table = some_table(seed=9)
    return {name: values[row] for name, values in table.queries.items()}


def response(row: int, model: str) -> dict[str, Any]:
    table = some_table(seed=9)
    return {name: values[row, MODELS.index(model)] for name, values in table.responses.items()}


# Failed calls


def test_every_walk_with_failed_calls_ends_with_an_answer(decider: hr.Decider) -> None:
    for row in range(60):
        session = decider.start(query(row), id=f"q-{row}")
        n_failed = 0
        while (model := session.next()) is not None:
            if n_failed < 2 and row % 3:
                session.fail(model, kind="timeout")
                n_failed += 1
            else:
                session.observe(model, response(row, model), cost=1.0)
        assert session.answer is not None
        assert session.model not in session.failed
        assert session.cost == float(len(session.run))
        assert len(session.failed) == n_failed


def test_a_failed_run_costs_what_it_cost_and_says_nothing_of_quality(decider: hr.Decider) -> None:
    session, other = (decider.start(query(1), id="q", allowed=["small", "large"]) for _ in range(2))
    assert session.next() is not None
    session.fail("small", kind="529", cost=0.25)
    assert (session.cost, session.run, session.failed) == (0.25, (), {"small": "529"})
    believed = [row["quality"] for row in session.why().models]
    assert believed == [row["quality"] for row in other.why().models]
    assert session.next() == "large"
    assert session.why().excluded == {"small": "failed: 529", "medium": "not allowed here"}
    assert "small may not run: failed: 529" in str(session.why())


def test_a_run_that_may_be_tried_again_stays(decider: hr.Decider) -> None:
    session = decider.start(query(1), id="q", allowed=["small"])
    assert session.next() == "small"
    session.fail("small", kind="timeout", retry=True)
    assert session.next() == "small"
    assert session.why().notes == ("small failed (timeout), and may run again",)


def test_all_gone_is_an_error_of_its_own(decider: hr.Decider) -> None:
    session = decider.start(query(1), id="q")
    for model in MODELS:
        session.fail(model, kind="connection")
    with pytest.raises(NoModelLeft, match="no model is left to run; failed: 'small' \\(connection\\), 'medium'"):
        session.next()


def test_with_an_answer_at_hand_the_walk_just_stops(decider: hr.Decider) -> None:
    session = decider.start(query(1), id="q")
    session.observe("small", response(1, "small"))
    for model in ("medium", "large"):
        session.fail(model)
    assert session.next() is None
    assert session.model == "small"


def test_an_answer_that_comes_late_is_an_answer(decider: hr.Decider) -> None:
    session = decider.start(query(1), id="q")
    session.fail("large", kind="timeout", cost=0.5)
    session.observe("large", response(1, "large"), cost=10.0)
    assert (session.failed, session.run, session.cost, session.model) == ({}, ("large",), 10.5, "large")
    session.next()
    assert session.why().excluded == {}


def test_none_is_no_response(decider: hr.Decider) -> None:
    session = decider.start(query(0), id="q")
    with pytest.raises(TypeError, match=r"response: expected what 'small' returned, got None; .* fail\(\)"):
        session.observe("small", None)
    assert (session.run, session.cost) == ((), 0.0)
    session.observe("small", "", cost=0.5)  # an empty text is an answer, if a poor one
    with pytest.raises(ValueError, match="model: 'small' has been observed before"):
        session.fail("small")


# Values


@pytest.mark.parametrize("value", [-math.inf, math.inf, np.float32("-inf"), 1e200, -1e200, 10**200])
def test_an_infinite_number_counts_as_missing_and_is_noted(decider: hr.Decider, value: float) -> None:
    session, without = (decider.start(query(2), id="q") for _ in range(2))
    session.observe("small", {"answer": "right", "logprob": value}, cost=1.0)
    without.observe("small", {"answer": "right"}, cost=1.0)
    assert session.next() == without.next()
    assert session.why().models == without.why().models
    assert session.why().notes == ("logprob of small: numbers beyond 1e+150 count as missing",)
    assert session.answer["answer"] == "right"


@pytest.mark.parametrize("large", [-math.inf, -1e200])
def test_infinite_log_probabilities_of_tokens_count_as_missing(decider: hr.Decider, large: float) -> None:
    session, without = (decider.start(query(2), id="q") for _ in range(2))
    session.observe("small", {"answer": "right", "tokens": [-0.1, large, -0.3]}, cost=1.0)
    without.observe("small", {"answer": "right", "tokens": [-0.1, -0.3]}, cost=1.0)
    assert session.next() == without.next()
    assert session.why().notes == ("tokens of small: numbers beyond 1e+150 count as missing",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"logprob": "high"}, "response: column 'logprob': expected a number, got 'high'"),
        ({"logprob": [0.1, 0.2]}, r"response: column 'logprob': expected a number, got \[0.1, 0.2\]"),
        ({"tokens": [[-0.1], [-0.2]]}, r"response: column 'tokens': expected one number per token, got shape \(2, 1\)"),
        ({"logprob": "x" * 500}, "response: column 'logprob': expected a number, got a text of 500 characters"),
        ({"logprobs": -0.1}, r"response: unknown column 'logprobs' \(did you mean 'logprob'\?\); the fit had 'answer'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_when_it_comes(
    decider: hr.Decider, given: dict[str, Any], message: str
) -> None:
    session = decider.start(query(2), id="q")
    with pytest.raises(ValueError, match=message):
        session.observe("small", {"answer": "right", **given})
    assert (session.run, session.cost) == ((), 0.0)
    assert session.next() is not None


def test_columns_that_the_fit_did_not_have_may_be_ignored(decider: hr.Decider) -> None:
    session = decider.start(query(2), id="q")
    session.observe("small", {"answer": "right", "finish": "stop"}, extra="ignore")
    assert session.answer["finish"] == "stop"
    with pytest.raises(ValueError, match='extra: expected "refuse" or "ignore", got \'drop\''):
        session.observe("large", "a", extra="drop")


@pytest.mark.parametrize("cost", [decimal.Decimal("0.5"), np.float32(0.5), np.int64(2)])
def test_numbers_of_many_kinds_are_costs(decider: hr.Decider, cost: Any) -> None:
    session = decider.start(query(2), id="q")
    session.observe("small", "right", cost=cost)
    assert session.cost == float(cost)


@pytest.mark.parametrize("cost", [True, 10**400, decimal.Decimal("nan"), decimal.Decimal("-1"), "1", math.inf, -0.1])
def test_what_is_no_cost_is_refused(decider: hr.Decider, cost: Any) -> None:
    session = decider.start(query(2), id="q")
    for tell in (
        lambda: session.observe("small", "right", cost=cost),
        lambda: session.fail("small", cost=cost),
    ):
        with pytest.raises(ValueError, match="cost: expected a finite number >= 0, got"):
            tell()
    assert (session.run, session.cost, session.failed) == ((), 0.0, {})


class Falls:
    """Estimates the quality before any run only."""

    def fit(self, queries: Any, responses: Any, targets: Any) -> Falls:
        return self

    def predict(self, queries: Any, responses: hr.Responses) -> hr.Belief:
        if responses.run.sum(axis=1).max(initial=0) > 1:
            raise RuntimeError("out of order")
        return hr.Belief(np.tile([0.5, 0.6, 0.7], (len(responses), 1)))


def test_the_answer_is_had_whatever_becomes_of_an_estimate() -> None:
    table = some_table(60)
    fitted = hr.Router(rule="routing", quality=Falls(), cost="constant").fit(table, budget=3.0).decider_
    session = fitted.start(query(0), id="q")
    session.observe("medium", "one", cost=1.0)
    assert session.answer == "one"
    session.observe("small", "two", cost=1.0)
    with pytest.raises(RuntimeError):
        session.next()
    assert session.answer == "one"


# Columns


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"dificulty": 0.3, "text": "Why?"},
            UnknownColumn,
            r"query: unknown column 'dificulty' \(did you mean 'difficulty'\?\); the fit had 'difficulty', 'text'",
        ),
        ({}, MissingColumn, "query: lacks column 'difficulty'; the fit had 'difficulty', 'text'"),
        ("Why?", MissingColumn, "query: lacks column 'difficulty'"),
        ({"difficulty": 0.3, "text": ["Why?"]}, TypeError, "query: column 'text': expected a text or a single value"),
        ({"difficulty": 0.3, "text": {"role": "user"}}, TypeError, "query: column 'text': .* got dict"),
        ({"difficulty": "hard", "text": "Why?"}, ValueError, "query: column 'difficulty': expected a number, .*'hard'"),
        ({"difficulty": math.inf, "text": "Why?"}, ValueError, "query: column 'difficulty': expected a number"),
        ({"difficulty": [0.1], "text": "Why?"}, ValueError, "query: column 'difficulty': expected a number"),
        ([("difficulty", 0.3)], TypeError, "query: expected a mapping of columns, or a text, got list"),
    ],
)
def test_a_query_of_other_columns_is_refused(
    decider: hr.Decider, given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        decider.start(given)


def test_averages_are_for_those_who_want_them(decider: hr.Decider) -> None:
    session = decider.start({"text": "Why?", "colour": "red"}, id="q", strict=False)
    missing = decider.start({"text": "Why?", "difficulty": math.nan}, id="q")
    assert session.why().models == missing.why().models


def test_a_batch_of_other_columns_is_refused(decider: hr.Decider) -> None:
    table = some_table(20, seed=3)
    columns = dict(table.queries)
    with pytest.raises(UnknownColumn, match="queries: unknown column 'dificulty'"):
        decider.select_batch({"dificulty": columns["difficulty"], "text": columns["text"]})
    with pytest.raises(MissingColumn, match="queries: lacks column 'text'"):
        decider.select_batch({"difficulty": columns["difficulty"]})
    with pytest.raises(TypeError, match="column 'difficulty': expected numbers, as in the fit, got dtype object"):
        decider.select_batch(columns | {"difficulty": columns["text"]})
    with pytest.raises(ValueError, match=r"queries: column 'difficulty': expected shape \(20,\), as in the fit"):
        decider.select_batch(columns | {"difficulty": np.zeros((20, 2))})
    # A frame may have other columns, but not lack any.
    assert decider({**columns, "when": np.arange(20)})["next"].shape == (20,)
    with pytest.raises(MissingColumn):
        decider({"difficulty": columns["difficulty"]})


def test_what_an_estimator_reads_where_it_is_there_may_come() -> None:
    table = some_table(100)
    fitted = hr.Router(quality="linear", cost=SwitchingCost(hr.estimators.ConstantCost())).fit(table, budget=4.0)
    held = fitted.start({**query(0), "switching_cost": [0.0, 5.0, 5.0]}, id="q").why().models
    free = fitted.start(query(0), id="q").why().models
    assert [a["cost"] - b["cost"] for a, b in zip(held, free, strict=True)] == pytest.approx([0.0, 5.0, 5.0])


# Ids


def test_equal_queries_get_equal_ids(decider: hr.Decider) -> None:
    given = [{"difficulty": value, "text": "Why?"} for value in (0.5, np.float64(0.5), np.float32(0.5), np.array(0.5))]
    assert len({decider.start(one).id for one in given}) == 1
    chosen = decider.select_batch({"difficulty": [0.5], "text": ["Why?"]})
    assert decider.start(given[0]).next() == decider.models[chosen[0]]


def test_lone_surrogates_are_hashed(decider: hr.Decider) -> None:
    first, second = (decider.start({"difficulty": 0.5, "text": text}, id=text) for text in ("\ud800", "\udfff"))
    assert first.next() in MODELS
    assert decider.start({"difficulty": 0.5, "text": "\ud800"}).id != decider.start({"difficulty": 0.5, "text": "?"}).id
    assert second.id == "\udfff"


# Pools, caps, prices


def test_denied_models_do_not_run(decider: hr.Decider) -> None:
    for row in range(20):
        session = decider.start(query(row), id=f"q-{row}", deny=["small"])
        assert session.next() != "small"
        assert session.why().excluded == {"small": "not allowed here"}


def test_a_cap_that_is_too_small_says_what_is_needed(decider: hr.Decider) -> None:
    with pytest.raises(CapTooSmall, match=r"max_cost: expected at least \d") as raised:
        decider.start(query(0), id="q", max_cost=0.01).next()
    assert decider.start(query(0), id="q", max_cost=raised.value.needed).next() == "small"


def test_prices_scale_estimates_and_evidence_stays_that_of_the_fit() -> None:
    table = some_table(300)
    priced = hr.Outcomes(
        models=MODELS,
        quality=table.quality,
        cost=table.cost,
        queries=dict(table.queries),
        responses={**table.responses, "cost": table.cost},
    )
    fitted = hr.Router(quality="linear").fit(priced, budget=4.0).decider_
    old, new = fitted.start(query(3), id="q"), fitted.start(query(3), id="q", prices=dict.fromkeys(MODELS, 0.5))
    before = [row["cost"] for row in old.why().models]
    assert [row["cost"] for row in new.why().models] == pytest.approx([0.5 * cost for cost in before])
    for session, cost in ((old, 1.0), (new, 0.5)):
        session.observe("small", response(3, "small"), cost=cost)
    assert [row["quality"] for row in old.why().models] == pytest.approx([row["quality"] for row in new.why().models])
    assert (old.cost, new.cost) == (1.0, 0.5)


def test_after_a_recalibration_evidence_stays_that_of_the_fit() -> None:
    table = some_table(300)
    priced = hr.Outcomes(
        models=MODELS,
        quality=table.quality,
        cost=table.cost,
        queries=dict(table.queries),
        responses={**table.responses, "cost": table.cost},
    )
    router = hr.Router(quality="linear").fit(priced, budget=4.0)
    # A log at doubled prices, in which not every model ran on every query.
    ran = np.arange(300)[:, None] % 3 != np.arange(3)[None, :]
    log = hr.Outcomes(
        models=MODELS,
        quality=np.where(ran, table.quality, math.nan),
        cost=np.where(ran, 2.0 * table.cost, math.nan),
        queries=dict(table.queries),
        responses={**table.responses, "cost": np.where(ran, 2.0 * table.cost, math.nan)},
    )
    newer = router.with_budget(8.0).recalibrate(log).decider_
    assert newer.price_changes["cost"] == pytest.approx([2.0, 2.0, 2.0], rel=0.05)
    factor = float(newer.price_changes["cost"][0])
    old, new = router.start(query(3), id="q"), newer.start(query(3), id="q")
    for session, cost in ((old, 1.0), (new, factor)):
        session.observe("small", response(3, "small"), cost=cost)
    assert [row["quality"] for row in new.why().models] == pytest.approx([row["quality"] for row in old.why().models])


def test_evidence_beyond_what_the_fit_saw_counts_as_its_end(decider: hr.Decider) -> None:
    top = float(some_table().responses["logprob"][:, 0].max())
    far, near = (decider.start(query(3), id="q") for _ in range(2))
    far.observe("small", {**response(3, "small"), "logprob": 50.0}, cost=1.0)
    near.observe("small", {**response(3, "small"), "logprob": top}, cost=1.0)
    assert far.why().models != decider.start(query(3), id="q").why().models
    assert [row["quality"] for row in far.why().models] == pytest.approx(
        [row["quality"] for row in near.why().models], abs=0.02
    )


def test_numbers_as_answers_are_compared_as_text() -> None:
    table = some_table(120)
    letters = {"right": 7, "a": 1, "b": 2, "c": 3}
    numbers = np.vectorize(letters.__getitem__)(table.responses["answer"])
    as_numbers = hr.Outcomes(
        models=MODELS,
        quality=table.quality,
        cost=table.cost,
        queries=dict(table.queries),
        responses={"answer": numbers.astype(float)},
    )
    as_text = hr.Outcomes(
        models=MODELS,
        quality=table.quality,
        cost=table.cost,
        queries=dict(table.queries),
        responses={"answer": numbers.astype(str).astype(object)},
    )
    assert as_numbers.responses["answer"][0].tolist() == as_text.responses["answer"][0].tolist()
    fitted = [hr.Router(quality="linear").fit(one, budget=4.0) for one in (as_numbers, as_text)]
    assert fitted[0].point_ == fitted[1].point_
    session = fitted[0].start(query(0), id="q")
    session.observe("small", 7.0, cost=1.0)
    session.observe("medium", "7", cost=1.0)
    other = fitted[1].start(query(0), id="q")
    other.observe("small", "7", cost=1.0)
    other.observe("medium", 7, cost=1.0)
    assert session.why().models == other.why().models
    assert session.answer in (7.0, "7")
