"""The log of acts is written here alone, in the transaction of what was done."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.rules.acts import ActFacts, act_hash
from models.rules.people import Actor, Deed, require
from models.tables.locks import Lock, hold
from models.tables.people import Act

_ABOUT_LENGTH: Final = 200


def record_act(
    session: Session, actor: Actor, deed: Deed, about: str, at: datetime, **detail: object
) -> None:
    """Write down that the actor does this. Raises `NotAllowed` where they may not; then nothing is done.

    Call it last in the transaction: until that ends no other act is written. `detail` is JSON.
    """
    require(actor, deed)
    hold(session, Lock.ACTS)
    last = session.execute(
        select(Act.number, Act.hash).order_by(Act.number.desc()).limit(1)
    ).first()
    about = about.encode("utf-8", "replace").decode().replace("\0", "")[:_ABOUT_LENGTH]
    number, before = (last.number + 1, last.hash) if last else (1, "")
    facts = ActFacts(
        number,
        at,
        actor.name,
        actor.channel.value,
        actor.person_id,
        deed.value,
        about,
        detail,
    )
    session.add(
        Act(
            number=number,
            at=at,
            actor=actor.name,
            channel=actor.channel,
            person_id=actor.person_id,
            deed=facts.deed,
            about=facts.about,
            detail=dict(detail),
            hash=act_hash(before, facts),
        )
    )
    session.flush()
