"""What the submitter last saw of the card."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.rules.states import (
    CardState,
)
from models.tables.base import Base, UTCDateTime, When, state_column


class Card(Base):
    """The card as the submitter saw it last, so that every process can say why nothing is signed."""

    __tablename__ = "card"

    label: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[CardState] = mapped_column(state_column(CardState))
    code: Mapped[str] = mapped_column(String(40), default="")
    """What is wrong with it (`models.rules.card_errors`); empty when it is ready."""
    detail: Mapped[str] = mapped_column(String(255), default="")
    certificate_serial: Mapped[str] = mapped_column(String(64), default="")
    not_after: Mapped[datetime | None] = mapped_column(UTCDateTime())
    seen_at: Mapped[When]
    examine_at: Mapped[When]
    """When it is to be examined again, though nothing waits to be signed."""
