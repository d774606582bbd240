"""What everything costs with years behind it: commands, the page of metrics, the sweep, one order; against an
empty database.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from bench import big
from bench.data import AGENT, certificate, record
from bench.parts import context_in
from bench.rig import Bench
from models.reads.forms import FormFilter, list_forms
from models.rules.states import FormState, PagesMode
from models.writes.deployment import confirm_identity
from sheets.imports import IssuedRange
from tasks import upkeep
from tasks.app import configure
from tasks.context import Context
from tasks.messages import preparing, signing
from tasks.orders import confirming, intake, planning
from tasks.stock.imports import add_ranges, store_certificates
from tests.conftest import ROOT
from tests.support.clerks_pages import at_the_pages
from tests.support.system import broker
from webhook.app import create_app

COMMANDS = (
    ("stock", "show"),
    ("stock", "show", "--json"),
    ("batch", "list"),
    ("forms",),
    ("forms", "--state", "已作废", "--owner", AGENT),
    ("discrepancies",),
    ("doctor",),
)
PAGES = (
    *(
        "/certificates",
        "/certificates?lacking=1",
        f"/certificates/{certificate(0)}",
        "/forms",
        "/forms?view=all&state=voided",
    ),
    *("/forms/B/211000001", "/import", "/jobs", "/jobs?state=finished", "/inbox", "/settings"),
    "/find?q=211000001",
)
ORDERS = 12
BIG = 100_000
"""Forms from which on commands are measured; below, that the bench runs is all that is wanted."""


def flat(bench: Bench, forms: int, batches: int) -> None:
    """The table, both databases."""
    with broker(bench.folder / "flat", port=0, unix_socket_path=bench.folder / "flat.sock"):
        _both(bench, forms, batches)


def _both(bench: Bench, forms: int, batches: int) -> None:
    print(
        f"\n## Flat: {forms:,} forms, {forms // 2:,} messages, {batches:,} finished batches behind it\n"
    )
    for kind in ("SQLite", "PostgreSQL"):

        def url(name: str, kind: str = kind) -> dict[str, str]:
            rings = {"BROKER_URL": f"redis+socket://{bench.folder}/flat.sock"}
            if kind == "SQLite":
                return rings
            return {**rings, "DATABASE_URL": bench.new_database(f"{name}_{forms}")}

        few, many = url("few"), url("many")
        with (
            _context(bench.folder / f"few-{kind}-{forms}", few) as empty,
            _context(bench.folder / f"many-{kind}-{forms}", many, forms, batches) as full,
        ):
            print(
                f"\n{kind}, milliseconds (median)\n\n| what | empty | full | ratio |\n|---|---|---|---|"
            )
            configure(empty.settings)
            for name, work in _parts(empty).items():
                _line(name, _median(work), _median(_parts(full)[name]))
            _line("one order, to its signature", _orders(empty), _orders(full))
            for command in COMMANDS if forms >= BIG else ():
                _line(
                    f"`{' '.join(command)}`", _run(empty, few, command), _run(full, many, command)
                )


def _line(name: str, empty: float, full: float) -> None:
    print(f"| {name} | {empty:.1f} | {full:.1f} | {full / empty:.2f} |", flush=True)


@contextmanager
def _context(
    folder: Path, settings: dict[str, str], forms: int = 0, batches: int = 0
) -> Iterator[Context]:
    with context_in(folder, **settings) as context:
        context.journal.begun()
        if forms:
            big.fill(context.database.engine, forms, batches)
            with context.database.write() as session:
                confirm_identity(session, context.identity, context.now())
        issued = IssuedRange(AGENT, "B", "211000001", "211010000", 10_000, None)
        add_ranges(context, [issued], "sheet")
        store_certificates(context, [record(certificate(n)) for n in range(ORDERS)])
        upkeep.count_stock(context)
        yield context


def _parts(context: Context) -> dict[str, Callable[[], object]]:
    client = create_app(
        context.settings, context.database, context.ring, context.wire
    ).test_client()

    def page(wanted: FormFilter) -> None:
        with context.database.read() as session:
            list_forms(session, wanted, 50)

    clerk = at_the_pages(SimpleNamespace(context=context), "clerk")

    def look(path: str, **said: str) -> Callable[[], object]:
        return lambda: clerk.client.get(path, **said)

    live = {"headers": {"HX-Request": "true"}}
    pages = {f"page {path}": look(path) for path in PAGES}
    pages["live part of the jobs"] = lambda: clerk.client.get("/jobs?live=1", **live)
    return pages | {
        "`/metrics`": lambda: client.get("/metrics"),
        "sweep": lambda: upkeep.sweep(context),
        "count of the stock": lambda: upkeep.count_stock(context),
        "forms, the default set": lambda: page(FormFilter()),
        "forms, verified": lambda: page(FormFilter(states=(FormState.VERIFIED,))),
        "forms, voided, of an owner": lambda: page(
            FormFilter(states=(FormState.VOIDED,), owner=AGENT)
        ),
    }


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(9):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times[2:]) * 1000


def _orders(context: Context) -> float:
    numbers = iter(range(ORDERS))

    def order() -> None:
        cells = [{"certificate": certificate(next(numbers)), "action": "核销", "page_count": "1"}]
        batch = intake.receive_orders(context, "one", cells, PagesMode.ADDITIONAL)
        planning.check(context, batch)
        confirming.confirm(context, batch, confirming.Confirmation())
        preparing.prepare(context, batch)
        signing.sign(context)

    return _median(order)


def _run(context: Context, settings: dict[str, str], command: tuple[str, ...]) -> float:
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "LANG", "TMPDIR"}}
    environment = {
        **kept, **settings, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore",
        "BLANKFORMS_HOME": str(context.settings.blankforms_home),
    }  # fmt: skip
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "cli.main", *command], env=environment, check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000
