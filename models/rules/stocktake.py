"""盘点: paper that was counted against the book. Pure: standard library alone.

Every counted serial goes to exactly one pile, and so does every form that should be on hand, so the
counts add up: counted = matched + in use + final + found + unexpected; expected = matched + missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from models.rules.language import Text
from models.rules.states import FINAL_FORM_STATES, FormState

PILES: Final = {
    "matched": Text("相符", "matched"),
    "missing": Text("账有实无", "missing"),
    "in_use": Text("在办(已预占或已提交)", "in use (reserved or submitted)"),
    "final_here": Text("已核销/作废但纸还在", "final, but the paper is here"),
    "found": Text("曾报遗失、现已找到", "reported lost, found"),
    "unexpected": Text("账外", "unexpected"),
}


@dataclass(frozen=True, slots=True)
class BookedForm:
    """A form as the book has it."""

    serial: str
    form_type: str
    state: FormState
    lost: bool


@dataclass(slots=True)
class Stocktake:
    """The piles, as serials; `repeated` were counted more than once and stand in their pile once."""

    counted: int = 0
    expected: int = 0
    repeated: list[str] = field(default_factory=list)
    piles: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in PILES})

    @property
    def adds_up(self) -> bool:
        """Whether every serial is in exactly one pile."""
        sizes = {name: len(serials) for name, serials in self.piles.items()}
        here = sum(sizes.values()) - sizes["missing"]
        return here == self.counted and sizes["matched"] + sizes["missing"] == self.expected


def sort_out(counted: Iterable[str], book: Iterable[BookedForm]) -> Stocktake:
    """Put every counted serial, and every form that should be on hand, on its pile.

    `book` are the forms of the stocks that were counted, each serial once.
    """
    result = Stocktake()
    seen: set[str] = set()
    for serial in counted:
        if serial in seen:
            result.repeated.append(serial)
        seen.add(serial)
    result.counted = len(seen)
    for form in book:
        here = form.serial in seen
        seen.discard(form.serial)
        on_hand = form.state is FormState.ISSUED and not form.lost
        result.expected += on_hand
        if on_hand:
            result.piles["matched" if here else "missing"].append(form.serial)
        elif here:
            result.piles[_pile(form)].append(form.serial)
    result.piles["unexpected"] = sorted(seen)
    return result


def _pile(form: BookedForm) -> str:
    if form.state in FINAL_FORM_STATES:
        return "final_here"
    return "found" if form.lost else "in_use"
