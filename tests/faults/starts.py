"""Processes that start while the database is away, and processes killed under `blankforms up`.

Whole systems as users run them. A process without its database waits and says so; whatever dies under `up`
comes back by itself.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil

from tests.faults.rig import Verdict
from tests.faults.systems import (
    CERTIFICATES,
    LINES,
    REST_SECONDS,
    broker_for,
    ends,
    judge,
    taken_by,
)
from tests.support.proxy import Proxy, socket_of, through
from tests.support.sheets import bring_in, write_sheets
from tests.support.system import System
from tests.support.up import one, said, up

KEY = "k" * 40


def started_without(name: str) -> Callable[[Path, str, int], Verdict]:
    """The process is killed in the middle of a batch, the database goes away, the process starts; later it is back."""

    def strike(system: System, line: Proxy) -> None:
        system.kill(name)
        line.away = True
        line.cut()
        system.start(name)
        _waits(system, line)

    return lambda home, url, seed: _through_a_proxy(home, url, seed, strike)


def pool_child_without(home: Path, url: str, seed: int) -> Verdict:
    """The children of the worker's pool are killed while the database is away."""

    def strike(system: System, line: Proxy) -> None:
        line.away = True
        line.cut()
        children = system.working("worker").children()
        for child in children:
            child.kill()
        psutil.wait_procs(children)
        _waits(system, line)

    return _through_a_proxy(home, url, seed, strike)


def _waits(system: System, line: Proxy) -> None:
    def waits() -> int:
        return (system.home / "processes.log").read_text().count("waiting_for_database")

    before = waits()
    system.wait(lambda: waits() > before, "it says that it waits", REST_SECONDS)
    line.away = False


def _through_a_proxy(
    home: Path, url: str, seed: int, strike: Callable[[System, Proxy], None]
) -> Verdict:
    verdict = Verdict()
    home.mkdir(parents=True)
    write_sheets(home, CERTIFICATES)
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    with ExitStack() as stack:
        broker = broker_for(home / "broker")
        stack.callback(broker.stop)
        line = Proxy(socket_of(plain))
        stack.callback(line.close)
        system = System(home, DATABASE_URL=through(plain, line), NOTIFICATION_KEY=KEY,
                        BROKER_URL=f"redis://127.0.0.1:{broker.port}/0")  # fmt: skip
        stack.callback(system.stop)
        system.start_simulator()
        bring_in(system, home)
        system.start(*LINES)
        try:
            _in_the_middle(system, seed, lambda: strike(system, line))
        except AssertionError as error:
            verdict.wrong.append(ends(str(error)))
    judge(verdict, home, url)
    shutil.rmtree(home, ignore_errors=True)
    return verdict


def _in_the_middle(system: System, seed: int, strike: Callable[[], None]) -> None:
    system.run("submit", str(system.home / "orders.csv"), "--yes")
    at = random.Random(seed).randint(1, CERTIFICATES // 2)
    system.wait(lambda: taken_by(system.home) >= at, f"{at} messages taken", REST_SECONDS)
    strike()
    system.wait(lambda: system.json("batch", "show", "1")["state"] == "finished", "finished",
                REST_SECONDS)  # fmt: skip


def killed_under_up(name: str) -> Callable[[Path, str, int], Verdict]:
    """SIGKILL to the process itself, twice; `up` starts it again."""

    def run(home: Path, url: str, seed: int) -> Verdict:
        verdict = Verdict()
        home.mkdir(parents=True)
        write_sheets(home, CERTIFICATES)
        with up(home, DATABASE_URL=url, NOTIFICATION_KEY=KEY, SEND_CONCURRENCY="2") as system:
            try:
                system.wait(lambda: "已就绪" in said(system), "ready", REST_SECONDS)
                bring_in(system, home)
                _in_the_middle(system, seed, lambda: _kill_twice(system, name))
                if said(system).count("已结束(SIGKILL)") < 2:
                    verdict.wrong.append("nothing was killed")
            except AssertionError as error:
                verdict.wrong.append(ends(str(error)))
        judge(verdict, home, url)
        shutil.rmtree(home, ignore_errors=True)
        return verdict

    return run


def _kill_twice(system: System, name: str) -> None:
    for _ in range(2):
        system.wait(lambda: one(system, name), f"{name} runs", REST_SECONDS)
        for process in one(system, name):
            process.kill()
        time.sleep(0.5)


START_FAULTS: dict[str, Callable[[Path, str, int], Verdict]] = {
    **{f"start:{name} without database": started_without(name) for name in LINES},
    "start:pool child without database": pool_child_without,
    **{f"up:{name} killed": killed_under_up(name) for name in (*LINES, "broker")},
}
"""On PostgreSQL: what is away there is a server. SQLite's file is on this machine or nowhere."""
