"""Moving forms: compare-and-set with the history row in the same transaction.

Forms are locked in id order first (no deadlocks), then tested, then moved by id: no statement
names a state that the planner's statistics may be wrong about (rule 7 of how-it-works.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, false, func, insert, literal, null, select, update
from sqlalchemy.orm import Session

from models.rules.causes import Cause
from models.rules.standings import standing_of
from models.rules.states import FINAL_FORM_STATES, FORM_MOVES, USED_STATES, FormState
from models.tables.bulk import CHUNK, chunks
from models.tables.certificates import Certificate
from models.tables.forms import Form, UsedForm
from models.writes.blocks import reopen_blocks
from models.writes.history import Event, LockedForm, locked_forms, write_events
from models.writes.holds import set_holds


@dataclass(frozen=True, slots=True)
class FormMove:
    """One form to move; what is given here is written to its history."""

    form_id: int
    certificate: str | None = None
    batch_id: int | None = None
    submission_id: int | None = None
    inbox_id: int | None = None
    reason: str | None = None
    hold: str | None = None


def move_forms(
    session: Session,
    moves: Sequence[FormMove],
    start: FormState,
    target: FormState,
    at: datetime,
    cause: Cause,
    *,
    outside: bool = False,
) -> set[int]:
    """Move the forms that are in `start`; gives the ids moved.

    `outside`: that they are final is known from customs' list, not from a receipt of ours; so it is
    whenever an issued form becomes final.

    A form in another state is left alone: a repeat is normal. `target` issued gives the form back:
    its certificate is taken off, its block may be drawn from again, `hold` is set when given.
    Raises ValueError for a move that does not exist.
    """
    if (start, target) not in FORM_MOVES:
        raise ValueError(f"no move from {start} to {target}")
    moved: set[int] = set()
    for chunk in chunks(sorted(moves, key=lambda m: m.form_id), CHUNK):
        moved |= _move_chunk(session, chunk, start, target, at, cause, outside)
    return moved


def _move_chunk(
    session: Session,
    moves: Sequence[FormMove],
    start: FormState,
    target: FormState,
    at: datetime,
    cause: Cause,
    outside: bool,
) -> set[int]:
    here = {f.id: f for f in locked_forms(session, [m.form_id for m in moves]) if f.state is start}
    moving = [m for m in moves if m.form_id in here]
    if not moving:
        return set()
    written = write_events(session, [_event(here[m.form_id], m, target, at, cause) for m in moving])
    c = written.c
    changes: dict[str, object] = {"state": target, "chain": c.hash, "event_count": c.number}
    if start is FormState.ISSUED:
        changes["certificate"] = c.certificate
    if target is FormState.ISSUED:
        holds = {m.form_id: m.hold for m in moving if m.hold}
        changes["certificate"] = null()
    if target in FINAL_FORM_STATES and (outside or start is FormState.ISSUED):
        changes["outside"] = True
    session.execute(update(Form).where(Form.id == c.form_id).values(changes))
    _list_used(session, select(c.form_id), start in USED_STATES, target)
    if target is FormState.ISSUED:
        set_holds(session, holds)
        reopen_blocks(session, [m.form_id for m in moving])
    return {m.form_id for m in moving}


def _list_used(session: Session, form_ids: Any, was_used: bool, target: FormState) -> None:
    """Keep the list of used forms as the forms are now."""
    of_these = UsedForm.form_id.in_(form_ids)
    if target not in USED_STATES:
        if was_used:
            session.execute(delete(UsedForm).where(of_these))
    elif was_used:
        session.execute(update(UsedForm).where(of_these).values(state=target))
    else:
        self_handled = func.coalesce(Certificate.exporter == Certificate.agent, false())
        forms = (
            select(Form.id, Form.serial, literal(target.value), self_handled)
            .outerjoin(Certificate, Certificate.number == Form.certificate)
            .where(Form.id.in_(form_ids))
        )
        columns = ["form_id", "serial", "state", "self_handled"]
        session.execute(insert(UsedForm).from_select(columns, forms))


def _event(
    form: LockedForm, move: FormMove, target: FormState, at: datetime, cause: Cause
) -> Event:
    hold = bool(move.hold or form.hold)
    return Event(
        form,
        target,
        standing_of(target, hold=hold, lost=form.lost_at is not None),
        at,
        cause,
        move.certificate,
        move.batch_id,
        move.submission_id,
        move.inbox_id,
        move.reason,
    )
