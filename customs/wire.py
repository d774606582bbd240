"""The port to the wire: how what the product says is written for customs, and read from it.

A profile (`customs.profile`) gives meanings (`Said`, `CustomsState`) and keeps customs' own codes and texts
beside them, to be shown; nothing else in the product knows a code, an element or a path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from customs.gateway import (
    AskOutcome,
    CustomsCertificate,
    CustomsForm,
    Message,
    RawReceipt,
    ReceiptPage,
    SendOutcome,
    SignedMessage,
)
from customs.signing.signer import Signer
from models.rules.states import Action
from models.rules.verdicts import CustomsState, Said


class NotReadable(ValueError):
    """Bytes from customs that are not what the contract says."""


@dataclass(frozen=True, slots=True)
class ReceiptForm:
    """What a receipt says of one form: its meaning, and code and text as customs wrote them."""

    g_no: int
    serial: str
    said: Said
    code: str
    text: str
    state: CustomsState
    """The form at customs after the decision."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What customs decided, form by form."""

    receipt_id: str
    receiver: str
    """USCC of the enterprise that it is addressed to."""
    number: str
    seq_no: str
    action: Action
    certificate: str
    disagreement: str
    """Where it does not agree with itself, as a person reads it; "" when it does."""
    managed_at: datetime
    forms: Sequence[ReceiptForm]


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """A callback that brings no receipt: kept and acknowledged."""

    type: str


@dataclass(frozen=True, slots=True)
class Call:
    """A question over HTTP: its path and its query."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)


class WireProfile(Protocol):
    """One wire. Whatever reads raises `NotReadable`, or ValueError, KeyError, TypeError, AttributeError
    for what is not as the contract says; nothing here touches a network or a database.
    """

    @property
    def most_serials(self) -> int:
        """Serials in one message at most."""

    def signed_message(self, message: Message, signer: Signer, signature_profile: str) -> bytes:
        """The signed bytes of a message, verified before they are given. Raises `SigningError`."""

    def send_call(self) -> tuple[str, str]:
        """Where a message is posted, and its content type."""

    def send_outcome(
        self, message: SignedMessage, status: int, retry_after: float | None, body: bytes
    ) -> SendOutcome:
        """What an answer to a message means. What is not clear is `InDoubt`."""

    def ask_call(self, number: str) -> Call:
        """How it is asked what became of a number."""

    def ask_outcome(self, number: str, sha256: str | None, status: int, body: bytes) -> AskOutcome:
        """What customs says of a number; `sha256` as in `CustomsGateway.start_ask`."""

    def receipts_call(self, after: str, limit: int) -> Call:
        """How receipts after a cursor are asked for."""

    def receipt_page(self, body: bytes, after: str) -> ReceiptPage:
        """Receipts as they came; what is none is kept as text."""

    def forms_call(self, holder: str, after: str, limit: int) -> Call:
        """How a holder's forms are asked for."""

    def form_page(self, body: bytes, after: str) -> tuple[Sequence[CustomsForm], str | None]:
        """Forms as they came (`customs.records` examines them), and the next `after`."""

    def certificates_call(self, enterprise: str, after: str, limit: int) -> Call:
        """How an enterprise's certificates are asked for."""

    def certificate_page(
        self, body: bytes, after: str
    ) -> tuple[Sequence[CustomsCertificate], str | None]:
        """Certificates as they came (`customs.records` examines them), and the next `after`."""

    def receipt(self, body: bytes) -> Receipt:
        """Read a receipt; whether it agrees with its message is judged elsewhere."""

    def callback(self, body: bytes) -> RawReceipt | OtherEvent:
        """Read what a verified callback brought."""

    def meaning(self, code: str) -> Said:
        """What a code of a receipt means; one that is not known is `Said.UNKNOWN`, never success."""
