"""For how long orders can be taken back, as an administrator sets it."""

from __future__ import annotations

from models.reads.deployment import known_grace
from models.rules.errors import BadArgument
from models.rules.grace import LONGEST_MINUTES, Grace
from models.rules.language import t
from models.rules.people import Deed
from models.writes.acts import record_act
from models.writes.deployment import set_grace as write_grace
from tasks.context import Context


def set_grace(context: Context, verify: int | None, void: int | None) -> Grace:
    """Other minutes, for orders that are confirmed from now on; None: as it is. Gives what holds now.

    Raises `BadArgument`, `NotAllowed`.
    """
    if any(m is not None and not 0 <= m <= LONGEST_MINUTES for m in (verify, void)):
        raise BadArgument(
            detail=t(f"撤回期 0-{LONGEST_MINUTES} 分钟", f"0 to {LONGEST_MINUTES} minutes")
        )
    with context.database.write() as session:
        before = known_grace(session)
        after = Grace(
            before.verify if verify is None else verify, before.void if void is None else void
        )
        write_grace(session, after)
        record_act(
            session,
            context.actor,
            Deed.GRACE_SET,
            "grace",
            context.now(),
            before=[before.verify, before.void],
            after=[after.verify, after.void],
        )
    return after
