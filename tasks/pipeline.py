"""The table: which state makes which task due. The sweep rings by it, and nothing else needs to.

Each query is answered from an index over open work, so it costs the same whether a million rows
are done or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Exists,
    Select,
    and_,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.orm import QueryableAttribute, Session

from config.names import Task
from customs.gateway import LONGEST_PAUSE
from models.reads.deliveries import deliveries_due
from models.reads.pauses import not_paused
from models.rules.grace import LONGEST
from models.rules.retries import RETRY_MOST
from models.rules.states import (
    AT_CUSTOMS,
    BatchState,
    InboxState,
    ItemState,
    RunState,
    SubmissionState,
)
from models.rules.two_persons import EndorsementState
from models.tables.base import aware
from models.tables.batches import ENDED_BATCH, OPEN_BATCH, Batch, Item
from models.tables.card import Card
from models.tables.customs_link import CustomsLink
from models.tables.endorsements import Endorsement
from models.tables.forms import Stock
from models.tables.inbox import MAY_BE_ASKED, InboxMessage, ReceiptLine
from models.tables.notifications import Delivery
from models.tables.reconciliation import Run
from models.tables.submissions import MAY_HAVE_LEFT, WAITS_TO_LEAVE, Submission
from models.writes.low_stock import stocks_to_count

CARD_FORGOTTEN: Final = timedelta(days=1)
"""A card that was not seen for so long is not in use any more: nobody is rung to examine it."""

SIGNING_LEASE: Final = timedelta(minutes=1)
"""How long a message is a card's alone: longer than its signature and those before it take. When it is
over another card may sign the message; the bytes that are stored first stay."""

RINGS_TOGETHER: Final = 1000
"""Batches rung in one sweep; the next sweep rings the others."""


def may_leave(now: datetime, state: SubmissionState) -> ColumnElement[bool]:
    """Of a message: it is to be signed or sent, it is due, nobody is at it, and nobody has stopped it.

    What a clock that ran ahead left for later than anything ever waits is due now.
    """
    put_off, leased = Submission.next_attempt_at, Submission.lease_until
    return and_(
        WAITS_TO_LEAVE,
        Submission.state == state,
        or_(put_off <= now, put_off > now + LONGEST_PAUSE),
        or_(leased.is_(None), leased <= now, leased > now + SIGNING_LEASE),
        not_paused(),
    )


def _in_doubt(now: datetime) -> Select[int]:
    doubt = Submission.state == SubmissionState.IN_DOUBT
    return select(Submission.id).where(MAY_HAVE_LEFT, doubt, Submission.next_attempt_at <= now)


def _sending_lost(now: datetime) -> Select[int]:
    sending = Submission.state == SubmissionState.SENDING
    return select(Submission.id).where(MAY_HAVE_LEFT, sending, Submission.lease_until <= now)


def _may_be_given_back() -> Exists:
    """Something that has not left; what has goes on to its end, however late."""
    left = exists().where(Submission.id == Item.submission_id, Submission.state.in_(AT_CUSTOMS))
    return exists().where(Item.batch_id == Batch.id, Item.state == ItemState.UNDER_WAY, ~left)


def _holds_anything() -> Exists:
    return exists().where(Item.batch_id == Batch.id, Item.state == ItemState.UNDER_WAY)


def _unprepared(now: datetime) -> Select[int]:
    """Working, with forms that no message is about, and the time to take it back over."""
    waiting = exists().where(
        Item.batch_id == Batch.id, Item.state == ItemState.UNDER_WAY, Item.submission_id.is_(None)
    )
    end = Batch.grace_until
    over = or_(end.is_(None), end <= now, end > now + LONGEST)
    working = and_(Batch.state == BatchState.WORKING, Batch.cancelled_at.is_(None), over)
    return select(Batch.id).where(OPEN_BATCH, working, waiting)


def _queued(_now: datetime) -> Select[int]:
    return select(Batch.id).where(Batch.queued_at.is_not(None))


def _to_read(now: datetime) -> Select[int]:
    """Queued, and not put off after it failed. What a clock that ran ahead put off for longer than that is due now."""
    until = Batch.lease_until
    put_off = and_(Batch.lease.is_(None), until > now, until <= now + RETRY_MOST)
    return _queued(now).where(or_(until.is_(None), ~put_off))


@dataclass(frozen=True, slots=True)
class Stage:
    """What makes a task due: a query of ids, and since when each has been due."""

    task: Task
    due: Callable[[datetime], Select[int] | Select[str]]
    since: (
        ColumnElement[datetime] | QueryableAttribute[datetime] | QueryableAttribute[datetime | None]
    )
    waits: Callable[[datetime], Select[int]] | None = None
    """What is due or was put off because it failed: nobody is rung for that, and its age is shown."""


PER_BATCH: Final = (
    Stage(
        Task.READ,
        _to_read,
        Batch.queued_at,
        _queued,
    ),
    Stage(
        Task.RESERVE,
        lambda _now: select(Batch.id).where(OPEN_BATCH, Batch.state == BatchState.CONFIRMED),
        Batch.confirmed_at,
    ),
    Stage(Task.PREPARE, _unprepared, func.coalesce(Batch.grace_until, Batch.confirmed_at)),
    Stage(
        Task.REPORT,
        lambda _now: select(Batch.id).where(ENDED_BATCH, Batch.reported_at.is_(None)),
        Batch.finished_at,
    ),
    Stage(
        Task.REPORT,  # two transactions that decide the last two forms do not see each other's
        lambda _now: select(Batch.id).where(
            OPEN_BATCH, Batch.state == BatchState.WORKING, ~_holds_anything()
        ),
        Batch.finished_at,
    ),
    Stage(
        Task.EXPIRE,
        lambda now: select(Batch.id).where(
            OPEN_BATCH,
            Batch.state == BatchState.WORKING,
            or_(Batch.expires_at <= now, Batch.cancelled_at.is_not(None)),
            _may_be_given_back(),
        ),
        Batch.expires_at,
    ),
)
"""Rung once for each batch that the query gives."""

AT_ALL: Final = (
    Stage(
        Task.SIGN,
        lambda now: select(Submission.id).where(may_leave(now, SubmissionState.PREPARED)),
        Submission.next_attempt_at,
    ),
    Stage(
        Task.SIGN,
        lambda now: select(Card.label).where(
            Card.examine_at <= now, Card.seen_at > now - CARD_FORGOTTEN
        ),
        Card.examine_at,
    ),
    Stage(
        Task.SEND,
        lambda now: select(Submission.id).where(may_leave(now, SubmissionState.SIGNED)),
        Submission.next_attempt_at,
    ),
    Stage(
        Task.ASK,
        _in_doubt,
        Submission.next_attempt_at,
    ),
    Stage(Task.ASK, _sending_lost, Submission.lease_until),
    Stage(
        Task.APPLY,
        lambda _now: select(InboxMessage.id).where(InboxMessage.state == InboxState.RECEIVED),
        InboxMessage.received_at,
    ),
    Stage(
        Task.ADOPT,
        lambda now: select(ReceiptLine.id).where(MAY_BE_ASKED, ReceiptLine.ask_at <= now),
        ReceiptLine.ask_at,
    ),
    Stage(
        Task.DELIVER,
        deliveries_due,
        Delivery.next_attempt_at,
    ),
    Stage(
        Task.EXPIRE_ENDORSEMENTS,
        lambda now: select(Endorsement.id).where(
            Endorsement.state == EndorsementState.WAITING, Endorsement.expires_at <= now
        ),
        Endorsement.expires_at,
    ),
    Stage(
        Task.COUNT_STOCK,
        stocks_to_count,
        Stock.count_at,
    ),
    Stage(
        Task.RECONCILE,
        lambda now: select(Run.id).where(
            Run.state.in_([RunState.PLANNED, RunState.COMPARING]),
            Run.due_at <= now,
            or_(Run.lease_until.is_(None), Run.lease_until <= now),
        ),
        Run.due_at,
    ),
    Stage(
        Task.POLL,
        lambda now: select(CustomsLink.name).where(CustomsLink.poll_at <= now),
        CustomsLink.poll_at,
    ),
)
"""Rung once when a query gives anything; the task takes what is due in the order of ids."""


def due(session: Session, now: datetime) -> Iterator[tuple[Task, tuple[int, ...]]]:
    """Everything that is due now, as rings."""
    for stage in PER_BATCH:
        for batch_id in session.execute(stage.due(now).limit(RINGS_TOGETHER)).scalars():
            yield stage.task, (int(batch_id),)
    rung: set[Task] = set()
    for stage in AT_ALL:
        if stage.task not in rung and session.execute(stage.due(now).limit(1)).first() is not None:
            rung.add(stage.task)
            yield stage.task, ()


def oldest_due(session: Session, now: datetime) -> dict[Task, float]:
    """By task, for how many seconds its oldest row has been due: what nobody works on, or what fails, grows old.

    A task that is due and does not know since when counts as 0.
    """
    ages: dict[Task, float] = {}
    for stage in (*PER_BATCH, *AT_ALL):
        count, since = session.execute(
            (stage.waits or stage.due)(now).with_only_columns(func.count(), func.min(stage.since))
        ).one()
        if count:
            age = max(0.0, (now - aware(since)).total_seconds()) if since is not None else 0.0
            ages[stage.task] = max(age, ages.get(stage.task, 0.0))
    return ages
