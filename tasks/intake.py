"""Stage 1, intake: keep the upload by its content, read its rows, one demand or problem each.

Rows are written in bounded transactions while the sandbox reads on. A batch is only used once it
is checked, so a reading that was cut short leaves nothing that could be submitted; the same file
is simply read again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from models.batches import Batch, BatchRow, Item, Upload
from models.bulk import chunks, insert_new, insert_rows
from models.errors import FileError
from models.states import BatchState, ItemState, PagesMode, RowStatus
from sheets.headers import ORDERS
from sheets.orders import OrderReader, RowDraft
from sheets.reader import SheetReading, read_orders
from tasks.context import Context

ORDER_ROW: Final = 2
"""Row number of the first order that comes from no sheet: below the header, as in a sheet."""

ROWS_TOGETHER: Final = 2000
"""Rows written in one transaction: others get their turn on SQLite, and memory stays flat."""


def receive_sheet(context: Context, content: bytes, file_name: str, pages_mode: PagesMode) -> int:
    """Keep and read an order sheet; gives its batch, in state received.

    The same content in the same mode, read before and not confirmed yet, gives the batch that it
    has. Raises `FileError`; the batch then stays as unreadable, with the upload.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    with context.database.write() as session:
        known = _reusable(session, sha256, pages_mode)
        if known is not None:
            return known
        if session.get(Upload, sha256) is None:  # another may be keeping the same at this moment
            kept = {"sha256": sha256, "content": content, "received_at": context.now()}
            insert_new(session, Upload, [kept])
            session.connection().detach()  # SQLite's driver keeps what it was given last: the file
        batch_id = _new_batch(session, context, file_name, sha256)
    crash_point(Point.UPLOAD_KEPT)
    try:
        limit = context.settings.upload_max_mb << 20
        reading = read_orders(content, file_name, pages_mode, limit)
        _write_rows(context, batch_id, reading)
    except FileError:
        with context.database.write() as session:
            _set(session, batch_id, state=BatchState.UNREADABLE)
        raise
    return batch_id


def receive_orders(
    context: Context, name: str, orders: Sequence[dict[str, str]], pages_mode: PagesMode
) -> int:
    """Keep orders that come from no sheet as a batch, one row each; gives the batch.

    Each order is what a sheet would have said, by field, the same fields in all: they are read by the
    same rules.
    """
    fields = list(orders[0])
    header = [ORDERS.words[field][0] for field in fields]
    columns = {field: index for index, field in enumerate(fields)}
    reader = OrderReader(header, columns, pages_mode)
    drafts = [
        reader.read(number, [order[field] for field in fields])
        for number, order in enumerate(orders, start=ORDER_ROW)
    ]
    with context.database.write() as session:
        batch_id = _new_batch(session, context, name, None)
        _insert_rows(session, batch_id, drafts)
        _set(session, batch_id, row_count=len(drafts), header=header, columns=columns, header_row=1)
    return batch_id


def _reusable(session: Session, sha256: str, pages_mode: PagesMode) -> int | None:
    """A checked, unconfirmed batch of this content whose rows were read in the same mode."""
    other_mode = (
        select(BatchRow.number)
        .where(BatchRow.batch_id == Batch.id, BatchRow.pages_mode != pages_mode)
        .exists()
    )
    return session.scalar(
        select(Batch.id)
        .where(Batch.sha256 == sha256, Batch.state == BatchState.CHECKED, ~other_mode)
        .order_by(Batch.id.desc())
        .limit(1)
    )


def _new_batch(session: Session, context: Context, name: str, sha256: str | None) -> int:
    batch = Batch(
        state=BatchState.RECEIVED, file_name=name[:255], sha256=sha256, created_at=context.now()
    )
    session.add(batch)
    session.flush()
    return batch.id


def _write_rows(context: Context, batch_id: int, reading: SheetReading[RowDraft]) -> None:
    count = 0
    for drafts in chunks(reading.rows, ROWS_TOGETHER):
        with context.database.write() as session:
            _insert_rows(session, batch_id, drafts)
        count += len(drafts)
        crash_point(Point.ROWS_WRITTEN)
    with context.database.write() as session:
        _set(
            session,
            batch_id,
            sheet=reading.sheet[:64],
            header=reading.header,
            columns=reading.columns,
            header_row=reading.header_row,
            row_count=count,
            blank_count=reading.blank_count,
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
