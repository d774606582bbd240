"""Where a form stands in the book: its state, and for an issued one whether it may be taken. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from models.rules.language import Text
from models.rules.states import FormState, text_of


class Standing(StrEnum):
    """Where a form stands in the book; every form is in exactly one."""

    ON_HAND = "on_hand"
    HELD = "held"
    LOST = "lost"
    RESERVED = "reserved"
    VERIFY_SUBMITTED = "verify_submitted"
    VOID_SUBMITTED = "void_submitted"
    VERIFIED = "verified"
    VOIDED = "voided"


STANDING_WORDS: Final[dict[Standing, Text]] = {
    Standing.ON_HAND: Text("可用", "on hand"),
    Standing.HELD: Text("停用", "held"),
    Standing.LOST: Text("遗失", "lost"),
    **{s: text_of(FormState(s.value)) for s in list(Standing)[3:]},
}


def standing_of(state: FormState, *, hold: bool, lost: bool) -> Standing:
    """The standing of a form in this state, held or not, lost or not."""
    if state is not FormState.ISSUED:
        return Standing(state.value)
    if lost:
        return Standing.LOST
    return Standing.HELD if hold else Standing.ON_HAND


def state_of(standing: Standing) -> FormState:
    """The state that forms of this standing are in."""
    issued = standing in {Standing.ON_HAND, Standing.HELD, Standing.LOST}
    return FormState.ISSUED if issued else FormState(standing.value)
