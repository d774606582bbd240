"""Stage 5b, receipts: one applier moves states, whichever way a receipt came.

What fits nothing we sent is quarantined
and raises a discrepancy; a final state is never changed by what comes after. Applying the same
inbox row again finds it applied.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import String, select, update
from sqlalchemy.orm import Session

from config.names import Task
from customs import bcm1
from models.base import BigId
from models.batches import Item
from models.bulk import ids_table, insert_rows, rows_table
from models.errors import GatewayUnreachable
from models.moves import FormMove, move_forms
from models.progress import finish_batches
from models.serials import predecessor
from models.states import (
    AWAITING_RECEIPT,
    FINAL_STATE,
    SUBMITTED_STATE,
    Action,
    FormState,
    InboxState,
    ItemState,
    SubmissionState,
)
from models.stock import Discrepancy, Form, Stock
from models.submissions import InboxMessage, ReceiptLine, Submission
from models.verdicts import WANTED_STATE, Verdict, verdict
from tasks.app import app
from tasks.context import Context, current

log = structlog.get_logger(__name__)

RECEIPTS_TOGETHER: Final = 500
"""Receipts applied in one transaction."""

LISTED_NEAR: Final = 20
"""Forms asked for to find one: a serial may exist in several types, or sort after longer ones."""

ASKED_TOGETHER: Final = 50
_TEXT_LIMIT: Final = 150


# -- applying -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Item:
    """An item as the receipts of one chunk change it."""

    id: int
    form_id: int
    serial: str
    action: Action
    state: ItemState
    rep_code: str | None
    rep_text: str | None = None
    changed: bool = False
    hold: bool = False
    inbox_id: int | None = None


@dataclass(slots=True)
class _Sent:
    """A submission with its items by serial."""

    id: int
    batch_id: int
    certificate: str
    action: Action
    state: SubmissionState
    send_count: int
    items: dict[str, _Item] = field(default_factory=dict)
    touched: bool = False


@dataclass(slots=True)
class _Outcome:
    """What a chunk of receipts comes to."""

    quarantined: dict[int, str] = field(default_factory=dict)
    applied: dict[int, str] = field(default_factory=dict)
    """Inbox id -> submission number."""
    lines: list[dict[str, Any]] = field(default_factory=list)
    discrepancies: list[dict[str, Any]] = field(default_factory=list)


def apply(context: Context) -> int:
    """Apply what is in the inbox, oldest first, one chunk; rings itself while there is more."""
    with context.database.write() as session:
        messages = session.execute(
            select(InboxMessage.id, InboxMessage.receipt_id, InboxMessage.body)
            .where(InboxMessage.state == InboxState.RECEIVED)
            .order_by(InboxMessage.id)
            .limit(RECEIPTS_TOGETHER)
            .with_for_update(skip_locked=True)
        ).all()
        if not messages:
            return 0
        outcome = _Outcome()
        readable = list(_read(messages, outcome))
        sent = _submissions(session, {receipt.number for _, receipt in readable})
        for inbox_id, receipt in readable:
            _judge(context, inbox_id, receipt, sent.get(receipt.number), outcome)
        finished = _write(session, context, sent, outcome)
    for batch_id in finished:
        context.ring(Task.REPORT, batch_id)
    if any(line["verdict"] == Verdict.ASK for line in outcome.lines):
        context.ring(Task.ADOPT)
    if len(messages) == RECEIPTS_TOGETHER:
        context.ring(Task.APPLY)
    return len(messages)


def _read(messages: Sequence[Any], outcome: _Outcome) -> Iterator[tuple[int, bcm1.Receipt]]:
    for message in messages:
        try:
            receipt = bcm1.parse_receipt(message.body)
        except bcm1.NotReadable as error:
            outcome.quarantined[message.id] = f"unreadable: {error}"[:_TEXT_LIMIT]
            continue
        if receipt.receipt_id != message.receipt_id:
            outcome.quarantined[message.id] = "receipt_id differs from the receipt's own"
            continue
        yield message.id, receipt


def _submissions(session: Session, numbers: set[str]) -> dict[str, _Sent]:
    """The submissions of these numbers, locked, with their items."""
    if not numbers:
        return {}
    given = rows_table(session, {"number": String()}, [(n,) for n in sorted(numbers)])
    found = session.execute(
        select(
            Submission.id,
            Submission.number,
            Submission.batch_id,
            Submission.certificate,
            Submission.action,
            Submission.state,
            Submission.send_count,
        )
        .join(given, given.c.number == Submission.number)
        .order_by(Submission.id)
        .with_for_update(of=Submission)
    ).all()
    sent = {
        r.number: _Sent(r.id, r.batch_id, r.certificate, r.action, r.state, r.send_count)
        for r in found
    }
    by_id = {s.id: s for s in sent.values()}
    ids = ids_table(session, list(by_id))
    for r in session.execute(
        select(
            Item.id, Item.form_id, Item.serial, Item.action, Item.state, Item.rep_code,
            Item.submission_id,
        ).join(ids, ids.c.id == Item.submission_id)
    ):  # fmt: skip
        item = _Item(r.id, r.form_id, r.serial, r.action, r.state, r.rep_code)
        by_id[r.submission_id].items[r.serial] = item
    return sent


def _judge(
    context: Context,
    inbox_id: int,
    receipt: bcm1.Receipt,
    sent: _Sent | None,
    outcome: _Outcome,
) -> None:
    """Let one receipt change the items in memory, or say why it may not."""
    strange = _strange(receipt, sent)[:_TEXT_LIMIT]
    if strange or sent is None:
        outcome.quarantined[inbox_id] = strange
        detail = f"{strange}: {receipt.number} {receipt.certificate}"
        outcome.discrepancies.append(_discrepancy(context, "receipt", inbox_id, None, detail))
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
                "rep_text": line.rep_text[:_TEXT_LIMIT],
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
            outcome.discrepancies.append(_discrepancy(context, kind, inbox_id, item, text))
        if decision in _FINAL:
            item.state = _FINAL[decision]
            item.rep_code, item.rep_text = line.rep_code, line.rep_text[:_TEXT_LIMIT]
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


def _strange(receipt: bcm1.Receipt, sent: _Sent | None) -> str:
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


def _discrepancy(
    context: Context, kind: str, inbox_id: int, item: _Item | None, detail: str
) -> dict[str, Any]:
    return {
        "kind": kind,
        "form_id": item.form_id if item else None,
        "serial": item.serial if item else None,
        "inbox_id": inbox_id,
        "detail": detail[:400],
        "raised_at": context.now(),
    }


def _write(
    session: Session, context: Context, sent: dict[str, _Sent], outcome: _Outcome
) -> list[int]:
    now = context.now()
    touched = [s for s in sent.values() if s.touched]
    _come_back(session, [s for s in touched if s.state is SubmissionState.SIGNED], now)
    _move_items(session, touched, now)
    if outcome.lines:
        insert_rows(session, ReceiptLine, outcome.lines)
    if outcome.discrepancies:
        insert_rows(session, Discrepancy, outcome.discrepancies)
    changed = [i for s in touched for i in s.items.values() if i.changed]
    _store_items(session, changed, now)
    _close_submissions(session, touched, now)
    for state, ids in (
        (InboxState.APPLIED, list(outcome.applied)),
        (InboxState.QUARANTINED, list(outcome.quarantined)),
    ):
        _settle_inbox(session, state, ids, outcome, now)
    for inbox_id, reason in outcome.quarantined.items():
        log.warning("receipt_quarantined", inbox_id=inbox_id, reason=reason)
    return finish_batches(session, {s.batch_id for s in touched}, now)


def _come_back(session: Session, sent: Sequence[_Sent], now: datetime) -> None:
    """Customs had said "not found" and decides all the same: it was taken, nothing is resent."""
    for action in Action:
        moves = [
            FormMove(i.form_id, s.certificate, s.batch_id, s.id)
            for s in sent
            if s.action is action
            for i in s.items.values()
        ]
        there = SUBMITTED_STATE[action]
        move_forms(session, moves, FormState.RESERVED, there, now, "receipt")


def _move_items(session: Session, touched: Sequence[_Sent], now: datetime) -> None:
    """Move the forms of all items that changed, one statement for each kind of move."""
    by_move: dict[tuple[FormState, FormState], list[FormMove]] = defaultdict(list)
    for sent in touched:
        start = SUBMITTED_STATE[sent.action]
        for item in sent.items.values():
            if not item.changed:
                continue
            decided = item.state is ItemState.DECIDED
            target = FINAL_STATE[sent.action] if decided else FormState.ISSUED
            reason = None if decided else f"{item.rep_code} {item.rep_text}"
            hold = f"customs {item.rep_code}" if item.hold else None
            about = (sent.certificate, sent.batch_id, sent.id, item.inbox_id)
            by_move[start, target].append(FormMove(item.form_id, *about, reason=reason, hold=hold))
    for (start, target), moves in by_move.items():
        move_forms(session, moves, start, target, now, "receipt")


def _store_items(session: Session, items: Sequence[_Item], now: datetime) -> None:
    if not items:
        return
    given = rows_table(
        session,
        {"id": BigId, "state": String(), "code": String(), "text": String()},
        [(i.id, i.state.value, i.rep_code, i.rep_text) for i in items],
    )
    session.execute(
        update(Item)
        .where(Item.id == given.c.id)
        .values(state=given.c.state, rep_code=given.c.code, rep_text=given.c.text, decided_at=now)
        .execution_options(synchronize_session=False)
    )
    session.execute(
        update(ReceiptLine)
        .where(ReceiptLine.item_id == given.c.id, ReceiptLine.open)
        .values(open=False)
        .execution_options(synchronize_session=False)
    )


def _close_submissions(session: Session, touched: Sequence[_Sent], now: datetime) -> None:
    decided = [
        s.id for s in touched if all(i.state is not ItemState.HELD for i in s.items.values())
    ]
    taken = [s.id for s in touched if s.id not in set(decided)]
    for ids, values in (
        (decided, {"state": SubmissionState.DECIDED, "decided_at": now}),
        (taken, {"state": SubmissionState.TAKEN}),
    ):
        if ids:
            given = ids_table(session, ids)
            session.execute(
                update(Submission)
                .where(
                    Submission.id.in_(select(given.c.id)),
                    Submission.state != SubmissionState.DECIDED,
                )
                .values(next_attempt_at=None, lease_until=None, **values)
                .execution_options(synchronize_session=False)
            )


def _settle_inbox(
    session: Session, state: InboxState, ids: Sequence[int], outcome: _Outcome, now: datetime
) -> None:
    if not ids:
        return
    given = rows_table(
        session,
        {"id": BigId, "reason": String(), "number": String()},
        [(i, outcome.quarantined.get(i), outcome.applied.get(i)) for i in ids],
    )
    session.execute(
        update(InboxMessage)
        .where(InboxMessage.id == given.c.id)
        .values(
            state=state,
            reason=given.c.reason,
            submission_number=given.c.number,
            applied_at=now,
        )
        .execution_options(synchronize_session=False)
    )


# -- already in the wanted state: whose is it? --------------------------------------------------


def adopt(context: Context) -> int:
    """Settle 2102 with the wanted FormState: adopt it if for our certificate (contract section 3).

    Asks customs' list for each such form, then decides the item like a receipt would; gives how
    many were settled. Raises `GatewayUnreachable`; the lines stay open and are asked again.
    """
    with context.database.read() as session:
        lines = session.execute(
            select(ReceiptLine.id, ReceiptLine.item_id, Form.serial, Form.form_type, Stock.owner)
            .join(Form, Form.id == ReceiptLine.form_id)
            .join(Stock, Stock.id == Form.stock_id)
            .where(ReceiptLine.open, ReceiptLine.verdict == Verdict.ASK.value)
            .order_by(ReceiptLine.id)
            .limit(ASKED_TOGETHER)
        ).all()
    answers = {}
    for line in lines:
        forms, _ = context.gateway.forms(line.owner, predecessor(line.serial), LISTED_NEAR)
        answers[line.item_id] = next(
            (f for f in forms if (f.serial, f.form_type) == (line.serial, line.form_type)), None
        )
    finished: list[int] = []
    with context.database.write() as session:
        for item_id, listed in answers.items():
            finished += _settle_asked(session, context, item_id, listed)
    for batch_id in finished:
        context.ring(Task.REPORT, batch_id)
    return len(answers)


def _settle_asked(session: Session, context: Context, item_id: int, listed: Any) -> list[int]:
    number = session.scalar(
        select(Submission.number)
        .join(Item, Item.submission_id == Submission.id)
        .where(Item.id == item_id, Item.state == ItemState.HELD)
    )
    if number is None:
        return []
    sent = _submissions(session, {number})[number]
    item = next(i for i in sent.items.values() if i.id == item_id)
    if item.state is not ItemState.HELD:
        return []  # a receipt decided it while customs was asked
    if listed is None:
        _leave_to_a_person(session, context, item)
        return []
    adopted = listed.certificate == sent.certificate and listed.state == WANTED_STATE[item.action]
    item.state = ItemState.DECIDED if adopted else ItemState.REFUSED
    item.rep_code, item.rep_text = "2102", "已按海关状态采纳" if adopted else "空白证单状态不符"
    item.hold, item.changed, sent.touched = not adopted, True, True
    outcome = _Outcome()
    if not adopted:
        text = f"2102, customs: {listed}"
        outcome.discrepancies.append(_discrepancy(context, "customs_2102", 0, item, text))
        outcome.discrepancies[0]["inbox_id"] = None
    return _write(session, context, {number: sent}, outcome)


def _leave_to_a_person(session: Session, context: Context, item: _Item) -> None:
    """Customs says the form is done and does not list it: nothing is concluded."""
    session.execute(
        update(ReceiptLine)
        .where(ReceiptLine.item_id == item.id, ReceiptLine.open)
        .values(verdict=Verdict.UNKNOWN.value)
        .execution_options(synchronize_session=False)
    )
    found = _discrepancy(context, "customs_2102", 0, item, "2102, not in customs' list")
    insert_rows(session, Discrepancy, [{**found, "inbox_id": None}])


@app.task(name=Task.APPLY.value)
def apply_task() -> None:
    """Something is in the inbox."""
    apply(current())


@app.task(name=Task.ADOPT.value)
def adopt_task() -> None:
    """Customs says a form is where we want it already."""
    try:
        adopt(current())
    except GatewayUnreachable as error:
        log.warning("adopt_failed", detail=str(error.values.get("detail")))
