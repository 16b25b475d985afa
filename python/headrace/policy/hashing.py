"""Hashes of queries' ids: the same query gets the same treatment on every machine, with no shared state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from headrace.arguments import FloatArray, IndexArray

__all__ = ["content_id", "fold_of", "folds_of", "share_of", "shares_of"]

#: Before an id where it is hashed for a fold: another number than the one that mixes rules.
FOLD = "fold of "


def share_of(seed: int, query_id: str, prefix: str = "") -> float:
    """Map a query to a number in [0, 1), the same on every machine and in every process.

    Parameters
    ----------
    seed : int
        Another seed gives an independent number.
    query_id : str
        Id of the query.
    prefix : str, default ""
        Another one gives an independent number, too.

    Returns
    -------
    float
        The first 53 bits of BLAKE2b of ``"seed:"``, the prefix and the id, as a fraction.

    Examples
    --------
    >>> from headrace.policy.hashing import share_of
    >>> share_of(0, "q-17") == share_of(0, "q-17"), 0.0 <= share_of(1, "q-17") < 1.0
    (True, True)
    """
    hashed = _begun(seed, prefix)()
    try:
        hashed.update(query_id.encode())
    except UnicodeEncodeError:  # a surrogate
        hashed.update(_encoded(query_id))
    return (int.from_bytes(hashed.digest(), "big") >> 11) * UNIT


#: Units of 53 bits: a power of two, so that to multiply by it is exact.
UNIT = 2.0**-53


@lru_cache(maxsize=128, typed=True)
def _begun(seed: int, prefix: str) -> Callable[[], hashlib.blake2b]:
    """Hash what stands before an id, and give what copies that: in a third of the time of a new hash."""
    return hashlib.blake2b(_encoded(f"{seed}:{prefix}"), digest_size=8).copy


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def shares_of(seed: int, query_ids: Iterable[str], prefix: str = "") -> FloatArray:
    """Map many queries: ``share_of(seed, query_id, prefix)`` of each.

    Examples
    --------
    >>> from headrace.policy.hashing import share_of, shares_of
    >>> shares_of(0, ["q-17", "q-18"]).tolist() == [share_of(0, "q-17"), share_of(0, "q-18")]
    True
    """
    begun = _begun(seed, prefix)
    digests = []
    for query_id in query_ids:
        hashed = begun()
        hashed.update(_encoded(query_id))
        digests.append(hashed.digest())
    bits = np.frombuffer(b"".join(digests), dtype=">u8") >> np.uint64(11)
    return np.asarray(bits.astype(np.float64) * UNIT)


def folds_of(seed: int, query_ids: Iterable[str], n_folds: int) -> IndexArray:
    """Map many queries to folds; see `fold_of`.

    Examples
    --------
    >>> from headrace.policy.hashing import fold_of, folds_of
    >>> folds_of(0, ["q-17", "q-18"], 3).tolist() == [fold_of(0, "q-17", 3), fold_of(0, "q-18", 3)]
    True
    """
    return (shares_of(seed, query_ids, FOLD) * n_folds).astype(np.intp)


def fold_of(seed: int, query_id: str, n_folds: int) -> int:
    """Map a query to one of the folds' estimators, evenly and the same everywhere.

    Examples
    --------
    >>> from headrace.policy.hashing import fold_of
    >>> sorted({fold_of(0, f"q-{i}", 3) for i in range(50)})
    [0, 1, 2]
    """
    return int(share_of(seed, query_id, FOLD) * n_folds)


def content_id(columns: Mapping[str, Any]) -> str:
    """Give a query without an id one: a hash of its columns, which doesn't show them."""
    text = json.dumps(columns, sort_keys=True, default=_as_json)
    return hashlib.blake2b(_encoded(text), digest_size=16).hexdigest()


def _as_json(value: Any) -> Any:
    """Give what JSON knows of an array; of another object nothing that were the same for an equal one."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"id: expected one for a query that holds a {type(value).__name__}, which no hash can stand for")
