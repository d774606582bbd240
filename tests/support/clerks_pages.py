"""Persons at the pages, for tests: signed in, over a world, by Flask's client (no script runs there)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from html import unescape
from typing import Any

from flask.testing import FlaskClient

from console.app import create_app
from models.reads.people import list_persons, person_of
from models.rules.people import Role
from tasks.people import passwords, sign_ins
from tests.support.persons import person

OWN = "copper kettle under rain"
HERE = {"Sec-Fetch-Site": "same-origin"}


def with_password(world: Any, login: str, *roles: Role) -> str:
    """A person of this login who has chosen the password OWN; added where there is none."""
    with world.context.database.read() as session:
        known = {p["login"] for p in list_persons(session)}
    if login not in known:
        person(world, login, *roles)
    with world.context.database.write() as session:
        person_of(session, login).password_hash = _kept()
    return login


@cache
def _kept() -> str:
    """OWN as it is kept: made once, it costs a tenth of a second."""
    return passwords.hash_of(OWN)


@dataclass
class AtThePages:
    """A browser without scripts."""

    client: FlaskClient
    token: str

    def get(self, path: str, status: int = 200, **said: Any) -> str:
        answer = self.client.get(path, **said)
        assert answer.status_code == status, (path, answer.status_code, text_of(answer.text)[:600])
        return answer.text

    def post(
        self, path: str, data: Any = None, status: int = 303, headers: Any = HERE, **said: Any
    ) -> Any:
        answer = self.client.post(path, data=data, headers=headers, **said)
        assert answer.status_code == status, (path, answer.status_code, text_of(answer.text)[:600])
        return answer


def at_the_pages(world: Any, login: str = "wang", *roles: Role, app: Any = None) -> AtThePages:
    """This person, signed in."""
    with_password(world, login, *(roles or (Role.MAKER,)))
    app = app or create_app(world.context)
    with world.context.database.read() as session:
        person_id = person_of(session, login).id
    token = sign_ins.begin(world.context, person_id, sign_ins.Browser("192.0.2.1"))
    client = app.test_client()
    client.set_cookie("blankforms_sign_in", token)
    return AtThePages(client, token)


def text_of(html: str) -> str:
    """What a person reads: no tags, single blanks."""
    body = re.sub(r"<(script|style|title)\b.*?</\1>", " ", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())
