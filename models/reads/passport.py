"""Everything that is known of one form (S-63, S-64)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.reads.forms import FormFilter, list_forms
from models.reads.sight import Sight
from models.rules.chain import EventFacts, StoredEvent, examine_chain
from models.rules.states import Action
from models.rules.two_persons import EndorsementState
from models.tables.batches import Batch, BatchRow, Item
from models.tables.certificates import Certificate
from models.tables.endorsements import Endorsement
from models.tables.forms import Form, FormEvent
from models.tables.inbox import InboxMessage, ReceiptLine
from models.tables.people import Person
from models.tables.submissions import Submission


def message_batch(session: Session, number: str, sight: Sight | None = None) -> int | None:
    """The batch of the message with this number; None: there is none, or it is not seen."""
    query = select(Submission.batch_id).where(Submission.number == number)
    if sight is not None:
        query = query.join(Batch, Batch.id == Submission.batch_id).where(sight.batches)
    return session.scalar(query)


def _hidden(session: Session, events: Sequence[Any], sight: Sight | None) -> set[int]:
    """Events of when a form was taken for an enterprise that is not seen: that it was taken is all that is told."""
    if sight is None:
        return set()
    named = {event.certificate for event, *_ in events if event.certificate}
    theirs = select(Certificate.number).where(Certificate.number.in_(named), sight.certificates)
    seen = set(session.scalars(theirs))
    return {event.id for event, *_ in events if event.certificate and event.certificate not in seen}


def _stored(form: Form, event: FormEvent) -> StoredEvent:
    """An event as its chain is examined."""
    facts = EventFacts(
        form.form_type, form.serial, event.number, event.from_state, event.to_state, event.at,
        event.cause, event.certificate, event.batch_id, event.submission_id, event.inbox_id, event.reason,
    )  # fmt: skip
    return StoredEvent(event.id, facts, event.hash)


_ENDORSED_BY: Final = (
    select(Person.name)
    .join(Endorsement, Endorsement.decided_by_id == Person.id)
    .where(Endorsement.batch_id == Batch.id, Endorsement.state == EndorsementState.ENDORSED)
    .order_by(Endorsement.id.desc())
    .limit(1)
    .correlate(Batch)
    .scalar_subquery()
)
"""The second person for what a batch did, where the rules asked for one."""


def _ordered(session: Session, form_id: int) -> dict[int | None, dict[str, str | None]]:
    """What each message was to do with the form, and why it was voided."""
    found = session.execute(
        select(Item.submission_id, Item.action, BatchRow.reason_code, BatchRow.reason_text)
        .join(BatchRow, (BatchRow.batch_id == Item.batch_id) & (BatchRow.number == Item.row_number))
        .where(Item.form_id == form_id)
    )
    return {
        message: {
            "action": action.value,
            "reason": " ".join(filter(None, (code, text))) or None
            if action is Action.VOID
            else None,
        }
        for message, action, code, text in found
    }


def form_passport(
    session: Session, serial: str, sight: Sight | None = None
) -> list[dict[str, Any]]:
    """Every form of a serial (one for each type) with its history, messages and receipts (S-63, S-64), and whether
    the history is as it was written (`whole`; against anchors: `audit verify`).
    """
    passports = []
    for form in list_forms(session, FormFilter(serial=serial, sight=sight), limit=100).forms:
        kept = session.scalars(
            select(Form).where(Form.serial == serial, Form.form_type == form["type"])
        ).one()
        form_id = kept.id
        events = session.execute(
            select(FormEvent, Batch.made_by, Batch.confirmed_by, _ENDORSED_BY)
            .outerjoin(Batch, Batch.id == FormEvent.batch_id)
            .where(FormEvent.form_id == form_id)
            .order_by(FormEvent.id)
        ).all()
        stored = [_stored(kept, event) for event, *_ in events]
        hidden = _hidden(session, events, sight)
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
        ordered = _ordered(session, form_id)
        passports.append(
            {
                **form,
                "whole": not examine_chain(stored, kept.event_count, kept.chain),
                "messages": [
                    {
                        "number": message.number,
                        "state": message.state.value,
                        "batch": message.batch_id,
                        "sent": message.send_count,
                        "card": message.signed_with,
                        "customs_number": message.seq_no,
                        "taken_at": message.taken_at.isoformat() if message.taken_at else None,
                        "answer": " ".join(filter(None, (message.deal_flag, message.deal_text))),
                        **ordered.get(message.id, {"action": None, "reason": None}),
                    }
                    for message in messages
                    if sight is None or message.exporter in sight.principals
                ],
                "history": [
                    {
                        "at": event.at.isoformat(),
                        "from": event.from_state,
                        "to": event.to_state,
                        "cause": event.cause,
                        "certificate": None if event.id in hidden else event.certificate,
                        "batch": None if event.id in hidden else event.batch_id,
                        "made_by": None if event.id in hidden else made_by,
                        "confirmed_by": None if event.id in hidden else confirmed_by,
                        "endorsed_by": None if event.id in hidden else endorsed_by,
                        "submission": None if event.id in hidden else event.submission_id,
                        "reason": None if event.id in hidden else event.reason,
                    }
                    for event, made_by, confirmed_by, endorsed_by in events
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
                    if not hidden
                ],
            }
        )
    return passports
