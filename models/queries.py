"""Lists that people ask for: certificates, batches, the history of one form (guide 二)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.batches import Batch, Item
from models.form_list import FormFilter, list_forms
from models.states import ItemState
from models.stock import Certificate, Form, FormEvent
from models.submissions import InboxMessage, ReceiptLine, Submission


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
    for form in list_forms(session, FormFilter(serial=serial), limit=100).forms:
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
