"""A request for a second person: asked, decided once, and void when its plan could not be carried out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from models.rules.states import BatchState
from models.rules.two_persons import EndorsementState, Rule, Rules
from models.tables.batches import Batch
from models.tables.endorsements import Endorsement
from models.tables.locks import Lock, hold


def one_at_a_time(session: Session) -> None:
    """Until the transaction ends nobody else looks at an order by the rules, or changes them."""
    hold(session, Lock.RULES)


def ask_for_endorsement(
    session: Session,
    asked_by_id: int,
    asked: Sequence[Rule],
    rules: Rules,
    at: datetime,
    *,
    batch: Batch | None = None,
    proposal: dict[str, Any] | None = None,
) -> Endorsement:
    """A new request, for a batch or for other rules."""
    made = Endorsement(
        state=EndorsementState.WAITING,
        batch_id=batch.id if batch else None,
        plan=batch.plan if batch else None,
        proposal=proposal,
        rules=[rule.value for rule in asked],
        asked_by_id=asked_by_id,
        asked_at=at,
        expires_at=at + rules.waits,
    )
    session.add(made)
    session.flush()
    return made


def decide(
    session: Session,
    endorsement_id: int,
    state: EndorsementState,
    at: datetime,
    decided_by_id: int | None = None,
    reason: str | None = None,
) -> bool:
    """Decide what waits, by compare-and-set; False when it does not wait any more."""
    decided = session.execute(
        update(Endorsement)
        .where(Endorsement.id == endorsement_id, Endorsement.state == EndorsementState.WAITING)
        .values(state=state, decided_by_id=decided_by_id, decided_at=at, reason=reason)
        .returning(Endorsement.id)
    )
    return decided.first() is not None


def void_endorsement(session: Session, batch_id: int, at: datetime) -> None:
    """The endorsed plan of a batch cannot be carried out any more: it is asked anew."""
    session.execute(
        update(Endorsement)
        .where(Endorsement.batch_id == batch_id, Endorsement.state == EndorsementState.ENDORSED)
        .values(state=EndorsementState.MOVED, decided_at=at)
    )


def withdraw_endorsement(session: Session, batch_id: int, at: datetime) -> None:
    """The batch was taken back while it waited."""
    session.execute(
        update(Endorsement)
        .where(Endorsement.batch_id == batch_id, Endorsement.state == EndorsementState.WAITING)
        .values(state=EndorsementState.WITHDRAWN, decided_at=at)
    )


def back_to_checked(batch: Batch) -> None:
    """A batch that waited is as before the yes: it can be confirmed anew, or taken back."""
    batch.state = BatchState.CHECKED
    batch.confirmed_content = None
    batch.confirmed_at = None
    batch.expected_plan = None
