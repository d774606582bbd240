"""Endpoints: those who are told, and what was told them. Secrets are derived and shown once."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from config.names import Task
from models.rules.errors import BadArgument, NotFound
from models.rules.language import t
from models.rules.people import Deed, require
from models.rules.states import DeliveryState, NotificationType
from models.tables.base import NO_KEY_UPDATE
from models.tables.notifications import Delivery, Endpoint, Notification
from models.tables.people import MADE_ENDPOINT
from models.writes.acts import record_act
from models.writes.announcements import Listeners, tell
from models.writes.calls import Once, begin_once, made_once
from net.secrets import endpoint_secret, key_mark
from tasks.context import Context
from tasks.notify.delivering import deliver

SUBSCRIBABLE: Final = tuple(k for k in NotificationType if k is not NotificationType.TEST)
URL_LIMIT: Final = 2000
OVERLAP: Final = timedelta(hours=24)
"""How long an old secret goes on signing beside the new one."""


@dataclass(frozen=True, slots=True)
class Added:
    """A new endpoint, or a new secret for one. The secret is not to be had again."""

    endpoint_id: int
    secret: str

    def __repr__(self) -> str:
        return f"Added({self.endpoint_id})"


def add(
    context: Context, url: str, events: Sequence[NotificationType], once: Once | None = None
) -> Added:
    """An endpoint that is told of these events from now on. Raises `BadArgument`; of a call that was made
    before (`once`) `MadeBefore`.
    """
    _check_url(url, context.settings.notify_networks)
    root = _root(context)
    with context.database.write() as session:
        if once is not None:
            begin_once(session, once, context.now())
        endpoint = Endpoint(
            url=url,
            events=sorted({event.value for event in events}),
            salt=uuid.uuid4().hex,
            key_mark=key_mark(root),
            created_at=context.now(),
        )
        session.add(endpoint)
        session.flush()
        if once is not None:
            made_once(session, once, MADE_ENDPOINT, endpoint.id)
        _record(session, context, endpoint.id, "added", url=url)
        return Added(endpoint.id, endpoint_secret(root, endpoint.salt, 1))


def _record(
    session: Session, context: Context, endpoint_id: int, what: str, **detail: object
) -> None:
    about = f"endpoint {endpoint_id} {what}"
    record_act(session, context.actor, Deed.ENDPOINT_CHANGED, about, context.now(), **detail)


def rotate(
    context: Context, endpoint_id: int, overlap: timedelta = OVERLAP, once: Once | None = None
) -> Added:
    """A new secret; the one before it signs beside it for a while, an older one no more. Raises `NotFound`; of a
    call that was made before (`once`) `MadeBefore`, and no secret is made.
    """
    root = _root(context)
    with context.database.write() as session:
        if once is not None:
            begin_once(session, once, context.now())
        endpoint = _endpoint(session, endpoint_id)
        if endpoint.key_mark != key_mark(root):
            endpoint.key_mark = key_mark(
                root
            )  # the root itself was changed: no old secret is known
            overlap = timedelta()
        endpoint.generation += 1
        endpoint.overlap_until = context.now() + overlap
        if once is not None:
            made_once(session, once, MADE_ENDPOINT, endpoint_id)
        _record(session, context, endpoint_id, "rotated")
        return Added(endpoint_id, endpoint_secret(root, endpoint.salt, endpoint.generation))


def set_active(context: Context, endpoint_id: int, *, active: bool, reason: str = "") -> None:
    """Disable an endpoint, or let it be told again; what waited for it goes on then."""
    with context.database.write() as session:
        endpoint = _endpoint(session, endpoint_id)
        endpoint.active = active
        endpoint.disabled_reason = None if active else reason[:255]
        endpoint.failure_count, endpoint.paused_until = 0, None
        _record(session, context, endpoint_id, "enabled" if active else "disabled", reason=reason)
    if active:
        deliver_soon(context)


def send_test(context: Context, endpoint_id: int) -> Delivery:
    """Send a `test` notification now; gives its delivery with what came of it. Raises `NotFound`."""
    _root(context)
    with context.database.write() as session:
        endpoint = _endpoint(session, endpoint_id)
        now = context.now()
        told = [({"endpoint": endpoint.id}, None)]
        tell(session, NotificationType.TEST, told, now, Listeners([endpoint.id]))
        delivery_id = session.scalar(
            select(func.max(Delivery.id)).where(Delivery.endpoint_id == endpoint.id)
        )
    deliver(context, delivery_id)
    with context.database.read() as session:
        return session.get_one(Delivery, delivery_id)


def redeliver(context: Context, delivery_ids: Sequence[int], endpoint_id: int | None) -> int:
    """Tell again: these deliveries, or all that failed of an endpoint; gives how many.

    The same body under the same id, signed with the secret of now.
    """
    require(context.actor, Deed.ENDPOINT_CHANGED)
    wanted: ColumnElement[bool] = Delivery.id.in_(delivery_ids)
    if endpoint_id is not None:
        wanted = (Delivery.endpoint_id == endpoint_id) & (Delivery.state == DeliveryState.FAILED)
    with context.database.write() as session:
        if endpoint_id is not None:
            _endpoint(session, endpoint_id)
        again = session.scalars(
            update(Delivery)
            .where(wanted)
            .values(
                state=DeliveryState.PENDING,
                attempt_count=0,
                next_attempt_at=context.now(),
                delivered_at=None,
            )
            .returning(Delivery.id)
        ).all()
        if missing := sorted(set(delivery_ids) - set(again)):
            raise NotFound(what=", ".join(map(str, missing)))
    deliver_soon(context)
    return len(again)


def deliver_soon(context: Context) -> None:
    """Ring for what has become due."""
    context.ring(Task.DELIVER)


def list_endpoints(session: Session) -> list[dict[str, Any]]:
    """Every endpoint, with how many deliveries wait for it. Never a secret."""
    pending = (
        select(func.count())
        .where(Delivery.endpoint_id == Endpoint.id, Delivery.state == DeliveryState.PENDING)
        .correlate(Endpoint)
        .scalar_subquery()
    )
    return [
        {
            "endpoint": e.id,
            "url": e.url,
            "events": e.events,
            "active": e.active,
            "disabled_reason": e.disabled_reason,
            "pending": count,
            "failures": e.failure_count,
            "paused_until": _iso(e.paused_until),
            "old_secret_until": _iso(e.overlap_until),
            "created_at": e.created_at.isoformat(),
        }
        for e, count in session.execute(select(Endpoint, pending).order_by(Endpoint.id))
    ]


def list_deliveries(
    session: Session,
    endpoint_id: int | None,
    state: DeliveryState | None,
    limit: int,
    below: int | None = None,
) -> list[dict[str, Any]]:
    """Deliveries, newest first; those `below` a number."""
    query = select(Delivery, Notification).join(
        Notification, Notification.id == Delivery.notification_id
    )
    if endpoint_id is not None:
        query = query.where(Delivery.endpoint_id == endpoint_id)
    if state is not None:
        query = query.where(Delivery.state == state)
    if below is not None:
        query = query.where(Delivery.id < below)
    return [
        {
            "delivery": d.id,
            "endpoint": d.endpoint_id,
            "id": n.key,
            "type": n.type,
            "batch": n.batch_id,
            "state": d.state.value,
            "attempts": d.attempt_count,
            "status": d.last_status,
            "detail": d.last_detail,
            "created_at": n.created_at.isoformat(),
            "next_attempt_at": _iso(d.next_attempt_at),
            "delivered_at": _iso(d.delivered_at),
        }
        for d, n in session.execute(query.order_by(Delivery.id.desc()).limit(limit))
    ]


def _endpoint(session: Session, endpoint_id: int) -> Endpoint:
    endpoint = session.get(Endpoint, endpoint_id, with_for_update=NO_KEY_UPDATE)
    if endpoint is None:
        raise NotFound(what=t(f"通知地址 {endpoint_id}", f"endpoint {endpoint_id}"))
    return endpoint


def _root(context: Context) -> bytes:
    root = context.settings.root_of_secrets
    if root is None:
        raise BadArgument(
            detail=t(
                "请先设置 NOTIFICATION_KEY(各进程相同)",
                "set NOTIFICATION_KEY first, the same everywhere",
            )
        )
    return root


def _check_url(url: str, networks: str) -> None:
    """What can be refused by looking; the address itself is judged when it is connected to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadArgument(detail=f"URL: {error}") from None
    wrong = None
    if len(url) > URL_LIMIT or not url.isprintable() or " " in url:
        wrong = t("地址过长或含不可见字符", "too long, or not printable")
    elif parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        wrong = t("须以 https:// 开头", "must begin with https://")
    elif parts.scheme == "http" and not networks:
        wrong = t(
            "http:// 只用于 NOTIFY_NETWORKS 允许的内网", "http:// is for NOTIFY_NETWORKS alone"
        )
    elif parts.username is not None or parts.password is not None:
        wrong = t("地址中不得含用户名或口令", "no user name or password in the address")
    if wrong:
        raise BadArgument(detail=f"URL: {wrong}")


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
