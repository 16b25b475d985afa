"""OpenAI's format, on the side of the server: what a request asks for, and what it is answered."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from headrace.arguments import listed
from headrace.errors import AccountEmpty
from headrace.json_values import json_of, plain
from headrace.runner import Delta, Exhausted, Fault, Result
from headrace.runner.queries import Terms

__all__ = [
    "ROUTED",
    "Asked",
    "BadRequest",
    "chunk",
    "completion",
    "error_body",
    "error_of",
    "finish_of",
    "headers",
    "logprobs_of",
    "read_json",
    "read_request",
    "receipt",
]

#: Name of the model that lets the router decide.
ROUTED = "headrace"

#: Fields that go on to the target as they are.
FORWARDED = frozenset(
    [
        "frequency_penalty",
        "logit_bias",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
    ]
)

#: Fields with a meaning here.
OWN = frozenset(["headrace", "logprobs", "messages", "model", "n", "stream", "stream_options"])

#: What a client may say of how its query is answered: prices, and what a switch costs, are the server's.
CLIENTS_TERMS = frozenset(["allowed", "columns", "deadline_s", "deny", "id", "max_cost", "requires", "strict"])


#: A longer id is refused.
MOST_ID = 200

#: What a header's value may hold as it is; anything else is written with percent signs.
PLAIN = "!#$&'()*+,/:;=?@[]"


class BadRequest(ValueError):  # noqa: N818  # what it is
    """A request that is refused.

    Parameters
    ----------
    message : str
    code : str
        A short code, as OpenAI's errors have one.
    param : str, optional
        The field.
    status : int
    """

    def __init__(self, message: str, *, code: str, param: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.code: str = code
        self.param: str | None = param
        self.status: int = status


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request asks for.

    Attributes
    ----------
    messages : tuple of mapping
    terms : Terms
        What the runner gets; the call's options among them.
    stream : bool
    with_usage : bool
        Whether a stream ends with the usage.
    logprobs : bool
        Whether the client wants log-probabilities.
    mode : str or None
        How a stream is made, where the client says it.
    """

    messages: tuple[Mapping[str, Any], ...]
    terms: Terms
    stream: bool
    with_usage: bool
    logprobs: bool
    mode: str | None


def read_json(data: bytes) -> Any:
    """Read JSON as its standard has it: UTF-8, each key once, numbers that are finite.

    Raises
    ------
    BadRequest
        Anything else, or too many levels.

    Examples
    --------
    >>> from headrace.gateway.wire import read_json
    >>> read_json(b'{"n": 1}')
    {'n': 1}
    """
    try:
        return json_of(data.decode(), parse_constant=_finite, parse_float=_finite, object_pairs_hook=_once)
    except ValueError:
        raise BadRequest("expected a body of JSON", code="invalid_json") from None


