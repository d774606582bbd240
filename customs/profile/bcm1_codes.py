"""The codes of wire profile bcm-1 and what they mean (contract section 3)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from models.rules.verdicts import CustomsState, Said

TAKEN: Final = "0000"
DUPLICATE: Final = "2201"
CARD_CODES: Final = frozenset({"1001", "1002", "1004", "2301"})
"""Refusals of the card or its signature: the next message would be refused too."""

DONE: Final = "0000"
WITH_A_PERSON: Final = "4001"

MEANINGS: Final[dict[str, Said]] = {
    DONE: Said.DONE,
    "2101": Said.FORM_AT_FAULT,
    "2102": Said.STATE_DIFFERS,
    "2103": Said.FORM_AT_FAULT,
    "2104": Said.CERTIFICATE_AT_FAULT,
    "2105": Said.FORM_AT_FAULT,
    "2106": Said.CERTIFICATE_AT_FAULT,
    "2107": Said.FORM_AT_FAULT,
    WITH_A_PERSON: Said.WITH_A_PERSON,
}

FORM_STATES: Final[dict[str, CustomsState]] = {
    "0": CustomsState.NOT_ISSUED,
    "1": CustomsState.ISSUED,
    "2": CustomsState.VERIFIED,
    "3": CustomsState.VOIDED,
}


def result_fits(result: str, rep_codes: Collection[str]) -> bool:
    """Whether ManageResult says the same as the lines."""
    match result:
        case "1":
            return all(code == DONE for code in rep_codes)
        case "2":
            return bool(rep_codes) and not {DONE, WITH_A_PERSON} & set(rep_codes)
        case "3":
            return True
        case "4":
            return all(code == WITH_A_PERSON for code in rep_codes)
    return False
