"""What an operator watches: how much is where, how old, and how customs answers. Reads only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from models.reads.cards import seen_cards
from models.reads.line import Line, line_of
from models.reads.stock_book import form_counts
from models.rules.causes import UNANSWERED
from models.rules.states import (
    AttemptKind,
    BatchState,
    CardState,
    DeliveryState,
    FormState,
    InboxState,
    RunState,
    SubmissionState,
)
from models.tables.batches import OPEN_BATCH, UNCONFIRMED_BATCH, Batch
from models.tables.deployment import Deployment
from models.tables.discrepancies import Discrepancy
from models.tables.inbox import MAY_BE_ASKED, InboxMessage, ReceiptLine
from models.tables.notifications import Delivery, Endpoint
from models.tables.reconciliation import Run
from models.tables.submissions import IS_TAKEN, MAY_HAVE_LEFT, WAITS_TO_LEAVE, Attempt, Submission

OPEN_MESSAGES: Final = (
    *(SubmissionState.PREPARED, SubmissionState.SIGNED, SubmissionState.SENDING),
    *(SubmissionState.IN_DOUBT, SubmissionState.TAKEN, SubmissionState.PARKED),
)
OPEN_BATCHES: Final = (
    *(BatchState.RECEIVED, BatchState.UNREADABLE, BatchState.ASKED, BatchState.CHECKED),
    *(BatchState.AWAITING, BatchState.CONFIRMED, BatchState.WORKING),
)
OPEN_DELIVERIES: Final = (DeliveryState.PENDING, DeliveryState.FAILED)
"""What has come to its end is not counted: it only grows."""

ATTEMPTS_LOOKED_AT: Final = 1000
"""The latest calls to customs say how it answers now."""

UNCLEAR_AFTER: Final = timedelta(hours=1)
"""A question that has no clear answer for so long is shown to a person."""


@dataclass(slots=True)
class Vitals:
    """One look at everything."""

    forms: dict[FormState, int]
    submissions: dict[SubmissionState, int]
    """Those that something is still to be done about; so with batches and deliveries."""
    batches: dict[BatchState, int]
    quarantined: int
    discrepancies: int
    deliveries: dict[DeliveryState, int]
    endpoints_failing: int
    gateway_calls: int
    gateway_failures: int
    gateway_seconds: float
    """Mean duration of the latest calls, from intent to answer."""
    line: Line
    """Whether messages leave."""
    cards: dict[str, tuple[CardState, float | None]] = field(default_factory=dict)
    """Label -> state, days to the end of its certificate."""
    last_run_finished: datetime | None = None
    last_run_differences: dict[str, int] = field(default_factory=dict)
    known_at: datetime | None = None
    """When this deployment began."""
    unclear: int = 0
    """Messages and forms of which customs has not said for an hour what it did."""


def look(session: Session, now: datetime) -> Vitals:
    """Everything at one moment."""
    calls, failures, seconds = _gateway(session)
    run = session.scalars(
        select(Run).where(Run.state == RunState.FINISHED).order_by(Run.id.desc()).limit(1)
    ).first()
    began = session.get(Deployment, 1)
    return Vitals(
        known_at=began.known_at if began else None,
        unclear=_unclear(session, now),
        forms=form_counts(session),
        submissions=_by_state(session, Submission.state, WAITS_TO_LEAVE, MAY_HAVE_LEFT, IS_TAKEN),
        batches=_by_state(session, Batch.state, UNCONFIRMED_BATCH, OPEN_BATCH),
        quarantined=_count(session, InboxMessage.state == InboxState.QUARANTINED),
        discrepancies=_count(session, Discrepancy.closed_at.is_(None)),
        deliveries={state: _count(session, Delivery.state == state) for state in OPEN_DELIVERIES},
        endpoints_failing=_count(session, Endpoint.failure_count > 0),
        gateway_calls=calls,
        gateway_failures=failures,
        gateway_seconds=seconds,
        line=line_of(session, now),
        cards={
            c.label: (
                c.state,
                (c.not_after - now).total_seconds() / 86400 if c.not_after else None,
            )
            for c in seen_cards(session)
        },
        last_run_finished=run.finished_at if run else None,
        last_run_differences={k: v["differences"] for k, v in run.counts.items()} if run else {},
    )


def _unclear(session: Session, now: datetime) -> int:
    """What was asked about for an hour without an answer that is clear."""
    since = now - UNCLEAR_AFTER
    sent = select(func.max(Attempt.started_at)).where(
        Attempt.submission_id == Submission.id, Attempt.kind == AttemptKind.SEND
    )
    messages = select(func.count()).where(
        MAY_HAVE_LEFT,
        Submission.state == SubmissionState.IN_DOUBT,
        sent.scalar_subquery() < since,
    )
    asked = InboxMessage.received_at < since
    lines = (
        select(func.count())
        .select_from(ReceiptLine)
        .join(InboxMessage, InboxMessage.id == ReceiptLine.inbox_id)
        .where(MAY_BE_ASKED, asked)
    )
    return (session.scalar(messages) or 0) + (session.scalar(lines) or 0)


def _by_state(session: Session, state: Any, *kinds: ColumnElement[bool]) -> dict[Any, int]:
    """Counted kind by kind, each by its own index."""
    counts: dict[Any, int] = {}
    for kind in kinds:
        counts |= dict(
            session.execute(select(state, func.count()).where(kind).group_by(state)).all()
        )
    return counts


def _count(session: Session, condition: object) -> int:
    return session.scalar(select(func.count()).where(condition)) or 0  # type: ignore[arg-type]


def _gateway(session: Session) -> tuple[int, int, float]:
    latest = session.execute(
        select(Attempt.started_at, Attempt.finished_at, Attempt.outcome)
        .where(Attempt.kind == AttemptKind.SEND)
        .order_by(Attempt.id.desc())
        .limit(ATTEMPTS_LOOKED_AT)
    ).all()
    ended = [a for a in latest if a.finished_at is not None]
    if not ended:
        return 0, 0, 0.0
    seconds = sum((a.finished_at - a.started_at).total_seconds() for a in ended)
    failures = sum(a.outcome in UNANSWERED for a in ended)
    return len(ended), failures, seconds / len(ended)
