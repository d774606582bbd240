"""What customs decided of the items of messages, written: the one way from a decision to states.

Receipts (`tasks.receipts.applying`) and customs' own list (`tasks.receipts.adopting`) change items in memory;
this moves forms, items, submissions and batches by them, set-based, in the caller's transaction.
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

from models.rules.causes import OF_CUSTOMS, Cause
from models.rules.states import (
    FINAL_STATE,
    GIVEN_UP,
    SUBMITTED_STATE,
    Action,
    FormState,
    InboxState,
    ItemState,
    SubmissionState,
)
from models.tables.base import NO_KEY_UPDATE, BigId
from models.tables.batches import Item
from models.tables.bulk import ids_table, insert_rows, rows_table
from models.tables.discrepancies import Discrepancy
from models.tables.inbox import InboxMessage, ReceiptLine
from models.tables.submissions import Submission
from models.writes.announcements import Refusal, RefusedForm, announce_refused
from models.writes.batches import finish_batches
from models.writes.holds import hold_forms, lock_stocks_of
from models.writes.moves import FormMove, move_forms
from models.writes.submissions import move_submissions
from tasks.context import Context

log = structlog.get_logger(__name__)

CONTRADICTED_HOLD: Final = "海关回执前后矛盾，待海关清单确认"
"""Cause and text of a hold that lasts until customs' list has been asked."""

TEXT_LIMIT: Final = 150
"""Characters of a text of customs that are kept with an item."""


@dataclass(slots=True)
class DecidedItem:
    """An item as the receipts of one chunk change it."""

    id: int
    form_id: int
    serial: str
    g_no: int | None
    action: Action
    state: ItemState
    rep_code: str | None
    rep_text: str | None = None
    changed: bool = False
    hold: bool = False
    inbox_id: int | None = None
    given_back: bool = False
    """Its form went back to issued before customs decided it after all."""
    outside: bool = False
    """Decided by customs' list, not by a receipt of ours."""


@dataclass(slots=True)
class Sent:
    """A submission with its items by serial."""

    number: str
    id: int
    batch_id: int
    certificate: str
    action: Action
    state: SubmissionState
    send_count: int
    sender: str | None = None
    seq_no: str | None = None
    items: dict[str, DecidedItem] = field(default_factory=dict)
    touched: bool = False


@dataclass(slots=True)
class Outcome:
    """What a chunk of receipts comes to."""

    quarantined: dict[int, str] = field(default_factory=dict)
    applied: dict[int, str] = field(default_factory=dict)
    """Inbox id -> submission number."""
    lines: list[dict[str, Any]] = field(default_factory=list)
    discrepancies: list[dict[str, Any]] = field(default_factory=list)
    contradicted: list[int] = field(default_factory=list)
    """Forms that, where they are not final, are on hold until customs' list has been asked."""


def load_sent(session: Session, numbers: set[str]) -> dict[str, Sent]:
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
            Submission.sender,
            Submission.seq_no,
        )
        .join(given, given.c.number == Submission.number)
        .order_by(Submission.id)
        .with_for_update(**NO_KEY_UPDATE, of=Submission)
    ).all()
    sent = {
        r.number: Sent(
            *(r.number, r.id, r.batch_id, r.certificate, r.action, r.state, r.send_count),
            sender=r.sender,
            seq_no=r.seq_no,
        )
        for r in found
    }
    by_id = {s.id: s for s in sent.values()}
    ids = ids_table(session, list(by_id))
    for r in session.execute(
        select(
            Item.id, Item.form_id, Item.serial, Item.g_no, Item.action, Item.state, Item.rep_code,
            Item.submission_id,
        ).join(ids, ids.c.id == Item.submission_id)
    ):  # fmt: skip
        item = DecidedItem(r.id, r.form_id, r.serial, r.g_no, r.action, r.state, r.rep_code)
        by_id[r.submission_id].items[r.serial] = item
    return sent


def discrepancy(
    context: Context, kind: str, inbox_id: int | None, item: DecidedItem | None, detail: str
) -> dict[str, Any]:
    """The row of something that a person must look at."""
    return {
        "kind": str(kind),
        "form_id": item.form_id if item else None,
        "serial": item.serial if item else None,
        "inbox_id": inbox_id,
        "detail": detail[:400],
        "raised_at": context.now(),
    }


