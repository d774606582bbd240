"""How soon customs is asked for receipts again: soon while one is awaited, rarely when none is. A rule over values."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

SOONEST: Final = timedelta(seconds=1)
"""Nobody asks more often, whatever is awaited."""

PART_OF_AGE: Final = 10
"""What has waited for a minute may wait for six seconds more: a tenth of its age."""

IDLE_FACTOR: Final = 6
"""When nothing is awaited, so many times the usual: only what customs says by itself may come."""


def longest_wait(usual: timedelta) -> timedelta:
    """The longest that we put off a poll of ourselves; a longer wait is customs' wish."""
    return usual * IDLE_FACTOR


def wait_for_receipts(
    awaited_for: timedelta | None, usual: timedelta, *, called_back: bool
) -> timedelta:
    """How long to wait before the next poll.

    `awaited_for`: how long the youngest message at customs has been there, None when none is. `usual`: the
    most while one is awaited, and what is enough while callbacks bring them (`called_back`).
    """
    if awaited_for is None:
        return longest_wait(usual)
    if called_back:
        return usual
    return min(max(awaited_for / PART_OF_AGE, SOONEST), max(usual, SOONEST))
