"""Whose database this is."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, When


class Deployment(Base):
    """The one row that says whose database this is."""

    __tablename__ = "deployment"

    id: Mapped[int] = mapped_column(primary_key=True)
    sender: Mapped[str] = mapped_column(String(18))
    customs: Mapped[str] = mapped_column(String(255))
    known_at: Mapped[When]
    grace_verify_minutes: Mapped[int] = mapped_column(default=0, server_default="0")
    grace_void_minutes: Mapped[int] = mapped_column(default=0, server_default="0")
    """For so long an order can be taken back, all of it, after it was confirmed (`models.rules.grace`)."""

    __table_args__ = (CheckConstraint("id = 1", name="one"),)
