"""A planted key, prompt and answer are in no file, log, error, name or pickle.

What one query said is kept where it is the content by design: in a `Result`, in a session (also pickled, or as
`Session.to_dict` gives it to a store), and in the lines of a `Recorder`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.runner import Breaker, DecisionLog, Exhausted, Fault, OpenAITarget, Request, Retry, Runner, read_log

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

MODELS = ("small", "medium", "large")
KEY, QUERY, TOPIC, ANSWER = "sk-PLANTED-key-0123456789", "PLANTED-QUERY 17 + 25", "PLANTED-TOPIC 1", "PLANTED-ANSWER"

#: Ways of the provider to fail; the bodies of those that are a status repeat the key and the text.
FAULTS = (
    "401",
    "500",
    "429",
    "400",
    "context",
    "filter_400",
    "cut",
    "bad_json",
    "empty",
    "no_choices",
    "filter",
    "nan",
)


def table(n: int = 120) -> hr.Outcomes:
    rng = np.random.default_rng(0)
    right = rng.uniform(size=(n, 3)) < [0.5, 0.7, 0.95]
    return hr.Outcomes(
        models=MODELS,
        quality=right.astype(float),
        cost=[1.0, 3.0, 10.0] * rng.uniform(0.9, 1.1, size=(n, 3)),
        queries={
            "text": np.array([f"PLANTED-QUERY {row} + 1" for row in range(n)], dtype=object),
            "topic": np.array([f"PLANTED-TOPIC {row % 3}" for row in range(n)], dtype=object),
        },
        responses={
            "answer": np.where(right, "PLANTED-ANSWER right", "PLANTED-ANSWER wrong").astype(object),
            "logprob": np.where(right, -0.2, -1.0) * rng.uniform(0.5, 1.5, size=(n, 3)),
        },
    )


@pytest.fixture(scope="module")
def router() -> hr.Router:
    return hr.Router(n_folds=2).fit(table(), budget=4.0)


@pytest.fixture(scope="module")
def providers() -> Iterator[dict[str, Any]]:
    """Start a provider that takes every key, and one that refuses ours and repeats it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_TEST_KEY", KEY)
        from fake_provider import FakeProvider

        with FakeProvider() as open_to_all, FakeProvider(key="another") as closed:
            yield {"open": open_to_all, "closed": closed}


def targets(url: str) -> dict[str, OpenAITarget]:
    prices = {"input": 1e5, "output": 1e5}
    options = {"logprobs": True}
    return {
        name: OpenAITarget(url, name, key_env="HEADRACE_TEST_KEY", prices=prices, options=options) for name in MODELS
    }


def text(row: int, fault: str | None = None) -> str:
    """Give a query whose answer repeats the planted word."""
    return f"{QUERY} [id {ANSWER}-{row}]" + (f" [fault all={fault}]" if fault else "")


def shown(thing: Any) -> str:
    """Show all that is seen of an object where it is printed."""
    page = thing._repr_html_() if hasattr(thing, "_repr_html_") else ""
    return f"{thing!r} {thing!s} {page}"


def told(error: BaseException) -> str:
    """Show all that is seen of an exception, those behind it among them."""
    return " ".join([repr(error), *traceback.format_exception(error), *getattr(error, "__notes__", [])])


def assert_clean(found: dict[str, str | bytes]) -> None:
    for what, data in found.items():
        assert b"PLANTED" not in (data if isinstance(data, bytes) else data.encode()), what


def test_no_text_of_the_fit_is_in_what_is_kept_of_it(router: hr.Router, tmp_path: Path) -> None:
    router.save(tmp_path / "router.headrace")
    decider = hr.load(tmp_path / "router.headrace")
    found: dict[str, str | bytes] = {
        "file": (tmp_path / "router.headrace").read_bytes(),
        "router, pickled": pickle.dumps(router),
        "decider, pickled": pickle.dumps(router.decider_),
        "decider, loaded and pickled": pickle.dumps(decider),
        "policy": router.policy_.to_json(),
    }
    for name, thing in {"table": table(), "router": router, "decider": decider, "path": decider.path}.items():
        found[f"{name}, shown"] = shown(thing)
    assert_clean(found)


