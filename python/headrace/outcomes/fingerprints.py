"""Fingerprints of rows: the same content gives the same number, whatever the row is called."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from headrace.outcomes.fields import Fields

__all__ = ["fingerprints", "n_alike", "n_shared"]

#: Content tells rows apart where at least this share of a table's rows have one of their own.
TELLING = 0.5

#: Rows in the same order are the same queries where at least this share of them is alike ...
ALIKE = 0.95

#: ... and more than chance would make alike, by so many standard deviations.
BEYOND_CHANCE = 6.0


def fingerprints(table: Fields) -> npt.NDArray[np.uint64]:
    """Hash each row's queries, qualities and costs, 8 bytes a row; no text can be had from them.

    Examples
    --------
    >>> from headrace import Outcomes
    >>> from headrace.outcomes.fingerprints import fingerprints
    >>> table = Outcomes(models=["a"], quality=[[0], [1]], cost=[[0.5], [0.25]], ids=["p", "q"])
    >>> renamed = Outcomes(models=["a"], quality=[[1], [1]], cost=[[0.25], [0.75]], ids=["r", "s"])
    >>> (fingerprints(table)[[1, 0]] == fingerprints(renamed)).tolist()
    [True, False]
    """
    columns = [table.quality, *table.costs.values()]
    names = sorted(table.queries)
    numbers = [np.asarray(v, dtype=np.float64) for v in columns]
    numbers += [np.asarray(table.queries[n], np.float64) for n in names if table.queries[n].dtype.kind != "O"]
    together = np.hstack([values.reshape(len(table), -1) for values in numbers]) + 0.0
    texts = [table.queries[name] for name in names if table.queries[name].dtype.kind == "O"]
    digests = []
    for row in range(len(table)):
        digest = hashlib.blake2b(together[row].tobytes(), digest_size=8)
        for column in texts:
            digest.update(repr(column[row]).encode("utf-8", "surrogatepass"))
        digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def n_shared(seen: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> int:
    """Count the rows of another table that have been seen.

    Tables of zeros and ones at fixed costs hold few different rows, and equal ones say nothing there: such rows count
    as seen only if nearly all of the table come in the order in which they were seen; see `n_alike`.
    """
    mine, of_mine = np.unique(seen, return_counts=True)
    of_its = np.unique(other, return_counts=True)[1]
    if (of_mine == 1).sum() < TELLING * len(seen) or (of_its == 1).sum() < TELLING * len(other):
        n = min(len(seen), len(other))
        return n_alike(seen[:n], other[:n])
    return int(np.isin(other, mine).sum())


def n_alike(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> int:
    """Count equal rows at equal places; 0 where they are few, or where chance alone might have made them equal.

    Examples
    --------
    >>> import numpy as np
    >>> from headrace.outcomes.fingerprints import n_alike
    >>> rows = np.arange(100, dtype=np.uint64) % 7
    >>> n_alike(rows, rows), n_alike(rows, rows[::-1]), n_alike(rows[:3], rows[:3])
    (100, 0, 0)
    """
    n, same = len(first), int((first == second).sum())
    values, counts = np.unique(first, return_counts=True)
    others, its = np.unique(second, return_counts=True)
    _, here, there = np.intersect1d(values, others, assume_unique=True, return_indices=True)
    chance = float(counts[here] @ its[there]) / max(n, 1) ** 2
    beyond = same - n * chance > BEYOND_CHANCE * np.sqrt(n * chance * (1.0 - chance))
    return same if beyond and same >= ALIKE * n else 0
