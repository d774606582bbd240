"""Stage 8, upkeep: the sweep rings every due row again; what nobody confirmed is cleared away.

The sweep is the guarantee: a lost message, a killed worker, an emptied broker cost one interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.orm import Session

from config.names import Task
from config.settings import Settings
from customs.gateway import LONGEST_PAUSE
from models.rules.states import DeliveryState, SubmissionState
from models.tables.batches import UNCONFIRMED_BATCH, Batch, BatchRow, Item
from models.tables.customs_link import CustomsLink
from models.tables.forms import Stock
from models.tables.notifications import Delivery
from models.tables.people import MADE_BATCH, CallOnce
from models.tables.submissions import MAY_HAVE_LEFT, Submission
from models.writes.line import customs_link
from models.writes.low_stock import stocks_to_count, watch_stock
from models.writes.pulses import note_pulse
from models.writes.runs import plan_next_run
from models.writes.tallies import MERGED_TOGETHER, merge_changes
from tasks import pipeline
from tasks.app import app
from tasks.context import Context, current
from tasks.pulse import PULSES, SCHEDULER

log = structlog.get_logger(__name__)

UNCONFIRMED_KEPT: Final = timedelta(days=7)
"""How long a checked upload waits for its yes; checking the file again costs seconds."""

TOLD_KEPT: Final = timedelta(days=90)
"""How long deliveries are kept: as long as customs keeps receipts."""

CLEARED_TOGETHER: Final = 20


def sweep(context: Context) -> list[tuple[Task, tuple[int, ...]]]:
    """Ring for everything that is due now, and to see who works; gives the rings for what is due."""
    with context.database.write() as session:
        customs_link(session, context.now())  # polling is due from the first sweep on
        plan_next_run(session, context.now(), context.settings.reconcile_hour)
        _bring_near(session, context.settings, context.now())
        note_pulse(session, SCHEDULER, context.now())
    with context.database.read() as session:
        rings = list(pipeline.due(session, context.now()))
    for task in PULSES:
        context.ring(task)
    for task, ids in rings:
        context.ring(task, *ids)
    return rings


def _bring_near(session: Session, settings: Settings, now: datetime) -> None:
    """What a clock that ran ahead left for later than anything ever waits is due now.

    A lease brought near still outlasts the call that it guards: the call counts its time itself. What waits
    to leave needs nothing: `pipeline.may_leave` sees it.
    """
    for column in (CustomsLink.poll_at, CustomsLink.closed_until):
        session.execute(
            update(CustomsLink).where(column > now + LONGEST_PAUSE).values({column: now})
        )
    lease = timedelta(seconds=settings.lease_seconds)
    doubt, sending = (
        and_(MAY_HAVE_LEFT, Submission.state == state)
        for state in (SubmissionState.IN_DOUBT, SubmissionState.SENDING)
    )
    for of_state, column, most, near in (
        (doubt, Submission.next_attempt_at, LONGEST_PAUSE, now),
        (sending, Submission.lease_until, lease, now + lease),
    ):
        session.execute(
            update(Submission).where(of_state, column > now + most).values({column: near})
        )


def clear_unconfirmed(context: Context) -> Sequence[int]:
    """Delete uploads that were checked long ago and never confirmed, with their rows and what names them.

    Not what a worker is still to read, and never the newest: SQLite would give its number again.
    """
    with context.database.write() as session:
        newest = session.scalar(select(func.max(Batch.id))) or 0
        old = session.scalars(
            select(Batch.id)
            .where(
                UNCONFIRMED_BATCH,
                Batch.created_at < context.now() - UNCONFIRMED_KEPT,
                Batch.queued_at.is_(None),
                Batch.id < newest,
            )
            .limit(CLEARED_TOGETHER)
            .with_for_update(skip_locked=True)
        ).all()
        for table in (Item, BatchRow):
            session.execute(
                delete(table).where(table.batch_id.in_(old))  # else every row comes back to memory
            )
        named = and_(CallOnce.made == MADE_BATCH, CallOnce.made_id.in_(old))
        session.execute(delete(CallOnce).where(named))
        session.execute(delete(Batch).where(Batch.id.in_(old)))
    return old


def count_stock(context: Context) -> int:
    """Count the stocks whose count is due, one at a time; says it when one became low."""
    with context.database.read() as session:
        due = session.scalars(stocks_to_count(context.now()).order_by(Stock.id)).all()
    for stock_id in due:
        with context.database.write() as session:
            watch_stock(session, stock_id, context.settings.low_stock, context.now())
    if due:
        context.ring(Task.DELIVER)
    return len(due)


@app.task(name=Task.COUNT_STOCK.value)
def count_stock_task() -> None:
    """Forms came or went, or it is time to look."""
    count_stock(current())


def merge_numbers(context: Context) -> int:
    """Merge the changes of kept numbers that were noted since the last sweep; gives how many."""
    merged = 0
    while True:
        with context.database.write() as session:
            some = merge_changes(session)
        merged += some
        if some < MERGED_TOGETHER:
            return merged


def clear_told(context: Context) -> int:
    """Delete what was told long ago, some at a time; gives how many deliveries."""
    with context.database.write() as session:
        oldest = session.execute(
            select(Delivery.id, Delivery.delivered_at)
            .where(Delivery.state == DeliveryState.DELIVERED)
            .order_by(Delivery.id)
            .limit(CLEARED_TOGETHER)
        ).all()
        end = context.now() - TOLD_KEPT
        old = [i for i, delivered_at in oldest if delivered_at and delivered_at < end]
        if old:
            session.execute(delete(Delivery).where(Delivery.id.in_(old)))
    return len(old)


@app.task(name=Task.SWEEP.value)
def sweep_task() -> None:
    """The scheduler's only ring."""
    sweep(current())
    merge_numbers(current())
    clear_told(current())
    cleared = clear_unconfirmed(current())
    if cleared:
        log.info("unconfirmed_cleared", batches=list(cleared))
