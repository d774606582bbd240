"""The line to customs as remembered: the cursor of receipts, and a pause that customs asked for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.submissions import CustomsLink

LINK: Final = "customs"
_REASON_LIMIT: Final = 255


def customs_link(session: Session, now: datetime) -> CustomsLink:
    """The one row about the line to customs; made when there is none."""
    link = session.get(CustomsLink, LINK)
    if link is not None:
        return link
    try:
        with session.begin_nested():
            session.add(CustomsLink(name=LINK, cursor="", poll_at=now))
    except IntegrityError:
        session.expire_all()  # another process made it just now
    return session.get_one(CustomsLink, LINK)


def close_link(session: Session, now: datetime, wait: timedelta, reason: str) -> None:
    """Send nothing for a while: customs said so (Retry-After), or knows no such token."""
    link = customs_link(session, now)
    link.closed_until = now + wait
    link.closed_reason = reason[:_REASON_LIMIT]
