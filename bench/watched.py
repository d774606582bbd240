"""Pages that people leave open: what a hundred of them cost the console, and what they do to customs' callbacks. Real
processes, SQLite.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from bench import callbacks, data
from bench.compare import CARD_PER_MINUTE
from bench.parts import context_in, signed_in
from bench.rig import Bench, cpu_of
from bench.urgent import DEFAULTS
from models.rules.states import PagesMode
from tasks.context import Context
from tasks.orders import confirming, intake, planning
from tasks.people import grace
from tests.support.system import System

ROWS: Final = (400, 400, 400, 400, 1000)
"""Of five jobs: the page of one that has more than 500 shows none while it is under way."""

CALLBACKS_EVERY: Final = 0.01
"""Seconds from one callback to the next: twenty cards' worth, and a fifth of what the process takes."""

Pages = Sequence[tuple[int, str]]
"""A job and the token of a sign-in for each page."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One run: shares are of one core, p99 in milliseconds."""

    waiting: float
    signed: float
    beside_callbacks: float
    p99_without: float
    p99_with: float


def watched(bench: Bench, watchers: int, fives: int, count: int, runs: int) -> None:
    """CPU of the console while so many pages are open: of five times so many jobs in the time in which they can be
    taken back, of which nothing changes; then of as many that a card signs by turns, so that each changes every
    second or two and none ends. And the p99 of `count` callbacks, the same load without and
    with the pages by turns, so that a noisy minute strikes both.
    """
    settings = {**DEFAULTS, "BENCH_PER_MINUTE": str(CARD_PER_MINUTE), "CALLBACK_SECRETS": callbacks.SECRET}  # fmt: skip
    rows = 2 * fives * sum(ROWS) * 4 // 3  # of a sheet that names as many certificates
    with bench.running(rows, submitter="bench.paced_submitter", stub=True, **settings) as system:
        system.start("console")
        system.wait(lambda: system.listens(system.console_port), "console")
        with context_in(system.home) as context:
            waiting, signed = _open_pages(context, watchers, ROWS * fives, data.numbers_of(rows))
        first = itertools.count(0, count)

        def called() -> float:
            return callbacks.load(system.port, count, next(first), CALLBACKS_EVERY).p99

        called()  # for warming up
        found = [_one_run(system, waiting, signed, called, count // 200 or 1) for _ in range(runs)]
    ratios = sorted(f.p99_with / f.p99_without for f in found)
    print(f"\n{watchers} open job pages (SQLite): the console takes {_percent([f.waiting for f in found])} of a core where"
          f" the jobs wait, {_percent([f.signed for f in found])} where a card signs them by turns (goal 15 %), beside"
          f" callbacks {_percent([f.beside_callbacks for f in found])}")  # fmt: skip
    print(f"\n{1 / CALLBACKS_EVERY:.0f} callbacks a second: p99 {statistics.median(f.p99_without for f in found):.0f} ms"
          f" without those pages, {statistics.median(f.p99_with for f in found):.0f} ms with them; ratio"
          f" {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}; goal: not worse)", flush=True)  # fmt: skip


def _percent(shares: Sequence[float]) -> str:
    return f"{statistics.median(shares):.1%} ({min(shares):.1%}-{max(shares):.1%})"


def _one_run(
    system: System, waiting: Pages, signed: Pages, called: Callable[[], float], rounds: int
) -> Seen:
    p99_without = called()
    with _watching(system, waiting) as answered:
        share_waiting, _ = _share(system, lambda: answered(rounds))
    with _watching(system, signed) as answered:
        share_signed, _ = _share(system, lambda: answered(rounds))
        share_beside, p99_with = _share(system, called)
    return Seen(share_waiting, share_signed, share_beside, p99_without, p99_with)


@contextmanager
def _watching(system: System, pages: Pages) -> Iterator[Callable[[int], object]]:
    """All of them open and answered once; what it gives waits until all were answered so often again."""
    command = [sys.executable, "-m", "bench.watchers", str(system.console_port)]
    with subprocess.Popen(
        command, env=system.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise SystemExit("no pipes")
        print(json.dumps(pages), file=process.stdin, flush=True)
        rounds = iter(process.stdout.readline, "")
        next(rounds, None)
        yield lambda count: list(itertools.islice(rounds, count))
        process.communicate()
    if process.returncode:
        raise SystemExit("watchers: a page was not answered")


def _share(system: System, work: Callable[[], Any]) -> tuple[float, Any]:
    """Of one core, what the console takes while something is done; and what that gave."""
    console = system.processes["console"].pid
    before, began = cpu_of(console), time.perf_counter()
    gave = work()
    return (cpu_of(console) - before) / (time.perf_counter() - began), gave


def _open_pages(
    context: Context, watchers: int, sizes: Sequence[int], certificates: Sequence[str]
) -> tuple[Pages, Pages]:
    """Those of jobs that wait, and of jobs that are signed; each page is another sign-in's."""
    free = iter(certificates)
    tokens = [signed_in(context) for _ in range(watchers)]
    pages = []
    for minutes in (60, 0):
        grace.set_grace(context, minutes, minutes)
        jobs = [_job(context, itertools.islice(free, size)) for size in sizes]
        pages.append(list(zip(itertools.cycle(jobs), tokens, strict=False)))
    return pages[0], pages[1]


def _job(context: Context, certificates: Iterable[str]) -> int:
    """A job of a form for each certificate, all of them right, and confirmed."""
    cells = [{"certificate": n, "action": "核销", "page_count": "1"} for n in certificates]
    job = intake.receive_orders(context, "月末", cells, PagesMode.ADDITIONAL)
    planning.check(context, job)
    confirming.confirm(context, job, confirming.Confirmation(all_or_nothing=True))
    return job
