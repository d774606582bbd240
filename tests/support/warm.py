"""Commands from a warm parent: real processes, forked from one that has the libraries already.

A command takes 1.3 s of CPU to load what it needs, and the acceptance tests give hundreds. The parent holds libraries
and the modules below the faces, nothing that reads the environment or a language when it is loaded; each command
has an environment, folder, streams and process of its own, and reads its settings itself.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

LOADED = (
    *("sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "psycopg", "alembic.command"),
    *("celery", "kombu.transport.redis", "typer", "rich.progress", "rich.table", "xlsxwriter"),
    *("aiohttp", "cryptography.x509", "lxml.etree", "redis"),
    *("workers.bootstrap", "customs.http", "net.notifier_http", "customs.simulator.ledger"),
    *(
        "tasks.orders.planning",
        "tasks.orders.redoing",
        "tasks.night.repairing",
        "tasks.stock.imports",
    ),
    *("tasks.night.restored", "tasks.people.rules", "tasks.backup", "models.tables.schema"),
)
"""None of them says anything in a language when it is loaded."""

_ROOM = 1 << 20
ROOT = Path(__file__).parent.parent.parent


def run(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path | None, seconds: float
) -> subprocess.CompletedProcess[str]:
    """`blankforms ARGUMENTS` as a process of its own; no terminal, nothing on its stdin."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        Path(os.devnull).open("rb") as nothing,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line,
    ):
        line.settimeout(seconds)
        line.connect(_parent())
        order = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": str(folder or Path.cwd()),
        }
        fds = [stream.fileno() for stream in (nothing, out, err)]
        socket.send_fds(line, [json.dumps(order).encode()], fds)
        pid = int(line.recv(64))
        try:
            code = int(line.recv(64))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(arguments), seconds) from None
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
    return subprocess.CompletedProcess(list(arguments), code, *texts)


@lru_cache(maxsize=1)
def _parent() -> str:
    """The address of this test process's warm parent, started at its first command."""
    path = tempfile.mkdtemp(prefix="bf-warm-") + "/s"
    command = [sys.executable, "-m", "tests.support.warm", path, str(os.getpid())]
    parent = subprocess.Popen(command, cwd=ROOT)
    atexit.register(lambda: (parent.kill(), parent.wait()))
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            try:
                line.connect(path)
            except OSError:
                time.sleep(0.02)
                continue
            line.send(b"?")
            return path


def _serve(path: str, tests: int) -> NoReturn:
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(path)
        listening.listen(64)
        listening.settimeout(1)
        while True:
            try:
                line, _ = listening.accept()
            except TimeoutError:
                if os.getppid() != tests:
                    sys.exit(0)
                continue
            if os.fork() == 0:
                listening.close()
                _answer(line)
            line.close()


def _answer(line: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    said, fds, _, _ = socket.recv_fds(line, _ROOM, 3)
    if not fds:
        os._exit(0)
    pid = os.fork()
    if pid == 0:
        line.close()
        _command(json.loads(said), fds)
    line.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    line.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _command(order: dict, fds: list[int]) -> NoReturn:
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    os.chdir(order["folder"])
    for target, fd in enumerate(fds):
        os.dup2(fd, target)
        os.close(fd)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)
    sys.argv = ["blankforms", *order["arguments"]]
    if os.environ.get("PYTHONWARNINGS") == "ignore":
        warnings.simplefilter("ignore")
    from cli.main import main

    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
