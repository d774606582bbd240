"""Certificates of origin, and who may use forms for them."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, Code, UTCDateTime, When


class Certificate(Base):
    """A certificate of origin (证书); `agent` is the enterprise that entered it (录入企业)."""

    __tablename__ = "certificate"

    number: Mapped[str] = mapped_column(String(20), primary_key=True)
    type: Mapped[str] = mapped_column(String(2))
    exporter: Mapped[str] = mapped_column(String(18))
    agent: Mapped[str] = mapped_column(String(18))
    approved_on: Mapped[date | None]
    pages: Mapped[int | None]
    pages_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    """Since when the pages are known to be so many: orders before that could not know."""
    status: Mapped[Code]
    updated_at: Mapped[When]

    __table_args__ = (Index(None, "exporter"), Index(None, "agent"), Index(None, "type", "number"))
