"""From settings to an app: what ``headrace serve`` runs, and what ``uvicorn --factory`` can."""

from __future__ import annotations

import logging
import socket

from starlette.applications import Starlette

from headrace.gateway.app import make_app
from headrace.gateway.settings import ROUTER_VARIABLE, SETTINGS_VARIABLE, Settings, settings_from_environment

__all__ = ["KEEP_ALIVE_S", "ROUTER_VARIABLE", "SETTINGS_VARIABLE", "app_from_environment", "app_of", "bound", "quiet"]

#: Seconds that an idle connection is kept: longer than clients keep theirs, who else find one closed as they use it.
KEEP_ALIVE_S = 75


def _is_no_interruption(record: logging.LogRecord) -> bool:
    """Tell whether a line of uvicorn's log is about something else than Ctrl-C."""
    return not record.getMessage().rstrip().endswith(("KeyboardInterrupt", "CancelledError"))


def quiet() -> None:
    """Keep tracebacks out of uvicorn's log that only say that its end was cut short by a second Ctrl-C.

    Examples
    --------
    >>> import logging
    >>> from headrace.gateway.serving import quiet
    >>> quiet()
    >>> bool(logging.getLogger("uvicorn.error").filters)
    True
    """
    logging.getLogger("uvicorn.error").addFilter(_is_no_interruption)


def bound(host: str, port: int) -> socket.socket:
    """Take an address to listen at; a port of 0 is any that is free.

    Raises
    ------
    ValueError
        It is taken, or isn't this machine's.

    Examples
    --------
    >>> from headrace.gateway.serving import bound
    >>> with bound("127.0.0.1", 0) as held:
    ...     held.getsockname()[1] > 0
    True
    """
    # With the protocol named, asyncio sends at once what it has; else each answer waits 40 ms for an acknowledgement.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise ValueError(f"{host}:{port}: {error.strerror}; --host and --port give another address") from error
    return held


def app_of(settings: Settings) -> Starlette:
    """Load the router, and make the app that serves it.

    Raises
    ------
    ArtefactError, OSError
        The router's file can't be read.
    ValueError
        Settings that don't fit it, or that would let in everybody.
    """
    key = settings.key()
    quiet()
    return make_app(
        settings.runner(),
        key=key,
        artefact=settings.router,
        max_body_bytes=settings.max_body_bytes,
        deadline_s=settings.deadline_s,
        stream_mode=settings.stream,
        budget_by=settings.budgets.get("by"),
    )


def app_from_environment() -> Starlette:
    """Make the app of the files that `SETTINGS_VARIABLE` and `ROUTER_VARIABLE` name.

    Several processes can: ``uvicorn --factory headrace.gateway.serving:app_from_environment --workers 4``. Each has
    breakers and numbers of its own; the decision log is one.

    Raises
    ------
    ValueError
        The variable isn't set; otherwise as `app_of`.
    """
    return app_of(settings_from_environment())
