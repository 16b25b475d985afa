"""The gateway: an ASGI app that speaks OpenAI's format, and answers every request by a cascade.

uvicorn doesn't cancel a handler when its client leaves: a watcher does, so that nothing runs upstream for nobody.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from headrace.gateway.budgets import account_of
from headrace.gateway.doors import Keyed, Unkeyed
from headrace.gateway.live import Live
from headrace.gateway.page import page
from headrace.gateway.wire import (
    ROUTED,
    Asked,
    BadRequest,
    chunk,
    completion,
    error_body,
    error_of,
    finish_of,
    headers,
    logprobs_of,
    read_json,
    read_request,
)
from headrace.json_values import plain
from headrace.runner import Delta, Result, Runner
from headrace.serving import load

__all__ = ["make_app"]

#: Seconds between two looks at the artefact.
LOOK_S = 1.0

#: Status of a request whose client has left, as proxies write it; nobody gets it.
LEFT = 499

#: What the page may load: nothing from elsewhere.
PAGE_MAY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "frame-ancestors 'none'"
)

logger: logging.Logger = logging.getLogger("headrace")

T = TypeVar("T")


def make_app(
    runner: Runner,
    *,
    key: str | None = None,
    artefact: Path | None = None,
    max_body_bytes: int = 4 * 2**20,
    deadline_s: float | None = None,
    stream_mode: str = "decide-first",
    budget_by: str | None = None,
) -> Starlette:
    """Make the gateway's app.

    Parameters
    ----------
    runner : Runner
    key : str, optional
        What clients must send as bearer token; without it, everybody is let in who reaches the address.
    artefact : Path, optional
        The router's file: when it is written anew, it is loaded, and decides from the next request on.
    max_body_bytes : int
        A longer body is refused.
    deadline_s : float, optional
        Deadline of requests that don't say one.
    stream_mode : {"decide-first", "buffer"}
        How streams are made where the request doesn't say it; see `Runner.stream`.
    budget_by : str, optional
        Whose accounts pay (`headrace.gateway.budgets`), where the runner keeps some.

    Returns
    -------
    Starlette
        Endpoints: /v1/chat/completions, /v1/models, /v1/decision, /v1/feedback, /health, /metrics, /headrace.
    """
    gateway = _Gateway(runner, max_body_bytes=max_body_bytes, deadline_s=deadline_s, stream_mode=stream_mode)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(_reloaded(gateway, artefact)) if artefact is not None else None
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()
            await runner.aclose()

    routes = [
        Route("/v1/chat/completions", gateway.chat, methods=["POST"]),
        Route("/v1/models", gateway.models),
        Route("/v1/decision", gateway.decision, methods=["POST"]),
        Route("/v1/feedback", gateway.feedback, methods=["POST"]),
        Route("/health", gateway.health),
        Route("/metrics", gateway.metrics),
        Route("/headrace", gateway.page),
        Route("/headrace/state", gateway.state),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: _not_found, 405: _not_found})
    app.state.gateway = gateway
    gateway.budget_by = budget_by
    if key is None:
        app.add_middleware(Unkeyed)
    else:
        app.add_middleware(Keyed, key=key)
    return app


class _Gateway:
    """The endpoints."""

    def __init__(self, runner: Runner, *, max_body_bytes: int, deadline_s: float | None, stream_mode: str) -> None:
        self.runner = runner
        self.live = Live(runner.decider)
        self._max_body_bytes = max_body_bytes
        self._deadline_s = deadline_s
        self._stream_mode = stream_mode
        self.budget_by: str | None = None

    async def chat(self, request: Request) -> Response:
        """Answer a conversation."""
        try:
            body = await self._json(request)
            asked = read_request(body, self.runner.decider.models, self.runner.supported)
            if self._deadline_s is not None:
                asked.terms.setdefault("deadline_s", self._deadline_s)
            asked.terms.setdefault("strict", "columns" in asked.terms)
            if self.budget_by is not None:
                asked.terms["account"] = account_of(self.budget_by, request.headers, asked.terms["options"])
            if asked.stream:
                mode = asked.mode or self._stream_mode
                return await self._streamed(
                    request, asked, self.runner.stream(asked.messages, mode=mode, **asked.terms)
                )
            result = await _unless_left(request, self.runner.arun(asked.messages, **asked.terms))
            self.live.answered(result)
            return _Json(completion(result, logprobs=asked.logprobs), headers=headers(result))
        except ClientDisconnect:
            return Response(status_code=LEFT)
        except Exception as error:
            return self._refused(error)

    async def _streamed(self, request: Request, asked: Asked, pieces: AsyncGenerator[Delta | Result, None]) -> Response:
        """Answer in pieces; what fails before the first one has a status of its own."""
        first = await _unless_left(request, anext(pieces))

        async def events() -> AsyncIterator[str]:
            async with aclosing(pieces):
                try:
                    piece = first
                    while isinstance(piece, Delta):
                        yield chunk(piece.id, piece.model, piece)
                        piece = await anext(pieces)
                    self.live.answered(piece)
                    logprobs = logprobs_of(piece) if asked.logprobs else None
                    yield chunk(piece.id, piece.model, {}, finish=finish_of(piece), logprobs=logprobs)
                    if asked.with_usage:
                        yield chunk(piece.id, piece.model, result=piece)
                except Exception as error:
                    _, body, _ = error_of(error)
                    self.live.refused(error)
                    yield f"data: {json.dumps(plain(body))}\n\n"
            yield "data: [DONE]\n\n"

        told = {**headers(first), "cache-control": "no-store"}
        return StreamingResponse(events(), media_type="text/event-stream", headers=told)

    async def models(self, _: Request) -> Response:
        """List the router and its targets."""
        names = (ROUTED, *self.runner.decider.models)
        return JSONResponse(
            {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "headrace"} for name in names]}
        )

    async def decision(self, request: Request) -> Response:
        """Decide, and call nothing: for those who call models themselves. It keeps nothing."""
        try:
            body = await self._json(request)
            if not isinstance(body, dict) or not isinstance(body.get("query"), str | dict):
                raise BadRequest("expected a query: a text, or an object of columns", code="invalid_query")
            unknown = sorted(set(body) - {"query", "id", "ran", "failed", "allowed", "deny", "max_cost", "strict"})
            if unknown:
                raise BadRequest(f"unknown field {unknown[0]!r}", code="unknown_field", param=unknown[0])
            ran, failed = _ran(body.pop("ran", None)), _failed(body.pop("failed", None))
            session = self.runner.decider.start(**{"strict": False, **body})
            for run in ran:
                session.observe(run["model"], run.get("response", {}), cost=run.get("cost"), extra="ignore")
            for model in failed:
                session.fail(model)
            following = session.next()
            answer = session.model if session.run else None
            made = {"next": following, "plan": list(session.plan), "answer": answer, "id": session.id}
            return _Json({**made, "why": session.why().to_dict()})
        except Exception as error:
            return self._refused(error)

    async def feedback(self, request: Request) -> Response:
        """Take in how good an answer was."""
        try:
            body = await self._json(request)
            if not isinstance(body, dict) or not {"id", "quality"} <= set(body) <= {"id", "quality", "model"}:
                raise BadRequest("expected id, quality, perhaps model", code="invalid_feedback")
            if not isinstance(body["id"], str) or body.get("model") not in (None, *self.runner.decider.models):
                raise BadRequest("expected a text as id, and as model one of the router's", code="invalid_feedback")
            await run_in_threadpool(self.runner.feedback, **body)
            self.live.feedback(body["quality"])
            return JSONResponse({"ok": True})
        except Exception as error:
            return self._refused(error)

    async def health(self, _: Request) -> Response:
        """Say that it works, and by which policy it decides."""
        return JSONResponse({"status": "ok", "policy": self.runner.decider.fingerprint})

    async def metrics(self, _: Request) -> Response:
        """Give the numbers of this process as Prometheus reads them."""
        return Response(self.live.prometheus(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def page(self, _: Request) -> Response:
        """Show what goes on."""
        return HTMLResponse(page(), headers={"content-security-policy": PAGE_MAY, "cache-control": "no-store"})

    async def state(self, _: Request) -> Response:
        """Give what the page shows."""
        return _Json(self.live.state(self.runner), headers={"cache-control": "no-store"})

    def _refused(self, error: Exception) -> Response:
        self.live.refused(error)
        status, body, told = error_of(error)
        if status == 500:
            logger.error("a request failed: %s", type(error).__name__)
        return _Json(body, status_code=status, headers=told)

    async def _json(self, request: Request) -> Any:
        """Read a body, up to the limit."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._max_body_bytes:
                raise BadRequest(f"the body is over {self._max_body_bytes} bytes", code="body_too_long", status=413)
            parts.append(part)
        return read_json(b"".join(parts))


