"""Those who wait are told: endpoints, notifications, and one delivery for each of the two."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.rules.states import DeliveryState
from models.tables.base import Base, BigId, Code, Id, Json, UTCDateTime, When, state_column


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
    place: Mapped[int | None] = mapped_column(BigId)
    """Its place in the feed, given after it was committed (`models.writes.feed`): whoever pulls misses none."""

    __table_args__ = (
        Index("ux_notification_place", "place", unique=True),
        Index(
            "ix_notification_unplaced",
            "id",
            sqlite_where=text("place IS NULL"),
            postgresql_where=text("place IS NULL"),
        ),
    )


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
