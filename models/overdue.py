"""What a night lists besides the two books: what waits too long, here and on paper.

Each function reads and gives the values of differences, oldest first; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session

from models.batches import Batch, Item
from models.bulk import CHUNK
from models.differences import DifferenceClass
from models.plan import CERTIFICATE_APPROVED
from models.reconciliation import Difference
from models.serials import NotSerials, as_ranges, serials_between
from models.states import (
    AT_CUSTOMS,
    Action,
    AttemptKind,
    BatchState,
    FormState,
    InboxState,
    ItemState,
)
from models.stock import Block, Certificate, Form, Stock
from models.submissions import Attempt, InboxMessage, Submission

LOOK_BACK: Final = timedelta(days=90)
"""How far back a certificate without its forms is looked for: customs keeps receipts as long."""

PRINTED_AFTER: Final = timedelta(days=1)
"""A certificate approved today may be printed today."""

LONGEST_BLOCK: Final = 1_000_000

Values = dict[str, Any]


def overdue_submissions(session: Session, run_id: int, before: datetime) -> Iterator[Values]:
    """`no_answer`: sent before that moment, not decided, and not different in another way this night."""
    first_sent = (
        select(func.min(Attempt.started_at))
        .where(Attempt.submission_id == Submission.id, Attempt.kind == AttemptKind.SEND)
        .correlate(Submission)
        .scalar_subquery()
    )
    listed_already = exists().where(
        Difference.run_id == run_id,
        Difference.form_type == Form.form_type,
        Difference.first_serial <= Form.serial,
        Difference.last_serial >= Form.serial,
        func.length(Difference.first_serial) == func.length(Form.serial),
    )
    rows = session.execute(
        select(
            Form.serial,
            Form.form_type,
            Form.state,
            Stock.owner,
            Submission.id,
            Submission.number,
            Submission.state.label("submission_state"),
            Submission.certificate,
            first_sent.label("sent_at"),
        )
        .select_from(Submission)
        .join(Item, and_(Item.submission_id == Submission.id, Item.state == ItemState.HELD))
        .join(Form, Form.id == Item.form_id)
        .join(Stock, Stock.id == Form.stock_id)
        .where(Submission.state.in_(sorted(AT_CUSTOMS)), first_sent < before, ~listed_already)
        .order_by(Submission.id, Form.serial)
        .execution_options(yield_per=CHUNK)
    )
    for row in rows:
        yield {
            "kind": DifferenceClass.NO_ANSWER,
            "owner": row.owner,
            "form_type": row.form_type,
            "first_serial": row.serial,
            "last_serial": row.serial,
            "state": row.state,
            "certificate": row.certificate,
            "reference": row.id,
            "detail": f"{row.submission_state.value} {row.number}",
            "since": row.sent_at,
        }


def expired_reservations(session: Session, now: datetime) -> Iterator[Values]:
    """`reservation_expired`: reserved, by a batch whose time is over."""
    rows = session.execute(
        select(
            Form.serial,
            Form.form_type,
            Form.certificate,
            Stock.owner,
            Batch.id,
            Batch.expires_at,
        )
        .select_from(Batch)
        .join(Item, and_(Item.batch_id == Batch.id, Item.state == ItemState.HELD))
        .join(Form, Form.id == Item.form_id)
        .join(Stock, Stock.id == Form.stock_id)
        .where(
            Batch.state == BatchState.WORKING,
            Batch.expires_at <= now,
            Form.state == FormState.RESERVED,
        )
        .order_by(Batch.id, Form.serial)
        .execution_options(yield_per=CHUNK)
    )
    for row in rows:
        yield {
            "kind": DifferenceClass.RESERVATION_EXPIRED,
            "owner": row.owner,
            "form_type": row.form_type,
            "first_serial": row.serial,
            "last_serial": row.serial,
            "state": FormState.RESERVED,
            "certificate": row.certificate,
            "reference": row.id,
            "since": row.expires_at,
        }


def unmatched_receipts(session: Session) -> Iterator[Values]:
    """`unmatched_receipt`: what customs told us and nothing of ours fits."""
    rows = session.execute(
        select(
            InboxMessage.id, InboxMessage.receipt_id, InboxMessage.reason, InboxMessage.received_at
        )
        .where(InboxMessage.state == InboxState.QUARANTINED)
        .order_by(InboxMessage.id)
        .execution_options(yield_per=CHUNK)
    )
    for row in rows:
        yield {
            "kind": DifferenceClass.UNMATCHED_RECEIPT,
            "form_count": 0,
            "reference": row.id,
            "detail": f"{row.receipt_id or '-'}: {row.reason or ''}"[:400],
            "since": row.received_at,
        }


def printed_not_verified(session: Session, day: date) -> Iterator[Values]:
    """`printed_not_verified`: approved certificates with fewer forms than pages.

    Only where somebody concerned has stock of that type: other types are printed on plain paper.
    """
    used = (
        select(func.count())
        .select_from(Form)
        .outerjoin(Item, and_(Item.form_id == Form.id, Item.state == ItemState.HELD))
        .where(
            Form.certificate == Certificate.number,
            or_(
                Form.state.in_([FormState.VERIFIED, FormState.VERIFY_SUBMITTED]),
                and_(Form.state == FormState.RESERVED, Item.action == Action.VERIFY),
            ),
        )
        .correlate(Certificate)
        .scalar_subquery()
    )
    needs_a_blank = exists().where(
        Stock.form_type == Certificate.type,
        or_(Stock.owner == Certificate.exporter, Stock.owner == Certificate.agent),
    )
    rows = session.execute(
        select(
            Certificate.number,
            Certificate.type,
            Certificate.agent,
            Certificate.pages,
            Certificate.approved_on,
            used.label("used"),
        )
        .where(
            Certificate.status == CERTIFICATE_APPROVED,
            Certificate.pages.is_not(None),
            Certificate.approved_on.between(day - LOOK_BACK, day - PRINTED_AFTER),
            needs_a_blank,
            used < Certificate.pages,
        )
        .order_by(Certificate.approved_on, Certificate.number)
        .execution_options(yield_per=CHUNK)
    )
    for row in rows:
        yield {
            "kind": DifferenceClass.PRINTED_NOT_VERIFIED,
            "owner": row.agent,
            "form_type": row.type,
            "form_count": row.pages - row.used,
            "certificate": row.number,
            "detail": f"{row.used}/{row.pages}",
            "issued_on": row.approved_on,
        }


def unaccounted(session: Session) -> Iterator[Values]:
    """`unaccounted`: serials of an issued range that no form accounts for."""
    counted = select(Form.block_id, func.count().label("forms")).group_by(Form.block_id).subquery()
    blocks = session.execute(
        select(
            Block.id,
            Block.first_serial,
            Block.last_serial,
            Block.issued_on,
            Block.created_at,
            Stock.owner,
            Stock.form_type,
        )
        .join(Stock, Stock.id == Block.stock_id)
        .outerjoin(counted, counted.c.block_id == Block.id)
        .where(func.coalesce(counted.c.forms, 0) != Block.form_count)
        .order_by(Block.id)
    ).all()
    for block in blocks:
        there = set(session.scalars(select(Form.serial).where(Form.block_id == block.id)))
        try:
            whole = serials_between(block.first_serial, block.last_serial, LONGEST_BLOCK)
        except NotSerials:  # a range that nobody could have issued: all of it is in question
            whole = [block.first_serial, block.last_serial]
        for first, last in as_ranges(s for s in whole if s not in there):
            yield {
                "kind": DifferenceClass.UNACCOUNTED,
                "owner": block.owner,
                "form_type": block.form_type,
                "first_serial": first,
                "last_serial": last,
                "form_count": len(serials_between(first, last, LONGEST_BLOCK)),
                "reference": block.id,
                "issued_on": block.issued_on,
                "since": block.created_at,
            }
