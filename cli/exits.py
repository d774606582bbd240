"""The exit code of an error, by its kind."""

from __future__ import annotations

from typing import Final

from config.exits import Exit
from models.rules.errors import BlankformsError, Kind

_EXITS: Final = {
    Kind.WRONG_INPUT: Exit.USAGE,
    Kind.NOT_FOUND: Exit.USAGE,
    Kind.NOT_ALLOWED: Exit.PROBLEMS,
    Kind.CONFLICT: Exit.PROBLEMS,
    Kind.FILE: Exit.UNREADABLE,
    Kind.NOT_NOW: Exit.UNREACHABLE,
    Kind.CARD: Exit.CARD,
    Kind.CONFIGURATION: Exit.CONFIGURATION,
    Kind.FAILURE: Exit.FAILURE,
}


def exit_of(error: BlankformsError | type[BlankformsError]) -> Exit:
    """With which code a command ends that met this error."""
    return _EXITS[error.kind]