def read_request(body: Any, models: Sequence[str], supports: Collection[str] = ()) -> Asked:
    """Read the body of a chat completion.

    Parameters
    ----------
    body : object
        As JSON was read.
    models : sequence of str
        The targets: a request for one of these pins it.
    supports : collection of str
        What some target says that it supports: only then is it required where a request needs it.

    Raises
    ------
    BadRequest
        Something else, an unknown field, several answers at once.

    Examples
    --------
    >>> from headrace.gateway.wire import read_request
    >>> asked = read_request({"model": "large", "messages": [{"role": "user", "content": "Why?"}]}, ["small", "large"])
    >>> asked.terms
    {'allowed': ['large'], 'options': {}}
    """
    if not isinstance(body, dict):
        raise BadRequest("expected a JSON object", code="invalid_body")
    unknown = sorted(set(body) - FORWARDED - OWN)
    if unknown:
        raise BadRequest(f"unknown field {unknown[0]!r}", code="unknown_field", param=unknown[0])
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(_is_message(message) for message in messages):
        raise BadRequest("expected a list of messages, each with a role", code="invalid_messages", param="messages")
    if body.get("n") not in (None, 1):
        raise BadRequest("n: only one answer at a time", code="unsupported_n", param="n")
    terms = _terms(body.get("headrace"))
    mode = terms.pop("mode", None)
    if mode not in (None, "buffer", "decide-first"):
        raise BadRequest(
            'headrace.mode: expected "buffer" or "decide-first"', code="invalid_headrace", param="headrace"
        )
    model = body.get("model", ROUTED)
    if model in models:
        terms["allowed"] = [model]
    elif model != ROUTED:
        raise BadRequest(f"no such model; known: {listed([ROUTED, *models])}", code="model_not_found", status=404)
    needed = _needed(body) & set(supports)
    if needed:
        terms["requires"] = sorted({*terms.get("requires", ()), *needed})
    stream_options = body.get("stream_options")
    options = {name: body[name] for name in sorted(FORWARDED & set(body)) if body[name] is not None}
    terms["options"] = options | ({"logprobs": True} if body.get("logprobs") else {})
    return Asked(
        messages=tuple(messages),
        terms=Terms(**terms),  # type: ignore[typeddict-item]  # checked by the runner, which names what is wrong
        stream=bool(body.get("stream")),
        with_usage=isinstance(stream_options, dict) and bool(stream_options.get("include_usage")),
        logprobs=bool(body.get("logprobs")),
        mode=mode,
    )


def completion(result: Result, *, logprobs: bool) -> dict[str, Any]:
    """Make the body of an answer."""
    choice = {
        "index": 0,
        "message": _message(result),
        "finish_reason": finish_of(result),
        "logprobs": logprobs_of(result) if logprobs else None,
    }
    return {
        "id": f"chatcmpl-{result.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": result.model,
        "choices": [choice],
        "usage": _usage(result),
        "headrace": receipt(result),
    }


def chunk(
    id: str,
    model: str | None,
    delta: Mapping[str, Any] | None = None,
    *,
    finish: str | None = None,
    logprobs: Any = None,
    result: Result | None = None,
) -> str:
    """Make one event of a stream: a delta, or with `result` the usage at its end."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
    choices = [] if delta is None else [choice]
    body: dict[str, Any] = {
        "id": f"chatcmpl-{id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model or ROUTED,
        "choices": choices,
    }
    if result is not None:
        body |= {"usage": _usage(result), "headrace": receipt(result)}
    return f"data: {json.dumps(plain(body))}\n\n"


def receipt(result: Result) -> dict[str, Any]:
    """Say who answered, what ran, and what it cost; without a word of the query or of an answer."""
    attempts = [{"model": a.model, "kind": a.kind, "cost": a.cost, "seconds": a.seconds} for a in result.attempts]
    made: dict[str, Any] = plain(
        {
            "decision": result.id,
            "model": result.model,
            "cost": dict(result.costs),
            "runs": list(result.run),
            "attempts": attempts,
            "stopped": result.stopped,
            "policy": result.policy,
            "seconds": result.seconds,
        }
    )
    return made


def headers(answer: Result | Delta) -> dict[str, str]:
    """Give the receipt's headers; when a stream begins, cost and runs aren't known yet."""
    made = {
        "x-headrace-decision": _ascii(answer.id),
        "x-headrace-model": _ascii(answer.model or ""),
        "x-headrace-policy": answer.policy,
    }
    if isinstance(answer, Result):
        made |= {"x-headrace-cost": f"{answer.cost:.9g}", "x-headrace-runs": _ascii(",".join(answer.run))}
        made |= {} if answer.left is None else {"x-headrace-left": f"{answer.left:.9g}"}
    return made


def error_body(message: str, *, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    """Make the body of an error."""
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def error_of(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Give the status, the body and the headers of an error.

    Examples
    --------
    >>> from headrace.errors import CapTooSmall
    >>> from headrace.gateway.wire import error_of
    >>> status, body, _ = error_of(CapTooSmall("max_cost: expected at least 0.1", needed=0.1))
    >>> status, body["error"]["code"]
    (400, 'CapTooSmall')
    """
    if isinstance(error, BadRequest):
        body = error_body(str(error), kind="invalid_request_error", code=error.code, param=error.param)
        return error.status, body, {}
    if isinstance(error, AccountEmpty):
        wait = None if error.resets_at is None else max(math.ceil(error.resets_at - time.time()), 1)
        told = {"x-headrace-left": f"{error.left:.9g}"} | ({} if wait is None else {"retry-after": str(wait)})
        return 429, error_body(str(error), kind="insufficient_quota", code="insufficient_quota"), told
    if isinstance(error, Exhausted):
        result = error.result
        kinds = {attempt.kind for attempt in result.attempts}
        status = 504 if result.stopped == "deadline" else 429 if kinds == {"rate_limited"} else 502
        if kinds and kinds <= {"bad_request", "context", "filtered"}:
            status = 400
        code = "context_length_exceeded" if kinds == {"context"} else f"headrace_{result.stopped}"
        body = error_body(str(error), kind="upstream_error", code=code) | {"headrace": receipt(result)}
        return status, body, headers(result)
    if isinstance(error, Fault):  # in the middle of a stream
        status = 504 if error.kind in ("deadline", "timeout") else 502
        return status, error_body(str(error), kind="upstream_error", code=f"upstream_{error.kind}"), {}
    if isinstance(error, TypeError | ValueError):
        return 400, error_body(str(error), kind="invalid_request_error", code=type(error).__name__), {}
    return 500, error_body("internal error", kind="server_error", code=type(error).__name__), {}


