"""Wire profile bcm-1: the calls of the contract and what their answers mean (contract sections 2 to 4)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

from customs.gateway import (
    AskOutcome,
    Conflict,
    CustomsCertificate,
    CustomsForm,
    InDoubt,
    Message,
    NotFound,
    NotTaken,
    RawReceipt,
    ReceiptPage,
    Refused,
    SendOutcome,
    SignedMessage,
    Taken,
)
from customs.profile import bcm1_xml
from customs.profile.bcm1_codes import CARD_CODES, DUPLICATE, FORM_STATES, MEANINGS, TAKEN
from customs.signing.signer import Signer
from customs.signing.xmldsig import PROFILES
from customs.wire import Call, NotReadable, OtherEvent, Receipt
from models.rules.states import LineReason
from models.rules.verdicts import Said

MAX_SERIALS: Final = 100
"""Serials in one message (contract section 1)."""

CURSOR_LENGTH: Final = 255
"""Characters of `next` at most (contract section 2)."""

UNAUTHORISED_PAUSE: Final = 60.0
"""Seconds without sending after 401: a wrong token stays wrong until a person changes it."""

_SEQ_NO: Final = re.compile("[0-9]{18}")
"""Customs' own number (contract, bcm1.xsd). Another one is forgotten: receipts tell the right one."""

