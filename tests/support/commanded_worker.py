"""The worker, with Celery's remote control on: for the test that makes it consume nothing."""

from __future__ import annotations

from workers.worker import app

app.conf.worker_enable_remote_control = True
