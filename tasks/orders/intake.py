"""Stage 1, intake: keep the upload by its content, read its rows, one demand or problem each.

Rows are written in bounded transactions while the sandbox reads on. A batch is only used once it
is checked, so a reading that was cut short leaves nothing that could be submitted; the same file
is simply read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from models.rules.errors import (
    FileError,
    OrderTooLarge,
)
from models.rules.requests import Request, load_request
from models.rules.serials import StockRanges
from models.rules.states import BatchState, ItemState, PagesMode, RowStatus
from models.tables.batches import Batch, BatchRow, Item, RememberedLayout, Upload
from models.tables.bulk import chunks, insert_new, insert_rows
from models.tables.forms import Block
from models.tables.people import MADE_BATCH
from models.writes.announcements import stop_order
from models.writes.calls import Once, begin_once, made_once
from models.writes.steps import Steps
from sheets.drafts import RowDraft
from sheets.headers import ORDERS
from sheets.layout import Evidence, Layout
from sheets.orders import OrderReader
from sheets.questions import NO_ANSWERS, Answers, load_answers
from sheets.reader import SheetReading, read_orders
from sheets.reading import Asked
from tasks.context import Context
from tasks.orders.layouts import remember_layout

ORDER_ROW: Final = 2
"""Row number of the first order that comes from no sheet: below the header, as in a sheet."""

_READER: Final = 1
"""Of the way sheets are read: another number reads every file anew."""

FORMS_TOGETHER: Final = 10_000
"""Serials that orders without a sheet may name: they are written while their program waits."""

ROWS_TOGETHER: Final = 2000
"""Rows written in one transaction: others get their turn on SQLite, and memory stays flat."""


Write = Callable[[], AbstractContextManager[Session]]
"""Begins a transaction of the work on a batch."""


@dataclass(frozen=True, slots=True)
class Brought:
    """How a program brings an order: under which key of its own, what it asks for, and how it names it."""

    once: Once
    request: Request
    reference: str | None = None


def receive_sheet(
    context: Context,
    content: bytes,
    file_name: str,
    pages_mode: PagesMode,
    answers: Answers = NO_ANSWERS,
) -> int:
    """Keep and read an order sheet; gives its batch, in state received.

    A reading is (content, sheet, answers, pages mode), by the stock that is known: the same one, not
    confirmed yet, gives the batch that it has, under the name that the file has now. What was
    answered about columns is remembered for the layout. Raises `FileError`; the batch then stays as
    unreadable, with the upload.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    with context.database.write() as session:
        asked = _asked(session, pages_mode, answers)
        key = _digest([_READER, sha256, asked.stored()])
        known = _reusable(session, key)
        if known is not None:
            _set(session, known, file_name=file_name[:255])
            return known
        _keep_upload(session, context, sha256, content)
        batch_id = _new_batch(session, context, file_name, sha256)
        _set(session, batch_id, reading_key=key, answers=answers.stored())
    crash_point(Point.UPLOAD_KEPT)
    _read(context, batch_id, content, file_name, asked, context.database.write)
    return batch_id


