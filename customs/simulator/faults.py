"""Faults by script: what the simulator does wrong, how often and to whom (contract section 6).

A script is a JSON list of rules. Each names a `fault` and may narrow it: `rate` (0-1), `times`
(how often at most), `skip` (how many fitting messages to leave alone first), `certificate`,
`serial`; and may set `seconds`, `code`, `text`. `{"seed": n}` makes the rates repeatable.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any


class Fault(StrEnum):
    """Every fault that the simulator can play."""

    ANSWER_LOST = "answer_lost"  # taken, and the connection closed without a word
    ERROR_BEFORE = "error_before"  # 500, nothing taken
    ERROR_AFTER = "error_after"  # taken, then 500
    TOO_MANY = "too_many"  # 429 with Retry-After
    BUSY = "busy"  # 503 with Retry-After
    DRIP = "drip"  # taken, the answer one byte at a time
    TRUNCATED = "truncated"  # taken, half an answer
    WRONG_NUMBER = "wrong_number"  # taken, the answer names another message
    LATE = "late"  # taken, no answer, and not to be seen for some seconds
    REFUSE_MESSAGE = "refuse_message"  # 422 with `code`
    REFUSE_FORM = "refuse_form"  # decided against, with `code`
    PERSON_FIRST = "person_first"  # 4001, and the decision `seconds` later
    RECEIPT_TWICE = "receipt_twice"
    RECEIPT_LATE = "receipt_late"  # so it comes after others: out of order
    RECEIPT_NEVER = "receipt_never"
    RECEIPT_CONTRADICTORY = "receipt_contradictory"  # a second one that says the opposite
    RECEIPT_DISAGREES = (
        "receipt_disagrees"  # refused with `code`; first one whose lines say it passed
    )
    PERSON_LATE = "person_late"  # 4001 once more, after the decision
    LIST_POISON = "list_poison"  # a record in each list that breaks the contract
    CALLBACK_FORGED = (
        "callback_forged"  # one more callback first, that says the opposite, wrongly signed
    )
    CALLBACK_REFUSED = "callback_refused"  # no callback: polling must find it


@dataclass(slots=True)
class Rule:
    """One line of a script."""

    fault: Fault
    rate: float = 1.0
    times: int | None = None
    skip: int = 0
    certificate: str | None = None
    serial: str | None = None
    seconds: float = 1.0
    code: str = "2103"
    text: str = "模拟退回"
    played: int = field(default=0)


class FaultScript:
    """The rules, counted down as they are played. Safe to ask from several threads."""

    def __init__(self, lines: Sequence[Mapping[str, Any]] = ()) -> None:
        seeds = [line["seed"] for line in lines if "seed" in line]
        self._random = random.Random(seeds[0] if seeds else 0)  # noqa: S311 - repeatable on purpose
        self._rules = [
            Rule(**{**line, "fault": Fault(line["fault"])}) for line in lines if "fault" in line
        ]
        self._lock = Lock()

    def play(
        self, faults: Collection[Fault], certificate: str, serials: Collection[str]
    ) -> Rule | None:
        """The first rule among these faults that strikes now."""
        with self._lock:
            for rule in self._rules:
                if rule.fault not in faults or not self._fits(rule, certificate, serials):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                if rule.times is not None and rule.played >= rule.times:
                    continue
                if self._random.random() < rule.rate:
                    rule.played += 1
                    return rule
        return None

    def played(self) -> int:
        """How often any rule has struck."""
        return sum(rule.played for rule in self._rules)

    def _fits(self, rule: Rule, certificate: str, serials: Collection[str]) -> bool:
        if rule.certificate is not None and rule.certificate != certificate:
            return False
        return rule.serial is None or rule.serial in serials


def load_script(path: Path | None) -> FaultScript:
    """The script in a file; none, no faults."""
    return FaultScript(json.loads(path.read_text(encoding="utf-8"))) if path else FaultScript()
