"""A sign of each kind of process: it was rung for, took the ring, has its database, and can write to it.

The sweep rings for them. What a process finds wrong where it runs (disk, send journal) is noted with it,
so that whoever asks on another host knows it too.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import structlog

from config.names import Task
from config.settings import Settings
from models.rules.errors import BlankformsError, DiskFull, JournalMissing, JournalUnwritable
from models.writes.pulses import note_pulse
from net.clock import elapsed
from tasks.app import app
from tasks.context import Context, current
from tasks.journal import Journal

log = structlog.get_logger(__name__)

WORKER: Final = "worker"
SUBMITTER: Final = "submitter"
SENDER: Final = "sender"
SCHEDULER: Final = "scheduler"
PROCESSES: Final = (WORKER, SUBMITTER, SENDER, SCHEDULER)

PULSES: Final = (Task.WORKER_PULSE, Task.SUBMITTER_PULSE, Task.SENDER_PULSE)

ROOM_NEEDED: Final = 100 << 20
"""Bytes: a month end's journal, its result sheets, and time for somebody to come."""


def pulse(context: Context, process: str) -> None:
    """Note that this process works. Raises `DatabaseUnreachable`."""
    wrong = surroundings(context.settings)
    if wrong is None and process == SENDER:
        with context.database.read() as session:
            if context.journal.missing(session):
                wrong = JournalMissing(detail=str(context.journal.path))
    code, detail = (wrong.code, str(wrong.values.get("detail", ""))) if wrong else ("", "")
    with context.database.write() as session:
        note_pulse(session, process, context.now(), code, detail)


def keep_pulse(context: Context) -> None:
    """The same of the sender in the middle of long work, not more often than is needed to be seen.

    A command that asks customs itself is no sender, and says nothing.
    """
    if _is_sender and (now := elapsed()) - _kept[0] > KEPT_EVERY:
        _kept[0] = now
        pulse(context, SENDER)


def in_the_sender() -> None:
    """What runs here was rung for on the sender's queue."""
    _is_sender[:] = [True]


KEPT_EVERY: Final = 15.0
"""Seconds; also how long a sender waits for an answer before it shows itself."""

_kept = [0.0]
_is_sender: list[bool] = []


def surroundings(settings: Settings) -> BlankformsError | None:
    """What is wrong with this machine's data folder; None when nothing is."""
    home: Path = settings.blankforms_home
    if not home.exists():
        return None
    if (why := Journal(settings.journal_file).unwritable()) is not None:
        return JournalUnwritable(detail=why)
    if (left := shutil.disk_usage(home).free) < ROOM_NEEDED:
        return DiskFull(detail=f"{left >> 20} MiB")
    return None


def noted(code: str, detail: str) -> BlankformsError:
    """What a process noted, to be said in the reader's language."""
    kinds = {kind.code: kind for kind in (JournalUnwritable, JournalMissing, DiskFull)}
    return kinds.get(code, JournalUnwritable)(detail=detail)


@app.task(name=Task.WORKER_PULSE.value)
def worker_task() -> None:
    """The sweep asks whether a worker is there."""
    pulse(current(), WORKER)


@app.task(name=Task.SUBMITTER_PULSE.value)
def submitter_task() -> None:
    """The sweep asks whether the submitter is there."""
    pulse(current(), SUBMITTER)


@app.task(name=Task.SENDER_PULSE.value)
def sender_task() -> None:
    """The sweep asks whether the sender is there."""
    in_the_sender()
    pulse(current(), SENDER)
