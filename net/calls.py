"""Calls over HTTP at the same time, for a caller without an event loop of its own.

One event loop in a thread keeps the connections. A call is known by the caller's own token, so an
answer of an earlier run is never taken for one of a later run.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

GATHER_SECONDS: Final = 0.15
"""How long answers are gathered: recording a hundred together costs little more than one."""

T = TypeVar("T")
Outcome = TypeVar("Outcome")


class Calls(Generic[Outcome]):
    """The loop, its thread, and what has ended. Make it in the process that uses it, after any fork."""

    def __init__(self, of_error: Callable[[BaseException], Outcome]) -> None:
        self._of_error = of_error
        self._ended: SimpleQueue[tuple[Hashable, Outcome]] = SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, token: Hashable, call: Coroutine[Any, Any, Outcome]) -> None:
        """Begin a call; it ends in `completed`, an unforeseen exception as `of_error` says."""

        def ended(future: Future[Outcome]) -> None:
            error = future.exception()
            self._ended.put((token, self._of_error(error) if error else future.result()))

        asyncio.run_coroutine_threadsafe(call, self._loop).add_done_callback(ended)

    def completed(self, most: int, wait: float | None = None) -> list[tuple[Hashable, Outcome]]:
        """Calls that have ended, at least one unless `wait` seconds pass before.

        Gathers for a moment, so that the caller records many at once, but not once `most` ended.
        """
        try:
            ended = [self._ended.get(timeout=wait)]
        except Empty:
            return []
        end = time.monotonic() + GATHER_SECONDS
        while len(ended) < most and (left := end - time.monotonic()) > 0:
            try:
                ended.append(self._ended.get(timeout=left))
            except Empty:
                break
        return ended

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run one call to its end; its exception is the caller's."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
