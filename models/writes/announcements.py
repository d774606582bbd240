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
from models.rules.states import Action, DeliveryState, FormState, NotificationType, RowStatus
from models.tables.base import UTCDateTime
from models.tables.batches import Batch
from models.tables.bulk import insert_rows, rows_table
from models.tables.notifications import Delivery, Endpoint, Notification


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
    return tell_endpoints(session, kind, told, at, subscribers(session, kind))


def subscribers(session: Session, kind: NotificationType) -> list[int]:
    """Active endpoints that want this kind: none means that nothing need be gathered."""
    wanted = select(Endpoint.id, Endpoint.events).where(Endpoint.active).order_by(Endpoint.id)
    return [i for i, events in session.execute(wanted) if kind.value in events]


def tell_endpoints(
    session: Session,
    kind: NotificationType,
    told: Sequence[tuple[Mapping[str, Any], int | None]],
    at: datetime,
    endpoints: Sequence[int],
) -> int:
    """Write notifications and one delivery of each to each of these endpoints."""
    if not endpoints or not told:
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
            .join(Endpoint, Endpoint.id.in_(endpoints))
            .order_by(Notification.id, Endpoint.id),
        )
    )
    return len(keys) * len(endpoints)


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
    endpoints = subscribers(session, kind)
    if endpoints:
        session.flush()
        told = {**_told(session, batch), "plan": batch.plan}
        tell_endpoints(session, kind, [(told, batch.id)], at, endpoints)


def announce_ended(session: Session, batch_ids: Sequence[int], at: datetime) -> None:
    """Batches came to their end: finished, or cancelled."""
    kind = NotificationType.BATCH_FINISHED
    endpoints = subscribers(session, kind) if batch_ids else []
    if not endpoints:
        return
    told = []
    for batch_id in batch_ids:
        batch = session.get_one(Batch, batch_id, populate_existing=True)
        told.append((_told(session, batch), batch_id))
    tell_endpoints(session, kind, told, at, endpoints)


def announce_refused(session: Session, refusals: Iterable[Refusal], at: datetime) -> None:
    """Customs refused forms."""
    kind = NotificationType.FORM_REFUSED
    endpoints = subscribers(session, kind)
    if not endpoints:
        return
    told = [
        (
            {
                "batch": r.batch_id,
                "certificate": r.certificate,
                "action": r.action.value,
                "forms": [asdict(form) for form in r.forms],
            },
            r.batch_id,
        )
        for r in refusals
    ]
    tell_endpoints(session, kind, told, at, endpoints)


def _told(session: Session, batch: Batch) -> dict[str, Any]:
    counts = batch_counts(session, batch.id)
    return {
        "batch": batch.id,
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
