"""Scheduler: rings the sweep, and for polls. It only rings, in UTC, so a second one or a clock change does no
harm; while nobody takes its rings it makes no more of them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import structlog
from celery.beat import PersistentScheduler
from celery.schedules import schedule

from config.names import Queue, Task
from config.settings import load_settings
from tasks.app import FAILURES
from workers.process import celery_process

log = structlog.get_logger(__name__)

app = celery_process("scheduler")

_seconds = load_settings().sweep_seconds

POLLING_SECONDS: Final = 1.0
"""How often it is seen whether a poll is due (`models.rules.polling`): a receipt is awaited, and the sweep is
slower.
"""

MOST_WAITING: Final = 1000
"""Rings of the general workers: more say nothing new, and a day without workers would fill the broker."""


class Scheduler(PersistentScheduler):
    """Celery's own, which looks how many rings wait."""

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Ring, unless far too many rings wait already. A broker that is away is Celery's to say."""
        pool: Any = self.app.pool
        with suppress(*FAILURES), pool.acquire(block=True) as connection:
            channel = connection.default_channel
            waiting = channel.queue_declare(Queue.WORK.value, durable=True).message_count
            if waiting >= MOST_WAITING:
                log.warning("nobody_takes_rings", waiting=waiting)
                return
        super().apply_entry(entry, producer)


app.conf.beat_scheduler = Scheduler
app.conf.beat_max_loop_interval = min(_seconds, POLLING_SECONDS)
app.conf.beat_schedule = {
    "sweep": {
        "task": Task.SWEEP.value,
        "schedule": schedule(_seconds),
        # A sweep that nobody took before the next is due would only be the same sweep again.
        "options": {"queue": Queue.WORK.value, "expires": max(_seconds, 1.0)},
    },
    "poll": {
        "task": Task.POLL.value,
        "schedule": schedule(POLLING_SECONDS),
        "options": {"queue": Queue.WORK.value, "expires": POLLING_SECONDS},
    },
}
