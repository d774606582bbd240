"""Stage 4b, send: the protocol that never submits twice.

Intent first: that a message is about to leave is committed (`sending`, an attempt row, the forms as
submitted) before its first byte. Then it is sent, with no transaction open, and how that ended is
recorded. An end that is not clear is `in_doubt`: customs is asked, and only its conclusive "not
found" makes the same bytes due again. A process that dies in between leaves `sending` with a lease
that runs out, which is the same as in doubt.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from customs.gateway import (
    AskOutcome,
    Conflict,
    InDoubt,
    NotTaken,
    Refused,
    SendOutcome,
    SignedMessage,
    Taken,
)
from models.reads.deployment import require_identity
from models.rules.causes import Cause
from models.rules.errors import AnotherDeployment
from models.rules.plan import CERTIFICATE_APPROVED
from models.rules.retries import RETRY_FIRST, wait_after
from models.rules.states import Action, AttemptKind, LineReason, SubmissionState
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch
from models.tables.certificates import Certificate
from models.tables.submissions import Submission
from models.writes.batches import finish_batches
from models.writes.line import begin_claim, close_for_card, close_link, customs_link, room_on_line
from models.writes.submissions import move_submissions
from net.clock import elapsed
from tasks.app import app
from tasks.context import Context, current
from tasks.journal import Entry
from tasks.messages.attempts import (
    begin_attempts,
    finish_attempts,
    give_back_unsent,
    move_forms_of,
    record_parked,
    record_taken,
    refuse_whole,
)
from tasks.pipeline import may_leave
from tasks.pulse import KEPT_EVERY, in_the_sender, keep_pulse
from tasks.receipts.inbox import await_receipts

log = structlog.get_logger(__name__)

WINDOW_FACTOR: Final = 16
"""Messages whose intent is committed, for each connection: enough that the connections never wait
for the database, few enough that a killed sender leaves little in doubt."""

RESTORED_LOOK: Final = timedelta(minutes=1)
"""How long the line is closed before the journal is looked at again."""

RUN_SECONDS: Final = 20.0
"""A ring's work ends after that and goes on with the next ring, so that questions get their turn, and
that somebody works is seen (`tasks.ability.QUIET`)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A message that this process may send now."""

    id: int
    batch_id: int
    action: Action
    certificate: str
    message: SignedMessage
    send_count: int
    turn: int
    claim: int = 0
    """The number of the claim that it was claimed with."""

    @property
    def token(self) -> Hashable:
        """Names one attempt, never another."""
        return ("send", self.id, self.send_count)


def send(context: Context) -> int:
    """Send what is signed and due, until nothing is; gives how many ended.

    Up to `send_concurrency` calls at once, on kept-alive connections. Stops at once when customs
    asks to wait or refuses the card: what has not begun is due again. Two senders at the same time
    share the work. Raises `AnotherDeployment`: the database belongs to another.
    """
    window = context.settings.send_concurrency * WINDOW_FACTOR
    end = time.monotonic() + RUN_SECONDS
    flying: dict[Hashable, _Claimed] = {}
    ended = 0
    open_line = True
    while True:
        going_on = open_line and time.monotonic() < end and not context.stopping()
        if going_on and len(flying) <= window // 2:
            start_before = elapsed() + (
                context.settings.lease_seconds - context.settings.send_deadline_seconds
            )
            closings = context.gateway.closings()
            claimed = _claim(context, window - len(flying))
            if why := _note(context, claimed):
                open_line = not _record_sent(context, [(one, why) for one in claimed])
                claimed = []
            for one in claimed:
                flying[one.token] = one
                context.gateway.start_send(one.token, one.message, start_before, closings)
        if not flying:
            break
        ended_now = context.gateway.completed(len(flying), KEPT_EVERY)
        keep_pulse(context)
        # those of a run that broke off are not ours
        outcomes = [(flying.pop(t), o) for t, o in ended_now if t in flying]
        if not outcomes:
            continue
        crash_point(Point.ANSWER_READ)
        open_line &= not _record_sent(context, outcomes)
        ended += len(outcomes)
    if ended and open_line:
        context.ring(Task.SEND)
    return ended


def _claim(context: Context, limit: int) -> list[_Claimed]:
    """Commit the intent to send the next messages; gives them."""
    now = context.now()
    with context.database.write() as session:
        require_identity(session, context.identity)
        link = customs_link(session, now)
        if link.closed_until is not None and link.closed_until > now:
            return []
        if _unwritable(session, context) or _restored(session, context):
            return []
        room = room_on_line(session, link, now)
        claimed = _due(session, context, now, limit if room is None else room)
        if not claimed:
            return []
        if room is not None:
            link.probe_id = claimed[0].id
        lease = timedelta(seconds=context.settings.lease_seconds)
        begun = ((c.id, c.send_count, c.message.sha256) for c in claimed)
        begin_attempts(session, AttemptKind.SEND, begun, now, lease)
        move_submissions(
            session,
            [c.id for c in claimed],
            SubmissionState.SENDING,
            send_count=Submission.send_count + 1,
            lease_until=now + lease,
        )
        move_forms_of(session, context, {c.id: c.action for c in claimed}, Cause.SEND, back=False)
        number = begin_claim(session, max(c.turn for c in claimed))
        crash_point(Point.INTENT_BEFORE_COMMIT)
    crash_point(Point.INTENT_COMMITTED)
    return [replace(c, claim=number) for c in claimed]


def _due(session: Session, context: Context, now: datetime, limit: int) -> list[_Claimed]:
    """The next messages to send, locked; those that another sender has locked are left to it.

    One whose certificate was revoked, or given to others, since it was planned is given back instead.
    """
    rows = session.execute(
        select(
            Submission.id,
            Submission.batch_id,
            Submission.action,
            Submission.certificate,
            Submission.number,
            Submission.payload,
            Submission.payload_sha256,
            Submission.send_count,
            Submission.turn,
            _as_planned().label("as_planned"),
        )
        .join(Batch, Batch.id == Submission.batch_id)
        .join(Certificate, Certificate.number == Submission.certificate)
        .where(
            may_leave(now, SubmissionState.SIGNED),
            Batch.expires_at > now,  # expired or cancelled: to be given back, not sent
            Batch.cancelled_at.is_(None),
        )
        .order_by(Submission.turn, Submission.id)
        .limit(limit)
        .with_for_update(**NO_KEY_UPDATE, skip_locked=True, of=Submission)
    ).all()
    changed = {r.id: r.batch_id for r in rows if not r.as_planned}
    for r in rows:
        if r.id in changed:
            log.warning("certificate_changed", batch_id=r.batch_id, number=r.number)
    if changed:
        # the sweep finishes their batches: whoever has a batch locked may wait for these messages
        give_back_unsent(session, context, list(changed), Cause.CERTIFICATE_CHANGED)
    return [
        _Claimed(
            r.id,
            r.batch_id,
            r.action,
            r.certificate,
            SignedMessage(r.number, r.payload, r.payload_sha256),
            r.send_count + 1,
            r.turn,
        )
        for r in rows
        if r.as_planned
    ]


def _as_planned() -> ColumnElement[bool]:
    """The certificate is as it was when the message about it was made."""
    return and_(
        Certificate.status == CERTIFICATE_APPROVED,
        Certificate.exporter == Submission.exporter,
        Certificate.agent == Submission.agent,
    )


def _note(context: Context, claimed: Sequence[_Claimed]) -> NotTaken | None:
    """Note in the journal what is about to leave; on the disk before its first byte does.

    What cannot be noted does not leave: gives why, and the line is to be closed for it.
    """
    if not claimed:
        return None
    now = context.now().isoformat(timespec="microseconds")
    try:
        context.journal.note(
            Entry(now, c.message.number, c.send_count, c.action.value, c.certificate, c.claim)
            for c in claimed
        )
    except OSError as error:
        log.exception("journal_unwritable")
        wait = RESTORED_LOOK.total_seconds()
        return NotTaken(str(error), wait, begun=False, why=LineReason.JOURNAL)
    crash_point(Point.JOURNAL_NOTED)
    return None


def _restored(session: Session, context: Context) -> bool:
    """Whether the database is older than what was sent; the line is closed then, for all to see.

    Asked for each claim, in its transaction: a connection that was lost may come back to a standby.
    """
    behind = context.journal.behind(session)
    if behind:
        log.error("database_restored", journal=str(context.journal.path))
        close_link(session, context.now(), RESTORED_LOOK, LineReason.RESTORED)
    return behind


def _unwritable(session: Session, context: Context) -> bool:
    """Whether nothing can be noted of what would leave; the line is closed then, for all to see.

    So it is when the journal is gone: a new one would know nothing of what was sent.
    """
    if context.journal.missing(session):
        log.error("journal_missing", journal=str(context.journal.path))
        where = str(context.journal.path)
        close_link(session, context.now(), RESTORED_LOOK, LineReason.JOURNAL_MISSING, where)
        return True
    why = context.journal.begun()
    if why:
        log.error("journal_unwritable", detail=why)
        close_link(session, context.now(), RESTORED_LOOK, LineReason.JOURNAL, why)
    return why is not None


def _record_sent(
    context: Context, ended: Sequence[tuple[_Claimed, SendOutcome | AskOutcome]]
) -> bool:
    """Record how sending ended; gives whether the line was closed.

    A refusal for the card closes the line; then one message at a time is tried (`models.writes.line`).
    Compare-and-set on `sending` and the attempt's number: an answer that comes after a receipt, or
    after the lease was lost, changes nothing and is kept with its attempt.
    """
    now = context.now()
    by_kind = _sorted_out(ended, lambda e: type(e[1]))
    with context.database.write() as session:
        finish_attempts(session, AttemptKind.SEND, [(c.id, c.send_count, o) for c, o in ended], now)
        mine = {
            (r.id, r.send_count)
            for r in session.execute(
                select(Submission.id, Submission.send_count)
                .where(
                    Submission.id.in_([c.id for c, _ in ended]),
                    Submission.state == SubmissionState.SENDING,
                )
                .order_by(Submission.id)
                .with_for_update(**NO_KEY_UPDATE)
            )
        }

        def still_mine(kind: type[T]) -> list[tuple[_Claimed, T]]:
            return [(c, o) for c, o in by_kind[kind] if (c.id, c.send_count) in mine]

        _log_ends([(c, o) for c, o in ended if (c.id, c.send_count) in mine])
        taken = {c.id: o for c, o in still_mine(Taken)}
        record_taken(session, taken, now)
        if taken:
            await_receipts(session, context)
        record_parked(session, {c.id: o for c, o in still_mine(Conflict)})
        refused = still_mine(Refused)
        refuse_whole(session, context, {c.id: (c.action, o) for c, o in refused})
        not_taken = still_mine(NotTaken)
        waits: dict[timedelta, list[int]] = defaultdict(list)
        for c, o in not_taken:
            waits[_wait(c, o)].append(c.id)
        for wait, ids in waits.items():
            due = {"next_attempt_at": now + wait, "lease_until": None}
            move_submissions(session, ids, SubmissionState.SIGNED, **due)
        move_forms_of(
            session, context, {c.id: c.action for c, _ in not_taken}, Cause.NOT_TAKEN, back=True
        )
        doubtful = [c.id for c, _ in still_mine(InDoubt)]
        move_submissions(
            session, doubtful, SubmissionState.IN_DOUBT, next_attempt_at=now + RETRY_FIRST
        )
        closed = [o for _, o in not_taken if o.close_seconds]
        if closed:
            longest = max(closed, key=lambda o: o.close_seconds or 0.0)
            wait = timedelta(seconds=longest.close_seconds or 0.0)
            close_link(session, now, wait, longest.why, longest.detail)
        card_codes = sorted({o.code for _, o in refused if o.of_card})
        if card_codes:
            log.error("card_not_accepted", codes=card_codes)
            of_card = [c.id for c, o in refused if o.of_card]
            close_for_card(session, now, " ".join(card_codes), of_card)
        finished = finish_batches(session, {c.batch_id for c, _ in refused}, now)
        crash_point(Point.OUTCOME_BEFORE_COMMIT)
    crash_point(Point.OUTCOME_COMMITTED)
    for batch_id in finished:
        context.ring(Task.REPORT, batch_id)
    return bool(closed or card_codes)


def _log_ends(ended: Sequence[tuple[_Claimed, object]]) -> None:
    """A line for each batch and kind of end, with the numbers: a message can be followed by its own."""
    by_batch: dict[tuple[int, str], list[str]] = defaultdict(list)
    for claimed, outcome in ended:
        by_batch[claimed.batch_id, type(outcome).__name__].append(claimed.message.number)
    for (batch_id, end), numbers in by_batch.items():
        log.info("messages_sent", batch_id=batch_id, end=end, numbers=numbers)


def _wait(claimed: _Claimed, how: NotTaken) -> timedelta:
    """How long a message that is certainly not at customs waits for its next try."""
    if how.close_seconds:
        return timedelta(seconds=how.close_seconds)
    return wait_after(claimed.send_count) if how.begun else RETRY_FIRST


def _sorted_out(values: Sequence[T], kind: Callable[[T], type]) -> dict[type, list[Any]]:
    sorted_out: dict[type, list[Any]] = defaultdict(list)
    for value in values:
        sorted_out[kind(value)].append(value)
    return sorted_out


@app.task(name=Task.SEND.value)
def send_task() -> None:
    """Signed messages are due."""
    in_the_sender()
    try:
        send(current())
    except AnotherDeployment as refusal:
        log.warning("sending_waits", code=refusal.code, detail=str(refusal))
