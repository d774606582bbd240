"""With which codes processes and commands end."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes (README, "exit codes"); 65-78 follow sysexits.h."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    PROBLEMS = 3
    UNREADABLE = 65
    UNREACHABLE = 69
    CARD = 77
    CONFIGURATION = 78
