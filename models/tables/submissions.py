"""Messages to customs, and every attempt to send one."""

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

from models.rules.states import (
    Action,
    AttemptKind,
    SubmissionState,
)
from models.tables.base import Base, Id, UTCDateTime, When, state_column

_LEAVES = "state IN ('prepared', 'signed')"
_TAKEN = "state = 'taken'"
_LEFT = "state IN ('sending', 'in_doubt', 'parked')"

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
    """When it is signed and sent, the lowest first (`models.rules.turns`)."""
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
