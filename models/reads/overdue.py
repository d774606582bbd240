"""What a night lists besides the two books: what waits too long, here and on paper.

Each function reads and gives the values of differences, oldest first; nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session

from models.reads.certificate_use import ours_and_elsewhere, total
from models.rules.differences import DifferenceClass
from models.rules.plan import CERTIFICATE_APPROVED
from models.rules.serials import NotSerials, as_ranges, serials_between
from models.rules.states import (
    AT_CUSTOMS,
    AttemptKind,
    BatchState,
    FormState,
    InboxState,
    ItemState,
)
from models.tables.batches import Batch, Item
from models.tables.bulk import CHUNK
from models.tables.certificates import Certificate
from models.tables.forms import Block, Form, Stock
from models.tables.inbox import InboxMessage
from models.tables.reconciliation import Difference
from models.tables.submissions import Attempt, Submission

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
    listed_already = _submitted_and_listed(session, run_id)
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
        .join(Item, and_(Item.submission_id == Submission.id, Item.state == ItemState.UNDER_WAY))
        .join(Form, Form.id == Item.form_id)
        .join(Stock, Stock.id == Form.stock_id)
        .where(Submission.state.in_(sorted(AT_CUSTOMS)), first_sent < before)
        .order_by(Submission.id, Form.serial)
        .execution_options(yield_per=CHUNK)
    )
    for row in rows:
        if (row.form_type, row.serial) in listed_already:
            continue
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


def _submitted_and_listed(session: Session, run_id: int) -> set[tuple[str, str]]:
    """Submitted forms that this run found different already: (type, serial)."""
    submitted = [FormState.VERIFY_SUBMITTED, FormState.VOID_SUBMITTED]
    found = session.execute(
        select(Difference.form_type, Difference.first_serial, Difference.last_serial).where(
            Difference.run_id == run_id, Difference.state.in_(submitted)
        )
    )
    return {
        (form_type, serial)
        for form_type, first, last in found
        for serial in serials_between(first or "", last or "", LONGEST_BLOCK)
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
        .join(Item, and_(Item.batch_id == Batch.id, Item.state == ItemState.UNDER_WAY))
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


@dataclass(frozen=True, slots=True)
class PagesMissing:
    """A certificate with fewer verified forms than pages: of ours, done or under way, and before us."""

    certificate: str
    form_type: str
    agent: str
    pages: int
    ours: int
    elsewhere: int
    approved_on: date

    @property
    def missing(self) -> int:
        """Forms still to be verified."""
        return self.pages - self.ours - self.elsewhere


def pages_missing(
    session: Session, day: date, certificates: Sequence[str] | None = None
) -> Iterator[PagesMissing]:
    """Certificates approved before that day, at most `LOOK_BACK`, whose pages have no forms yet.

    Only where somebody concerned has stock of that type: other types are printed on plain paper. Counted
    are our forms, those that customs lists as used before us, and those done outside that are not
    adopted yet.
    """
    given = select(Certificate.number.label("certificate")).where(_recent(day)).subquery("recent")
    use = ours_and_elsewhere(given)
    needs_a_blank = exists().where(
        Stock.form_type == Certificate.type,
        or_(Stock.owner == Certificate.exporter, Stock.owner == Certificate.agent),
    )
    query = (
        select(
            Certificate.number,
            Certificate.type,
            Certificate.agent,
            Certificate.pages,
            func.coalesce(use.c.ours, 0),
            func.coalesce(use.c.elsewhere, 0),
            Certificate.approved_on,
        )
        .outerjoin(use, use.c.certificate == Certificate.number)
        .where(
            Certificate.status == CERTIFICATE_APPROVED,
            _recent(day),
            needs_a_blank,
            total(use) < Certificate.pages,
        )
        .order_by(Certificate.approved_on, Certificate.number)
    )
    if certificates is not None:
        query = query.where(Certificate.number.in_(certificates))
    for number, kind, agent, pages, own, other, approved_on in session.execute(
        query.execution_options(yield_per=CHUNK)
    ):
        yield PagesMissing(number, kind, agent, pages, int(own), int(other), approved_on)


def _recent(day: date) -> Any:
    return and_(
        Certificate.pages.is_not(None),
        Certificate.approved_on.between(day - LOOK_BACK, day - PRINTED_AFTER),
    )


def more_than_pages(session: Session) -> Iterator[Values]:
    """`more_than_pages`: certificates with more verified forms than pages, whoever verified them."""
    given = select(Certificate.number.label("certificate")).where(Certificate.pages.is_not(None))
    use = ours_and_elsewhere(given.subquery("known"))
    for row in session.execute(
        select(Certificate, total(use).label("forms"))
        .join(use, use.c.certificate == Certificate.number)
        .where(total(use) > Certificate.pages)
        .order_by(Certificate.number)
        .execution_options(yield_per=CHUNK)
    ):
        certificate = row.Certificate
        yield {
            "kind": DifferenceClass.MORE_THAN_PAGES,
            "owner": certificate.agent,
            "form_type": certificate.type,
            "form_count": int(row.forms) - certificate.pages,
            "certificate": certificate.number,
            "detail": f"{int(row.forms)}/{certificate.pages}",
            "issued_on": certificate.approved_on,
        }


def printed_not_verified(session: Session, day: date) -> Iterator[Values]:
    """`printed_not_verified`: approved certificates with fewer forms than pages."""
    for found in pages_missing(session, day):
        yield {
            "kind": DifferenceClass.PRINTED_NOT_VERIFIED,
            "owner": found.agent,
            "form_type": found.form_type,
            "form_count": found.missing,
            "certificate": found.certificate,
            "detail": f"{found.pages - found.missing}/{found.pages}",
            "issued_on": found.approved_on,
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
