"""Stage 6b, tell: notifications reach their endpoints at least once, in order for each batch.

A delivery is a row written with what it tells of. A try is recorded before it is made: it moves the
row's due time on, so a process that dies in it leaves the row due again. Of the notifications of
one batch only the earliest that waits is tried. An endpoint that fails is paused, and holds up no
other one.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import bindparam, func, select, true, update
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from models.reads.deliveries import deliveries_due
from models.rules.states import DeliveryState
from models.tables.base import NO_KEY_UPDATE
from models.tables.notifications import Delivery, Endpoint, Notification
from net.notifier import Ending, Gone, Letter, NotTold, Told
from net.secrets import endpoint_secret, key_mark
from tasks.app import app
from tasks.context import Context, current

log = structlog.get_logger(__name__)

WAITS: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Between one try and the next (Standard Webhooks' schedule): ten tries in three days."""

JITTER: Final = 0.1
"""Share by which a wait is longer or shorter, so that what failed together is not tried together."""

TRY_LEASE: Final = timedelta(seconds=25)
"""A try is over by then (its time-out is 15 s) or its process has died."""

AT_ONCE: Final = 4
"""Tries at the same time to one endpoint."""

TRIES_TOGETHER: Final = 256
"""Tries begun in one transaction; every endpoint gets its first before any gets its second."""

RUN_SECONDS: Final = 30.0
"""A ring's work ends after that and goes on with the next ring: the worker has other things to do."""

LOOK_SECONDS: Final = 0.5
"""How often new work is looked for while an endpoint is slow to answer."""

PAUSE_FIRST: Final = timedelta(seconds=5)
PAUSE_MOST: Final = timedelta(minutes=5)
"""How long a failing endpoint is left alone: doubles from the first to the most."""


@dataclass(frozen=True, slots=True)
class _Try:
    """One try of one delivery, recorded and about to be made."""

    id: int
    endpoint_id: int
    attempt: int
    letter: Letter

    @property
    def token(self) -> Hashable:
        """Names one try, never another."""
        return ("deliver", self.id, self.attempt)


def deliver(context: Context, only: int | None = None) -> int:
    """Tell what is due until nothing is; gives how many tries ended. `only`: this delivery alone."""
    end = time.monotonic() + RUN_SECONDS
    flying: dict[Hashable, _Try] = {}
    ended = 0
    more = True
    while True:
        if more and time.monotonic() < end:
            claimed = _claim(context, Counter(t.endpoint_id for t in flying.values()), only)
            crash_point(Point.DELIVERY_CLAIMED)
            for one in claimed:
                flying[one.token] = one
                context.notifier.start(one.token, one.letter)
        if not flying:
            return ended
        endings = context.notifier.completed(len(flying), LOOK_SECONDS)
        done = [(flying.pop(t), e) for t, e in endings if t in flying]
        crash_point(Point.DELIVERY_MADE)
        _record(context, done)
        ended += len(done)
        more = only is None


def _claim(context: Context, busy: Counter[int], only: int | None) -> list[_Try]:
    """Record the next tries; gives them. Endpoints that are busy enough get none."""
    root = context.settings.root_of_secrets
    if root is None:
        return []
    now = context.now()
    with context.database.read() as session:
        wanted = _due(session, now, key_mark(root), busy, only)
    if not wanted:
        return []
    with context.database.write() as session:
        rows = session.execute(
            select(Delivery, Endpoint, Notification)
            .join(Endpoint, Endpoint.id == Delivery.endpoint_id)
            .join(Notification, Notification.id == Delivery.notification_id)
            .where(
                Delivery.id.in_(wanted),
                Delivery.state == DeliveryState.PENDING,
                true() if only is not None else Delivery.next_attempt_at <= now,
            )
            .order_by(Delivery.id)
            .with_for_update(**NO_KEY_UPDATE, skip_locked=True, of=Delivery)
        ).all()
        tries = []
        for delivery, endpoint, notification in rows:
            delivery.attempt_count += 1
            delivery.last_attempt_at = now
            delivery.next_attempt_at = now + TRY_LEASE
            letter = _letter(root, endpoint, notification, now)
            tries.append(_Try(delivery.id, endpoint.id, delivery.attempt_count, letter))
        return tries


