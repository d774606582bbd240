"""A batch that is too large for one transaction: who works on it, step by step."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.rules.errors import DatabaseUnreachable
from models.rules.states import BatchState
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch, BatchRow, Item
from models.writes.leases import give_back_batch, keep_batch, take_batch
from models.writes.steps import ManyTransactions
from tasks.context import Context

AT_ONCE: Final = 2000
"""Rows or forms of a batch that is planned and reserved in one transaction: half a second."""


class TakenOver(Exception):
    """Another process works on the batch, or a person has taken it back."""


def is_large(session: Session, batch: Batch) -> bool:
    """Whether a batch is planned and reserved step by step."""
    if batch.row_count > AT_ONCE:
        return True
    counted = select(func.sum(BatchRow.page_count)).where(BatchRow.batch_id == batch.id)
    named = select(func.count()).where(Item.batch_id == batch.id)
    return (session.scalar(counted) or 0) + (session.scalar(named) or 0) > AT_ONCE


@contextmanager
def step_by_step(
    context: Context, batch_id: int, states: Collection[BatchState]
) -> Iterator[ManyTransactions]:
    """Work on a batch in one of these states, alone. Raises `TakenOver`, at the beginning or at any step.

    Whoever is killed here is not waited for; the work begins anew.
    """
    with context.database.write() as session:
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        lease = take_batch(batch, context.now()) if batch and batch.state in states else None
    if lease is None:
        raise TakenOver

    def keep(session: Session) -> None:
        if not keep_batch(session, batch_id, lease, context.now(), states):
            raise TakenOver

    try:
        yield ManyTransactions(context.database, keep)
    finally:  # where the database is away, the lease runs out
        with suppress(DatabaseUnreachable), context.database.write() as session:
            give_back_batch(session, batch_id, lease)
