"""`make bench`: figures of this machine as Markdown. Ratios within one run are what to compare.

`--quick`: every part but the variants, once and small; it proves that the bench runs and that its checks hold,
not a rate.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from math import log
from pathlib import Path

from bench import callbacks, claims, growth, quiet
from bench.compare import cards, side_by_side, variants
from bench.dropped import dropped
from bench.flat import flat
from bench.night import nights
from bench.parts import checking
from bench.programs import programs
from bench.rig import Bench
from bench.urgent import urgent
from bench.watched import watched


def main() -> None:
    """Run all parts, or those named."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    if given.quick and not given.only:
        _side_by_side_lanes()
        return
    print(machine())
    parts = QUICK if given.quick else PARTS
    with tempfile.TemporaryDirectory(prefix="bfb-") as name, closing(Bench(Path(name))) as bench:
        for part, run in parts.items():
            if not given.only or part in given.only:
                run(bench)


def _side_by_side_lanes() -> None:
    """The quick parts in two processes: they prove that they run, and no rate is wanted of them."""
    command = [sys.executable, "-m", "bench", "--quick", "--only"]
    lanes = [subprocess.Popen([*command, *lane]) for lane in LANES]
    codes = [lane.wait() for lane in lanes]
    if any(codes):
        raise SystemExit(1)


def machine() -> str:
    """What the figures were measured on."""
    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())  # fmt: skip
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    packages = ", ".join(
        f"{p} {version(p)}" for p in ("celery", "SQLAlchemy", "psycopg", "aiohttp")
    )
    return (f"Machine: {os.cpu_count()} x {cpu}, Python {platform.python_version()}, {packages};"
            f" revision {revision.stdout.strip()}")  # fmt: skip


def claiming(
    bench: Bench, batches: int, orders: int, runs: int, claimants: int = claims.CLAIMANTS
) -> None:
    """Claims by sixteen, on PostgreSQL."""
    bare, ours = [], []
    for n in range(runs):
        url = bench.new_database(f"claims_{orders}_{n}")
        folder = bench.folder / f"claims-{orders}-{n}"
        claims.stock_for(folder, url)
        bare.append(claims.bare_rate(url, 60, claimants))
        ours.append(claims.our_rate(folder, url, batches, orders, claimants))
    ratio = statistics.median(o / b for o, b in zip(ours, bare, strict=True))
    print(f"\n{claimants} claimants, PostgreSQL, {orders} orders a batch: {statistics.median(ours):,.0f} claims/s;"
          f" bare loop {statistics.median(bare):,.0f}; ratio {ratio:.2f} (goal 0.6)")  # fmt: skip


def called_back(bench: Bench, count: int, runs: int) -> None:
    """Callbacks by 64 connections, both databases."""
    for postgres in (False, True):
        bare, ours = [], []
        with bench.callback_servers(postgres=postgres) as (ours_at, bare_at):
            for n in range(-1, runs):  # the first is for warming up
                first = (n + 1) * count
                one, other = (
                    callbacks.load(ours_at, count, first),
                    callbacks.load(bare_at, count, first),
                )
                if n >= 0:
                    ours.append(one)
                    bare.append(other)
        ratio = statistics.median(o.rate / b.rate for o, b in zip(ours, bare, strict=True))
        print(f"\nCallbacks, 64 connections, {'PostgreSQL' if postgres else 'SQLite'}:"
              f" {statistics.median(o.rate for o in ours):,.0f}/s, bare view {statistics.median(b.rate for b in bare):,.0f}/s,"
              f" ratio {ratio:.2f} (goal 0.7); p99 {statistics.median(o.p99 for o in ours):.0f} ms (goal 200),"
              f" bare {statistics.median(b.p99 for b in bare):.0f} ms")  # fmt: skip


def grown(bench: Bench, sizes: tuple[int, ...]) -> None:
    """Checking and reserving by size."""
    found = [growth.growing(bench.folder, size) for size in sizes]
    print(
        "\n## Growth (check and reserve, SQLite)\n\n| rows | check s | reserve s | peak MB |\n|---|---|---|---|"
    )
    for f in found:
        print(f"| {f['rows']:,} | {f['check']:.1f} | {f['reserve']:.1f} | {f['peak']:.0f} |")
    for a, b in itertools.pairwise(found):
        power = log((b["check"] + b["reserve"]) / (a["check"] + a["reserve"])) / log(
            b["rows"] / a["rows"]
        )
        print(f"\n{a['rows']:,} to {b['rows']:,}: n^{power:.2f} (goal n^1.1)")


Part = Callable[[Bench], None]
PARTS: dict[str, Part] = {
    "compare": lambda b: side_by_side(b, 10_000, 1_000, 3),
    "variants": lambda b: variants(b, 3_000, 3),
    "card": lambda b: cards(b, 390),
    "check": lambda b: checking(b.folder, 100_000, 5),
    "growth": lambda b: grown(b, (1_000, 10_000, 100_000, 1_000_000)),
    "claims": lambda b: (claiming(b, 20, 1, 1), claiming(b, 2, 100, 3))[0],
    "callbacks": lambda b: called_back(b, 3_000, 5),
    "programs": lambda b: programs(b, 100, 2_000),
    "watched": lambda b: watched(b, 100, 2, 2_000, 5),
    "dropped": lambda b: dropped(b, 100_000, 5),
    "urgent": lambda b: urgent(b, 100_000, 20),
    "flat": lambda b: flat(b, 5_000_000, 500_000),
    "night": lambda b: nights(b.folder, (10_000, 100_000, 1_000_000)),
}
QUICK: dict[str, Part] = {
    "compare": lambda b: side_by_side(b, 100, 20, 1, quick=True),
    "card": lambda b: cards(b, 10, (2,)),
    "check": lambda b: checking(b.folder, 2_000, 1),
    "growth": lambda b: grown(b, (100, 1_000)),
    "claims": lambda b: claiming(b, 1, 2, 1, claimants=4),
    "callbacks": lambda b: called_back(b, 200, 1),
    "programs": lambda b: programs(b, 10, 200),
    "watched": lambda b: watched(b, 20, 1, 100, 1),
    "dropped": lambda b: dropped(b, 1_000, 1),
    "urgent": lambda b: urgent(b, 100, 1, quick=True),
    "flat": lambda b: flat(b, 5_000, 200),
    "night": lambda b: nights(b.folder, (1_000, 5_000)),
}
WITH_POSTGRES = ("compare", "claims", "callbacks", "flat")
LANES = (WITH_POSTGRES, tuple(part for part in QUICK if part not in WITH_POSTGRES))
"""One server of PostgreSQL is enough."""


if __name__ == "__main__":
    quiet()
    main()