def keep_sheet(
    context: Context,
    content: bytes,
    file_name: str,
    answers: Answers,
    brought: Brought,
) -> int:
    """Keep an order sheet that a program brings, for a worker to read (`tasks.orders.queued`); gives its batch.

    Raises `MadeBefore` where the call was made already, and `KeyUsedOtherwise`; then nothing is kept.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    with context.database.write() as session:
        begin_once(session, brought.once, context.now())
        _keep_upload(session, context, sha256, content)
        batch_id = _new_batch(session, context, file_name, sha256, brought)
        _set(session, batch_id, answers=answers.stored())
    crash_point(Point.UPLOAD_KEPT)
    context.ring(Task.READ, batch_id)
    return batch_id


def keep_orders(
    context: Context,
    orders: Sequence[dict[str, str]],
    brought: Brought,
    name: str | None = None,
    described: dict[str, Any] | None = None,
) -> int:
    """Keep orders that come without a sheet, one row each; gives their batch, to be checked by a worker.

    `name` stands where a sheet's has its own; `described`: what is kept of how the orders came about. Raises as
    `keep_sheet`. The same orders confirmed once more are `FileSubmittedBefore`, as of a sheet.
    """
    header, columns, drafts = _drafts(orders, brought.request.pages_mode)
    if sum(len(draft.serials) for draft in drafts) > FORMS_TOGETHER:
        raise OrderTooLarge(limit=FORMS_TOGETHER)
    with context.database.write() as session:
        begin_once(session, brought.once, context.now())
        called = name or brought.reference or "API"
        batch_id = _new_batch(session, context, called, None, brought)
        for chunk in chunks(drafts):
            _insert_rows(session, batch_id, chunk)
        _set(session, batch_id, row_count=len(drafts), header=header, columns=columns, header_row=1,
             reading=described or {},
             order_key=_digest(["orders", brought.request.pages_mode, list(orders)]))  # fmt: skip
    context.ring(Task.READ, batch_id)
    return batch_id


def read_kept(context: Context, batch_id: int, steps: Steps) -> None:
    """Read the sheet of a batch that was kept to be read; what a reader that died has written is written anew.

    Raises `FileError`; the batch then stays as unreadable, with the upload.
    """
    with steps.write() as session:
        batch = session.get_one(Batch, batch_id)
        session.execute(delete(Item).where(Item.batch_id == batch_id))
        session.execute(delete(BatchRow).where(BatchRow.batch_id == batch_id))
        mode = load_request(batch.asked_for).pages_mode
        asked = _asked(session, mode, load_answers(batch.answers))
        content, name = session.get_one(Upload, batch.sha256).content, batch.file_name
    _read(context, batch_id, content, name, asked, steps.write)


def _keep_upload(session: Session, context: Context, sha256: str, content: bytes) -> None:
    known = select(Upload.sha256).where(Upload.sha256 == sha256)
    if session.scalar(known) is None:  # another may be keeping the same at this moment
        kept = {"sha256": sha256, "content": content, "received_at": context.now()}
        insert_new(session, Upload, [kept])
        session.connection().detach()  # SQLite's driver keeps what it was given last: the file


def _read(
    context: Context, batch_id: int, content: bytes, file_name: str, asked: Asked, write: Write
) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        limit = context.settings.upload_max_mb << 20
        reading = read_orders(content, file_name, asked, limit)
        _write_rows(write, batch_id, reading, _order_key(sha256, asked, reading))
        remember_layout(context, reading, asked.answers)
    except FileError as error:
        with write() as session:
            batch = session.get_one(Batch, batch_id)
            batch.state = BatchState.UNREADABLE
            if batch.asked_for:
                stop_order(session, batch, error, context.now())
        raise


def _asked(session: Session, mode: PagesMode, answers: Answers) -> Asked:
    """What the reader is told: the answers, the layouts remembered, the ranges of the stock."""
    found = session.execute(select(RememberedLayout.header, RememberedLayout.meanings))
    layouts = {header: meanings for header, meanings in found}  # noqa: C416 - rows are no pairs for the types
    ranges = session.execute(select(Block.first_serial, Block.last_serial).order_by(Block.id))
    return Asked(mode, answers, layouts, [(first, last) for first, last in ranges])


def _order_key(sha256: str, asked: Asked, reading: SheetReading[RowDraft]) -> Callable[[], str]:
    """What the plan's hash and `file_submitted_before` go by, once the rows are read."""

    def key() -> str:
        answers, described = asked.answers, reading.described
        corrections = [dict(answers.corrections)] if answers.corrections else []
        return _digest(
            [
                *corrections,
                sha256,
                reading.sheet,
                asked.mode,
                described["answered"],
                answers.action,
                answers.include_hidden if described["hidden_rows"] else None,
                answers.include_struck if described["struck_rows"] else None,
            ]
        )

    return key


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def receive_orders(
    context: Context,
    name: str,
    orders: Sequence[dict[str, str]],
    pages_mode: PagesMode,
    redo_of: int | None = None,
) -> int:
    """Keep orders that come from no sheet as a batch, one row each; gives the batch.

    Each order is what a sheet would have said, by field, the same fields in all: they are read by the
    same rules. `redo_of`: the batch that they follow.
    """
    header, columns, drafts = _drafts(orders, pages_mode)
    with context.database.write() as session:
        batch_id = _new_batch(session, context, name, None)
        if (
            redo_of is not None
        ):  # the same once more is refused where it is confirmed, as of a sheet
            _set(session, batch_id, redo_of=redo_of, order_key=_digest(["redo", redo_of]))
        for chunk in chunks(drafts):
            _insert_rows(session, batch_id, chunk)
        _set(session, batch_id, row_count=len(drafts), header=header, columns=columns, header_row=1)
    return batch_id


