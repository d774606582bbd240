"""`make bench`: figures of this machine, printed. Ratios within one run are what to compare.

1. Checking 100,000 rows against only reading the sheet in its sandbox (goal: at most 6 times).
2. Sixteen processes claiming from one stock: no duplicate, strictly lowest first.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.data import UPLOAD_LIMIT, certificate, numbers_of, record, sheet, stock_of
from config.settings import load_settings
from models.bulk import chunks
from models.states import PagesMode
from sheets.headers import ORDERS
from sheets.reader import read_sheet
from tasks import allocation, intake, planning
from tasks.context import Context
from tasks.registers import add_ranges, store_certificates
from workers.bootstrap import build_context, prepare_home


@contextmanager
def timed(parts: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    parts[name] = parts.get(name, 0.0) + time.perf_counter() - began


@contextmanager
def context_in(folder: Path, **settings_too: str) -> Iterator[Context]:
    settings = load_settings({"BLANKFORMS_HOME": str(folder), **settings_too})
    prepare_home(settings)
    context = build_context(settings)
    context.ring = lambda *_: None
    try:
        yield context
    finally:
        context.close()


def bring_in(context: Context, rows: int, more: Sequence[str] = ()) -> None:
    add_ranges(context, stock_of(rows), "sheet")
    for chunk in chunks([*numbers_of(rows), *more]):
        store_certificates(context, [record(c) for c in chunk])


def checking(folder: Path, rows: int) -> None:
    path = sheet(folder, rows)
    content = path.read_bytes()
    parts: dict[str, float] = {}
    with context_in(folder / "check") as context:
        bring_in(context, rows)
        with timed(parts, "read only"):
            count = sum(1 for _ in read_sheet(content, path.name, ORDERS, UPLOAD_LIMIT).rows)
        with timed(parts, "intake"):
            batch = intake.receive_sheet(context, content, path.name, PagesMode.ADDITIONAL)
        with timed(parts, "plan"):
            planning.check(context, batch)
    ratio = (parts["intake"] + parts["plan"]) / parts["read only"]
    print(f"1. check of {count:,} rows (SQLite): read only {parts['read only']:.1f} s, intake "
          f"{parts['intake']:.1f} s, plan {parts['plan']:.1f} s: {ratio:.1f} times reading "
          "(goal: at most 6)")  # fmt: skip


def _claim(folder: Path, claims: int, results: Any) -> None:
    with context_in(folder) as context:
        for n in range(claims):
            cells = {"certificate": certificate(n), "action": "核销", "page_count": "3"}
            batch = intake.receive_orders(context, "bench", [cells], PagesMode.ADDITIONAL)
            planning.check(context, batch)
            allocation.confirm(context, batch, allocation.Confirmation())
            results.put(batch)


def claiming(folder: Path, processes: int, claims: int) -> None:
    home = folder / "claim"
    with context_in(home) as context:
        bring_in(context, 10_000)
    results: Any = multiprocessing.get_context("spawn").Queue()
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_claim, args=(home, claims, results)) for _ in range(processes)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    with sqlite3.connect(home / "blankforms.db") as db:
        taken = [s for (s,) in db.execute("SELECT serial FROM item WHERE state = 'held'")]
        order = db.execute(
            "SELECT MIN(i.serial) FROM item i WHERE i.state = 'held' GROUP BY i.batch_id"
            " ORDER BY (SELECT MIN(e.id) FROM form_event e WHERE e.batch_id = i.batch_id)"
        ).fetchall()
    lowest = [f"{211000001 + n}" for n in range(len(taken))]
    print(f"2. {processes} processes x {claims} claims of 3 forms (SQLite): {len(order)} claims in "
          f"{seconds:.1f} s with start-up, duplicates {len(taken) - len(set(taken))}, strictly "
          f"lowest first: {sorted(taken) == lowest and order == sorted(order)}")  # fmt: skip
