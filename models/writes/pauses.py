"""Pauses: a person stops what has not left, all of it, of one principal, or of one batch.

Nothing of it is signed or sent until it is resumed; reservations expire all the same.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    delete,
    select,
)
from sqlalchemy.orm import Session

from models.rules.states import PauseScope
from models.tables.bulk import insert_new
from models.tables.pauses import Pause


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


def _this(scope: PauseScope, value: str) -> tuple[ColumnElement[bool], ...]:
    return Pause.scope == scope.value, Pause.value == value
