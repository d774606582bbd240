"""Which code is changed, and which tests speak for it: those that go through the changed function."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.mutants.mutations import NO_LOCK, Mutant

PROTOCOL, REST = "A", "B"
"""The rules and the protocol of sending, of which more must be noticed; the rest of the critical code."""

LEAST = {PROTOCOL: 95, REST: 85}
"""Percent of the changes of a class that must be noticed."""

WORDS = {"__init__.py", "errors.py", "card_errors.py", "language.py", "problems.py"}
"""Modules that hold what persons read."""

READ_BY_DECISIONS = (
    *("cards", "certificate_use", "certificates", "customs_list", "deployment", "endorsements"),
    *("line", "overdue", "pauses", "people"),
)
CLASSES = {
    PROTOCOL: (
        *("models/rules/*.py", "tasks/messages/*.py"),
        *("models/writes/submissions.py", "models/writes/moves.py"),
    ),
    REST: (
        *("models/writes/*.py", "tasks/receipts/*.py", "tasks/night/*.py", "tasks/orders/*.py"),
        *("tasks/people/*.py", "tasks/journal.py", "tasks/pipeline.py", "customs/profile/*.py"),
        *(f"models/reads/{name}.py" for name in READ_BY_DECISIONS),
    ),
}

TESTS = ("tests/models", "tests/tasks", "tests/customs", "tests/webhook", "tests/sheets")
NOT_THESE = ("tests/models/reads/test_flat.py", "tests/models/migrations")
"""A million forms, and old databases: too long."""

LOCKS = "tests/models/writes/test_locks.py"
"""Runs on PostgreSQL alone."""


def class_of(root: Path) -> dict[str, str]:
    """Every module that is changed, and its class."""
    found: dict[str, str] = {}
    for name, patterns in CLASSES.items():
        for file in sorted(file for pattern in patterns for file in root.glob(pattern)):
            if file.name not in WORDS:
                found.setdefault(file.relative_to(root).as_posix(), name)
    return found


class Touched:
    """What `tests.mutants.touched` has written."""

    def __init__(self, root: Path, lines: Iterable[str]) -> None:
        self._root = root
        self._seconds: dict[str, float] = {}
        self._through: dict[str, set[str]] = defaultdict(set)
        for said in map(json.loads, lines):
            self._seconds[said["test"]] = said["seconds"]
            for function in said["functions"]:
                self._through[function].add(said["test"])

    def suite_of(self, mutant: Mutant) -> list[str]:
        """The tests that go through a change, the nearest first, then the quickest."""
        nearby = f"tests/{mutant.module.rpartition('/')[0]}/"
        suite = sorted(
            self._through_it(mutant), key=lambda t: (not t.startswith(nearby), self._seconds[t])
        )
        if mutant.after == NO_LOCK:
            return [LOCKS, *(t.replace("[sqlite", "[postgresql") for t in suite)]
        return suite

    def _through_it(self, mutant: Mutant) -> set[str]:
        if mutant.in_function:
            return self._through[f"{mutant.module} {mutant.function}"]
        users = (mutant.module, *self._users(mutant.module))
        return {
            test
            for function, tests in self._through.items()
            if function.startswith(users)
            for test in tests
        }

    def _users(self, module: str) -> Sequence[str]:
        """Modules that import it: what stands outside functions is read there."""
        package, _, name = module.removesuffix(".py").replace("/", ".").rpartition(".")
        imports = re.compile(rf"from {package}\.{name} import|from {package} import .*\b{name}\b")
        return [
            file.relative_to(self._root).as_posix()
            for folder in ("models", "tasks", "customs")
            for file in (self._root / folder).rglob("*.py")
            if imports.search(file.read_text(encoding="utf-8"))
        ]
