"""How often one key's owner may call, so that a program that has run wild leaves room for the others."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from threading import Lock
from typing import Final

from console.api.problems import CalledTooOften
from models.rules.people import Actor

WINDOW_SECONDS: Final = 10


@dataclass
class _Window:
    number: int = 0
    taken: int = 0


class Limits:
    """Calls of each person in windows of ten seconds, as this process counts them; `limit` 0: none."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = Lock()
        self._windows: dict[int | None, _Window] = defaultdict(_Window)

    def take(self, actor: Actor) -> None:
        """Count a call. Raises `CalledTooOften`."""
        if not self.limit:
            return
        number = int(time.monotonic()) // WINDOW_SECONDS
        with self._lock:
            window = self._windows[actor.person_id]
            if window.number != number:
                window.number, window.taken = number, 0
            window.taken += 1
            over = window.taken > self.limit
        if over:
            raise CalledTooOften(limit=self.limit, seconds=WINDOW_SECONDS)

    def headers(self, person_id: int | None) -> dict[str, str]:
        """What is left, as programs are told (RateLimit header fields, draft 11)."""
        if not self.limit:
            return {}
        seconds = int(time.monotonic())
        with self._lock:
            window = self._windows[person_id]
            fresh = window.number != seconds // WINDOW_SECONDS
            taken = 0 if fresh else window.taken
        left, until = max(0, self.limit - taken), WINDOW_SECONDS - seconds % WINDOW_SECONDS
        return {
            "RateLimit-Policy": f'"calls";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"calls";r={left};t={until}',
        }