def test_no_secret_is_in_the_log_or_on_the_screen(
    router: hr.Router, providers: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl")
    made = targets(providers["open"].url)
    found: dict[str, str | bytes] = {}

    async def main() -> list[Any]:
        settings: dict[str, Any] = {"retry": Retry(attempts=1), "breaker": Breaker(min_calls=3)}
        recording: dict[str, Any] = {"log": log, "audit": 1.0, "explore": 0.5, "grade": lambda query, reply: 1.0}
        async with Runner(router.decider_, made, **settings, **recording) as runner:
            asked = [text(row, "nan" if row % 4 == 0 else None) for row in range(12)]
            results = [await runner.arun(one, id=f"q-{row}", columns={"topic": TOPIC}) for row, one in enumerate(asked)]
            # Without an id, the columns' hash is one.
            results.append(await runner.arun(text(99), columns={"topic": TOPIC}))
            runner.feedback("q-0", 1.0)
            await runner.drain()
            found["runner"] = shown(runner) + repr(runner.report())
        return results

    with caplog.at_level(logging.DEBUG, logger="headrace"):
        results = asyncio.run(main())
    assert all(ANSWER in result.answer for result in results)
    assert {event["event"] for event in read_log(log.path)} == {"policy", "decision", "audit", "feedback"}
    found["decision log"] = log.path.read_bytes()
    found["messages"] = " ".join(r.getMessage() for r in caplog.records if r.name.startswith("headrace"))
    found["reprs"] = " ".join(map(shown, [log, *made.values()]))
    found["targets' attributes"] = repr([vars(target) for target in made.values()])
    for result in results:
        found[result.id] = result.id + shown(result) + repr(result.attempts) + shown(result.session)
        found[f"{result.id}, why"] = shown(result.why()) + json.dumps(result.why().to_dict())
    assert_clean(found)
    # By design: what goes on with a session has its texts.
    assert "PLANTED-QUERY" in json.dumps(results[0].session.to_dict())


@pytest.mark.parametrize("fault", [*FAULTS, "wrong key"])
def test_no_secret_is_in_a_fault(
    router: hr.Router, providers: dict[str, Any], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = targets(providers["closed" if fault == "wrong key" else "open"].url)
    asked = text(7, None if fault == "wrong key" else fault)
    found: dict[str, str | bytes] = {}

    async def main() -> None:
        try:
            reply = await made["small"].call(Request(id="q-7", model="small", query=asked, timeout_s=10.0))
            assert fault == "nan", reply.finish
        except Fault as error:
            found["fault"] = told(error) + pickle.dumps(error).decode("latin-1")
        async with Runner(router.decider_, made, retry=Retry(attempts=2, base_s=0.001)) as runner:
            try:
                await runner.arun(asked, id="q-7", columns={"topic": TOPIC})
                assert fault == "nan"
            except Exhausted as error:
                found["error"] = told(error)
                found["result"] = shown(error.result) + repr(error.result.attempts)

    with caplog.at_level(logging.DEBUG, logger="headrace"):
        asyncio.run(main())
    found["messages"] = " ".join(r.getMessage() for r in caplog.records if r.name.startswith("headrace"))
    assert len(found) == (1 if fault == "nan" else 4)
    assert_clean(found)


def test_no_value_of_a_query_or_a_response_is_in_an_error_about_it(router: hr.Router) -> None:
    decider = router.decider_
    queries: list[dict[str, Any]] = [
        {"text": QUERY},
        {"text": QUERY, "topic": ["PLANTED-TOPIC"]},
        {"text": {"PLANTED": 1}, "topic": "a"},
    ]
    for query in queries:
        with pytest.raises((TypeError, ValueError)) as raised:
            decider.start(query)
        assert_clean({str(list(query)): told_without_source(raised.value)})
    session = decider.start({"text": QUERY, "topic": TOPIC}, id="q-1")
    # A short value for a number is shown, as it helps; a text isn't.
    for response in ({"logprob": 20 * ANSWER}, {"logprob": [20 * ANSWER]}):
        with pytest.raises((TypeError, ValueError)) as raised:
            session.observe("small", response)
        assert_clean({str(response): told_without_source(raised.value)})


def told_without_source(error: BaseException) -> str:
    """Show an exception and those behind it without the lines of this file."""
    chain = [error]
    while before := chain[-1].__cause__ or (not chain[-1].__suppress_context__ and chain[-1].__context__):
        chain.append(before)
    return " ".join(map(repr, chain))
