"""A provider for tests: a real server on the loopback that speaks OpenAI's format, with three pretend models.

The models "small", "medium" and "large" answer questions such as "17 + 25"; which of them is right on which question
never changes (`is_right`). The text of a request decides everything else, so that no test leaks into another:

``[id q-17]``
    The answer carries it: "42 [id q-17]".
``[fault small=429 large=hang after=0.05 times=1]``
    Model by model (or ``all=``), what goes wrong: a key of `FAULTS`. ``after`` is its Retry-After, or how long "slow"
    takes; ``times`` how often it happens to that model under that id, always by default.
``use NAME``
    Calls that tool, if it is among those given.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from listening import Listening
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["FAULTS", "STATUSES", "STRENGTHS", "FakeProvider", "is_right"]

#: How often each model is right.
STRENGTHS = {"small": 0.55, "medium": 0.75, "large": 0.95}

#: Faults that are a status, each with its code.
STATUSES = {
    "400": (400, "invalid_request_error"),
    "401": (401, "invalid_api_key"),
    "429": (429, "rate_limit_exceeded"),
    "500": (500, "server_error"),
    "503": (503, "service_unavailable"),
    "529": (529, "overloaded_error"),
    "context": (400, "context_length_exceeded"),
    "filter_400": (400, "content_filter"),
}

#: What can go wrong.
FAULTS = {
    **{name: f"status {status}, {code}" for name, (status, code) in STATUSES.items()},
    "hang": "nothing more comes (of a stream, after its first chunk) until the client goes",
    "slow": "it takes `after` seconds",
    "cut": "the connection is closed in the middle of the body",
    "bad_json": "no JSON",
    "no_choices": "an empty list of choices",
    "empty": "an empty text",
    "big": "10 MB",
    "no_usage": "no numbers of tokens",
    "nan": "log-probabilities that aren't numbers",
    "filter": "finish_reason content_filter",
}

MARKER = re.compile(r"\[fault ([^\]]*)\]")
ID = re.compile(r"\[id ([^\]]+)\]")
QUESTION = re.compile(r"(-?\d+) ([-+*]) (-?\d+)")
TOOL = re.compile(r"\buse (\w+)")

Body = Mapping[str, Any]


def is_right(model: str, question: str) -> bool:
    """Whether a model answers a question such as "17 + 25" right."""
    return _number(model, question) < STRENGTHS[model]


class FakeProvider:
    """The server, as a context manager.

    Parameters
    ----------
    latency_s : float
        How long an answer takes.
    key : str, optional
        The key that requests must bring.

    Attributes
    ----------
    url : str
        Base URL for clients.
    live : collections.Counter
        Requests that run, by path.
    calls : collections.Counter
        Completions asked for so far, by model.
    ports : set of int
        Ports of the clients' connections so far.
    """

    def __init__(self, *, latency_s: float = 0.002, key: str | None = None) -> None:
        self.latency_s = latency_s
        self.key = key
        self.live: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.ports: set[int] = set()
        self._happened: Counter[tuple[str, str]] = Counter()
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._completions, methods=["POST"]),
        ]
        self._app = Starlette(routes=routes)

    def __enter__(self) -> FakeProvider:
        self._listening = Listening(_Counting(self._app, self.live), lifespan="off")
        self.url = f"{self._listening.__enter__().url}/v1"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listening.__exit__(*exc_info)

    def is_idle(self, within_s: float = 10.0) -> bool:
        """Whether no request runs any more, now or within some time."""
        until = time.monotonic() + within_s
        while self.live.total() and time.monotonic() < until:
            time.sleep(0.005)
        return not self.live.total()

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in STRENGTHS]})

    async def _completions(self, request: Request) -> Response:
        body = await request.json()
        model, text = body["model"], _text(body["messages"])
        self.ports.add(request.client.port if request.client else 0)
        self.calls[model] += 1
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and key != self.key:
            return _error(401, "invalid_api_key", f"wrong key {key}")
        if model not in STRENGTHS:
            return _error(404, "model_not_found", f"no model {model}")
        fault, after = self._fault(model, text)
        if fault in STATUSES:
            headers = {} if after is None else {"retry-after": f"{after:g}"}
            return _error(*STATUSES[fault], f"the key was {key}, the text {text}", headers)
        whole = _completion(model, text, body, fault)
        if body.get("stream"):
            return StreamingResponse(self._events(whole, body, fault, after, request), media_type="text/event-stream")
        await self._wait(fault, after, request)
        kind = _Cut if fault == "cut" else Response
        return kind("{" + text if fault == "bad_json" else json.dumps(whole), media_type="application/json")

    def _fault(self, model: str, text: str) -> tuple[str | None, float | None]:
        """Tell what goes wrong this time, and its seconds."""
        for marker in MARKER.findall(text):
            given = dict(pair.split("=") for pair in marker.split())
            fault = given.get(model, given.get("all"))
            if fault is None:
                continue
            assert fault in FAULTS, fault
            found = ID.search(text)
            about = (found[1] if found else text, model)
            self._happened[about] += 1
            if self._happened[about] <= float(given.get("times", math.inf)):
                return fault, float(given["after"]) if "after" in given else None
        return None, None

    async def _wait(self, fault: str | None, after: float | None, request: Request) -> bool:
        """Wait as long as the answer takes; tell whether the client is still there."""
        seconds = {"hang": math.inf, "slow": 1.0 if after is None else after}.get(fault or "", self.latency_s)
        until, step = time.monotonic() + seconds, 0.01
        while (left := until - time.monotonic()) > 0.0:
            await asyncio.sleep(min(left, step))
            step = min(2.0 * step, 0.2)  # many that wait shall not keep the server busy
            if self._listening.should_exit or await request.is_disconnected():
                return False
        return True

    async def _events(
        self, whole: Body, body: Body, fault: str | None, after: float | None, request: Request
    ) -> AsyncIterator[str]:
        with_usage = (body.get("stream_options") or {}).get("include_usage", False)
        chunks = _chunks(whole, with_usage)
        for i, chunk in enumerate(chunks):
            if i == 1 and not await self._wait(fault, after, request):
                return
            if i == len(chunks) // 2 and fault in ("cut", "bad_json"):
                if fault == "bad_json":
                    yield 'data: {"choices"\n\n'
                raise ConnectionAbortedError
            yield f"data: {json.dumps(chunk)}\n\n"
        yield "data: [DONE]\n\n"


class _Counting:
    """Counts what runs, by path."""

    def __init__(self, app: ASGIApp, live: Counter[str]) -> None:
        self.app = app
        self.live = live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.live[scope["path"]] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.live[scope["path"]] -= 1


class _Cut(Response):
    """Half of what its length promises; then the server closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = self.body[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


def _completion(model: str, text: str, body: Body, fault: str | None) -> dict[str, Any]:
    """Answer a request as a whole."""
    content, right = _answer(model, text, body)
    calls = _tool_calls(text, body)
    finish = "tool_calls" if calls else "content_filter" if fault == "filter" else "stop"
    if calls or fault in ("empty", "filter"):
        content = ""
    if fault == "big":
        content += "x" * 10_000_000
    tokens = re.findall(r"\s*\S+", content)
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else content}
    if calls:
        message["tool_calls"] = calls
    logprobs = None
    if body.get("logprobs"):
        logprobs = {"content": [_token(token, model, right, fault) for token in tokens], "refusal": None}
    n_prompt, n_output = len(text.split()), len(tokens) + 8 * len(calls)
    usage = {"prompt_tokens": n_prompt, "completion_tokens": n_output, "total_tokens": n_prompt + n_output}
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish}
    return {
        "id": f"chatcmpl-{_number(model, text):.12f}"[:20],
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [] if fault == "no_choices" else [choice],
        **({} if fault == "no_usage" else {"usage": usage | {"prompt_tokens_details": {"cached_tokens": 0}}}),
    }


