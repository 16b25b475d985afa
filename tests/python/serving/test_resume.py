"""A session that a store keeps: it goes on elsewhere as it would have here."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

import headrace as hr

MODELS = ("small", "medium", "large")


def table(n: int = 200) -> hr.Outcomes:
    rng = np.random.default_rng(0)
    difficulty = rng.uniform(size=n)
    right = rng.uniform(size=(n, 3)) < np.clip(1.2 - np.outer(difficulty, [1.2, 0.8, 0.4]), 0.0, 1.0)
    return hr.Outcomes(
        models=MODELS,
        quality=right.astype(float),
        cost=[1.0, 3.0, 10.0] * rng.uniform(0.9, 1.1, size=(n, 3)),
        queries={"difficulty": difficulty, "embedding": rng.normal(size=(n, 2)).astype(np.float32)},
        responses={"logprob": np.where(right, -0.2, -1.0) * rng.uniform(0.5, 1.5, size=(n, 3))},
    )


@pytest.fixture(scope="module")
def decider() -> hr.Decider:
    return hr.Router(quality="linear").fit(table(), budget=4.0).decider_


def query(row: int) -> dict[str, Any]:
    return {"difficulty": (row * 0.37) % 1.0, "embedding": np.array([0.5, row / 50.0], dtype=np.float32)}


def response(row: int, model: str) -> dict[str, Any]:
    return {"answer": {"class": row}, "logprob": -0.1 - 0.2 * ((row + MODELS.index(model)) % 5), "extra": math.nan}


def test_a_walk_kept_and_resumed_at_every_step_is_the_same_walk(decider: hr.Decider) -> None:
    n_steps = 0
    for row in range(50):
        options: dict[str, Any] = [{}, {"prices": {"large": 0.5}}, {"max_cost": 30.0, "deny": ["medium"]}][row % 3]
        whole = decider.start(query(row), id=f"q-{row}", **options)
        parts = decider.start(query(row), id=f"q-{row}", **options)
        if row % 4 == 0:
            for session in (whole, parts):
                session.fail("small", kind="timeout", cost=0.1)
        while (model := whole.next()) is not None:
            parts = decider.resume(json.loads(json.dumps(parts.to_dict(), allow_nan=False)))
            assert parts.next() == model
            for session in (whole, parts):
                session.observe(model, response(row, model), cost=1.5, extra="ignore")
            n_steps += 1
        parts = decider.resume(parts.to_dict())
        assert parts.next() is None
        assert (parts.model, parts.costs, parts.run, parts.failed) == (
            whole.model,
            whole.costs,
            whole.run,
            whole.failed,
        )
        assert parts.answer["answer"] == whole.answer["answer"]
        assert parts.why().to_dict() == whole.why().to_dict()
    assert n_steps > 60


def test_it_is_small_and_says_what_it_cannot_hold(decider: hr.Decider) -> None:
    session = decider.start(query(0), id="q-0")
    session.observe("small", response(0, "small"), extra="ignore")
    assert len(json.dumps(session.to_dict())) < 700
    session.observe("medium", {"answer": object()}, extra="ignore")
    with pytest.raises(TypeError, match="response of 'medium': 'answer': expected what JSON can hold, got object"):
        session.to_dict()


def test_other_states_are_refused(decider: hr.Decider) -> None:
    state = decider.start(query(0), id="q-0").to_dict()
    with pytest.raises(ValueError, match=r"state: expected what Session\.to_dict gave"):
        decider.resume({})
    with pytest.raises(ValueError, match=r"state: expected what Session\.to_dict gave.*got str"):
        decider.resume("q-0")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"state: expected what Session\.to_dict gave, lacks 'runs'"):
        decider.resume({name: value for name, value in state.items() if name != "runs"})
    with pytest.raises(ValueError, match="state: it is of a session over 'small', 'large'"):
        decider.resume({**state, "models": ["small", "large"]})


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def test_what_nests_too_deep_is_refused(decider: hr.Decider) -> None:
    session = decider.start(query(0), id="q-0")
    session.observe("small", {"answer": "4", "note": nested(96)}, extra="ignore")
    state = json.loads(json.dumps(session.to_dict()))
    assert decider.resume(state).to_dict() == state
    session.observe("medium", {"answer": "4", "note": nested(97)}, extra="ignore")
    with pytest.raises(TypeError, match="response of 'medium': expected at most 97 levels of lists and objects"):
        session.to_dict()
    for name in ("runs", "options", "failed", "costs", "notes", "kind", "id", "models", "query", "other"):
        for levels in (100, 5000):
            with pytest.raises(ValueError, match=f"state: '{name}': expected at most 99 levels of lists and objects"):
                decider.resume({**state, name: nested(levels)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"prices": {"small": 1e308}},
            "prices: expected finite numbers >= 0, got 1e[+]308 for 'small', which is above 1e[+]150",
        ),
        (
            {"switching_cost": {"small": 10**400}},
            "switching_cost: expected finite numbers >= 0, got a int for 'small', which",
        ),
        (
            {"prices": {"small": 10**5000}},
            "prices: expected finite numbers >= 0, got a int of too many digits for 'small'",
        ),
        ({"max_cost": -(10**5000)}, "max_cost: expected a number >= 0, got a int of too many digits"),
    ],
)
def test_numbers_beyond_what_may_be_calculated_with_are_refused(
    decider: hr.Decider, options: dict[str, Any], message: str
) -> None:
    state = decider.start(query(0), id="q-0").to_dict()
    with pytest.raises(ValueError, match=message):
        decider.resume({**state, "options": options})


def test_prices_that_make_costs_too_large_are_refused_at_the_next_step(decider: hr.Decider) -> None:
    for options in ({"prices": {"large": 1e150}}, {"prices": {"large": 1e149}, "switching_cost": {"large": 1e150}}):
        session = decider.start(query(0), id="q-0", **options)
        message = r"prices, switching_cost: expected costs up to 1e\+150 with them, got .* for 'large'"
        for refused in (session.next, session.why, lambda s=session: s.expected("small")):
            with pytest.raises(ValueError, match=message):
                refused()
    assert decider.start(query(0), id="q-0", prices={"large": 1e140}).next() in MODELS


def test_costs_that_add_up_beyond_floats_are_refused(decider: hr.Decider) -> None:
    session = decider.start(query(0), id="q-0")
    for cost in (1e308, 1.1e150, 10**200):
        with pytest.raises(ValueError, match=r"cost: expected a finite number >= 0, got .*, which is above 1e\+150"):
            session.observe("small", "4", cost=cost)
    session.observe("small", "4", cost=1e150)
    session.fail("medium", cost=1e150)
    assert json.dumps(session.to_dict(), allow_nan=False)


def test_a_model_that_failed_can_be_let_in_again(decider: hr.Decider) -> None:
    session = decider.start(query(0), id="q-0", allowed=["small"])
    session.fail("small")
    session.readmit("small")
    assert session.next() == "small"
    assert session.failed == {}
