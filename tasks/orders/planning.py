"""Stage 2, plan: check every row against certificates and stock; say what would be taken and why.

Writes no reservation. Runs again at any time before the batch is confirmed: the check is made anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from models.reads.sight import one_exporter
from models.rules.people import Deed
from models.rules.states import BatchState
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch
from models.writes.acts import record_act
from models.writes.announcements import announce_checked
from models.writes.leases import is_busy
from models.writes.planner import make_plan
from models.writes.steps import OneTransaction
from tasks.context import Context
from tasks.orders.stepwise import TakenOver, is_large, step_by_step

_CHECKABLE: Final = (BatchState.RECEIVED, BatchState.ASKED, BatchState.CHECKED)


@dataclass(frozen=True, slots=True)
class Lift:
    """What a person allows for one batch, each with the reason that is kept in the history of the forms."""

    again: str | None = None
    """The same order once more (`duplicate_order`)."""
    beyond_pages: str | None = None
    """More forms than the certificate has pages (`pages_exceeded`)."""


NOTHING_LIFTED: Final = Lift()


def check(context: Context, batch_id: int, lift: Lift = NOTHING_LIFTED) -> str | None:
    """Check a batch that is not confirmed yet; gives the plan's hash. None: nothing to check, or another
    process is checking it at this moment.

    A batch whose sheet has questions is checked to be looked at, and stays asked.
    """
    with context.database.write() as session:
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch is None or batch.state not in _CHECKABLE:
            return None
        if batch.state is BatchState.RECEIVED and not batch.header_row:
            return None  # it is being read: some of its rows are not there yet
        if is_busy(batch, context.now()):
            return None
        batch.again_reason, batch.beyond_reason = lift.again, lift.beyond_pages
        large = is_large(session, batch)
        if not large:
            plan = make_plan(OneTransaction(session), batch)
            _checked(session, context, batch, plan, _plan_before(batch))
    if large:
        try:
            with step_by_step(context, batch_id, _CHECKABLE) as steps:
                with (
                    steps.write() as session
                ):  # a check that is broken off leaves nothing to say yes to
                    begun = session.get_one(Batch, batch_id)
                    before, begun.plan = _plan_before(begun), None
                plan = make_plan(steps, batch)
                with steps.write() as session:
                    _checked(session, context, session.get_one(Batch, batch_id), plan, before)
        except TakenOver:
            return None
    context.ring(Task.DELIVER)
    return plan


def lift(context: Context, batch_id: int, allowed: Lift) -> None:
    """Check anew what somebody brought, allowing this: an act, with who did and why. Raises `NotAllowed`."""
    with context.database.write() as session:
        said = {"again": allowed.again, "beyond_pages": allowed.beyond_pages}
        about = f"batch {batch_id}"
        record_act(session, context.actor, Deed.ORDER_LIFTED, about, context.now(), **said)
    check(context, batch_id, allowed)


def _plan_before(batch: Batch) -> str | None:
    return batch.plan if batch.state is BatchState.CHECKED else None


def _checked(
    session: Session, context: Context, batch: Batch, plan: str, before: str | None
) -> None:
    batch.plan, batch.exporter = plan, one_exporter(session, batch.id)
    batch.state = BatchState.ASKED if batch.questions else BatchState.CHECKED
    batch.checked_at = context.now()
    if plan != before and not batch.questions:
        announce_checked(session, batch, context.now())
    crash_point(Point.CHECK_BEFORE_COMMIT)
