"""What a decision of customs means for a form (contract section 3). Pure: standard library alone."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from models.rules.language import Text
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


class Said(StrEnum):
    """What customs says of one form in a receipt, by whatever code of whatever wire (`customs.wire`)."""

    DONE = "done"
    FORM_AT_FAULT = "form_at_fault"
    STATE_DIFFERS = "state_differs"
    """The form is in another state than the order needs: the state tells."""
    CERTIFICATE_AT_FAULT = "certificate_at_fault"
    """The form is free again."""
    WITH_A_PERSON = "with_a_person"
    UNKNOWN = "unknown"


class CustomsState(StrEnum):
    """A form at customs. Stored so since the first release, when they were the codes of bcm-1."""

    NOT_ISSUED = "0"
    ISSUED = "1"
    VERIFIED = "2"
    VOIDED = "3"


CUSTOMS_STATE_WORDS: Final = {
    CustomsState.NOT_ISSUED: Text("未领用", "not issued"),
    CustomsState.ISSUED: Text("已领用", "issued"),
    CustomsState.VERIFIED: Text("已核销", "verified"),
    CustomsState.VOIDED: Text("已作废", "voided"),
}

WANTED_STATE: Final = {
    Action.VERIFY: CustomsState.VERIFIED,
    Action.VOID: CustomsState.VOIDED,
}

_VERDICTS: Final[dict[Said, Verdict]] = {
    Said.DONE: Verdict.DECIDED,
    Said.FORM_AT_FAULT: Verdict.REFUSED_HOLD,
    Said.STATE_DIFFERS: Verdict.REFUSED_HOLD,
    Said.CERTIFICATE_AT_FAULT: Verdict.REFUSED,
    Said.WITH_A_PERSON: Verdict.WAIT,
    Said.UNKNOWN: Verdict.UNKNOWN,
}
"""What is about the form holds it, so that the next page count does not take the same lowest serial and
is refused again."""


def verdict(said: Said, there: CustomsState, action: Action) -> Verdict:
    """What to do with one line of a receipt; what is not understood is never success."""
    if said is Said.STATE_DIFFERS and there is WANTED_STATE[action]:
        return Verdict.ASK
    return _VERDICTS[said]


def contradicts(decision: Verdict, item: ItemState, before: Said) -> bool:
    """Whether a line says otherwise than what the item has come to; `before`: what a refused one was for.

    An item that was given back was never decided: whatever customs says of it now comes too late. One
    that waits can be contradicted by nothing.
    """
    match item:
        case ItemState.UNDER_WAY:
            return False
        case ItemState.DECIDED:
            return decision in {Verdict.REFUSED, Verdict.REFUSED_HOLD}
        case ItemState.REFUSED:
            if decision is Verdict.REFUSED_HOLD:
                return _VERDICTS[before] is Verdict.REFUSED
            return decision in {Verdict.DECIDED, Verdict.ASK}
    return True
