"""What customs has told us: receipts, and what each says of each form."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.rules.states import (
    InboxState,
)
from models.tables.base import Base, Code, Id, UTCDateTime, When, state_column

_ASK = "ask_at IS NOT NULL"

MAY_BE_ASKED: Final[ColumnElement[bool]] = literal_column("receipt_line.ask_at IS NOT NULL")
"""A line of a receipt that customs' list has to settle; the words of its index again."""


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
    rep_code: Mapped[str] = mapped_column(String(40))
    """As customs wrote it; what it means is the wire profile's (`customs.wire`)."""
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