def _answer(model: str, text: str, body: Body) -> tuple[str, bool]:
    question, found = QUESTION.search(MARKER.sub("", ID.sub("", text))), ID.search(text)
    right = True
    answer = f"This is {model}."
    if question:
        left, sign, other = question.groups()
        value = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[sign](int(left), int(other))
        right = is_right(model, question[0])
        answer = str(value if right else value + 1 + int(9 * _number(model, "off " + question[0])))
    if (body.get("response_format") or {}).get("type", "text") != "text":
        answer = json.dumps({"answer": answer})
    return answer + (f" [id {found[1]}]" if found else ""), right


def _token(token: str, model: str, right: bool, fault: str | None) -> dict[str, Any]:
    logprob = math.nan if fault == "nan" else (-0.02 if right else -1.0) * (0.5 + _number(model, token))
    return {
        "token": token,
        "logprob": logprob,
        "bytes": list(token[:50].encode(errors="surrogatepass")),
        "top_logprobs": [],
    }


def _tool_calls(text: str, body: Body) -> list[dict[str, Any]]:
    asked, question = TOOL.search(text), QUESTION.search(text)
    names = {tool["function"]["name"] for tool in body.get("tools") or ()}
    if not asked or asked[1] not in names or body["messages"][-1]["role"] == "tool":
        return []
    arguments = json.dumps({"question": question[0] if question else ""})
    called = {"name": asked[1], "arguments": arguments}
    return [{"id": f"call_{_number(asked[1], text):.9f}"[:14], "type": "function", "function": called}]


def _chunks(whole: Body, with_usage: bool) -> list[dict[str, Any]]:
    """Break a completion up into the chunks of a stream."""
    head = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    chunks: list[dict[str, Any]] = []

    def add(delta: Body, finish: str | None = None, logprobs: Any = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
        chunks.append(head | {"choices": [choice]})

    for choice in whole["choices"]:
        message, known = choice["message"], (choice["logprobs"] or {}).get("content") or []
        add({"role": "assistant", "content": None if message["content"] is None else ""})
        for i, token in enumerate(re.findall(r"\s*\S+", message["content"] or "")):
            add({"content": token}, logprobs={"content": [known[i]], "refusal": None} if known else None)
        for i, call in enumerate(message.get("tool_calls") or ()):
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            add({"tool_calls": [call | {"index": i, "function": {"name": name, "arguments": ""}}]})
            for part in (arguments[:5], arguments[5:]):
                add({"tool_calls": [{"index": i, "function": {"arguments": part}}]})
        add({}, finish=choice["finish_reason"])
    if with_usage and "usage" in whole:
        chunks.append(head | {"choices": [], "usage": whole["usage"]})
    return chunks


def _text(messages: list[dict[str, Any]]) -> str:
    return "\n".join(message["content"] for message in messages if isinstance(message.get("content"), str))


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "type": "error", "code": code}}, status, headers)


def _number(*parts: str) -> float:
    """Give a number between 0 and 1 that is the same for the same texts."""
    return (
        int.from_bytes(hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=6).digest()) / 2**48
    )
