"""Submitter: signs, and is the only process that opens the card. One for each card, no pool.

Sending has a process of its own (`workers.sender`), so that the card never waits for the network.
"""

from __future__ import annotations

from typing import Any

from celery.signals import worker_ready

from config.names import Queue, Task
from tasks.app import ring
from workers.process import celery_process

app = celery_process("submitter", Queue.SIGNING)


@worker_ready.connect(weak=False)
def examine_the_card(**_: Any) -> None:
    """A card that is not fit is known before there is an order."""
    ring(Task.SIGN)
