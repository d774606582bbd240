"""Callbacks that come at the same moment are written in one transaction, and rung for once.

A commit costs the same for one row as for twenty, and SQLite lets one write at a time: so one
thread writes for all requests. Every request still returns only after the commit that holds its row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread, Timer
from typing import Final

from config.names import Task
from models.rules.errors import DatabaseUnreachable
from tasks.context import Bell
from tasks.receipts.inbox import Arrival

AT_ONCE: Final = 100
"""Callbacks in one transaction at most: a request waits for no more than that."""

GATHER_SECONDS: Final = 0.001
"""How long the writer lets others come when it is not alone; a commit takes about as long."""

RING_SECONDS: Final = 0.1
"""Rings are at least so far apart; the last one is never left out."""


_Asked = tuple[Arrival, Future[bool]]


class Together:
    """`write` stores arrivals in one transaction and gives the keys that were new."""

    def __init__(self, write: Callable[[Sequence[Arrival]], Collection[str]]) -> None:
        self._write = write
        self._waiting: SimpleQueue[_Asked] = SimpleQueue()
        self._starting = Lock()
        self._writer: Thread | None = None

    def store(self, arrival: Arrival) -> bool:
        """Whether it was new; committed when this returns. Raises what writing raised: then it is not."""
        if self._writer is None:  # not before the first request: after any fork
            with self._starting:
                if self._writer is None:
                    self._writer = Thread(target=self._write_on, daemon=True)
                    self._writer.start()
        new: Future[bool] = Future()
        self._waiting.put((arrival, new))
        return new.result()

    def _write_on(self) -> None:
        while True:
            taken = [self._waiting.get()]
            if not self._waiting.empty():
                time.sleep(GATHER_SECONDS)
            while len(taken) < AT_ONCE:
                try:
                    taken.append(self._waiting.get_nowait())
                except Empty:
                    break
            self._write_these(taken)

    def _write_these(self, taken: Sequence[_Asked]) -> None:
        try:
            new = set(self._write([arrival for arrival, _ in taken]))
        except Exception as error:  # noqa: BLE001 - raised again by everyone who waits for it
            if len(taken) == 1 or isinstance(error, DatabaseUnreachable):
                for _, told in taken:
                    told.set_exception(error)
                return
            for one in taken:  # what the database refuses must not cost the others their place
                self._write_these([one])
            return
        for arrival, told in taken:
            told.set_result(arrival.key in new)
            new.discard(arrival.key)  # of two that are the same, one is new


class SeldomBell:
    """Rings at once, then not again for a moment; what was rung for meanwhile is rung for at its end."""

    def __init__(self, ring: Bell, task: Task) -> None:
        self._ring = ring
        self._task = task
        self._lock = Lock()
        self._again = False
        self._quiet = False

    def __call__(self) -> None:
        """Ring now or within `RING_SECONDS`."""
        with self._lock:
            if self._quiet:
                self._again = True
                return
            self._quiet = True
        timer = Timer(RING_SECONDS, self._end)
        timer.daemon = True
        timer.start()  # before ringing: a ring that fails must not silence the later ones
        self._ring(self._task)

    def _end(self) -> None:
        with self._lock:
            self._quiet = False
            again, self._again = self._again, False
        if again:
            self()
