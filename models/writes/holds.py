"""Holds: a form that must not be taken, and why. A lost form is one, with the time of its loss.

Each is a note in the form's history, written in the same transaction. A form that is held already,
or not held, is left alone: a repeat is normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, String, select, update
from sqlalchemy.orm import Session

from models.rules.causes import Cause
from models.rules.standings import Standing, standing_of
from models.rules.states import FINAL_FORM_STATES, FormState
from models.tables.base import NO_KEY_UPDATE
from models.tables.bulk import CHUNK, chunks, ids_table, rows_table
from models.tables.discrepancies import Discrepancy
from models.tables.forms import Form, Stock
from models.writes.blocks import reopen_blocks
from models.writes.history import Event, LockedForm, locked_forms, write_events

HOLD_LIMIT: Final = 64
"""Characters of a hold: it is shown in lists; the whole reason is in the history."""


def hold_forms(
    session: Session,
    form_ids: Sequence[int],
    at: datetime,
    cause: Cause,
    reason: str,
    *,
    issued_only: bool = False,
    not_final: bool = False,
) -> list[int]:
    """Hold those of the forms that are not held; gives their ids. `not_final`: none that is final."""

    def concerned(form: LockedForm) -> bool:
        if form.hold is not None or (not_final and form.state in FINAL_FORM_STATES):
            return False
        return form.state is FormState.ISSUED or not issued_only

    return _note(session, form_ids, at, cause, reason, concerned, hold=_cut(reason))


def lose_forms(session: Session, form_ids: Sequence[int], at: datetime, reason: str) -> list[int]:
    """Issued forms whose paper is lost: held, with the time. Gives the ids of those not lost before."""
    lost = set(
        session.scalars(
            select(Form.id).where(Form.id.in_(_these(session, form_ids)), Form.lost_at.is_not(None))
        )
    )
    return _note(
        session,
        [i for i in form_ids if i not in lost],
        at,
        Cause.LOST,
        reason,
        lambda f: f.state is FormState.ISSUED,
        hold=_cut(reason),
        lost_at=at,
    )


def release_forms(
    session: Session, form_ids: Sequence[int], at: datetime, reason: str
) -> list[int]:
    """Let held forms be taken again, lost ones too: they were found. Gives their ids.

    Closes what was noted as different about them: whoever releases a form has looked.
    """
    released = _note(
        session,
        form_ids,
        at,
        Cause.RELEASE,
        reason,
        lambda f: f.hold is not None,
        hold=None,
        lost_at=None,
    )
    session.execute(
        update(Discrepancy)
        .where(Discrepancy.form_id.in_(_these(session, released)), Discrepancy.closed_at.is_(None))
        .values(closed_at=at)
    )
    return released


def set_holds(session: Session, holds: Mapping[int, str]) -> None:
    """Hold forms whose move, just written, says why."""
    if not holds:
        return
    given = rows_table(session, {"id": BigInteger(), "hold": String()}, list(holds.items()))
    session.execute(update(Form).where(Form.id == given.c.id).values(hold=given.c.hold))


def _note(
    session: Session,
    form_ids: Sequence[int],
    at: datetime,
    cause: Cause,
    reason: str,
    concerned: Any,
    **changes: Any,
) -> list[int]:
    noted: list[int] = []
    lock_stocks_of(session, form_ids)
    for chunk in chunks(sorted(form_ids), CHUNK):
        forms: list[LockedForm] = [f for f in locked_forms(session, chunk) if concerned(f)]
        if not forms:
            continue
        written = write_events(
            session,
            [
                Event(f, f.state, _standing_after(f, changes), at, cause, reason=reason)
                for f in forms
            ],
        )
        session.execute(
            update(Form)
            .where(Form.id == written.c.form_id)
            .values(chain=written.c.hash, event_count=written.c.number, **changes)
        )
        if changes.get("hold", "") is None:
            reopen_blocks(session, [f.id for f in forms if f.state is FormState.ISSUED])
        noted += [f.id for f in forms]
    return noted


def _standing_after(form: LockedForm, changes: Mapping[str, Any]) -> Standing:
    hold, lost = changes.get("hold", form.hold), changes.get("lost_at", form.lost_at)
    return standing_of(form.state, hold=hold is not None, lost=lost is not None)


def lock_stocks_of(session: Session, form_ids: Sequence[int]) -> None:
    """Lock their stocks as a reservation does: what it plans to take cannot be held, or lost, behind its back."""
    concerned = select(Form.stock_id).where(Form.id.in_(_these(session, form_ids)))
    session.execute(
        select(Stock.id)
        .where(Stock.id.in_(concerned))
        .order_by(Stock.id)
        .with_for_update(**NO_KEY_UPDATE)
    ).all()


def _these(session: Session, ids: Sequence[int]) -> Any:
    return select(ids_table(session, ids).c.id)


def _cut(reason: str) -> str:
    return reason[:HOLD_LIMIT]
