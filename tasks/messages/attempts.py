"""What becomes of a message's attempts, recorded the same way by those who send and who ask.

Every function writes inside the caller's transaction, set-based, on rows that the caller has locked
and compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Integer, String, select, update
from sqlalchemy.orm import Session

from customs.gateway import (
    AskOutcome,
    Conflict,
    InDoubt,
    NotFound,
    NotTaken,
    Refused,
    SendOutcome,
    Taken,
)
from models.rules.causes import GIVEN_BACK, AttemptOutcome, Cause
from models.rules.states import (
    SUBMITTED_STATE,
    Action,
    AttemptKind,
    FormState,
    ItemState,
    SubmissionState,
)
from models.tables.base import BigId
from models.tables.batches import Item
from models.tables.bulk import ids_table, insert_rows, rows_table
from models.tables.submissions import Attempt, Submission
from models.writes.announcements import Refusal, RefusedForm, announce_refused
from models.writes.moves import FormMove, move_forms
from models.writes.submissions import move_submissions
from tasks.context import Context

log = structlog.get_logger(__name__)

_DETAIL_LIMIT: Final = 255


def record_taken(session: Session, taken: dict[int, Taken], now: datetime) -> None:
    """Customs has them: nothing more to send, receipts are awaited."""
    if not taken:
        return
    given = rows_table(
        session,
        {"id": BigId, "seq_no": String()},
        [(i, o.seq_no or None) for i, o in taken.items()],
    )
    move_submissions(
        session,
        given,
        SubmissionState.TAKEN,
        seq_no=given.c.seq_no,
        taken_at=now,
        next_attempt_at=None,
        lease_until=None,
    )


def record_parked(session: Session, parked: dict[int, Conflict]) -> None:
    """Customs has other bytes under our number: only a person can go on."""
    for submission_id, conflict in parked.items():
        number, batch_id = session.execute(
            select(Submission.number, Submission.batch_id).where(Submission.id == submission_id)
        ).one()
        log.error("submission_parked", batch_id=batch_id, number=number, detail=conflict.detail)
        detail = conflict.detail[:_DETAIL_LIMIT]
        move_submissions(session, [submission_id], SubmissionState.PARKED, deal_text=detail)


def refuse_whole(
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
    move_submissions(
        session,
        given,
        SubmissionState.REFUSED,
        deal_flag=given.c.code,
        deal_text=given.c.text,
        decided_at=now,
        next_attempt_at=None,
    )
    held = session.execute(
        select(Item.form_id, Item.serial, Item.certificate, Item.batch_id, Item.submission_id)
        .join(given, given.c.id == Item.submission_id)
        .where(Item.state == ItemState.UNDER_WAY)
    ).all()
    session.execute(
        update(Item)
        .where(Item.submission_id == given.c.id, Item.state == ItemState.UNDER_WAY)
        .values(
            state=ItemState.REFUSED,
            rep_code=given.c.code,
            rep_text=given.c.text,
            decided_at=now,
        )
    )
    _give_back(session, held, refused, now)
    _announce(session, held, refused, now)
    for number, batch_id, code in session.execute(
        select(Submission.number, Submission.batch_id, Submission.deal_flag).join(
            given, given.c.id == Submission.id
        )
    ):
        log.warning("submission_refused", batch_id=batch_id, number=number, code=code)


def _give_back(
    session: Session,
    held: Sequence[Any],
    refused: dict[int, tuple[Action, Refused]],
    now: datetime,
) -> None:
    for action in Action:
        moves = []
        for item in held:
            whose, outcome = refused[item.submission_id]
            if whose is action and item.form_id is not None:
                reason = f"{outcome.code} {outcome.text}"[:_DETAIL_LIMIT]
                about = (item.certificate, item.batch_id, item.submission_id)
                moves.append(FormMove(item.form_id, *about, reason=reason))
        start = SUBMITTED_STATE[action]
        move_forms(session, moves, start, FormState.ISSUED, now, Cause.REFUSED_WHOLE)


def _announce(
    session: Session,
    held: Sequence[Any],
    refused: dict[int, tuple[Action, Refused]],
    now: datetime,
) -> None:
    by_message: dict[int, list[Any]] = defaultdict(list)
    for item in held:
        by_message[item.submission_id].append(item)
    refusals = []
    for submission_id, items in by_message.items():
        action, outcome = refused[submission_id]
        forms = [RefusedForm(i.serial, outcome.code, outcome.text) for i in items]
        refusals.append(Refusal(items[0].batch_id, items[0].certificate, action, forms))
    announce_refused(session, refusals, now)


def give_back_unsent(
    session: Session, context: Context, submissions: Sequence[int], cause: Cause
) -> int:
    """Cancel messages that have certainly not left, and give their forms back; gives how many forms."""
    move_submissions(session, submissions, SubmissionState.CANCELLED, next_attempt_at=None)
    given = ids_table(session, submissions)
    items = session.execute(
        select(Item.id, Item.form_id, Item.certificate, Item.batch_id)
        .join(given, given.c.id == Item.submission_id)
        .where(Item.state == ItemState.UNDER_WAY)
    ).all()
    return give_back_items(session, context, items, cause)


def give_back_items(
    session: Session,
    context: Context,
    items: Sequence[Any],
    cause: Cause,
) -> int:
    """Items (id, form_id, certificate, batch_id) of which nothing has left: their forms are free again."""
    now = context.now()
    given = ids_table(session, [i.id for i in items])
    session.execute(
        update(Item)
        .where(Item.id.in_(select(given.c.id)))
        .values(state=ItemState.GIVEN_BACK, rep_code=GIVEN_BACK[cause].value, decided_at=now)
    )
    moves = [
        FormMove(i.form_id, i.certificate, i.batch_id, reason=cause.value)
        for i in items
        if i.form_id is not None
    ]
    move_forms(session, moves, FormState.RESERVED, FormState.ISSUED, now, cause)
    return len(items)


def move_forms_of(
    session: Session, context: Context, submissions: dict[int, Action], cause: Cause, *, back: bool
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
            .where(Item.state == ItemState.UNDER_WAY)
        ).all()
        moves = [FormMove(f, c, b, s) for f, c, b, s in held if f is not None]
        there, here = FormState.RESERVED, SUBMITTED_STATE[action]
        start, target = (here, there) if back else (there, here)
        move_forms(session, moves, start, target, context.now(), cause)


def begin_attempts(
    session: Session,
    kind: AttemptKind,
    begun: Iterable[tuple[int, int, str | None]],
    now: datetime,
    lease: timedelta,
) -> None:
    """A row for each attempt before it is made: (submission id, attempt number, hash of the bytes)."""
    rows = [
        {
            "submission_id": submission_id,
            "kind": kind,
            "number": number,
            "payload_sha256": sha256 or "",
            "started_at": now,
            "deadline_at": now + lease,
        }
        for submission_id, number, sha256 in begun
    ]
    insert_rows(session, Attempt, rows)


def finish_attempts(
    session: Session,
    kind: AttemptKind,
    ended: Sequence[tuple[int, int, SendOutcome | AskOutcome]],
    now: datetime,
) -> None:
    """Write how attempts ended: (submission id, attempt number, outcome). The first end stays."""
    given = rows_table(
        session,
        {"id": BigId, "number": Integer(), "outcome": String(), "detail": String()},
        [
            (i, n, said.value, detail)
            for i, n, outcome in ended
            for said, detail in (_in_words(outcome),)
        ],
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
    )


def _in_words(outcome: SendOutcome | AskOutcome) -> tuple[AttemptOutcome, str]:
    match outcome:
        case Taken(seq_no):
            return AttemptOutcome.TAKEN, seq_no
        case Refused(code, text):
            return AttemptOutcome.REFUSED, f"{code} {text}"[:_DETAIL_LIMIT]
        case NotTaken(detail):
            return AttemptOutcome.NOT_TAKEN, detail[:_DETAIL_LIMIT]
        case NotFound():
            return AttemptOutcome.NOT_FOUND, ""
        case Conflict(detail):
            return AttemptOutcome.CONFLICT, detail[:_DETAIL_LIMIT]
        case InDoubt(detail):
            return AttemptOutcome.IN_DOUBT, detail[:_DETAIL_LIMIT]
