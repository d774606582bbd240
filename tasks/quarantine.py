"""After a restored database: what was sent that it does not know, and the end of the quarantine.

A person ends it, and only when a reconciliation has finished since the last entry of the journal.
"""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy import select

from models.errors import NotReconciled
from models.links import close_link
from models.reconciliation import Run
from models.states import RunState
from models.stock import Discrepancy
from tasks.context import Context
from tasks.journal import Entry

log = structlog.get_logger(__name__)


def unknown(context: Context) -> list[Entry]:
    """What the journal knows and the database does not, oldest first; empty when all is well."""
    with context.database.read() as session:
        return list(context.journal.unknown(session))


def accept(context: Context, by: str) -> list[Entry]:
    """End the quarantine: a discrepancy for each unknown message, then the mark in the journal.

    Gives the messages; run twice, the second time there are none. Raises `NotReconciled`.
    """
    entries = unknown(context)
    if not entries:
        return []
    last = datetime.fromisoformat(entries[-1].at)
    with context.database.write() as session:
        looked = session.scalars(
            select(Run.id).where(Run.state == RunState.FINISHED, Run.started_at > last).limit(1)
        ).first()
        if looked is None:
            raise NotReconciled(at=entries[-1].at)
        for e in entries:
            detail = f"{e.number} {e.certificate} {e.action}, {e.at}"
            session.add(
                Discrepancy(kind="sent_before_restore", detail=detail, raised_at=context.now())
            )
        close_link(session, context.now(), context.now() - context.now(), "")
    context.journal.accept(by, context.now())
    log.warning("quarantine_ended", by=by, messages=len(entries))
    return entries
