"""What a person has stopped."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import Base, Code, Id, When


class Pause(Base):
    """Something a person has stopped, until somebody resumes it."""

    __tablename__ = "pause"

    id: Mapped[Id]
    scope: Mapped[Code]
    value: Mapped[str] = mapped_column(String(32))
    """Of a principal its USCC, of a batch its number, of all nothing."""
    by: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(200))
    at: Mapped[When]

    __table_args__ = (UniqueConstraint("scope", "value"),)

    def shown(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "scope": self.scope,
            "value": self.value or None,
            "by": self.by,
            "reason": self.reason,
            "at": self.at.isoformat(),
        }
