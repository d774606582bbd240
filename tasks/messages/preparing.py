"""Stage 4a, prepare: one message for each certificate and operation of a batch that holds its forms.

Number, GUID, time and contents are fixed here, once: a second run finds nothing without a message. The
messages get their turns (`models.rules.turns`), so that no batch waits for all of another.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import structlog
from sqlalchemy import BigInteger, Integer, String, and_, func, select, update
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from models.reads.deployment import require_identity
from models.rules.errors import AnotherDeployment, DatabaseRestored
from models.rules.grace import LONGEST
from models.rules.states import Action, BatchState, ItemState, SubmissionState
from models.rules.turns import by_turns, series
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch, BatchRow, Item
from models.tables.bulk import chunks, insert_rows, rows_table
from models.tables.certificates import Certificate
from models.tables.forms import Form, Stock
from models.tables.submissions import Submission
from models.writes.line import next_turns
from tasks.app import app
from tasks.context import Context, current

log = structlog.get_logger(__name__)

CERTIFICATES_TOGETHER: Final = 400
"""Certificates made into messages in one transaction: about 500 rows."""


def prepare(context: Context, batch_id: int) -> int:
    """Make the next messages of a reserved batch; gives how many. Rings itself while there are more.

    Raises `DatabaseRestored`: what is reserved here may have been sent under another number;
    `AnotherDeployment`: the database belongs to another.
    """
    with context.database.write() as session:
        context.journal.require_current(session)
        require_identity(session, context.identity, to_stay=True)
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch is None or batch.state is not BatchState.WORKING or batch.cancelled_at is not None:
            return 0
        now, end = context.now(), batch.grace_until
        if end is not None and now < end <= now + LONGEST:
            return 0  # a person may still take it back
        certificates = _next_certificates(session, batch_id)
        count = _prepare_certificates(session, context, batch, certificates)
        crash_point(Point.PREPARE_BEFORE_COMMIT)
    crash_point(Point.PREPARED_BEFORE_RING)
    if count:
        log.info("messages_prepared", batch_id=batch_id, count=count)
        context.ring(Task.SIGN)
        context.ring(Task.PREPARE, batch_id)
    return count


def _next_certificates(session: Session, batch_id: int) -> list[str]:
    """Certificates without a message, some of each series, so that the principals of a batch share its
    turns. Of more series than go together, the first ones come first.
    """
    waiting = select(Item.certificate).where(
        Item.batch_id == batch_id, Item.state == ItemState.UNDER_WAY, Item.submission_id.is_(None)
    )
    firsts: list[str] = []
    after = ""
    while len(firsts) < CERTIFICATES_TOGETHER:
        first = session.scalar(
            waiting.with_only_columns(func.min(Item.certificate)).where(Item.certificate > after)
        )
        if first is None:
            break
        firsts.append(first)
        after = max(first, _end_of(first))
    found: list[str] = []
    for first in firsts:
        found += session.scalars(
            waiting.where(Item.certificate.between(first, max(first, _end_of(first))))
            .distinct()
            .order_by(Item.certificate)
            .limit(max(1, CERTIFICATES_TOGETHER // len(firsts)))
        )
    return found


def _end_of(certificate: str) -> str:
    """The last number that the certificate's series may have."""
    return series(certificate) + "9999"


@dataclass(frozen=True, slots=True, order=True)
class _Kind:
    """What a message is about: forms with the same kind go together."""

    certificate: str
    action: Action
    owner: str
    reason_code: str
    reason_text: str


def _kind(row: Any) -> _Kind:
    void = row.action is Action.VOID
    code, text = (row.reason_code or "", row.reason_text or "") if void else ("", "")
    return _Kind(row.certificate, row.action, row.owner, code, text)


def _prepare_certificates(
    session: Session, context: Context, batch: Batch, certificates: Sequence[str]
) -> int:
    if not certificates:
        return 0
    found = _unprepared(session, batch.id, certificates)
    most = context.wire.most_serials
    of_series: dict[str, list[tuple[_Kind, list[Any]]]] = defaultdict(list)
    for kind, together in groupby(sorted(found, key=lambda r: (_kind(r), r.serial)), key=_kind):
        of_series[series(kind.certificate)] += ((kind, f) for f in chunks(together, most))
    in_turn = list(by_turns(of_series.values()))
    turn = next_turns(session, batch, len(in_turn), context.now())
    messages: list[dict[str, Any]] = []
    members: list[tuple[list[Any], str]] = []
    for place, (kind, forms) in enumerate(in_turn):
        number = uuid.uuid4().hex.upper()
        message = _new_message(context, batch.id, kind, forms[0], number, len(forms))
        messages.append(message | {"turn": turn + place})
        members.append((forms, number))
    insert_rows(session, Submission, messages)
    _assign(session, members)
    return len(messages)


def _unprepared(session: Session, batch_id: int, certificates: Sequence[str]) -> Sequence[Any]:
    """Held items of these certificates that no message has, with what a message says about them."""
    given = rows_table(session, {"number": String()}, [(c,) for c in certificates])
    return session.execute(
        select(
            Item.id,
            Item.serial,
            Item.action,
            Item.certificate,
            Stock.owner,
            BatchRow.reason_code,
            BatchRow.reason_text,
            Certificate.type,
            Certificate.exporter,
            Certificate.agent,
        )
        .join(Certificate, Certificate.number == Item.certificate)
        .join(Form, Form.id == Item.form_id)
        .join(Stock, Stock.id == Form.stock_id)
        .join(
            BatchRow, and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number)
        )
        .where(
            Item.batch_id == batch_id,
            Item.certificate.in_(select(given.c.number)),
            Item.state == ItemState.UNDER_WAY,
            Item.submission_id.is_(None),
        )
    ).all()


def _assign(session: Session, members: Sequence[tuple[list[Any], str]]) -> None:
    """Each item to the message of that number, with its place in it."""
    numbers = rows_table(session, {"number": String()}, [(number,) for _, number in members])
    ids = dict(
        session.execute(
            select(Submission.number, Submission.id).join(
                numbers, numbers.c.number == Submission.number
            )
        ).all()
    )
    assigned = rows_table(
        session,
        {"id": BigInteger(), "submission_id": BigInteger(), "g_no": Integer()},
        [
            (form.id, ids[number], g_no)
            for forms, number in members
            for g_no, form in enumerate(forms, start=1)
        ],
    )
    session.execute(
        update(Item)
        .where(Item.id == assigned.c.id)
        .values(submission_id=assigned.c.submission_id, g_no=assigned.c.g_no)
    )


def _new_message(
    context: Context, batch_id: int, kind: _Kind, first: Any, number: str, form_count: int
) -> dict[str, Any]:
    now = context.now()
    return {
        "number": number,
        "guid": str(uuid.uuid4()).upper(),
        "batch_id": batch_id,
        "sender": context.settings.sender,
        "certificate": kind.certificate,
        "certificate_type": first.type,
        "exporter": first.exporter,
        "agent": first.agent,
        "stock_owner": kind.owner,
        "action": kind.action,
        "reason_code": kind.reason_code or None,
        "reason_text": kind.reason_text or None,
        "form_count": form_count,
        "created_at": now,
        "state": SubmissionState.PREPARED,
        "next_attempt_at": now,
    }


@app.task(name=Task.PREPARE.value)
def prepare_task(batch_id: int) -> None:
    """A batch holds serials that no message is about yet."""
    try:
        prepare(current(), batch_id)
    except (DatabaseRestored, AnotherDeployment) as refusal:
        log.warning("prepare_waits", batch_id=batch_id, code=refusal.code)
