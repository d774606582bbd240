"""Scheduler: rings the sweep. It only rings, in UTC, so a second one or a clock change does no harm."""

from __future__ import annotations

from typing import Final

from celery.schedules import schedule

from config.names import Queue, Task
from config.settings import load_settings
from workers.process import celery_process

app = celery_process("scheduler")

_seconds = load_settings().sweep_seconds

POLLING_SECONDS: Final = 1.0
"""How often it is seen whether a poll is due (`models.polling`): a receipt is awaited, and the sweep is slower."""

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
