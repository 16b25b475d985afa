"""Who is let in, and what bodies and headers can't do."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

httpx = pytest.importorskip("httpx")
pytest.importorskip("prometheus_client")

from gateways import asked, serving  # noqa: E402  # they need uvicorn

from headrace.gateway.settings import Settings, is_loopback  # noqa: E402

if TYPE_CHECKING:
    from fake_provider import FakeProvider

    import headrace as hr

KEY = "sk-the-clients-key"
LIMIT = 20_000
CHAT = "/v1/chat/completions"
ENDPOINTS = (CHAT, "/v1/decision", "/v1/feedback")


@pytest.fixture(scope="module")
def keyed(provider: FakeProvider, decider: hr.Decider) -> Iterator[Any]:
    with serving(provider.url, decider, key=KEY, max_body_bytes=LIMIT) as listening:
        yield listening


@pytest.fixture(scope="module")
def open_to_all(provider: FakeProvider, decider: hr.Decider) -> Iterator[Any]:
    with serving(provider.url, decider, max_body_bytes=LIMIT) as listening:
        yield listening


def sent(port: int, data: bytes) -> bytes:
    """Send bytes, and give what comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=10.0) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is refused already
        answer = b""
        try:
            while part := connection.recv(65_536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


@pytest.mark.parametrize("auth", [{"headers": {"authorization": f"Bearer {KEY}"}}, {"auth": ("anybody", KEY)}])
def test_the_key_lets_in_as_a_token_or_as_a_password(keyed: Any, auth: dict[str, Any]) -> None:
    assert keyed.http.get("/v1/models", **auth).status_code == 200
    assert keyed.http.get("/headrace", **auth).status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer sk-wrong",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Basic {KEY}",
        "Basic !!!",
        "Basic",
        f"Digest {KEY}",
        KEY,
    ],
)
def test_anything_else_is_401(keyed: Any, given: str | None) -> None:
    headers = {} if given is None else {"authorization": given}
    for path in ("/v1/models", "/metrics", "/headrace", "/headrace/state", "/nowhere"):
        answer = keyed.http.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert "no key, or a wrong one" in answer.json()["error"]["message"]
        assert KEY not in answer.text
    for path in ENDPOINTS:
        assert keyed.http.post(path, headers=headers, json={}).status_code == 401
    assert keyed.http.get("/health", headers=headers).json()["status"] == "ok"


def test_a_password_that_a_browser_keeps_is_for_the_gateways_own_pages(keyed: Any) -> None:
    for origin, status in ((keyed.url, 200), ("https://example.org", 401), ("null", 401)):
        answer = keyed.http.get("/v1/models", auth=("anybody", KEY), headers={"origin": origin})
        assert answer.status_code == status


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    from headrace.gateway import doors

    compared = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return hmac.compare_digest(left, right)

    monkeypatch.setattr(doors, "hmac", type("hmac", (), {"compare_digest": staticmethod(compare)}))
    keyed = doors.Keyed(None, KEY)  # type: ignore[arg-type]
    assert not keyed._lets_in({b"authorization": b"Bearer sk-wrong"})
    assert keyed._lets_in({b"authorization": b"Bearer " + KEY.encode()})
    assert compared == [(b"sk-wrong", KEY.encode()), (KEY.encode(), KEY.encode())]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org"])
def test_an_address_that_others_reach_needs_a_key(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ValueError, match="lets in other machines"):
        Settings(host=host).key()
    monkeypatch.delenv("GATEWAY_KEY", raising=False)
    with pytest.raises(ValueError, match="GATEWAY_KEY is not set"):
        Settings(host=host, key_env="GATEWAY_KEY").key()
    monkeypatch.setenv("GATEWAY_KEY", " \n")
    with pytest.raises(ValueError, match="GATEWAY_KEY is not set"):
        Settings(host=host, key_env="GATEWAY_KEY").key()
    monkeypatch.setenv("GATEWAY_KEY", "sk-1\n")
    assert Settings(host=host, key_env="GATEWAY_KEY").key() == "sk-1"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_this_machine_needs_none(host: str) -> None:
    assert Settings(host=host).key() is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"host": "[::1]:8700"}, 200),
        ({"origin": "https://example.org"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1.example.org"}, 403),
        ({"host": "example.org"}, 403),
        ({"host": "["}, 403),
    ],
)
def test_without_a_key_no_website_gets_in_by_a_browser(open_to_all: Any, headers: dict[str, str], status: int) -> None:
    assert open_to_all.http.get("/v1/models", headers=headers).status_code == status
    body = {"messages": asked("1 + 1")}
    assert open_to_all.http.post(CHAT, headers=headers, json=body).status_code == status


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_body_over_the_limit_is_413(open_to_all: Any, path: str) -> None:
    for content in (b"x" * (LIMIT + 1), iter([b"x" * 3_000] * 7)):  # with its length, and in chunks
        answer = open_to_all.http.post(path, content=content)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "body_too_long"
    assert open_to_all.http.post(path, content=b"x" * LIMIT).status_code == 400


