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
    """Each names its function below `tasks`: `orders.queued.read` is `tasks/orders/queued.py`, `read`."""

    READ = "orders.queued.read"
    RESERVE = "orders.reserving.reserve"
    PREPARE = "messages.preparing.prepare"
    SIGN = "messages.signing.sign"
    SEND = "messages.sending.send"
    ASK = "messages.asking.ask"
    POLL = "receipts.inbox.poll"
    APPLY = "receipts.applying.apply"
    ADOPT = "receipts.adopting.adopt"
    REPORT = "receipts.reporting.report"
    EXPIRE = "orders.releasing.expire"
    EXPIRE_ENDORSEMENTS = "people.endorsing.expire"
    DELIVER = "notify.delivering.deliver"
    COUNT_STOCK = "upkeep.count_stock"
    RECONCILE = "night.reconciliation.reconcile"
    SWEEP = "upkeep.sweep"
    WORKER_PULSE = "pulse.worker"
    SUBMITTER_PULSE = "pulse.submitter"
    SENDER_PULSE = "pulse.sender"