_ODD: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""JSON that is not what the contract says."""


class Bcm1:
    """`WireProfile` of the contract."""

    most_serials = MAX_SERIALS

    def signed_message(self, message: Message, signer: Signer, signature_profile: str) -> bytes:
        return bcm1_xml.signed_message(message, signer, PROFILES[signature_profile])

    def send_call(self) -> tuple[str, str]:
        return "/messages", "application/xml"

    def send_outcome(
        self, message: SignedMessage, status: int, retry_after: float | None, body: bytes
    ) -> SendOutcome:
        """The table of contract section 2: what an answer to `POST /messages` means."""
        match status:
            case 200 | 409:
                answer = bcm1_xml.parse_answer(body)
                expected = TAKEN if status == 200 else DUPLICATE  # noqa: PLR2004 - its own name
                if answer.deal_flag != expected or answer.number != message.number:
                    return InDoubt(f"{status} {answer.deal_flag} {answer.number}")
                return _taken(answer.seq_no, answer.sha256, message.sha256)
            case 422:
                answer = bcm1_xml.parse_answer(body)
                if answer.deal_flag in {TAKEN, DUPLICATE}:
                    return InDoubt(f"422 {answer.deal_flag}")
                if answer.number not in {None, message.number}:
                    return InDoubt(f"422 {answer.number}")
                of_card = answer.deal_flag in CARD_CODES
                return Refused(answer.deal_flag, answer.text, of_card=of_card)
            case 413:
                return Refused("413", "报文过大")
            case 401:
                return NotTaken(
                    "401 unknown token", close_seconds=UNAUTHORISED_PAUSE, why=LineReason.TOKEN
                )
            case 429 | 503 if retry_after is not None:
                return NotTaken(f"{status}", close_seconds=retry_after)
            case _:
                return InDoubt(f"HTTP {status}")

    def ask_call(self, number: str) -> Call:
        return Call(f"/messages/{number}")

    def ask_outcome(self, number: str, sha256: str | None, status: int, body: bytes) -> AskOutcome:
        match status:
            case 200:
                found = json.loads(body)
                if found["etpsPreentNo"] != number:
                    return InDoubt(f"200 {found['etpsPreentNo']}")
                theirs = str(found["payloadSha256"] or "").strip()
                taken = _taken(str(found["seqNo"]), theirs, theirs if sha256 is None else sha256)
                if isinstance(taken, Taken):
                    return replace(taken, decided=found.get("state") == "decided")
                return taken
            case 404 if json.loads(body).get("error") == "not_found":
                return NotFound()
            case _:
                return InDoubt(f"HTTP {status}")

    def receipts_call(self, after: str, limit: int) -> Call:
        return Call("/receipts", {"after": after, "limit": str(limit)})

    def receipt_page(self, body: bytes, after: str) -> ReceiptPage:
        found = _object(body)
        receipts = [_raw(r) for r in found["receipts"]]
        return ReceiptPage(receipts, _next(found["next"] + "", after, moves=bool(receipts)))

    def forms_call(self, holder: str, after: str, limit: int) -> Call:
        return Call("/forms", {"holder": holder, "after": after, "limit": str(limit)})

    def form_page(self, body: bytes, after: str) -> tuple[Sequence[CustomsForm], str | None]:
        found = _object(body)
        forms = [
            CustomsForm(
                _field(f, "serialNo"),
                _field(f, "formType"),
                _state(_field(f, "state")),
                _field(f, "certNo"),
                _day(_field(f, "issuedOn")),
                _field(f, "updatedAt"),
            )
            for f in _records(found, "forms")
        ]
        return forms, None if found["next"] is None else _next(found["next"], after)

    def certificates_call(self, enterprise: str, after: str, limit: int) -> Call:
        return Call(
            "/certificates", {"enterprise": enterprise, "after": after, "limit": str(limit)}
        )

    def certificate_page(
        self, body: bytes, after: str
    ) -> tuple[Sequence[CustomsCertificate], str | None]:
        found = _object(body)
        certificates = [
            CustomsCertificate(
                _field(c, "certNo"),
                _field(c, "certType"),
                _field(c, "ciqRegNo"),
                _field(c, "aplRegNo"),
                _day(_field(c, "approvedOn")),
                _field(c, "pages"),
                _field(c, "status"),
            )
            for c in _records(found, "certificates")
        ]
        return certificates, None if found["next"] is None else _next(found["next"], after)

    def receipt(self, body: bytes) -> Receipt:
        return bcm1_xml.parse_receipt(body)

    def callback(self, body: bytes) -> RawReceipt | OtherEvent:
        told = json.loads(body)
        if told["type"] != "receipt.created":
            return OtherEvent(ascii(told["type"]))
        data = told["data"]
        if not data["receiptId"].isprintable():
            raise NotReadable("receiptId")
        return RawReceipt(data["receiptId"], data["xml"].encode())

    def meaning(self, code: str) -> Said:
        return MEANINGS.get(code, Said.UNKNOWN)


def _taken(seq_no: str | None, theirs: str | None, ours: str) -> Taken | Conflict | InDoubt:
    """Taken, when it is our bytes that customs has; hashes compare without case (contract section 2)."""
    theirs = (theirs or "").strip()
    if not theirs:
        return InDoubt("no PayloadSha256")
    if theirs.lower() != ours.lower():
        return Conflict(f"customs has {theirs[:12]}…, we sent {ours[:12]}…")
    return Taken(seq_no if seq_no and _SEQ_NO.fullmatch(seq_no) else "")


def _raw(receipt: Any) -> RawReceipt:
    """A receipt as it came. One that is none is kept as text: the inbox judges, and the cursor moves on."""
    try:
        return RawReceipt(receipt["receiptId"] + "", receipt["xml"].encode())
    except _ODD:
        return RawReceipt("", json.dumps(receipt).encode())


def _next(following: str, after: str, *, moves: bool = True) -> str:
    """Where a list goes on (contract section 2). Raises ValueError for what would go round for ever."""
    if len(following) > CURSOR_LENGTH or not (following.isascii() and following.isprintable()):
        raise ValueError("next is no cursor")
    if moves and following == after:
        raise ValueError("next does not move")
    return following


def _object(body: bytes) -> dict[str, Any]:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise NotReadable("no JSON object")
    return found


def _records(found: dict[str, Any], name: str) -> list[Any]:
    records = found[name]
    if not isinstance(records, list):
        raise TypeError(f"{name} is no list")
    return records


def _field(record: Any, name: str) -> Any:
    """A field as it came; a record that is none has none. `customs.records` examines them."""
    return record.get(name) if isinstance(record, dict) else None


def _state(value: Any) -> Any:
    """What a code of a form's state means; one that is none stays as it came."""
    return FORM_STATES.get(value, value) if isinstance(value, str) else value


def _day(value: Any) -> Any:
    """A day; what is none stays as it came."""
    try:
        return date.fromisoformat(value[:10]) if value else None
    except (ValueError, TypeError):
        return value


PROFILE: Final = Bcm1
