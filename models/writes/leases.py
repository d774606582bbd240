"""Who is at a long piece of work now: one process, for so long; a process of this host that died is not waited
for. Reconciliations, and batches that are planned or reserved step by step.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import update
from sqlalchemy.orm import Session

from models.rules.states import BatchState
from models.tables.batches import Batch
from models.tables.reconciliation import Run

LEASE: Final = timedelta(minutes=10)
"""Longer than any one step: a page of customs' list, the certificates of one enterprise, a chunk of repairs."""

BATCH_LEASE: Final = timedelta(minutes=2)
"""Longer than any one step of a batch of a million rows takes, the reading of all its rows included."""

_HOST_LIMIT: Final = 60


def this_host() -> str:
    """The name of this host, in one word."""
    return socket.gethostname()[:_HOST_LIMIT].replace(" ", "-") or "-"


def first_free(runs: Iterable[Run], now: datetime) -> Run | None:
    """The first of these locked runs that nobody is at; it is taken for this process."""
    for run in runs:
        if _take(run, now, LEASE):
            return run
    return None


def take_batch(batch: Batch, now: datetime) -> str | None:
    """Take a locked batch for this process; gives the lease, None when another process is at it."""
    return batch.lease if _take(batch, now, BATCH_LEASE) else None


def is_busy(batch: Batch, now: datetime) -> bool:
    """Whether a process is at this batch now."""
    return not _is_free(batch, now)


def keep_batch(
    session: Session, batch_id: int, lease: str, now: datetime, states: Collection[BatchState]
) -> bool:
    """Go on being at it; False: another process is, a person has taken it back, or it is in another state."""
    kept = session.execute(
        update(Batch)
        .where(
            Batch.id == batch_id,
            Batch.lease == lease,
            Batch.cancelled_at.is_(None),
            Batch.state.in_(states),
        )
        .values(lease_until=now + BATCH_LEASE)
        .returning(Batch.id)
    ).all()
    return bool(kept)


def give_back_batch(session: Session, batch_id: int, lease: str) -> None:
    """Let another process take the batch, unless one has."""
    session.execute(
        update(Batch)
        .where(Batch.id == batch_id, Batch.lease == lease)
        .values(lease=None, lease_until=None)
    )


def put_off_batch(batch: Batch, until: datetime) -> None:
    """Nobody is rung for a locked batch until then, whose work has failed; not where a process is at it."""
    if batch.lease is None:
        batch.lease_until = until


def give_back(session: Session, run_id: int, lease: str) -> None:
    """Let another process take the run, unless one has."""
    session.execute(
        update(Run).where(Run.id == run_id, Run.lease == lease).values(lease=None, lease_until=None)
    )


def keep(session: Session, run_id: int, lease: str, now: datetime) -> bool:
    """Go on being at it; False: another process is."""
    kept = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.lease == lease)
        .values(lease_until=now + LEASE)
        .returning(Run.id)
    ).all()
    return bool(kept)


def _take(work: Run | Batch, now: datetime, lease: timedelta) -> bool:
    if not _is_free(work, now):
        return False
    work.lease = f"{this_host()} {os.getpid()} {uuid.uuid4().hex}"
    work.lease_until = now + lease
    return True


def _is_free(run: Run | Batch, now: datetime) -> bool:
    if run.lease is None or run.lease_until is None or run.lease_until <= now:
        return True
    host, _, rest = run.lease.partition(" ")
    return host == this_host() and not _lives(int(rest.partition(" ")[0]))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