def write_decisions(
    session: Session, context: Context, sent: dict[str, Sent], outcome: Outcome
) -> list[int]:
    """Write what was decided of these messages; gives the batches that are finished by it.

    `sent` are locked (`load_sent`), their items changed in memory.
    """
    now = context.now()
    touched = [s for s in sent.values() if s.touched]
    changed = [i for s in touched for i in s.items.values() if i.changed]
    if outcome.contradicted:  # a hold locks the stock, which whoever reserves locks before any form
        concerned = {*outcome.contradicted, *(i.form_id for i in changed)}
        lock_stocks_of(session, sorted(concerned))
    _come_back(session, [s for s in touched if s.state is SubmissionState.SIGNED], now)
    _move_items(session, touched, now)
    if outcome.lines:
        insert_rows(session, ReceiptLine, outcome.lines)
    close_answered(session, [i.form_id for i in changed], now)
    if outcome.contradicted:
        why = CONTRADICTED_HOLD
        hold_forms(
            session, outcome.contradicted, now, Cause.CUSTOMS_CONTRADICTS, why, not_final=True
        )
    if outcome.discrepancies:
        insert_rows(session, Discrepancy, outcome.discrepancies)
    _store_items(session, changed, now)
    _close_submissions(session, touched, now)
    _keep_seq_no(session, touched)
    for state, ids in (
        (InboxState.APPLIED, list(outcome.applied)),
        (InboxState.QUARANTINED, list(outcome.quarantined)),
    ):
        _settle_inbox(session, state, ids, outcome, now)
    for inbox_id, reason in outcome.quarantined.items():
        log.warning("receipt_quarantined", inbox_id=inbox_id, reason=reason)
    decided: dict[int, list[str]] = defaultdict(list)
    for one in touched:
        decided[one.batch_id].append(one.number)
    for batch_id, numbers in decided.items():
        log.info("receipts_applied", batch_id=batch_id, numbers=numbers)
    announce_refused(session, _refusals(touched), now)
    return finish_batches(session, {s.batch_id for s in touched}, now)


def close_answered(session: Session, form_ids: Sequence[int], now: datetime) -> None:
    """What customs had left open about these forms is answered: they are final now, or refused."""
    if not form_ids:
        return
    given = ids_table(session, form_ids)
    session.execute(
        update(Discrepancy)
        .where(
            Discrepancy.form_id.in_(select(given.c.id)),
            Discrepancy.kind.startswith(OF_CUSTOMS),
            Discrepancy.closed_at.is_(None),
        )
        .values(closed_at=now, closed_by="receipt", closed_reason="decided")
    )


def _refusals(touched: Sequence[Sent]) -> Iterator[Refusal]:
    """What customs has just refused, message by message."""
    for sent in touched:
        forms = [
            RefusedForm(i.serial, i.rep_code or "", i.rep_text or "", i.hold)
            for i in sent.items.values()
            if i.changed and i.state is ItemState.REFUSED
        ]
        if forms:
            yield Refusal(sent.batch_id, sent.certificate, sent.action, forms)


def _come_back(session: Session, sent: Sequence[Sent], now: datetime) -> None:
    """Customs had said "not found" and decides all the same: it was taken, nothing is resent."""
    for action in Action:
        moves = [
            FormMove(i.form_id, s.certificate, s.batch_id, s.id)
            for s in sent
            if s.action is action
            for i in s.items.values()
        ]
        there = SUBMITTED_STATE[action]
        move_forms(session, moves, FormState.RESERVED, there, now, Cause.RECEIPT)


def _move_items(session: Session, touched: Sequence[Sent], now: datetime) -> None:
    """Move the forms of all items that changed, one statement for each kind of move."""
    by_move: dict[tuple[FormState, FormState, Cause], list[FormMove]] = defaultdict(list)
    for sent in touched:
        for item in sent.items.values():
            if not item.changed:
                continue
            start = FormState.ISSUED if item.given_back else SUBMITTED_STATE[sent.action]
            decided = item.state is ItemState.DECIDED
            target = FINAL_STATE[sent.action] if decided else FormState.ISSUED
            reason = None if decided else f"{item.rep_code} {item.rep_text}"
            if item.outside:
                reason = item.rep_text
            hold = f"customs {item.rep_code}" if item.hold else None
            about = (sent.certificate, sent.batch_id, sent.id, item.inbox_id)
            move = FormMove(item.form_id, *about, reason=reason, hold=hold)
            cause = Cause.RECEIPT_HOLDS if item.hold else Cause.RECEIPT
            by_move[start, target, Cause.ADOPTED if item.outside else cause].append(move)
    for (start, target, cause), moves in by_move.items():
        outside = cause is Cause.ADOPTED
        move_forms(session, moves, start, target, now, cause, outside=outside)


def _store_items(session: Session, items: Sequence[DecidedItem], now: datetime) -> None:
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
    )
    session.execute(
        update(ReceiptLine)
        .where(ReceiptLine.item_id == given.c.id, ReceiptLine.open)
        .values(open=False, ask_at=None)
    )


def _close_submissions(session: Session, touched: Sequence[Sent], now: datetime) -> None:
    known = [s for s in touched if s.state not in GIVEN_UP]
    decided = [
        s.id for s in known if all(i.state is not ItemState.UNDER_WAY for i in s.items.values())
    ]
    taken = [s.id for s in known if s.id not in set(decided)]
    rest: dict[str, Any] = {"next_attempt_at": None, "lease_until": None}
    move_submissions(session, decided, SubmissionState.DECIDED, decided_at=now, **rest)
    move_submissions(session, taken, SubmissionState.TAKEN, **rest)


def _keep_seq_no(session: Session, touched: Sequence[Sent]) -> None:
    """Where the answer was lost, the first receipt tells customs' own number of the message."""
    told = [(s.id, s.seq_no) for s in touched if s.seq_no is not None]
    if told:
        given = rows_table(session, {"id": BigId, "seq_no": String()}, told)
        session.execute(
            update(Submission)
            .where(Submission.id == given.c.id, Submission.seq_no.is_(None))
            .values(seq_no=given.c.seq_no)
        )


def _settle_inbox(
    session: Session, state: InboxState, ids: Sequence[int], outcome: Outcome, now: datetime
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
    )
