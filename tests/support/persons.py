"""Persons and their keys for tests."""

from __future__ import annotations

from dataclasses import replace

from models.reads.people import list_persons
from models.rules.people import SYSTEM, Actor, Channel, Role, Scope
from models.rules.two_persons import Rules
from tasks.people import keys, persons, rules


def person(world, login: str = "wang", *roles: Role) -> str:
    """A person of this login, by default a maker."""
    persons.add_person(world.context, login, f"{login} 某", roles or (Role.MAKER,))
    return login


def by_key(world, login: str, *scopes: Scope, roles: tuple[Role, ...] = ()) -> Actor:
    """The person of this login as a program acts for them; added where there is none."""
    with world.context.database.read() as session:
        known = {p["login"] for p in list_persons(session)}
    if login not in known:
        person(world, login, *roles)
    made = keys.make_key(replace(world.context, actor=SYSTEM), login, scopes or (Scope.SUBMIT,))
    return keys.owner_of(world.context, made.key, Channel.COMMAND)


def turn_on(world, *checkers: str) -> None:
    """The rules of a new deployment, on: these persons may endorse."""
    for login in checkers:
        person(world, login, Role.CHECKER)
    rules.set_rules(world.context, Rules(on=True))
