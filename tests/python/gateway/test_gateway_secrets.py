"""What is planted - a key, a prompt, an answer - is found nowhere but in the answer."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("prometheus_client")

from gateways import asked, heard, serving, targets  # noqa: E402  # they need uvicorn

from headrace.runner import DecisionLog  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from fake_provider import FakeProvider

    import headrace as hr

KEY, PROMPT, ANSWER, CLIENTS = "sk-PLANTEDKEY", "PLANTEDPROMPT", "PLANTEDANSWER", "sk-PLANTEDCLIENT"
FAULTS = ("500", "400", "401", "429 after=0.001", "bad_json", "cut", "no_choices", "empty", "context", "filter")
CHAT = "/v1/chat/completions"


def test_nothing_that_is_planted_comes_out(
    provider: FakeProvider, decider: hr.Decider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    made = targets(provider.url, key_env="PLANTED_KEY")
    log = DecisionLog(tmp_path / "decisions.jsonl")
    text = f"{PROMPT} [id {ANSWER}] 17 + 25"
    shown: list[str] = []
    with heard() as lines:
        settings: dict[str, Any] = {"targets": made, "log": log, "audit": 1.0, "breaker": None}
        with serving(provider.url, decider, runner=settings, key=CLIENTS) as served:
            served.http.headers["authorization"] = f"Bearer {CLIENTS}"
            for stream in (False, True):
                for mode in ("decide-first", "buffer"):
                    body = {"messages": asked(text), "stream": stream, "headrace": {"mode": mode}}
                    answer = served.http.post(CHAT, json=body)
                    assert ANSWER in answer.text
                    assert KEY not in answer.text + str(answer.headers)
                    shown.append(str(answer.headers))
                for fault in FAULTS:
                    body = {"messages": asked(f"{text} [fault all={fault}]"), "stream": stream}
                    answer = served.http.post(CHAT, json=body)
                    shown += [str(answer.headers), answer.text if not stream or fault != "cut" else ""]
                    if stream and fault == "cut":
                        shown.append(answer.text.rsplit("data: {", 1)[-1])  # the error; before it, half of an answer
            late = {"messages": asked(f"{text} [fault all=hang]"), "headrace": {"deadline_s": 0.2}}
            shown.append(served.http.post(CHAT, json=late).text)
            shown.append(served.http.post(CHAT, json={"messages": asked(text), "headrace": {"id": 5}}).text)
            shown += [served.http.get(path).text for path in ("/metrics", "/headrace/state", "/headrace", "/v1/models")]
            shown += [repr(served.runner), repr(made), repr(log), repr(served.runner.report())]
        shown += [repr(pickle.dumps(decider)), *(repr(vars(target)) for target in made.values())]
    shown += [*lines, log.path.read_text()]
    assert "audit" in log.path.read_text()
    for planted in (KEY, PROMPT, ANSWER, CLIENTS):
        assert [text for text in shown if planted in text] == []
