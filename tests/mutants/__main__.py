"""`make faults FULL=1`, last part: a fixed sample of small changes to the critical code, each of which a test must notice.

First all tests run once, to see through which functions each of them goes (kept in `var/mutants`). Then each change is
made alone, in a copy of this tree, and the tests that go through it run. `python -m tests.mutants --only
models/rules/turns.py:44` makes every change of one line again; `--list` shows the sample and runs nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.mutants.mutations import Mutant, mutants
from tests.mutants.suites import LEAST, NOT_THESE, TESTS, Touched, class_of

ROOT = Path(__file__).parent.parent.parent
KNOWN = Path(__file__).parent / "survivors.toml"
TOUCHED = ROOT / "var" / "mutants"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "var", "__pycache__"
)

TEST_SECONDS, SUITE_SECONDS = 60, 3600
"""What takes longer has been noticed: no test takes a third of it, all of them together not half."""

PASSED, NOT_FOUND, NO_TESTS = 0, 4, 5
"""Exits of pytest when nothing failed; when it cannot import the changed code it names the error too."""


class Lane:
    """A copy of the tree in which one change at a time is made."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "blankforms"
        shutil.copytree(ROOT, self.root, ignore=NOT_COPIED)
        self.environ = {**os.environ, "PYTHONPATH": str(self.root)}
        said = self.python("-c", "import models, tasks, customs as c; print(c.__file__)").stdout
        if not said.startswith(str(self.root)):
            raise SystemExit(f"not the copy is imported, but {said}")

    def python(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run Python there."""
        return subprocess.run([sys.executable, *arguments], cwd=self.root, env=self.environ | more,
                              capture_output=True, text=True, timeout=SUITE_SECONDS, check=False)  # fmt: skip

    def tests(self, suite: Sequence[str], *how: str) -> str:
        """The first test that fails, or what else was wrong; "" when all pass."""
        try:
            ended = self.python("-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider",
                                "--hypothesis-seed=0", f"--timeout={TEST_SECONDS}", *how, *suite)  # fmt: skip
        except subprocess.TimeoutExpired:
            return "time-out"
        said = [s for s in ended.stdout.splitlines() if s.startswith(("FAILED ", "ERROR "))]
        if said:
            return said[0].split(" - ")[0].partition(" ")[2]
        return (
            "" if ended.returncode in {PASSED, NOT_FOUND, NO_TESTS} else f"exit {ended.returncode}"
        )

    def noticed(self, mutant: Mutant, suite: Sequence[str]) -> str:
        """By which test; "" when none noticed."""
        file = self.root / mutant.module
        source = file.read_bytes()
        compiled = Path(importlib.util.cache_from_source(file))
        by, chance = "", list[str]()
        try:
            file.write_bytes(mutant.apply(source))
            compiled.unlink(missing_ok=True)  # it is as old and as long, to the second
            while suite and "::" in (by := self.tests(suite, *chance)) and not self.tests([by]):
                chance += ["--deselect", by]  # it failed by chance
        finally:
            file.write_bytes(source)
            compiled.unlink(missing_ok=True)
        return by


def watch(lane: Lane, jobs: int) -> None:
    """Run all tests once without a change, watched. They must pass."""
    shutil.rmtree(TOUCHED, ignore_errors=True)
    TOUCHED.mkdir(parents=True)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider", "-p", "tests.mutants.touched",
         f"-n{jobs}", "-k", "not postgresql", *TESTS, *(f"--ignore={path}" for path in NOT_THESE)],
        cwd=lane.root, env={**lane.environ, "TOUCHED": str(TOUCHED)}, check=False,
    )  # fmt: skip
    if ended.returncode != PASSED:
        raise SystemExit("tests fail without any change")


def known(kind: str) -> set[tuple[str, ...]]:
    """The survivors that are known: `equivalent` or `accepted`."""
    listed = tomllib.loads(KNOWN.read_text(encoding="utf-8")).get(kind, [])
    return {(e["module"], e["function"], e["before"], e["after"]) for e in listed if e["reason"]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a module, or a line: models/rules/turns.py:44")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    classes = class_of(ROOT)
    everything = [m for module in classes for m in mutants(ROOT, module, chosen.seed)]
    same, accepted = known("equivalent"), known("accepted")
    gone = (same | accepted) - {m.key for m in everything}
    for key in sorted(gone):
        print("survivors.toml lists what does not exist any more:", *key)
    sample = _sample(everything, classes, chosen)
    if chosen.list:
        for mutant in sample:
            print(classes[mutant.module], mutant)
        return 0
    made = [m for m in sample if m.key not in same]
    if not made:
        parser.error("there is nothing to change")
    began = time.monotonic()
    survived = _run(made, chosen)
    print(f"{len(made)} changes in {(time.monotonic() - began) / 60:.0f} minutes, beside"
          f" {len(sample) - len(made)} of the sample that change nothing (survivors.toml)")  # fmt: skip
    few = _too_few(made, survived, classes)
    return 1 if few or gone else 0


def _sample(
    everything: Sequence[Mutant], classes: dict[str, str], chosen: argparse.Namespace
) -> list[Mutant]:
    """As many of each class, or all of one line."""
    module, _, line = chosen.only.partition(":")
    if line:
        return [m for m in everything if m.module == module and m.line == int(line)]
    by_place = sorted((m for m in everything if m.module.startswith(module)), key=lambda m: m.place)
    of_class = [[m for m in by_place if classes[m.module] == name] for name in LEAST]
    return [m for found in of_class for m in found[: chosen.count // len(LEAST)]]


def _run(sample: Iterable[Mutant], chosen: argparse.Namespace) -> list[Mutant]:
    """Makes every change; gives those that no test noticed."""
    survived: list[Mutant] = []
    waiting = iter(sample)
    lock = threading.Lock()

    def work(lane: Lane, touched: Touched) -> None:
        while True:
            with lock:
                mutant = next(waiting, None)
            if mutant is None:
                return
            began = time.monotonic()
            suite = touched.suite_of(mutant)
            by = lane.noticed(mutant, suite)
            with lock:
                print(
                    f"{'noticed ' if by else 'SURVIVED'} {time.monotonic() - began:4.0f} s  {mutant}  ",
                    end="",
                )
                print(by or f"({len(suite)} tests)", flush=True)
                if not by:
                    survived.append(mutant)
                    print(f"  repeat: python -m tests.mutants --only {mutant.module}:{mutant.line}", flush=True)  # fmt: skip

    with tempfile.TemporaryDirectory(prefix="bf-mutants-") as folder:
        lanes = [Lane(Path(folder) / str(n)) for n in range(chosen.jobs)]
        if not (chosen.only and TOUCHED.exists()):
            watch(lanes[0], chosen.jobs)
        lines = [line for file in TOUCHED.iterdir() for line in file.open(encoding="utf-8")]
        touched = Touched(ROOT, lines)
        threads = [threading.Thread(target=work, args=(lane, touched)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return survived


def _too_few(made: Sequence[Mutant], survived: Sequence[Mutant], classes: dict[str, str]) -> bool:
    """Prints how many of each class were noticed; whether too few were."""
    all_of = Counter(classes[m.module] for m in made)
    missed = Counter(classes[m.module] for m in survived)
    few = False
    for name, least in LEAST.items():
        if all_of[name]:
            percent = 100 * (all_of[name] - missed[name]) / all_of[name]
            few |= percent < least
            print(f"class {name}: {all_of[name] - missed[name]} of {all_of[name]} noticed, {percent:.0f} %"
                  f" (at least {least} %)")  # fmt: skip
    return few


if __name__ == "__main__":
    sys.exit(main())
