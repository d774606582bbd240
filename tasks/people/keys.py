"""Keys by which programs act as persons: made, shown once, revoked, found again by what they say."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import update
from sqlalchemy.orm import Session

from models.reads.endorsements import known_rules
from models.reads.people import actor_of_key, key_hash, person_of, roles_of
from models.rules.errors import BadArgument, NotAllowed, NotFound, PersonNeeded
from models.rules.language import t
from models.rules.people import ROLE_WORDS, Actor, Channel, Deed, Role, Scope
from models.rules.two_persons import RULE_WORDS, Rule
from models.tables.people import ApiKey, Person
from models.writes.acts import record_act
from tasks.context import Context

log = structlog.get_logger(__name__)

USE_NOTED: Final = timedelta(minutes=1)
"""How often the last use of a key is written: a busy program costs no write for each call."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as its owner sees it, this once."""

    public: str
    key: str

    def __repr__(self) -> str:
        return f"NewKey({self.public})"


def make_key(
    context: Context,
    login: str,
    scopes: Collection[Scope],
    note: str = "",
    expires_at: datetime | None = None,
) -> NewKey:
    """A new key of this person. A proved person makes their own alone; an account of the system makes none of
    whoever may endorse, once two persons are needed.

    Raises `PersonUnknown`, `NotAllowed`, `PersonNeeded`, `BadArgument` for no scope or an end that has passed.
    """
    if not scopes:
        raise BadArgument(detail=t("至少给出一个范围 --scope", "give at least one --scope"))
    now = context.now()
    if expires_at is not None and expires_at <= now:
        raise BadArgument(detail=t("到期时间已过", "the end has passed already"))
    public, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    with context.database.write() as session:
        person = person_of(session, login)
        if context.actor.proved and context.actor.person_id != person.id:
            owner = t("本人", "the owner alone")
            raise NotAllowed(name=context.actor.name, deed=Deed.KEY_MADE, roles=owner, scope="-")
        _refuse_checkers_key(session, context, person)
        session.add(
            ApiKey(
                public=public,
                secret_sha256=key_hash(secret),
                person_id=person.id,
                note=note[:64],
                scopes=sorted(set(scopes)),
                created_at=now,
                expires_at=expires_at,
            )
        )
        record_act(
            session,
            context.actor,
            Deed.KEY_MADE,
            login,
            now,
            key=public,
            scopes=sorted(set(scopes)),
        )
    log.info("key_made", key=public, owner=login, by=context.actor.name)
    return NewKey(public, f"bf_{public}_{secret}")


def _refuse_checkers_key(session: Session, context: Context, person: Person) -> None:
    """Once two persons are needed, whoever has the account of the system makes no second person of themselves."""
    _, rules = known_rules(session)
    account = not context.actor.proved and context.actor.channel is Channel.COMMAND
    if account and rules.on and rules.people and Role.CHECKER in roles_of(person):
        raise PersonNeeded(rules=str(RULE_WORDS[Rule.PEOPLE]))


def revoke_key(context: Context, public: str) -> None:
    """From now on nobody acts by this key. Raises `NotFound` for one that is not there or is revoked already."""
    with context.database.write() as session:
        revoked = session.execute(
            update(ApiKey)
            .where(ApiKey.public == public, ApiKey.revoked_at.is_(None))
            .values(revoked_at=context.now())
            .returning(ApiKey.person_id)
        ).first()
        if revoked is None:
            raise NotFound(what=public)
        actor = context.actor
        others = actor.proved and actor.person_id != revoked.person_id
        if others and Role.ADMINISTRATOR not in actor.roles:
            raise NotAllowed(
                name=actor.name,
                deed=Deed.KEY_REVOKED,
                roles=ROLE_WORDS[Role.ADMINISTRATOR],
                scope="-",
            )
        record_act(session, actor, Deed.KEY_REVOKED, public, context.now())
    log.info("key_revoked", key=public, by=context.actor.name)


def owner_of(context: Context, key: str, channel: Channel) -> Actor:
    """The person whose key this is, proved; notes that it was used. Raises `KeyRefused`."""
    now = context.now()
    with context.database.read() as session:
        actor = actor_of_key(session, key, channel, now)
        last = session.get_one(ApiKey, actor.key_id).last_used_at
    if last is None or last <= now - USE_NOTED:
        with context.database.write() as session:
            session.execute(
                update(ApiKey).where(ApiKey.id == actor.key_id).values(last_used_at=now)
            )
    return actor