class _Json(JSONResponse):
    """JSON of anything that a provider may have sent: halves of characters, numbers that aren't finite."""

    def render(self, content: Any) -> bytes:
        return json.dumps(plain(content), separators=(",", ":")).encode()


def _ran(given: Any) -> list[dict[str, Any]]:
    """Check the runs that a decision is asked after."""
    runs = [] if given is None else given
    if not isinstance(runs, list) or not all(isinstance(one, dict) and "model" in one for one in runs):
        raise BadRequest("ran: expected a list of objects with model, response, cost", code="invalid_ran", param="ran")
    return runs


def _failed(given: Any) -> list[str]:
    """Check the models that have failed before a decision."""
    models = [] if given is None else given
    if not isinstance(models, list):
        raise BadRequest("failed: expected a list of models", code="invalid_failed", param="failed")
    return models


async def _unless_left(request: Request, answering: Awaitable[T]) -> T:
    """Wait for an answer; when the client leaves, end what runs for it.

    Raises
    ------
    ClientDisconnect
        It has left.
    """
    task = asyncio.ensure_future(answering)
    leaving = asyncio.ensure_future(_left(request.receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _left(receive: Callable[[], Any]) -> None:
    """Wait until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reloaded(gateway: _Gateway, artefact: Path) -> None:
    """Load the router anew whenever its file is another one."""
    seen = None  # it may be another one already than the one that was loaded
    while True:
        await asyncio.sleep(LOOK_S)
        now = _version(artefact)
        if now == seen or now is None:
            continue
        seen = now
        try:
            decider = await run_in_threadpool(load, artefact)
            if decider.fingerprint == gateway.runner.decider.fingerprint:
                continue
            await run_in_threadpool(gateway.runner.swap, decider)
        except Exception as error:  # whatever is wrong with it, the present one goes on
            logger.error("%s is not taken up: %s", artefact.name, error)
            continue
        gateway.live.swapped(decider)
        logger.info("%s decides from now on (%s)", artefact.name, decider.fingerprint)


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size


async def _not_found(request: Request, _: Exception) -> Response:
    body = error_body("no such endpoint, or another method", kind="invalid_request_error", code="not_found")
    return JSONResponse(body, status_code=404)
