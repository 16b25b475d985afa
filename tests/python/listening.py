"""An app that listens on the loopback, in a thread of its own."""

from __future__ import annotations

import threading
import time
from typing import Any

import uvicorn

from headrace.gateway.serving import bound

__all__ = ["Listening"]


class Listening:
    """A server on a free port, as a context manager.

    Parameters
    ----------
    app : ASGIApp
    lifespan : {"on", "off"}

    Attributes
    ----------
    url : str
    port : int
    """

    def __init__(self, app: Any, *, lifespan: str = "on") -> None:
        self._app, self._lifespan = app, lifespan

    def __enter__(self) -> Listening:
        self._socket = bound("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            self._app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan=self._lifespan,
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.005)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=60)
        self._socket.close()
        assert not self._thread.is_alive()

    @property
    def should_exit(self) -> bool:
        """Whether it is about to end."""
        return self._server.should_exit
