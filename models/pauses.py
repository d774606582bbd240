"""Pauses: a person stops what has not left, all of it, of one principal, or of one batch.

Nothing of it is signed or sent until it is resumed; reservations expire all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    String,
    UniqueConstraint,
    and_,
    cast,
    delete,
    exists,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Code, Id, When
from models.bulk import insert_new
from models.submissions import OPEN_MESSAGE, Submission


class PauseScope(StrEnum):
    """What is stopped."""

    ALL = "all"
    PRINCIPAL = "principal"
    """The messages for certificates of one exporter."""
    BATCH = "batch"


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


def pause(
    session: Session, scope: PauseScope, value: str, by: str, reason: str, now: datetime
) -> bool:
    """Stop it; gives whether it went on until now. The first pause of a thing stays as it was said."""
    row = {"scope": scope.value, "value": value, "by": by[:64], "reason": reason[:200], "at": now}
    before = session.scalar(select(Pause.id).where(*_this(scope, value)))
    insert_new(session, Pause, [row])
    return before is None


def resume(session: Session, scope: PauseScope, value: str) -> bool:
    """Let it go on; gives whether it was paused."""
    gone = session.execute(delete(Pause).where(*_this(scope, value)).returning(Pause.id)).all()
    return bool(gone)


def pauses(session: Session) -> Sequence[Pause]:
    """Everything that is paused, oldest first."""
    return session.scalars(select(Pause).order_by(Pause.id)).all()


def pauses_of(session: Session, batch_id: int) -> Sequence[Pause]:
    """What is stopped of one batch, besides everything: all of it, or its messages for an exporter."""
    exporters = (
        select(Submission.exporter).where(Submission.batch_id == batch_id, OPEN_MESSAGE).distinct()
    )
    return session.scalars(
        select(Pause)
        .where(
            or_(
                and_(Pause.scope == PauseScope.BATCH.value, Pause.value == str(batch_id)),
                and_(Pause.scope == PauseScope.PRINCIPAL.value, Pause.value.in_(exporters)),
            )
        )
        .order_by(Pause.id)
    ).all()


def _this(scope: PauseScope, value: str) -> tuple[ColumnElement[bool], ...]:
    return Pause.scope == scope.value, Pause.value == value


def not_paused() -> ColumnElement[bool]:
    """Of a message: nobody has stopped it."""
    return ~exists(
        select(Pause.id).where(
            or_(
                Pause.scope == PauseScope.ALL.value,
                and_(Pause.scope == PauseScope.PRINCIPAL.value, Pause.value == Submission.exporter),
                and_(
                    Pause.scope == PauseScope.BATCH.value,
                    Pause.value == cast(Submission.batch_id, String),
                ),
            )
        )
    )
