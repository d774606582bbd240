"""The grace (撤回期): for how long after confirmation all of an order can be taken back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

NEW_PRODUCTION_MINUTES: Final = (10, 30)
"""Of a new production system: for verifying, and for voiding, which is rarer and cannot be undone either."""

LONGEST_MINUTES: Final = 24 * 60
LONGEST: Final = timedelta(minutes=LONGEST_MINUTES)
"""What ends later than that from now was written by a clock that ran ahead: it is over."""


@dataclass(frozen=True, slots=True)
class Grace:
    """Minutes for orders that verify alone, and for those that void."""

    verify: int
    void: int

    def until(self, begun: datetime, *, voids: bool, at_once: bool) -> datetime | None:
        """When the time is over of an order that was reserved at `begun`; None: it has none.

        An order is taken back whole, so one that verifies and voids has one time, the longer.
        """
        minutes = max(self.verify, self.void) if voids else self.verify
        return None if at_once or minutes == 0 else begun + timedelta(minutes=minutes)
