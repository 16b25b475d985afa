"""Pretend models, for a demonstration without a key: three of different strength and price, in OpenAI's format."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["PRICES", "STRENGTHS", "ask", "pretend_app", "question", "right_answer"]

#: Dollars per million tokens.
PRICES = {"small": 0.05, "medium": 0.4, "large": 3.0}

#: What each is worth: the hardest question, from 0 to 1, that it gets right every other time.
STRENGTHS = {"small": 0.55, "medium": 0.85, "large": 1.25}

#: Tokens of a question and of its answer.
TOKENS = 40, 30

#: Seconds that each takes.
SECONDS = {"small": 0.005, "medium": 0.01, "large": 0.02}


def question(number: int) -> dict[str, Any]:
    """Make a question: its text, and how hard it looks.

    Examples
    --------
    >>> from headrace.gateway.pretend import question, right_answer
    >>> question(17)["text"], right_answer(17)
    ('Question 17: which of A, B, C, D?', 'A')
    """
    looks = min(max(_hardness(number) + 0.25 * (_share("looks", number) - 0.5), 0.0), 1.0)
    return {"text": f"Question {number}: which of A, B, C, D?", "looks_hard": round(looks, 3)}


def right_answer(number: int) -> str:
    """Give the right answer."""
    return "ABCD"[int(4 * _share("right", number))]


def ask(model: str, number: int) -> dict[str, Any]:
    """Give what a model says to a question: its answer, and the log-probability of it."""
    chance = 1.0 / (1.0 + math.exp(8.0 * (_hardness(number) - STRENGTHS[model])))
    right = _share(f"{model} is right", number) < chance
    sure = 0.45 + 0.5 * _share(f"{model} is sure", number) ** (0.5 if right else 2.0)
    answer = right_answer(number)
    if not right:
        others = [letter for letter in "ABCD" if letter != answer]
        answer = others[int(3 * _share(f"{model} is wrong", number))]
    return {"answer": answer, "logprob": math.log(sure), "cost": sum(TOKENS) * PRICES[model] / 1e6}


def pretend_app() -> Starlette:
    """Make the app that serves the three."""
    return Starlette(routes=[Route("/v1/chat/completions", _answered, methods=["POST"])])


async def _answered(request: Request) -> Response:
    body = await request.json()
    model, number = body["model"], _number(body["messages"])
    await asyncio.sleep(SECONDS[model])
    said = ask(model, number)
    tokens = dict(zip(("prompt_tokens", "completion_tokens"), TOKENS, strict=True))
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": said["answer"]},
        "finish_reason": "stop",
        "logprobs": {"content": [{"token": said["answer"], "logprob": said["logprob"]}]}
        if body.get("logprobs")
        else None,
    }
    usage = {**tokens, "total_tokens": sum(TOKENS)}
    return JSONResponse({"object": "chat.completion", "model": model, "choices": [choice], "usage": usage})


def _number(messages: list[Mapping[str, Any]]) -> int:
    """Find the number of the question; any other text has one as well."""
    text = json.dumps(messages[-1].get("content"))
    digits = text.partition("Question ")[2].partition(":")[0]
    return int(digits) if digits.isdigit() else int(1000 * _share(text, 0))


def _hardness(number: int) -> float:
    return _share("hard", number)


def _share(what: str, number: int) -> float:
    """Draw a number from 0 to 1, the same everywhere."""
    digest = hashlib.blake2b(f"{what} {number}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2.0**56
