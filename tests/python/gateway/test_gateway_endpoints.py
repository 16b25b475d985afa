"""The gateway's other endpoints: decisions, feedback, models, numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("httpx")
pytest.importorskip("prometheus_client")

from gateways import asked, serving  # they need uvicorn
from pools import MODELS, query

from headrace.runner import DecisionLog, read_log

if TYPE_CHECKING:
    from pathlib import Path

    from fake_provider import FakeProvider

    import headrace as hr

CHAT = "/v1/chat/completions"


def test_decisions_are_those_of_a_session_step_by_step(gateway: Any, decider: hr.Decider) -> None:
    lengths = set()
    for row in range(12):
        session = decider.start(query(row), id=f"d-{row}")
        ran: list[dict[str, Any]] = []
        while True:
            told = gateway.http.post("/v1/decision", json={"query": query(row), "id": f"d-{row}", "ran": ran}).json()
            assert told["next"] == session.next()
            assert told["plan"] == list(session.plan)
            assert told["why"] == session.why().to_dict()
            assert told["answer"] == (session.model if session.run else None)
            if told["next"] is None:
                break
            response = {"answer": f"of {told['next']}", "logprob": -0.1 - row % 3}
            session.observe(told["next"], response, cost=1.5)
            ran.append({"model": told["next"], "response": response, "cost": 1.5})
        lengths.add(len(ran))
    assert len(lengths) > 1


def test_decisions_know_what_failed_and_what_may_run(gateway: Any) -> None:
    body: dict[str, Any] = {"query": query(0)}
    first = gateway.http.post("/v1/decision", json=body).json()["next"]
    assert gateway.http.post("/v1/decision", json={**body, "failed": [first]}).json()["next"] not in (None, first)
    assert gateway.http.post("/v1/decision", json={**body, "allowed": ["large"]}).json()["next"] == "large"
    assert gateway.http.post("/v1/decision", json={"query": "Why?"}).json()["next"] in MODELS
    for wrong in ({"ran": [{}]}, {"ran": [{"model": "huge"}]}, {"failed": ["huge"]}, {"prices": {"large": 0.1}}):
        answer = gateway.http.post("/v1/decision", json={**body, **wrong})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


def test_feedback_is_written_down(provider: FakeProvider, decider: hr.Decider, tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions.jsonl")
    with serving(provider.url, decider, runner={"log": log}) as served:
        served.http.post(CHAT, json={"messages": asked("1 + 1"), "headrace": {"id": "fb-1"}})
        assert served.http.post("/v1/feedback", json={"id": "fb-1", "quality": 0.75}).json() == {"ok": True}
        served.http.post("/v1/feedback", json={"id": "fb-1", "quality": 0.25, "model": "large"})
        for wrong in ({}, {"id": "fb-1"}, {"id": "fb-1", "quality": "good"}, {"id": 5, "quality": 1.0}):
            assert served.http.post("/v1/feedback", json=wrong).status_code == 400
        quality = served.http.get("/headrace/state").json()["quality"]
    assert quality["mean"] == pytest.approx(0.5)
    events = [event for event in read_log(log.path) if event["event"] == "feedback"]
    assert [(event["id"], event["quality"], event.get("model")) for event in events] == [
        ("fb-1", 0.75, None),
        ("fb-1", 0.25, "large"),
    ]


def test_feedback_without_a_log_is_refused(gateway: Any) -> None:
    answer = gateway.http.post("/v1/feedback", json={"id": "fb-1", "quality": 1.0})
    assert answer.status_code == 400
    assert "no log" in answer.json()["error"]["message"]


def test_models_are_listed(gateway: Any, client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["headrace", *MODELS]


def test_numbers_are_those_that_prometheus_reads(provider: FakeProvider, decider: hr.Decider) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    with serving(provider.url, decider) as served:
        receipts = [served.http.post(CHAT, json={"messages": asked(f"{i} + 1")}).json()["headrace"] for i in range(6)]
        served.http.post(CHAT, json={"messages": asked("1 + 1 [fault all=400]")})
        served.http.post(CHAT, json={"messages": asked("1 + 1"), "n": 2})
        answer = served.http.get("/metrics")
        state = served.http.get("/headrace/state").json()
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = [one for family in text_string_to_metric_families(answer.text) for one in family.samples]
    assert sum(one.value for one in samples if one.name == "headrace_answers_total") == 6
    spent = sum(receipt["cost"]["cost"] for receipt in receipts)
    assert sum(one.value for one in samples if one.name == "headrace_cost_total") == pytest.approx(spent)
    refused = {one.labels["code"]: one.value for one in samples if one.name == "headrace_errors_total"}
    assert refused == {"Exhausted": 1.0, "BadRequest": 1.0}
    kinds = {one.labels["kind"] for one in samples if one.name == "headrace_attempts_total"}
    assert kinds == {"ok", "bad_request"}
    assert (state["n"], state["errors"]) == (6, 2)
    assert state["total"] == pytest.approx(spent)
    assert [one["id"] for one in state["last"]] == [receipt["decision"] for receipt in reversed(receipts)]
    assert all(one["reason"] for one in state["last"])


def test_the_page_asks_for_nothing_from_elsewhere(gateway: Any) -> None:
    answer = gateway.http.get("/headrace")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "https://" not in answer.text
