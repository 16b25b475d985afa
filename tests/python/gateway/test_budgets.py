"""Budgets in the gateway: whose they are, how a refusal looks, what the settings may say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.gateway.budgets import ANONYMOUS, account_of
from headrace.gateway.settings import read_settings
from headrace.gateway.wire import error_of
from headrace.runner import Accounts, Runner

pytest.importorskip("starlette")
pytest.importorskip("httpx")

COSTS = {"small": 1.0, "large": 5.0}


@pytest.fixture(scope="module")
def decider() -> hr.Decider:
    rng = np.random.default_rng(0)
    table = hr.Outcomes(
        models=[*COSTS],
        quality=(rng.uniform(size=(120, 2)) < [0.6, 0.9]).astype(float),
        cost=np.tile([*COSTS.values()], (120, 1)),
        queries={"difficulty": rng.uniform(size=120)},
    )
    return hr.Router(quality="linear", rule="routing").fit(table, budget=2.0).decider_


def client(decider: hr.Decider, accounts: Accounts, by: str) -> Any:
    from starlette.testclient import TestClient

    from headrace.gateway.app import make_app

    targets = {name: (lambda _, name=name: {"answer": name, "cost": COSTS[name]}) for name in COSTS}
    return TestClient(make_app(Runner(decider, targets, accounts=accounts), budget_by=by))


def ask(app: Any, number: int, user: str = "user-17", **more: Any) -> Any:
    messages = [{"role": "user", "content": f"Question {number}?"}]
    body = {"model": "headrace", "messages": messages, "user": user, "headrace": {"id": f"q-{number}"}, **more}
    return app.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize("stream", [False, True])
def test_an_empty_account_is_refused_as_openai_does(decider: hr.Decider, tmp_path: Path, stream: bool) -> None:
    now = datetime(2026, 5, 6, 23, 0, tzinfo=UTC).timestamp()
    accounts = Accounts(tmp_path / "a.db", limit=20.0, every="day", largest_cost=COSTS, clock=lambda: now)
    with client(decider, accounts, "user") as app:
        replies = [ask(app, number, stream=stream) for number in range(25)]
        assert ask(app, 1, user="user-18", stream=stream).status_code == 200
    statuses = [one.status_code for one in replies]
    assert statuses == sorted(statuses)
    assert {200, 429} == set(statuses)
    assert accounts.left("user-17") == 0.0
    refused = replies[-1]
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert refused.headers["x-headrace-left"] == "0"
    assert int(refused.headers["retry-after"]) >= 1
    if not stream:
        left = [float(one.headers["x-headrace-left"]) for one in replies]
        assert left == sorted(left, reverse=True)


def test_retry_after_is_the_time_to_the_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.gateway.wire.time.time", lambda: 1000.0)
    error = hr.errors.AccountEmpty("empty", account="a", left=0.0, limit=1.0, resets_at=1030.5)
    assert error_of(error)[2]["retry-after"] == "31"
    error.resets_at = None
    assert "retry-after" not in error_of(error)[2]


def test_whose_budget_it_is() -> None:
    bearer = {"authorization": "Bearer sk-secret"}
    named = account_of("key", bearer, {})
    assert "secret" not in named
    assert named != account_of("key", {"authorization": "Bearer sk-other"}, {})
    assert named == account_of("key", {"authorization": "Basic dXNlcjpzay1zZWNyZXQ="}, {})
    assert account_of("header:x-team", {"x-team": "red"}, {"user": "u"}) == "red"
    for by, headers, options in [
        ("key", {}, {}),
        ("user", bearer, {}),
        ("user", {}, {"user": "*"}),
        ("header:x", {}, {}),
    ]:
        assert account_of(by, headers, options) == ANONYMOUS


def written(folder: Path, table: str) -> Path:
    path = folder / "serve.toml"
    path.write_text(f'router = "router.headrace"\n[budgets]\n{table}\n')
    return path


def test_the_settings_are_read(tmp_path: Path) -> None:
    told = 'path = "accounts.db"\nlimit = { "*" = 5.0, team = 50 }\nevery = "month"\nby = "header:x-team"\n'
    budgets = read_settings(written(tmp_path, told + "largest_cost = { large = 0.02 }")).budgets
    assert budgets["path"] == tmp_path / "accounts.db"
    assert budgets["by"] == "header:x-team"
    assert read_settings(written(tmp_path, 'path = "accounts.db"\nlimit = 5.0')).budgets["by"] == "key"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("limit = 5.0", "budgets.path"),
        ('path = "a.db"', "budgets.limit"),
        ('path = "a.db"\nlimit = 5.0\nby = "mood"', "budgets.by"),
        ('path = "a.db"\nlimit = 5.0\nlimits = 5.0', "budgets.limits"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, table: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_settings(written(tmp_path, table))


def test_the_app_of_the_settings_keeps_accounts(decider: hr.Decider, tmp_path: Path) -> None:
    from headrace.gateway.serving import app_of

    decider.save(tmp_path / "router.headrace")
    targets = "".join(f'[targets.{name}]\nurl = "http://localhost:1/v1"\nmodel = "m"\n' for name in COSTS)
    gateway = app_of(
        read_settings(written(tmp_path, f'path = "a.db"\nlimit = 5.0\nby = "user"\n{targets}'))
    ).state.gateway
    assert gateway.budget_by == "user"
    assert (tmp_path / "a.db").exists()
    with pytest.raises(ValueError, match=r"budgets\.every"):
        app_of(read_settings(written(tmp_path, f'path = "a.db"\nlimit = 5.0\nevery = "week"\n{targets}')))
