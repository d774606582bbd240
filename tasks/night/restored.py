"""After a restored database: what was sent that it does not know, and how sending begins again.

A person ends it, and only when a reconciliation has finished since the last entry of the journal (it
waits until customs has decided all that was forgotten), and no form that is final at customs could
still be used here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Integer, String, select
from sqlalchemy.orm import Session

from models.rules.causes import Cause, DiscrepancyKind
from models.rules.differences import DifferenceClass
from models.rules.errors import NotAdopted, NotReconciled
from models.rules.language import t
from models.rules.people import Deed
from models.rules.states import (
    NOT_LEFT,
    AttemptKind,
    FormState,
    InboxState,
    LineReason,
    RunState,
    SubmissionState,
)
from models.tables.base import NO_KEY_UPDATE, BigId
from models.tables.bulk import CHUNK, chunks, insert_rows, rows_table
from models.tables.discrepancies import Discrepancy
from models.tables.inbox import InboxMessage
from models.tables.reconciliation import Difference, Run
from models.tables.submissions import Attempt, Submission
from models.writes.acts import record_act
from models.writes.line import customs_link
from models.writes.submissions import move_submissions
from tasks.context import Context
from tasks.journal import Entry
from tasks.messages.attempts import move_forms_of
from tasks.night.repair_actions import Concerned, forms_of
from tasks.receipts import applying

KIND: Final = DiscrepancyKind.SENT_BEFORE_RESTORE.value
"""The discrepancy of a message that the database has forgotten."""

log = structlog.get_logger(__name__)


def unknown(context: Context) -> list[Entry]:
    """What the journal knows and the database does not, oldest first; empty when all is well."""
    with context.database.read() as session:
        return list(context.journal.unknown(session))


def accept(context: Context, by: str) -> list[Entry]:
    """Reserve and send again: a discrepancy for each unknown message, then the mark in the journal.

    Gives the messages; run twice, the second time there are none; killed in between, none is raised
    twice. Raises `NotReconciled` and `NotAdopted`.
    """
    entries = unknown(context)
    moments = [datetime.fromisoformat(e.at) for e in entries]
    if marked := context.journal.restored_at():
        moments.append(marked)
    if not moments:
        return []
    last = max(moments)
    with context.database.write() as session:
        newest = session.scalars(
            select(Run)
            .where(Run.state == RunState.FINISHED)
            .order_by(Run.finished_at.desc())
            .limit(1)
        ).first()
        if newest is None or newest.started_at is None or newest.started_at <= last:
            raise NotReconciled(at=last.isoformat(timespec="seconds"))
        _require_adopted(session, newest.id, {e.number for e in entries})
        # a run that died before the mark was written has raised them already
        raised = set(session.scalars(select(Discrepancy.detail).where(Discrepancy.kind == KIND)))
        details = [f"{e.number} {e.certificate} {e.action}, {e.at}" for e in entries]
        insert_rows(
            session,
            Discrepancy,
            [
                {"kind": KIND, "detail": detail, "raised_at": context.now()}
                for detail in details
                if detail not in raised
            ],
        )
        _doubt(session, context, entries)
        waiting = select(InboxMessage.id).where(InboxMessage.state == InboxState.QUARANTINED)
        applying.receive_again(session, session.scalars(waiting).all(), context.now())
        link = customs_link(session, context.now())
        link.claim_number = max(link.claim_number, context.journal.highest_claim())
        if link.closed_code == LineReason.RESTORED:
            link.closed_until = None
        about = f"{len(entries)} messages"
        record_act(session, context.actor, Deed.RESTORE_ACCEPTED, about, context.now(), by=by)
    context.journal.accept(by, context.now())
    log.warning("restored_accepted", by=by, messages=len(entries))
    return entries


def _require_adopted(session: Session, run_id: int, forgotten: Collection[str]) -> None:
    """No form of the run that is final at customs may be free here, or reserved for another message.

    One that is reserved for a message of the journal may: customs is asked about that message.
    Raises `NotAdopted`.
    """
    outside = session.scalars(
        select(Difference)
        .where(Difference.run_id == run_id, Difference.kind == DifferenceClass.OUTSIDE)
        .order_by(Difference.id)
    )
    usable: list[Concerned] = []
    for some in chunks(outside, CHUNK):
        for forms in forms_of(session, some).values():
            usable += (f for f in forms if _usable(f, forgotten))
    if usable:
        number = usable[0].number
        where = "" if number is None else t(f"，报文 {number}", f", message {number}")
        raise NotAdopted(run=run_id, count=len(usable), serial=usable[0].serial, where=where)


def _usable(form: Concerned, forgotten: Collection[str]) -> bool:
    if form.state is FormState.RESERVED:
        return not (form.message in NOT_LEFT and form.number in forgotten)
    return form.state is FormState.ISSUED


def _doubt(session: Session, context: Context, entries: Sequence[Entry]) -> None:
    """What has not left by this database was sent, says the journal: customs is asked about it first."""
    lease = timedelta(seconds=context.settings.lease_seconds)
    sent: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        sent[entry.number].append(entry)
    for some in chunks(sent):
        given = rows_table(session, {"number": String()}, [(number,) for number in some])
        here = {
            s.number: s
            for s in session.scalars(
                select(Submission)
                .join(given, given.c.number == Submission.number)
                .where(Submission.state.in_(NOT_LEFT))
                .order_by(Submission.id)
                .with_for_update(**NO_KEY_UPDATE, of=Submission)
            )
        }
        forgotten = [
            (entry, submission)
            for number, submission in here.items()
            for entry in sent[number]
            if entry.count > submission.send_count
        ]
        insert_rows(
            session,
            Attempt,
            [
                {
                    "submission_id": submission.id,
                    "kind": AttemptKind.SEND,
                    "number": entry.count,
                    "payload_sha256": submission.payload_sha256 or "",
                    "started_at": datetime.fromisoformat(entry.at),
                    "deadline_at": datetime.fromisoformat(entry.at) + lease,
                }
                for entry, submission in forgotten
            ],
        )
        move_forms_of(
            session, context, {s.id: s.action for _, s in forgotten}, Cause.SEND, back=False
        )
        last: dict[int, int] = {}
        for entry, submission in forgotten:
            last[submission.id] = max(entry.count, last.get(submission.id, 0))
        known = rows_table(session, {"id": BigId, "count": Integer()}, sorted(last.items()))
        move_submissions(
            session,
            known,
            SubmissionState.IN_DOUBT,
            send_count=known.c.count,
            next_attempt_at=context.now(),
        )
