"""A Celery process line: it waits for what it needs, or ends with a code that its supervisor acts on.

Celery swallows whatever a signal handler raises but `SystemExit`, and goes on as if it were ready. So
the parent opens the context once before anything is forked, however long that takes; a pool child that
replaces another waits too, for less time than Celery gives it, and is replaced when that is over. What
waiting does not mend ends the whole process with 78, from a child as well (rule 9 of how-it-works.md).
"""

from __future__ import annotations

import os
import resource
import select
import sys
import threading
import warnings
from typing import Any, Final

import structlog
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning
from celery.signals import (
    beat_init,
    celeryd_init,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)

from config.errors import ConfigurationError
from config.exits import Exit
from config.log import set_up_logging
from config.names import Queue, Task
from config.settings import Settings, load_settings
from config.supervised import say_ready
from models.rules.language import Language, use_language
from tasks.app import app, configure
from tasks.context import current, use
from tasks.home import prepare_home
from tasks.opening import StillAway, wait_for_database
from tasks.pipeline import PER_BATCH
from workers.bootstrap import context_with
from workers.watchdog import RESTART, end_process, watch

log = structlog.get_logger(__name__)

CHILD_SECONDS: Final = 45.0
"""How long a pool child waits for the database: less than `worker_proc_alive_timeout` (60 s)."""

PAUSE_SECONDS: Final = 15.0
"""Before a pool child ends by what nobody foresaw: one that ends at once is replaced a hundred times."""

_FOR_EVER: Final = 3600.0


def celery_process(name: str, queue: Queue | None = None) -> Any:
    """The Celery app of one process line, which is never ready without its context.

    `queue`: what it consumes; a watchdog ends it when it lives and consumes nothing.
    """
    # Celery warns of root because of pickle, which is not accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # It announces a default that is set here already (`tasks.app`), at each loss of the broker.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
    try:
        settings = load_settings()
        if queue is Queue.SIGNING:
            settings.require_pin()
        prepare_home(settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(int(Exit.CONFIGURATION))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core may hold the PIN
    use_language(Language(settings.blankforms_lang))
    configure(settings)

    @setup_logging.connect(weak=False)
    def on_logging(**_: Any) -> None:
        set_up_logging(settings)

    _name_the_task()
    _start_with_context(settings, name)
    if queue is not None:
        watch(settings, queue)
    return app


def _name_the_task() -> None:
    """Whatever is logged while a task runs carries its id, and the batch that it was rung for."""
    of_a_batch = {stage.task.value for stage in PER_BATCH} | {Task.PREPARE.value}

    @task_prerun.connect(weak=False)
    def on_task(task_id: str = "", task: Any = None, args: Any = (), **_: Any) -> None:
        structlog.contextvars.clear_contextvars()
        about = {"batch_id": args[0]} if args and task.name in of_a_batch else {}
        structlog.contextvars.bind_contextvars(task_id=task_id, task=task.name, **about)

    @task_postrun.connect(weak=False)
    def on_task_end(**_: Any) -> None:
        structlog.contextvars.clear_contextvars()


class _Signals:
    """Two pipes that are made before any fork: one says that we stop, one that a child cannot go on.

    No lock is taken, so that a signal handler may use them.
    """

    def __init__(self) -> None:
        self.main_pid = os.getpid()
        self._stop = os.pipe()
        self._hopeless = os.pipe()

    def stop(self) -> None:
        os.write(self._stop[1], b"x")

    def pause(self, seconds: float) -> bool:
        """Wait so long; tells whether we are stopping. What is in the pipe stays there for all."""
        return bool(select.select([self._stop[0]], [], [], seconds)[0])

    def give_up(self, code: int) -> None:
        """End the whole process: from a child, by telling the parent and waiting to be ended."""
        if os.getpid() == self.main_pid:
            sys.exit(code)
        os.write(self._hopeless[1], bytes([code]))
        self.pause(_FOR_EVER)
        os._exit(code)

    def end_when_hopeless(self) -> None:
        """In the parent: end as soon as a child gives up."""
        code = os.read(self._hopeless[0], 1)[0]
        end_process(code)


def _start_with_context(settings: Settings, name: str) -> None:
    signals = _Signals()

    def wait_in_parent(**_: Any) -> None:
        set_up_logging(settings)
        try:
            database = wait_for_database(settings, signals.pause)
        except Exception:  # Celery would swallow it, and say "ready"
            log.exception("cannot_start")
            sys.exit(RESTART)
        if database is None:
            sys.exit(0)
        database.close()  # nothing that is open may be inherited by a fork
        threading.Thread(target=signals.end_when_hopeless, daemon=True).start()
        if settings.simulated:
            log.warning("customs_is_the_simulator", process=name, url=settings.gateway_url)

    celeryd_init.connect(wait_in_parent, weak=False)

    @beat_init.connect(weak=False)
    def on_beat(**_: Any) -> None:
        wait_in_parent()
        say_ready()

    @worker_process_init.connect(weak=False)
    def on_start(**_: Any) -> None:
        use_language(Language(settings.blankforms_lang))
        try:
            database = wait_for_database(settings, signals.pause, CHILD_SECONDS)
        except StillAway:
            log.warning("database_still_away", process=name, seconds=CHILD_SECONDS)
            end_process(RESTART)
        except SystemExit as hopeless:
            signals.give_up(int(hopeless.code or 0))
        except Exception:  # Celery would swallow it, and give this process tasks
            log.exception("cannot_start")
            signals.pause(PAUSE_SECONDS)
            end_process(RESTART)
        else:
            if database is None:
                sys.exit(0)
            context = context_with(settings, database)
            context.stopping = lambda: signals.pause(0)
            use(context)

    @worker_process_shutdown.connect(weak=False)
    def on_stop(**_: Any) -> None:
        current().close()

    @worker_ready.connect(weak=False)
    def on_ready(**_: Any) -> None:
        say_ready()

    @worker_shutting_down.connect(weak=False)
    def on_shutting_down(**_: Any) -> None:
        signals.stop()
