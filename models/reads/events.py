"""The feed of events, read: what notifications tell, in the order of their places (`models.writes.feed`)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.reads.sight import Sight
from models.rules.states import NotificationType
from models.tables.batches import Batch
from models.tables.notifications import Notification


def last_place(session: Session) -> int:
    """The place of the newest event; 0 when there is none."""
    return session.scalar(select(func.max(Notification.place))) or 0


def events_after(
    session: Session, place: int, limit: int, sight: Sight | None = None
) -> tuple[list[dict[str, Any]], int]:
    """The next events behind a place, as programs are told, and the place of the last one that was looked at.

    Of batches and stocks that are not seen nothing is told, nor of what is everybody's. Tests of endpoints are
    nobody else's and left out.
    """
    found = session.scalars(
        select(Notification)
        .where(Notification.place > place)
        .order_by(Notification.place)
        .limit(limit)
    ).all()
    seen: set[int] = set()
    if sight is not None:
        batches = {event.batch_id for event in found if event.batch_id is not None}
        theirs = select(Batch.id).where(Batch.id.in_(batches), sight.batches)
        seen = set(session.scalars(theirs))
    told = [
        {
            "place": event.place,
            "id": event.key,
            "type": event.type,
            "timestamp": event.created_at.isoformat(),
            "data": event.data,
        }
        for event in found
        if event.type != NotificationType.TEST
        and (sight is None or event.batch_id in seen or event.data.get("owner") in sight.owners)
    ]
    return told, max((event.place or 0 for event in found), default=place)
