"""When a batch is done: no serial of it is held any more."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import exists, update
from sqlalchemy.orm import Session

from models.rules.states import BatchState, ItemState, SubmissionState
from models.tables.batches import Batch, Item
from models.tables.submissions import Submission
from models.writes.announcements import announce_ended


def finish_batches(session: Session, batch_ids: Collection[int], at: datetime) -> list[int]:
    """Finish those of the batches that hold nothing any more, and announce it; gives their ids."""
    held = exists().where(Item.batch_id == Batch.id, Item.state == ItemState.UNDER_WAY)
    finished = session.scalars(
        update(Batch)
        .where(Batch.id.in_(sorted(batch_ids)), Batch.state == BatchState.WORKING, ~held)
        .values(state=BatchState.FINISHED, finished_at=at)
        .returning(Batch.id)
    )
    ids = list(finished)
    may_be_ordered_again(session, ids)
    announce_ended(session, ids, at)
    return ids


def may_be_ordered_again(session: Session, batch_ids: Collection[int]) -> None:
    """A batch of which nothing has left was never submitted: the same may be ordered anew."""
    left = exists().where(
        Submission.batch_id == Batch.id, Submission.state != SubmissionState.CANCELLED
    )
    session.execute(
        update(Batch)
        .where(Batch.id.in_(sorted(batch_ids)), Batch.confirmed_content.is_not(None), ~left)
        .values(confirmed_content=None)
    )


def report_anew(session: Session, batch_ids: Collection[int]) -> None:
    """What became of these batches has changed after their end: their result is due again."""
    if batch_ids:
        session.execute(
            update(Batch).where(Batch.id.in_(sorted(batch_ids))).values(reported_at=None)
        )
