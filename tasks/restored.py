"""After a restored database: what was sent that it does not know, and how sending begins again.

A person ends it, and only when a reconciliation has finished since the last entry of the journal.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import select

from models.bulk import insert_rows
from models.errors import NotReconciled
from models.links import close_link
from models.reconciliation import Run
from models.states import RunState
from models.stock import Discrepancy
from tasks.context import Context
from tasks.journal import Entry

KIND: Final = "sent_before_restore"
"""The discrepancy of a message that the database has forgotten."""

log = structlog.get_logger(__name__)


def unknown(context: Context) -> list[Entry]:
    """What the journal knows and the database does not, oldest first; empty when all is well."""
    with context.database.read() as session:
        return list(context.journal.unknown(session))


def accept(context: Context, by: str) -> list[Entry]:
    """Reserve and send again: a discrepancy for each unknown message, then the mark in the journal.

    Gives the messages; run twice, the second time there are none; killed in between, none is raised
    twice. Raises `NotReconciled`.
    """
    entries = unknown(context)
    if not entries:
        return []
    last = max(datetime.fromisoformat(e.at) for e in entries)
    with context.database.write() as session:
        looked = session.scalars(
            select(Run.id).where(Run.state == RunState.FINISHED, Run.started_at > last).limit(1)
        ).first()
        if looked is None:
            raise NotReconciled(at=last.isoformat(timespec="seconds"))
        # a run that died before the mark was written has raised them already
        raised = set(session.scalars(select(Discrepancy.detail).where(Discrepancy.kind == KIND)))
        details = [f"{e.number} {e.certificate} {e.action}, {e.at}" for e in entries]
        insert_rows(
            session,
            Discrepancy,
            [
                {"kind": KIND, "detail": detail, "raised_at": context.now()}
                for detail in details
                if detail not in raised
            ],
        )
        close_link(session, context.now(), timedelta(0), "")
    context.journal.accept(by, context.now())
    log.warning("restored_accepted", by=by, messages=len(entries))
    return entries
