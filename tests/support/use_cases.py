"""Which use case does a task, for tests that drive the pipeline without a broker."""

from __future__ import annotations

from config.names import Task
from tasks import upkeep
from tasks.messages import asking, preparing, sending, signing
from tasks.night import reconciliation
from tasks.notify import delivering
from tasks.orders import queued, releasing, reserving
from tasks.people import endorsing
from tasks.receipts import adopting, applying, inbox, reporting

USE_CASES = {
    Task.READ: queued.read,
    Task.RESERVE: reserving.reserve,
    Task.PREPARE: preparing.prepare,
    Task.SIGN: signing.sign,
    Task.SEND: sending.send,
    Task.ASK: asking.ask,
    Task.POLL: inbox.poll,
    Task.APPLY: applying.apply,
    Task.ADOPT: adopting.adopt,
    Task.REPORT: reporting.report,
    Task.EXPIRE: releasing.expire,
    Task.EXPIRE_ENDORSEMENTS: endorsing.expire,
    Task.DELIVER: delivering.deliver,
    Task.COUNT_STOCK: upkeep.count_stock,
    Task.RECONCILE: reconciliation.reconcile,
}