def _due(
    session: Session, now: datetime, mark: str, busy: Counter[int], only: int | None
) -> list[int]:
    """Deliveries to try now: of each endpoint as many as it may be tried with at once."""
    if only is not None:
        return [only]
    place = func.row_number().over(
        partition_by=Delivery.endpoint_id, order_by=(Delivery.next_attempt_at, Delivery.id)
    )
    ranked = (
        deliveries_due(now)
        .where(Endpoint.key_mark == mark)
        .add_columns(Delivery.endpoint_id, place.label("place"))
        .subquery()
    )
    rows = session.execute(
        select(ranked.c.id, ranked.c.endpoint_id, ranked.c.place)
        .where(ranked.c.place <= AT_ONCE)
        .order_by(ranked.c.place, ranked.c.id)
        .limit(TRIES_TOGETHER)
    )
    return [i for i, endpoint_id, place in rows if place <= AT_ONCE - busy[endpoint_id]]


def _letter(root: bytes, endpoint: Endpoint, told: Notification, now: datetime) -> Letter:
    generations = [endpoint.generation]
    if endpoint.overlap_until is not None and endpoint.overlap_until > now:
        generations.append(endpoint.generation - 1)
    body = {"type": told.type, "timestamp": told.created_at.isoformat(), "data": told.data}
    return Letter(
        endpoint.url,
        told.key,
        int(now.timestamp()),
        json.dumps(body, ensure_ascii=False).encode(),
        [endpoint_secret(root, endpoint.salt, generation) for generation in generations],
    )


def _record(context: Context, ended: Sequence[tuple[_Try, Ending]]) -> None:
    """Record how tries ended, while they are still the last ones of their deliveries."""
    if not ended:
        return
    now = context.now()
    table = Delivery.__table__
    with context.database.write() as session:
        session.connection().execute(
            update(table)  # type: ignore[arg-type]
            .where(
                table.c.id == bindparam("delivery"),
                table.c.attempt_count == bindparam("attempt"),
                table.c.state == DeliveryState.PENDING,
            )
            .values(
                state=bindparam("became"),
                last_status=bindparam("status"),
                last_detail=bindparam("detail"),
                next_attempt_at=bindparam("due"),
                delivered_at=bindparam("taken"),
            ),
            [_row(one, ending, now) for one, ending in ended],
        )
    with context.database.write() as session:
        _judge_endpoints(session, ended, now)


def _row(one: _Try, ending: Ending, now: datetime) -> dict[str, Any]:
    row = {"delivery": one.id, "attempt": one.attempt, "became": DeliveryState.PENDING,
           "status": None, "detail": None, "due": None, "taken": None}  # fmt: skip
    match ending:
        case Told(status):
            return row | {"became": DeliveryState.DELIVERED, "status": status, "taken": now}
        case NotTold(detail, status):
            row |= {"status": status, "detail": detail}
            if one.attempt > len(WAITS):
                return row | {"became": DeliveryState.FAILED}
            return row | {"due": now + _wait(one.attempt)}
        case Gone():
            return row | {"status": 410, "detail": "410", "due": now}


def _wait(attempt: int) -> timedelta:
    return WAITS[attempt - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret


def _judge_endpoints(session: Session, ended: Sequence[tuple[_Try, Ending]], now: datetime) -> None:
    """Disable what is gone, pause what fails, and let go on what answers."""
    by_endpoint: dict[int, list[Ending]] = defaultdict(list)
    for one, ending in ended:
        by_endpoint[one.endpoint_id].append(ending)
    for endpoint_id, endings in sorted(by_endpoint.items()):
        endpoint = session.get_one(Endpoint, endpoint_id, with_for_update=NO_KEY_UPDATE)
        if any(isinstance(e, Gone) for e in endings):
            endpoint.active, endpoint.disabled_reason = False, "410"
            log.warning("endpoint_gone", endpoint_id=endpoint_id)
        elif any(isinstance(e, Told) for e in endings):
            endpoint.failure_count, endpoint.paused_until = 0, None
        else:
            pause = min(PAUSE_FIRST * float(1 << min(endpoint.failure_count, 16)), PAUSE_MOST)
            endpoint.failure_count += 1
            endpoint.paused_until = now + pause
            log.warning("endpoint_failing", endpoint_id=endpoint_id, detail=str(endings[0]))


@app.task(name=Task.DELIVER.value)
def deliver_task() -> None:
    """Somebody is to be told something."""
    deliver(current())
