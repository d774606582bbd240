"""A context to measure in, its stock, and what checking a sheet costs beside reading it alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.data import UPLOAD_LIMIT, numbers_of, record, sheet, stock_of
from config.settings import load_settings
from models.reads.people import has_login, person_of
from models.rules.people import Role
from models.rules.states import PagesMode
from models.tables.bulk import chunks
from sheets.headers import ORDERS
from sheets.reader import read_sheet
from tasks.context import Context
from tasks.home import prepare_home
from tasks.orders import intake, planning
from tasks.people import persons, sign_ins
from tasks.stock.imports import add_ranges, store_certificates
from workers.bootstrap import build_context

CLERK = "clerk"


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


def signed_in(context: Context) -> str:
    """The token of one more sign-in of the clerk, who is added where there is none."""
    with context.database.read() as session:
        known = has_login(session, CLERK)
    if not known:
        persons.add_person(context, CLERK, "Clerk", (Role.MAKER,))
    with context.database.read() as session:
        clerk = person_of(session, CLERK).id
    return sign_ins.begin(context, clerk, sign_ins.Browser("127.0.0.1"))


def bring_in(context: Context, rows: int, more: Sequence[str] = ()) -> None:
    add_ranges(context, stock_of(rows), "sheet")
    for chunk in chunks([*numbers_of(rows), *more]):
        store_certificates(context, [record(c) for c in chunk])


def checking(folder: Path, rows: int, runs: int) -> None:
    path = sheet(folder, rows)
    found = [_checked(folder / f"check-{n}", path, rows) for n in range(runs)]
    read, taken, planned = (
        statistics.median(parts[name] for parts in found) for name in ("read", "intake", "plan")
    )
    ratios = sorted((parts["intake"] + parts["plan"]) / parts["read"] for parts in found)
    print(f"\nCheck of {rows:,} rows (SQLite): read only {read:.1f} s, intake {taken:.1f} s, plan"
          f" {planned:.1f} s: {statistics.median(ratios):.1f} times reading"
          f" ({ratios[0]:.1f}-{ratios[-1]:.1f}; goal: at most 7)")  # fmt: skip


def _checked(home: Path, path: Path, rows: int) -> dict[str, float]:
    content = path.read_bytes()
    parts: dict[str, float] = {}
    with context_in(home) as context:
        bring_in(context, rows)
        with timed(parts, "read"):
            count = sum(1 for _ in read_sheet(content, path.name, ORDERS, UPLOAD_LIMIT).rows)
        with timed(parts, "intake"):
            batch = intake.receive_sheet(context, content, path.name, PagesMode.ADDITIONAL)
        with timed(parts, "plan"):
            planning.check(context, batch)
    if count != rows:
        raise SystemExit(f"{count} rows read of {rows}")
    return parts
