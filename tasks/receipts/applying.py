"""Stage 5b, receipts: one applier moves states, whichever way a receipt came.

What fits nothing we sent, or does not agree with itself, is quarantined and raises a discrepancy. A final
state is never changed by what comes after: what contradicts it is kept, and customs' list is asked. Applying
the same inbox row again finds it applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import String, func, select, true, update
from sqlalchemy.exc import DataError, DBAPIError, StatementError
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from customs.wire import NotReadable, Receipt
from models.rules.causes import DiscrepancyKind, of_customs
from models.rules.states import AWAITING_RECEIPT, GIVEN_UP, InboxState, ItemState, SubmissionState
from models.rules.verdicts import WANTED_STATE, Said, Verdict, contradicts, verdict
from models.tables.base import NO_KEY_UPDATE
from models.tables.bulk import chunks, ids_table, rows_table
from models.tables.discrepancies import Discrepancy
from models.tables.inbox import InboxMessage
from tasks.app import app
from tasks.context import Context, current
from tasks.receipts.decisions import (
    TEXT_LIMIT,
    Outcome,
    Sent,
    discrepancy,
    load_sent,
    write_decisions,
)

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
            _quarantine(context, outcome, messages[0].id, not_accepted)
        readable = [] if not_accepted else list(_read(context, session, messages, outcome))
        sent = load_sent(session, {receipt.number for _, receipt in readable})
        for inbox_id, receipt in readable:
            _judge(context, inbox_id, receipt, sent.get(receipt.number), outcome)
        finished = write_decisions(session, context, sent, outcome)
        crash_point(Point.APPLY_BEFORE_COMMIT)
    for batch_id in finished:
        context.ring(Task.REPORT, batch_id)
    if any(line["ask_at"] is not None for line in outcome.lines):
        context.ring(Task.ADOPT)
    if only is not None or len(messages) == RECEIPTS_TOGETHER:
        context.ring(Task.APPLY)
    return len(messages)


def _quarantine(
    context: Context, outcome: Outcome, inbox_id: int, reason: str, about: str = ""
) -> None:
    """Set one receipt aside, whole, and raise it for a person."""
    outcome.quarantined[inbox_id] = reason[:TEXT_LIMIT]
    detail = f"{reason[:TEXT_LIMIT]}: {about}" if about else reason
    outcome.discrepancies.append(
        discrepancy(context, DiscrepancyKind.RECEIPT, inbox_id, None, detail)
    )


def _read(
    context: Context, session: Session, messages: Sequence[Any], outcome: Outcome
) -> Iterator[tuple[int, Receipt]]:
    first = _first_of_their_id(session, {m.receipt_id for m in messages if m.receipt_id})
    for message in messages:
        try:
            receipt = context.wire.receipt(message.body)
        except NotReadable as error:
            _quarantine(context, outcome, message.id, f"unreadable: {error}")
            continue
        if receipt.receipt_id != message.receipt_id:
            differs = "receipt_id differs from the receipt's own"
            _quarantine(context, outcome, message.id, differs)
        elif first[receipt.receipt_id] != message.id:
            _quarantine(context, outcome, message.id, "receipt_id known with other content")
        else:
            yield message.id, receipt


def _first_of_their_id(session: Session, receipt_ids: set[str]) -> dict[str, int]:
    """The inbox row that brought each receipt id first: the same id with other content is an alarm."""
    given = rows_table(session, {"id": String()}, [(i,) for i in sorted(receipt_ids)])
    found = session.execute(
        select(given.c.id, func.min(InboxMessage.id))
        .join(InboxMessage, InboxMessage.receipt_id == given.c.id)
        .group_by(given.c.id)
    )
    return {receipt_id: inbox_id for receipt_id, inbox_id in found}  # noqa: C416 - rows are no pairs for the types


def _judge(
    context: Context,
    inbox_id: int,
    receipt: Receipt,
    sent: Sent | None,
    outcome: Outcome,
) -> None:
    """Let one receipt change the items in memory, or say why it may not."""
    strange = _strange(context, receipt, sent)
    if strange or sent is None:
        _quarantine(context, outcome, inbox_id, strange, f"{receipt.number} {receipt.certificate}")
        return
    sent.touched |= sent.state not in GIVEN_UP
    sent.seq_no = sent.seq_no or receipt.seq_no
    outcome.applied[inbox_id] = receipt.number
    for line in receipt.forms:
        item = sent.items[line.serial]
        decision = verdict(line.said, line.state, item.action)
        said = f"{line.code} {line.text}, FormState {line.state}"
        contradiction = contradicts(decision, item.state, context.wire.meaning(item.rep_code or ""))
        if contradiction:
            text = f"{item.state} {item.rep_code or ''}: {said}"
            outcome.contradicted.append(item.form_id)
            outcome.discrepancies.append(
                discrepancy(context, DiscrepancyKind.CONTRADICTION, inbox_id, item, text)
            )
        open_line = item.state is ItemState.UNDER_WAY and decision in _STAYS_OPEN
        asked = decision is Verdict.ASK and item.state is ItemState.UNDER_WAY
        asked |= contradiction and decision not in _NOT_FINAL
        outcome.lines.append(
            {
                "inbox_id": inbox_id,
                "item_id": item.id,
                "form_id": item.form_id,
                "rep_code": line.code,
                "rep_text": line.text[:TEXT_LIMIT],
                "form_state": line.state.value,
                "managed_at": receipt.managed_at,
                "verdict": (Verdict.CONTRADICTION if contradiction else decision).value,
                "open": open_line,
                "ask_at": context.now() if asked else None,
            }
        )
        if item.state is not ItemState.UNDER_WAY or decision is Verdict.WAIT:
            continue
        if decision in _TO_A_PERSON:
            kind = of_customs(line.code)
            outcome.discrepancies.append(discrepancy(context, kind, inbox_id, item, said))
        if decision in _FINAL:
            item.state = _FINAL[decision]
            item.rep_code, item.rep_text = line.code, line.text[:TEXT_LIMIT]
            item.hold = decision is Verdict.REFUSED_HOLD
            item.inbox_id = inbox_id
            item.changed = True


_FINAL: Final = {
    Verdict.DECIDED: ItemState.DECIDED,
    Verdict.REFUSED: ItemState.REFUSED,
    Verdict.REFUSED_HOLD: ItemState.REFUSED,
}
_STAYS_OPEN: Final = frozenset({Verdict.ASK, Verdict.WAIT, Verdict.UNKNOWN})
_NOT_FINAL: Final = frozenset({Verdict.WAIT, Verdict.UNKNOWN})
"""Customs has not decided yet: its list says nothing before it has."""

_TO_A_PERSON: Final = frozenset({Verdict.REFUSED_HOLD, Verdict.UNKNOWN})


def receive_again(session: Session, ids: Sequence[int], now: datetime) -> None:
    """Let these receipts be applied anew, those that are quarantined; what they raised is closed."""
    for some in chunks(ids):
        given = select(ids_table(session, some).c.id)
        session.execute(
            update(InboxMessage)
            .where(InboxMessage.id.in_(given), InboxMessage.state == InboxState.QUARANTINED)
            .values(state=InboxState.RECEIVED, reason=None)
        )
        session.execute(
            update(Discrepancy)
            .where(Discrepancy.inbox_id.in_(given), Discrepancy.closed_at.is_(None))
            .values(closed_at=now)
        )


def _strange(context: Context, receipt: Receipt, sent: Sent | None) -> str:
    """Why a receipt cannot be believed, whole; "" when it agrees with itself and its message (contract section 3)."""
    if sent is None:
        return "unmatched"
    came_back = sent.state is SubmissionState.SIGNED and sent.send_count > 0
    ended = sent.state is SubmissionState.DECIDED or sent.state in GIVEN_UP
    if not (sent.state in AWAITING_RECEIPT or ended or came_back):
        return f"not awaited: {sent.state}"
    if receipt.receiver != (sent.sender or context.settings.sender):
        return f"addressed to {receipt.receiver}"
    if receipt.seq_no != (sent.seq_no or receipt.seq_no):
        return f"SeqNo {receipt.seq_no}, not {sent.seq_no}"
    if (receipt.certificate, receipt.action) != (sent.certificate, sent.action):
        return "other certificate or operation"
    if receipt.disagreement:
        return receipt.disagreement
    if len({line.serial for line in receipt.forms}) != len(receipt.forms):
        return "a serial twice in one receipt"
    for line in receipt.forms:
        item = sent.items.get(line.serial)
        if item is None:
            return f"serial {line.serial} was not sent"
        if item.g_no != line.g_no:
            return f"serial {line.serial} was sent as GNo {item.g_no}, not {line.g_no}"
        if line.said is Said.DONE and line.state is not WANTED_STATE[item.action]:
            return f"{line.serial}: {line.code} with FormState {line.state}"
    return ""


@app.task(name=Task.APPLY.value)
def apply_task() -> None:
    """Something is in the inbox."""
    apply(current())
