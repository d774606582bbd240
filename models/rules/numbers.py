"""Certificate numbers, organisation codes and enterprise codes. Pure: standard library alone.

Sources: rule 7 of how-it-works.md; GB 32100 (USCC, mod 31), GB 11714 (organisation code, mod 11).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final


class _Visible(dict[int, int | None]):
    """For `str.translate`: nothing for marks that no person sees, each looked up once."""

    def __missing__(self, point: int) -> int | None:
        character = chr(point)
        hidden = unicodedata.category(character) == "Cf" or character in _FILLERS_OF_WIDTH
        found = self[point] = None if hidden else point
        return found


_FILLERS_OF_WIDTH: Final = frozenset("\u3164\u115f\u1160\uffa0") | {
    chr(point) for point in range(0xFE00, 0xFE10)
}
"""Hangul fillers and variation selectors: not format characters by name, and as invisible."""

_VISIBLE: Final = _Visible()
_AS_TEXT: Final = re.compile(r'="([^"]*)"')
_CERTIFICATE_SHAPE: Final = re.compile(r"([A-Z]{1,2})([0-9]{2})([0-9A-Z]{9})([0-9]{4})")
_OLD_CERTIFICATE: Final = re.compile(r"[A-Z]{2,6}[0-9A-Z]*/[0-9]+")
_USCC_CHARACTERS: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_ENTERPRISE: Final = re.compile(r"[0-9A-Z]{18}")


def clean(text: str) -> str:
    """Text as a person meant it: full-width characters, odd blanks and invisible marks undone.

    So is what forces a spreadsheet program to take a value as text: `="062001001"`, `'062001001`.
    """
    if text.isascii():  # nothing else of that is ASCII; most cells are
        text = text.strip()
    else:
        text = unicodedata.normalize("NFKC", text.translate(_VISIBLE)).strip()
    if text[:1] in {"=", "'"}:
        forced = _AS_TEXT.fullmatch(text)
        return forced[1].strip() if forced else text.removeprefix("'")
    return text


@dataclass(frozen=True, slots=True)
class CertificateNumber:
    """Type letters + 2-digit year + 9-character organisation code + 4 digits."""

    type: str
    year: str
    organisation: str
    sequence: str

    def __str__(self) -> str:
        return f"{self.type}{self.year}{self.organisation}{self.sequence}"


class NotACertificateNumber(ValueError):
    """The text is no certificate number; `code` says why, as a problem code."""

    def __init__(self, code: str, old_style: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.old_style = old_style


def parse_certificate_number(text: str) -> CertificateNumber:
    """Read a certificate number; case and blanks inside do not matter.

    Raises `NotACertificateNumber` with `certificate_malformed` or `certificate_check_character`.
    """
    match = _CERTIFICATE_SHAPE.fullmatch(text)  # most are written as they should be
    if match is None:
        compact = re.sub(r"\s", "", clean(text)).upper()
        match = _CERTIFICATE_SHAPE.fullmatch(compact)
    if match is None:
        old = _OLD_CERTIFICATE.fullmatch(compact) is not None
        raise NotACertificateNumber("certificate_malformed", old_style=old)
    number = CertificateNumber(*match.groups())
    if organisation_check_character(number.organisation[:8]) != number.organisation[8]:
        raise NotACertificateNumber("certificate_check_character")
    return number


@lru_cache(maxsize=4096)
def organisation_check_character(first_eight: str) -> str:
    """GB 11714: weights 3 7 9 10 5 8 4 2, letters count from A = 10; 10 is written X, 11 is 0."""
    weights = (3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(c, 36) * w for c, w in zip(first_eight, weights, strict=True))
    rest = 11 - total % 11
    return {10: "X", 11: "0"}.get(rest, str(rest))


def uscc_check_character(first_seventeen: str) -> str:
    """GB 32100: weights are powers of 3, modulo 31, over a set without I O S V Z."""
    total = sum(_USCC_CHARACTERS.index(c) * pow(3, i, 31) for i, c in enumerate(first_seventeen))
    return _USCC_CHARACTERS[(31 - total % 31) % 31]


def is_enterprise_code(text: str) -> bool:
    """Whether the text is a unified social credit code with a right check character."""
    if _ENTERPRISE.fullmatch(text) is None:
        return False
    if any(c not in _USCC_CHARACTERS for c in text):
        return False
    return uscc_check_character(text[:17]) == text[17]
