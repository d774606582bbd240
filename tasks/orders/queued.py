"""An order that a program brought goes on by itself: read, checked and, where it was asked for, confirmed.

Every step may happen twice: what is read or checked already is read or checked anew until the order leaves the
queue, and of two confirmations one wins. What keeps it from going on is kept with the batch and told
(`batch.stopped`); the batch then waits for a person or the program as any checked one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import structlog
from sqlalchemy import update

from config.names import Task
from models.reads.batches import batch_counts
from models.reads.people import actor_of_maker
from models.rules.errors import (
    BatchGoesOn,
    BlankformsError,
    DatabaseUnreachable,
    FileError,
    Kind,
)
from models.rules.requests import ConfirmMode, Request, load_request
from models.rules.retries import wait_after
from models.rules.states import BatchState
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch
from models.writes.announcements import stop_order
from models.writes.leases import put_off_batch
from tasks.app import app
from tasks.context import Context, current
from tasks.orders import confirming, planning
from tasks.orders.intake import read_kept
from tasks.orders.stepwise import TakenOver, step_by_step

log = structlog.get_logger(__name__)

_WAITING = (BatchState.RECEIVED, BatchState.ASKED, BatchState.CHECKED)


def read(context: Context, batch_id: int) -> None:
    """Do all that is to be done for this batch before a person or customs is asked.

    Another process may be at it, or have done it: then nothing is done here. What may work later stays queued, and so
    does what fails as nobody foresaw: the sweep rings for it ever more rarely, and its age is seen (`pipeline.Stage`).
    """
    try:
        _read(context, batch_id)
    except Exception as error:
        with suppress(DatabaseUnreachable):
            _put_off(context, batch_id, error)
        raise


def _put_off(context: Context, batch_id: int, error: Exception) -> None:
    now = context.now()
    with context.database.write() as session:
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch is None or batch.queued_at is None:
            return
        failed = batch.asked_for.get("failed", 0) + 1
        batch.asked_for = batch.asked_for | {"failed": failed}
        put_off_batch(batch, now + wait_after(failed))
    log.warning("order_put_off", batch_id=batch_id, failed=failed, error=type(error).__name__)


def _read(context: Context, batch_id: int) -> None:
    try:
        with step_by_step(context, batch_id, [BatchState.RECEIVED]) as steps:
            with steps.read() as session:
                batch = session.get_one(Batch, batch_id)
                unread = batch.header_row == 0 and batch.queued_at is not None
            if unread:
                read_kept(context, batch_id, steps)
    except TakenOver:
        pass  # it is read already, or another process is reading it
    except FileError as error:
        log.info("order_stopped", batch_id=batch_id, code=error.code)
        context.ring(Task.DELIVER)
        return
    with context.database.read() as session:
        batch = session.get_one(Batch, batch_id)
        if batch.queued_at is None or (batch.state is BatchState.RECEIVED and not batch.header_row):
            return
        waiting, request = batch.state in _WAITING, load_request(batch.asked_for)
    if waiting:
        lift = planning.Lift(request.again, request.beyond_pages)
        if planning.check(context, batch_id, lift) is None:
            return  # another process is checking it at this moment
        try:
            _confirm(context, batch_id, request)
        except BatchGoesOn:
            raise
        except BlankformsError as error:
            if error.kind is Kind.NOT_NOW:
                raise
            _stop(context, batch_id, error)
            return
    _leave_queue(context, batch_id)


def _confirm(context: Context, batch_id: int, request: Request) -> None:
    """Say the yes that was asked for."""
    with context.database.read() as session:
        batch = session.get_one(Batch, batch_id)
        if batch.state is BatchState.ASKED:
            raise confirming.questions_of(batch)
        if request.confirm is ConfirmMode.NONE:
            return
        counts = batch_counts(session, batch_id)
        actor = actor_of_maker(session, batch, request.key_id, context.now())
    confirming.refuse_nothing_right(counts)
    said = confirming.Confirmation(  # whatever is lowest then: nobody has looked at a plan
        all_or_nothing=request.confirm is ConfirmMode.ALL,
        again=request.again is not None,
        at_once=request.at_once,
        queued=True,
    )
    confirming.confirm(replace(context, actor=actor), batch_id, said)
    context.ring(Task.DELIVER)


def _stop(context: Context, batch_id: int, error: BlankformsError) -> None:
    """Keep and tell why it does not go on by itself. Not where it has left the queue, by a yes or otherwise."""
    with context.database.write() as session:
        batch = session.get_one(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch.queued_at is not None and batch.state in _WAITING:
            stop_order(session, batch, error, context.now())
    log.info("order_stopped", batch_id=batch_id, code=error.code)
    context.ring(Task.DELIVER)


def _leave_queue(context: Context, batch_id: int) -> None:
    with context.database.write() as session:
        session.execute(update(Batch).where(Batch.id == batch_id).values(queued_at=None))


@app.task(name=Task.READ.value)
def read_task(batch_id: int) -> None:
    """A program has brought an order."""
    read(current(), batch_id)
