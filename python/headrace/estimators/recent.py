"""A cache of what was found for the run sets that were asked for lately."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Recent"]

Found = TypeVar("Found")


class Recent(Generic[Found]):
    """Keeps values by their keys, up to so many bytes; those that weren't asked for lately are forgotten.

    There are two generations. New values go into the young one. When that holds half of the bytes, it becomes the old
    one, whose values are forgotten, except those that are asked for again, which are young again. So a value is kept
    that is asked for once while half of the bytes come new. Nothing is locked: threads may share it.

    Parameters
    ----------
    most_bytes : int

    Examples
    --------
    >>> from headrace.estimators.recent import Recent
    >>> recent = Recent(4)
    >>> for key in (b"a", b"b", b"a", b"c", b"d"):
    ...     if recent.get(key) is None:
    ...         recent.put(key, key.decode(), 1)
    >>> [recent.get(key) for key in (b"a", b"b", b"c", b"d")]
    ['a', None, 'c', 'd']
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._young: dict[bytes, tuple[Found, int]] = {}
        self._old: dict[bytes, tuple[Found, int]] = {}
        self._n_bytes = 0

    def get(self, key: bytes) -> Found | None:
        """Give what is kept under a key, or None."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None:
                return None
            self.put(key, *found)
        return found[0]

    def put(self, key: bytes, value: Found, n_bytes: int) -> None:
        """Keep a value of so many bytes."""
        if 2 * (self._n_bytes + n_bytes) > self._most_bytes and self._young:
            self._old, self._young, self._n_bytes = self._young, {}, 0
        self._young[key] = value, n_bytes
        self._n_bytes += n_bytes
