"""Errors that callers tell apart; all of them are ValueErrors."""

from __future__ import annotations

__all__ = ["AccountEmpty", "ArtefactError", "CapTooSmall", "MissingColumn", "NoModelLeft", "UnknownColumn"]


class UnknownColumn(ValueError):  # noqa: N818  # what it is, as callers name it
    """A query or a response has a column that the fit did not have.

    Parameters
    ----------
    message : str
    column : str
    """

    def __init__(self, message: str, *, column: str) -> None:
        super().__init__(message)
        self.column = column


class MissingColumn(ValueError):  # noqa: N818
    """A query lacks a column that the fit had.

    Parameters
    ----------
    message : str
    column : str
    """

    def __init__(self, message: str, *, column: str) -> None:
        super().__init__(message)
        self.column = column


class NoModelLeft(ValueError):  # noqa: N818
    """No model may run any more, and none has given an answer."""


class CapTooSmall(ValueError):  # noqa: N818
    """A cap on a cost is below what the cheapest model that may run is expected to take.

    Parameters
    ----------
    message : str
    needed : float
        The least cap that would do.
    """

    def __init__(self, message: str, *, needed: float) -> None:
        super().__init__(message)
        self.needed = needed


class AccountEmpty(ValueError):  # noqa: N818
    """What is left of an account doesn't cover a call.

    Parameters
    ----------
    message : str
    account : str
    left : float
        What is neither spent nor reserved; below 0 after a call that cost more than its bound.
    limit : float
    resets_at : float or None
        When the account is filled again, in seconds since 1970; None = never.
    """

    def __init__(self, message: str, *, account: str, left: float, limit: float, resets_at: float | None) -> None:
        super().__init__(message)
        self.account: str = account
        self.left: float = left
        self.limit: float = limit
        self.resets_at: float | None = resets_at


class ArtefactError(ValueError):
    """A file isn't a router that can be read here.

    Parameters
    ----------
    message : str
    kind : {"corrupt", "newer", "tampered", "unsupported"}
        Damaged; written by a later version; changed since it was written; or it holds what can't be kept in a file.
    """

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind
