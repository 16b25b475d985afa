"""A server that speaks OpenAI's format, as a target: providers, vLLM, llama.cpp, Ollama and gateways do.

Neither the key nor a prompt nor a word of a response gets into an exception, a repr or a log from here.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, aclosing, contextmanager, suppress
from functools import cache
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit
from weakref import WeakKeyDictionary

from headrace.extras import imported
from headrace.json_values import json_of
from headrace.runner.faults import Fault, fault_of_status, retry_after
from headrace.runner.replies import (
    Completion,
    checked_prices,
    error_code,
    messages_of,
    parsed,
    reply_of_completion,
    wants_json,
)
from headrace.runner.targets import Reply, Request

__all__ = ["OpenAITarget"]

#: Of the body of an error, this much is read to find its code.
ERROR_BYTES = 65_536

#: How long the end of a stream may take to come, in seconds, once all has been said.
DRAIN_S = 0.05

#: Calls at once of a client; more are spread over several.
CALLS_OF_CLIENT = 16


class OpenAITarget:
    """A model behind OpenAI's chat completions, called or streamed. Needs httpx (extra ``serve``).

    What a response becomes, see `headrace.runner.replies`. A call that is cancelled, or out of time, ends upstream too.

    Parameters
    ----------
    base_url : str
        Where the format's paths start, e.g. "https://api.openai.com/v1". A user and a password in it are sent, unless
        there is a key; a query string is, too, but keys don't belong there: httpx logs it.
    model : str
        The model, as the server names it.
    key_env : str, optional
        Name of the environment variable that holds the key. It is read at each call.
    prices : mapping of str to float, optional
        Dollars per million tokens of "input", "output" and, by default at the price of input, "cached" input. Without
        prices, or where a response has no usage, the reply has no cost.
    options : mapping of str to value, optional
        Options of every call, e.g. ``{"temperature": 0, "logprobs": True}``; those of a request come before them.
    max_bytes : int
        A longer response is cut off, and is a fault.

    Raises
    ------
    ValueError
        No URL of HTTP, no such environment variable, or prices that aren't any.

    Examples
    --------
    >>> from headrace.runner import OpenAITarget
    >>> OpenAITarget("http://me:secret@localhost:8000/v1", "qwen-7b", prices={"input": 0.05, "output": 0.2})
    OpenAITarget('http://localhost:8000/v1', 'qwen-7b')
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        key_env: str | None = None,
        prices: Mapping[str, float] | None = None,
        options: Mapping[str, Any] | None = None,
        max_bytes: int = 4_000_000,
    ) -> None:
        url = _split(base_url)
        if url is None:
            raise ValueError("base_url: expected a URL such as 'https://api.openai.com/v1'")
        if key_env is not None and not os.environ.get(key_env):
            raise ValueError(f"key_env: the environment variable {key_env} is not set")
        host = url.netloc.rpartition("@")[2]
        self.base_url: str = SplitResult(url.scheme, host, url.path.rstrip("/"), "", "").geturl()
        self.model = model
        self.key_env = key_env
        self.prices: dict[str, float] | None = checked_prices(prices)
        self.options: dict[str, Any] = dict(options or {})
        self.max_bytes = max_bytes
        self._url = f"{self.base_url}/chat/completions" + (f"?{url.query}" if url.query else "")
        user = (unquote(url.username or ""), unquote(url.password or ""))
        self._user = user if any(user) and key_env is None else None
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _Clients] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"OpenAITarget({self.base_url!r}, {self.model!r})"

    async def call(self, request: Request) -> Reply:
        """Call the model.

        Parameters
        ----------
        request : Request

        Returns
        -------
        Reply

        Raises
        ------
        Fault
            What went wrong, by kind.
        """
        started = time.perf_counter()
        async with aclosing(self._chunks(request, {})) as chunks:
            body = b"".join([chunk async for chunk in chunks])
        return self._reply(parsed(body), request, started)

    async def stream(self, request: Request) -> AsyncGenerator[Mapping[str, Any] | Reply, None]:
        """Stream the answer.

        Parameters
        ----------
        request : Request

        Yields
        ------
        mapping or Reply
            The deltas as they come, and last the whole reply.

        Raises
        ------
        Fault
            What went wrong, by kind; perhaps after some deltas.
        """
        started = time.perf_counter()
        whole, is_done = Completion(), False
        usage = {"include_usage": True} | dict(self._options(request).get("stream_options") or {})
        async with aclosing(self._chunks(request, {"stream": True, "stream_options": usage})) as chunks:
            async for data in _events(chunks):
                if is_done := data == b"[DONE]":
                    await _drain(chunks)
                    break
                if delta := whole.add(parsed(data)):
                    yield delta
        if not (is_done or whole.is_finished):
            raise Fault("connection", "the stream was cut off")
        yield self._reply(whole.body, request, started)

    async def aclose(self) -> None:
        """Close the connections of the event loop that this runs in."""
        clients = self._clients.pop(asyncio.get_running_loop(), None)
        if clients is not None:
            await clients.aclose()

    def _options(self, request: Request) -> dict[str, Any]:
        return self.options | dict(request.options)

    def _reply(self, body: Any, request: Request, started: float) -> Reply:
        return reply_of_completion(
            body,
            seconds=time.perf_counter() - started,
            prices=self.prices,
            json_wanted=wants_json(self._options(request)),
        )

    async def _chunks(self, request: Request, streaming: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """Send the request and yield the response's body as it comes.

        A fault is raised after the exception that it stands for, not from it: that one holds headers and bodies.
        """
        httpx = imported("httpx", "OpenAITarget")
        deadline = asyncio.get_running_loop().time() + request.timeout_s
        headers, body = self._headers(), self._body(request, streaming)
        response, n_bytes, fault = None, 0, None
        with self._client(httpx) as client:
            sent = client.build_request("POST", self._url, content=body, headers=headers)
            try:
                async with asyncio.timeout_at(deadline):
                    response = await client.send(sent, auth=self._user, stream=True)
                async with aclosing(response.aiter_bytes()) as chunks:
                    while fault is None:
                        async with asyncio.timeout_at(deadline):
                            if not response.is_success:
                                fault = await _refused(response, chunks)
                                break
                            chunk = await anext(chunks, None)
                        if chunk is None:
                            break
                        n_bytes += len(chunk)
                        if n_bytes > self.max_bytes:
                            fault = Fault("malformed", f"longer than {self.max_bytes} bytes")
                        else:
                            yield chunk
            except (TimeoutError, httpx.TimeoutException):
                fault = Fault("timeout", f"{request.timeout_s:.3g} s")
            except httpx.DecodingError:
                fault = Fault("malformed", "its encoding")
            except httpx.RequestError as error:
                fault = Fault("connection", type(error).__name__)
            finally:
                if response is not None:
                    await response.aclose()
        if fault is not None:
            raise fault

    def _body(self, request: Request, streaming: Mapping[str, Any]) -> bytes:
        asked = {"model": self.model, "messages": messages_of(request)}
        options = self._options(request)
        for name in ("stream", "stream_options"):
            options.pop(name, None)
        with suppress(TypeError, ValueError, RecursionError):
            return json.dumps(options | asked | dict(streaming), allow_nan=False).encode()
        raise Fault("bad_request", "messages or options aren't JSON")

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if self.key_env is not None:
            key = os.environ.get(self.key_env, "").strip()
            if not key:
                raise Fault("auth", f"the environment variable {self.key_env} is not set")
            if not (key.isascii() and key.isprintable()):
                raise Fault("auth", f"the environment variable {self.key_env} holds no key")
            headers["authorization"] = f"Bearer {key}"
        return headers

    def _client(self, httpx: Any) -> AbstractContextManager[Any]:
        """Give a client of the running event loop for one call; connections can't change theirs."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            for other in list(self._clients):
                if other.is_closed():
                    del self._clients[other]
            # Deadlines are the requests' own, and so is how many run at once.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=30.0)
            verify = _certificates()
            self._clients[loop] = _Clients(lambda: httpx.AsyncClient(timeout=None, limits=limits, verify=verify))
        return self._clients[loop].borrowed()


class _Clients:
    """Clients of one event loop, each for a few calls at once.

    At each call httpx looks at all connections of a client many times, and where there are many it closes idle ones.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._calls: dict[Any, int] = {}

    @contextmanager
    def borrowed(self) -> Iterator[Any]:
        """Give the first client that has few calls."""
        client = next((client for client, n in self._calls.items() if n < CALLS_OF_CLIENT), None) or self._make()
        self._calls[client] = self._calls.get(client, 0) + 1
        try:
            yield client
        finally:
            self._calls[client] -= 1

    async def aclose(self) -> None:
        """Close their connections."""
        for client in self._calls:
            await client.aclose()


def _split(url: str) -> SplitResult | None:
    """Split a URL of HTTP; None of anything else, for messages about it would show a password."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    return None


@cache
def _certificates() -> Any:
    """Load the certificates that servers are checked against: once for all clients, as it takes long."""
    return imported("httpx", "OpenAITarget").create_ssl_context()


async def _refused(response: Any, chunks: AsyncIterator[bytes]) -> Fault:
    """Tell the fault of a response whose status says so."""
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) > ERROR_BYTES:
            break
    try:
        code = error_code(json_of(body))
    except ValueError:
        code = None
    return fault_of_status(response.status_code, code, retry_after_s=retry_after(response.headers))


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read what is left of a response, if it comes at once: its connection can then be used again."""
    with suppress(Fault, TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in chunks:
                pass


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Give the data of server-sent events, each on a line; httpx would break lines within a text, too."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip()
    if rest.startswith(b"data:"):
        yield rest.removeprefix(b"data:").strip()
