"""Faults: what goes wrong when a model is called, by a few kinds that a cascade can act on.

No message of a fault holds what a provider wrote in its body, beyond a short code: bodies repeat prompts and keys.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["KINDS", "Fault", "FaultKind", "fault_of", "fault_of_status", "retry_after"]


@dataclass(frozen=True)
class FaultKind:
    """What a kind of fault means.

    Attributes
    ----------
    what : str
        What has happened, as pages and messages say it.
    retry : bool
        Whether the same call may go well a moment later.
    breaks : bool
        Whether it speaks against the model, so that a breaker counts it, and not against this request.
    """

    what: str
    retry: bool
    breaks: bool


#: Kinds of faults by name.
KINDS: Mapping[str, FaultKind] = {
    "rate_limited": FaultKind("too many requests", retry=True, breaks=True),
    "overloaded": FaultKind("the provider is overloaded, or no slot was free in time", retry=True, breaks=True),
    "server": FaultKind("the provider failed", retry=True, breaks=True),
    "connection": FaultKind("no connection, or it was cut off", retry=True, breaks=True),
    "malformed": FaultKind("the response isn't one, or too long", retry=True, breaks=True),
    "timeout": FaultKind("no response in time", retry=False, breaks=True),
    "auth": FaultKind("the key is refused", retry=False, breaks=True),
    "error": FaultKind("the function that was called raised an exception", retry=False, breaks=True),
    "bad_request": FaultKind("the request is refused", retry=False, breaks=False),
    "context": FaultKind("the request is too long for the model", retry=False, breaks=False),
    "filtered": FaultKind("a content filter stopped it", retry=False, breaks=False),
    "deadline": FaultKind("the request's deadline ended the call", retry=False, breaks=False),
    "cancelled": FaultKind("nobody waits for it any more", retry=False, breaks=False),
}

#: Kind of a response's status, where it isn't told by its hundreds.
OF_STATUS = {401: "auth", 403: "auth", 408: "timeout", 413: "context", 429: "rate_limited"} | {
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}

#: Kind by a word in a provider's error code, or in the name of an exception; the first that fits.
OF_WORD = {
    "context": "context",
    "content_filter": "filtered",
    "contentpolicy": "filtered",
    "content_policy": "filtered",
    "ratelimit": "rate_limited",
    "rate_limit": "rate_limited",
    "quota": "rate_limited",
    "overloaded": "overloaded",
    "timeout": "timeout",
    "connect": "connection",
    "authentication": "auth",
    "api_key": "auth",
}

#: What a code looks like that may be shown: no sentence, no key.
CODE = re.compile(r"[a-z][a-z_.-]{1,48}", re.ASCII)


class Fault(Exception):  # noqa: N818  # what it is, as targets name it
    """A call of a model that went wrong.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    detail : str
        What is known of it, in a few words; no text of a prompt, an answer or a key.
    retry_after_s : float, optional
        When the provider wants to be asked again.
    cost : float or mapping of str to float
        What the call cost all the same; of several costs, the first, or each by name.

    Examples
    --------
    >>> from headrace.runner import Fault
    >>> fault = Fault("rate_limited", "status 429", retry_after_s=2.0)
    >>> fault.kind, str(fault)
    ('rate_limited', 'too many requests (status 429)')
    """

    def __init__(
        self,
        kind: str,
        detail: str = "",
        *,
        retry_after_s: float | None = None,
        cost: float | Mapping[str, float] = 0.0,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}; got {kind!r}")
        super().__init__(KINDS[kind].what + (f" ({detail})" if detail else ""))
        self.kind = kind
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.cost = cost


def fault_of_status(status: int, code: Any = None, *, retry_after_s: float | None = None) -> Fault:
    """Tell the fault by a response's status, and by the code in its body.

    Examples
    --------
    >>> from headrace.runner.faults import fault_of_status
    >>> fault_of_status(503).kind, fault_of_status(400, "context_length_exceeded").kind
    ('overloaded', 'context')
    """
    shown = str(code).lower() if isinstance(code, str) and CODE.fullmatch(code.lower()) else ""
    kind = OF_STATUS.get(status) or ("server" if status >= 500 else "bad_request")
    if kind == "bad_request" or status == 403:
        kind = _by_word(shown, {"context", "filtered"}) or kind
    detail = f"status {status}" + (f", {shown}" if shown else "")
    return Fault(kind, detail, retry_after_s=retry_after_s)


def fault_of(error: BaseException) -> Fault:
    """Tell the fault by an exception, whichever client raised it: by its status, its type, its name.

    Examples
    --------
    >>> from headrace.runner.faults import fault_of
    >>> fault_of(TimeoutError()).kind, fault_of(ConnectionResetError()).kind, fault_of(KeyError("text")).kind
    ('timeout', 'connection', 'error')
    """
    if isinstance(error, Fault):
        return error
    if isinstance(error, asyncio.CancelledError | CancelledError):
        return Fault("cancelled")
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    name = type(error).__name__
    named = _by_word(name.lower(), {"context", "filtered", "rate_limited", "timeout", "connection", "auth"})
    if isinstance(status, int) and status >= 400:
        wait = retry_after(getattr(response, "headers", None) or {})
        fault = fault_of_status(status, getattr(error, "code", None), retry_after_s=wait)
        if fault.kind == "bad_request" and named in ("context", "filtered"):
            return Fault(named, fault.detail)
        return fault
    if isinstance(error, TimeoutError) or named == "timeout":
        return Fault("timeout", name)
    if isinstance(error, ConnectionError) or named == "connection":
        return Fault("connection", name)
    return Fault(named or "error", name)


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Read how many seconds a provider asks to wait: a number, or a date.

    Examples
    --------
    >>> from headrace.runner.faults import retry_after
    >>> retry_after({"retry-after": "1.5"}), retry_after({"retry-after": "soon"})
    (1.5, None)
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) / unit
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(text) - (now or datetime.now(UTC))).total_seconds()
            except (TypeError, ValueError):
                continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    return None


def _by_word(text: str, kinds: set[str]) -> str | None:
    return next((kind for word, kind in OF_WORD.items() if word in text and kind in kinds), None)
