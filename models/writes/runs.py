"""When a reconciliation is due: one for each business date, at an hour of customs' own day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.rules.calendar import BEIJING, business_date
from models.rules.states import RunState
from models.tables.bulk import insert_new
from models.tables.reconciliation import Run


def plan_next_run(session: Session, now: datetime, hour: int) -> None:
    """Make sure that the next night's run waits for its hour.

    A run that was planned and whose hour passed while nothing was running is due at once; one whose
    hour had passed already when it could first be planned is not made up.
    """
    day = business_date(now)
    due = datetime.combine(day, time(hour), BEIJING)
    if due <= now.astimezone(BEIJING):
        day += timedelta(days=1)
        due += timedelta(days=1)
    if session.scalar(select(Run.id).where(Run.business_date == day)) is None:
        new_run(session, day, due)


def new_run(session: Session, day: date, due: datetime) -> None:
    """A run of this date, unless there is one: of two at once, one is made."""
    values = {
        "business_date": day,
        "state": RunState.PLANNED,
        "due_at": due.astimezone(UTC),
        "stage": "certificates",
        "holder": "",
        "after": "",
        "ours": 0,
        "listed": 0,
        "moving": 0,
        "before_us": 0,
        "counts": {},
    }
    insert_new(session, Run, [values])
