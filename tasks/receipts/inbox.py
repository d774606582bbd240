"""Stage 5a, the inbox: callback and poll bring what customs said, stored once as it came.

What comes twice, by whichever way, is one row; applying it is another step. Whatever customs signed
is kept: what is no receipt, and what cannot be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import String, select, update
from sqlalchemy.orm import Session, aliased

from config.crash import Point, crash_point
from config.names import Task
from customs.gateway import ReceiptPage
from customs.wire import OtherEvent, WireProfile
from models.reads.deployment import require_identity
from models.rules.causes import DiscrepancyKind
from models.rules.errors import AnotherDeployment, AnswerTooLarge, GatewayUnreachable, ListRefused
from models.rules.polling import SOONEST, longest_wait, wait_for_receipts
from models.rules.states import InboxState
from models.tables.bulk import insert_new_keys, insert_rows, rows_table
from models.tables.customs_link import CustomsLink
from models.tables.discrepancies import Discrepancy
from models.tables.inbox import InboxMessage
from models.tables.locks import Lock, hold
from models.tables.submissions import IS_TAKEN, Submission
from models.writes.line import customs_link
from tasks.app import app
from tasks.context import Context, current
from tasks.lists import raise_refused

log = structlog.get_logger(__name__)

RECEIPTS_TOGETHER: Final = 500
"""Receipts in one page: the contract's most."""

PAGES_A_RING: Final = 20
_TEXT_LIMIT: Final = 150

CALLBACK_ID_LENGTH: Final = 255
"""Characters of `webhook-id` that are kept."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something customs told us, as it came."""

    key: str
    source: str
    receipt_id: str | None
    body: bytes
    state: InboxState = InboxState.RECEIVED
    reason: str | None = None
    callback_id: str | None = None


def receipt_arrival(
    receipt_id: str, xml: bytes, source: str, callback_id: str | None = None
) -> Arrival:
    """A receipt, by whichever way. The same id with other content is another thing (an alarm)."""
    digest = hashlib.sha256(xml).hexdigest()
    receipt_id = receipt_id.replace("\0", "").encode(errors="replace").decode()
    key = f"receipt:{receipt_id[:240]}:{digest}"
    return Arrival(key, source, receipt_id[:255], xml, callback_id=callback_id)


def callback_arrival(wire: WireProfile, callback_id: str, body: bytes) -> Arrival:
    """What a verified callback brought. Whatever is not a receipt is kept (contract section 4)."""
    callback_id = callback_id[:CALLBACK_ID_LENGTH]
    key = f"callback:{callback_id[:240]}:{hashlib.sha256(body).hexdigest()}"
    try:
        told = wire.callback(body)
        if isinstance(told, OtherEvent):
            reason = told.type[:_TEXT_LIMIT]
            return Arrival(key, "callback", None, body, InboxState.KEPT, reason, callback_id)
        return receipt_arrival(told.receipt_id, told.xml, "callback", callback_id)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"unreadable: {type(error).__name__}"
        return Arrival(key, "callback", None, body, InboxState.QUARANTINED, reason, callback_id)


def store(session: Session, arrivals: Sequence[Arrival], now: datetime) -> list[str]:
    """Put into the inbox what is not there yet; gives the keys of what was new.

    One at a time on PostgreSQL, as on SQLite: a callback and a poll that bring the same receipts in
    different orders would wait for each other in a circle. Sorting them instead would lose customs'
    order, oldest first.
    """
    hold(session, Lock.INBOX)
    rows = [
        {
            "key": a.key,
            "source": a.source,
            "receipt_id": a.receipt_id,
            "body": a.body,
            "received_at": now,
            "state": a.state,
            "reason": a.reason,
            "callback_id": a.callback_id,
        }
        for a in {a.key: a for a in arrivals}.values()
    ]
    new = insert_new_keys(session, InboxMessage, rows, "key")
    callbacks = [a for a in arrivals if a.callback_id is not None]
    if callbacks:
        known = _now_told_by(session, [a for a in callbacks if a.key not in set(new)])
        told = [a for a in callbacks if a.key in {*new, *known}]
        if told:
            _raise_odd(session, told, now)
    return new


def _now_told_by(session: Session, callbacks: Sequence[Arrival]) -> set[str]:
    """What a poll had brought first is now known by its callback too; gives the keys of those."""
    if not callbacks:
        return set()
    given = rows_table(
        session,
        {"key": String(), "callback_id": String()},
        [(a.key, a.callback_id) for a in callbacks],
    )
    return set(
        session.scalars(
            update(InboxMessage)
            .where(InboxMessage.key == given.c.key, InboxMessage.callback_id.is_(None))
            .values(callback_id=given.c.callback_id)
            .returning(InboxMessage.key)
        )
    )


