"""Programs that call the API, for tests: an application over a world, and keys of persons."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient

from console.app import create_app
from models.reads.people import list_persons
from models.rules.people import Role, Scope
from tasks.people import keys
from tests.support.persons import person

ALL_SCOPES = tuple(Scope)


@dataclass
class Program:
    """A program with a key."""

    client: FlaskClient
    key: str

    def call(self, method: str, path: str, *, once: str | None = None, **said: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", **said.pop("headers", {})}
        if once is not None:
            headers["Idempotency-Key"] = once
        return self.client.open(f"/api/v1{path}", method=method, headers=headers, **said)

    def get(self, path: str, **said: Any) -> Any:
        return self.call("GET", path, **said)

    def post(self, path: str, **said: Any) -> Any:
        return self.call("POST", path, once=said.pop("once", uuid.uuid4().hex), **said)


def program(
    world: Any, login: str = "erp", *scopes: Scope, roles: tuple[Role, ...] = (Role.MAKER,)
) -> Program:
    """A program of the person with this login, who is added where there is none."""
    with world.context.database.read() as session:
        known = {p["login"] for p in list_persons(session)}
    if login not in known:
        person(world, login, *roles)
    made = keys.make_key(world.context, login, scopes or ALL_SCOPES)
    return Program(create_app(world.context).test_client(), made.key)
