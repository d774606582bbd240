"""Persons: added, changed, disabled. Every change is an act, with who did it."""

from __future__ import annotations

from collections.abc import Collection

import structlog
from sqlalchemy.orm import Session

from models.reads.people import person_of
from models.rules.errors import BadArgument
from models.rules.language import t
from models.rules.people import LOGIN, NAME_LENGTH, Deed, Role
from models.tables.bulk import insert_new
from models.tables.people import Person
from models.writes.acts import record_act
from tasks.context import Context

log = structlog.get_logger(__name__)


def add_person(context: Context, login: str, name: str, roles: Collection[Role]) -> None:
    """A new person. Raises `BadArgument` for a login that is none, or that somebody has already."""
    login, name = login.strip(), name.strip()
    if not LOGIN.fullmatch(login):
        raise BadArgument(
            detail=t(
                f"登录名 {login}: 2-32 位小写字母、数字或 . _ @ -",
                f"login {login}: 2-32 small letters, digits or . _ @ -",
            )
        )
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable():
        raise BadArgument(
            detail=t(f"姓名 1-{NAME_LENGTH} 字", f"a name of 1-{NAME_LENGTH} characters")
        )
    kept = sorted(set(roles))
    with context.database.write() as session:
        made = insert_new(
            session,
            Person,
            [{"login": login, "name": name, "roles": kept, "created_at": context.now()}],
        )
        if not made:
            raise BadArgument(detail=t(f"登录名已有: {login}", f"the login is taken: {login}"))
        _record(session, context, Deed.PERSON_ADDED, login, name=name, roles=kept)


def set_roles(context: Context, login: str, roles: Collection[Role]) -> None:
    """Another set of roles. Raises `PersonUnknown`."""
    with context.database.write() as session:
        person = person_of(session, login)
        person.roles = sorted(set(roles))
        _record(session, context, Deed.PERSON_CHANGED, login, roles=person.roles)


def set_disabled(context: Context, login: str, *, disabled: bool) -> None:
    """Let nobody act as this person any more, or let them again; their keys end with them. Raises `PersonUnknown`."""
    with context.database.write() as session:
        person = person_of(session, login)
        person.disabled_at = context.now() if disabled else None
        _record(session, context, Deed.PERSON_CHANGED, login, disabled=disabled)


def _record(session: Session, context: Context, deed: Deed, login: str, **detail: object) -> None:
    record_act(session, context.actor, deed, login, context.now(), **detail)
    log.info(deed.value, login=login, by=context.actor.name)
