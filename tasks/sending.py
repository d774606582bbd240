"""Stage 4b, send and ask: the protocol that never submits twice.

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
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import Integer, String, func, insert, select, update
from sqlalchemy.orm import Session

from config.names import Task
from customs.gateway import (
    AskOutcome,
    Conflict,
    InDoubt,
    NotFound,
    NotTaken,
    Refused,
    SendOutcome,
    SignedMessage,
    Taken,
)
from models.base import BigId
from models.batches import Batch, Item
from models.bulk import ids_table, rows_table
from models.links import close_link, customs_link
from models.moves import FormMove, move_forms
from models.progress import finish_batches
from models.states import (
    SUBMITTED_STATE,
    Action,
    AttemptKind,
    FormState,
    ItemState,
    SubmissionState,
)
from models.submissions import Attempt, Submission
from tasks.app import app
from tasks.context import Context, current

log = structlog.get_logger(__name__)

WINDOW_FACTOR: Final = 16
"""Messages whose intent is committed, for each connection: enough that the connections never wait
for the database, few enough that a killed sender leaves little in doubt."""

RUN_SECONDS: Final = 60.0
"""A ring's work ends after that and goes on with the next ring, so that questions get their turn."""

_RETRY_FIRST: Final = timedelta(seconds=2)
_RETRY_MOST: Final = timedelta(minutes=10)
_DETAIL_LIMIT: Final = 255

T = TypeVar("T")


def _after(count: int) -> timedelta:
    """Waiting time before try number `count` + 1: doubles from 2 s to 10 minutes."""
    return min(_RETRY_FIRST * float(1 << min(count, 16)), _RETRY_MOST)


# -- send ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A message that this process may send now."""

    id: int
    batch_id: int
    action: Action
    message: SignedMessage
    send_count: int

    @property
    def token(self) -> Hashable:
        """Names one attempt, never another."""
        return ("send", self.id, self.send_count)


def send(context: Context) -> int:
    """Send what is signed and due, until nothing is; gives how many ended.

    Up to `send_concurrency` calls at once, on kept-alive connections. Stops at once when customs
    asks to wait. Two senders at the same time share the work.
    """
    window = context.settings.send_concurrency * WINDOW_FACTOR
    end = time.monotonic() + RUN_SECONDS
    flying: dict[Hashable, _Claimed] = {}
    ended = 0
    open_line = True
    while True:
        if open_line and len(flying) <= window // 2 and time.monotonic() < end:
            start_before = time.monotonic() + (
                context.settings.lease_seconds - context.settings.send_deadline_seconds
            )
            claimed = _claim(context, window - len(flying))
            for one in claimed:
                flying[one.token] = one
                context.gateway.start_send(one.token, one.message, start_before)
        if not flying:
            break
        ended_now = context.gateway.completed(
            len(flying)
        )  # those of a run that broke off are not ours
        outcomes = [(flying.pop(t), o) for t, o in ended_now if t in flying]
        open_line &= not _record_sent(context, outcomes)
        ended += len(outcomes)
    if ended and open_line:
        context.ring(Task.SEND)
    return ended


def _claim(context: Context, limit: int) -> list[_Claimed]:
    """Commit the intent to send the next messages; gives them."""
    now = context.now()
    with context.database.write() as session:
        link = customs_link(session, now)
        if link.closed_until is not None and link.closed_until > now:
            return []
        due = session.execute(
            select(
                Submission.id,
                Submission.batch_id,
                Submission.action,
                Submission.number,
                Submission.payload,
                Submission.payload_sha256,
                Submission.send_count,
            )
            .join(Batch, Batch.id == Submission.batch_id)
            .where(
                Submission.state == SubmissionState.SIGNED,
                Submission.next_attempt_at <= now,
                Batch.expires_at > now,  # expired or cancelled: to be given back, not sent
            )
            .order_by(Submission.id)
            .limit(limit)
            .with_for_update(skip_locked=True, of=Submission)
        ).all()
        claimed = [
            _Claimed(
                r.id,
                r.batch_id,
                r.action,
                SignedMessage(r.number, r.payload, r.payload_sha256),
                r.send_count + 1,
            )
            for r in due
        ]
        if not claimed:
            return []
        session.execute(
            insert(Attempt),
            [
                {
                    "submission_id": c.id,
                    "kind": AttemptKind.SEND,
                    "number": c.send_count,
                    "payload_sha256": c.message.sha256,
                    "started_at": now,
                    "deadline_at": now + timedelta(seconds=context.settings.lease_seconds),
                }
                for c in claimed
            ],
        )
        given = ids_table(session, [c.id for c in claimed])
        session.execute(
            update(Submission)
            .where(Submission.id.in_(select(given.c.id)))
            .values(
                state=SubmissionState.SENDING,
                send_count=Submission.send_count + 1,
                lease_until=now + timedelta(seconds=context.settings.lease_seconds),
            )
            .execution_options(synchronize_session=False)
        )
        _move_forms_of(session, context, {c.id: c.action for c in claimed}, "send", back=False)
    return claimed


