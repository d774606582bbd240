"""Stage 4c, ask: what became of a message in doubt (contract section 2).

Only customs' conclusive "not found", the settle time after the last sending could have ended, makes
the same bytes due again (or the signing of them, when a restored database has none). An answer to a question
that is no longer the last one changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Row, and_, func, select, update
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from customs.gateway import (
    AskOutcome,
    Conflict,
    InDoubt,
    NotFound,
    SendOutcome,
    Taken,
)
from models.reads.deployment import require_identity
from models.rules.causes import Cause
from models.rules.errors import AnotherDeployment
from models.rules.retries import wait_after
from models.rules.states import Action, AttemptKind, SubmissionState
from models.tables.base import NO_KEY_UPDATE
from models.tables.bulk import ids_table
from models.tables.submissions import MAY_HAVE_LEFT, Attempt, Submission
from models.writes.submissions import move_submissions
from tasks.app import app
from tasks.context import Context, current
from tasks.messages.attempts import (
    begin_attempts,
    finish_attempts,
    move_forms_of,
    record_parked,
    record_taken,
)
from tasks.pulse import KEPT_EVERY, in_the_sender, keep_pulse

log = structlog.get_logger(__name__)

QUESTIONS_TOGETHER: Final = 256
"""Messages asked about in one ring."""

_TO_ASK_ABOUT: Final = (SubmissionState.IN_DOUBT, SubmissionState.PARKED, SubmissionState.TAKEN)
"""Where a person wants to know what became of a certificate."""


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A message that may or may not be at customs."""

    id: int
    number: str
    sha256: str | None
    """None: it was sent before a restored backup, which has no bytes of it."""
    action: Action
    send_count: int
    ask_count: int
    asked_at: datetime
    conclusive_at: datetime
    """From when on customs' "not found" can be believed (contract section 2)."""

    @property
    def token(self) -> Hashable:
        """Names one question, never another."""
        return ("ask", self.id, self.ask_count)


def ask(context: Context, certificate: str | None = None) -> int:
    """Ask customs about messages in doubt that are due; gives how many were asked about.

    `certificate`: ask about its messages now, due or not, those that are parked or taken too (a person
    wants to know; what customs has for certain stays as it is).
    """
    doubts = _claim_doubts(context, certificate)
    if not doubts:
        return 0
    waiting = {d.token: d for d in doubts}
    for doubt in doubts:
        context.gateway.start_ask(doubt.token, doubt.number, doubt.sha256)
    while waiting:
        ended_now = context.gateway.completed(len(waiting), KEPT_EVERY)
        keep_pulse(context)
        ended = [(waiting.pop(t), o) for t, o in ended_now if t in waiting]
        if not ended:
            continue
        crash_point(Point.ASKED_NOT_RECORDED)
        _record_asked(context, ended)
    context.ring(Task.SEND)
    return len(doubts)


def rung(context: Context, submission_id: int | None = None) -> int:
    """Ask as whoever rang wants it: about the certificate of this message (`ask`), or about what is due."""
    if submission_id is None:
        return ask(context)
    with context.database.read() as session:
        certificate = session.scalar(
            select(Submission.certificate).where(Submission.id == submission_id)
        )
    return ask(context, certificate)


def message_to_ask_about(session: Session, certificate: str) -> int | None:
    """A message of the certificate that customs has or may have; None: there is none to ask about."""
    return session.scalar(
        select(Submission.id)
        .where(Submission.certificate == certificate, Submission.state.in_(_TO_ASK_ABOUT))
        .limit(1)
    )


def _claim_doubts(context: Context, certificate: str | None) -> list[_Doubt]:
    """Those to ask about, each with an attempt row; leases that ran out become doubts first."""
    now = context.now()
    lease = timedelta(seconds=context.settings.lease_seconds)
    settle = timedelta(seconds=context.settings.settle_seconds)
    with context.database.write() as session:
        require_identity(session, context.identity)
        _doubt_lost_sendings(session, now)
        doubts = []
        for submission, left_at in _to_ask_about(session, certificate, now):
            submission.ask_count += 1
            if submission.state is SubmissionState.IN_DOUBT:
                submission.next_attempt_at = now + lease
            doubts.append(
                _Doubt(
                    submission.id,
                    submission.number,
                    submission.payload_sha256,
                    submission.action,
                    submission.send_count,
                    submission.ask_count,
                    now,
                    left_at + settle,
                )
            )
        begun = ((d.id, d.ask_count, d.sha256) for d in doubts)
        begin_attempts(session, AttemptKind.ASK, begun, now, lease)
        return doubts


