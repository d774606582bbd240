"""`make bench`: figures of this machine, printed. Ratios within one run are what to compare.

1. Checking 100,000 rows against only reading the sheet in its sandbox (goal: at most 6 times).
2. Sixteen processes claiming from one stock: no duplicate, strictly lowest first.
3. 10,000 rows end to end with real processes, and its parts.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xlsxwriter

from cli.demo import free_port
from cli.supervisor import process_environment
from config.settings import load_settings
from models.bulk import chunks
from models.states import PagesMode
from sheets.headers import ORDERS
from sheets.reader import read_sheet
from sheets.registers import CertificateRecord, IssuedRange
from tasks import allocation, intake, planning
from tasks.context import Context
from tasks.registers import add_ranges, store_certificates
from workers.bootstrap import build_context, prepare_home

AGENT = "91610131MA6TXQ0D1U"
EXPORTER = "91610000102690233L"
HEADER = ("证书号", "操作", "空白证单流水号", "核销页数", "库存来源", "作废原因", "客户参考号")
UPLOAD_LIMIT = 1 << 30


def certificate(number: int) -> str:
    """Certificate numbers beyond 9,999 go on in the next year."""
    return f"B{20 + number // 10000:02d}102690233{number % 10000:04d}"


def orders(rows: int) -> Iterator[tuple[Any, ...]]:
    """75 of 100 rows one form, the others 2-4; about 77 certificates for 100 rows; 5 % voids."""
    serial = 211000000
    for n in range(rows):
        pages = 1 if n % 4 else 2 + n % 3
        number = certificate(n * 77 // 100)
        if n % 20 == 0:
            yield number, "作废", f"{serial + 1}", None, None, "打印错误", f"R{n}"
            serial += 1
        elif n % 3 == 0:
            yield number, "核销", None, pages, None, None, f"R{n}"
        else:
            last = serial + pages
            span = f"{serial + 1}" if pages == 1 else f"{serial + 1}-{last}"
            yield number, "核销", span, None, None, None, f"R{n}"
            serial += pages


def sheet(folder: Path, rows: int) -> Path:
    path = folder / f"orders-{rows}.xlsx"
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True})
    page = book.add_worksheet()
    page.write_row(0, 0, HEADER)
    for index, row in enumerate(orders(rows), start=1):
        page.write_row(index, 0, row)
    book.close()
    return path


def stock_of(rows: int) -> list[IssuedRange]:
    """Enough for named serials and, in a block behind them, for the page counts."""
    named, counted = rows * 2, rows
    return [
        IssuedRange(AGENT, "B", "211000001", f"{211000000 + named}", named, None),
        IssuedRange(AGENT, "B", "219000001", f"{219000000 + counted}", counted, None),
    ]


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


def bring_in(context: Context, rows: int) -> None:
    add_ranges(context, stock_of(rows), "sheet")
    numbers = {certificate(n * 77 // 100) for n in range(rows)}
    for chunk in chunks(sorted(numbers)):
        records = [
            CertificateRecord(c, "B", EXPORTER, AGENT, None, None, "approved") for c in chunk
        ]
        store_certificates(context, records)


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


def end_to_end(folder: Path, rows: int) -> None:
    home = folder / "e2e"
    home.mkdir()
    environment = {
        **process_environment(), "BLANKFORMS_HOME": str(home), "PORT": str(free_port()),
        "SIMULATOR_PORT": str(free_port()), "SIMULATOR_DELAY_SECONDS": "0",
        "SWEEP_SECONDS": "1", "POLL_SECONDS": "1", "LOG_LEVEL": "WARNING",
        "SIMULATOR_FAULTS": str(quiet_callbacks(folder)),
    }  # fmt: skip

    def run(*arguments: str) -> str:
        done = subprocess.run(  # noqa: PLW1510
            [sys.executable, "-m", "cli.main", *arguments], env=environment, capture_output=True,
            text=True,
        )  # fmt: skip
        if done.returncode not in {0, 3}:
            raise SystemExit(done.stderr)
        return done.stdout

    write_csv(
        home / "stock.csv",
        ["持有企业", "空白证单类型", "起始流水号", "截止流水号"],
        [(r.owner, r.form_type, r.first_serial, r.last_serial) for r in stock_of(rows)],
    )
    numbers = sorted({certificate(n * 77 // 100) for n in range(rows)})
    write_csv(home / "certificates.csv", ["证书号", "出口商代码", "录入企业代码"],
              [(n, EXPORTER, AGENT) for n in numbers])  # fmt: skip
    with (home / "up.log").open("wb") as log:
        system = subprocess.Popen([sys.executable, "-m", "cli.main", "up"], env=environment,
                                  stdout=log, stderr=log, start_new_session=True)  # fmt: skip
        try:
            run("stock", "import", str(home / "stock.csv"))
            run("certificates", "import", str(home / "certificates.csv"))
            path = sheet(folder, rows)
            began = time.perf_counter()
            shown = json.loads(
                run("submit", str(path), "--yes", "--only-valid", "--wait", "--json")
            )
            seconds = time.perf_counter() - began
        finally:
            os.killpg(system.pid, signal.SIGTERM)
            system.wait()
    parts = spans(home)
    done = shown["counts"]["outcomes"]["done"]
    print(f"3. {rows:,} rows end to end ({done:,} done, {parts.pop('messages'):,.0f} messages): "
          f"{seconds:.1f} s, {rows / seconds:,.0f} rows/s")  # fmt: skip
    print("   parts (they overlap): " + ", ".join(f"{n} {s:.1f} s" for n, s in parts.items()))


def quiet_callbacks(folder: Path) -> Path:
    """Receipts by polling alone: one request for 500 instead of one for each."""
    path = folder / "faults.json"
    path.write_text('[{"fault": "callback_refused"}]')
    return path


def write_csv(path: Path, header: list[str], rows: list[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([header, *rows])


def spans(home: Path) -> dict[str, float]:
    """From the times in the tables: when each part began and ended."""

    def seconds(column: str) -> str:
        return f"(julianday({column}) * 86400.0)"

    with sqlite3.connect(home / "blankforms.db") as db:

        def span(first: str, last: str, table: str) -> float:
            query = f"SELECT MAX({seconds(last)}) - MIN({seconds(first)}) FROM {table}"
            return float(db.execute(query).fetchone()[0] or 0)

        return {
            "messages": float(db.execute("SELECT COUNT(*) FROM submission").fetchone()[0]),
            "intake": span("created_at", "checked_at", "batch"),
            "plan and reserve": span("checked_at", "confirmed_at", "batch"),
            "prepare": span("created_at", "created_at", "submission"),
            "sign": span("created_at", "signed_at", "submission"),
            "send": span("started_at", "finished_at", "attempt"),
            "receipts": span("received_at", "applied_at", "inbox"),
            "report": span("finished_at", "reported_at", "batch"),
        }
