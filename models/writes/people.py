"""Persons, written: added, given roles, disabled; in their caller's transaction, which writes the act too."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy.orm import Session

from models.reads.people import person_of
from models.tables.bulk import insert_new
from models.tables.people import Person


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
