"""Writing the history of forms: set-based, chained, in the transaction of what it tells of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, FromClause, Integer, String, insert, literal, select
from sqlalchemy.orm import Session

from models.base import NO_KEY_UPDATE, UTCDateTime
from models.bulk import ids_table, rows_table
from models.chain import EventFacts, event_hash
from models.states import FormState
from models.stock import Form, FormEvent

REASON_LIMIT = 400


@dataclass(frozen=True, slots=True)
class LockedForm:
    """A form as it stands, locked for this transaction."""

    id: int
    serial: str
    form_type: str
    stock_id: int
    state: FormState
    hold: str | None
    event_count: int
    chain: str


@dataclass(frozen=True, slots=True)
class Event:
    """What happens to a locked form. The same state again is a note: a hold, a loss, a release."""

    form: LockedForm
    to_state: FormState
    at: datetime
    cause: str
    certificate: str | None = None
    batch_id: int | None = None
    submission_id: int | None = None
    inbox_id: int | None = None
    reason: str | None = None


def locked_forms(session: Session, form_ids: Sequence[int]) -> list[LockedForm]:
    """Lock these forms in the order of their ids (no deadlocks) and give them."""
    given = ids_table(session, form_ids)
    found = session.execute(
        select(
            Form.id,
            Form.serial,
            Form.form_type,
            Form.stock_id,
            Form.state,
            Form.hold,
            Form.event_count,
            Form.chain,
        )
        .join(given, given.c.id == Form.id)
        .order_by(Form.id)
        .with_for_update(**NO_KEY_UPDATE, of=Form)
    )
    return [LockedForm(*row) for row in found]


def write_events(session: Session, events: Sequence[Event]) -> FromClause:
    """Write one event for each of these forms, all of one moment and cause.

    Gives what was written as a FROM clause (`form_id`, `number`, `hash`, `certificate`), for the
    UPDATE of the forms that must follow in the same transaction.
    """
    text = String()
    first = events[0]
    table = rows_table(
        session,
        {
            "form_id": BigInteger(),
            "number": Integer(),
            "from_state": text,
            "to_state": text,
            "certificate": text,
            "batch_id": BigInteger(),
            "submission_id": BigInteger(),
            "inbox_id": BigInteger(),
            "reason": text,
            "hash": text,
        },
        [_row(event) for event in events],
    )
    copied = [c.name for c in table.c]  # the columns of the event table carry the same names
    session.execute(
        insert(FormEvent).from_select(
            [*copied, "at", "cause"],
            select(*table.c, literal(first.at, UTCDateTime()), literal(first.cause)).order_by(
                table.c.form_id
            ),
        )
    )
    return table


def _row(event: Event) -> tuple[object, ...]:
    form = event.form
    number = form.event_count + 1
    reason = event.reason[:REASON_LIMIT] if event.reason else event.reason
    facts = EventFacts(
        form.form_type,
        form.serial,
        number,
        form.state.value,
        event.to_state.value,
        event.at,
        event.cause,
        event.certificate,
        event.batch_id,
        event.submission_id,
        event.inbox_id,
        reason,
    )
    return (
        form.id,
        number,
        form.state.value,
        event.to_state.value,
        event.certificate,
        event.batch_id,
        event.submission_id,
        event.inbox_id,
        reason,
        event_hash(form.chain, facts),
    )
