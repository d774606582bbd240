"""Ours beside the floor and the naive: the same sheet, books, key and gateway, interleaved."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.rig import Bench, Run

Maker = Callable[[], Run]
CARD_PER_MINUTE: Final = 250


@dataclass
class Series:
    """The runs of one way."""

    name: str
    make: Maker
    runs: list[Run] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Median rows a second."""
        return statistics.median(run.rate for run in self.runs)

    def line(self, base: Series | None = None) -> str:
        """A line of the table; with `base`, the ratio of each pair of runs, median and spread."""
        rates = sorted(run.rate for run in self.runs)
        text = f"| {self.name} | {self.runs[0].rows:,} | {self.runs[0].messages:,} | {self.rate:,.0f} ({rates[0]:,.0f}-{rates[-1]:,.0f})"
        if base is not None:
            ratios = sorted(a.rate / b.rate for a, b in zip(self.runs, base.runs, strict=False))
            text += f" | {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        else:
            text += " | "
        cpu = self.cpu
        gateway = statistics.median(r.cpu.get("simulator", 0) for r in self.runs)
        count = self.runs[0].messages
        peak = max((p for r in self.runs for n, p in r.peak.items() if n != "simulator"), default=0)
        return text + f" | {cpu:.2f} | {gateway / count * 1000:.2f} | {peak:.0f} |"

    @property
    def cpu(self) -> float:
        """CPU ms of a message, the servers of database and broker included, the gateway's not."""
        used = (sum(r.cpu.values()) - r.cpu.get("simulator", 0) for r in self.runs)
        return statistics.median(used) / self.runs[0].messages * 1000


HEAD: Final = (
    "| way | rows | messages | rows/s (spread) | to the floor | CPU ms a message | gateway's | peak MB |\n"
    "|---|---|---|---|---|---|---|---|"
)


def interleaved(series: Sequence[Series], runs: int) -> None:
    """Each way once, then each again, so that a noisy minute strikes all of them."""
    for _ in range(runs):
        for one in series:
            one.runs.append(one.make())


def side_by_side(
    bench: Bench, rows: int, naive_rows: int, runs: int, *, quick: bool = False
) -> None:
    """The table of the first goal; `quick`: ours at one gateway alone."""
    naive = Series("naive, SQLite", lambda: bench.naive(naive_rows))
    floor = Series("floor, SQLite", lambda: bench.floor(rows))
    ours = Series("ours, embedded (SQLite)", lambda: bench.ours(rows))
    postgres = Series("ours, PostgreSQL", lambda: bench.ours(rows, postgres=True))
    ways = [naive, floor] if quick else [naive, floor, ours, postgres]
    interleaved(ways, runs)
    print(f"\n## Side by side, the simulator of customs ({runs} runs, medians)\n\n{HEAD}")
    for one in ways:
        print(one.line(floor))
    free = Series("floor, SQLite", lambda: bench.floor(rows, stub=True))
    lite = Series("ours, embedded (SQLite)", lambda: bench.ours(rows, stub=True))
    large = Series("ours, PostgreSQL", lambda: bench.ours(rows, postgres=True, stub=True))
    interleaved([free, lite, large], runs)
    print(f"\n## Side by side, a gateway that costs nothing ({runs} runs, medians)\n\n{HEAD}")
    for one in (free, lite, large):
        print(one.line(free))
    print(f"\nCPU a message: SQLite {lite.cpu:.2f} ms (goal 0.9), PostgreSQL {large.cpu:.2f} (goal 1.4), the floor"
          f" {free.cpu:.2f}; ours / floor {lite.rate / free.rate:.2f} and {large.rate / free.rate:.2f} (goal 0.6);"
          f" ours / naive {ways[-2].rate / naive.rate:.1f}")  # fmt: skip


def variants(bench: Bench, rows: int, runs: int) -> None:
    """Workers, latency, the card."""
    slow = {"SIMULATOR_ANSWER_SECONDS": "0.05"}
    slower = {"SIMULATOR_ANSWER_SECONDS": "0.2"}
    base = Series("2 workers, 0 ms, key file", lambda: bench.ours(rows))
    ways = [
        base,
        Series("1 worker", lambda: bench.ours(rows, workers=1)),
        Series("4 workers", lambda: bench.ours(rows, workers=4)),
        Series("1 worker, PostgreSQL", lambda: bench.ours(rows, postgres=True, workers=1)),
        Series("4 workers, PostgreSQL", lambda: bench.ours(rows, postgres=True, workers=4)),
        Series("50 ms", lambda: bench.ours(rows, **slow)),
        Series("50 ms, 32 connections", lambda: bench.ours(rows, SEND_CONCURRENCY="32", **slow)),
        Series("200 ms", lambda: bench.ours(rows, **slower)),
        Series("200 ms, 64 connections", lambda: bench.ours(rows, SEND_CONCURRENCY="64", **slower)),
        Series("floor, 50 ms", lambda: bench.floor(rows, **slow)),
        Series("floor, 200 ms", lambda: bench.floor(rows, **slower)),
        Series("SoftHSM", lambda: bench.ours(rows, **bench.token())),
    ]
    interleaved(ways, runs)
    head = HEAD.replace("to the floor", "to the first")
    print(f"\n## Workers, latency, card (embedded unless said; {runs} runs)\n\n{head}")
    for one in ways:
        print(one.line(base))


def cards(bench: Bench, rows: int, counts: tuple[int, ...] = (1, 2)) -> None:
    """Signers that take 0.24 s for a signature: how much of the time one is busy; two against one."""
    settings = {"BENCH_PER_MINUTE": str(CARD_PER_MINUTE)}
    runs = [
        bench.ours(rows, submitter="bench.paced_submitter", cards=n, stub=True, **settings)
        for n in counts
    ]
    one, two = runs[0], runs[-1]
    print(f"\nA card of {CARD_PER_MINUTE} signatures a minute: {one.messages} messages in {one.seconds:.0f} s,"
          f" the card busy {one.parts['busy']:.1%} of the time between its first and its last signature"
          " (goal 98 %)")  # fmt: skip
    if two is not one:
        print(f"\nTwo such cards: {one.seconds / two.seconds:.2f} times one (goal 1.9; the ends of the run, in which"
              " neither signs, included), nothing signed twice")  # fmt: skip
