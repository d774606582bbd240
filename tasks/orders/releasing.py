"""Reservations that end before anything was sent: a person takes a batch back, or its time is over.

What is at customs, or may be, goes on to its end. Some at a time, so that nobody waits for a large batch; what
is broken off goes on with the next sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from config.names import Task
from models.reads.sight import require_seen
from models.rules.causes import Cause
from models.rules.errors import BatchNotOpen
from models.rules.people import Deed
from models.rules.states import NOT_LEFT, BatchState, ItemState, SubmissionState, label
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch, Item
from models.tables.bulk import CHUNK
from models.tables.submissions import Submission
from models.writes.acts import record_act
from models.writes.announcements import announce_ended
from models.writes.batches import finish_batches, may_be_ordered_again
from models.writes.endorsements import withdraw_endorsement
from models.writes.submissions import move_submissions
from tasks.app import app
from tasks.context import Context, current
from tasks.messages.attempts import give_back_items

log = structlog.get_logger(__name__)

SERIALS_NAMED: Final = 1000
"""Serials that an answer names: a person reads no more, and the result sheet has all."""

_OPEN: Final = (
    *(BatchState.RECEIVED, BatchState.ASKED, BatchState.CHECKED, BatchState.CONFIRMED),
    *(BatchState.AWAITING, BatchState.WORKING),
)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancel did: forms given back, and forms that were at customs already."""

    released: int
    at_customs: int
    serials: Sequence[str]
    """Those at customs, or perhaps there: the first `SERIALS_NAMED`."""


def cancel(context: Context, batch_id: int) -> Cancelled:
    """Take back what has not left. What is at customs, or may be, goes on to its end.

    Raises `BatchNotFound`, `BatchNotOpen`. A second cancel finds nothing left to take back.
    """
    with context.database.write() as session:
        found = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        batch = require_seen(context.sight, found, batch_id)
        if batch.state not in _OPEN:
            raise BatchNotOpen(batch=batch_id, state=label(batch.state))
        withdraw_endorsement(session, batch_id, context.now())
        batch.cancelled_at = context.now()  # from here on nothing of it leaves, or is taken
        if batch.state is BatchState.CONFIRMED:
            batch.state, batch.expires_at = BatchState.WORKING, context.now()
        released, more = _release(session, context, batch_id, Cause.CANCEL)
        if not more:
            _end(session, context, batch)
        record_act(session, context.actor, Deed.ORDER_CANCELLED, f"batch {batch_id}", context.now())
    while more:
        some, more = _go_on(context, batch_id)
        released += some
    with context.database.read() as session:
        at_customs = _held(session, batch_id)
        serials = session.scalars(_of_it(batch_id).order_by(Item.serial).limit(SERIALS_NAMED)).all()
    log.info("batch_cancelled", batch_id=batch_id, released=released, at_customs=at_customs)
    context.ring(Task.REPORT, batch_id)
    return Cancelled(released, at_customs, serials)


def expire(context: Context, batch_id: int) -> None:
    """Give back what a batch has held too long without sending it; what left goes on.

    Of a cancelled batch: what was on its way then and certainly did not arrive.
    """
    released, more = 0, True
    while more:
        some, more = _go_on(context, batch_id)
        released += some
    if released:
        log.warning("reservation_ended", batch_id=batch_id, forms=released)


def _go_on(context: Context, batch_id: int) -> tuple[int, bool]:
    """Give back some forms of a batch whose reservation has ended; gives how many, and whether there may
    be more.
    """
    now = context.now()
    with context.database.write() as session:
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch is None or batch.state is not BatchState.WORKING or batch.expires_at is None:
            return 0, False
        if batch.cancelled_at is None and batch.expires_at > now:
            return 0, False
        cause = Cause.RESERVATION_EXPIRED if batch.cancelled_at is None else Cause.CANCEL
        released, more = _release(session, context, batch_id, cause)
        if not more:
            _end(session, context, batch)
    return released, more


def _end(session: Session, context: Context, batch: Batch) -> None:
    """Nothing of the batch may be given back any more: it has ended, unless something is at customs."""
    if batch.cancelled_at is None or _held(session, batch.id):
        finish_batches(session, [batch.id], context.now())
    else:
        batch.state = BatchState.CANCELLED
        batch.finished_at = context.now()
        session.flush()
        announce_ended(session, [batch.id], context.now())
    session.flush()
    may_be_ordered_again(session, [batch.id])


def _held(session: Session, batch_id: int) -> int:
    return session.scalar(select(func.count()).select_from(_of_it(batch_id).subquery())) or 0


def _of_it(batch_id: int) -> Select[str]:
    """The serials of a batch that are under way."""
    return select(Item.serial).where(Item.batch_id == batch_id, Item.state == ItemState.UNDER_WAY)


def _release(session: Session, context: Context, batch_id: int, cause: Cause) -> tuple[int, bool]:
    """Items that have not left, and their messages, some of them; gives the number of forms, and whether
    there may be more.
    """
    not_left = session.scalars(
        select(Submission.id)
        .where(Submission.batch_id == batch_id, Submission.state.in_(NOT_LEFT))
        .order_by(Submission.id)
        .limit(CHUNK)
        .with_for_update(**NO_KEY_UPDATE)
    ).all()
    move_submissions(session, not_left, SubmissionState.CANCELLED, next_attempt_at=None)
    takeable = or_(
        Item.submission_id.is_(None),
        Item.submission_id.in_(
            select(Submission.id).where(
                Submission.batch_id == batch_id, Submission.state == SubmissionState.CANCELLED
            )
        ),
    )
    items = session.execute(
        select(Item.id, Item.form_id, Item.certificate, Item.batch_id)
        .where(Item.batch_id == batch_id, Item.state == ItemState.UNDER_WAY, takeable)
        .order_by(Item.form_id)
        .limit(CHUNK)
    ).all()
    released = give_back_items(session, context, items, cause)
    return released, len(not_left) == CHUNK or len(items) == CHUNK


@app.task(name=Task.EXPIRE.value)
def expire_task(batch_id: int) -> None:
    """A reservation is overdue."""
    expire(current(), batch_id)
