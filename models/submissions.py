"""Messages to customs, the register of attempts, and what customs said (the inbox)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    literal_column,
    or_,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, Code, Id, UTCDateTime, When, state_column
from models.states import (
    Action,
    AttemptKind,
    CardState,
    InboxState,
    LineReason,
    SubmissionState,
)

_LEAVES = "state IN ('prepared', 'signed')"
_TAKEN = "state = 'taken'"
_LEFT = "state IN ('sending', 'in_doubt', 'parked')"
_ASK = "ask_at IS NOT NULL"

WAITS_TO_LEAVE: Final[ColumnElement[bool]] = literal_column(f"submission.{_LEAVES}")
"""A message that is to be signed or sent. In the very words of the partial index: SQLite uses one only for
a query that repeats its condition, and compares the words, not the values."""

MAY_HAVE_LEFT: Final[ColumnElement[bool]] = literal_column(f"submission.{_LEFT}")
"""A message that is being sent, of which nobody knows whether it was, or that waits for a person; the
words of its index again."""

IS_TAKEN: Final[ColumnElement[bool]] = literal_column(f"submission.{_TAKEN}")
"""A message that customs has, and of which a receipt is awaited."""

OPEN_MESSAGE: Final = or_(WAITS_TO_LEAVE, MAY_HAVE_LEFT)
"""A message that something is still to be done about here."""

MAY_BE_ASKED: Final[ColumnElement[bool]] = literal_column("receipt_line.ask_at IS NOT NULL")
"""A line of a receipt that customs' list has to settle; the words of its index again."""


class Submission(Base):
    """One message: one certificate, one operation, 1-100 serials (contract section 1).

    `number` (EtpsPreentNo) is the idempotency key, fixed when the row is made and never reused;
    `payload` are the signed bytes, set once. A resend sends these bytes under this number.
    """

    __tablename__ = "submission"

    id: Mapped[Id]
    number: Mapped[str] = mapped_column(String(32), unique=True)
    guid: Mapped[str] = mapped_column(String(36))
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id"))
    sender: Mapped[str | None] = mapped_column(String(18))
    """USCC of the enterprise that it is sent for. None: signed before it was kept, and in its bytes."""
    certificate: Mapped[str] = mapped_column(String(20))
    certificate_type: Mapped[str] = mapped_column(String(2))
    exporter: Mapped[str] = mapped_column(String(18))
    agent: Mapped[str] = mapped_column(String(18))
    stock_owner: Mapped[str] = mapped_column(String(18))
    action: Mapped[Action] = mapped_column(state_column(Action))
    reason_code: Mapped[str | None] = mapped_column(String(2))
    reason_text: Mapped[str | None] = mapped_column(String(150))
    form_count: Mapped[int]
    turn: Mapped[int] = mapped_column(BigInteger, default=0)
    """When it is signed and sent, the lowest first (`models.turns`)."""
    created_at: Mapped[When]
    state: Mapped[SubmissionState] = mapped_column(state_column(SubmissionState))
    payload: Mapped[bytes | None] = mapped_column(LargeBinary)
    payload_sha256: Mapped[str | None] = mapped_column(String(64))
    signed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    signed_with: Mapped[str | None] = mapped_column(String(64))
    """Serial number of the certificate that signed it."""
    send_count: Mapped[int] = mapped_column(default=0)
    ask_count: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    lease_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    """Until then a card is signing it (prepared), or it is being sent (sending)."""
    seq_no: Mapped[str | None] = mapped_column(String(18))
    taken_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    decided_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    deal_flag: Mapped[str | None] = mapped_column(String(8))
    deal_text: Mapped[str | None] = mapped_column(String(255))

    __table_args__ = (
        Index(None, "batch_id"),
        Index(None, "certificate"),
        Index(  # with the time at its end, so that what is put off is passed without being read
            "ix_submission_turn",
            "state",
            "turn",
            "id",
            "next_attempt_at",
            sqlite_where=text(_LEAVES),
            postgresql_where=text(_LEAVES),
        ),
        Index(
            "ix_submission_left",
            "state",
            "next_attempt_at",
            sqlite_where=text(_LEFT),
            postgresql_where=text(_LEFT),
        ),
        Index(
            "ix_submission_taken",
            "taken_at",
            sqlite_where=text(_TAKEN),
            postgresql_where=text(_TAKEN),
        ),
        {"postgresql_with": {"fillfactor": 70}},
    )


class Attempt(Base):
    """One sending of a message, or one question about it, recorded before it is made."""

    __tablename__ = "attempt"

    id: Mapped[Id]
    submission_id: Mapped[int] = mapped_column(ForeignKey("submission.id"))
    kind: Mapped[AttemptKind] = mapped_column(state_column(AttemptKind))
    number: Mapped[int]
    payload_sha256: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[When]
    deadline_at: Mapped[When]
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    outcome: Mapped[str | None] = mapped_column(String(20))
    detail: Mapped[str | None] = mapped_column(String(255))

    __table_args__ = (UniqueConstraint("submission_id", "kind", "number"),)


