"""Parts of pages that many look at and that seldom change: kept as they were made until something has changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

KEPT_SECONDS: Final = 30
"""What only time changes (the minutes that are left) is at most so old."""

KEPT_MOST: Final = 128
"""Parts of a process: some 25 kB each, those of a job with a hundred rows."""


@dataclass(frozen=True, slots=True)
class _Part:
    mark: Hashable
    text: str
    made_at: float


@dataclass
class KeptParts:
    """The parts that a process has made, the newest last."""

    _parts: dict[Hashable, _Part] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, name: Hashable, mark: Hashable, make: Callable[[], str]) -> str:
        """The part of this name as it is by this mark, which is another one whenever the part is.

        Read the mark before anything that `make` reads: then a part that is newer than its mark is made once more,
        and none is older.
        """
        known, now = self._parts.get(name), time.monotonic()
        if known is not None and known.mark == mark and now - known.made_at < KEPT_SECONDS:
            return known.text
        text = make()
        with self._lock:
            self._parts.pop(name, None)
            while len(self._parts) >= KEPT_MOST:
                del self._parts[next(iter(self._parts))]
            self._parts[name] = _Part(mark, text, now)
        return text
