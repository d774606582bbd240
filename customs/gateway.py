"""The port to customs: what can be asked, and every way it can end.

Failures are classified once, at the transport's edge, into what the caller must do:
`Taken`, `Refused`, `NotTaken` (certainly not there: due again), `InDoubt` (ask before anything
else), `Conflict` (our number with other bytes: a person). What is not clear is `InDoubt`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol

from models.rules.states import Action, LineReason
from models.rules.verdicts import CustomsState

LONGEST_PAUSE: Final = timedelta(hours=1)
"""The most that customs' Retry-After is heeded, so no step waits longer; then it is asked again."""


@dataclass(frozen=True, slots=True)
class MessageLine:
    """One form of a message."""

    g_no: int
    serial: str
    form_type: str


@dataclass(frozen=True, slots=True)
class Message:
    """What a message to customs says (contract section 1), independent of how it is written."""

    number: str
    guid: str
    sender: str
    action: Action
    certificate: str
    certificate_type: str
    exporter: str
    agent: str
    stock_owner: str
    reason_code: str | None
    reason_text: str | None
    made_at: datetime
    lines: Sequence[MessageLine]


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """The bytes that are sent, and resent if ever; `sha256` is lower-case hex over them."""

    number: str
    payload: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Taken:
    """Customs has it. Not a decision; `decided` when customs says, asked, that it has made one."""

    seq_no: str
    decided: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Customs refused the whole message; nothing was taken."""

    code: str
    text: str
    of_card: bool = False
    """For the card or its signature: the next message would be refused too."""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Certainly not at customs. `close_seconds`: send nothing at all before that has passed, for `why`.

    `begun` False: no try was made, so nothing failed, and the wait does not grow.
    """

    detail: str
    close_seconds: float | None = None
    begun: bool = True
    why: LineReason = LineReason.BUSY


def closes_line(outcome: object) -> bool:
    """Whether an answer says that nothing else should leave now."""
    match outcome:
        case Refused(of_card=of_card):
            return of_card
        case NotTaken(close_seconds=seconds):
            return bool(seconds)
    return False


@dataclass(frozen=True, slots=True)
class InDoubt:
    """It may or may not be at customs."""

    detail: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Customs took other bytes under our number."""

    detail: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """Customs has no such number; conclusive only after the settle time (contract section 2)."""


SendOutcome = Taken | Refused | NotTaken | InDoubt | Conflict
AskOutcome = Taken | NotFound | InDoubt | Conflict


@dataclass(frozen=True, slots=True)
class RawReceipt:
    """A receipt as polled: its id and its bytes."""

    receipt_id: str
    xml: bytes


@dataclass(frozen=True, slots=True)
class ReceiptPage:
    """Some receipts, oldest first, and where to go on."""

    receipts: Sequence[RawReceipt]
    next: str


@dataclass(frozen=True, slots=True)
class CustomsForm:
    """A form as customs lists it. A state that the wire does not know is text: `customs.records` sets it aside."""

    serial: str
    form_type: str
    state: CustomsState
    certificate: str | None
    issued_on: date | None
    updated_at: str | None = None
    """When customs changed it last, RFC 3339 as it came."""


@dataclass(frozen=True, slots=True)
class CustomsCertificate:
    """A certificate as customs lists it."""

    number: str
    type: str
    exporter: str
    agent: str
    approved_on: date | None
    pages: int | None
    status: str


class CustomsGateway(Protocol):
    """The line to customs. `start_*` return at once; `completed` gives what has ended.

    Each started call is known by the caller's own token, so that an answer to a call of an earlier
    run is never taken for the answer to a later one.
    """

    def closings(self) -> int:
        """How often an answer has closed the line: taken before a claim, handed to `start_send`."""

    def start_send(
        self,
        token: Hashable,
        message: SignedMessage,
        start_before: float,
        closings: int | None = None,
    ) -> None:
        """Send once. Not begun by `start_before` (`net.clock.elapsed`, seconds): `NotTaken`.

        Neither is what has not begun when an answer closes the line (`closes_line`) since `closings`
        was taken, None meaning now.
        """

    def start_ask(self, token: Hashable, number: str, sha256: str | None) -> None:
        """Ask what became of the number; `sha256` tells whether it is our bytes that are there.

        None: the bytes are forgotten, and whatever customs has under the number is meant.
        """

    def completed(
        self, most: int, wait: float | None = None
    ) -> list[tuple[Hashable, SendOutcome | AskOutcome]]:
        """Wait for calls to end; give (token, outcome) of those that have, at least one unless `wait`
        seconds pass before.

        Gathers for a moment, so that the caller records many at once, but not once `most` ended.
        """

    def receipts(self, after: str, limit: int) -> ReceiptPage:
        """Receipts after a cursor. Raises `GatewayUnreachable`."""

    def forms(
        self, holder: str, after: str, limit: int
    ) -> tuple[Sequence[CustomsForm], str | None]:
        """Forms issued to a holder, ascending, and the next `after`. Raises `GatewayUnreachable`."""

    def certificates(
        self, enterprise: str, after: str, limit: int
    ) -> tuple[Sequence[CustomsCertificate], str | None]:
        """Certificates of an enterprise, and the next `after`. Raises `GatewayUnreachable`."""

    def close(self) -> None:
        """Give back the connections."""