def _record_sent(
    context: Context, ended: Sequence[tuple[_Claimed, SendOutcome | AskOutcome]]
) -> bool:
    """Record how sending ended; gives whether customs asked to wait.

    Compare-and-set on `sending` and the attempt's number: an answer that comes after a receipt, or
    after the lease was lost, changes nothing and is kept with its attempt.
    """
    now = context.now()
    by_kind = _sorted_out(ended, lambda e: type(e[1]))
    pause = 0.0
    with context.database.write() as session:
        _finish_attempts(
            session, AttemptKind.SEND, [(c.id, c.send_count, o) for c, o in ended], now
        )
        mine = {
            (r.id, r.send_count)
            for r in session.execute(
                select(Submission.id, Submission.send_count)
                .where(
                    Submission.id.in_([c.id for c, _ in ended]),
                    Submission.state == SubmissionState.SENDING,
                )
                .order_by(Submission.id)
                .with_for_update()
            )
        }

        def still_mine(kind: type[T]) -> list[tuple[_Claimed, T]]:
            return [(c, o) for c, o in by_kind[kind] if (c.id, c.send_count) in mine]

        _taken(session, {c.id: o for c, o in still_mine(Taken)}, now)
        _parked(session, {c.id: o for c, o in still_mine(Conflict)})
        refused = still_mine(Refused)
        _refuse_whole(session, context, {c.id: (c.action, o) for c, o in refused})
        not_taken = still_mine(NotTaken)
        waits: dict[timedelta, list[int]] = defaultdict(list)
        for c, o in not_taken:
            wait = timedelta(seconds=o.close_seconds) if o.close_seconds else _after(c.send_count)
            waits[wait].append(c.id)
            pause = max(pause, o.close_seconds or 0.0)
        for wait, ids in waits.items():
            _set(session, ids, state=SubmissionState.SIGNED, next_attempt_at=now + wait)
        _move_forms_of(
            session, context, {c.id: c.action for c, _ in not_taken}, "not_taken", back=True
        )
        doubtful = [c.id for c, _ in still_mine(InDoubt)]
        _set(session, doubtful, state=SubmissionState.IN_DOUBT, next_attempt_at=now + _RETRY_FIRST)
        if pause:
            close_link(session, now, timedelta(seconds=pause), not_taken[0][1].detail)
        finished = finish_batches(session, {c.batch_id for c, _ in refused}, now)
    for batch_id in finished:
        context.ring(Task.REPORT, batch_id)
    return pause > 0


