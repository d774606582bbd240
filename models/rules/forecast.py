"""How long a stock lasts, and how many forms to ask customs for. Pure: standard library alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

WEEK_WEIGHTS: Final = (4, 3, 2, 1)
"""Recent weeks say more about the next one; four weeks hold one month end."""

DAYS_A_WEEK: Final = 7

LOSS_REPORT_DAYS: Final = 5
"""Working days within which a loss is to be reported (features B-11)."""


def minutes_left(done: int, left: int, elapsed: timedelta) -> int | None:
    """How long the rest of a batch takes at the rate so far, whatever limits it (mostly the card), in whole minutes
    upwards; None while nothing is done yet, from which nothing could be said.
    """
    if done <= 0 or left <= 0 or elapsed <= timedelta(0):
        return None
    return math.ceil(elapsed.total_seconds() / done * left / 60)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected of one stock. `days_left` None: nothing is used, it does not run out."""

    per_day: float
    days_left: int | None
    runs_out_on: date | None
    ask_for: int


@dataclass(frozen=True, slots=True)
class Supply:
    """What a deployment says of its supply: days until forms arrive, days that they are to last, and from how
    few on a stock is low, where it has no threshold of its own.
    """

    restock_days: int
    cover_days: int
    low: int


def forecast(
    weekly_use: Sequence[int],
    on_hand: int,
    queued: int,
    today: date,
    lead_days: int,
    cover_days: int,
) -> Forecast:
    """Days left from recent use, the day of running out, and how many forms to ask for.

    `weekly_use`: forms used in the last 7 days, the 7 before, … (at most four weeks count). `queued`:
    forms that checked batches wait to take. To ask for: enough for the time until they arrive
    (`lead_days`) and `cover_days` after it.
    """
    weights = WEEK_WEIGHTS[: len(weekly_use)]
    weighted = sum(w * u for w, u in zip(weights, weekly_use, strict=False))
    per_day = weighted / (sum(weights) * DAYS_A_WEEK) if weights else 0.0
    left = max(0, on_hand - queued)
    wanted = math.ceil(per_day * (lead_days + cover_days)) + queued
    ask_for = max(0, wanted - on_hand)
    if per_day == 0:
        return Forecast(0.0, 0 if left == 0 and queued else None, None, ask_for)
    days_left = int(left / per_day)
    return Forecast(per_day, days_left, today + timedelta(days=days_left), ask_for)


def working_day_after(first: date, days: int) -> date:
    """The date `days` working days (Monday to Friday) after `first`; public holidays are not known."""
    day = first
    while days:
        day += timedelta(days=1)
        if day.isoweekday() <= 5:  # noqa: PLR2004 - Friday
            days -= 1
    return day


def loss_report_due(found_on: date) -> date:
    """The day by which a loss that was found on this day is to be reported."""
    return working_day_after(found_on, LOSS_REPORT_DAYS)