def _raise_odd(session: Session, callbacks: Sequence[Arrival], now: datetime) -> None:
    """Another body under a known callback id is kept beside the first, and told (contract section 4); so is
    one that cannot be read.
    """
    given = rows_table(
        session,
        {"key": String(), "callback_id": String()},
        [(a.key, a.callback_id) for a in callbacks],
    )
    known = aliased(InboxMessage)
    another = select(known.id).where(
        known.callback_id == given.c.callback_id, known.key != given.c.key
    )
    found = session.execute(
        select(
            InboxMessage.id,
            InboxMessage.callback_id,
            InboxMessage.state,
            InboxMessage.reason,
            another.correlate(given).exists(),
        ).join(given, given.c.key == InboxMessage.key)
    ).all()
    odd = [
        (DiscrepancyKind.CALLBACK.value, i, f"webhook-id {c}")
        for i, c, _, _, later in found
        if later
    ]
    odd += [
        (DiscrepancyKind.RECEIPT.value, i, reason or "")
        for i, _, state, reason, _ in found
        if state is InboxState.QUARANTINED
    ]
    insert_rows(
        session,
        Discrepancy,
        [
            {"kind": kind, "inbox_id": i, "detail": detail[:400], "raised_at": now}
            for kind, i, detail in odd
        ],
    )


def poll_when_due(context: Context) -> int:
    """Poll, unless it is not yet time or another process has just begun; gives how many were new."""
    with context.database.read() as session:
        due = session.scalar(select(CustomsLink.poll_at <= context.now()))
    return poll(context) if due else 0


def poll(context: Context) -> int:
    """Fetch receipts from where the last poll ended; gives how many were new.

    The cursor moves in the transaction that stores the page, so a page is never skipped. When the next is
    due is `models.rules.polling`'s to say. Raises `GatewayUnreachable`; the next is due all the same, when customs
    named a time, then.
    """
    with context.database.write() as session:
        require_identity(session, context.identity)
        link = customs_link(session, context.now())
        link.poll_at = context.now() + _wait(session, context, link)
        cursor = link.cursor
    new, limit = 0, RECEIPTS_TOGETHER
    for _ in range(PAGES_A_RING):
        try:
            page, limit = _page(context, cursor, limit)
        except (ListRefused, AnswerTooLarge) as error:
            raise_refused(context, "receipts", error)  # the next poll would end so too
            raise
        except GatewayUnreachable as error:
            if (named := error.values.get("wait")) is not None:
                with context.database.write() as session:
                    link = customs_link(session, context.now())
                    link.poll_at = context.now() + timedelta(seconds=float(str(named)))
            raise
        arrivals = [receipt_arrival(r.receipt_id, r.xml, "poll") for r in page.receipts]
        crash_point(Point.RECEIPTS_FETCHED)
        if arrivals or page.next != cursor:
            with context.database.write() as session:
                new_here = len(store(session, arrivals, context.now()))
                link = customs_link(session, context.now())
                link.cursor = page.next
                if arrivals:
                    link.called_back = not new_here
            new, cursor = new + new_here, page.next
            crash_point(Point.RECEIPTS_STORED)
        if new:
            context.ring(Task.APPLY)
        if not page.receipts:  # one that holds fewer than asked for is not the last
            return new
    context.ring(Task.POLL)
    return new


def _wait(session: Session, context: Context, link: CustomsLink) -> timedelta:
    youngest = session.scalar(
        select(Submission.taken_at)
        .where(IS_TAKEN, Submission.taken_at.is_not(None))
        .order_by(Submission.taken_at.desc())
        .limit(1)
    )
    return wait_for_receipts(
        None if youngest is None else context.now() - youngest,
        timedelta(seconds=context.settings.poll_seconds),
        called_back=link.called_back,
    )


def await_receipts(session: Session, context: Context) -> None:
    """Customs has taken something: the next poll may be further off than is right now."""
    soon = context.now() + SOONEST
    usual = context.now() + timedelta(seconds=context.settings.poll_seconds)
    session.execute(
        update(CustomsLink)
        .where(CustomsLink.poll_at > usual, ~CustomsLink.called_back)
        .values(poll_at=soon)
    )


def poll_soon(session: Session, context: Context) -> None:
    """Somebody does not want to wait: the next poll is a second away at most. What is further off than we ever
    put it is a wait that customs asked for, and stays.
    """
    soon = context.now() + SOONEST
    longest = context.now() + longest_wait(timedelta(seconds=context.settings.poll_seconds))
    session.execute(
        update(CustomsLink)
        .where(CustomsLink.poll_at > soon, CustomsLink.poll_at <= longest)
        .values(poll_at=soon)
    )


def _page(context: Context, cursor: str, limit: int) -> tuple[ReceiptPage, int]:
    """The next page, by half the limit while it is too large, and the limit that it came by."""
    while True:
        try:
            return context.gateway.receipts(cursor, limit), limit
        except AnswerTooLarge:
            if limit == 1:
                raise
            limit //= 2


@app.task(name=Task.POLL.value)
def poll_task() -> None:
    """It is time to fetch receipts."""
    try:
        poll_when_due(current())
    except GatewayUnreachable as error:
        log.warning("poll_failed", detail=str(error.values.get("detail")))
    except AnotherDeployment as refusal:
        log.warning("poll_waits", code=refusal.code, detail=str(refusal))
