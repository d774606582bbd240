"""The line to customs as a person opens it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import select

from config.names import Task
from models.reads.line import Line
from models.reads.pauses import pauses
from models.rules.errors import BatchNotFound
from models.rules.people import Deed, require
from models.rules.states import PauseScope
from models.tables.batches import Batch
from models.writes.acts import record_act
from models.writes.line import open_line
from models.writes.pauses import pause as stop
from models.writes.pauses import resume as let_go_on
from tasks.context import Context

log = structlog.get_logger(__name__)


def open_again(context: Context) -> Line:
    """What closed the line is mended: sending goes on, after refusals for the card with one message.

    The submitter is told first: what another card has signed and has not left is made anew. Raises as
    `models.writes.line.open_line`, and `NotAllowed`.
    """
    require(context.actor, Deed.RESUMED)
    with context.database.write() as session:
        line = open_line(session, context.now(), context.settings.zone)
    context.ring(Task.SIGN)
    context.ring(Task.SEND)
    return line


def pause(context: Context, scope: PauseScope, value: str, by: str, reason: str) -> bool:
    """Stop what has not left; what is on its way goes on to its end. Gives whether it went on until now.

    Raises `BatchNotFound`.
    """
    with context.database.write() as session:
        if scope is PauseScope.BATCH:
            number = int(value)
            if session.scalar(select(Batch.id).where(Batch.id == number)) is None:
                raise BatchNotFound(batch=number)
        stopped = stop(session, scope, value, by, reason, context.now())
        about = f"{scope.value} {value}".strip()
        record_act(session, context.actor, Deed.PAUSED, about, context.now(), by=by, reason=reason)
    log.warning("paused", scope=scope.value, value=value, by=by)
    return stopped


def resume(context: Context, scope: PauseScope, value: str, by: str) -> bool:
    """Let it go on; gives whether it was paused."""
    with context.database.write() as session:
        was_paused = let_go_on(session, scope, value)
        about = f"{scope.value} {value}".strip()
        if was_paused:
            record_act(session, context.actor, Deed.RESUMED, about, context.now(), by=by)
    if was_paused:
        log.warning("resumed", scope=scope.value, value=value, by=by)
        context.ring(Task.SIGN)
        context.ring(Task.SEND)
    return was_paused


def paused(context: Context) -> Sequence[dict[str, Any]]:
    """Everything that a person has stopped, as JSON says it."""
    with context.database.read() as session:
        return [p.shown() for p in pauses(session)]
