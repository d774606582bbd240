"""How long an order waits: alone, and behind a large batch on a slow card. Real processes, default intervals."""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from bench.compare import CARD_PER_MINUTE
from bench.rig import ORDERED, Bench
from tests.support.system import System

ALONE = 100
"""Rows whose certificates are there; the order takes one of the warm-up."""

DEFAULTS = {"SWEEP_SECONDS": "5", "POLL_SECONDS": "10", "SIMULATOR_DELAY_SECONDS": "1"}


def urgent(bench: Bench, rows: int, orders: int, *, quick: bool = False) -> None:
    """Both, with one line each; `quick`: only behind the batch."""
    for callbacks, goal in () if quick else ((False, 2), (True, 1)):
        with bench.running(ALONE, callbacks=callbacks, **DEFAULTS) as system:
            waits = sorted(_known(system, number) for number in _certificates(orders))
        way = "callbacks" if callbacks else "polls alone"
        print(
            f"\nAn order alone, {way}: known {_spread(waits)} after customs has decided (goal {goal})",
            flush=True,
        )
    settings = {**DEFAULTS, "BENCH_PER_MINUTE": str(CARD_PER_MINUTE)}
    with (
        bench.running(rows, submitter="bench.paced_submitter", **settings) as system,
        _batch(bench, system, rows),
    ):
        waits = sorted(_signed(system, number) for number in _certificates(orders))
    print(f"\nAn order behind {rows:,} rows on a card of {CARD_PER_MINUTE} a minute: signed {_spread(waits)}"
          " after it was confirmed (goal 2, but for the signature under way)")  # fmt: skip


def _spread(waits: list[float]) -> str:
    p95 = waits[min(len(waits) - 1, round(0.95 * len(waits)))]
    return f"{statistics.median(waits):.1f} s (p95 {p95:.1f})"


def _certificates(count: int) -> list[str]:
    """Certificates of the warm-up: they may have more forms."""
    return [f"B19102690233{9000 + n % 8}" for n in range(count)]


def _order(system: System, certificate: str) -> int:
    shown = system.json(
        "verify", certificate, "--pages", "1", "--yes", "--again", "--reason", "bench"
    )
    return int(shown["id"])


def _when(home: Path, query: str, batch: int) -> float | None:
    with closing(sqlite3.connect(home / "blankforms.db")) as db:
        (at,) = db.execute(query, [batch]).fetchone() or (None,)
    return None if at is None else datetime.fromisoformat(f"{at}+00:00").timestamp()


def _await(home: Path, query: str, batch: int) -> float:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if (at := _when(home, query, batch)) is not None:
            return at
        time.sleep(0.05)
    raise SystemExit(f"batch {batch} stands still")


def _known(system: System, certificate: str) -> float:
    batch = _order(system, certificate)
    known = _await(system.home, "SELECT MAX(decided_at) FROM item WHERE batch_id = ?", batch)
    with closing(sqlite3.connect(system.home / "blankforms.db")) as db:
        (number,) = db.execute(
            "SELECT number FROM submission WHERE batch_id = ?", [batch]
        ).fetchone()
    with closing(sqlite3.connect(system.home / "simulator" / "ledger.db")) as db:
        (decided,) = db.execute(
            "SELECT r.offered_at FROM receipt r JOIN message m ON m.id = r.message_id WHERE m.number = ?",
            [number],
        ).fetchone()
    time.sleep(1.3)  # orders do not come in step with the polls
    return known - float(decided)


def _signed(system: System, certificate: str) -> float:
    batch = _order(system, certificate)
    signed = _await(system.home, "SELECT MAX(signed_at) FROM submission WHERE batch_id = ?", batch)
    confirmed = _when(system.home, "SELECT confirmed_at FROM batch WHERE id = ?", batch)
    time.sleep(0.7)
    return signed - (confirmed or 0.0)


@contextmanager
def _batch(bench: Bench, system: System, rows: int) -> Iterator[None]:
    """A large batch is under way: prepared, and the card works on it."""
    command = [sys.executable, "-m", "cli.main", "submit", bench.sheet(rows), *ORDERED]
    subprocess.run(
        command,
        env=system.environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _await(
        system.home,
        "SELECT MAX(signed_at) FROM submission WHERE batch_id = ?",
        _newest(system.home),
    )
    yield


def _newest(home: Path) -> int:
    with closing(sqlite3.connect(home / "blankforms.db")) as db:
        return int(db.execute("SELECT MAX(id) FROM batch").fetchone()[0])