def _drafts(
    orders: Sequence[dict[str, str]], pages_mode: PagesMode
) -> tuple[list[str], dict[str, int], list[RowDraft]]:
    """Header, columns and rows, as if the orders had stood in a sheet."""
    fields = list(orders[0])
    header = [ORDERS.words[field][0] for field in fields]
    columns = {field: index for index, field in enumerate(fields)}
    layout = Layout(header, {f: [i] for f, i in columns.items()}, {}, Evidence(StockRanges(())))
    reader = OrderReader(layout, pages_mode, of_a_sheet=False)
    drafts = [
        reader.read(number, [order[field] for field in fields])
        for number, order in enumerate(orders, start=ORDER_ROW)
    ]
    return header, columns, drafts


def _reusable(session: Session, key: str) -> int | None:
    """A checked, unconfirmed batch of this reading."""
    return session.scalar(
        select(Batch.id)
        .where(Batch.reading_key == key, Batch.state.in_([BatchState.CHECKED, BatchState.ASKED]))
        .order_by(Batch.id.desc())
        .limit(1)
    )


def _new_batch(
    session: Session,
    context: Context,
    name: str,
    sha256: str | None,
    brought: Brought | None = None,
) -> int:
    batch = Batch(
        state=BatchState.RECEIVED,
        file_name=name[:255],
        sha256=sha256,
        created_at=context.now(),
        made_by=context.actor.name,
        made_via=context.actor.channel.value,
        made_by_id=context.actor.person_id,
    )
    if brought is not None:
        batch.client_reference = brought.reference
        batch.asked_for = brought.request.stored()
        batch.queued_at = context.now()
    session.add(batch)
    session.flush()
    if brought is not None:
        made_once(session, brought.once, MADE_BATCH, batch.id)
    return batch.id


def _write_rows(
    write: Write,
    batch_id: int,
    reading: SheetReading[RowDraft],
    order_key: Callable[[], str],
) -> None:
    count = 0
    for drafts in chunks(reading.rows, ROWS_TOGETHER):
        with write() as session:
            _insert_rows(session, batch_id, drafts)
        count += len(drafts)
        crash_point(Point.ROWS_WRITTEN)
    with write() as session:
        _set(
            session,
            batch_id,
            sheet=reading.sheet[:64],
            header=reading.header,
            columns=reading.columns,
            header_row=reading.header_row,
            row_count=count,
            blank_count=reading.blank_count,
            order_key=order_key(),
            reading=reading.described,
            questions=[q.stored() for q in reading.questions],
        )


def _insert_rows(session: Session, batch_id: int, drafts: Iterable[RowDraft]) -> None:
    rows: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    for draft in drafts:
        problems = [p.stored() for p in draft.problems]
        rows.append(
            {
                "batch_id": batch_id,
                "number": draft.number,
                "status": draft.status,
                "certificate": draft.certificate,
                "action": draft.action,
                "stock_source": draft.source,
                "page_count": draft.page_count,
                "pages_mode": draft.pages_mode,
                "reason_code": draft.reason_code,
                "reason_text": draft.reason_text,
                "reference": draft.reference,
                "cells": draft.cells,
                "read_problems": problems,
                "problems": problems,
            }
        )
        items += (
            {
                "batch_id": batch_id,
                "row_number": draft.number,
                "position": position,
                "serial": serial,
                "action": action,
                "certificate": draft.certificate,
                "named": True,
                "state": ItemState.PLANNED,
            }
            for position, (serial, action) in enumerate(draft.serials, start=1)
            if draft.status is not RowStatus.SKIPPED
        )
    if rows:
        insert_rows(session, BatchRow, rows)
    if items:
        insert_rows(session, Item, items)


def _set(session: Session, batch_id: int, **values: Any) -> None:
    session.execute(update(Batch).where(Batch.id == batch_id).values(**values))
