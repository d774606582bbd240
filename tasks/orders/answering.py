"""A person says what is meant by a sheet that was kept, or takes what its check suggests: it is read anew so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from config.names import Task
from models.reads.sight import require_seen
from models.rules.errors import BadArgument, BatchBusy, BatchNotOpen
from models.rules.people import Deed, require
from models.rules.problems import load_problem
from models.rules.requests import ConfirmMode, Request, load_request
from models.rules.states import BatchState, PagesMode, label
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch, BatchRow
from models.writes.leases import is_busy
from sheets.corrections import place_of, suggested
from sheets.questions import NO_ANSWERS, Answers, load_answers
from tasks.context import Context


def answer(context: Context, batch_id: int, answers: Answers) -> None:
    """Say what was asked about a sheet that was kept: a worker reads it anew with these answers.

    Raises `BatchNotFound`, `BatchNotOpen` for a batch that asks nothing (any more), `NotAllowed`.
    """
    require(context.actor, Deed.ORDER_CONFIRMED)
    with context.database.write() as session:
        batch = _kept_sheet(session, context, batch_id, BatchState.ASKED)
        _read_anew(session, context, batch, answers)
    context.ring(Task.READ, batch_id)


def correct(context: Context, batch_id: int, cells: Collection[str]) -> None:
    """Take what the check suggests for these cells, as if it had been written so: a worker reads the sheet anew.

    What was asked to be confirmed by itself is not any more: the person sees the new plan first. Raises
    `BatchNotFound`, `BatchNotOpen`, `BadArgument` for a cell without a suggestion, `NotAllowed`.
    """
    require(context.actor, Deed.ORDER_CONFIRMED)
    places = [place for cell in cells if (place := place_of(cell)) is not None]
    with context.database.write() as session:
        batch = _kept_sheet(session, context, batch_id, BatchState.CHECKED)
        rows = session.scalars(
            select(BatchRow).where(
                BatchRow.batch_id == batch_id, BatchRow.number.in_([row for row, _ in places])
            )
        )
        offered = {
            one.cell: one.now
            for row in rows
            for one in suggested(row.cells, map(load_problem, row.problems))
        }
        if not cells or (missing := set(cells) - offered.keys()):
            raise BadArgument(detail=", ".join(sorted(missing if cells else ["-"]))[:100])
        before = load_answers(batch.answers) if batch.answers else NO_ANSWERS
        taken = {cell: offered[cell] for cell in cells}
        answers = replace(before, corrections={**before.corrections, **taken})
        _read_anew(session, context, batch, answers)
        request = load_request(batch.asked_for)
        batch.asked_for = replace(
            request,
            confirm=ConfirmMode.NONE,
            again=batch.again_reason,
            beyond_pages=batch.beyond_reason,
        ).stored()
    context.ring(Task.READ, batch_id)


def _kept_sheet(session: Session, context: Context, batch_id: int, state: BatchState) -> Batch:
    """The locked batch of a sheet in this state. Raises `BatchNotFound`, `BatchNotOpen`, `BatchBusy`."""
    found = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
    batch = require_seen(context.sight, found, batch_id)
    if batch.state is not state or batch.sha256 is None:
        raise BatchNotOpen(batch=batch_id, state=label(batch.state))
    if is_busy(batch, context.now()):
        raise BatchBusy(batch=batch_id)
    return batch


def _read_anew(session: Session, context: Context, batch: Batch, answers: Answers) -> None:
    """Have a worker read a kept sheet once more, by these answers."""
    if not batch.asked_for:  # a command read it, in its own process
        mode = session.scalar(
            select(BatchRow.pages_mode).where(BatchRow.batch_id == batch.id).limit(1)
        )
        batch.asked_for = Request(pages_mode=mode or PagesMode.ADDITIONAL).stored()
    batch.state, batch.header_row, batch.plan = BatchState.RECEIVED, 0, None
    batch.reading_key = None  # another reading than the one that a command asks for by its file
    batch.answers, batch.queued_at = answers.stored(), context.now()
    batch.asked_for = {k: v for k, v in batch.asked_for.items() if k != "stopped"}
