"""What waits for a second person, and the rules that ask for one."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.rules.two_persons import EndorsementState
from models.tables.base import Base, Id, Json, JsonDict, UTCDateTime, When, state_column

_WAITING = "state = 'waiting'"

IS_WAITING: Final[ColumnElement[bool]] = literal_column(f"endorsement.{_WAITING}")
"""A request that nobody has decided; the words of its index again."""


class Endorsement(Base):
    """A request for a second person: for the plan of a batch, or for other rules (`proposal`)."""

    __tablename__ = "endorsement"

    id: Mapped[Id]
    state: Mapped[EndorsementState] = mapped_column(state_column(EndorsementState))
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batch.id"))
    plan: Mapped[str | None] = mapped_column(String(16))
    """The plan that is endorsed, and no other."""
    proposal: Mapped[JsonDict | None] = mapped_column(Json)
    """Other rules, and the version that they are to follow."""
    rules: Mapped[list[Any]] = mapped_column(Json, default=list)
    """Which rules asked."""
    asked_by_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    asked_at: Mapped[When]
    expires_at: Mapped[When]
    decided_by_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    decided_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    reason: Mapped[str | None] = mapped_column(String(200))

    __table_args__ = (
        CheckConstraint("decided_by_id <> asked_by_id", name="two_persons"),
        Index(None, "batch_id"),
        Index(
            "ux_endorsement_waiting_batch",
            "batch_id",
            unique=True,
            sqlite_where=text(_WAITING),
            postgresql_where=text(_WAITING),
        ),
        Index(
            "ix_endorsement_waiting",
            "expires_at",
            sqlite_where=text(_WAITING),
            postgresql_where=text(_WAITING),
        ),
    )


class RulesVersion(Base):
    """The rules from a moment on; the one with the highest version holds."""

    __tablename__ = "rules_version"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rules: Mapped[JsonDict] = mapped_column(Json)
    set_at: Mapped[When]
