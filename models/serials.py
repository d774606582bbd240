"""Serials of blank forms (流水号) as people write them. Pure: standard library alone.

A serial is text: 6-12 characters of 0-9 A-Z, usually a 2-digit year and 7 digits; leading zeros
count (DESIGN.md section 5). Ranges are inclusive at both ends, as on paper.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from models.numbers import clean

MAX_SERIALS_PER_ROW: Final = 500
"""More than a clerk means in one row: beyond it a range is a typing error (cell_traps.csv)."""

USUAL_LENGTH: Final = 9
"""2-digit year and 7 digits; a shorter *number* has probably lost its leading zeros."""

_EXACT_NUMBER_LIMIT: Final = 10**15
"""Spreadsheet programs keep 15 digits of a number; the rest is already lost in the file."""

_COUNT_DIGITS: Final = 9

_SERIAL: Final = re.compile(r"[0-9A-Z]{6,12}")
_PLAIN: Final = re.compile(r"[0-9]{6,12}")
"""The usual serial, which needs no further look."""

_RANGE_MARK: Final = re.compile(r"\s*(?:\.{2,3}|[-\u2010-\u2015\u2212~\u301c至到])\s*")
_PLUS: Final = re.compile(r"\s*\+\s*")
_LIST_MARK: Final = re.compile(r"[、,;/\s]+")
_SCIENTIFIC: Final = re.compile(r"[0-9](?:\.[0-9]+)?E\+?[0-9]+", re.IGNORECASE)
_DIGITS_TAIL: Final = re.compile(r"([0-9A-Z]*?)([0-9]+)")
_LOOK_ALIKES: Final = str.maketrans("lIiOo|", "111001")


class NotSerials(ValueError):
    """The cell names no serials. `code` is the problem code, `suggestion` what may be meant."""

    def __init__(self, code: str, text: str, suggestion: str = "") -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.suggestion = suggestion


def is_serial(text: str) -> bool:
    """Whether the text is a serial as the wire profile allows it."""
    return _SERIAL.fullmatch(text) is not None


def parse_serials(cell: str | float, limit: int = MAX_SERIALS_PER_ROW) -> list[str]:
    """The serials that a cell names, in the order written, every range expanded.

    Understands one serial, lists, ranges, short tails (`211013201-08`) and counts
    (`211013209+4`). Raises `NotSerials`; never pads, cuts or guesses.
    """
    if isinstance(cell, (int, float)):
        return [_serial_of_number(cell)]
    text = clean(cell)
    if _PLAIN.fullmatch(text):
        return [text]
    if _SCIENTIFIC.fullmatch(text):
        raise NotSerials("serial_digits_lost", text)
    pieces = [p for p in _LIST_MARK.split(_PLUS.sub("+", _RANGE_MARK.sub("-", text))) if p]
    serials: list[str] = []
    for piece in pieces:
        serials.extend(_expand(piece, serials[-1] if serials else "", limit))
        if len(serials) > limit:
            raise NotSerials("range_too_long", text)
    if not serials:
        raise NotSerials("serial_malformed", text)
    return serials


def serials_between(first: str, last: str, limit: int = MAX_SERIALS_PER_ROW) -> list[str]:
    """Every serial from `first` to `last` inclusive.

    Raises `NotSerials`: `serial_malformed` when the two are of different shape, `range_reversed`,
    `range_too_long` beyond `limit`.
    """
    text = f"{first}-{last}"
    if first == last:
        return [first]
    prefix, low = _split(first)
    other_prefix, high = _split(last)
    if len(first) != len(last) or prefix != other_prefix[: len(prefix)]:
        raise NotSerials("serial_malformed", text)
    if other_prefix != prefix:  # the digits of the two tails begin at different places
        width = min(len(low), len(high))
        prefix, low, high = first[:-width], first[-width:], last[-width:]
        if last[:-width] != prefix:
            raise NotSerials("serial_malformed", text)
    if not low:
        raise NotSerials("serial_malformed", text)
    start, end = int(low), int(high)
    if end < start:
        raise NotSerials("range_reversed", text, suggestion=f"{last}-{first}")
    if end - start + 1 > limit:
        raise NotSerials("range_too_long", text)
    return [f"{prefix}{n:0{len(low)}d}" for n in range(start, end + 1)]


def successor(serial: str) -> str:
    """The next serial in sequence, or "" after the last one of this shape."""
    prefix, digits = _split(serial)
    following = str(int(digits) + 1).zfill(len(digits)) if digits else ""
    return prefix + following if len(following) == len(digits) and following else ""


def predecessor(serial: str) -> str:
    """The serial just before, or "" before the first one of this shape."""
    prefix, digits = _split(serial)
    if not digits or int(digits) == 0:
        return ""
    return prefix + str(int(digits) - 1).zfill(len(digits))


def as_ranges(serials: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Runs of consecutive serials as (first, last), in bytewise order."""
    ordered = sorted(serials)
    if not ordered:
        return
    first = ordered[0]
    for serial, following in pairwise([*ordered, ""]):
        if following == "" or successor(serial) != following:
            yield first, serial
            first = following


