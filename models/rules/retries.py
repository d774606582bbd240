"""How long it is waited before a try that failed is made once more. A rule over numbers."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

RETRY_FIRST: Final = timedelta(seconds=2)
RETRY_MOST: Final = timedelta(minutes=10)


def wait_after(count: int) -> timedelta:
    """Waiting time after try number `count` (from 1): 4 s, then doubling to 10 minutes."""
    return min(RETRY_FIRST * float(1 << min(count, 16)), RETRY_MOST)
