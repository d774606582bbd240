"""Which use case does a task, for tests that drive the pipeline without a broker."""

from __future__ import annotations

from config.names import Task
from tasks import (
    adopting,
    allocation,
    asking,
    inbox,
    notifications,
    planning,
    preparing,
    receipts,
    reconciliation,
    releasing,
    reporting,
    sending,
    signing,
    upkeep,
)

USE_CASES = {
    Task.CHECK: planning.check,
    Task.RESERVE: allocation.reserve,
    Task.PREPARE: preparing.prepare,
    Task.SIGN: signing.sign,
    Task.SEND: sending.send,
    Task.ASK: asking.ask,
    Task.POLL: inbox.poll,
    Task.APPLY: receipts.apply,
    Task.ADOPT: adopting.adopt,
    Task.REPORT: reporting.report,
    Task.EXPIRE: releasing.expire,
    Task.DELIVER: notifications.deliver,
    Task.COUNT_STOCK: upkeep.count_stock,
    Task.RECONCILE: reconciliation.reconcile,
}
