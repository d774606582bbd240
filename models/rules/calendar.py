"""Customs' days. Pure."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

BEIJING: Final = ZoneInfo("Asia/Shanghai")
"""Business dates are customs' days, whatever the zone of this deployment."""


def business_date(now: datetime) -> date:
    """The day it is at customs."""
    return now.astimezone(BEIJING).date()


def start_of(day: date) -> datetime:
    """The moment at which a business date begins."""
    return datetime(day.year, day.month, day.day, tzinfo=BEIJING)
