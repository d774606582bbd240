"""How far a run has come, and who has it: stage 7 moves the place and what it found together.

A run is killed, frozen, or rung for twice: its place moves only in a transaction that still has the
lease and finds the run where this process left it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.reads.customs_list import Key, Listed
from models.rules.calendar import BEIJING, business_date
from models.rules.states import RunState
from models.tables.base import NO_KEY_UPDATE
from models.tables.bulk import chunks, insert_new, insert_rows
from models.tables.reconciliation import Difference, PastUse, Run
from models.writes.leases import LEASE, first_free
from tasks.context import Context

CUSTOMS_AWAY: Final = timedelta(minutes=5)
"""How long a run waits when customs does not answer."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a run has come, as this process holds it."""

    run_id: int
    lease: str
    day: date
    stage: str
    holder: str
    cursor: str
    """Where customs' list goes on; its own, opaque."""
    after: Key
    """The last form compared."""


class RunLost(Exception):
    """Another process has the run now."""


def claim_run(context: Context, run_id: int | None) -> Place | None:
    """Take the oldest run that is due, or the one that is named, due or not."""
    now = context.now()
    with context.database.write() as session:
        wanted = select(Run).where(Run.state.in_([RunState.PLANNED, RunState.COMPARING]))
        wanted = wanted.where(Run.due_at <= now if run_id is None else Run.id == run_id)
        wanted = wanted.order_by(Run.business_date).with_for_update(
            **NO_KEY_UPDATE, skip_locked=True
        )
        run = first_free(session.scalars(wanted).all(), now)
        if run is None or run.lease is None:
            return None
        run.state = RunState.COMPARING
        run.started_at = run.started_at or now
        after = (run.after, run.after_type)
        return Place(run.id, run.lease, run.business_date, run.stage, run.holder, run.cursor, after)


def put_off(context: Context, place: Place) -> None:
    """Customs does not answer: the run is due again after a while."""
    with context.database.write() as session:
        session.execute(
            update(Run)
            .where(Run.id == place.run_id, Run.lease == place.lease)
            .values(due_at=context.now() + CUSTOMS_AWAY)
        )


def move(
    session: Session,
    context: Context,
    place: Place,
    to: Place,
    differences: Iterable[dict[str, Any]] = (),
    past: Iterable[Listed] = (),
    **counted: Any,
) -> Place:
    """Store what was found and the new place together. Raises `RunLost` when the lease is another's."""
    moved = session.execute(
        update(Run)
        .where(
            Run.id == place.run_id,
            Run.lease == place.lease,
            Run.stage == place.stage,
            Run.holder == place.holder,
            Run.cursor == place.cursor,
            Run.after == place.after[0],
            Run.after_type == place.after[1],
        )
        .values(
            stage=to.stage,
            holder=to.holder,
            cursor=to.cursor,
            after=to.after[0],
            after_type=to.after[1],
            lease_until=context.now() + LEASE,
            **counted,
        )
        .returning(Run.id)
    ).all()
    if not moved:
        raise RunLost
    for chunk in chunks(differences):
        insert_rows(session, Difference, [_stored(context, place, values) for values in chunk])
    for listed in chunks(past):
        insert_new(
            session,
            PastUse,
            [
                {
                    "serial": f.serial,
                    "form_type": f.form_type,
                    "certificate": f.certificate or "",
                    "customs_state": f.state,
                }
                for f in listed
            ],
        )
    return to


_BLANK: Final = {
    "owner": "",
    "form_type": "",
    "first_serial": None,
    "last_serial": None,
    "form_count": 1,
    "state": None,
    "certificate": None,
    "customs_state": None,
    "customs_certificate": None,
    "issued_on": None,
    "reference": None,
    "detail": "",
    "since": None,
}


def _stored(context: Context, place: Place, values: dict[str, Any]) -> dict[str, Any]:
    """A difference as a row, with its age in whole days of customs' calendar."""
    row = {**_BLANK, **values, "run_id": place.run_id}
    since, issued_on = row["since"], row["issued_on"]
    began = since.astimezone(BEIJING).date() if since else issued_on
    row["age_days"] = max(0, (business_date(context.now()) - began).days) if began else 0
    return row
