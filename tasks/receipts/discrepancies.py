"""What we and customs saw differently, as a person closes it."""

from __future__ import annotations

from collections.abc import Sequence

from models.rules.errors import NotFound
from models.rules.people import Deed
from models.writes.acts import record_act
from models.writes.discrepancies import close_discrepancies
from tasks.context import Context


def close(context: Context, numbers: Sequence[int], by: str, reason: str) -> list[int]:
    """Close these, all or none. Raises `NotFound` for those that are not open."""
    with context.database.write() as session:
        closed = close_discrepancies(session, numbers, by, reason, context.now())
        if missing := sorted(set(numbers) - set(closed)):
            raise NotFound(what=", ".join(map(str, missing)))
        about = ", ".join(map(str, closed))
        record_act(
            session,
            context.actor,
            Deed.DISCREPANCY_CLOSED,
            about,
            context.now(),
            by=by,
            reason=reason,
        )
    return closed
