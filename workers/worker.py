"""General worker: plans, reservations, messages, receipts, reports, upkeep."""

from __future__ import annotations

from config.names import Queue
from workers.process import celery_process

app = celery_process("worker", Queue.WORK)
