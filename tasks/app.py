"""The Celery app: plain queues, JSON, ids only, results ignored, acknowledged when received.

The database is the truth and a message is only a doorbell, so a message that is lost or doubled
does no harm: the sweep rings every due row again. That is why tasks are acknowledged early and why
none of retry(), ETA, countdown, chain, group or chord is used (rule 2 of how-it-works.md).
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from celery import Celery
from kombu import Queue as KombuQueue
from kombu.exceptions import OperationalError
from redis.exceptions import AuthenticationError, OutOfMemoryError, ReadOnlyError, RedisError

from config.names import Queue, Task
from config.settings import Settings
from models.rules.errors import BrokerFull, BrokerReadOnly, BrokerRefused, BrokerUnreachable

log = structlog.get_logger(__name__)

FAILURES: Final = (OperationalError, OSError, RedisError)
"""However the broker fails: away, as kombu says it, or there and refusing, as its client does."""

PROBE_KEY: Final = "probe"
PROBE_SECONDS: Final = 60
"""What is written to see that something can be, and how long it stays."""

QUEUES: Final = {
    Task.SIGN: Queue.SIGNING,
    Task.SEND: Queue.SENDING,
    Task.ASK: Queue.SENDING,
    Task.SUBMITTER_PULSE: Queue.SIGNING,
    Task.SENDER_PULSE: Queue.SENDING,
}
"""Tasks with a process of their own; all others go to the general workers."""

MODULES: Final = (
    "tasks.orders.reserving",
    "tasks.orders.releasing",
    "tasks.orders.queued",
    "tasks.messages.preparing",
    "tasks.messages.signing",
    "tasks.messages.sending",
    "tasks.messages.asking",
    "tasks.receipts.inbox",
    "tasks.receipts.applying",
    "tasks.receipts.adopting",
    "tasks.receipts.reporting",
    "tasks.night.reconciliation",
    "tasks.people.endorsing",
    "tasks.notify.delivering",
    "tasks.upkeep",
    "tasks.pulse",
)

app = Celery("blankforms", include=MODULES, set_as_current=True)


def configure(settings: Settings) -> Celery:
    """Point the app at this deployment's broker; once, at the start of a process."""
    app.conf.update(
        broker_url=settings.celery_broker_url,
        result_backend=None,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=Queue.WORK.value,
        task_default_exchange="",  # the anonymous exchange survives an emptied broker
        task_default_exchange_type="direct",
        task_queues=[KombuQueue(q.value, routing_key=q.value, durable=True) for q in Queue],
        task_create_missing_queues=False,
        task_acks_late=False,
        task_reject_on_worker_lost=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,  # whoever reaches the broker may ring, not command
        worker_proc_alive_timeout=60,  # a slow card must not get its process killed (signing.md)
        # A bell must not hold up the person or the request that rings it.
        task_publish_retry=True,
        task_publish_retry_policy={
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.2,
        },
        broker_connection_timeout=4,
        broker_pool_acquire_timeout=2.0,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        broker_transport_options={
            "visibility_timeout": 1800,  # covers rings taken and not begun, nothing else
            "global_keyprefix": "blankforms:",
            "socket_connect_timeout": 5,
            "socket_timeout": 30,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
        beat_schedule_filename=str(settings.blankforms_home / "scheduler"),
        enable_utc=True,
        timezone="UTC",
    )
    return app


def ring(task: Task, *ids: int) -> None:
    """Say that `task` may be due for these ids. Failing to say so is logged; the sweep says it."""
    try:
        _publish(task, ids)
    except FAILURES as error:
        log.info("ring_failed", task=task.value, ids=ids, error=str(error))


def require_broker() -> None:
    """Make sure that rings are heard: something is written to the broker, as a ring is.

    Raises `BrokerUnreachable`, or as what it is: `BrokerReadOnly`, `BrokerFull`, `BrokerRefused`.
    """
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=4)
            channel: Any = connection.channel()
            channel.client.set(PROBE_KEY, "1", ex=PROBE_SECONDS)
    except FAILURES as error:
        raise _broker_error(error) from error


def _broker_error(error: BaseException) -> BrokerUnreachable:
    """What is wrong with the broker, by what the client says or has wrapped."""
    told: BaseException | None = error
    while told is not None:
        text = str(told)
        if isinstance(told, ReadOnlyError) or text.startswith("READONLY"):
            return BrokerReadOnly(detail=text)
        if isinstance(told, OutOfMemoryError) or text.startswith(("OOM", "MISCONF")):
            return BrokerFull(detail=text)
        if isinstance(told, AuthenticationError) or text.startswith(("NOAUTH", "WRONGPASS")):
            return BrokerRefused(detail=text)
        told = told.__cause__ or told.__context__
    return BrokerUnreachable(detail=str(error))


def _publish(task: Task, ids: tuple[Any, ...]) -> None:
    queue = QUEUES.get(task, Queue.WORK)
    app.send_task(task.value, args=ids, queue=queue.value, ignore_result=True)
