"""Submitter: signs, and is the only process that opens the card. One for each card, no pool.

Sending has a process of its own (`workers.sender`), so that the card never waits for the network.
"""

from __future__ import annotations

from config.names import Queue
from workers.bootstrap import celery_process

app = celery_process("submitter", Queue.SIGNING)
