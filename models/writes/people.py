"""Persons, written: added, given roles, disabled; in their caller's transaction, which writes the act too."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from models.reads.people import person_of
from models.tables.bulk import insert_new
from models.tables.people import Person
from models.tables.sign_ins import SignIn


def new_person(
    session: Session, login: str, name: str, roles: Collection[str], at: datetime
) -> bool:
    """Add a person; False when somebody has the login already."""
    kept = sorted(set(roles))
    row = {"login": login, "name": name, "roles": kept, "created_at": at}
    return bool(insert_new(session, Person, [row]))


def give_roles(session: Session, login: str, roles: Collection[str]) -> None:
    """These roles and no others. Raises `PersonUnknown`."""
    person_of(session, login).roles = sorted(set(roles))


def disable_person(session: Session, login: str, at: datetime | None) -> None:
    """Disabled from then on, or (None) active again. Raises `PersonUnknown`."""
    person_of(session, login).disabled_at = at


def limit_person(session: Session, login: str, principals: Collection[str] | None) -> None:
    """The enterprises that the person works for; None: all. Raises `PersonUnknown`."""
    person_of(session, login).principals = None if principals is None else sorted(set(principals))


def give_password(
    session: Session, login: str, kept: str, until: datetime, by: str, at: datetime
) -> None:
    """A one-time password, by its hash: the second factor and all sign-ins end. Raises `PersonUnknown`."""
    person = person_of(session, login)
    if person.password_hash is not None:
        person.given_again_at, person.given_again_by = at, by
    person.password_hash, person.one_time_until, person.second_factor = kept, until, None
    end_sign_ins(session, person.id, at)


def end_sign_ins(session: Session, person_id: int, at: datetime, but: int | None = None) -> None:
    """End the sign-ins of a person, all or all but one."""
    ending = update(SignIn).where(SignIn.person_id == person_id, SignIn.ended_at.is_(None))
    if but is not None:
        ending = ending.where(SignIn.id != but)
    session.execute(ending.values(ended_at=at))
