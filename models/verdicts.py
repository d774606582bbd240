"""What a decision of customs means for a form (contract section 3). Pure: standard library alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from models.states import Action


class Verdict(StrEnum):
    """What the product does with one line of a receipt."""

    DECIDED = "decided"
    REFUSED = "refused"
    REFUSED_HOLD = "refused_hold"
    """Refused because of the form: back to issued, held, and a discrepancy for a person."""
    ASK = "ask"
    """Customs says the form is already where we want it: adopt only if for this certificate."""
    WAIT = "wait"
    UNKNOWN = "unknown"


CUSTOMS_FORM_STATE: Final = {"0": "not_issued", "1": "issued", "2": "verified", "3": "voided"}

WANTED_STATE: Final = {Action.VERIFY: "2", Action.VOID: "3"}

_VERDICTS: Final[dict[str, Verdict]] = {
    "0000": Verdict.DECIDED,
    "2101": Verdict.REFUSED_HOLD,
    "2102": Verdict.REFUSED_HOLD,
    "2103": Verdict.REFUSED_HOLD,
    "2104": Verdict.REFUSED,
    "2105": Verdict.REFUSED_HOLD,
    "2106": Verdict.REFUSED,
    "2107": Verdict.REFUSED_HOLD,
    "4001": Verdict.WAIT,
}
"""Refusals that are about the form (2101, 2102, 2103, 2105, 2107) hold it, so that the next page
count does not take the same lowest serial and is refused again; 2104 and 2106 are about the
certificate and leave the form free."""


def verdict(rep_code: str, form_state: str, action: Action) -> Verdict:
    """What to do with one receipt line; a code that is not known is never success."""
    if rep_code == "2102" and form_state == WANTED_STATE[action]:
        return Verdict.ASK
    return _VERDICTS.get(rep_code, Verdict.UNKNOWN)
