"""The table: which state makes which task due. The sweep rings by it, and nothing else needs to.

Each query is answered from an index over open work, so it costs the same whether a million rows
are done or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import Exists, Select, and_, exists, or_, select
from sqlalchemy.orm import Session

from config.names import Task
from models.batches import Batch, Item
from models.notifications import Delivery, Endpoint
from models.reconciliation import Run
from models.states import (
    BatchState,
    DeliveryState,
    InboxState,
    ItemState,
    RunState,
    SubmissionState,
)
from models.stock import Stock
from models.submissions import CustomsLink, InboxMessage, ReceiptLine, Submission
from models.verdicts import Verdict

RINGS_TOGETHER: Final = 1000
"""Batches rung in one sweep; the next sweep rings the others."""


def _submission_due(now: datetime, *states: SubmissionState) -> Select[int]:
    due = and_(Submission.state.in_(states), Submission.next_attempt_at <= now)
    return select(Submission.id).where(due)


def _sending_lost(now: datetime) -> Select[int]:
    lost = and_(Submission.state == SubmissionState.SENDING, Submission.lease_until <= now)
    return select(Submission.id).where(lost)


def _holds_anything() -> Exists:
    return exists().where(Item.batch_id == Batch.id, Item.state == ItemState.HELD)


def _unprepared() -> Select[int]:
    waiting = exists().where(
        Item.batch_id == Batch.id, Item.state == ItemState.HELD, Item.submission_id.is_(None)
    )
    return select(Batch.id).where(Batch.state == BatchState.WORKING, waiting)


PER_BATCH: Final[dict[Task, Callable[[datetime], Select[int]]]] = {
    Task.RESERVE: lambda _now: select(Batch.id).where(Batch.state == BatchState.CONFIRMED),
    Task.PREPARE: lambda _now: _unprepared(),
    Task.REPORT: lambda _now: select(Batch.id).where(
        or_(
            and_(
                Batch.state.in_([BatchState.FINISHED, BatchState.CANCELLED]),
                Batch.reported_at.is_(None),
            ),
            # two transactions that decide the last two forms do not see each other's
            and_(Batch.state == BatchState.WORKING, ~_holds_anything()),
        )
    ),
    Task.EXPIRE: lambda now: select(Batch.id).where(
        Batch.state == BatchState.WORKING, Batch.expires_at <= now
    ),
}
"""Rung once for each batch that the query gives."""

AT_ALL: Final[dict[Task, Callable[[datetime], Select[int] | Select[str]]]] = {
    Task.SIGN: lambda now: _submission_due(now, SubmissionState.PREPARED),
    Task.SEND: lambda now: _submission_due(now, SubmissionState.SIGNED),
    Task.APPLY: lambda _now: select(InboxMessage.id).where(
        InboxMessage.state == InboxState.RECEIVED
    ),
    Task.ADOPT: lambda _now: select(ReceiptLine.id).where(
        ReceiptLine.open, ReceiptLine.verdict == Verdict.ASK.value
    ),
    Task.DELIVER: lambda now: (
        select(Delivery.id)
        .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
        .where(
            Delivery.state == DeliveryState.PENDING,
            Delivery.next_attempt_at <= now,
            Endpoint.active,
            or_(Endpoint.paused_until.is_(None), Endpoint.paused_until <= now),
        )
    ),
    Task.COUNT_STOCK: lambda _now: select(Stock.id).where(Stock.recount),
    Task.RECONCILE: lambda now: select(Run.id).where(
        Run.state.in_([RunState.PLANNED, RunState.COMPARING]),
        Run.due_at <= now,
        or_(Run.lease_until.is_(None), Run.lease_until <= now),
    ),
    Task.POLL: lambda now: select(CustomsLink.name).where(CustomsLink.poll_at <= now),
}
"""Rung once when the query gives anything; the task takes what is due in the order of ids."""


def due(session: Session, now: datetime) -> Iterator[tuple[Task, tuple[int, ...]]]:
    """Everything that is due now, as rings."""
    for task, query in PER_BATCH.items():
        for batch_id in session.scalars(query(now).limit(RINGS_TOGETHER)):
            yield task, (batch_id,)
    for task, anything in AT_ALL.items():
        if session.execute(anything(now).limit(1)).first() is not None:
            yield task, ()
    doubtful = _submission_due(now, SubmissionState.IN_DOUBT)
    if any(session.execute(q.limit(1)).first() for q in (doubtful, _sending_lost(now))):
        yield Task.ASK, ()
