"""Numbers that are kept, so that nobody counts a million rows to show one: their names.

stock:<stock>:<block>:<standing>     forms
day:<stock>:<date>:<what>            forms that came or went that day (`Movement`), business dates
batch:<batch>:<where>                forms of a batch that is under way: by state, or given back (`GivenBack`)
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from models.rules.standings import Standing


class Movement(StrEnum):
    """How forms of a stock come and go."""

    RECEIVED = "received"
    """By the day that customs issued them, or that of their entry where nobody knows it."""
    ENTERED = "entered"
    """By the day of their entry here."""
    VERIFIED = "verified"
    VOIDED = "voided"
    REFUSED = "refused"
    """Given back by customs."""
    LOST = "lost"


class GivenBack(StrEnum):
    """How a form of a batch came back."""

    REFUSED = "refused"
    RELEASED = "released"


def standing_key(stock_id: int, block_id: int, standing: Standing) -> str:
    """The forms of a block that stand so."""
    return f"stock:{stock_id}:{block_id}:{standing.value}"


def day_key(stock_id: int, day: date, movement: Movement) -> str:
    """The forms of a stock that came or went so on a day."""
    return f"day:{stock_id}:{day.isoformat()}:{movement.value}"


def batch_key(batch_id: int, where: StrEnum) -> str:
    """The forms of a batch that are in a state, or were given back so."""
    return f"batch:{batch_id}:{where.value}"
