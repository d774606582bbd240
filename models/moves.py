"""Moving forms: compare-and-set with the history row in the same transaction.

Forms are locked in id order first (no deadlocks), then tested, then moved by id: no statement
names a state that the planner's statistics may be wrong about (DESIGN.md section 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, func, null, select, update
from sqlalchemy.orm import Session

from models.base import NO_KEY_UPDATE, Serial
from models.bulk import CHUNK, chunks, ids_table, rows_table
from models.history import Event, LockedForm, locked_forms, write_events
from models.holds import set_holds
from models.states import FINAL_FORM_STATES, FORM_MOVES, FormState
from models.stock import Block, Form


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
    cause: str,
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
    cause: str,
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
    session.execute(
        update(Form)
        .where(Form.id == c.form_id)
        .values(changes)
        .execution_options(synchronize_session=False)
    )
    if target is FormState.ISSUED:
        set_holds(session, holds)
        _reopen_blocks(session, [m.form_id for m in moving])
    return {m.form_id for m in moving}


def _event(form: LockedForm, move: FormMove, target: FormState, at: datetime, cause: str) -> Event:
    return Event(
        form,
        target,
        at,
        cause,
        move.certificate,
        move.batch_id,
        move.submission_id,
        move.inbox_id,
        move.reason,
    )


def _reopen_blocks(session: Session, form_ids: Sequence[int]) -> None:
    """Forms came back: page counts must look at their blocks from there on again."""
    given = ids_table(session, form_ids)
    lowest = dict(
        session.execute(
            select(Form.block_id, func.min(Form.serial))
            .join(given, given.c.id == Form.id)
            .group_by(Form.block_id)
        ).all()
    )
    _lock_blocks(session, list(lowest))
    returned = rows_table(session, {"id": BigInteger(), "serial": Serial}, sorted(lowest.items()))
    lower = (Block.lowest_free.is_(None)) | (Block.lowest_free > returned.c.serial)
    session.execute(
        update(Block)
        .where(Block.id == returned.c.id, lower)
        .values(lowest_free=returned.c.serial)
        .execution_options(synchronize_session=False)
    )


def advance_blocks(session: Session, block_ids: Iterable[int]) -> None:
    """Page counts have drawn from these blocks: let the next one begin where they ended.

    Looks on from the old mark, so that a form which stayed behind (named by a row that was not
    carried out) keeps the mark at itself.
    """
    ids = sorted(block_ids)
    _lock_blocks(session, ids)
    given = ids_table(session, ids)
    lowest = (
        select(func.min(Form.serial))
        .where(
            Form.block_id == Block.id,
            Form.serial >= Block.lowest_free,
            Form.state == FormState.ISSUED,
        )
        .scalar_subquery()
    )
    session.execute(
        update(Block)
        .where(Block.id.in_(select(given.c.id)))
        .values(lowest_free=lowest)
        .execution_options(synchronize_session=False)
    )


def _lock_blocks(session: Session, block_ids: Sequence[int]) -> None:
    """Before a mark is compared: another transaction may be moving it the other way."""
    given = ids_table(session, sorted(block_ids))
    session.execute(
        select(Block.id)
        .join(given, given.c.id == Block.id)
        .order_by(Block.id)
        .with_for_update(**NO_KEY_UPDATE, of=Block)
    ).all()
