"""A clock that goes on while the machine sleeps: a lease in the database does too."""

from __future__ import annotations

import time
from typing import Final

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux stops its monotonic clock in suspend, and not this one; elsewhere the monotonic one has to do."""


def elapsed() -> float:
    """Seconds since some moment of the past; never runs back."""
    return time.clock_gettime(_CLOCK)