class InboxMessage(Base):
    """Something customs told us, stored once as it came, then applied or quarantined.

    `key` is what makes it the same thing again: receipt id and content for a receipt (so that the
    same receipt by poll and by callback is one row), the callback's id for anything else.
    """

    __tablename__ = "inbox"

    id: Mapped[Id]
    key: Mapped[str] = mapped_column(String(320), unique=True)
    source: Mapped[Code]
    callback_id: Mapped[str | None] = mapped_column(String(255))
    """`webhook-id` of the callback that brought it first; None when a poll did."""
    receipt_id: Mapped[str | None] = mapped_column(String(255))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[When]
    state: Mapped[InboxState] = mapped_column(state_column(InboxState))
    reason: Mapped[str | None] = mapped_column(String(255))
    submission_number: Mapped[str | None] = mapped_column(String(32))
    applied_at: Mapped[datetime | None] = mapped_column(UTCDateTime())

    __table_args__ = (
        Index(None, "receipt_id"),
        Index(None, "callback_id"),
        Index(
            "ix_inbox_quarantined",
            "id",
            sqlite_where=text("state = 'quarantined'"),
            postgresql_where=text("state = 'quarantined'"),
        ),
        Index(
            "ix_inbox_received",
            "id",
            sqlite_where=text("state = 'received'"),
            postgresql_where=text("state = 'received'"),
        ),
    )


class ReceiptLine(Base):
    """What one receipt says of one form (空白证单回执)."""

    __tablename__ = "receipt_line"

    id: Mapped[Id]
    inbox_id: Mapped[int] = mapped_column(ForeignKey("inbox.id"))
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    form_id: Mapped[int] = mapped_column(ForeignKey("form.id"))
    rep_code: Mapped[str] = mapped_column(String(4))
    rep_text: Mapped[str] = mapped_column(String(150))
    form_state: Mapped[str] = mapped_column(String(1))
    managed_at: Mapped[When]
    verdict: Mapped[Code]
    open: Mapped[bool] = mapped_column(default=False)
    """The form waits for another decision."""
    ask_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    """When customs' list is asked about the form; NULL: it is not."""
    ask_count: Mapped[int] = mapped_column(default=0)

    __table_args__ = (
        Index(None, "form_id"),
        Index(None, "item_id"),
        Index(None, "inbox_id"),
        Index(
            "ix_receipt_line_ask",
            "ask_at",
            sqlite_where=text(_ASK),
            postgresql_where=text(_ASK),
        ),
    )


class CustomsLink(Base):
    """What we remember of the line to customs: how far receipts were read, and whether it is closed.

    `models.links` says what the columns mean together.
    """

    __tablename__ = "customs_link"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    cursor: Mapped[str] = mapped_column(String(255), default="")
    poll_at: Mapped[When]
    closed_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    closed_code: Mapped[LineReason | None] = mapped_column(String(32))
    closed_reason: Mapped[str | None] = mapped_column(String(255))
    card_refusals: Mapped[int] = mapped_column(default=0)
    """How often in a row customs refused a message for its card; 0: no probe is asked for."""
    probe_id: Mapped[int | None] = mapped_column(BigId)
    """The message that left as the probe."""
    claim_number: Mapped[int] = mapped_column(BigInteger, default=0)
    """The last claim of messages to send. Every entry of the send journal carries the number of its
    claim: a database whose number is lower was restored (`tasks.journal`)."""
    served_turn: Mapped[int] = mapped_column(BigInteger, default=0)
    newest_turn: Mapped[int] = mapped_column(BigInteger, default=0)
    newcomers: Mapped[int] = mapped_column(default=0)
    """Where the turns stand (`models.turns`)."""
    called_back: Mapped[bool] = mapped_column(default=False)
    """Callbacks had brought what the last poll that found receipts found."""


class Card(Base):
    """The card as the submitter saw it last, so that every process can say why nothing is signed."""

    __tablename__ = "card"

    label: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[CardState] = mapped_column(state_column(CardState))
    code: Mapped[str] = mapped_column(String(40), default="")
    """What is wrong with it (`models.card_errors`); empty when it is ready."""
    detail: Mapped[str] = mapped_column(String(255), default="")
    certificate_serial: Mapped[str] = mapped_column(String(64), default="")
    not_after: Mapped[datetime | None] = mapped_column(UTCDateTime())
    seen_at: Mapped[When]
    examine_at: Mapped[When]
    """When it is to be examined again, though nothing waits to be signed."""