def _terms(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadRequest("headrace: expected an object", code="invalid_headrace", param="headrace")
    unknown = sorted(set(given) - CLIENTS_TERMS - {"mode"})
    if unknown:
        raise BadRequest(
            f"headrace: unknown field {unknown[0]!r}; known: {listed(sorted(CLIENTS_TERMS | {'mode'}))}",
            code="unknown_field",
            param="headrace",
        )
    id = given.get("id")
    if id is not None and not (isinstance(id, str) and 0 < len(id) <= MOST_ID):
        raise BadRequest(
            f"headrace.id: expected a text of 1 to {MOST_ID} characters", code="invalid_id", param="headrace"
        )
    return {name: value for name, value in given.items() if value is not None}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key comes twice")
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that isn't finite")
    return number


def _needed(body: Mapping[str, Any]) -> set[str]:
    """Tell what a model must support for a request."""
    needed = set()
    if body.get("tools"):
        needed.add("tools")
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") in ("json_object", "json_schema"):
        needed.add("json")
    parts = [message.get("content") for message in body["messages"]]
    if any(isinstance(p, dict) and p.get("type") == "image_url" for c in parts if isinstance(c, list) for p in c):
        needed.add("vision")
    return needed


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("role"), str)


def _message(result: Result) -> dict[str, Any]:
    reply = result.reply
    if reply is not None and reply.message is not None:
        return {"role": "assistant", **reply.message}
    return {"role": "assistant", "content": None if result.answer is None else str(result.answer)}


def finish_of(result: Result) -> str:
    """Say why the answering model stopped, in OpenAI's words."""
    return (result.reply.finish if result.reply else None) or "stop"


def _usage(result: Result) -> dict[str, int]:
    """Give the tokens of the answering model's call, as the provider counted them."""
    usage = dict(result.reply.usage) if result.reply else {}
    counts = {name: int(usage.get(name, 0)) for name in ("prompt_tokens", "completion_tokens")}
    return {**counts, "total_tokens": sum(counts.values())}


def logprobs_of(result: Result) -> Any:
    """Give the log-probabilities of an answer, as its provider gave them."""
    return None if result.reply is None else result.reply.logprobs


def _ascii(text: str) -> str:
    """Make a text safe for a header."""
    return quote(text, safe=PLAIN, errors="backslashreplace")
