"""Who is let in: those with the key; without one, this machine's programs, and no website in a browser."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.gateway.settings import is_loopback
from headrace.gateway.wire import error_body

__all__ = ["Keyed", "Unkeyed"]


class Keyed:
    """Lets in who sends the key, as a bearer token or as the password of basic auth; /health is open.

    A browser sends such a password along with what another site's page asks for: that is refused.

    Parameters
    ----------
    app : ASGIApp
    key : str
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http" or scope["path"] == "/health" or self._lets_in(dict(scope["headers"])):
            await self._app(scope, receive, send)
            return
        body = error_body(
            "no key, or a wrong one; the gateway's is needed",
            kind="authentication_error",
            code="invalid_api_key",
        )
        told = {"www-authenticate": 'Basic realm="headrace"'}
        await JSONResponse(body, status_code=401, headers=told)(scope, receive, send)

    def _lets_in(self, told: Mapping[bytes, bytes]) -> bool:
        kind, _, given = told.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"basic":
            if b"origin" in told and _host(told[b"origin"]) != _host(b"//" + told.get(b"host", b"")):
                return False
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except ValueError:
                return False
        elif kind.lower() != b"bearer":
            return False
        return hmac.compare_digest(given.strip(), self._key)


class Unkeyed:
    """Lets in everybody but other sites' pages in a browser on this machine, which reach its loopback addresses, too.

    Such a page's request says in Origin where it comes from, or in Host which name it took for this machine.

    Parameters
    ----------
    app : ASGIApp
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http" or self._lets_in(scope):
            await self._app(scope, receive, send)
            return
        message = "without a key, only this machine's own programs and pages are answered"
        body = error_body(message, kind="authentication_error", code="other_site")
        await JSONResponse(body, status_code=403)(scope, receive, send)

    @staticmethod
    def _lets_in(scope: Scope) -> bool:
        told = dict(scope["headers"])
        names = [b"//" + told[b"host"]] if b"host" in told else []
        names += [told[b"origin"]] if b"origin" in told else []
        local = is_loopback((scope.get("server") or ("",))[0])
        return not local or all(is_loopback(_host(name)) for name in names)


def _host(url: bytes) -> str:
    with suppress(ValueError):
        return urlsplit(url.decode("latin-1")).hostname or ""
    return ""
