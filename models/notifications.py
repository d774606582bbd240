"""Those who wait are told: endpoints, notifications, and one delivery for each of the two.

`announce` writes the notification and its deliveries in the caller's transaction: what is rolled
back is never told, what is committed is told at least once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Exists,
    ForeignKey,
    Index,
    Select,
    String,
    UniqueConstraint,
    exists,
    insert,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from models.base import Base, BigId, Code, Id, Json, UTCDateTime, When, state_column
from models.bulk import insert_rows, rows_table
from models.states import DeliveryState, NotificationType


class Endpoint(Base):
    """An address that wants to be told. Its secret is derived, never stored (`net.secrets`).

    `generation` counts the secrets that it had; while one replaces another, both sign until
    `overlap_until`. `key_mark` tells a process that has another notification key that it must not
    sign. A disabled endpoint gets no new deliveries; those that wait go on when it is enabled.
    One that fails is left alone until `paused_until`, whatever else is due to it.
    """

    __tablename__ = "endpoint"

    id: Mapped[Id]
    url: Mapped[str] = mapped_column(String(2000))
    events: Mapped[list[Any]] = mapped_column(Json)
    active: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None] = mapped_column(String(255))
    generation: Mapped[int] = mapped_column(default=1)
    overlap_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    salt: Mapped[str] = mapped_column(String(32))
    key_mark: Mapped[str] = mapped_column(String(16))
    failure_count: Mapped[int] = mapped_column(default=0)
    paused_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    created_at: Mapped[When]


class Notification(Base):
    """Something that happened and that others are told, with the body as it will be sent.

    `key` (webhook-id) is the same for every endpoint and every repeat.
    """

    __tablename__ = "notification"

    id: Mapped[Id]
    key: Mapped[str] = mapped_column(String(40), unique=True)
    type: Mapped[Code]
    batch_id: Mapped[int | None] = mapped_column(BigId)
    data: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[When]


class Delivery(Base):
    """One notification to one endpoint. `attempt_count` tries were begun; the next one is due at
    `next_attempt_at`, which is also how long a try that is under way keeps others off.
    """

    __tablename__ = "delivery"

    id: Mapped[Id]
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoint.id"))
    notification_id: Mapped[int] = mapped_column(ForeignKey("notification.id"))
    batch_id: Mapped[int | None] = mapped_column(BigId)
    state: Mapped[DeliveryState] = mapped_column(state_column(DeliveryState))
    attempt_count: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    last_status: Mapped[int | None]
    last_detail: Mapped[str | None] = mapped_column(String(255))
    last_attempt_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    delivered_at: Mapped[datetime | None] = mapped_column(UTCDateTime())

    __table_args__ = (
        UniqueConstraint("endpoint_id", "notification_id"),
        Index(
            "ix_delivery_pending",
            "endpoint_id",
            "next_attempt_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_delivery_order",
            "endpoint_id",
            "batch_id",
            "id",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_delivery_failed",
            "id",
            sqlite_where=text("state = 'failed'"),
            postgresql_where=text("state = 'failed'"),
        ),
    )


def waits_for_an_earlier() -> Exists:
    """Of the notifications of one batch, an endpoint is told the earliest that waits, and no other."""
    earlier = aliased(Delivery)
    return exists().where(
        earlier.endpoint_id == Delivery.endpoint_id,
        earlier.batch_id == Delivery.batch_id,
        earlier.state == DeliveryState.PENDING,
        earlier.id < Delivery.id,
    )


def deliveries_due(now: datetime) -> Select[int]:
    """Deliveries to try now, of endpoints that are active and not paused."""
    return (
        select(Delivery.id)
        .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
        .where(
            Delivery.state == DeliveryState.PENDING,
            Delivery.next_attempt_at <= now,
            Endpoint.active,
            or_(Endpoint.paused_until.is_(None), Endpoint.paused_until <= now),
            ~waits_for_an_earlier(),
        )
    )


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
