"""Cursors: where the next page begins, opaque to who holds one."""

from __future__ import annotations

import base64
import binascii
from datetime import date

from console.api.problems import CursorUnknown

_NUMBER_LENGTH = 18


def pack(place: object) -> str | None:
    """The cursor of a place; None for none: this was the last page."""
    if place in {None, ""}:
        return None
    return base64.urlsafe_b64encode(str(place).encode()).decode().rstrip("=")


def unpack(cursor: str) -> str:
    """The place of a cursor; "" for none. Raises `CursorUnknown`."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        place = base64.b64decode(padded.encode("ascii"), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise CursorUnknown(cursor=cursor) from None
    if not place.isprintable():
        raise CursorUnknown(cursor=cursor)
    return place


def unpack_number(cursor: str) -> int | None:
    """The same where places are numbers; None for none."""
    place = unpack(cursor)
    return number_of(place, cursor) if place else None


def number_of(place: str, cursor: str) -> int:
    """The number that a place, or a part of one, is. Raises `CursorUnknown`."""
    if not (place.isascii() and place.isdecimal() and len(place) <= _NUMBER_LENGTH):
        raise CursorUnknown(cursor=cursor)
    return int(place)


def unpack_day(cursor: str) -> date | None:
    """The same where places are days; None for none."""
    place = unpack(cursor)
    try:
        return date.fromisoformat(place) if place else None
    except ValueError:
        raise CursorUnknown(cursor=cursor) from None
