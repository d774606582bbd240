"""One trial: two clerks' sheets, a fault, healing, and the referee's verdict."""

from __future__ import annotations

import csv
import gc
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select, text
from werkzeug.serving import make_server

from config.settings import load_settings
from customs.signing.keyfile import KeyFileSigner, ensure_key_file
from customs.simulator.app import create_app
from customs.simulator.customs import Reply, SimulatedCustoms, SimulatorSettings
from customs.simulator.faults import FaultScript
from models.reads.invariants import broken_against_ledger, broken_invariants
from models.rules.states import SubmissionState
from models.tables.customs_link import CustomsLink
from models.tables.database import Database
from models.tables.submissions import Attempt, Submission
from tasks.context import Context
from tasks.night import audit
from tests.faults.child import CRASHED, share_compiled
from tests.support.factories import EXPORTER, HEADER, SENDER, certificate_number
from tests.support.system import free_port
from workers.bootstrap import build_context

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HEAL_SECONDS = 180.0
"""How long a trial may take to come to rest after its fault: some thirty times what it takes, so that
what has not is stuck, however busy the machine is."""
BUG_SECONDS = 20.0
"""The same with a bug planted: not coming to rest is how some of them show."""

IDLE_SECONDS = 5.0
"""After so long without work a process does not come to its crash point any more."""

_COMPILING = threading.Lock()
"""Werkzeug compiles routes through `ast`, which Python 3.11 does badly in two threads at once."""

CERTIFICATES = 8
FORMS = 40

QUICK = {
    "SEND_DEADLINE_SECONDS": "0.6",
    "LEASE_SECONDS": "0.9",
    "SETTLE_SECONDS": "1.2",
    "POLL_SECONDS": "0.15",
    "SEND_CONCURRENCY": "4",
    "MOVING_MINUTES": "0",
    "LOG_LEVEL": "WARNING",
    "CALLBACK_SECRETS": SECRET,
    "NOTIFICATION_KEY": "k" * 40,
    "RECONCILE_HOUR": "23",
    "NOTIFY_NETWORKS": "127.0.0.0/8",
}


