"""Ends a worker that lives but consumes nothing, so that its supervisor starts it anew.

Known of Celery on Redis after a broken connection: the process is there, answers nothing, takes
nothing and says nothing. Looked at from inside, in a thread of the main process: the broker answers
and has rings for our queue, a row that only we could have worked on has been due for three sweeps, and
in that time nothing was received and nothing is being done. The database is the truth, so a worker
may be ended at any moment.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from billiard.process import active_children
from celery.signals import task_received, worker_ready
from celery.worker import state as worker_state

from config.names import Queue
from config.settings import Settings
from models.tables.database import Database
from tasks import pipeline
from tasks.app import QUEUES, app

log = structlog.get_logger(__name__)

RESTART: Final = 75
"""Exit code (EX_TEMPFAIL): start me again."""

SWEEPS: Final = 3
"""A row that is due is rung for in each sweep; three without effect are no accident."""

LEAST_SECONDS: Final = 15.0
"""However short the sweep: a machine under load may pause that long."""


def watch(settings: Settings, queue: Queue) -> None:
    """Watch over this process's consumer from when it is ready."""
    last = [time.monotonic()]

    @task_received.connect(weak=False)
    def on_received(**_: Any) -> None:
        last[0] = time.monotonic()

    @worker_ready.connect(weak=False)
    def on_ready(**_: Any) -> None:
        last[0] = time.monotonic()
        limit = max(LEAST_SECONDS, SWEEPS * settings.sweep_seconds)
        url = settings.sqlalchemy_url
        threading.Thread(
            target=_run, args=(limit, lambda: last[0], url, queue), daemon=True
        ).start()


def _run(limit: float, received_at: Callable[[], float], url: str, queue: Queue) -> None:
    while True:
        time.sleep(limit / SWEEPS)
        quiet = time.monotonic() - received_at()
        if quiet < limit or worker_state.active_requests:
            continue
        try:
            stuck = _is_waited_for(url, queue, limit)
        except Exception as error:  # noqa: BLE001 - whatever hides the broker: the watch goes on
            log.warning("watchdog_cannot_see", detail=f"{type(error).__name__}: {error}")
            continue
        if stuck:
            log.error("worker_consumes_nothing", queue=queue.value, seconds=round(quiet))
            end_process(RESTART)


def _is_waited_for(url: str, queue: Queue, limit: float) -> bool:
    """Whether the broker has rings for us, and a row of ours has been due for too long.

    Opens the database for this look alone: pool processes that are forked later must not inherit it.
    """
    with app.connection_for_read() as connection:
        connection.ensure_connection(max_retries=1, timeout=4)
        channel: Any = connection.channel()
        waiting = channel.queue_declare(queue.value, durable=True).message_count
    if not waiting:
        return False
    database = Database(url)
    try:
        with database.read() as session:
            ages = pipeline.oldest_due(session, datetime.now(UTC))
    finally:
        database.close()
    ours = [age for task, age in ages.items() if QUEUES.get(task, Queue.WORK) is queue]
    return max(ours, default=0.0) > limit


def end_process(code: int) -> None:
    """End at once, with the children: a process that is stuck does not heed a gentler word."""
    for pid in [child.pid for child in active_children() if child.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(code)
