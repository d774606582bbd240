"""A person says yes to a plan: it is kept, once, and carried out.

Of the same content twice the second is refused, unless the person says so; a sheet with open questions
has no plan to say yes to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from models.reads.batches import BatchCounts, batch_counts
from models.reads.endorsements import facts_of, known_rules
from models.reads.people import actor_as_now
from models.reads.sight import require_seen
from models.rules.errors import (
    BatchBusy,
    BatchGoesOn,
    BatchNotOpen,
    ConfirmationUnknown,
    DatabaseUnreachable,
    FileSubmittedBefore,
    NothingToSubmit,
    PersonNeeded,
    PlanMoved,
    RowsRefused,
    SheetHasQuestions,
)
from models.rules.people import Deed, require
from models.rules.states import BatchState, RowStatus, label
from models.rules.two_persons import RULE_WORDS, Rule, touched
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch
from models.writes.acts import record_act
from models.writes.announcements import announce_stopped
from models.writes.endorsements import ask_for_endorsement, one_at_a_time
from models.writes.leases import is_busy
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
    queued: bool = False
    """Said by a worker, for a program: only while the order waits for it."""


def confirm(
    context: Context, batch_id: int, said: Confirmation, *, reserve_now: bool = True
) -> bool:
    """Record the yes and reserve at once, or (`reserve_now` False) have a worker do so. Of two confirmations at
    once, one wins.

    False: the rules ask for a second person (`tasks.people.endorsing`), nothing is reserved before.
    Raises `NotAllowed`, and `PersonNeeded` where they do and nobody knows who this one is.

    Raises `FileSubmittedBefore`, `BatchNotOpen`, and what `reserve` raises; then nothing is
    reserved and the batch is checked as before. `BatchGoesOn` when the database was lost after the yes was
    kept: the sweep carries it out. `ConfirmationUnknown` when it was lost while the yes was being kept.
    """
    try:
        goes_on = _confirm(context, batch_id, said)
    except DatabaseUnreachable as lost:
        raise ConfirmationUnknown(batch=batch_id, detail=lost.values.get("detail")) from lost
    log.info("batch_confirmed" if goes_on else "batch_awaits", batch_id=batch_id)
    if not goes_on:
        return False
    crash_point(Point.CONFIRMED)
    if not reserve_now:
        context.ring(Task.RESERVE, batch_id)
        return True
    try:
        reserve(context, batch_id)
    except DatabaseUnreachable as lost:
        raise BatchGoesOn(batch=batch_id, detail=lost.values.get("detail")) from lost
    return True


def _confirm(context: Context, batch_id: int, said: Confirmation) -> bool:
    """Keep the yes; whether it is carried out now, or waits for a second person."""
    try:
        with context.database.write() as session:
            context.journal.require_current(session)
            found = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
            batch = require_seen(context.sight, found, batch_id)
            if batch.state is BatchState.ASKED:
                raise questions_of(batch)
            if batch.state is not BatchState.CHECKED or (said.queued and batch.queued_at is None):
                raise BatchNotOpen(batch=batch_id, state=label(batch.state))
            if batch.plan is None or is_busy(batch, context.now()):
                raise BatchBusy(batch=batch_id)
            if not said.again and (before := submitted_before(session, batch)):
                raise FileSubmittedBefore(batch=before.id, when=f"{before.confirmed_at:%Y-%m-%d}")
            actor = actor_as_now(session, context.actor)
            require(actor, Deed.ORDER_CONFIRMED)
            if said.at_once:
                require(actor, Deed.ORDER_AT_ONCE)
            if said.all_or_nothing:
                refuse_part(batch_counts(session, batch_id))
            asked = _keep_yes(session, context, batch, said)
            session.flush()
            if not asked:
                deed = Deed.ORDER_AT_ONCE if said.at_once else Deed.ORDER_CONFIRMED
            else:
                deed = Deed.ORDER_ASKED
            record_act(
                session, context.actor, deed, f"batch {batch_id}", context.now(), plan=batch.plan
            )
            return not asked
    except IntegrityError as error:  # another process confirmed the same content just now
        with context.database.read() as session:
            before = submitted_before(session, session.get_one(Batch, batch_id))
        number = before.id if before else "?"
        raise FileSubmittedBefore(batch=number, when="") from error


def _keep_yes(
    session: Session, context: Context, batch: Batch, said: Confirmation
) -> Sequence[Rule]:
    """Keep the yes with the batch; gives the rules that ask for a second person, who is asked then."""
    now, actor = context.now(), context.actor
    _, rules = known_rules(session)
    if rules.on:
        one_at_a_time(session)  # what two confirm at once adds up
    facts = facts_of(session, batch, actor, now, again=said.again)
    asked = touched(rules, facts)
    batch.confirmed_at, batch.queued_at = now, None  # whoever said it: nobody says it again
    if batch.asked_for:
        kept = {name: value for name, value in batch.asked_for.items() if name != "stopped"}
        batch.asked_for = kept
    batch.all_or_nothing = said.all_or_nothing
    batch.confirmed_content = None if said.again else batch.order_key or batch.sha256
    batch.at_once = said.at_once
    batch.confirmed_by, batch.confirmed_via = actor.name, actor.channel.value
    batch.confirmed_by_id = actor.person_id
    batch.void_count, batch.needs_second = facts.voids, bool(asked)
    if not asked:
        # the rules have looked at this plan: rows that come right meanwhile must not pass them by
        looked_at = batch.plan if rules.on and facts.any_void else None
        batch.state, batch.expected_plan = BatchState.CONFIRMED, said.plan or looked_at
        return asked
    if actor.person_id is None:
        raise PersonNeeded(rules=", ".join(str(RULE_WORDS[rule]) for rule in asked))
    if said.plan is not None and said.plan != batch.plan:
        raise PlanMoved
    batch.state, batch.expected_plan = BatchState.AWAITING, batch.plan
    if batch.asked_for:
        announce_stopped(session, batch, "awaits_endorsement", {}, now)
    ask_for_endorsement(session, actor.person_id, asked, rules, now, batch=batch)
    return asked


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


def refuse_part(counts: BatchCounts) -> None:
    """Raise `RowsRefused` where not all rows are right: all of them are wanted, and nobody need look at it further."""
    problems = counts.rows.get(RowStatus.PROBLEM, 0)
    if problems:
        raise RowsRefused(problems=problems, rows=problems + counts.rows.get(RowStatus.OK, 0))


def refuse_nothing_right(counts: BatchCounts) -> None:
    """Raise `NothingToSubmit` where no row is right."""
    if not counts.rows.get(RowStatus.OK):
        raise NothingToSubmit


def questions_open(context: Context, batch_id: int) -> SheetHasQuestions:
    """The same by the number of the batch."""
    with context.database.read() as session:
        return questions_of(session.get_one(Batch, batch_id))


def questions_of(batch: Batch) -> SheetHasQuestions:
    """The error that names the open questions of an asked batch."""
    texts = [load_question(q).message for q in batch.questions]
    return SheetHasQuestions(file=batch.file_name, count=len(texts), detail="; ".join(texts))