def test_a_flood_of_headers_is_refused_before_it_is_read(open_to_all: Any) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    answer = sent(open_to_all.port, head + b"".join(b"x-%d: %s\r\n" % (i, b"y" * 990) for i in range(1000)))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert open_to_all.http.get("/health").status_code == 200


BAD = {
    "nothing": b"",
    "no JSON": b"{",
    "bomb": b"[" * 10_000,
    "bomb of objects": b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
    "not a number": b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    "infinite": b'{"messages": [{"role": "user", "content": "x"}], "temperature": 1e999}',
    "a key twice": b'{"model": "small", "model": "large", "messages": [{"role": "user", "content": "x"}]}',
    "no UTF-8": b'{"messages": [{"role": "user", "content": "\xff"}]}',
    "UTF-16": '{"messages": [{"role": "user", "content": "x"}]}'.encode("utf-16"),
    "huge integer": b'{"messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 5_000 + b"}",
    "a list": b"[]",
    "a text": b'"messages"',
}


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_body_is_400(open_to_all: Any, path: str, bad: str) -> None:
    answer = open_to_all.http.post(path, content=BAD[bad])
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


ODD = [None, True, 0, -1, 1.5, 10**30, "", "x", "\x00", "\ud83d", "x" * 5_000, [], [[]], [None], ["x"], {}, {"x": 1}]
FIELDS = {
    CHAT: ["model", "messages", "n", "stream", "stream_options", "logprobs", "tools", "response_format", "headrace"],
    "/v1/decision": ["query", "id", "ran", "failed", "allowed", "deny", "max_cost", "strict"],
    "/v1/feedback": ["id", "quality", "model"],
}
TERMS = ["allowed", "columns", "deadline_s", "deny", "id", "max_cost", "requires", "strict", "mode"]
CASES = [(path, (field,)) for path, fields in FIELDS.items() for field in fields] + [
    *((CHAT, ("headrace", field)) for field in TERMS),
    *((CHAT, ("messages", 0, field)) for field in ("role", "content")),
    *(("/v1/decision", ("ran", 0, field)) for field in ("model", "response", "cost")),
]


@pytest.mark.parametrize(("path", "where"), CASES, ids=[".".join(map(str, where)) for _, where in CASES])
def test_no_odd_value_is_an_error_of_the_server(open_to_all: Any, path: str, where: tuple[Any, ...]) -> None:
    for value in ODD:
        body: dict[str, Any] = {
            CHAT: {"messages": asked("1 + 1"), "headrace": {}},
            "/v1/decision": {"query": {"difficulty": 0.1}, "ran": [{"model": "small"}]},
            "/v1/feedback": {"id": "q-1", "quality": 1.0},
        }[path]
        place: Any = body
        for part in where[:-1]:
            place = place[part]
        place[where[-1]] = value
        answer = open_to_all.http.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
        assert answer.status_code < 500 or answer.status_code in (502, 504), (value, answer.text)


@pytest.mark.parametrize("id", ["a\r\nx-evil: 1", "\x00", " é\ud83d ", "x" * 200, "a/b c%"])
def test_no_id_can_break_the_headers(open_to_all: Any, id: str) -> None:
    for stream in (False, True):
        body = json.dumps({"messages": asked("1 + 1"), "headrace": {"id": id}, "stream": stream})
        answer = open_to_all.http.post(CHAT, content=body)
        assert answer.status_code in (200, 400)
        assert "x-evil" not in answer.headers


def test_other_paths_and_methods_are_404(open_to_all: Any) -> None:
    for answer in (open_to_all.http.get("/v1/nothing"), open_to_all.http.get(CHAT)):
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "not_found"
