"""Who works: the last act of each kind of process, noted by itself."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, When


class Pulse(Base):
    """The last sign of a kind of process: it takes rings, and writes to its database."""

    __tablename__ = "pulse"

    process: Mapped[str] = mapped_column(String(20), primary_key=True)
    at: Mapped[When]
    code: Mapped[str] = mapped_column(String(40), default="")
    """What it found wrong where it runs; empty when nothing is."""
    detail: Mapped[str] = mapped_column(String(255), default="")
