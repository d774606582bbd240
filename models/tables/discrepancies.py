"""What we and customs see differently."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, BigId, Code, Id, Serial, UTCDateTime, When


class Discrepancy(Base):
    """Something that we and customs see differently; a person closes it."""

    __tablename__ = "discrepancy"

    id: Mapped[Id]
    kind: Mapped[Code]
    form_id: Mapped[int | None] = mapped_column(ForeignKey("form.id"))
    serial: Mapped[str | None] = mapped_column(Serial)
    inbox_id: Mapped[int | None] = mapped_column(BigId)
    detail: Mapped[str] = mapped_column(String(400))
    raised_at: Mapped[When]
    closed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    closed_by: Mapped[str | None] = mapped_column(String(64))
    closed_reason: Mapped[str | None] = mapped_column(String(200))

    __table_args__ = (
        Index(None, "form_id"),
        Index(
            "ix_discrepancy_open",
            "id",
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
    )
