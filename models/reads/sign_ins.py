"""Sign-ins, read: whose a token is, and what a person has open."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from models.reads.people import person_actor
from models.rules.errors import SignInRefused
from models.rules.people import Actor, Channel
from models.rules.sign_in import SHOWN_TO_ALL, Lasting
from models.tables.people import Person
from models.tables.sign_ins import SignIn


@dataclass(frozen=True, slots=True)
class Signed:
    """A living sign-in: who, when they last did something, whether they must choose a password first."""

    actor: Actor
    login: str
    seen_at: datetime
    must_choose: bool


def token_hash(token: str) -> str:
    """How the token of a sign-in is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


_SIGNED_IN: Final = (
    select(SignIn, Person)
    .join(Person, Person.id == SignIn.person_id)
    .where(SignIn.token_sha256 == bindparam("token_sha256"))
)
"""Made once, as `models.reads.tallies` has it."""


def signed_in(session: Session, token: str, now: datetime, lasting: Lasting) -> Signed:
    """Whose sign-in this is. Raises `SignInRefused` for one that is none, or not any more."""
    found = session.execute(_SIGNED_IN, {"token_sha256": token_hash(token)}).first()
    if found is None:
        raise SignInRefused
    kept, person = found
    over = kept.ended_at is not None or person.disabled_at is not None
    if over or not lasting.lives(kept.begun_at, kept.seen_at, now):
        raise SignInRefused
    actor = person_actor(person, Channel.PAGE, sign_in_id=kept.id)
    return Signed(
        actor, person.login, kept.seen_at, kept.by_password and person.one_time_until is not None
    )


def list_sign_ins(
    session: Session, person_id: int, now: datetime, lasting: Lasting
) -> Iterator[dict[str, Any]]:
    """The living sign-ins of a person, the newest first."""
    query = select(SignIn).where(SignIn.person_id == person_id, SignIn.ended_at.is_(None))
    for one in session.scalars(query.order_by(SignIn.id.desc()).limit(100)):
        if lasting.lives(one.begun_at, one.seen_at, now):
            yield {
                "id": one.id,
                "begun_at": one.begun_at,
                "seen_at": one.seen_at,
                "address": one.address,
                "agent": one.agent,
            }


def passwords_given(session: Session, now: datetime) -> list[dict[str, Any]]:
    """Whose password was given anew of late, and by whom: everybody is shown it. Not a person's first."""
    given = select(Person).where(Person.given_again_at > now - SHOWN_TO_ALL)
    return [
        {"login": person.login, "by": person.given_again_by, "at": person.given_again_at}
        for person in session.scalars(given.order_by(Person.given_again_at.desc()))
    ]
