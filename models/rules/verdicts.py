"""What a decision of customs means for a form (contract section 3). Pure: standard library alone."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from models.rules.states import Action, ItemState


class Verdict(StrEnum):
    """What the product does with one line of a receipt."""

    DECIDED = "decided"
    REFUSED = "refused"
    REFUSED_HOLD = "refused_hold"
    """Refused because of the form: back to issued, held, and a discrepancy for a person."""
    ASK = "ask"
    """Customs says the form is already where we want it: adopt only if for this certificate."""
    CONTRADICTION = "contradiction"
    """Says otherwise than what is final, or comes for a message that was given up: customs' list decides."""
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


HOLDING_CODES: Final = frozenset(c for c, v in _VERDICTS.items() if v is Verdict.REFUSED_HOLD)
"""Codes after which the form is on hold."""


def verdict(rep_code: str, form_state: str, action: Action) -> Verdict:
    """What to do with one receipt line; a code that is not known is never success."""
    if rep_code == "2102" and form_state == WANTED_STATE[action]:
        return Verdict.ASK
    return _VERDICTS.get(rep_code, Verdict.UNKNOWN)


def result_fits(result: str, rep_codes: Collection[str]) -> bool:
    """Whether ManageResult says the same as the lines (contract section 3)."""
    match result:
        case "1":
            return all(code == _DONE for code in rep_codes)
        case "2":
            return bool(rep_codes) and not {_DONE, _WITH_A_PERSON} & set(rep_codes)
        case "3":
            return True
        case "4":
            return all(code == _WITH_A_PERSON for code in rep_codes)
    return False


def contradicts(decision: Verdict, item: ItemState, rep_code: str | None) -> bool:
    """Whether a line says otherwise than what the item has come to.

    An item that was given back was never decided: whatever customs says of it now comes too late. One
    that waits can be contradicted by nothing.
    """
    match item:
        case ItemState.HELD:
            return False
        case ItemState.DECIDED:
            return decision in {Verdict.REFUSED, Verdict.REFUSED_HOLD}
        case ItemState.REFUSED:
            if decision is Verdict.REFUSED_HOLD:
                return _VERDICTS.get(rep_code or "") is Verdict.REFUSED
            return decision in {Verdict.DECIDED, Verdict.ASK}
    return True


_DONE: Final = "0000"
_WITH_A_PERSON: Final = "4001"
