"""General worker: plans, reservations, messages, receipts, reports, upkeep."""

from __future__ import annotations

from workers.bootstrap import celery_process

app = celery_process("worker")
