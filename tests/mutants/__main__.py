"""`make faults FULL=1`, last part: a fixed sample of small changes to the critical code, each of which a test must notice.

`python -m tests.mutants --only models/rules/turns.py:44` makes every change of one line again, `--list` shows the
sample and runs nothing. Each change is made in a copy of this tree; then the tests that speak for its module run.
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

from tests.mutants.mutations import NO_LOCK, Mutant, mutants
from tests.mutants.suites import BROAD, LEAST, class_of, suite_of

ROOT = Path(__file__).parent.parent.parent
KNOWN = Path(__file__).parent / "survivors.toml"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "var", "__pycache__"
)

TEST_SECONDS, SUITE_SECONDS = 120, 1200
"""What takes longer has been noticed: no test takes a third of it."""

PASSED, FAILED, NO_TESTS = 0, 1, 5
"""Exits of pytest that say something of the code; 2 too, where it could not be imported."""


class Lane:
    """A copy of the tree in which one change at a time is made."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "blankforms"
        shutil.copytree(ROOT, self.root, ignore=NOT_COPIED)
        self.environ = {**os.environ, "PYTHONPATH": str(self.root), "PYTEST_ADDOPTS": ""}
        said = self._python("-c", "import models, tasks, customs as c; print(c.__file__)").stdout
        if not said.startswith(str(self.root)):
            raise SystemExit(f"not the copy is imported, but {said}")

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], cwd=self.root, env=self.environ,
                              capture_output=True, text=True, timeout=SUITE_SECONDS, check=False)  # fmt: skip

    def tests(self, suite: Sequence[str], *which: str) -> str:
        """The first test that fails, or what else was wrong; "" when all pass."""
        try:
            ended = self._python("-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-n0",
                                 "--hypothesis-seed=0", f"--timeout={TEST_SECONDS}", *which, *suite)  # fmt: skip
        except subprocess.TimeoutExpired:
            return "time-out"
        if ended.returncode in {PASSED, NO_TESTS}:
            return ""
        said = [s for s in ended.stdout.splitlines() if s.startswith(("FAILED ", "ERROR "))]
        return said[0].split(" - ")[0].partition(" ")[2] if said else f"exit {ended.returncode}"

    def noticed(self, mutant: Mutant) -> str:
        """By which test; "" when none noticed. SQLite notices all but what is about locks."""
        file = self.root / mutant.module
        source = file.read_bytes()
        compiled = Path(importlib.util.cache_from_source(file))
        near = suite_of(mutant.module)
        try:
            file.write_bytes(mutant.apply(source))
            compiled.unlink(missing_ok=True)  # it is as old and as long, to the second
            by, chance = "", []
            while "::" in (by := self.tests([*near, *BROAD], "-k", "not postgresql", *chance)):
                if self.tests([by]):
                    return by
                chance += ["--deselect", by]  # it failed by chance
            return by or (self.tests(near, "-k", "postgresql") if mutant.after == NO_LOCK else "")
        finally:
            file.write_bytes(source)
            compiled.unlink(missing_ok=True)


def known() -> dict[str, dict[tuple[str, ...], str]]:
    """The survivors that are known, by what they are: `equivalent` or `accepted`."""
    listed = tomllib.loads(KNOWN.read_text(encoding="utf-8"))
    return {
        kind: {(e["module"], e["function"], e["before"], e["after"]): e["reason"] for e in entries}
        for kind in ("equivalent", "accepted")
        for entries in [listed.get(kind, [])]
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="a module, or a line of one: models/rules/turns.py:44")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    classes = class_of(ROOT)
    everything = [m for module in classes for m in mutants(ROOT, module, chosen.seed)]
    listed = known()
    gone = {key for entries in listed.values() for key in entries} - {m.key for m in everything}
    for key in sorted(gone):
        print("survivors.toml lists what does not exist any more:", *key)
    sample = _sample(everything, classes, chosen)
    if not sample:
        parser.error("there is nothing to change")
    if chosen.list:
        for mutant in sample:
            print(classes[mutant.module], mutant)
        return 0
    to_run = [m for m in sample if m.key not in listed["equivalent"]]
    began = time.monotonic()
    survived = _run(to_run, chosen.jobs)
    print(f"{len(to_run)} changes in {(time.monotonic() - began) / 60:.0f} minutes,"
          f" {len(sample) - len(to_run)} more of the sample change nothing (survivors.toml)")  # fmt: skip
    unknown = [m for m in survived if m.key not in listed["accepted"]]
    return 1 if _short_of(to_run, survived, classes) or gone or (chosen.only and unknown) else 0


def _sample(
    everything: Iterable[Mutant], classes: dict[str, str], chosen: argparse.Namespace
) -> list[Mutant]:
    """As many of each class, or all of one line."""
    module, _, line = (chosen.only or "").partition(":")
    if line:
        return [m for m in everything if m.module == module and m.line == int(line)]
    by_place = sorted(everything, key=lambda m: m.place)
    share = chosen.count // len(LEAST)
    return [
        mutant
        for name in LEAST
        for mutant in [m for m in by_place if classes[m.module] == name and m.module.startswith(module)][:share]
    ]  # fmt: skip


def _run(sample: Sequence[Mutant], jobs: int) -> list[Mutant]:
    """Makes every change; gives those that no test noticed."""
    survived: list[Mutant] = []
    noticing: set[str] = set()
    waiting = iter(sample)
    lock = threading.Lock()

    def work(lane: Lane) -> None:
        while True:
            with lock:
                mutant = next(waiting, None)
            if mutant is None:
                return
            began = time.monotonic()
            by = lane.noticed(mutant)
            with lock:
                print(
                    f"{'noticed ' if by else 'SURVIVED'} {time.monotonic() - began:4.0f} s  {mutant}  {by}",
                    flush=True,
                )
                if by:
                    noticing.add(by)
                else:
                    survived.append(mutant)
                    print(
                        f"  repeat: python -m tests.mutants --only {mutant.module}:{mutant.line}",
                        flush=True,
                    )

    with tempfile.TemporaryDirectory(prefix="bf-mutants-") as folder:
        lanes = [Lane(Path(folder) / str(n)) for n in range(jobs)]
        threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        said = lanes[0].tests(sorted(test for test in noticing if "::" in test))
    if said:
        raise SystemExit(f"what noticed a change fails without any: {said}")
    return survived


def _short_of(made: Sequence[Mutant], survived: Sequence[Mutant], classes: dict[str, str]) -> bool:
    """Prints how many of each class were noticed; whether too few were."""
    all_of = Counter(classes[m.module] for m in made)
    missed = Counter(classes[m.module] for m in survived)
    short = False
    for name, percent in LEAST.items():
        if all_of[name]:
            got = 100 * (all_of[name] - missed[name]) / all_of[name]
            short |= got < percent
            print(f"class {name}: {all_of[name] - missed[name]} of {all_of[name]} noticed, {got:.0f} %"
                  f" (at least {percent} %)")  # fmt: skip
    return short


if __name__ == "__main__":
    sys.exit(main())
