"""The names of queues, tasks and the simulator: the only place where these strings are spelt."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

SIMULATOR: Final = "simulator"
"""The customs of a deployment that has no CUSTOMS_URL."""


class Queue(StrEnum):
    """One queue for each kind of process that must not wait for another."""

    WORK = "work"
    SIGNING = "signing"
    SENDING = "sending"


class Task(StrEnum):
    """`<stage>.<verb>`; each is a function of the same name in `tasks/<stage>.py`."""

    CHECK = "planning.check"
    RESERVE = "allocation.reserve"
    PREPARE = "preparing.prepare"
    SIGN = "signing.sign"
    SEND = "sending.send"
    ASK = "asking.ask"
    POLL = "inbox.poll"
    APPLY = "receipts.apply"
    ADOPT = "adopting.adopt"
    REPORT = "reporting.report"
    EXPIRE = "releasing.expire"
    DELIVER = "notifications.deliver"
    COUNT_STOCK = "upkeep.count_stock"
    RECONCILE = "reconciliation.reconcile"
    SWEEP = "upkeep.sweep"
    WORKER_PULSE = "pulse.worker"
    SUBMITTER_PULSE = "pulse.submitter"
    SENDER_PULSE = "pulse.sender"
