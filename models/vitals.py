"""What an operator watches: how much is where, how old, and how customs answers. Reads only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.batches import Batch
from models.card import seen_cards
from models.links import Line, line_of
from models.notifications import Delivery, Endpoint
from models.reconciliation import Run
from models.states import (
    AttemptKind,
    BatchState,
    CardState,
    DeliveryState,
    FormState,
    InboxState,
    RunState,
    SubmissionState,
)
from models.stock import Discrepancy, Form
from models.submissions import Attempt, InboxMessage, Submission

ATTEMPTS_LOOKED_AT: Final = 1000
"""The latest calls to customs say how it answers now."""

UNANSWERED: Final = frozenset({"in_doubt", "not_taken", "conflict"})
"""Outcomes of a call that are customs' or the line's failure, not an answer."""


@dataclass(slots=True)
class Vitals:
    """One look at everything."""

    forms: dict[FormState, int]
    submissions: dict[SubmissionState, int]
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


def look(session: Session, now: datetime) -> Vitals:
    """Everything at one moment."""
    calls, failures, seconds = _gateway(session)
    run = session.scalars(
        select(Run).where(Run.state == RunState.FINISHED).order_by(Run.id.desc()).limit(1)
    ).first()
    return Vitals(
        forms=dict(session.execute(select(Form.state, func.count()).group_by(Form.state)).all()),
        submissions=dict(
            session.execute(select(Submission.state, func.count()).group_by(Submission.state)).all()
        ),
        batches=dict(
            session.execute(select(Batch.state, func.count()).group_by(Batch.state)).all()
        ),
        quarantined=_count(session, InboxMessage.state == InboxState.QUARANTINED),
        discrepancies=_count(session, Discrepancy.closed_at.is_(None)),
        deliveries=dict(
            session.execute(select(Delivery.state, func.count()).group_by(Delivery.state)).all()
        ),
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
