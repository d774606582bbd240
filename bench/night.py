"""The nightly comparison: N forms of ours against N at the simulator, with planted differences.

Each size runs in a process of its own, so that its peak memory is its own. The comparing part is the run
less the time spent inside calls to customs (the simulator is Python on the same cores).
"""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import quiet
from bench.data import AGENT, certificate
from bench.parts import context_in, timed
from cli.demo import free_port
from cli.up import process_environment
from config.settings import load_settings
from customs.http import HttpGateway
from customs.profile import open_profile
from customs.simulator.ledger import Ledger
from models.reads.nights import differences
from models.rules.serials import serials_between
from sheets.imports import IssuedRange
from tasks.night import reconciliation
from tasks.stock.imports import add_ranges

FIRST = 100_000_000
PLANTED_SHARE = 1000
"""One form of so many is different, at least 40 in all."""


def nights(folder: Path, sizes: Sequence[int]) -> None:
    """Print one line for each size, and how time grows with it."""
    results = []
    for size in sizes:
        command = [sys.executable, "-m", "bench.night", str(folder / f"night-{size}"), str(size)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        results.append(json.loads(text.splitlines()[-1]))
    print("\nThe night, forms against forms at the simulator (SQLite; goal: comparing 300,000 forms/s,"
          " peak under 150 MB, growth at most n^1.1)")  # fmt: skip
    for r in results:
        print(f"   {r['forms']:>9,} forms: {r['seconds']:.1f} s in all, {r['forms'] / r['seconds']:,.0f}"
              f" forms/s; comparing {r['compare']:.2f} s, {r['forms'] / r['compare']:,.0f} forms/s;"
              f" peak {r['peak']:.0f} MB; planted {r['planted']:,}, found {r['found']:,},"
              f" missed {r['missed']}, invented {r['invented']}")  # fmt: skip
    small, large = results[0], results[-1]
    power = math.log(large["compare"] / small["compare"]) / math.log(
        large["forms"] / small["forms"]
    )
    print(f"   comparing grows as n^{power:.2f}")


class _TimedGateway(HttpGateway):
    """Counts the time that customs takes to answer, and notes when the last page was compared."""

    seconds = 0.0
    began = 0.0

    def forms(self, *arguments: Any) -> Any:
        began = time.perf_counter()
        self.began = self.began or began
        try:
            return super().forms(*arguments)
        finally:
            self.seconds += time.perf_counter() - began


def _one(home: Path, size: int) -> dict[str, Any]:
    home.mkdir(parents=True)
    port = free_port()
    environment = {**process_environment(), "BLANKFORMS_HOME": str(home),
                   "SIMULATOR_PORT": str(port)}  # fmt: skip
    planted = _books(home, size)
    with (home / "simulator.log").open("wb") as log:
        simulator = subprocess.Popen([sys.executable, "-m", "cli.main", "simulator"],
                                     env=environment, stdout=log, stderr=log,
                                     start_new_session=True)  # fmt: skip
    try:
        settings = load_settings(environment)
        with context_in(home, SIMULATOR_PORT=str(port), MOVING_MINUTES="0") as context:
            _wait_for(port)
            gateway = _TimedGateway(
                open_profile(settings.wire_profile),
                settings.gateway_url,
                settings.gateway_token,
                4,
                60,
            )
            context.open_gateway = lambda: gateway
            parts: dict[str, float] = {}

            run_id = reconciliation.open_run(context)
            ended = _note_the_end_of_comparing()
            with timed(parts, "run"):
                reconciliation.reconcile(context, run_id, seconds=3600)
            compare = ended[0] - gateway.began - gateway.seconds
            peak = peak_megabytes()
            with context.database.read() as session:
                found = {
                    (d["class"], serial)
                    for d in differences(session, run_id)
                    for serial in serials_between(d["first_serial"], d["last_serial"])
                }
    finally:
        os.killpg(simulator.pid, signal.SIGTERM)
        simulator.wait()
    return {"forms": size, "seconds": parts["run"], "compare": compare,
            "peak": peak, "planted": len(planted), "found": len(found),
            "missed": len(planted - found), "invented": len(found - planted)}  # fmt: skip


def _note_the_end_of_comparing() -> list[float]:
    """When the stage after the comparison begins."""
    ended: list[float] = []
    after = reconciliation.STAGES["open"]

    def noted(*arguments: Any) -> Any:
        ended.append(time.perf_counter())
        return after(*arguments)

    reconciliation.STAGES["open"] = noted
    return ended


def peak_megabytes() -> float:
    """Of this program since its start; `getrusage` would count the parent that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


START_SECONDS = 30


def _wait_for(port: int) -> None:
    import socket

    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _books(home: Path, size: int) -> set[tuple[str, str]]:
    """The same forms in both books, six in ten verified; then what differs. Gives what was planted."""
    pid = os.fork()  # the building's memory is not the run's
    if pid == 0:
        with context_in(home) as context:
            issued = IssuedRange(AGENT, "B", str(FIRST), str(FIRST + size - 1), size, None)
            add_ranges(context, [issued], "sheet")
        with sqlite3.connect(home / "blankforms.db") as db:
            db.execute("UPDATE form SET state = 'verified', certificate = 'B' || (id / 3)"
                       " WHERE id % 10 < 6")  # fmt: skip
            db.execute("UPDATE form_event SET at = datetime(at, '-1 day')")
        Ledger(home / "simulator" / "ledger.db")
        _copy(home)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit("the books could not be made")
    return _plant(home, size)


def _copy(home: Path) -> None:
    with sqlite3.connect(home / "simulator" / "ledger.db") as db:
        db.execute("ATTACH ? AS ours", (str(home / "blankforms.db"),))
        db.execute(
            "INSERT INTO form (serial, form_type, holder, state, certificate) SELECT serial,"
            " form_type, ?, CASE state WHEN 'verified' THEN '2' ELSE '1' END, certificate"
            " FROM ours.form",
            (AGENT,),
        )


def _plant(home: Path, size: int) -> set[tuple[str, str]]:
    """A quarter each: done outside, unknown at customs, contradicted, new at customs."""
    count = max(40, size // PLANTED_SHARE)
    step = size // count
    planted: set[tuple[str, str]] = set()
    with sqlite3.connect(home / "simulator" / "ledger.db") as db:
        for n in range(count):
            serial = str(FIRST + n * step + (n * 7) % min(step, 10))
            kind = n % 4
            state = db.execute("SELECT state FROM form WHERE serial = ?", (serial,)).fetchone()[0]
            if kind == 0:
                db.execute("DELETE FROM form WHERE serial = ?", (serial,))
                planted.add(("unknown_at_customs", serial))
            elif kind == 1:
                new = str(FIRST + size + n * 2)
                db.execute("INSERT INTO form (serial, form_type, holder) VALUES (?, 'B', ?)",
                           (new, AGENT))  # fmt: skip
                planted.add(("new_stock", new))
            elif state == "1":
                db.execute("UPDATE form SET state = '3', certificate = ? WHERE serial = ?",
                           (certificate(n), serial))  # fmt: skip
                planted.add(("outside", serial))
            else:
                db.execute("UPDATE form SET certificate = ? WHERE serial = ?",
                           (certificate(n), serial))  # fmt: skip
                planted.add(("contradiction", serial))
    return planted


if __name__ == "__main__":
    quiet()
    print(json.dumps(_one(Path(sys.argv[1]), int(sys.argv[2]))))
