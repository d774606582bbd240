"""Scheduler: rings the sweep. It only rings, in UTC, so a second one or a clock change does no harm."""

from __future__ import annotations

from celery.schedules import schedule

from config.names import Queue, Task
from config.settings import load_settings
from workers.process import celery_process

app = celery_process("scheduler")

_seconds = load_settings().sweep_seconds

app.conf.beat_max_loop_interval = min(_seconds, 5.0)
app.conf.beat_schedule = {
    "sweep": {
        "task": Task.SWEEP.value,
        "schedule": schedule(_seconds),
        # A sweep that nobody took before the next is due would only be the same sweep again.
        "options": {"queue": Queue.WORK.value, "expires": max(_seconds, 1.0)},
    }
}
