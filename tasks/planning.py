"""Stage 2, plan: check every row against certificates and stock; say what would be taken and why.

Writes no reservation. Runs again at any time before the batch is confirmed: the check is made anew.
"""

from __future__ import annotations

from typing import Final

from config.crash import Point, crash_point
from config.names import Task
from models.base import NO_KEY_UPDATE
from models.batch_news import announce_checked
from models.batches import Batch
from models.planner import make_plan
from models.states import BatchState
from tasks.app import app
from tasks.context import Context, current

_CHECKABLE: Final = (BatchState.RECEIVED, BatchState.CHECKED)


def check(context: Context, batch_id: int) -> str | None:
    """Check a batch that is not confirmed yet; gives the plan's hash. None: nothing to check."""
    with context.database.write() as session:
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch is None or batch.state not in _CHECKABLE:
            return None
        before = batch.plan if batch.state is BatchState.CHECKED else None
        plan = batch.plan = make_plan(session, batch)
        batch.state = BatchState.CHECKED
        batch.checked_at = context.now()
        if plan != before:
            announce_checked(session, batch, context.now())
        crash_point(Point.CHECK_BEFORE_COMMIT)
    context.ring(Task.DELIVER)
    return plan


@app.task(name=Task.CHECK.value)
def check_task(batch_id: int) -> None:
    """A batch was received."""
    check(current(), batch_id)
