"""Stage 3, reserve: on confirmation, lock the stock and take the serials; or give them back.

One transaction: the plan is made again under the lock of every stock concerned, compared with the
one that was confirmed, and taken whole. A rollback frees all. Run twice, the second run finds the
batch no longer confirmed and does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from models.base import NO_KEY_UPDATE
from models.batch_news import announce_ended
from models.batches import GIVEN_BACK_BY_TIME, Batch, BatchRow, Item
from models.blocks import advance_blocks
from models.bulk import CHUNK, chunks
from models.errors import (
    BatchGoesOn,
    BatchNotFound,
    BatchNotOpen,
    BlankformsError,
    ConfirmationUnknown,
    DatabaseUnreachable,
    FileSubmittedBefore,
    NothingToSubmit,
    PlanMoved,
    RowsRefused,
    SheetHasQuestions,
)
from models.low_stock import count_soon
from models.moves import FormMove, move_forms
from models.planner import make_plan
from models.progress import finish_batches, may_be_ordered_again
from models.states import (
    NOT_LEFT,
    BatchState,
    FormState,
    ItemState,
    RowStatus,
    SubmissionState,
    label,
)
from models.stock import Certificate, Form, Stock
from models.submissions import Submission
from sheets.questions import load_question
from tasks.app import app
from tasks.attempts import give_back_items, set_submissions
from tasks.context import Context, current

log = structlog.get_logger(__name__)

_EXPIRED: Final = "reservation_expired"
_OPEN: Final = (
    *(BatchState.RECEIVED, BatchState.ASKED, BatchState.CHECKED, BatchState.CONFIRMED),
    BatchState.WORKING,
)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a person said yes to. `plan` None: the demand, whatever serials are lowest then."""

    plan: str | None = None
    all_or_nothing: bool = False
    again: bool = False


def confirm(context: Context, batch_id: int, said: Confirmation) -> None:
    """Record the yes and reserve at once. Of two confirmations at once, one wins.

    Raises `FileSubmittedBefore`, `BatchNotOpen`, and what `reserve` raises; then nothing is
    reserved and the batch is checked as before. `BatchGoesOn` when the database was lost after the yes was
    kept: the sweep carries it out. `ConfirmationUnknown` when it was lost while the yes was being kept.
    """
    try:
        _confirm(context, batch_id, said)
    except DatabaseUnreachable as lost:
        raise ConfirmationUnknown(batch=batch_id, detail=lost.values.get("detail")) from lost
    log.info("batch_confirmed", batch_id=batch_id)
    crash_point(Point.CONFIRMED)
    try:
        reserve(context, batch_id)
    except DatabaseUnreachable as lost:
        raise BatchGoesOn(batch=batch_id, detail=lost.values.get("detail")) from lost


def _confirm(context: Context, batch_id: int, said: Confirmation) -> None:
    try:
        with context.database.write() as session:
            context.journal.require_current(session)
            batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
            if batch is None:
                raise BatchNotFound(batch=batch_id)
            if batch.state is BatchState.ASKED:
                raise questions_of(batch)
            if batch.state is not BatchState.CHECKED:
                raise BatchNotOpen(batch=batch_id, state=label(batch.state))
            if not said.again and (before := submitted_before(session, batch)):
                raise FileSubmittedBefore(batch=before.id, when=f"{before.confirmed_at:%Y-%m-%d}")
            batch.state = BatchState.CONFIRMED
            batch.confirmed_at = context.now()
            batch.expected_plan = said.plan
            batch.all_or_nothing = said.all_or_nothing
            batch.confirmed_content = None if said.again else batch.order_key or batch.sha256
    except IntegrityError as error:  # another process confirmed the same content just now
        with context.database.read() as session:
            before = submitted_before(session, session.get_one(Batch, batch_id))
        number = before.id if before else "?"
        raise FileSubmittedBefore(batch=number, when="") from error


def submitted_before(session: Session, batch: Batch) -> Batch | None:
    """The batch as which the same reading was submitted already (by content alone before 0004)."""
    keys = [key for key in (batch.order_key, batch.sha256) if key is not None]
    if not keys:
        return None
    return session.scalar(
        select(Batch)
        .where(Batch.confirmed_content.in_(keys), Batch.id != batch.id)
        .order_by(Batch.id.desc())
        .limit(1)
    )


