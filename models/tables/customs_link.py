"""What is remembered of the line to customs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.rules.states import (
    LineReason,
)
from models.tables.base import Base, BigId, UTCDateTime, When


class CustomsLink(Base):
    """What we remember of the line to customs: how far receipts were read, and whether it is closed.

    `models.writes.line` says what the columns mean together.
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
    """Where the turns stand (`models.rules.turns`)."""
    called_back: Mapped[bool] = mapped_column(default=False)
    """Callbacks had brought what the last poll that found receipts found."""