class Zygote:
    """The warm parent of every process of the campaign."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        self._preload = tempfile.TemporaryDirectory(prefix="bf-preload-")
        self.card = Path(self._preload.name) / "card"
        ensure_key_file(self.card, SENDER)
        library = Path(self._preload.name) / "sync_kill.so"
        source = Path(__file__).parent / "sync_kill.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.child", str(writer)],
            stdin=subprocess.PIPE,
            pass_fds=(writer,),
            env={**os.environ, "LD_PRELOAD": str(library)},
        )
        os.close(writer)
        self._started: queue.Queue[int] = queue.Queue()
        self._ended: dict[int, int] = {}
        self.killed: set[int] = set()
        self._news = threading.Condition()
        threading.Thread(target=self._listen, args=(reader,), daemon=True).start()

    def _listen(self, reader: int) -> None:
        with os.fdopen(reader) as lines:
            for line in lines:
                what, *numbers = line.split()
                if what == "started":
                    with self._news:  # the number may be that of a process of long ago
                        self._ended.pop(int(numbers[0]), None)
                        self.killed.discard(int(numbers[0]))
                    self._started.put(int(numbers[0]))
                else:
                    with self._news:
                        self._ended[int(numbers[0])] = int(numbers[1])
                        self._news.notify_all()

    def start(
        self, role: str, environ: dict[str, str], crash: str = "", bug: str = "", **more: object
    ) -> int:
        order = {"role": role, "environ": environ, "crash": crash, "bug": bug, "more": more}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return self._started.get(timeout=60)

    def warm(self, trial: Trial) -> None:
        """Let the parent compile what its children will need: see `child.warm`."""
        order = {"role": "warm", "environ": trial.environ}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        end = time.monotonic() + HEAL_SECONDS
        while time.monotonic() < end and not (
            trial.one("SELECT COUNT(*) FROM batch WHERE state = 'finished'") and trial.settled()
        ):
            time.sleep(0.05)
        (trial.home / "stop").touch()
        self._started.get(timeout=60)

    def status(self, pid: int) -> int | None:
        """Its exit code, when it has ended."""
        with self._news:
            return self._ended.get(pid)

    def wait(self, pid: int, seconds: float) -> int | None:
        end = time.monotonic() + seconds
        with self._news:
            while pid not in self._ended and (left := end - time.monotonic()) > 0:
                self._news.wait(left)
            return self._ended.get(pid)

    def kill(self, pid: int, how: int = signal.SIGKILL) -> None:
        if self.status(pid) is None:
            self.killed.add(pid)
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass
        if how == signal.SIGKILL:
            self.wait(pid, 10)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._preload.cleanup()


class WatchedCustoms(SimulatedCustoms):
    """Notes the number of every message that reaches its door, taken or not."""

    def __init__(self, settings: SimulatorSettings, script: FaultScript) -> None:
        super().__init__(settings, script)
        self.posts: list[str] = []
        self.again: list[str] = []
        """Numbers that came when they had been taken before: nobody asked first, or too early."""

    def take(self, body: bytes) -> Reply:
        if found := re.search(rb"<EtpsPreentNo>(\w+)<", body):
            number = found[1].decode()
            self.posts.append(number)
            if self.ledger.read("SELECT 1 FROM message WHERE number = ?", (number,)):
                self.again.append(number)
        return super().take(body)


@dataclass
class Verdict:
    """What the referee says: nothing, when all is well."""

    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    parked: int = 0
    died: int = 0
    """Processes that ended themselves at a crash point: without one, the trial says nothing."""

    @property
    def well(self) -> bool:
        return not self.wrong


class TooLate(AssertionError):
    """The work was quicker than the trial, on a loaded machine: it says nothing, and is made again."""


class Trial:
    """The world of one trial: a database, a customs, a home, and the processes that live in it."""

    def __init__(
        self, zygote: Zygote, home: Path, database_url: str, seed: str, bug: str = ""
    ) -> None:
        self.zygote, self.home, self.seed, self.bug = zygote, home, seed, bug
        self.random = random.Random(seed)
        self.database_url = database_url
        home.mkdir(parents=True)
        shutil.copytree(zygote.card, home / "card")
        self.port = free_port()
        self._customs()
        self.environ = {
            **QUICK, "BLANKFORMS_HOME": str(home), "DATABASE_URL": database_url,
            "SIMULATOR_PORT": str(self.server.server_port), "PORT": str(self.port),
            "CONSOLE_PORT": str(free_port()),
        }  # fmt: skip
        self.database = Database(load_settings(self.environ).sqlalchemy_url)
        share_compiled(self.database)
        self.pids: list[int] = []
        self._context: Context | None = None
        self.allow_repeats = False
        """Whether bytes may come to customs' door again after they were taken."""
        self._books()

    # -- the world ------------------------------------------------------------------------------

    def _customs(self) -> None:
        signer = KeyFileSigner(self.home / "card", SENDER)
        settings = SimulatorSettings(
            self.home / "simulator", [signer.certificate_der()], "simulator",
            0.05, f"http://127.0.0.1:{self.port}/callbacks/customs", SECRET,
        )  # fmt: skip
        self.customs = WatchedCustoms(settings, FaultScript())
        with _COMPILING:
            app = create_app(self.customs)
        self.server = make_server("127.0.0.1", 0, app, threaded=True)
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True),
            *(
                threading.Thread(target=self._tick, args=(work,), daemon=True)
                for work in (self.customs.decide_due, self.customs.call_due)
            ),
        ]
        for thread in self._threads:
            thread.start()

    def _tick(self, work) -> None:
        while not self._over.is_set():
            if work() == 0:
                self._over.wait(0.06)

    def _books(self) -> None:
        from types import SimpleNamespace

        from sheets.imports import CertificateRecord, IssuedRange
        from tasks.stock.imports import add_ranges, store_certificates

        context = SimpleNamespace(database=self.database, now=lambda: datetime.now(UTC))
        first, last = "211014001", str(211014000 + FORMS)
        add_ranges(context, [IssuedRange(SENDER, "B", first, last, FORMS, None)], "sheet")
        names = [certificate_number("B", n) for n in range(1, CERTIFICATES + 1)]
        store_certificates(
            context,
            [CertificateRecord(n, "B", EXPORTER, SENDER, None, None, "approved") for n in names],
        )
        ledger = self.customs.ledger
        ledger.issue((str(211014001 + i), "B", SENDER, None) for i in range(FORMS))
        ledger.approve((n, "B", EXPORTER, SENDER, None, None, "approved") for n in names)
        self.rows = []
        for n, name in enumerate(names):
            if n % 4 == 3:
                self.rows.append((name, "作废", str(211014000 + FORMS - n), "", "", "打印错误"))
            elif n % 2:
                self.rows.append((name, "核销", str(211014000 + FORMS - n), "", "", ""))
            else:
                self.rows.append((name, "核销", "", 1 + n % 3, "", ""))
        self.write_sheet("orders.csv", "")

    def write_sheet(self, name: str, reference: str) -> None:
        """The orders as a sheet; another reference makes it another content."""
        with (self.home / name).open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file).writerows([HEADER, *((*row, reference) for row in self.rows)])

    # -- processes ------------------------------------------------------------------------------

    def start(self, role: str, crash: str = "", **more: object) -> int:
        pid = self.zygote.start(role, self.environ, crash, self.bug, **more)
        self.pids.append(pid)
        return pid

    def to_the_end(self, role: str, crash: str = "", tries: int = 4) -> None:
        """Run a process until it ends well; one that died at its point goes on unarmed."""
        for _ in range(tries):
            pid = self.start(role, crash)
            status = self.zygote.wait(pid, 30)
            if status == 0:
                return
            if status == -signal.SIGKILL:
                crash = ""
        raise AssertionError(f"{role} ended with {status}")

    def kill_all(self) -> None:
        for pid in self.pids:
            self.zygote.kill(pid)

    @property
    def sqlite(self) -> bool:
        return self.database.engine.dialect.name == "sqlite"

    def ledger(self, sql: str) -> list[tuple]:
        return [tuple(row) for row in self.customs.ledger.read(sql)]

    def one(self, sql: str) -> object:
        with self.database.read() as session:
            return session.execute(text(sql)).scalar()

    def told(self) -> Counter[str]:
        """What clerks were told: `done` and the sheet, or the code of a refusal."""
        try:
            return Counter((self.home / "told").read_text().splitlines())
        except FileNotFoundError:
            return Counter()

    def log(self) -> str:
        """What the processes wrote."""
        return (self.home / "processes.log").read_text(errors="replace")

    def died(self) -> int:
        """Processes that ended themselves at a crash point."""
        return sum(
            self.zygote.status(pid) == -signal.SIGKILL
            for pid in self.pids
            if pid not in self.zygote.killed
        )

    def until(self, happened: Callable[[], object]) -> None:
        """Wait for it. Raises `AssertionError` when it does not come."""
        end = time.monotonic() + (BUG_SECONDS if self.bug else HEAL_SECONDS)
        while not happened():
            if time.monotonic() > end:
                raise AssertionError("what the trial waits for did not come")
            time.sleep(0.02)

    def under_way(self) -> None:
        """Wait until a random part of the messages is decided, the last ones not: now is the time to strike."""
        decided = self.random.randint(0, CERTIFICATES - 4)
        self.until(
            lambda: self.one("SELECT COUNT(*) FROM submission WHERE state = 'decided'") >= decided
        )
        if self.settled():
            raise TooLate("all was done before the fault struck")

    def until_death(self, armed: int) -> None:
        """Let an armed process work until it dies at its point, or nothing is left to do."""
        end = time.monotonic() + HEAL_SECONDS
        idle_since = None
        while self.zygote.wait(armed, 0.05) is None:
            now = time.monotonic()
            idle_since = (idle_since or now) if self.settled() else None
            if now > end or (idle_since and now - idle_since > IDLE_SECONDS):
                raise AssertionError("an armed process did not die")

    def settled(self) -> bool:
        """Every batch is at its end, and nothing waits in the inbox."""
        return not self.one(
            "SELECT COUNT(*) FROM batch WHERE state IN ('confirmed', 'working')"
            " OR (state IN ('finished', 'cancelled') AND reported_at IS NULL)"
        ) and not self.one("SELECT COUNT(*) FROM inbox WHERE state = 'received'")

    def heal(self, seconds: float = HEAL_SECONDS, **more: object) -> bool:
        """Keep a worker alive until everything has come to rest."""
        end = time.monotonic() + (min(seconds, BUG_SECONDS) if self.bug else seconds)
        worker = None
        while time.monotonic() < end:
            if worker is None or self.zygote.status(worker) is not None:
                worker = self.start("worker", **more)
            if self.settled():
                time.sleep(0.3)  # receipts that come twice, or late, come now
                if self.settled():
                    return True
            time.sleep(0.1)
        return False

    # -- the referee ----------------------------------------------------------------------------

    def verdict(self, *, rested: bool) -> Verdict:
        verdict = Verdict()
        if not rested:
            verdict.wrong.append(f"did not come to rest: {self._states()}; {self._unfinished()}")
        with self.database.read() as session:
            for promise, rows in broken_invariants(session).items():
                verdict.wrong.append(f"invariant {promise}: {rows[:3]}")
            verdict.wrong += broken_against_ledger(session, self.customs.ledger.read)
        verdict.wrong += self._orders(rested=rested)
        verdict.wrong += self._asked_once()
        verdict.wrong += self._receipts_once()
        verdict.parked = int(
            self.one("SELECT COUNT(*) FROM submission WHERE state = 'parked'") or 0
        )
        verdict.died = self.died()
        verdict.wrong += [line for line in self.log().splitlines() if line.startswith(CRASHED)][:3]
        findings = list(audit.verify(self.context(), audit.Verified(), every_anchor=False))
        verdict.wrong += [f"history: {f}" for f in findings[:3]]
        return verdict

    def context(self) -> Context:
        """A context of the referee's own, on the trial's database."""
        if self._context is None:
            self._context = build_context(load_settings(self.environ))
            gc.unfreeze()  # it freezes what a process began with; here that is every trial before
            share_compiled(self._context.database)
            self._context.ring = lambda *_: None
        return self._context

    def _states(self) -> dict[str, int]:
        with self.database.read() as session:
            return dict(
                session.execute(text("SELECT state, COUNT(*) FROM submission GROUP BY state")).all()
            )

    def _unfinished(self) -> str:
        """What each message that is not at its end waits for, and how its attempts ended."""
        ended = (SubmissionState.DECIDED, SubmissionState.REFUSED, SubmissionState.CANCELLED)
        now = datetime.now(UTC)
        with self.database.read() as session:
            closed = session.scalar(select(CustomsLink.closed_until))
            line = [f"line closed until {closed}"]
            for message in session.scalars(
                select(Submission).where(Submission.state.not_in(ended))
            ):
                due = message.next_attempt_at
                wait = f"due in {(due - now).total_seconds():.0f} s" if due else "not due"
                tried = session.scalars(
                    select(Attempt).where(Attempt.submission_id == message.id).order_by(Attempt.id)
                )
                ends = ", ".join(f"{a.kind} {a.outcome} {a.detail or ''}".strip() for a in tried)
                line.append(f"{message.state} {wait} ({ends})")
        return "; ".join(line)

    def _orders(self, *, rested: bool) -> list[str]:
        """What clerks were told against what customs did: nothing lost, nothing twice, nothing unasked.

        A named form is ordered once, however many sheets name it; pages are ordered by each sheet.
        """
        done: Counter[tuple[str, str]] = Counter()
        for effect in self.customs.ledger.read(
            "SELECT d.certificate, d.operation FROM decision d"
            " JOIN message m ON m.id = d.message_id WHERE d.effect = 1"
        ):
            action = "verify" if effect["operation"] == "V" else "void"
            done[effect["certificate"], action] += 1
        told_done, told_refused = self._items("decided"), self._items("refused")
        wrong = []
        if lost := told_done - done:
            wrong.append(f"lost: said to be done, not done at customs: {dict(lost)}")
        if not rested:
            return wrong
        if unexpected := done - told_done:
            wrong.append(f"unexpected: done at customs, not said to be: {dict(unexpected)}")
        sheets = {what for what in self.told() if what.startswith("done ")}
        if not sheets:
            return [*wrong, f"no clerk was told that it is done: {dict(self.told())}"]
        for certificate, action, _, pages, *_ in self.rows:
            key = certificate, "void" if action == "作废" else "verify"
            ordered = int(pages) * len(sheets) if pages else 1
            if done[key] + told_refused[key] != ordered:
                wrong.append(
                    f"{key}: {ordered} ordered, {done[key]} done, {told_refused[key]} refused"
                )
        if told_refused and not self.customs.script.played():
            wrong.append(f"refused without a reason: {dict(told_refused)}")
        return wrong

    def _items(self, state: str) -> Counter[tuple[str, str]]:
        with self.database.read() as session:
            found = session.execute(
                text("SELECT certificate, action FROM item WHERE state = :state"), {"state": state}
            )
            return Counter((certificate, action) for certificate, action in found)

    def _asked_once(self) -> list[str]:
        """No form was asked of customs by two messages, and no message came from nowhere.

        Customs refuses the second one, so its effects alone would not show it.
        """
        twice = self.customs.ledger.read(
            "SELECT serial FROM decision GROUP BY serial, form_type"
            " HAVING COUNT(DISTINCT message_id) > 1"
        )
        with self.database.read() as session:
            ours = set(session.execute(text("SELECT number FROM submission")).scalars())
        wrong = [f"asked of customs twice: {[r['serial'] for r in twice[:3]]}"] if twice else []
        if strange := set(self.customs.posts) - ours:
            wrong.append(f"messages that the database does not know: {sorted(strange)[:3]}")
        return wrong

    def _receipts_once(self) -> list[str]:
        twice = self.one(
            "SELECT COUNT(*) FROM (SELECT receipt_id FROM inbox WHERE state = 'applied'"
            " GROUP BY receipt_id HAVING COUNT(*) > 1) t"
        )
        retried = self.one(
            "SELECT COUNT(*) FROM submission s WHERE s.send_count <>"
            " (SELECT COUNT(*) FROM attempt a WHERE a.submission_id = s.id AND a.kind = 'send')"
        )
        wrong = [f"{twice} receipts were applied twice"] if twice else []
        if retried:
            wrong.append(f"{retried} messages were sent otherwise than their attempts say")
        if self.customs.again and not self.allow_repeats:
            wrong.append(f"sent again although customs had taken it: {self.customs.again[:3]}")
        posts = Counter(self.customs.posts)
        with self.database.read() as session:
            for number, count in session.execute(text("SELECT number, send_count FROM submission")):
                if posts[number] > count:
                    wrong.append(f"{number} was posted {posts[number]} times, {count} recorded")
        return wrong

    def close(self) -> None:
        self.kill_all()
        self._over.set()
        self.server.shutdown()
        for thread in self._threads:
            thread.join()
        self.server.server_close()
        self.customs.ledger.close()
        self.database.close()
        if self._context is not None:
            self._context.close()
        shutil.rmtree(self.home, ignore_errors=True)
        gc.collect()  # threads' connections hang in circles; their files must not outlive the trial
