"""The second person: endorses a plan, which is then carried out as it is, or rejects it.

A batch is locked before its endorsement is decided, by compare-and-set: of an endorsement, a rejection, an
expiry and a cancel at once one wins.
"""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from models.reads.people import actor_as_now
from models.rules.errors import BatchGoesOn, DatabaseUnreachable, EndorsementDecided, NotFound
from models.rules.people import Deed, require
from models.rules.states import BatchState
from models.rules.two_persons import (
    ENDORSEMENT_WORDS,
    EndorsementState,
    require_another,
)
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch
from models.tables.endorsements import Endorsement
from models.writes.acts import record_act
from models.writes.announcements import announce_stopped
from models.writes.endorsements import back_to_checked, decide
from tasks.app import app
from tasks.context import Context, current
from tasks.orders.reserving import reserve
from tasks.people.changes import make_change

log = structlog.get_logger(__name__)

EXPIRED_TOGETHER: Final = 100
"""Requests that one ring lets expire, each in a transaction of its own."""


def endorse(context: Context, endorsement_id: int) -> None:
    """Say yes as the second person; what was endorsed is carried out, exactly.

    Raises `NotFound`, `NotAllowed`, `AnotherPersonNeeded` for who asked for it, `EndorsementDecided` when it
    does not wait any more, and what `reserve` raises: then the endorsement is void, and the maker is asked anew.
    """
    with context.database.write() as session:
        context.journal.require_current(session)
        one, batch = _locked(session, endorsement_id)
        _decide(session, context, one, batch, EndorsementState.ENDORSED)
        if batch is not None:
            batch.state, batch.confirmed_at = BatchState.CONFIRMED, context.now()
        holds = one.proposal is None or make_change(session, context, one.proposal)
        if not holds:
            one.state = EndorsementState.MOVED
        _record(session, context, Deed.ENDORSED, one, state=one.state.value)
    if not holds:
        raise EndorsementDecided(state=str(ENDORSEMENT_WORDS[EndorsementState.MOVED]))
    log.info("endorsed", endorsement=endorsement_id, batch_id=one.batch_id)
    if batch is not None:
        crash_point(Point.CONFIRMED)
        try:
            reserve(context, batch.id)
        except DatabaseUnreachable as lost:
            raise BatchGoesOn(batch=batch.id, detail=lost.values.get("detail")) from lost


def reject(context: Context, endorsement_id: int, reason: str) -> None:
    """Say no as the second person: the batch is checked as before. Raises as `endorse`."""
    with context.database.write() as session:
        one, batch = _locked(session, endorsement_id)
        _decide(session, context, one, batch, EndorsementState.REJECTED, reason)
        if batch is not None:
            back_to_checked(batch)
            told = {"reason": reason}
            announce_stopped(session, batch, "endorsement_rejected", told, context.now())
        _record(session, context, Deed.REJECTED, one, reason=reason)
    context.ring(Task.DELIVER)
    log.info("rejected", endorsement=endorsement_id, batch_id=one.batch_id)


def expire(context: Context) -> int:
    """Let what waited too long expire; gives how many. Their batches are checked as before."""
    now = context.now()
    with context.database.read() as session:
        late = session.scalars(
            select(Endorsement.id)
            .where(Endorsement.state == EndorsementState.WAITING, Endorsement.expires_at <= now)
            .order_by(Endorsement.expires_at)
            .limit(EXPIRED_TOGETHER)
        ).all()
    expired = 0
    for endorsement_id in late:
        with context.database.write() as session:
            _, batch = _locked(session, endorsement_id)
            if decide(session, endorsement_id, EndorsementState.EXPIRED, now):
                expired += 1
                if batch is not None and batch.state is BatchState.AWAITING:
                    back_to_checked(batch)
                    announce_stopped(session, batch, "endorsement_expired", {}, now)
    if expired:
        context.ring(Task.DELIVER)
        log.warning("endorsements_expired", count=expired)
    return expired


def _locked(session: Session, endorsement_id: int) -> tuple[Endorsement, Batch | None]:
    """The endorsement, and its batch, locked before the endorsement is looked at."""
    batch_id = session.execute(
        select(Endorsement.batch_id).where(Endorsement.id == endorsement_id)
    ).first()
    if batch_id is None:
        raise NotFound(what=str(endorsement_id))
    batch = None
    if batch_id[0] is not None:
        batch = session.get(Batch, batch_id[0], with_for_update=NO_KEY_UPDATE)
    return session.get_one(Endorsement, endorsement_id), batch


def _decide(
    session: Session,
    context: Context,
    one: Endorsement,
    batch: Batch | None,
    state: EndorsementState,
    reason: str | None = None,
) -> None:
    require(actor_as_now(session, context.actor), Deed.ENDORSED)
    if context.sight is not None and (batch is None or not context.sight.sees(batch)):
        raise NotFound(what=str(one.id))
    makers = {one.asked_by_id, *((batch.made_by_id, batch.confirmed_by_id) if batch else ())}
    require_another(makers, context.actor)
    decided = decide(session, one.id, state, context.now(), context.actor.person_id, reason)
    in_time = context.now() < one.expires_at
    waits = batch is None or (
        batch.state is BatchState.AWAITING and batch.expected_plan == one.plan
    )
    if not decided or not waits or not in_time:
        session.refresh(one)
        raise EndorsementDecided(state=str(ENDORSEMENT_WORDS[one.state]))


def _record(
    session: Session, context: Context, deed: Deed, one: Endorsement, **detail: object
) -> None:
    session.flush()
    change = one.proposal or {}
    about = f"batch {one.batch_id}" if one.batch_id is not None else change.get("about", "rules")
    said = {"endorsement": one.id, "plan": one.plan, "change": change.get("kind"), **detail}
    record_act(session, context.actor, deed, about, context.now(), **said)


@app.task(name=Task.EXPIRE_ENDORSEMENTS.value)
def expire_task() -> None:
    """Something has waited too long for a second person."""
    expire(current())
