"""Which deliveries are due, and who can sign them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    Exists,
    Select,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Session, aliased

from models.rules.states import DeliveryState
from models.tables.notifications import Delivery, Endpoint


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


def endpoints_of_another_key(session: Session, mark: str) -> int:
    """How many active endpoints have secrets that a process with this key (`net.secrets.key_mark`) cannot make."""
    others = select(func.count()).where(Endpoint.active, Endpoint.key_mark != mark)
    return session.scalar(others) or 0
