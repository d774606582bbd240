"""Stage 6, report: the result sheet of a batch, built from the tables whenever it is wanted.

The worker writes it once when the batch is finished; `blankforms batch result` builds it anew, in
any state. Nothing is kept that could disagree with the tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

from config.crash import Point, crash_point
from config.names import Task
from models.reads.row_results import row_results
from models.rules.errors import BatchNotFound
from models.rules.states import BatchState, RowOutcome, RowStatus
from models.tables.batches import Batch
from models.writes.batches import finish_batches
from models.writes.tallies import forget_batch
from sheets.result import CHECK, RESULT, with_action, write_result
from tasks.app import app
from tasks.context import Context, current

log = structlog.get_logger(__name__)

_DONE: Final = (BatchState.FINISHED, BatchState.CANCELLED)


def report(context: Context, batch_id: int) -> Path | None:
    """Write the result sheet of a finished batch to the data folder, once.

    Finishes the batch first when nothing of it is held any more.
    """
    with context.database.write() as session:
        finish_batches(session, [batch_id], context.now())
        batch = session.get(Batch, batch_id)
        if batch is None or batch.state not in _DONE or batch.reported_at is not None:
            return None
    path = result_path(context, batch_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_result_sheet(context, batch_id, path)
    crash_point(Point.REPORT_WRITTEN)
    with context.database.write() as session:
        batch = session.get_one(Batch, batch_id)
        batch.reported_at = context.now()
        forget_batch(session, batch_id)
    context.ring(Task.DELIVER)
    log.info("batch_reported", batch_id=batch_id, path=str(path))
    return path


def result_path(context: Context, batch_id: int) -> Path:
    """Where the worker puts the result sheet of a batch."""
    return context.settings.blankforms_home / "results" / f"批次{batch_id}_结果.xlsx"


def write_result_sheet(
    context: Context, batch_id: int, path: Path, *, refused_only: bool = False
) -> int:
    """Write the result sheet of a batch as it stands now; gives the number of rows.

    `refused_only` leaves out what was done, for a sheet to correct and submit again. Raises
    `BatchNotFound`. Memory: one chunk of rows.
    """
    with context.database.read() as session:
        batch = session.get(Batch, batch_id)
        if batch is None:
            raise BatchNotFound(batch=batch_id)
        rows = (
            row
            for row in row_results(session, batch)
            if not refused_only or row.outcome is RowOutcome.REFUSED
        )
        added = with_action(RESULT, batch.columns, known=not batch.questions)
        return write_result(path, batch.header_row, batch.header, rows, added, compact=refused_only)


def write_check_sheet(
    context: Context, batch_id: int, path: Path, *, wrong_only: bool = False
) -> int:
    """The person's sheet with what the check says of each row, or the wrong rows alone; gives the number of rows.

    Corrected in place it can be submitted: the columns that are added are ours and order nothing.
    """
    with context.database.read() as session:
        batch = session.get_one(Batch, batch_id)
        rows = row_results(session, batch, status=RowStatus.PROBLEM if wrong_only else None)
        added = with_action(CHECK, batch.columns, known=not batch.questions)
        return write_result(path, batch.header_row, batch.header, rows, added, compact=wrong_only)


@app.task(name=Task.REPORT.value)
def report_task(batch_id: int) -> None:
    """A batch is done."""
    report(current(), batch_id)
