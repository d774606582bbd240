"""Stage 5b, receipts: one applier moves states, whichever way a receipt came.

What fits nothing we sent is quarantined and raises a discrepancy; a final state is never changed by
what comes after. Applying the same inbox row again finds it applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import func, select, true, update
from sqlalchemy.exc import DataError, DBAPIError, StatementError
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from customs import bcm1
from models.base import NO_KEY_UPDATE
from models.bulk import chunks, ids_table
from models.states import AWAITING_RECEIPT, InboxState, ItemState, SubmissionState
from models.stock import Discrepancy
from models.submissions import InboxMessage
from models.verdicts import WANTED_STATE, Verdict, verdict
from tasks.app import app
from tasks.context import Context, current
from tasks.decisions import TEXT_LIMIT, Outcome, Sent, discrepancy, load_sent, write_decisions

log = structlog.get_logger(__name__)

RECEIPTS_TOGETHER: Final = 500
"""Receipts applied in one transaction."""


def apply(context: Context) -> int:
    """Apply what is in the inbox, oldest first, one chunk; rings itself while there is more.

    A receipt whose values the database does not accept is quarantined: it keeps no other one back.
    """
    try:
        return _apply(context)
    except StatementError as error:
        if not _by_values(error):
            raise
        log.exception("receipts_not_accepted")
    with context.database.read() as session:
        oldest = session.scalar(
            select(func.min(InboxMessage.id)).where(InboxMessage.state == InboxState.RECEIVED)
        )
    if oldest is None:
        return 0
    try:
        return _apply(context, only=oldest)
    except StatementError as error:
        if not _by_values(error):
            raise
        return _apply(context, only=oldest, not_accepted=f"not accepted: {type(error).__name__}")


def _by_values(error: StatementError) -> bool:
    """Whether the values of a statement made it fail, and it would fail so every time."""
    return isinstance(error, DataError) or not isinstance(error, DBAPIError)


def _apply(context: Context, only: int | None = None, not_accepted: str = "") -> int:
    """Apply a chunk, or this one receipt alone; with a reason, quarantine it instead."""
    one = InboxMessage.id == only if only is not None else true()
    with context.database.write() as session:
        messages = session.execute(
            select(InboxMessage.id, InboxMessage.receipt_id, InboxMessage.body)
            .where(InboxMessage.state == InboxState.RECEIVED, one)
            .order_by(InboxMessage.id)
            .limit(RECEIPTS_TOGETHER)
            .with_for_update(**NO_KEY_UPDATE, skip_locked=True)
        ).all()
        if not messages:
            return 0
        outcome = Outcome()
        if not_accepted:
            outcome.quarantined = {m.id: not_accepted for m in messages}
        readable = [] if not_accepted else list(_read(messages, outcome))
        sent = load_sent(session, {receipt.number for _, receipt in readable})
        for inbox_id, receipt in readable:
            _judge(context, inbox_id, receipt, sent.get(receipt.number), outcome)
        finished = write_decisions(session, context, sent, outcome)
        crash_point(Point.APPLY_BEFORE_COMMIT)
    for batch_id in finished:
        context.ring(Task.REPORT, batch_id)
    if any(line["verdict"] == Verdict.ASK for line in outcome.lines):
        context.ring(Task.ADOPT)
    if only is not None or len(messages) == RECEIPTS_TOGETHER:
        context.ring(Task.APPLY)
    return len(messages)


def _read(messages: Sequence[Any], outcome: Outcome) -> Iterator[tuple[int, bcm1.Receipt]]:
    for message in messages:
        try:
            receipt = bcm1.parse_receipt(message.body)
        except bcm1.NotReadable as error:
            outcome.quarantined[message.id] = f"unreadable: {error}"[:TEXT_LIMIT]
            continue
        if receipt.receipt_id != message.receipt_id:
            outcome.quarantined[message.id] = "receipt_id differs from the receipt's own"
            continue
        yield message.id, receipt


def _judge(
    context: Context,
    inbox_id: int,
    receipt: bcm1.Receipt,
    sent: Sent | None,
    outcome: Outcome,
) -> None:
    """Let one receipt change the items in memory, or say why it may not."""
    strange = _strange(receipt, sent)[:TEXT_LIMIT]
    if strange or sent is None:
        outcome.quarantined[inbox_id] = strange
        detail = f"{strange}: {receipt.number} {receipt.certificate}"
        outcome.discrepancies.append(discrepancy(context, "receipt", inbox_id, None, detail))
        return
    sent.touched = True
    outcome.applied[inbox_id] = receipt.number
    for line in receipt.forms:
        item = sent.items[line.serial]
        decision = verdict(line.rep_code, line.form_state, item.action)
        outcome.lines.append(
            {
                "inbox_id": inbox_id,
                "item_id": item.id,
                "form_id": item.form_id,
                "rep_code": line.rep_code,
                "rep_text": line.rep_text[:TEXT_LIMIT],
                "form_state": line.form_state,
                "managed_at": receipt.managed_at,
                "verdict": decision.value,
                "open": decision in _STAYS_OPEN and item.state is ItemState.HELD,
            }
        )
        if item.state is not ItemState.HELD or decision is Verdict.WAIT:
            continue
        if decision in _TO_A_PERSON:
            text = f"{line.rep_code} {line.rep_text}, FormState {line.form_state}"
            kind = f"customs_{line.rep_code}"
            outcome.discrepancies.append(discrepancy(context, kind, inbox_id, item, text))
        if decision in _FINAL:
            item.state = _FINAL[decision]
            item.rep_code, item.rep_text = line.rep_code, line.rep_text[:TEXT_LIMIT]
            item.hold = decision is Verdict.REFUSED_HOLD
            item.inbox_id = inbox_id
            item.changed = True


_FINAL: Final = {
    Verdict.DECIDED: ItemState.DECIDED,
    Verdict.REFUSED: ItemState.REFUSED,
    Verdict.REFUSED_HOLD: ItemState.REFUSED,
}
_STAYS_OPEN: Final = frozenset({Verdict.ASK, Verdict.WAIT, Verdict.UNKNOWN})
_TO_A_PERSON: Final = frozenset({Verdict.REFUSED_HOLD, Verdict.UNKNOWN})


def receive_again(session: Session, ids: Sequence[int], now: datetime) -> None:
    """Let these receipts be applied anew, those that are quarantined; what they raised is closed."""
    for some in chunks(ids):
        given = select(ids_table(session, some).c.id)
        session.execute(
            update(InboxMessage)
            .where(InboxMessage.id.in_(given), InboxMessage.state == InboxState.QUARANTINED)
            .values(state=InboxState.RECEIVED, reason=None)
            .execution_options(synchronize_session=False)
        )
        session.execute(
            update(Discrepancy)
            .where(Discrepancy.inbox_id.in_(given), Discrepancy.closed_at.is_(None))
            .values(closed_at=now)
            .execution_options(synchronize_session=False)
        )


def _strange(receipt: bcm1.Receipt, sent: Sent | None) -> str:
    """Why a receipt cannot be believed; "" when it can."""
    if sent is None:
        return "unmatched"
    came_back = sent.state is SubmissionState.SIGNED and sent.send_count > 0
    expected = sent.state in AWAITING_RECEIPT or sent.state is SubmissionState.DECIDED
    if not (expected or came_back):
        return f"not awaited: {sent.state}"
    if (receipt.certificate, receipt.action) != (sent.certificate, sent.action):
        return "other certificate or operation"
    if len({line.serial for line in receipt.forms}) != len(receipt.forms):
        return "a serial twice in one receipt"
    for line in receipt.forms:
        item = sent.items.get(line.serial)
        if item is None:
            return f"serial {line.serial} was not sent"
        decision = verdict(line.rep_code, line.form_state, item.action)
        if decision is Verdict.DECIDED and line.form_state != WANTED_STATE[item.action]:
            return f"{line.serial}: {line.rep_code} with FormState {line.form_state}"
        final = _FINAL.get(decision)
        if item.state is not ItemState.HELD and final not in (None, item.state):
            return f"contradiction: {line.serial} is {item.state}, receipt says {line.rep_code}"
    return ""


@app.task(name=Task.APPLY.value)
def apply_task() -> None:
    """Something is in the inbox."""
    apply(current())
