"""A gateway on a free port, in front of the tests' provider."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from listening import Listening
from pools import MODELS

import headrace as hr
from headrace.gateway.app import make_app
from headrace.runner import OpenAITarget, Retry, Runner

PRICES = {"small": 0.1, "medium": 1.0, "large": 10.0}

EASY = {"headrace": {"columns": {"difficulty": 0.1}}}


@dataclass(frozen=True)
class Served:
    """Where a gateway is, somebody who asks it, and its runner."""

    url: str
    port: int
    http: httpx.Client
    runner: Runner


def asked(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def targets(url: str, **options: Any) -> dict[str, OpenAITarget]:
    return {
        name: OpenAITarget(
            url, name, prices={"input": PRICES[name], "output": PRICES[name]}, options={"logprobs": True}, **options
        )
        for name in MODELS
    }


@contextmanager
def serving(
    url: str, decider: hr.Decider, *, runner: Mapping[str, Any] | None = None, **settings: Any
) -> Iterator[Served]:
    """Serve `make_app` of a runner for the provider at `url`."""
    given: dict[str, Any] = {"retry": Retry(attempts=2, base_s=0.001, cap_s=1.0), "timeout_s": 60.0, **(runner or {})}
    made = Runner(decider, given.pop("targets", None) or targets(url), **given)
    with (
        Listening(make_app(made, **settings)) as listening,
        httpx.Client(base_url=listening.url, timeout=30.0) as http,
    ):
        yield Served(url=listening.url, port=listening.port, http=http, runner=made)


def small_first(decider: hr.Decider, prefix: str, text: str) -> dict[str, Any]:
    """Give terms under which the small model is the first."""
    for number in range(200):
        id = f"{prefix}-{number}"
        if decider.start({"text": text, "difficulty": 0.1}, id=id).next() == "small":
            return {"headrace": {"columns": {"difficulty": 0.1}, "id": id}}
    raise AssertionError("the small model is never the first")


@contextmanager
def heard() -> Iterator[list[str]]:
    """Give what the package logs meanwhile, at any level."""
    lines: list[str] = []

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()} {record.exc_info}")

    logger, hearing, level = logging.getLogger("headrace"), Hearing(), logging.getLogger("headrace").level
    logger.addHandler(hearing)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(hearing)
        logger.setLevel(level)
