"""The feed of events: notifications in one order that never changes behind whoever pulls.

Numbers that are given when a row is written are seen out of order: one transaction takes 7, another 8 and commits
first, and who has read to 8 never sees 7. So places are given afterwards, to what is committed, by one writer at
a time.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.tables.locks import Lock, hold
from models.tables.notifications import Notification

PLACED_TOGETHER: Final = 1000
"""Events that get their places in one transaction: a few milliseconds."""


def unplaced(session: Session) -> bool:
    """Whether an event has no place yet."""
    waits = select(Notification.id).where(Notification.place.is_(None)).limit(1)
    return session.scalar(waits) is not None


def give_places(session: Session) -> int:
    """Give the next places to events that are committed, in the order of their numbers; gives how many."""
    hold(session, Lock.FEED)
    waiting = session.scalars(
        select(Notification.id)
        .where(Notification.place.is_(None))
        .order_by(Notification.id)
        .limit(PLACED_TOGETHER)
    ).all()
    if not waiting:
        return 0
    last = session.scalar(select(func.max(Notification.place))) or 0
    session.execute(
        update(Notification),
        [{"id": i, "place": place} for place, i in enumerate(waiting, start=last + 1)],
    )
    return len(waiting)
