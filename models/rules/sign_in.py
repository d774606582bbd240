"""Passwords, pauses after wrong ones, and how long a sign-in lasts. Pure.

NIST SP 800-63B is followed where it speaks: length and guessability instead of character classes, no change at
intervals, a limit on wrong tries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

PASSWORD_SHORTEST: Final = 10
"""Characters."""

PASSWORD_LONGEST: Final = 128
"""Characters; what is longer costs the server and adds nothing."""

GUESSES_LOG10: Final = 8.0
"""A password that a knowing guesser finds within 10^8 tries is refused (zxcvbn: "somewhat guessable")."""

ONE_TIME_HOURS: Final = 72
"""A one-time password is good for so long: over a weekend, no longer."""

SHOWN_TO_ALL: Final = timedelta(hours=72)
"""For so long everybody is shown that somebody's password was given anew by another."""


class Counted(StrEnum):
    """By what wrong tries are counted."""

    LOGIN = "login"
    ADDRESS = "address"


FREE_TRIES: Final[Mapping[Counted, int]] = {Counted.LOGIN: 4, Counted.ADDRESS: 20}
"""Wrong tries without a pause; a whole office comes from one address."""

LONGEST_PAUSE: Final = timedelta(minutes=5)
"""Whoever tries wrong passwords for somebody's login keeps them out no longer than this."""

FORGOTTEN_AFTER: Final = timedelta(hours=24)
"""Wrong tries that were followed by none for so long count no more."""

DECAY: Final = timedelta(minutes=10)
"""An address is forgiven one wrong try for each: an office mistypes every day, a guesser is quicker."""


def pause_after(wrong: int, counted: Counted) -> timedelta:
    """How long nobody may try again after so many wrong tries: none, then 1 s, doubled each time."""
    beyond = wrong - FREE_TRIES[counted]
    if beyond <= 0:
        return timedelta()
    return min(timedelta(seconds=2 ** min(beyond - 1, 20)), LONGEST_PAUSE)


@dataclass(frozen=True, slots=True)
class Lasting:
    """How long a sign-in lasts: `idle` without a person doing something, `longest` in all."""

    idle: timedelta
    longest: timedelta

    def lives(self, begun: datetime, seen: datetime, now: datetime) -> bool:
        """Whether a sign-in of that age is one still."""
        return now < seen + self.idle and now < begun + self.longest