def show_serials(serials: Iterable[str]) -> str:
    """Serials as a person writes them, shortest form: `211013011, 211013013-211013015`."""
    return ", ".join(a if a == b else f"{a}-{b}" for a, b in as_ranges(serials))


def _serial_of_number(number: float) -> str:
    text = f"{number:.15g}"
    if not abs(number) < _EXACT_NUMBER_LIMIT or number != int(number):
        raise NotSerials("serial_digits_lost", text)
    digits = str(int(number))
    if number < 0:
        raise NotSerials("serial_malformed", digits)
    if len(digits) < USUAL_LENGTH:
        raise NotSerials("serial_leading_zero", digits, suggestion=digits.zfill(USUAL_LENGTH))
    return _checked(digits)


def _expand(piece: str, previous: str, limit: int) -> list[str]:
    if "+" in piece:
        first, _, count = piece.partition("+")
        if not count.isdecimal() or not count.strip("0"):
            raise NotSerials("serial_malformed", piece)
        if len(count) > _COUNT_DIGITS or int(count) > limit:
            raise NotSerials("range_too_long", piece)
        return _count_on(_checked(first), int(count))
    if "-" in piece:
        first, _, last = piece.partition("-")
        first = _checked(first)
        if "-" in last or not last:
            raise NotSerials("serial_malformed", piece)
        return serials_between(first, _tail(last, first), limit)
    return [_tail(piece, previous)]


def _count_on(first: str, count: int) -> list[str]:
    serials = [first]
    for _ in range(count - 1):
        following = successor(serials[-1])
        if not following:
            raise NotSerials("serial_malformed", f"{first}+{count}")
        serials.append(following)
    return serials


def _tail(text: str, full: str) -> str:
    """`08` after `211013201` stands for `211013208`; anything longer stands for itself."""
    short = text.isdecimal() and len(text) < min(len(full), 6)
    return _checked(full[: -len(text)] + text if short else text)


def _checked(text: str) -> str:
    plain = re.sub(r"\.0+$", "", text)
    if _SCIENTIFIC.fullmatch(plain) and not plain.isdecimal():
        raise NotSerials("serial_digits_lost", plain)
    digits = plain.translate(_LOOK_ALIKES)
    if digits != plain and digits.isdecimal() and is_serial(digits):
        raise NotSerials("serial_malformed", plain, suggestion=digits)
    serial = plain.upper()
    if not is_serial(serial):
        raise NotSerials("serial_malformed", plain)
    return serial


def _split(serial: str) -> tuple[str, str]:
    match = _DIGITS_TAIL.fullmatch(serial)
    return (match[1], match[2]) if match else (serial, "")
