"""A person says yes to a plan: it is kept, once, and carried out.

Of the same content twice the second is refused, unless the person says so; a sheet with open questions
has no plan to say yes to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from models.reads.batches import BatchCounts
from models.rules.errors import (
    BatchGoesOn,
    BatchNotFound,
    BatchNotOpen,
    ConfirmationUnknown,
    DatabaseUnreachable,
    FileSubmittedBefore,
    RowsRefused,
    SheetHasQuestions,
)
from models.rules.people import Deed, require
from models.rules.states import BatchState, RowStatus, label
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch
from models.writes.acts import record_act
from sheets.questions import load_question
from tasks.context import Context
from tasks.orders.reserving import reserve

log = structlog.get_logger(__name__)

PROBLEM_RATE: Final = 0.10
"""Share of problem rows above which right rows alone are only submitted when asked: a sheet that is
mostly wrong is probably the wrong sheet (features A-7)."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a person said yes to. `plan` None: the demand, whatever serials are lowest then."""

    plan: str | None = None
    all_or_nothing: bool = False
    again: bool = False
    at_once: bool = False
    """Without the time in which it can be taken back."""


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
            batch.at_once = said.at_once
            actor = context.actor
            batch.confirmed_by, batch.confirmed_via = actor.name, actor.channel.value
            batch.confirmed_by_id = actor.person_id
            deed = Deed.ORDER_AT_ONCE if said.at_once else Deed.ORDER_CONFIRMED
            require(actor, Deed.ORDER_CONFIRMED)
            session.flush()
            record_act(
                session, actor, deed, f"batch {batch_id}", batch.confirmed_at, plan=batch.plan
            )
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


def refuse_mostly_wrong(counts: BatchCounts, *, explicit: bool) -> None:
    """Raise `RowsRefused` where the right rows alone would be submitted of a sheet that is mostly wrong, unless
    the person asked for them in words (`explicit`).
    """
    problems = counts.rows.get(RowStatus.PROBLEM, 0)
    rows = problems + counts.rows.get(RowStatus.OK, 0)
    if not explicit and problems > PROBLEM_RATE * rows:
        raise RowsRefused(problems=problems, rows=rows)


def questions_open(context: Context, batch_id: int) -> SheetHasQuestions:
    """The same by the number of the batch."""
    with context.database.read() as session:
        return questions_of(session.get_one(Batch, batch_id))


def questions_of(batch: Batch) -> SheetHasQuestions:
    """The error that names the open questions of an asked batch."""
    texts = [load_question(q).message for q in batch.questions]
    return SheetHasQuestions(file=batch.file_name, count=len(texts), detail="; ".join(texts))
