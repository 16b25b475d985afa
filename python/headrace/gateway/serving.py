"""From settings to an app: what ``headrace serve`` runs, and what ``uvicorn --factory`` can."""

from __future__ import annotations

from starlette.applications import Starlette

from headrace.gateway.app import make_app
from headrace.gateway.settings import ROUTER_VARIABLE, SETTINGS_VARIABLE, Settings, settings_from_environment

__all__ = ["ROUTER_VARIABLE", "SETTINGS_VARIABLE", "app_from_environment", "app_of"]


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
