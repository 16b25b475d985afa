"""Whose budget a request is on: ``[budgets]`` of serve.toml."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headrace.runner import Accounts

__all__ = ["ANONYMOUS", "account_of", "accounts_of", "checked_budgets"]

#: The account of all requests that don't say whose they are.
ANONYMOUS = "anonymous"

#: What comes before a header's name.
HEADER = "header:"


def checked_budgets(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Check the table; the path in it is relative to the file's folder.

    Raises
    ------
    ValueError
        No path, no limit, or budgets by something else.
    """
    for name in ("path", "limit"):
        if name not in table:
            raise ValueError(f"budgets.{name}: expected one")
    by = table.get("by", "key")
    if by not in ("key", "user") and not (isinstance(by, str) and by.startswith(HEADER) and len(by) > len(HEADER)):
        raise ValueError(f'budgets.by: expected "key", "user" or "header:<name>", got {by!r}')
    return {**table, "by": by, "path": folder / str(table["path"])}


def accounts_of(budgets: Mapping[str, Any]) -> Accounts | None:
    """Open the accounts; None where there are no budgets.

    Raises
    ------
    ValueError
        Values that don't fit; the message names them.
    """
    if not budgets:
        return None
    try:
        return Accounts(**{name: value for name, value in budgets.items() if name != "by"})
    except (TypeError, ValueError) as error:
        raise ValueError(f"budgets.{error}") from error


def account_of(by: str, headers: Mapping[str, str], options: Mapping[str, Any]) -> str:
    """Give the account of a request.

    Parameters
    ----------
    by : str
        "key", "user" or "header:<name>". Users and headers are what the client says, or a proxy before the gateway:
        who may choose a name has the budget of every name.
    headers : mapping of str to str
        By lower-case name.
    options : mapping of str to value
        OpenAI's fields, "user" among them.

    Returns
    -------
    str
        Of a key, a hash: the file of the accounts holds no key.

    Examples
    --------
    >>> from headrace.gateway.budgets import account_of
    >>> account_of("user", {}, {"user": "user-17"}), account_of("header:X-Team", {"x-team": "red"}, {})
    ('user-17', 'red')
    >>> account_of("key", {"authorization": "Bearer sk-1"}, {}), account_of("key", {}, {})
    ('key-676af48da763fc66', 'anonymous')
    """
    if by == "user":
        return _named(options.get("user"))
    if by.startswith(HEADER):
        return _named(headers.get(by.removeprefix(HEADER).lower()))
    kind, _, given = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        with suppress(ValueError):
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
    key = given.strip()
    return f"key-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}" if key else ANONYMOUS


def _named(name: Any) -> str:
    return name if isinstance(name, str) and name.strip("* ") else ANONYMOUS
