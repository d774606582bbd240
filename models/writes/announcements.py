"""What is told to those who wait, each in the transaction of what it tells of.

What is rolled back is never told, what is committed is told at least once. A refusal is told message by
message (one certificate, one operation), never form by form.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    String,
    insert,
    literal,
    select,
)
from sqlalchemy.orm import Session

from models.reads.batches import batch_counts
from models.rules.errors import BlankformsError
from models.rules.states import Action, DeliveryState, FormState, NotificationType, RowStatus
from models.tables.base import UTCDateTime
from models.tables.batches import Batch
from models.tables.bulk import insert_rows, rows_table
from models.tables.notifications import Delivery, Endpoint, Notification
from models.tables.people import ApiKey


def announce(
    session: Session,
    kind: NotificationType,
    data: Mapping[str, Any],
    at: datetime,
    batch_id: int | None = None,
) -> int:
    """Tell every active endpoint that wants this kind; gives the number of deliveries.

    Notifications of one batch reach an endpoint in the order in which they were announced.
    """
    return announce_all(session, kind, [(data, batch_id)], at)


def announce_all(
    session: Session,
    kind: NotificationType,
    told: Sequence[tuple[Mapping[str, Any], int | None]],
    at: datetime,
) -> int:
    """The same for several at once: (data, batch)."""
    return tell(session, kind, told, at, listeners(session, kind))


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told: active endpoints, and whoever may pull the feed. Nobody: nothing need be gathered."""

    endpoints: Sequence[int] = ()
    feed: bool = False

    def __bool__(self) -> bool:
        return self.feed or bool(self.endpoints)


def listeners(session: Session, kind: NotificationType) -> Listeners:
    """Who wants this kind now. There is a feed once there is a key to pull it with, revoked or not: who comes
    with the next key misses nothing.
    """
    wanted = select(Endpoint.id, Endpoint.events).where(Endpoint.active).order_by(Endpoint.id)
    endpoints = [i for i, events in session.execute(wanted) if kind.value in events]
    return Listeners(endpoints, session.scalar(select(ApiKey.id).limit(1)) is not None)


def tell(
    session: Session,
    kind: NotificationType,
    told: Sequence[tuple[Mapping[str, Any], int | None]],
    at: datetime,
    to: Listeners,
) -> int:
    """Write notifications, and one delivery of each to each endpoint; gives the number of deliveries."""
    if not to or not told:
        return 0
    keys = [f"evt_{uuid.uuid4().hex}" for _ in told]
    insert_rows(
        session,
        Notification,
        [
            {
                "key": key,
                "type": kind.value,
                "batch_id": batch_id,
                "data": dict(data),
                "created_at": at,
            }
            for key, (data, batch_id) in zip(keys, told, strict=True)
        ],
    )
    if not to.endpoints:
        return 0
    given = rows_table(session, {"key": String()}, [(key,) for key in keys])
    session.execute(
        insert(Delivery).from_select(
            [
                "endpoint_id",
                "notification_id",
                "batch_id",
                "state",
                "attempt_count",
                "next_attempt_at",
            ],
            select(
                Endpoint.id,
                Notification.id,
                Notification.batch_id,
                literal(DeliveryState.PENDING.value),
                literal(0),
                literal(at, UTCDateTime()),
            )
            .select_from(Notification)
            .join(given, given.c.key == Notification.key)
            .join(Endpoint, Endpoint.id.in_(to.endpoints))
            .order_by(Notification.id, Endpoint.id),
        )
    )
    return len(keys) * len(to.endpoints)


@dataclass(frozen=True, slots=True)
class RefusedForm:
    """One form that customs refused; `hold`: it is held until a person has looked."""

    serial: str
    code: str
    text: str
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """What customs refused of one message."""

    batch_id: int
    certificate: str
    action: Action
    forms: Sequence[RefusedForm]


def announce_checked(session: Session, batch: Batch, at: datetime) -> None:
    """A batch was checked, or checked again with another plan."""
    kind = NotificationType.BATCH_CHECKED
    to = listeners(session, kind)
    if to:
        session.flush()
        told = {**_told(session, batch), "plan": batch.plan}
        tell(session, kind, [(told, batch.id)], at, to)


def announce_stopped(
    session: Session, batch: Batch, code: str, values: Mapping[str, str], at: datetime
) -> None:
    """An order that a program brought does not go on by itself: `code` says why."""
    kind = NotificationType.BATCH_STOPPED
    if to := listeners(session, kind):
        why = {"code": code, "values": dict(values)}
        told = _named(batch) | {"state": batch.state.value, "file": batch.file_name, "why": why}
        tell(session, kind, [(told, batch.id)], at, to)


def stop_order(session: Session, batch: Batch, error: BlankformsError, at: datetime) -> None:
    """An order does not go on by itself: kept with it where a program brought it, out of the queue, and told."""
    values = {name: str(value) for name, value in error.values.items()}
    batch.queued_at = None
    if batch.asked_for:
        batch.asked_for = batch.asked_for | {"stopped": {"code": error.code, "values": values}}
    announce_stopped(session, batch, error.code, values, at)


def announce_ended(session: Session, batch_ids: Sequence[int], at: datetime) -> None:
    """Batches came to their end: finished, or cancelled."""
    kind = NotificationType.BATCH_FINISHED
    to = listeners(session, kind) if batch_ids else Listeners()
    if not to:
        return
    told = []
    for batch_id in batch_ids:
        batch = session.get_one(Batch, batch_id, populate_existing=True)
        told.append((_told(session, batch), batch_id))
    tell(session, kind, told, at, to)


def announce_refused(session: Session, refusals: Iterable[Refusal], at: datetime) -> None:
    """Customs refused forms."""
    kind = NotificationType.FORM_REFUSED
    given = list(refusals)
    to = listeners(session, kind) if given else Listeners()
    if not to:
        return
    batches = {r.batch_id for r in given}
    named = select(Batch.id, Batch.client_reference).where(Batch.id.in_(batches))
    references = {row.id: row.client_reference for row in session.execute(named)}
    told = [
        (
            {
                "batch": r.batch_id,
                "client_reference": references.get(r.batch_id),
                "certificate": r.certificate,
                "action": r.action.value,
                "forms": [asdict(form) for form in r.forms],
            },
            r.batch_id,
        )
        for r in given
    ]
    tell(session, kind, told, at, to)


def _named(batch: Batch) -> dict[str, Any]:
    return {"batch": batch.id, "client_reference": batch.client_reference}


def _told(session: Session, batch: Batch) -> dict[str, Any]:
    counts = batch_counts(session, batch.id)
    return _named(batch) | {
        "state": batch.state.value,
        "file": batch.file_name,
        "sha256": batch.sha256,
        "rows": {
            "all": batch.row_count,
            **{status.value: counts.rows.get(status, 0) for status in RowStatus},
        },
        "forms": {state.value: counts.forms.get(state, 0) for state in FormState},
        "refused_forms": counts.refused_forms,
        "released_forms": counts.released_forms,
    }
