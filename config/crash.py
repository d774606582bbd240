"""Named points at which a process kills itself, for the fault campaign alone.

`BLANKFORMS_CRASH=name:k` in the environment of a process ends it with SIGKILL at the k-th pass of the
point. Without it the points do nothing. A production setting refuses it (`config.settings`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from enum import StrEnum
from typing import Final


class Point(StrEnum):
    """Every point, in the order in which a record passes them."""

    UPLOAD_KEPT = "upload_kept"
    ROWS_WRITTEN = "rows_written"
    CHECK_BEFORE_COMMIT = "check_before_commit"
    CONFIRMED = "confirmed"
    RESERVE_BEFORE_COMMIT = "reserve_before_commit"
    RESERVED_BEFORE_RING = "reserved_before_ring"
    PREPARE_BEFORE_COMMIT = "prepare_before_commit"
    PREPARED_BEFORE_RING = "prepared_before_ring"
    SIGNED_NOT_STORED = "signed_not_stored"
    STORED_BEFORE_RING = "stored_before_ring"
    INTENT_BEFORE_COMMIT = "intent_before_commit"
    INTENT_COMMITTED = "intent_committed"
    JOURNAL_NOTED = "journal_noted"
    REQUEST_HALF_WRITTEN = "request_half_written"
    REQUEST_WRITTEN = "request_written"
    ANSWER_READ = "answer_read"
    OUTCOME_BEFORE_COMMIT = "outcome_before_commit"
    OUTCOME_COMMITTED = "outcome_committed"
    ASKED_NOT_RECORDED = "asked_not_recorded"
    RECEIPTS_FETCHED = "receipts_fetched"
    RECEIPTS_STORED = "receipts_stored"
    CALLBACK_STORED = "callback_stored"
    APPLY_BEFORE_COMMIT = "apply_before_commit"
    REPORT_WRITTEN = "report_written"
    PAGE_COMPARED = "page_compared"
    RUN_BEFORE_COMMIT = "run_before_commit"
    REPAIR_NOT_NOTED = "repair_not_noted"
    DELIVERY_CLAIMED = "delivery_claimed"
    DELIVERY_MADE = "delivery_made"


SWITCH: Final = "BLANKFORMS_CRASH"


def _armed(setting: str) -> Callable[[Point], None]:
    name, _, passes = setting.partition(":")
    point, left = Point(name), int(passes or 1)

    def crash(here: Point) -> None:
        nonlocal left
        if here is point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return crash


def _unarmed(_here: Point) -> None:
    """Nothing."""


_crash = _armed(os.environ[SWITCH]) if os.environ.get(SWITCH) else _unarmed


def crash_point(here: Point) -> None:
    """End this process here, if it is told to."""
    _crash(here)


def is_armed(here: Point) -> bool:
    """Whether this process is to end at that point: some are costly to reach."""
    return os.environ.get(SWITCH, "").partition(":")[0] == here.value


def arm(setting: str) -> None:
    """Tell this process to end at `name:k`: for children of the campaign that were forked."""
    global _crash  # noqa: PLW0603 - the switch of a process
    os.environ[SWITCH] = setting
    _crash = _armed(setting) if setting else _unarmed
