"""Sixteen claimants on one stock, against a bare loop that locks the stock and updates the forms.

A claim is three forms for one certificate. Ours checks again, takes, and writes items, history and
chain; it claims a sheet at a time, so one order (the worst case) and a sheet of 100 are measured.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from bench.data import certificate
from bench.parts import bring_in, context_in
from models.rules.states import PagesMode
from tasks.orders import confirming, intake, planning

CLAIMANTS = 16
PAGES = 3

_BARE = """
DROP TABLE IF EXISTS bare_form, bare_stock;
CREATE TABLE bare_stock (id int PRIMARY KEY);
CREATE TABLE bare_form (id int PRIMARY KEY, serial text UNIQUE, state text NOT NULL);
INSERT INTO bare_stock VALUES (1);
INSERT INTO bare_form SELECT g, (211000000 + g)::text, 'issued' FROM generate_series(1, 40000) g;
CREATE INDEX ON bare_form (serial) WHERE state = 'issued';
ANALYZE bare_form;
"""
_CLAIM = """
WITH lowest AS (SELECT id FROM bare_form WHERE state = 'issued' ORDER BY serial LIMIT %s)
UPDATE bare_form SET state = 'reserved' WHERE id IN (SELECT id FROM lowest)
"""


def _bare(url: str, claims: int, start: Any) -> None:
    with psycopg.connect(url) as connection:
        start.wait()
        for _ in range(claims):
            with connection.transaction():
                connection.execute("SELECT 1 FROM bare_stock WHERE id = 1 FOR UPDATE")
                connection.execute(_CLAIM, [PAGES])


def _ours(folder: Path, url: str, batches: list[list[str]], start: Any) -> None:
    settings = {"DATABASE_URL": url} if url else {}
    with context_in(folder, **settings) as context:
        ids = []
        for certificates in batches:
            cells = [
                {"certificate": c, "action": "核销", "page_count": str(PAGES)} for c in certificates
            ]
            batch = intake.receive_orders(context, "bench", cells, PagesMode.ADDITIONAL)
            planning.check(context, batch)
            ids.append(batch)
        start.wait()
        for batch in ids:
            confirming.confirm(context, batch, confirming.Confirmation())


def _together(work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> float:
    """Seconds that the processes took together, from the moment when all of them were ready."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(len(arguments) + 1)
    workers = [spawn.Process(target=work, args=(*a, start)) for a in arguments]
    for worker in workers:
        worker.start()
    start.wait(120)
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - began
    if any(worker.exitcode for worker in workers):
        raise SystemExit("a claimant failed")
    return seconds


def bare_rate(url: str, claims: int, claimants: int = CLAIMANTS) -> float:
    """Claims a second of the bare loop."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_BARE)  # type: ignore[arg-type]
    return claimants * claims / _together(_bare, [(url, claims)] * claimants)


def our_rate(
    folder: Path, url: str, batches: int, orders: int, claimants: int = CLAIMANTS
) -> float:
    """Claims a second of ours; dies unless each form went to one claim, lowest first."""
    numbers = iter(certificate(n) for n in range(claimants * batches * orders))
    work = [
        (folder, url, [[next(numbers) for _ in range(orders)] for _ in range(batches)])
        for _ in range(claimants)
    ]
    seconds = _together(_ours, work)
    claims = claimants * batches * orders
    with (
        context_in(folder, **({"DATABASE_URL": url} if url else {})) as context,
        context.database.read() as session,
    ):
        from sqlalchemy import text

        serials = list(
            session.execute(
                text("SELECT serial FROM item WHERE state = 'under_way' ORDER BY serial")
            ).scalars()
        )
    if serials != [f"{211000001 + n}" for n in range(claims * PAGES)]:
        raise SystemExit("claims: doubled, or not the lowest")
    return claims / seconds


def stock_for(folder: Path, url: str) -> None:
    """A stock and certificates for the claims."""
    with context_in(folder, **({"DATABASE_URL": url} if url else {})) as context:
        bring_in(context, 10_000)
