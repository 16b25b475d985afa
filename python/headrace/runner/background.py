"""A loop in a thread, for those who call without ``await``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator
from threading import Lock, Thread, current_thread
from typing import Any, TypeVar

__all__ = ["BackgroundLoop"]

T = TypeVar("T")


class BackgroundLoop:
    """Runs coroutines in a thread that is started when the first one comes, and that doesn't keep a program alive.

    Examples
    --------
    >>> import asyncio
    >>> from headrace.runner.background import BackgroundLoop
    >>> loop = BackgroundLoop()
    >>> loop.run(asyncio.sleep(0, result=7))
    7
    >>> loop.close()
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; an interruption from the keyboard cancels it.

        Raises
        ------
        RuntimeError
            It is called within the loop itself, which would wait for ever.
        """
        with self._lock:
            if self._thread is current_thread():
                coroutine.close()
                raise RuntimeError("run: called within the runner's own loop; say `await runner.arun(...)` there")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=self._loop.run_forever, name="headrace-loop", daemon=True)
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, pieces: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Give what an asynchronous generator gives; whoever stops before its end ends it.

        Raises
        ------
        RuntimeError
            As `run`.
        """
        try:
            while (piece := self.run(_next(pieces))) is not None:
                yield piece
        finally:
            self.run(pieces.aclose())

    @property
    def started(self) -> bool:
        """Whether there is a loop."""
        return self._loop is not None

    def close(self) -> None:
        """End the loop, and what runs in it."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _next(pieces: AsyncGenerator[T, None]) -> T | None:
    """Give the next piece; None at the end."""
    return await anext(pieces, None)


async def _end_all() -> None:
    """Cancel every task of this loop but this one."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
