"""The gateway: an ASGI app that speaks OpenAI's format, and answers every request by a cascade.

uvicorn doesn't cancel a handler when its client leaves: a watcher does, so that nothing runs upstream for nobody.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.errors import ArtefactError
from headrace.gateway.budgets import account_of
from headrace.gateway.live import Live
from headrace.gateway.page import page
from headrace.gateway.wire import (
    ROUTED,
    BadRequest,
    chunk,
    completion,
    error_body,
    error_of,
    headers,
    read_request,
)
from headrace.json_values import plain
from headrace.runner import Result, Runner
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

logger = logging.getLogger("headrace")


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
        What clients must send as bearer token; without it, everybody is let in.
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
    if key is not None:
        app.add_middleware(_Keyed, key=key)
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
                pieces = self.runner.stream(asked.messages, mode=mode, **asked.terms)
                return await self._streamed(pieces, with_usage=asked.with_usage)
            answering = self.runner.arun(asked.messages, **asked.terms)
            result = await _unless_left(request, answering)
        except ClientDisconnect:
            return Response(status_code=LEFT)
        except Exception as error:
            return self._refused(error)
        self.live.answered(result)
        return JSONResponse(completion(result, logprobs=asked.logprobs), headers=headers(result))

    async def _streamed(
        self, pieces: AsyncGenerator[Mapping[str, Any] | Result, None], *, with_usage: bool
    ) -> Response:
        """Answer in pieces; what fails before the first one has a status of its own."""
        first = await anext(pieces)

        async def events() -> AsyncIterator[str]:
            id, model, finish = "", None, "stop"
            async with aclosing(pieces):
                try:
                    piece: Mapping[str, Any] | Result | None = first
                    while piece is not None:
                        if isinstance(piece, Result):
                            self.live.answered(piece)
                            id, model = piece.id, piece.model
                            finish = (piece.reply.finish if piece.reply else None) or "stop"
                            yield chunk(id, model, {}, finish=finish)
                            if with_usage:
                                yield chunk(id, model, result=piece)
                            break
                        yield chunk(id, model, piece)
                        piece = await anext(pieces, None)
                except Exception as error:
                    _, body, _ = error_of(error)
                    self.live.refused(error)
                    yield f"data: {json.dumps(body)}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})

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
            ran, failed = body.pop("ran", None) or [], body.pop("failed", None) or []
            session = self.runner.decider.start(**{"strict": False, **body})
            for run in ran:
                session.observe(run["model"], run.get("response", {}), cost=run.get("cost"), extra="ignore")
            for model in failed:
                session.fail(model)
            following = session.next()
            answer = session.model if session.run else None
            made = {"next": following, "plan": list(session.plan), "answer": answer, "id": session.id}
            return JSONResponse({**made, "why": session.why().to_dict()})
        except KeyError as error:
            return self._refused(BadRequest(f"ran: expected {error} of each run", code="invalid_ran", param="ran"))
        except Exception as error:
            return self._refused(error)

    async def feedback(self, request: Request) -> Response:
        """Take in how good an answer was."""
        try:
            body = await self._json(request)
            if not isinstance(body, dict) or not set(body) <= {"id", "quality", "model"}:
                raise BadRequest("expected id, quality, perhaps model", code="invalid_feedback")
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
        return JSONResponse(plain(self.live.state(self.runner)), headers={"cache-control": "no-store"})

    def _refused(self, error: Exception) -> Response:
        self.live.refused(error)
        status, body, told = error_of(error)
        if status == 500:
            logger.error("a request failed: %s", type(error).__name__)
        return JSONResponse(body, status_code=status, headers=told)

    async def _json(self, request: Request) -> Any:
        """Read a body, up to the limit."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._max_body_bytes:
                raise BadRequest(f"the body is over {self._max_body_bytes} bytes", code="body_too_long", status=413)
            parts.append(part)
        try:
            return json.loads(b"".join(parts))
        except (ValueError, RecursionError):
            raise BadRequest("expected a body of JSON", code="invalid_json") from None


class _Keyed:
    """Lets in who sends the key, as a bearer token or as the password of basic auth; /health is open."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health" or self._lets_in(dict(scope["headers"])):
            await self._app(scope, receive, send)
            return
        body = error_body("a key is needed", kind="authentication_error", code="invalid_api_key")
        told = {"www-authenticate": 'Basic realm="headrace"'}
        await JSONResponse(body, status_code=401, headers=told)(scope, receive, send)

    def _lets_in(self, told: Mapping[bytes, bytes]) -> bool:
        kind, _, given = told.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"basic":
            with suppress(ValueError):
                given = base64.b64decode(given, validate=True).partition(b":")[2]
        elif kind.lower() != b"bearer":
            return False
        return hmac.compare_digest(given.strip(), self._key)


async def _unless_left(request: Request, answering: Any) -> Result:
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
            result: Result = task.result()
            return result
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
    seen = _version(artefact)
    while True:
        await asyncio.sleep(LOOK_S)
        now = _version(artefact)
        if now == seen or now is None:
            continue
        seen = now
        try:
            decider = await run_in_threadpool(load, artefact)
            await run_in_threadpool(gateway.runner.swap, decider)
        except (ArtefactError, OSError, ValueError) as error:
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