# -- ask ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A message that may or may not be at customs."""

    id: int
    number: str
    sha256: str
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

    `certificate`: ask about its messages now, due or not, parked ones too (a person wants to know).
    """
    doubts = _claim_doubts(context, certificate)
    if not doubts:
        return 0
    waiting = {d.token: d for d in doubts}
    for doubt in doubts:
        context.gateway.start_ask(doubt.token, doubt.number, doubt.sha256)
    while waiting:
        ended_now = context.gateway.completed(len(waiting))
        ended = [(waiting.pop(t), o) for t, o in ended_now if t in waiting]
        _record_asked(context, ended)
    context.ring(Task.SEND)
    return len(doubts)


def _claim_doubts(context: Context, certificate: str | None) -> list[_Doubt]:
    """Those to ask about, each with an attempt row; leases that ran out become doubts first."""
    now = context.now()
    lease = timedelta(seconds=context.settings.lease_seconds)
    settle = timedelta(seconds=context.settings.settle_seconds)
    with context.database.write() as session:
        session.execute(
            update(Submission)
            .where(
                Submission.state == SubmissionState.SENDING,
                Submission.lease_until <= now,
            )
            .values(state=SubmissionState.IN_DOUBT, next_attempt_at=now)
            .execution_options(synchronize_session=False)
        )
        due = Submission.next_attempt_at <= now
        if certificate is not None:
            due = Submission.certificate == certificate
        last_deadline = (
            select(func.max(func.coalesce(Attempt.finished_at, Attempt.deadline_at)))
            .where(Attempt.submission_id == Submission.id, Attempt.kind == AttemptKind.SEND)
            .scalar_subquery()
        )
        states = [SubmissionState.IN_DOUBT]
        if certificate is not None:
            states.append(SubmissionState.PARKED)
        rows = session.execute(
            select(Submission, last_deadline.label("left_at"))
            .where(Submission.state.in_(states), due)
            .order_by(Submission.id)
            .limit(context.settings.send_concurrency * WINDOW_FACTOR)
            .with_for_update(skip_locked=True, of=Submission)
        ).all()
        doubts = []
        for submission, left_at in rows:
            submission.ask_count += 1
            submission.next_attempt_at = now + lease
            session.add(
                Attempt(
                    submission_id=submission.id,
                    kind=AttemptKind.ASK,
                    number=submission.ask_count,
                    payload_sha256=submission.payload_sha256,
                    started_at=now,
                    deadline_at=now + lease,
                )
            )
            doubts.append(
                _Doubt(
                    submission.id,
                    submission.number,
                    submission.payload_sha256 or "",
                    submission.action,
                    submission.send_count,
                    submission.ask_count,
                    now,
                    left_at + settle,
                )
            )
        return doubts


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
                .with_for_update()
            )
        }
        _finish_attempts(session, AttemptKind.ASK, [(d.id, d.ask_count, o) for d, o in ended], now)
        # An answer to a question before the last send or question says nothing about now.
        still = [(d, o) for d, o in ended if (d.id, d.send_count, d.ask_count) in doubtful]
        _taken(session, {d.id: o for d, o in still if isinstance(o, Taken)}, now)
        _parked(session, {d.id: o for d, o in still if isinstance(o, Conflict)})
        gone: dict[int, Action] = {}
        again: dict[datetime, list[int]] = defaultdict(list)
        for doubt, outcome in still:
            if doubtful[doubt.id, doubt.send_count, doubt.ask_count] is SubmissionState.PARKED:
                continue  # only "taken" ends what is parked; anything else is for a person
            if isinstance(outcome, NotFound) and doubt.asked_at >= doubt.conclusive_at:
                gone[doubt.id] = doubt.action
            elif isinstance(outcome, (NotFound, InDoubt)):
                due = now + _after(doubt.ask_count)
                if isinstance(outcome, NotFound):
                    due = min(due, max(now, doubt.conclusive_at))
                again[due].append(doubt.id)
        for due, ids in again.items():
            _set(session, ids, next_attempt_at=due)
        _set(session, list(gone), state=SubmissionState.SIGNED, next_attempt_at=now)
        _move_forms_of(session, context, gone, "not_found", back=True)


# -- what both record ---------------------------------------------------------------------------


def _sorted_out(values: Sequence[T], kind: Callable[[T], type]) -> dict[type, list[Any]]:
    sorted_out: dict[type, list[Any]] = defaultdict(list)
    for value in values:
        sorted_out[kind(value)].append(value)
    return sorted_out


def _set(session: Session, ids: Sequence[int], **values: Any) -> None:
    if ids:
        given = ids_table(session, ids)
        session.execute(
            update(Submission)
            .where(Submission.id.in_(select(given.c.id)))
            .values(**values)
            .execution_options(synchronize_session=False)
        )


def _taken(session: Session, taken: dict[int, Taken], now: datetime) -> None:
    if not taken:
        return
    given = rows_table(
        session,
        {"id": BigId, "seq_no": String()},
        [(i, o.seq_no or None) for i, o in taken.items()],
    )
    session.execute(
        update(Submission)
        .where(Submission.id == given.c.id)
        .values(
            state=SubmissionState.TAKEN,
            seq_no=given.c.seq_no,
            taken_at=now,
            next_attempt_at=None,
            lease_until=None,
        )
        .execution_options(synchronize_session=False)
    )


def _parked(session: Session, parked: dict[int, Conflict]) -> None:
    for submission_id, conflict in parked.items():
        log.error("submission_parked", submission_id=submission_id, detail=conflict.detail)
        detail = conflict.detail[:_DETAIL_LIMIT]
        _set(session, [submission_id], state=SubmissionState.PARKED, deal_text=detail)


def _refuse_whole(
    session: Session, context: Context, refused: dict[int, tuple[Action, Refused]]
) -> None:
    """Nothing was taken: the forms go back to issued with the reason (contract section 2)."""
    if not refused:
        return
    now = context.now()
    given = rows_table(
        session,
        {"id": BigId, "code": String(), "text": String()},
        [(i, o.code[:8], o.text[:_DETAIL_LIMIT]) for i, (_, o) in refused.items()],
    )
    session.execute(
        update(Submission)
        .where(Submission.id == given.c.id)
        .values(
            state=SubmissionState.REFUSED,
            deal_flag=given.c.code,
            deal_text=given.c.text,
            decided_at=now,
            next_attempt_at=None,
        )
        .execution_options(synchronize_session=False)
    )
    held = session.execute(
        select(Item.id, Item.form_id, Item.certificate, Item.batch_id, Item.submission_id)
        .join(given, given.c.id == Item.submission_id)
        .where(Item.state == ItemState.HELD)
    ).all()
    session.execute(
        update(Item)
        .where(Item.submission_id == given.c.id, Item.state == ItemState.HELD)
        .values(
            state=ItemState.REFUSED,
            rep_code=given.c.code,
            rep_text=given.c.text,
            decided_at=now,
        )
        .execution_options(synchronize_session=False)
    )
    for action in Action:
        moves = []
        for item in held:
            whose, outcome = refused[item.submission_id]
            if whose is action and item.form_id is not None:
                reason = f"{outcome.code} {outcome.text}"[:_DETAIL_LIMIT]
                about = (item.certificate, item.batch_id, item.submission_id)
                moves.append(FormMove(item.form_id, *about, reason=reason))
        start = SUBMITTED_STATE[action]
        move_forms(session, moves, start, FormState.ISSUED, now, "refused_whole")
    codes = sorted({o.code for _, o in refused.values()})
    log.warning("submissions_refused", count=len(refused), codes=codes)


def _move_forms_of(
    session: Session, context: Context, submissions: dict[int, Action], cause: str, *, back: bool
) -> None:
    """Move the held forms of messages: reserved to submitted, or back when certainly not taken."""
    for action in Action:
        ids = [i for i, a in submissions.items() if a is action]
        if not ids:
            continue
        given = ids_table(session, ids)
        held = session.execute(
            select(Item.form_id, Item.certificate, Item.batch_id, Item.submission_id)
            .join(given, given.c.id == Item.submission_id)
            .where(Item.state == ItemState.HELD)
        ).all()
        moves = [FormMove(f, c, b, s) for f, c, b, s in held if f is not None]
        there, here = FormState.RESERVED, SUBMITTED_STATE[action]
        start, target = (here, there) if back else (there, here)
        move_forms(session, moves, start, target, context.now(), cause)


def _finish_attempts(
    session: Session,
    kind: AttemptKind,
    ended: Sequence[tuple[int, int, SendOutcome | AskOutcome]],
    now: datetime,
) -> None:
    given = rows_table(
        session,
        {"id": BigId, "number": Integer(), "outcome": String(), "detail": String()},
        [(i, n, *_in_words(outcome)) for i, n, outcome in ended],
    )
    session.execute(
        update(Attempt)
        .where(
            Attempt.submission_id == given.c.id,
            Attempt.kind == kind,
            Attempt.number == given.c.number,
            Attempt.finished_at.is_(None),
        )
        .values(outcome=given.c.outcome, detail=given.c.detail, finished_at=now)
        .execution_options(synchronize_session=False)
    )


def _in_words(outcome: SendOutcome | AskOutcome) -> tuple[str, str]:
    match outcome:
        case Taken(seq_no):
            return "taken", seq_no
        case Refused(code, text):
            return "refused", f"{code} {text}"[:_DETAIL_LIMIT]
        case NotTaken(detail):
            return "not_taken", detail[:_DETAIL_LIMIT]
        case NotFound():
            return "not_found", ""
        case Conflict(detail):
            return "conflict", detail[:_DETAIL_LIMIT]
        case InDoubt(detail):
            return "in_doubt", detail[:_DETAIL_LIMIT]


@app.task(name=Task.SEND.value)
def send_task() -> None:
    """Signed messages are due."""
    send(current())


@app.task(name=Task.ASK.value)
def ask_task() -> None:
    """Messages are in doubt."""
    ask(current())
