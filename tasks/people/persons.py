"""Persons: added, changed, disabled. Every change is an act, with who did it."""

from __future__ import annotations

from collections.abc import Collection

import structlog
from sqlalchemy.orm import Session

from models.reads.people import has_login, person_of, roles_of
from models.rules.errors import BadArgument
from models.rules.language import t
from models.rules.people import ENTERPRISE, LOGIN, NAME_LENGTH, Deed, Role
from models.rules.two_persons import ChangeKind, Rule
from models.writes.acts import record_act
from models.writes.people import disable_person, give_roles, limit_person, new_person
from tasks.context import Context
from tasks.people.changes import ask_where_ruled

log = structlog.get_logger(__name__)


def add_person(context: Context, login: str, name: str, roles: Collection[Role]) -> int | None:
    """A new person. Raises `BadArgument` for a login that is none, or that somebody has already.

    Gives the number of the request where the rules want a second person, else None: so do all here.
    """
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
        if has_login(session, login):
            raise BadArgument(detail=t(f"登录名已有: {login}", f"the login is taken: {login}"))
        asked = ask_where_ruled(
            session, context, Rule.PEOPLE, Deed.PERSON_ADDED, ChangeKind.PERSON, login,
            name=name, roles=kept,
        )  # fmt: skip
        if asked is None:
            new_person(session, login, name, kept, context.now())
            _record(session, context, Deed.PERSON_ADDED, login, name=name, roles=kept)
    return asked


def is_administrator(context: Context, login: str) -> bool:
    """Whether there is an administrator with this login, who is not disabled."""
    with context.database.read() as session:
        if not has_login(session, login):
            return False
        person = person_of(session, login)
        return person.disabled_at is None and Role.ADMINISTRATOR in roles_of(person)


def set_roles(context: Context, login: str, roles: Collection[Role]) -> int | None:
    """Another set of roles. Raises `PersonUnknown`."""
    kept = sorted(set(roles))
    with context.database.write() as session:
        person_of(session, login)
        asked = ask_where_ruled(
            session, context, Rule.PEOPLE, Deed.PERSON_CHANGED, ChangeKind.ROLES, login, roles=kept
        )
        if asked is None:
            give_roles(session, login, kept)
            _record(session, context, Deed.PERSON_CHANGED, login, roles=kept)
    return asked


def set_principals(context: Context, login: str, principals: Collection[str] | None) -> int | None:
    """The enterprises that the person works for, by their codes: nothing of others is seen or moved; None: all.

    Raises `PersonUnknown`, `BadArgument` for no code at all.
    """
    kept = None if principals is None else sorted({p.strip().upper() for p in principals} - {""})
    if kept == [] or any(not ENTERPRISE.fullmatch(code) for code in kept or ()):
        raise BadArgument(
            detail=t(
                "请给出企业的统一社会信用代码(18 位)",
                "give the enterprises' codes of 18 characters",
            )
        )
    with context.database.write() as session:
        person_of(session, login)
        asked = ask_where_ruled(
            session, context, Rule.PEOPLE, Deed.PERSON_CHANGED, ChangeKind.PRINCIPALS, login,
            principals=kept,
        )  # fmt: skip
        if asked is None:
            limit_person(session, login, kept)
            _record(session, context, Deed.PERSON_CHANGED, login, principals=kept)
    return asked


def set_disabled(context: Context, login: str, *, disabled: bool) -> int | None:
    """Let nobody act as this person any more, or let them again; their keys end with them. Raises `PersonUnknown`.

    Of somebody who may not endorse it needs no second person: who does harm is stopped at once.
    """
    with context.database.write() as session:
        person, asked = person_of(session, login), None
        if Role.CHECKER in roles_of(person) or not disabled:
            asked = ask_where_ruled(
                session, context, Rule.PEOPLE, Deed.PERSON_CHANGED, ChangeKind.DISABLED, login,
                disabled=disabled,
            )  # fmt: skip
        if asked is None:
            disable_person(session, login, context.now() if disabled else None)
            _record(session, context, Deed.PERSON_CHANGED, login, disabled=disabled)
    return asked


def _record(session: Session, context: Context, deed: Deed, login: str, **detail: object) -> None:
    record_act(session, context.actor, deed, login, context.now(), **detail)
    log.info(deed.value, login=login, by=context.actor.name)
