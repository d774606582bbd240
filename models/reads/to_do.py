"""待办: what waits for a person, each with its age; closed by an act of theirs or by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.rules.language import Text
from models.rules.states import (
    AttemptKind,
    DeliveryState,
    InboxState,
    SubmissionState,
)
from models.tables.card import Card
from models.tables.discrepancies import Discrepancy
from models.tables.endorsements import IS_WAITING, Endorsement
from models.tables.forms import Stock
from models.tables.inbox import InboxMessage
from models.tables.notifications import Delivery, Endpoint
from models.tables.submissions import MAY_HAVE_LEFT, Attempt, Submission

CARD_ENDS_SOON: Final = timedelta(days=30)
"""A new card takes weeks to come."""

DOUBT_SHOWN_AFTER: Final = timedelta(minutes=5)
"""What is in doubt for less than that is being asked about, and most of it settles by itself."""

LISTED: Final = 200
"""Of each kind, the oldest first: who works them off sees the next ones."""


class ToDo(StrEnum):
    """What kind of thing waits. Codes are stable."""

    IN_DOUBT = "in_doubt"
    PARKED = "parked"
    QUARANTINED = "quarantined"
    DISCREPANCY = "discrepancy"
    UNDELIVERED = "undelivered"
    LOW_STOCK = "low_stock"
    CARD_ENDS = "card_ends"


TO_DO_WORDS: Final = {
    ToDo.IN_DOUBT: Text("提交存疑", "in doubt"),
    ToDo.PARKED: Text("待人工处理", "parked"),
    ToDo.QUARANTINED: Text("待认领回执", "receipt without a message"),
    ToDo.DISCREPANCY: Text("差异", "discrepancy"),
    ToDo.UNDELIVERED: Text("通知未送达", "notification undelivered"),
    ToDo.LOW_STOCK: Text("库存不足", "low stock"),
    ToDo.CARD_ENDS: Text("签名卡将到期", "card ends soon"),
}

TO_DO_MEANS: Final = {
    ToDo.IN_DOUBT: Text(
        "海关没有答复这份报文。系统不会重复提交，会自动向海关查询；也可现在查询。",
        "customs has not answered for this message. Nothing is sent twice; it is asked about by itself, or now.",
    ),
    ToDo.PARKED: Text(
        "自动查询多次仍无明确答复，已停下等人。先现在查询；仍无答复请致电 029-95198 核实。",
        "asked about many times without a clear answer, and stopped for a person. Ask now; then call 029-95198.",
    ),
    ToDo.QUARANTINED: Text(
        "海关的回执与本系统的报文对不上，没有改动任何证单。核对后重新处理，或说明原因搁置。",
        "a receipt of customs fits no message of ours; no form was changed. Apply it again, or say why it is let be.",
    ),
    ToDo.DISCREPANCY: Text(
        "海关所说与本系统不一致。核实后说明处理结果并关闭。",
        "customs says otherwise than this system. Look into it, say what was found, and close it.",
    ),
    ToDo.UNDELIVERED: Text(
        "对方地址多次没有接收这条通知。排除后可重发。",
        "the address did not take this notification after many tries. Mend it, then send again.",
    ),
    ToDo.LOW_STOCK: Text("可用证单低于警戒线，请申领。", "fewer forms than the threshold: ask for more."),
    ToDo.CARD_ENDS: Text("请尽快办理新卡，到期后不能签名。", "get a new card; none is signed afterwards."),
}  # fmt: skip


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
        yield Waiting(ToDo.DISCREPANCY, d.id, d.raised_at, d.serial or "-", f"{d.kind} {d.detail}")
    failed = (
        select(Delivery, Endpoint.url)
        .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
        .where(Delivery.state == DeliveryState.FAILED)
    )
    for delivery, url in session.execute(failed.order_by(Delivery.id).limit(LISTED)):
        yield Waiting(ToDo.UNDELIVERED, delivery.id, None, url, delivery.last_detail or "")
    for stock in session.scalars(select(Stock).where(Stock.low).order_by(Stock.id)):
        yield Waiting(ToDo.LOW_STOCK, stock.id, None, f"{stock.form_type} {stock.owner}")
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
