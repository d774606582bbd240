"""The processes of a trial, forked from one warm parent: the client, the worker, the web process.

The parent (`Zygote`) has one thread and imported everything, so a process costs some milliseconds. What runs
in the children is the product's own use cases on the real database and over real HTTP; the bell is left
out, so that everything rests on the table of due work, as after an emptied broker.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import event, select
from werkzeug.serving import make_server

from config.crash import arm
from config.log import set_up_logging
from config.names import Task
from config.settings import load_settings
from customs.profile.bcm1 import Bcm1
from models.rules.errors import BlankformsError, FileSubmittedBefore, GatewayUnreachable
from models.rules.states import PagesMode
from models.tables.database import Database
from models.tables.reconciliation import Repair
from tasks import upkeep
from tasks.context import Context
from tasks.home import prepare_home
from tasks.messages import asking, preparing, sending, signing
from tasks.night import reconciliation, repairing
from tasks.night.repair_actions import Order
from tasks.orders import confirming, intake, planning
from tasks.receipts import applying, inbox
from tests.faults.bugs import BUGS
from tests.support.use_cases import USE_CASES
from webhook.app import create_app
from workers.bootstrap import build_context

IDLE_SECONDS = 0.05
CRASHED = "crashed: "
"""How the log line of an error begins that no user should ever see: a finding."""

_compiled: dict[str, object] = {}


PIECES = (
    (preparing, "CERTIFICATES_TOGETHER"),
    (signing, "SIGNED_TOGETHER"),
    (asking, "QUESTIONS_TOGETHER"),
    (applying, "RECEIPTS_TOGETHER"),
    (inbox, "RECEIPTS_TOGETHER"),
)


def in_small_pieces() -> None:
    """A trial has eight messages: taken three at a time, there is something between two pieces."""
    for module, constant in PIECES:
        assert hasattr(module, constant)
        setattr(module, constant, 3)
    assert sending.WINDOW_FACTOR
    sending.WINDOW_FACTOR = 1


def share_compiled(database: Database) -> None:
    """Every engine of a dialect finds what another has compiled."""
    engine = database.engine
    engine._compiled_cache = _compiled.setdefault(engine.dialect.name, engine._compiled_cache)


def client(context: Context, home: Path, sheet: str = "orders.csv", go: str = "") -> None:
    """Upload and confirm the sheet, as a clerk who tries again until it is said that it was done.

    What the clerk was told is kept in the file `told`: it is the clerk's word that the referee
    holds the system to. `go`: confirm only when that file is there, so that several do it at the
    same moment.
    """
    content = (home / sheet).read_bytes()
    try:
        batch_id = intake.receive_sheet(context, content, sheet, PagesMode.ADDITIONAL)
        planning.check(context, batch_id)
        while go and not (home / go).exists():
            time.sleep(0.001)
        confirming.confirm(context, batch_id, confirming.Confirmation())
    except FileSubmittedBefore:
        pass  # it was done before the last try died
    except BlankformsError as error:
        traceback.print_exc()
        _tell(home, error.code)
        return
    _tell(home, f"done {sheet}")


def _tell(home: Path, what: str) -> None:
    with (home / "told").open("a") as told:
        told.write(f"{what}\n")


def no_room_for_the_journal() -> None:
    """The system says so where the journal waits for its disk."""
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).endswith("/journal/sent"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    os.fsync = fsync


def worker(
    context: Context,
    home: Path,
    repeat: int = 1,
    shift: float = 0,
    step_after: float = 0,
    kill_in_sync: int = 0,
    full: bool = False,
    busy: float = 0,
    no_journal: bool = False,
) -> None:
    """Do what is due until told to stop by the file `stop`; what fails is due again.

    `repeat`: every ring comes so often; `shift`: this machine's clock goes so many seconds wrong, after so many of `step_after`;
    `kill_in_sync`: dies inside that call of fsync; `full`: the database file may not grow;
    `busy`: a write waits so many seconds for another one; `no_journal`: its disk has no room.
    """
    if no_journal:
        no_room_for_the_journal()
    if kill_in_sync:
        ctypes.CDLL(None).sync_kill_arm(kill_in_sync)
    if full:
        event.listen(
            context.database.engine,
            "connect",
            lambda connection, _: connection.execute("PRAGMA max_page_count = 1"),
        )
        context.database.engine.dispose()
    if busy and context.database.engine.dialect.name == "sqlite":
        event.listen(
            context.database.engine,
            "connect",
            lambda connection, _: connection.execute(f"PRAGMA busy_timeout = {busy * 1000:.0f}"),
        )
        context.database.engine.dispose()
    if shift:
        steps_at = time.monotonic() + step_after
        context.now = lambda: (
            datetime.now(UTC) + timedelta(seconds=shift if time.monotonic() >= steps_at else 0)
        )
    while not (home / "stop").exists():
        due: list[tuple[Task, tuple[int, ...]]] = []
        with _going_on("sweep"):
            due = upkeep.sweep(context)
        for task, ids in due * repeat:
            with _going_on(task):
                USE_CASES[task](context, *ids)
        if not [ring for ring in due if ring[0] is not Task.POLL]:
            time.sleep(IDLE_SECONDS)


@contextmanager
def _going_on(task: str) -> Iterator[None]:
    """As in Celery: a task that says why it cannot go on is due again. Anything else is a finding."""
    try:
        yield
    except BlankformsError as error:
        print(f"{task}: {error.code} {error.values}", file=sys.stderr)


def web(context: Context, home: Path) -> None:
    """Take callbacks until ended."""
    app = create_app(context.settings, context.database, lambda *_: None, Bcm1())
    make_server("127.0.0.1", context.settings.port, app, threaded=False).serve_forever(0.02)


def night(context: Context, home: Path) -> None:
    """One reconciliation to its end, and its repair."""
    run_id = reconciliation.open_run(context)
    reconciliation.reconcile(context, run_id, 60)
    repairing.repair(context, run_id, [], Order("审计", "演练"))
    with context.database.read() as session:
        if session.scalar(select(Repair.difference_id).where(Repair.outcome == "away").limit(1)):
            raise GatewayUnreachable(detail="a repair waits")  # the operator tries again


ROLES = {"client": client, "worker": worker, "web": web, "night": night}


def run(order: dict) -> None:
    """Be one process of a trial."""
    home = Path(order["environ"]["BLANKFORMS_HOME"])
    log = os.open(home / "processes.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if conf := order["environ"].get("SOFTHSM2_CONF"):
        os.environ["SOFTHSM2_CONF"] = conf  # the library itself reads it
    arm(order.get("crash", ""))
    in_small_pieces()
    if order.get("bug"):
        BUGS[order["bug"]].plant()
    settings = load_settings(order["environ"])
    set_up_logging(settings)
    prepare_home(settings)
    context = build_context(settings)
    share_compiled(context.database)
    context.ring = lambda *_: None
    ROLES[order["role"]](context, home, **order.get("more", {}))


def warm(order: dict) -> None:
    """One trial without a fault in the parent itself: its children find all statements compiled."""
    home = Path(order["environ"]["BLANKFORMS_HOME"])
    settings = load_settings(order["environ"])
    set_up_logging(settings)
    prepare_home(settings)
    context = build_context(settings)
    share_compiled(context.database)
    context.ring = lambda *_: None
    client(context, home)
    worker(context, home)
    night(context, home)
    context.close()
    _say(f"started {os.getpid()}")


def main() -> None:
    """Fork a process for each line on stdin; answer with its pid, and with `pid status` when it ends."""
    import select
    import signal

    signal.set_wakeup_fd(-1)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: os.write(writer, b"."))
    buffer = b""
    while True:
        ready, _, _ = select.select([0, reader], [], [])
        if reader in ready:
            os.read(reader, 4096)
            _reap()
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                return
            buffer += data
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                order = json.loads(line)
                if order["role"] == "warm":
                    warm(order)
                else:
                    _fork(order)


def _fork(order: dict) -> None:
    pid = os.fork()
    if pid:
        _say(f"started {pid}")
        return
    import signal

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 0
    try:
        run(order)
    except BlankformsError as error:
        print(f"{order['role']}: {error.code} {error.values}", file=sys.stderr)
        status = 1
    except BaseException as error:
        traceback.print_exc()
        print(
            f"{CRASHED}{order['role']}: {type(error).__name__} {error}".splitlines()[0],
            file=sys.stderr,
        )
        status = 1
    os._exit(status)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(f"ended {pid} {os.waitstatus_to_exitcode(status)}")


def _say(text: str) -> None:
    os.write(int(sys.argv[1]), text.encode() + b"\n")


if __name__ == "__main__":
    main()
