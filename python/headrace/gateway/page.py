"""The gateway's page: one file, which asks for nothing but the state."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["page"]


@cache
def page() -> str:
    """Give the HTML.

    Examples
    --------
    >>> from headrace.gateway.page import page
    >>> page().startswith("<!doctype html>"), "https://" in page()
    (True, False)
    """
    return files("headrace.gateway").joinpath("page.html").read_text(encoding="utf-8")
