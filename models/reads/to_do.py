"""待办: what waits for a person, each with its age; closed by an act of theirs or by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.reads.stock_book import stock_counts
from models.rules.causes import kind_text
from models.rules.language import t
from models.rules.standings import Standing
from models.rules.states import (
    AttemptKind,
    DeliveryState,
    InboxState,
    SubmissionState,
)
from models.rules.to_do import CARD_ENDS_SOON, DOUBT_SHOWN_AFTER, ToDo
from models.tables.card import Card
from models.tables.discrepancies import Discrepancy
from models.tables.endorsements import IS_WAITING, Endorsement
from models.tables.forms import Stock
from models.tables.inbox import InboxMessage
from models.tables.notifications import Delivery, Endpoint
from models.tables.submissions import MAY_HAVE_LEFT, Attempt, Submission

LISTED: Final = 200
"""Of each kind, the oldest first: who works them off sees the next ones."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that waits: its kind, number, since when, and what it is about."""

    kind: ToDo
    number: int
    since: datetime | None
    about: str
    detail: str = ""
    batch_id: int | None = None


def to_do_count(session: Session, now: datetime) -> int:
    """How many things wait, endorsements too; counted by indexes of what is open."""
    waiting = select(func.count()).select_from(Endorsement).where(IS_WAITING)
    return (session.scalar(waiting) or 0) + sum(1 for _ in to_do(session, now))


def to_do(session: Session, now: datetime) -> Iterator[Waiting]:
    """All that waits but endorsements, kind by kind, each kind the oldest first."""
    yield from _messages(session, now)
    quarantined = select(InboxMessage).where(InboxMessage.state == InboxState.QUARANTINED)
    for m in session.scalars(quarantined.order_by(InboxMessage.id).limit(LISTED)):
        yield Waiting(ToDo.QUARANTINED, m.id, m.received_at, m.receipt_id or "-", m.reason or "")
    closed = select(Discrepancy).where(Discrepancy.closed_at.is_(None))
    for d in session.scalars(closed.order_by(Discrepancy.id).limit(LISTED)):
        yield Waiting(
            ToDo.DISCREPANCY, d.id, d.raised_at, d.serial or "-", f"{kind_text(d.kind)} {d.detail}"
        )
    failed = (
        select(Delivery, Endpoint.url)
        .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
        .where(Delivery.state == DeliveryState.FAILED)
    )
    for delivery, url in session.execute(failed.order_by(Delivery.id).limit(LISTED)):
        yield Waiting(ToDo.UNDELIVERED, delivery.id, None, url, delivery.last_detail or "")
    for stock in session.scalars(select(Stock).where(Stock.low).order_by(Stock.id)):
        left = stock_counts(session, stock.id)[Standing.ON_HAND]
        about = f"{stock.form_type} {stock.owner}"
        yield Waiting(ToDo.LOW_STOCK, stock.id, None, about, t(f"现有 {left} 张", f"{left} left"))
    for card in session.scalars(select(Card).order_by(Card.label)):
        if card.not_after is not None and now < card.not_after < now + CARD_ENDS_SOON:
            yield Waiting(ToDo.CARD_ENDS, 0, None, card.label, f"{card.not_after:%Y-%m-%d}")


def _messages(session: Session, now: datetime) -> Iterator[Waiting]:
    sent = select(func.max(Attempt.started_at)).where(
        Attempt.submission_id == Submission.id, Attempt.kind == AttemptKind.SEND
    )
    last_sent = sent.correlate(Submission).scalar_subquery()
    kinds = {SubmissionState.PARKED: ToDo.PARKED, SubmissionState.IN_DOUBT: ToDo.IN_DOUBT}
    for state, kind in kinds.items():
        query: Any = (
            select(Submission, last_sent.label("at"))
            .where(MAY_HAVE_LEFT, Submission.state == state)
            .order_by(Submission.id)
            .limit(LISTED)
        )
        for message, at in session.execute(query):
            if kind is ToDo.PARKED or at is None or at < now - DOUBT_SHOWN_AFTER:
                yield Waiting(
                    kind, message.id, at, message.number, message.certificate, message.batch_id
                )
