"""A context to measure in, its stock, and what checking a sheet costs beside reading it alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.data import UPLOAD_LIMIT, numbers_of, record, sheet, stock_of
from config.settings import load_settings
from models.bulk import chunks
from models.states import PagesMode
from sheets.headers import ORDERS
from sheets.reader import read_sheet
from tasks import intake, planning
from tasks.context import Context
from tasks.imports import add_ranges, store_certificates
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
    print(f"\nCheck of {count:,} rows (SQLite): read only {parts['read only']:.1f} s, intake "
          f"{parts['intake']:.1f} s, plan {parts['plan']:.1f} s: {ratio:.1f} times reading "
          "(goal: at most 6)")  # fmt: skip