def refuse_submitted_before(context: Context, batch_id: int) -> None:
    """Raise `FileSubmittedBefore` when what this batch was read from was submitted already."""
    with context.database.read() as session:
        before = submitted_before(session, session.get_one(Batch, batch_id))
        if before is not None:
            raise FileSubmittedBefore(batch=before.id, when=f"{before.confirmed_at:%Y-%m-%d}")


def questions_open(context: Context, batch_id: int) -> SheetHasQuestions:
    """The same by the number of the batch."""
    with context.database.read() as session:
        return questions_of(session.get_one(Batch, batch_id))


def questions_of(batch: Batch) -> SheetHasQuestions:
    """The error that names the open questions of an asked batch."""
    texts = [load_question(q).message for q in batch.questions]
    return SheetHasQuestions(file=batch.file_name, count=len(texts), detail="; ".join(texts))


def reserve(context: Context, batch_id: int) -> None:
    """Take the serials of a confirmed batch, all of a certificate or none.

    Raises `PlanMoved`, `RowsRefused` or `NothingToSubmit`; the batch is then back in checked, with
    the new plan. Raises `DatabaseRestored`; the batch stays confirmed, and due.
    """
    try:
        refusal = _reserve(context, batch_id)
    except (
        PlanMoved
    ) as moved:  # a form was moved in spite of the stock's lock; the rollback freed all
        refusal = moved
        with context.database.write() as session:
            batch = session.get_one(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
            if batch.state is BatchState.CONFIRMED:
                batch.plan = make_plan(session, batch)
                _back_to_checked(context, batch)
    if refusal is not None:
        log.info("batch_back_to_checked", batch_id=batch_id, code=refusal.code)
        raise refusal
    log.info("batch_reserved", batch_id=batch_id)
    crash_point(Point.RESERVED_BEFORE_RING)
    context.ring(Task.PREPARE, batch_id)


def _reserve(context: Context, batch_id: int) -> BlankformsError | None:
    """Reserve in one transaction; gives why not, when the batch is back in checked."""
    with context.database.write() as session:
        context.journal.require_current(session)
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch is None or batch.state is not BatchState.CONFIRMED:
            log.info("batch_not_due", batch_id=batch_id, task="reserve")
            return None
        _lock_stocks(session, batch_id)
        batch.plan = make_plan(session, batch)
        refusal = _refusal(session, batch)
        if refusal is None:
            _take(session, context, batch)
        else:
            _back_to_checked(context, batch)
        crash_point(Point.RESERVE_BEFORE_COMMIT)
    return refusal


def _back_to_checked(context: Context, batch: Batch) -> None:
    batch.state = BatchState.CHECKED
    batch.confirmed_content = None
    batch.checked_at = context.now()


def _lock_stocks(session: Session, batch_id: int) -> None:
    """Lock every stock that the batch may draw from, in id order."""
    concerned = (
        select(Stock.id)
        .join(
            Certificate,
            and_(
                Certificate.type == Stock.form_type,
                or_(Certificate.exporter == Stock.owner, Certificate.agent == Stock.owner),
            ),
        )
        .join(BatchRow, BatchRow.certificate == Certificate.number)
        .where(BatchRow.batch_id == batch_id)
    )
    locked = session.scalars(
        select(Stock.id)
        .where(Stock.id.in_(concerned))
        .order_by(Stock.id)
        .with_for_update(**NO_KEY_UPDATE)
    ).all()
    count_soon(session, locked)


def _refusal(session: Session, batch: Batch) -> BlankformsError | None:
    if batch.expected_plan is not None and batch.expected_plan != batch.plan:
        return PlanMoved()
    counts = dict(
        session.execute(
            select(BatchRow.status, func.count())
            .where(BatchRow.batch_id == batch.id)
            .group_by(BatchRow.status)
        ).all()
    )
    problems = counts.get(RowStatus.PROBLEM, 0)
    if batch.all_or_nothing and problems:
        return RowsRefused(problems=problems, rows=sum(counts.values()))
    if not counts.get(RowStatus.OK):
        return NothingToSubmit()
    return None


def _take(session: Session, context: Context, batch: Batch) -> None:
    ok_rows = select(BatchRow.number).where(
        BatchRow.batch_id == batch.id, BatchRow.status == RowStatus.OK
    )
    session.execute(
        update(Item)
        .where(Item.batch_id == batch.id, Item.row_number.in_(ok_rows))
        .values(state=ItemState.HELD)
        .execution_options(synchronize_session=False)
    )
    blocks: set[int] = set()
    reason = "; ".join(r for r in (batch.again_reason, batch.beyond_reason) if r) or None
    last = 0
    while items := session.execute(
        select(Item.form_id, Item.certificate, Item.named, Form.block_id)
        .join(Form, Form.id == Item.form_id)
        .where(Item.batch_id == batch.id, Item.state == ItemState.HELD, Item.form_id > last)
        .order_by(Item.form_id)
        .limit(CHUNK)
    ).all():
        last = items[-1].form_id
        moves = [FormMove(i.form_id, i.certificate, batch.id, reason=reason) for i in items]
        now = context.now()
        moved = move_forms(session, moves, FormState.ISSUED, FormState.RESERVED, now, "reserve")
        if len(moved) != len(moves):
            raise PlanMoved
        blocks |= {i.block_id for i in items if not i.named}
    advance_blocks(session, blocks)
    batch.state = BatchState.WORKING
    batch.expires_at = context.now() + timedelta(hours=context.settings.reservation_hours)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancel did: forms given back, and forms that were at customs already."""

    released: int
    at_customs: int


def cancel(context: Context, batch_id: int) -> Cancelled:
    """Take back what has not left. What is at customs, or may be, goes on to its end.

    Raises `BatchNotFound`, `BatchNotOpen`. A second cancel finds nothing left to take back.
    """
    with context.database.write() as session:
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch is None:
            raise BatchNotFound(batch=batch_id)
        if batch.state not in _OPEN:
            raise BatchNotOpen(batch=batch_id, state=label(batch.state))
        released = _release(session, context, batch_id, "cancel")
        at_customs = session.scalar(
            select(func.count()).where(Item.batch_id == batch_id, Item.state == ItemState.HELD)
        )
        if at_customs:
            batch.cancelled_at = context.now()  # what comes back as not taken is not sent again
        else:
            batch.state = BatchState.CANCELLED
            batch.finished_at = context.now()
            session.flush()
            announce_ended(session, [batch_id], context.now())
        session.flush()
        may_be_ordered_again(session, [batch_id])
    log.info("batch_cancelled", batch_id=batch_id, released=released, at_customs=at_customs or 0)
    context.ring(Task.REPORT, batch_id)
    return Cancelled(released, at_customs or 0)


def expire(context: Context, batch_id: int) -> None:
    """Give back what a batch has held too long without sending it; what left goes on.

    Of a cancelled batch: what was on its way then and certainly did not arrive.
    """
    with context.database.write() as session:
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch is None or batch.state is not BatchState.WORKING or batch.expires_at is None:
            return
        if batch.cancelled_at is None and batch.expires_at > context.now():
            return
        cause = _EXPIRED if batch.cancelled_at is None else "cancel"
        released = _release(session, context, batch_id, cause)
        finish_batches(session, [batch_id], context.now())
    if released:
        log.warning("reservation_ended", batch_id=batch_id, cause=cause, forms=released)


def _release(session: Session, context: Context, batch_id: int, cause: str) -> int:
    """Items that have not left, and their messages, in bounded chunks; gives the number of forms."""
    not_left = session.scalars(
        select(Submission.id)
        .where(Submission.batch_id == batch_id, Submission.state.in_(NOT_LEFT))
        .order_by(Submission.id)
        .with_for_update(**NO_KEY_UPDATE)
    ).all()
    code = GIVEN_BACK_BY_TIME if cause == _EXPIRED else cause
    for some in chunks(not_left):
        set_submissions(session, some, state=SubmissionState.CANCELLED, next_attempt_at=None)
    released = 0
    takeable = or_(
        Item.submission_id.is_(None),
        Item.submission_id.in_(
            select(Submission.id).where(
                Submission.batch_id == batch_id, Submission.state == SubmissionState.CANCELLED
            )
        ),
    )
    while items := session.execute(
        select(Item.id, Item.form_id, Item.certificate, Item.batch_id)
        .where(Item.batch_id == batch_id, Item.state == ItemState.HELD, takeable)
        .order_by(Item.form_id)
        .limit(CHUNK)
    ).all():
        released += give_back_items(session, context, items, code, cause)
    return released


@app.task(name=Task.RESERVE.value)
def reserve_task(batch_id: int) -> None:
    """A batch was confirmed and not reserved at once, because its process ended."""
    try:
        reserve(current(), batch_id)
    except BlankformsError as refusal:
        log.warning("reserve_refused", batch_id=batch_id, code=refusal.code)


@app.task(name=Task.EXPIRE.value)
def expire_task(batch_id: int) -> None:
    """A reservation is overdue."""
    expire(current(), batch_id)
