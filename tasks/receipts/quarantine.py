"""What customs told us and nothing of ours fits: seen by a person, applied again, or set aside for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import select, update

from models.rules.errors import NotFound
from models.rules.people import Deed, require
from models.rules.states import InboxState
from models.tables.discrepancies import Discrepancy
from models.tables.inbox import InboxMessage
from models.writes.acts import record_act
from tasks.context import Context
from tasks.receipts import applying

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One of them, as it came and why it could not be used."""

    number: int
    receipt_id: str | None
    source: str
    received_at: datetime
    reason: str
    body: bytes

    def shown(self, *, whole: bool = False) -> dict[str, Any]:
        """For JSON; `whole`: with what came, as text."""
        told = {
            "number": self.number,
            "receipt_id": self.receipt_id,
            "source": self.source,
            "received_at": self.received_at.isoformat(),
            "reason": self.reason,
        }
        return told | {"body": self.body.decode(errors="replace")} if whole else told


def quarantined(context: Context) -> Iterator[Quarantined]:
    """All of them, oldest first."""
    with context.database.read() as session:
        for m in session.scalars(
            select(InboxMessage)
            .where(InboxMessage.state == InboxState.QUARANTINED)
            .order_by(InboxMessage.id)
        ):
            yield _shown(m)


def one_of_them(context: Context, number: int) -> Quarantined:
    """One, whole. Raises `NotFound`."""
    with context.database.read() as session:
        message = session.get(InboxMessage, number)
        if message is None or message.state is not InboxState.QUARANTINED:
            raise NotFound(what=str(number))
        return _shown(message)


def _shown(m: InboxMessage) -> Quarantined:
    return Quarantined(m.id, m.receipt_id, m.source, m.received_at, m.reason or "", m.body)


def apply_again(context: Context, numbers: Sequence[int]) -> list[int]:
    """Apply these anew, as if they had just come; gives those that could be used now.

    What still fits nothing is quarantined again, with its reason of today. Raises `NotFound` when one of
    them is not in quarantine, `NotAllowed`; then nothing is done.
    """
    require(context.actor, Deed.RECEIPT_DISMISSED)
    _require(context, numbers)
    with context.database.write() as session:
        applying.receive_again(session, numbers, context.now())
    while applying.apply(context):
        pass
    with context.database.read() as session:
        applied = select(InboxMessage.id).where(
            InboxMessage.id.in_(numbers), InboxMessage.state == InboxState.APPLIED
        )
        return sorted(session.scalars(applied))


def dismiss(context: Context, numbers: Sequence[int], by: str, reason: str) -> list[int]:
    """A person has looked: they are kept and nobody is asked about them any more; what they raised is closed.

    Raises `NotFound` when one of them is not in quarantine; then nothing is done.
    """
    _require(context, numbers)
    with context.database.write() as session:
        kept = session.scalars(
            update(InboxMessage)
            .where(InboxMessage.id.in_(numbers), InboxMessage.state == InboxState.QUARANTINED)
            .values(state=InboxState.KEPT)
            .returning(InboxMessage.id)
        ).all()
        session.execute(
            update(Discrepancy)
            .where(Discrepancy.inbox_id.in_(kept), Discrepancy.closed_at.is_(None))
            .values(closed_at=context.now(), closed_by=by[:64], closed_reason=reason[:200])
        )
        about = ", ".join(map(str, sorted(kept)))
        record_act(
            session,
            context.actor,
            Deed.RECEIPT_DISMISSED,
            about,
            context.now(),
            by=by,
            reason=reason,
        )
    log.warning("quarantine_dismissed", inbox=sorted(kept), by=by, reason=reason)
    return sorted(kept)


def _require(context: Context, numbers: Sequence[int]) -> None:
    with context.database.read() as session:
        there = set(
            session.scalars(
                select(InboxMessage.id).where(
                    InboxMessage.id.in_(numbers), InboxMessage.state == InboxState.QUARANTINED
                )
            )
        )
    if missing := sorted(set(numbers) - there):
        raise NotFound(what=", ".join(map(str, missing)))
