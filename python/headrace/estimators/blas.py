"""One thread for linear algebra, while estimators are fitted or asked.

Their matrices are small. Several BLAS threads then wait for each other longer than they compute, many times longer
where other work shares the cores; and the last bits of a result depend on their number.

threadpoolctl does it.
"""

from __future__ import annotations

import sys
import threading
from contextlib import ContextDecorator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import LibController

__all__ = ["one_blas_thread"]


class _OneThread(ContextDecorator):
    """Limits BLAS to one thread from the first that enters until the last has left, in any order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._before: list[tuple[LibController, int]] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._before = []
                self._limit()
            self._n_inside += 1

    def extend(self) -> None:
        """Limit libraries, too, that were loaded since the first has entered, if somebody is inside."""
        with self._lock:
            if self._n_inside > 0:
                self._limit()

    def _limit(self) -> None:
        limited = {library.filepath for library, _ in self._before}
        for library in _libraries("scipy.linalg" in sys.modules):
            if library.filepath not in limited:
                self._before.append((library, library.num_threads))
                _set(library, 1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                for library, n_threads in self._before:
                    _set(library, n_threads)


@lru_cache(maxsize=2)
def _libraries(scipy_is_loaded: bool) -> tuple[LibController, ...]:
    """Find the BLAS libraries in use; SciPy brings one of its own."""
    from threadpoolctl import ThreadpoolController

    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set(library: LibController, n_threads: int) -> None:
    library.set_num_threads(n_threads)
    # Since 3.8, threadpoolctl heeds one thread only, until it lets go; the last to leave may be another.
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread(force=True)


#: ``with one_blas_thread: ...``, or ``@one_blas_thread`` on a function.
one_blas_thread: _OneThread = _OneThread()
