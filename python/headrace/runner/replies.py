"""Chat completions in OpenAI's format: what is asked, and what a response becomes; the same for every client.

What a response becomes: the answer, and the columns that it had in the log that a router was fitted on.

=====================================  ==================================================================
Column                                 What it holds
=====================================  ==================================================================
``logprobs``                           the log-probabilities of the answer's tokens; those that aren't finite left out
``logprob``                            their mean
``input_tokens``, ``output_tokens``    as the provider counts them
``finish``                             why the model stopped
``seconds``                            how long the call took
``valid_json``                         whether the answer is JSON, where the request asked for it
=====================================  ==================================================================

What a response lacks, its columns lack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeGuard

from headrace.json_values import json_of
from headrace.runner.faults import Fault, fault_of_status
from headrace.runner.targets import Message, Reply, Request

__all__ = ["Completion", "checked_prices", "error_code", "messages_of", "parsed", "reply_of_completion", "wants_json"]

#: What a mapping of prices may hold, in dollars per million tokens.
PRICES = ("input", "output", "cached")


def messages_of(request: Request) -> list[Message]:
    """Give the conversation of a request; where there is none, the query's text as the user's message.

    Raises
    ------
    Fault
        Of kind "bad_request": the query has no text.

    Examples
    --------
    >>> from headrace.runner import Request
    >>> from headrace.runner.replies import messages_of
    >>> messages_of(Request(id="q-1", model="small", query={"text": "17 + 25", "n_words": 3}))
    [{'role': 'user', 'content': '17 + 25'}]
    """
    if request.messages:
        return list(request.messages)
    text = request.query if isinstance(request.query, str) else request.query.get("text")
    if not isinstance(text, str):
        raise Fault("bad_request", "no messages, and no text in the query")
    return [{"role": "user", "content": text}]


def wants_json(options: Mapping[str, Any]) -> bool:
    """Tell whether the options of a call ask for JSON."""
    wanted = options.get("response_format")
    return isinstance(wanted, Mapping) and wanted.get("type") in ("json_object", "json_schema")


def parsed(data: bytes | str) -> Any:
    """Parse JSON that a provider wrote.

    Raises
    ------
    Fault
        Of kind "malformed", without a word of the data.
    """
    try:
        return json_of(data)
    except ValueError:  # of text, of encodings, of numbers too long, of brackets too deep
        pass
    raise Fault("malformed", "not JSON")


def error_code(body: Any) -> str | None:
    """Find the short code in the body of an error; a `Fault` shows no more of it.

    Examples
    --------
    >>> from headrace.runner.replies import error_code
    >>> error_code({"error": {"message": "Slow down, sk-123", "type": "requests", "code": "rate_limit_exceeded"}})
    'rate_limit_exceeded'
    """
    error = _mapping(body).get("error")
    error = error if isinstance(error, Mapping) else _mapping(body)
    if "context length" in str(error.get("message")):  # vLLM has it in words only
        return "context_length_exceeded"
    return next((error[key] for key in ("code", "type") if isinstance(error.get(key), str)), None)


def checked_prices(prices: Mapping[str, float] | None) -> dict[str, float] | None:
    """Check prices: dollars per million tokens of input and output, and of input that is cached.

    Raises
    ------
    ValueError
        A price is lacking, unknown, negative or not finite.
    """
    if prices is None:
        return None
    if not {"input", "output"} <= set(prices) <= set(PRICES):
        raise ValueError(f"prices: expected input and output, perhaps cached; got {', '.join(prices) or 'none'}")
    for name, price in prices.items():
        if not (_is_number(price) and price >= 0.0):
            raise ValueError(f"prices: expected dollars per million tokens, at least 0, for {name!r}; got {price!r}")
    return dict(prices)


def reply_of_completion(
    body: Any,
    *,
    seconds: float,
    cost: float | None = None,
    prices: Mapping[str, float] | None = None,
    json_wanted: bool = False,
) -> Reply:
    """Make a reply of a chat completion.

    The answer is the text. Where a model calls tools and says nothing, it is the calls as JSON, so that two models that
    call the same agree; where it refuses in a field of its own, the refusal.

    Parameters
    ----------
    body : mapping
        The completion.
    seconds : float
        How long the call took.
    cost : float, optional
        What it cost, where the client knows.
    prices : mapping of str to float, optional
        Dollars per million tokens of "input", "output" and "cached" input, which tell the cost from the usage.
    json_wanted : bool
        Whether the request asked for JSON.

    Raises
    ------
    Fault
        The body is an error, has no choices or no text ("malformed"), or a content filter stopped it ("filtered"); with
        the cost of the tokens that were used all the same.

    Examples
    --------
    >>> from headrace.runner.replies import reply_of_completion
    >>> body = {
    ...     "choices": [{"message": {"role": "assistant", "content": "42"}, "finish_reason": "stop"}],
    ...     "usage": {"prompt_tokens": 1000, "completion_tokens": 500},
    ... }
    >>> reply = reply_of_completion(body, seconds=0.3, prices={"input": 1.0, "output": 4.0})
    >>> reply.answer, reply.cost, reply.columns["output_tokens"]
    ('42', 0.003, 500)
    """
    usage = _usage(_mapping(body).get("usage"))
    cost = cost if _is_number(cost) else _cost(usage, prices)
    spent = cost or 0.0
    choice = _choice(body, spent)
    message, finish = choice.get("message"), choice.get("finish_reason")
    if finish == "content_filter":
        raise Fault("filtered", "content_filter", cost=spent)
    if not isinstance(message, Mapping):
        raise Fault("malformed", "no message", cost=spent)
    answer = _text(message.get("content")) or _text(message.get("refusal")) or _calls(message.get("tool_calls"))
    if not answer.strip():
        raise Fault("malformed", "no text", cost=spent)

    columns: dict[str, Any] = {"seconds": seconds}
    if logprobs := _logprobs(choice.get("logprobs")):
        columns |= {"logprobs": logprobs, "logprob": sum(logprobs) / len(logprobs)}
    named = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
    columns |= {column: usage[key] for column, key in named.items() if key in usage}
    if isinstance(finish, str):
        columns["finish"] = finish
    if json_wanted:
        columns["valid_json"] = _is_json(answer)
    return Reply(
        answer=answer,
        columns=columns,
        cost=cost,
        message=message,
        usage=usage,
        finish=finish if isinstance(finish, str) else None,
        logprobs=given if isinstance(given := choice.get("logprobs"), Mapping) else None,
    )


class Completion:
    """A completion put together from the chunks of a stream.

    Examples
    --------
    >>> from headrace.runner.replies import Completion
    >>> whole = Completion()
    >>> whole.add({"choices": [{"delta": {"role": "assistant", "content": "4"}}]})
    {'role': 'assistant', 'content': '4'}
    >>> whole.add({"choices": [{"delta": {"content": "2"}, "finish_reason": "stop"}]})
    {'content': '2'}
    >>> whole.body["choices"][0]["message"], whole.is_finished
    ({'role': 'assistant', 'content': '42'}, True)
    """

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._calls: dict[int, dict[str, Any]] = {}
        self._logprobs: list[Any] = []
        self._finish: Any = None
        self._usage: Any = None

    def add(self, chunk: Any) -> Mapping[str, Any]:
        """Add a chunk; give its delta, which may be empty.

        Raises
        ------
        Fault
            The chunk is an error.
        """
        self._usage = _mapping(chunk).get("usage") or self._usage
        if not _mapping(chunk).get("choices") and "error" not in _mapping(chunk):
            return {}  # the chunk that brings the usage, or one that keeps the connection alive
        choice = _choice(chunk, 0.0)
        self._finish = choice.get("finish_reason") or self._finish
        tokens = _mapping(choice.get("logprobs")).get("content")
        self._logprobs += tokens if isinstance(tokens, list) else []
        delta = _mapping(choice.get("delta"))
        for name, value in delta.items():
            if name == "tool_calls":
                self._add_calls(value)
            elif value is not None:
                _append(self._message, name, value)
        return delta

    @property
    def is_finished(self) -> bool:
        """Whether a chunk has said why the model stopped."""
        return self._finish is not None

    @property
    def body(self) -> dict[str, Any]:
        """The whole, as a completion that wasn't streamed."""
        message = {"role": "assistant", "content": None} | self._message
        if self._calls:
            message["tool_calls"] = [call for _, call in sorted(self._calls.items())]
        logprobs = {"content": self._logprobs} if self._logprobs else None
        choice = {"index": 0, "message": message, "finish_reason": self._finish, "logprobs": logprobs}
        return {"object": "chat.completion", "choices": [choice], "usage": self._usage}

    def _add_calls(self, given: Any) -> None:
        for part in given if isinstance(given, list) else ():
            index = _mapping(part).get("index", len(self._calls))
            if not isinstance(index, int):
                continue
            call = self._calls.setdefault(index, {"type": "function", "function": {"name": "", "arguments": ""}})
            call |= {key: value for key in ("id", "type") if (value := _mapping(part).get(key))}
            for name, value in _mapping(_mapping(part).get("function")).items():
                _append(call["function"], name, value)


