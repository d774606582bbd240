"""Sender: sends what is signed and asks about what is in doubt. One process, many connections."""

from __future__ import annotations

from config.names import Queue
from workers.process import celery_process

app = celery_process("sender", Queue.SENDING)
