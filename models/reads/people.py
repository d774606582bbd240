"""Persons, keys and acts, read; and whose key one is."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.rules.acts import ActFacts, first_flaw
from models.rules.errors import KeyRefused, PersonUnknown
from models.rules.people import Actor, Channel, Role, Scope
from models.tables.batches import Batch
from models.tables.bulk import CHUNK
from models.tables.people import Act, ApiKey, Person
from models.tables.sign_ins import SignIn

KEY: Final = re.compile(r"bf_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
"""A key: what it is found by, and 256 random bits."""


def key_hash(secret: str) -> str:
    """How the secret of a key is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()


def actor_of_key(session: Session, key: str, channel: Channel, now: datetime) -> Actor:
    """The owner of this key, proved. Raises `KeyRefused`, always the same."""
    parts = KEY.fullmatch(key.strip())
    found = None
    if parts is not None:
        found = session.execute(
            select(ApiKey, Person)
            .join(Person, Person.id == ApiKey.person_id)
            .where(ApiKey.public == parts[1])
        ).first()
    if parts is None or found is None:
        raise KeyRefused
    kept, person = found
    right = hmac.compare_digest(kept.secret_sha256, key_hash(parts[2]))
    expired = kept.expires_at is not None and kept.expires_at <= now
    if not right or expired or kept.revoked_at is not None or person.disabled_at is not None:
        raise KeyRefused
    return replace(person_actor(person, channel), scopes=_scopes(kept), key_id=kept.id)


def person_actor(person: Person, channel: Channel, sign_in_id: int | None = None) -> Actor:
    """The person, proved, as they come through this door."""
    limit = None if person.principals is None else frozenset(person.principals)
    return Actor(
        person.name,
        channel,
        person.id,
        roles_of(person),
        sign_in_id=sign_in_id,
        principals=limit,
    )


def _scopes(key: ApiKey) -> frozenset[Scope]:
    return frozenset(Scope(s) for s in key.scopes)


def actor_of_maker(session: Session, batch: Batch, key_id: int | None, now: datetime) -> Actor:
    """Who brought this batch, by a key or at the pages, with the roles and scopes that they have now.

    Raises `KeyRefused`.
    """
    person = session.get(Person, batch.made_by_id) if batch.made_by_id is not None else None
    if person is None or person.disabled_at:
        raise KeyRefused
    if key_id is None and batch.made_via == Channel.PAGE:
        return person_actor(person, Channel.PAGE)
    key = session.get(ApiKey, key_id) if key_id is not None else None
    if key is None or key.person_id != person.id:
        raise KeyRefused
    if key.revoked_at or (key.expires_at and key.expires_at <= now):
        raise KeyRefused
    return replace(person_actor(person, Channel.API), scopes=_scopes(key), key_id=key.id)


def actor_as_now(session: Session, actor: Actor) -> Actor:
    """The actor with the roles that they have now: a question may have stood open for long.

    Raises `KeyRefused` for one who was disabled, or whose key was revoked or sign-in ended, meanwhile.
    """
    if actor.person_id is None:
        return actor
    person = session.get_one(Person, actor.person_id, populate_existing=True)
    revoked = actor.key_id is not None and (
        session.get_one(ApiKey, actor.key_id, populate_existing=True).revoked_at is not None
    )
    ended = actor.sign_in_id is not None and (
        session.get_one(SignIn, actor.sign_in_id, populate_existing=True).ended_at is not None
    )
    if person.disabled_at is not None or revoked or ended:
        raise KeyRefused
    now = person_actor(person, actor.channel)
    return replace(actor, roles=now.roles, principals=now.principals)


def roles_of(person: Person) -> frozenset[Role]:
    """The roles of a person."""
    return frozenset(Role(r) for r in person.roles)


def person_of(session: Session, login: str) -> Person:
    """The person with this login. Raises `PersonUnknown`."""
    found = session.scalar(select(Person).where(Person.login == login))
    if found is None:
        raise PersonUnknown(login=login)
    return found


def has_login(session: Session, login: str) -> bool:
    """Whether somebody has this login, or had it."""
    return session.scalar(select(Person.id).where(Person.login == login)) is not None


def list_persons(session: Session) -> Iterator[dict[str, Any]]:
    """All persons by their logins, as JSON says it."""
    for person in session.scalars(select(Person).order_by(Person.login)):
        yield {
            "login": person.login,
            "name": person.name,
            "roles": sorted(person.roles),
            "disabled": person.disabled_at is not None,
            "principals": person.principals,
            "signs_in": person.password_hash is not None,
            "second_factor": person.second_factor is not None,
            "created_at": person.created_at.isoformat(),
        }


def list_keys(
    session: Session, person_id: int | None = None, key_id: int | None = None
) -> Iterator[dict[str, Any]]:
    """Keys, of one person or all, newest first, or the one with this number; never a secret."""
    query = select(ApiKey, Person.login).join(Person, Person.id == ApiKey.person_id)
    if person_id is not None:
        query = query.where(ApiKey.person_id == person_id)
    if key_id is not None:
        query = query.where(ApiKey.id == key_id)
    for key, login in session.execute(query.order_by(ApiKey.id.desc())):
        yield {
            "key": key.public,
            "owner": login,
            "note": key.note,
            "scopes": sorted(key.scopes),
            "created_at": key.created_at.isoformat(),
            "expires_at": key.expires_at.isoformat() if key.expires_at else None,
            "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
            "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
        }


def list_acts(session: Session, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """The newest acts first, or those below the number `before`."""
    query = select(Act).order_by(Act.number.desc()).limit(limit)
    if before is not None:
        query = query.where(Act.number < before)
    return [
        {
            "number": act.number,
            "at": act.at.isoformat(),
            "actor": act.actor,
            "proved": act.person_id is not None,
            "channel": act.channel.value,
            "deed": act.deed,
            "about": act.about,
            "detail": act.detail,
        }
        for act in session.scalars(query)
    ]


def flaw_of_acts(session: Session) -> int | None:
    """The number of the first act that is not as it was written; None when the log is whole."""
    acts = session.scalars(select(Act).order_by(Act.number).execution_options(yield_per=CHUNK))
    with closing(acts):
        return first_flaw(
            (
                ActFacts(
                    *(a.number, a.at, a.actor, a.channel.value),
                    *(a.person_id, a.deed, a.about, a.detail),
                ),
                a.hash,
            )
            for a in acts
        )
