"""Cells that a person lets be read otherwise than they were written, by a suggestion of the check. Pure.

Nothing is guessed: a suggestion is only taken where it stands for all that the cell says, it is read by the same rules
as if it had been written so, and the plan says which cells they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from models.rules.numbers import clean
from models.rules.problems import Problem, column_letters
from sheets.words import as_text

_CELL: Final = re.compile(r"([A-Z]{1,3})([1-9][0-9]{0,6})")


TAKEABLE: Final = frozenset({"serial_leading_zero", "serial_malformed", "range_reversed"})
"""Misspellings of serials. What else has a suggestion is a question that a person answers in the sheet: 已核销 may be
history.
"""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a cell says, and what it is to be read as."""

    cell: str
    was: str
    now: str

    def document(self) -> dict[str, str]:
        """For programs, and as it is kept."""
        return {"cell": self.cell, "was": self.was, "now": self.now}


def place_of(cell: str) -> tuple[int, int] | None:
    """Row number and column index of a cell's name; None for what is none. `C12` is (12, 2)."""
    match = _CELL.fullmatch(cell)
    if match is None:
        return None
    column = 0
    for letter in match[1]:
        column = 26 * column + ord(letter) - ord("A") + 1
    return int(match[2]), column - 1


def suggested(cells: Sequence[str], problems: Iterable[Problem]) -> Iterator[Correction]:
    """The suggestions of a row that stand for whole cells: `cells` as texts, in the order of the columns."""
    for problem in problems:
        place = place_of(problem.cell)
        if problem.text_key not in TAKEABLE:
            continue
        if not problem.suggestion or place is None or place[1] >= len(cells):
            continue
        written = cells[place[1]]
        if clean(written).upper() == str(problem.values.get("value", "")).upper():
            yield Correction(problem.cell, written, problem.suggestion)


def by_row(corrections: Mapping[str, str]) -> dict[int, dict[int, str]]:
    """Texts by row number and column index."""
    found: dict[int, dict[int, str]] = {}
    for cell, text in corrections.items():
        place = place_of(cell)
        if place is not None:
            found.setdefault(place[0], {})[place[1]] = text
    return found


def corrected(
    number: int, cells: Sequence[Any], texts: Mapping[int, str]
) -> tuple[list[Any], list[Correction]]:
    """The cells of a row with these texts in their places, and what was changed."""
    changed = [
        Correction(f"{column_letters(i)}{number}", "" if c is None else as_text(c), texts[i])
        for i, c in enumerate(cells)
        if i in texts
    ]
    return [texts.get(i, c) for i, c in enumerate(cells)], changed