def _doubt_lost_sendings(session: Session, now: datetime) -> None:
    lost = session.scalars(
        select(Submission.id)
        .where(
            MAY_HAVE_LEFT,
            Submission.state == SubmissionState.SENDING,
            Submission.lease_until <= now,
        )
        .order_by(Submission.id)
        .with_for_update(**NO_KEY_UPDATE)
    ).all()
    move_submissions(session, lost, SubmissionState.IN_DOUBT, next_attempt_at=now)


def _to_ask_about(
    session: Session, certificate: str | None, now: datetime
) -> Sequence[Row[Submission, datetime]]:
    """Messages, locked, each with the end of its last sending, or the moment when it must have ended."""
    states: Collection[SubmissionState] = [SubmissionState.IN_DOUBT]
    due = and_(MAY_HAVE_LEFT, Submission.next_attempt_at <= now)
    if certificate is not None:
        states, due = _TO_ASK_ABOUT, Submission.certificate == certificate
    left_at = (
        select(func.max(func.coalesce(Attempt.finished_at, Attempt.deadline_at)))
        .where(Attempt.submission_id == Submission.id, Attempt.kind == AttemptKind.SEND)
        .scalar_subquery()
    )
    return session.execute(
        select(Submission, left_at.label("left_at"))
        .where(Submission.state.in_(states), due)
        .order_by(Submission.id)
        .limit(QUESTIONS_TOGETHER)
        .with_for_update(**NO_KEY_UPDATE, skip_locked=True, of=Submission)
    ).all()


def _record_asked(
    context: Context, ended: Sequence[tuple[_Doubt, SendOutcome | AskOutcome]]
) -> None:
    now = context.now()
    with context.database.write() as session:
        doubtful = {
            (r.id, r.send_count, r.ask_count): r.state
            for r in session.execute(
                select(Submission.id, Submission.send_count, Submission.ask_count, Submission.state)
                .where(
                    Submission.id.in_([d.id for d, _ in ended]),
                    Submission.state.in_([SubmissionState.IN_DOUBT, SubmissionState.PARKED]),
                )
                .order_by(Submission.id)
                .with_for_update(**NO_KEY_UPDATE)
            )
        }
        finish_attempts(session, AttemptKind.ASK, [(d.id, d.ask_count, o) for d, o in ended], now)
        # An answer to a question before the last send or question says nothing about now.
        still = [(d, o) for d, o in ended if (d.id, d.send_count, d.ask_count) in doubtful]
        record_taken(session, {d.id: o for d, o in still if isinstance(o, Taken)}, now)
        record_parked(session, {d.id: o for d, o in still if isinstance(o, Conflict)})
        gone: dict[int, Action] = {}
        again: dict[datetime, list[int]] = defaultdict(list)
        for doubt, outcome in still:
            if doubtful[doubt.id, doubt.send_count, doubt.ask_count] is SubmissionState.PARKED:
                continue  # only "taken" ends what is parked; anything else is for a person
            if isinstance(outcome, NotFound) and doubt.asked_at >= doubt.conclusive_at:
                gone[doubt.id] = doubt.action
            elif isinstance(outcome, (NotFound, InDoubt)):
                due = now + wait_after(doubt.ask_count)
                if isinstance(outcome, NotFound):
                    due = min(due, max(now, doubt.conclusive_at))
                again[due].append(doubt.id)
        for due, ids in again.items():
            given = ids_table(session, ids)
            session.execute(
                update(Submission).where(Submission.id == given.c.id).values(next_attempt_at=due)
            )
        unsigned = {d.id for d, _ in still if d.sha256 is None} & gone.keys()
        signed = list(gone.keys() - unsigned)
        free: dict[str, datetime | None] = {"next_attempt_at": now, "lease_until": None}
        move_submissions(session, signed, SubmissionState.SIGNED, **free)
        move_submissions(session, unsigned, SubmissionState.PREPARED, **free)
        move_forms_of(session, context, gone, Cause.NOT_FOUND, back=True)


@app.task(name=Task.ASK.value)
def ask_task(submission_id: int | None = None) -> None:
    """Messages are in doubt; or somebody wants to know what became of those beside this one."""
    in_the_sender()
    try:
        rung(current(), submission_id)
    except AnotherDeployment as refusal:
        log.warning("asking_waits", code=refusal.code, detail=str(refusal))
