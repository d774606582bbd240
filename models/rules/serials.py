"""Serials of blank forms (流水号) as people write them. Pure: standard library alone.

A serial is text: 6-12 characters of 0-9 A-Z, usually a 2-digit year and 7 digits; leading zeros
count (rule 7 of how-it-works.md). Ranges are inclusive at both ends, as on paper.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from models.rules.numbers import clean

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

_RANGE_MARK: Final = re.compile(
    r"\s*(?:\.{2,3}|[-\u2010-\u2015\u2212\u2500\u2501\u223c\u2192~\u301c至到]{1,3})\s*"
)
"""A hyphen and what input methods and fonts give for one: `—— -- ─ ∼ →`."""

_PLUS: Final = re.compile(r"\s*\+\s*")
_LIST_MARK: Final = re.compile(r"([、,;/\s]+)")
_ORDINAL: Final = re.compile(r"(?:no[.:]\s*)?(.*?)号?", re.IGNORECASE)
"""`No.262001001`, `262001001号`."""

_COUNT_MARKS: Final = "/"
"""Behind a serial, as a blank does, these may begin a count as well as another serial."""

_SHORTEST_TAIL: Final = 2
"""One digit behind a serial may be its tail or a count: `262001041,3`."""

_LOST_ONE_ZERO: Final = 8
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
    (`211013209+4`). Raises `NotSerials`; never pads, cuts or guesses: what may be a tail as well as
    a count is `serial_ambiguous`.
    """
    if isinstance(cell, (int, float)):
        return [_serial_of_number(cell)]
    text = clean(cell)
    if _PLAIN.fullmatch(text):
        return [text]
    if _SCIENTIFIC.fullmatch(text):
        raise NotSerials("serial_digits_lost", text)
    written = _LIST_MARK.split(_PLUS.sub("+", _RANGE_MARK.sub("-", text)))
    serials: list[str] = []
    for mark, piece in zip(["", *written[1::2]], written[::2], strict=True):
        if not piece:
            continue
        serials.extend(_expand(piece, serials[-1] if serials else "", mark, limit))
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
    if not low or not (low.isdecimal() and high.isdecimal()):
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


class StockRanges:
    """Issued ranges, asked whether a serial is in one of them: `serial in ranges`. Memory: the ranges."""

    def __init__(self, ranges: Iterable[tuple[str, str]]) -> None:
        """`ranges`: first and last serial of each, inclusive, of one shape; in any order."""
        by_shape: dict[tuple[int, str], list[tuple[int, int]]] = {}
        for first, last in ranges:
            prefix, low = _split(first)
            high = last[len(prefix) :]
            if last.startswith(prefix) and low.isdecimal() and high.isdecimal():
                by_shape.setdefault((len(first), prefix), []).append((int(low), int(high)))
        self._runs: dict[tuple[int, str], tuple[list[int], list[int]]] = {}
        for shape, runs in by_shape.items():
            self._runs[shape] = _joined(sorted(runs))
        self._prefixes = sorted({(length, len(prefix)) for length, prefix in by_shape})

    def __contains__(self, serial: str) -> bool:
        for length, cut in self._prefixes:
            if len(serial) != length or not (digits := serial[cut:]).isdecimal():
                continue
            runs = self._runs.get((length, serial[:cut]))
            if runs is not None:
                number = int(digits)
                at = bisect_right(runs[0], number) - 1
                if at >= 0 and number <= runs[1][at]:
                    return True
        return False


def _joined(runs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Runs in ascending order as starts and ends, those that touch made one."""
    starts: list[int] = []
    ends: list[int] = []
    for low, high in runs:
        if ends and low <= ends[-1] + 1:
            ends[-1] = max(ends[-1], high)
        else:
            starts.append(low)
            ends.append(high)
    return starts, ends


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
    if len(digits) == _LOST_ONE_ZERO:
        raise NotSerials("serial_leading_zero", digits, suggestion=digits.zfill(USUAL_LENGTH))
    if len(digits) < USUAL_LENGTH:  # a count, a cached 0, or a number whose beginning is a format
        raise NotSerials("serial_shortened", digits)
    return _checked(digits)


def _expand(piece: str, previous: str, mark: str, limit: int) -> list[str]:
    match = _ORDINAL.fullmatch(piece)
    piece = match[1] if match else piece
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
        end = _tail(last, first)
        if end != last.upper() and end < first:  # …098-01: up to …101, or reversed?
            raise NotSerials("range_reversed", piece)
        return serials_between(first, end, limit)
    serial = _tail(piece, previous)
    if previous and serial != piece.upper() and _may_count(piece, serial, previous, mark):
        raise NotSerials("serial_ambiguous", f"{previous}{mark}{piece}")
    return [serial]


def _may_count(tail: str, serial: str, previous: str, mark: str) -> bool:
    """Whether a short piece of a list may be meant as how many rather than as the end of a serial."""
    alone = mark.isspace() or mark.strip() in _COUNT_MARKS
    short = len(tail) < _SHORTEST_TAIL or (alone and len(tail) <= _SHORTEST_TAIL)
    return short or serial <= previous


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
