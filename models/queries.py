"""Lists that people ask for: forms, certificates, batches, the history of one form (guide 二)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.batches import Batch, Item
from models.states import FormState, ItemState
from models.stock import Block, Certificate, Form, FormEvent, Stock
from models.submissions import InboxMessage, ReceiptLine, Submission

USED_STATES: Final = (
    FormState.VERIFY_SUBMITTED,
    FormState.VERIFIED,
    FormState.VOID_SUBMITTED,
    FormState.VOIDED,
)
"""Forms that the guide's default list shows: those verified or voided, or submitted for it (S-60)."""


@dataclass(frozen=True, slots=True)
class FormFilter:
    """The guide's five filters (S-61) and ours; none given means the guide's default set (S-60)."""

    serial: str | None = None
    form_type: str | None = None
    certificate: str | None = None
    states: tuple[FormState, ...] = ()
    issued_from: date | None = None
    issued_to: date | None = None
    owner: str | None = None
    handling: str | None = None


def list_forms(session: Session, wanted: FormFilter, limit: int) -> Iterator[dict[str, Any]]:
    """Forms in serial order, at most `limit`."""
    query = (
        select(
            Form.serial,
            Form.form_type,
            Form.state,
            Form.certificate,
            Form.hold,
            Stock.owner,
            Block.issued_on,
        )
        .join(Stock, Stock.id == Form.stock_id)
        .join(Block, Block.id == Form.block_id)
        .outerjoin(Certificate, Certificate.number == Form.certificate)
        .order_by(Form.serial, Form.form_type)
        .limit(limit)
    )
    for row in session.execute(_filtered(query, wanted)):
        yield {
            "serial": row.serial,
            "type": row.form_type,
            "state": row.state.value,
            "certificate": row.certificate,
            "owner": row.owner,
            "issued_on": row.issued_on.isoformat() if row.issued_on else None,
            "hold": row.hold,
        }


def _filtered(query: Any, wanted: FormFilter) -> Any:
    self_handled = Certificate.exporter == Certificate.agent
    if wanted == FormFilter():
        return query.where(Form.state.in_(USED_STATES), self_handled)
    if wanted.serial is not None:
        query = query.where(Form.serial == wanted.serial)
    if wanted.form_type is not None:
        query = query.where(Form.form_type == wanted.form_type)
    if wanted.certificate is not None:
        query = query.where(Form.certificate == wanted.certificate)
    if wanted.states:
        query = query.where(Form.state.in_(wanted.states))
    if wanted.issued_from is not None:
        query = query.where(Block.issued_on >= wanted.issued_from)
    if wanted.issued_to is not None:
        query = query.where(Block.issued_on <= wanted.issued_to)
    if wanted.owner is not None:
        query = query.where(Stock.owner == wanted.owner)
    if wanted.handling is not None:
        query = query.where(self_handled if wanted.handling == "self" else ~self_handled)
    return query


def list_certificates(
    session: Session,
    number: str | None,
    kind: str | None,
    approved_from: date | None,
    approved_to: date | None,
    limit: int,
) -> Iterator[dict[str, Any]]:
    """Certificates of all types unless filtered (S-10, S-11), with the forms that they have."""
    forms = (
        select(func.count())
        .where(Form.certificate == Certificate.number)
        .correlate(Certificate)
        .scalar_subquery()
    )
    query = select(Certificate, forms.label("forms")).order_by(Certificate.number).limit(limit)
    if number is not None:
        query = query.where(Certificate.number == number)
    if kind is not None:
        query = query.where(Certificate.type == kind)
    if approved_from is not None:
        query = query.where(Certificate.approved_on >= approved_from)
    if approved_to is not None:
        query = query.where(Certificate.approved_on <= approved_to)
    for certificate, count in session.execute(query):
        yield {
            "certificate": certificate.number,
            "type": certificate.type,
            "exporter": certificate.exporter,
            "agent": certificate.agent,
            "handling": "self" if certificate.exporter == certificate.agent else "agent",
            "approved_on": certificate.approved_on.isoformat() if certificate.approved_on else None,
            "pages": certificate.pages,
            "status": certificate.status,
            "forms": count,
        }


def form_passport(session: Session, serial: str) -> list[dict[str, Any]]:
    """Every form of a serial (one for each type) with its history, messages and receipts (S-63, S-64)."""
    passports = []
    for form in list_forms(session, FormFilter(serial=serial), limit=100):
        form_id = session.scalars(
            select(Form.id).where(Form.serial == serial, Form.form_type == form["type"])
        ).one()
        history = session.execute(
            select(FormEvent).where(FormEvent.form_id == form_id).order_by(FormEvent.id)
        ).scalars()
        receipts = session.execute(
            select(ReceiptLine, InboxMessage.receipt_id, InboxMessage.source)
            .join(InboxMessage, InboxMessage.id == ReceiptLine.inbox_id)
            .where(ReceiptLine.form_id == form_id)
            .order_by(ReceiptLine.id)
        )
        messages = session.scalars(
            select(Submission)
            .where(Submission.id.in_(select(Item.submission_id).where(Item.form_id == form_id)))
            .order_by(Submission.id)
        )
        passports.append(
            {
                **form,
                "messages": [
                    {
                        "number": message.number,
                        "state": message.state.value,
                        "batch": message.batch_id,
                        "sent": message.send_count,
                        "customs_number": message.seq_no,
                        "taken_at": message.taken_at.isoformat() if message.taken_at else None,
                        "answer": " ".join(filter(None, (message.deal_flag, message.deal_text))),
                    }
                    for message in messages
                ],
                "history": [
                    {
                        "at": event.at.isoformat(),
                        "from": event.from_state,
                        "to": event.to_state,
                        "cause": event.cause,
                        "certificate": event.certificate,
                        "batch": event.batch_id,
                        "submission": event.submission_id,
                        "reason": event.reason,
                    }
                    for event in history
                ],
                "receipts": [
                    {
                        "receipt": receipt_id,
                        "source": source,
                        "at": line.managed_at.isoformat(),
                        "code": line.rep_code,
                        "text": line.rep_text,
                        "form_state": line.form_state,
                    }
                    for line, receipt_id, source in receipts
                ],
            }
        )
    return passports


def list_batches(session: Session, limit: int) -> Iterator[dict[str, Any]]:
    """Batches, newest first, with how many serials are still held."""
    held = (
        select(func.count())
        .where(Item.batch_id == Batch.id, Item.state == ItemState.HELD)
        .correlate(Batch)
        .scalar_subquery()
    )
    for batch, open_forms in session.execute(
        select(Batch, held.label("held")).order_by(Batch.id.desc()).limit(limit)
    ):
        yield {
            "id": batch.id,
            "state": batch.state.value,
            "file": batch.file_name,
            "rows": batch.row_count,
            "open_forms": open_forms,
            "created_at": batch.created_at.isoformat(),
            "finished_at": batch.finished_at.isoformat() if batch.finished_at else None,
        }
