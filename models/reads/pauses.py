"""What a person has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    ColumnElement,
    String,
    and_,
    bindparam,
    cast,
    exists,
    or_,
    select,
)
from sqlalchemy.orm import Session

from models.rules.states import PauseScope
from models.tables.pauses import Pause
from models.tables.submissions import OPEN_MESSAGE, Submission


def pauses(session: Session) -> Sequence[Pause]:
    """Everything that is paused, oldest first."""
    return session.scalars(select(Pause).order_by(Pause.id)).all()


_EXPORTERS: Final = (
    select(Submission.exporter)
    .where(Submission.batch_id == bindparam("batch"), OPEN_MESSAGE)
    .distinct()
)
_OF_BATCH: Final = (
    select(Pause)
    .where(
        or_(
            and_(Pause.scope == PauseScope.BATCH.value, Pause.value == bindparam("number")),
            and_(Pause.scope == PauseScope.PRINCIPAL.value, Pause.value.in_(_EXPORTERS)),
        )
    )
    .order_by(Pause.id)
)
"""Made once, as `models.reads.tallies` has it."""


def pauses_of(session: Session, batch_id: int) -> Sequence[Pause]:
    """What is stopped of one batch, besides everything: all of it, or its messages for an exporter."""
    return session.scalars(_OF_BATCH, {"batch": batch_id, "number": str(batch_id)}).all()


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
