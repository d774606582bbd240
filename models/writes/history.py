"""Writing the history of forms: set-based, chained, in the transaction of what it tells of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, FromClause, Integer, String, insert, literal, select
from sqlalchemy.orm import Session

from models.rules.calendar import business_date
from models.rules.causes import Cause
from models.rules.chain import EventFacts, event_hash
from models.rules.standings import Standing, standing_of
from models.rules.states import FormState
from models.rules.tallies import GivenBack, Movement, batch_key, day_key, standing_key
from models.tables.base import NO_KEY_UPDATE, UTCDateTime
from models.tables.bulk import ids_table, rows_table
from models.tables.forms import Form, FormEvent
from models.writes.tallies import note_changes

REASON_LIMIT = 400


@dataclass(frozen=True, slots=True)
class LockedForm:
    """A form as it stands, locked for this transaction."""

    id: int
    serial: str
    form_type: str
    stock_id: int
    block_id: int
    state: FormState
    hold: str | None
    lost_at: datetime | None
    event_count: int
    chain: str


@dataclass(frozen=True, slots=True)
class Event:
    """What happens to a locked form. The same state again is a note: a hold, a loss, a release."""

    form: LockedForm
    to_state: FormState
    standing: Standing
    """Where the form stands afterwards."""
    at: datetime
    cause: Cause
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
            Form.block_id,
            Form.state,
            Form.hold,
            Form.lost_at,
            Form.event_count,
            Form.chain,
        )
        .join(given, given.c.id == Form.id)
        .order_by(Form.id)
        .with_for_update(**NO_KEY_UPDATE, of=Form)
    )
    return [LockedForm(*tuple(row)) for row in found]


def write_events(session: Session, events: Sequence[Event]) -> FromClause:
    """Write one event for each of these forms, all of one moment and cause, and note what is counted.

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
            select(*table.c, literal(first.at, UTCDateTime()), literal(first.cause.value)).order_by(
                table.c.form_id
            ),
        )
    )
    note_changes(session, _counted(events))
    return table


_MOVEMENTS: Final = {
    FormState.VERIFIED: Movement.VERIFIED,
    FormState.VOIDED: Movement.VOIDED,
    FormState.ISSUED: Movement.REFUSED,
}


def _counted(events: Sequence[Event]) -> Counter[str]:
    """What these events change in the numbers that are kept."""
    changes: Counter[str] = Counter()
    day = business_date(events[0].at)
    for event in events:
        form = event.form
        before = standing_of(form.state, hold=bool(form.hold), lost=form.lost_at is not None)
        if event.batch_id is not None and form.state is not event.to_state:
            changes.update(_of_batch(event.batch_id, event))
        if before is not event.standing:
            changes[standing_key(form.stock_id, form.block_id, before)] -= 1
            changes[standing_key(form.stock_id, form.block_id, event.standing)] += 1
        if event.cause is Cause.LOST:
            changes[day_key(form.stock_id, day, Movement.LOST)] += 1
        elif form.state is not event.to_state and (went := _MOVEMENTS.get(event.to_state)):
            if went is Movement.REFUSED and form.state is FormState.RESERVED:
                continue  # it has not been at customs
            changes[day_key(form.stock_id, day, went)] += 1
    return changes


def _of_batch(batch_id: int, event: Event) -> dict[str, int]:
    left, arrived = event.form.state, event.to_state
    changes = {} if left is FormState.ISSUED else {batch_key(batch_id, left): -1}
    if arrived is not FormState.ISSUED:
        changes[batch_key(batch_id, arrived)] = 1
    elif event.cause is not Cause.PLAN_MOVED:
        how = GivenBack.RELEASED if left is FormState.RESERVED else GivenBack.REFUSED
        changes[batch_key(batch_id, how)] = 1
    return changes


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
        event.cause.value,
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