def _append(parts: dict[str, Any], name: str, value: Any) -> None:
    joins = name != "role" and isinstance(value, str) and isinstance(parts.get(name), str)
    parts[name] = parts[name] + value if joins else value


def _is_number(value: Any) -> TypeGuard[float]:
    """Tell numbers to reckon with; not NaN, not infinite ones, not an int that no float holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e150


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _choice(body: Any, spent: float) -> Mapping[str, Any]:
    choices = _mapping(body).get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    if error := _mapping(_mapping(body).get("error")):  # of a status that was sent before
        status = error.get("code")
        raise fault_of_status(status if isinstance(status, int) and 400 <= status < 600 else 500, error_code(body))
    raise Fault("malformed", "no choices", cost=spent)


def _text(content: Any) -> str:
    if isinstance(content, list):  # parts, of which some are text
        return "".join(_text(_mapping(part).get("text")) for part in content)
    return content if isinstance(content, str) else ""


def _calls(calls: Any) -> str:
    """Write calls of tools as JSON, without the ids, which are never the same."""
    called = []
    for call in calls if isinstance(calls, list) else ():
        function = _mapping(_mapping(call).get("function"))
        arguments = function.get("arguments")
        with suppress(ValueError):  # else as the model wrote them
            arguments = json_of(arguments) if isinstance(arguments, str) else arguments
        called.append({"name": function.get("name"), "arguments": arguments})
    return json.dumps(called, sort_keys=True, ensure_ascii=False) if called else ""


def _logprobs(given: Any) -> list[float]:
    tokens = _mapping(given).get("content")
    found = [_mapping(token).get("logprob") for token in tokens] if isinstance(tokens, list) else []
    return [float(value) for value in found if _is_number(value)]


def _usage(given: Any) -> dict[str, int]:
    """Give the counts of tokens, those that are cached among them."""
    counts = dict(_mapping(given))
    counts["cached_tokens"] = _mapping(counts.get("prompt_tokens_details")).get("cached_tokens")
    return {
        name: count for name, count in counts.items() if _is_number(count) and isinstance(count, int) and count >= 0
    }


def _cost(usage: Mapping[str, int], prices: Mapping[str, float] | None) -> float | None:
    if prices is None or not {"prompt_tokens", "completion_tokens"} <= set(usage):
        return None
    cached = min(usage.get("cached_tokens", 0), usage["prompt_tokens"])
    dollars = (usage["prompt_tokens"] - cached) * prices["input"]
    dollars += cached * prices.get("cached", prices["input"])
    dollars += usage["completion_tokens"] * prices["output"]
    return dollars / 1e6


def _is_json(text: str) -> bool:
    try:
        json_of(text)
    except ValueError:
        return False
    return True
