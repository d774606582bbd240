"""The rules that hold, who may endorse, and what waits for a second person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from models.reads.people import roles_of
from models.reads.sight import Sight
from models.rules.calendar import business_date, start_of
from models.rules.people import Actor, Role
from models.rules.states import Action, BatchState, ItemState, RowStatus
from models.rules.two_persons import (
    SECRET,
    SENT_BACK,
    EndorsementState,
    OrderFacts,
    Rules,
    rules_from,
    touched,
)
from models.tables.batches import UNCONFIRMED_BATCH, Batch, BatchRow, Item
from models.tables.endorsements import IS_WAITING, Endorsement, RulesVersion
from models.tables.people import Person


def known_rules(session: Session) -> tuple[int, Rules]:
    """The rules that hold, and their version; version 0: nobody has set any, and they are off."""
    newest = session.scalar(select(RulesVersion).order_by(RulesVersion.version.desc()).limit(1))
    return (newest.version, rules_from(newest.rules)) if newest else (0, Rules())


def able_persons(session: Session) -> int:
    """How many may endorse."""
    active = session.scalars(select(Person).where(Person.disabled_at.is_(None)))
    return sum(Role.CHECKER in roles_of(person) for person in active)


def facts_of(
    session: Session, batch: Batch, actor: Actor, now: datetime, *, again: bool
) -> OrderFacts:
    """What the rules look at of a batch that this actor is about to confirm."""
    voids = session.execute(
        select(func.count(), BatchRow.reason_code)
        .select_from(Item)
        .join(BatchRow, (BatchRow.batch_id == Item.batch_id) & (BatchRow.number == Item.row_number))
        .where(
            Item.batch_id == batch.id,
            Item.action == Action.VOID,
            Item.state == ItemState.PLANNED,
            BatchRow.status == RowStatus.OK,
        )
        .group_by(BatchRow.reason_code)
    ).all()
    any_void = session.scalar(
        select(exists().where(Item.batch_id == batch.id, Item.action == Action.VOID))
    )
    persons = {actor.person_id, None}  # one at a time: an OR would read every batch
    return OrderFacts(
        voids=sum(count for count, _ in voids),
        voids_today=sum(_voids_of_day(session, batch, person, now) for person in persons),
        reasons=frozenset(code for _, code in voids if code),
        again=again or batch.again_reason is not None or _same_sheet_before(session, batch),
        beyond_pages=batch.beyond_reason is not None,
        any_void=bool(any_void),
    )


def _voids_of_day(session: Session, batch: Batch, person_id: int | None, now: datetime) -> int:
    """Voids that this person has confirmed on this business date but for this batch; None: nobody known."""
    begin = start_of(business_date(now))
    confirmed = session.scalar(
        select(func.coalesce(func.sum(Batch.void_count), 0)).where(
            Batch.confirmed_by_id == person_id,
            Batch.confirmed_at >= begin,
            Batch.confirmed_at < begin + timedelta(days=1),
            Batch.id != batch.id,
        )
    )
    return int(confirmed or 0)


def _same_sheet_before(session: Session, batch: Batch) -> bool:
    """Whether the same sheet was confirmed already, perhaps read otherwise."""
    if batch.sha256 is None:
        return False
    confirmed = (BatchState.AWAITING, BatchState.CONFIRMED, BatchState.WORKING, BatchState.FINISHED)
    same = exists().where(
        Batch.sha256 == batch.sha256,
        Batch.sheet == batch.sheet,
        Batch.id != batch.id,
        Batch.state.in_(confirmed),
    )
    return bool(session.scalar(select(same)))


def list_endorsements(
    session: Session,
    *,
    waiting: bool = True,
    number: int | None = None,
    batch_id: int | None = None,
    limit: int | None = None,
    after: int | None = None,
    sight: Sight | None = None,
) -> Iterator[dict[str, Any]]:
    """What waits, the oldest first, or all, the newest first, or the one with this number; as JSON says it.

    `after`: those that come behind this one in that order.
    """
    maker, checker = aliased(Person), aliased(Person)
    query = (
        select(Endorsement, maker.name, checker.name, Batch)
        .join(maker, maker.id == Endorsement.asked_by_id)
        .outerjoin(checker, checker.id == Endorsement.decided_by_id)
        .outerjoin(Batch, Batch.id == Endorsement.batch_id)
        .limit(limit)
    )
    if number is not None:
        query = query.where(Endorsement.id == number)
    elif waiting:
        query = query.where(IS_WAITING)
    if sight is not None:
        query = query.where(sight.batches)
    if batch_id is not None:
        query = query.where(Endorsement.batch_id == batch_id)
    if after is not None:
        query = query.where(Endorsement.id > after if waiting else Endorsement.id < after)
    query = query.order_by(Endorsement.id if waiting else Endorsement.id.desc())
    for one, asked_by, decided_by, batch in session.execute(query):
        yield {
            "id": one.id,
            "state": one.state.value,
            "batch": one.batch_id,
            "file": batch.file_name if batch else None,
            "reasons": [r for r in (batch.again_reason, batch.beyond_reason) if r] if batch else [],
            "at_once": bool(batch and batch.at_once),
            "plan": one.plan,
            "proposal": _shown(one.proposal),
            "rules": one.rules,
            "asked_by": asked_by,
            "asked_by_id": one.asked_by_id,
            "asked_at": one.asked_at.isoformat(),
            "expires_at": one.expires_at.isoformat(),
            "decided_by": decided_by,
            "decided_at": one.decided_at.isoformat() if one.decided_at else None,
            "reason": one.reason,
        }


def would_ask(
    session: Session, batch: Batch, actor: Actor, now: datetime, *, again: bool = False
) -> list[str]:
    """Why a second person would be asked if this actor confirmed it now, in words; none where nobody would."""
    _, rules = known_rules(session)
    asked = touched(rules, facts_of(session, batch, actor, now, again=again))
    return [rules.words(rule) for rule in asked]


def sent_back(session: Session, batch_id: int) -> dict[str, Any] | None:
    """The last word of a second person on a batch that is checked as before: rejected, expired, void."""
    last = next(list_endorsements(session, waiting=False, batch_id=batch_id, limit=1), None)
    return last if last is not None and EndorsementState(last["state"]) in SENT_BACK else None


def came_back(session: Session, person_id: int | None, limit: int) -> Iterator[dict[str, Any]]:
    """Orders that this person made or submitted and that a second one rejected or let expire, where they are as they
    were before: the newest first, each with the last word on it.
    """
    later = aliased(Endorsement)
    query = (
        select(Endorsement.batch_id)
        .join(Batch, Batch.id == Endorsement.batch_id)
        .where(
            or_(Batch.made_by_id == person_id, Endorsement.asked_by_id == person_id),
            Batch.state == BatchState.CHECKED,
            UNCONFIRMED_BATCH,
            Endorsement.state.in_(SENT_BACK),
            ~exists().where(later.batch_id == Endorsement.batch_id, later.id > Endorsement.id),
        )
        .order_by(Endorsement.batch_id.desc())
        .limit(limit)
    )
    for number in session.scalars(query).all() if person_id is not None else ():
        yield next(list_endorsements(session, waiting=False, batch_id=number, limit=1))


@dataclass(frozen=True, slots=True)
class Awaiting:
    """A form in a plan that waits for a second person; nothing is reserved yet."""

    batch_id: int
    serial: str
    action: Action


def awaiting_forms(session: Session, certificate: str, limit: int) -> list[Awaiting]:
    """Forms of this certificate in plans that wait for a second person, the oldest first."""
    waiting = session.scalars(
        select(Endorsement.batch_id).where(IS_WAITING, Endorsement.batch_id.is_not(None))
    ).all()
    if not waiting:
        return []
    found = session.execute(
        select(Item.batch_id, Item.serial, Item.action)
        .where(
            Item.batch_id.in_(waiting),
            Item.certificate == certificate,
            Item.state == ItemState.PLANNED,
        )
        .order_by(Item.batch_id, Item.serial)
        .limit(limit)
    )
    return [Awaiting(*row) for row in found]


def _shown(proposal: dict[str, Any] | None) -> dict[str, Any] | None:
    """A change as people may see it."""
    return proposal and {name: value for name, value in proposal.items() if name != SECRET}
