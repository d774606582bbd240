"""docs/api.md: every call of the walk-through is made, and answers what the page says."""

from __future__ import annotations

import io
import json
import re
import shlex

import pytest

from console.api.problems import BlankformsError, status_of
from console.app import OPERATIONS
from models.rules.people import Role, Scope
from tasks.orders import queued
from tests.conftest import ROOT
from tests.support.factories import AGENT_HANDLED, bring_in, sheet
from tests.support.persons import person
from tests.support.programs import Program, program

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
STEPS = re.findall(r"^```sh\n(curl .*?)\n```\n```json\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)


def made(caller: Program, command: str):
    """What a curl line says, said to the application."""
    parts = shlex.split(command)[1:]
    method, path, headers, body, form = "GET", "", {}, None, {}
    while parts:
        part = parts.pop(0)
        match part:
            case "-X":
                method = parts.pop(0)
            case "-H":
                name, _, value = parts.pop(0).partition(": ")
                headers[name] = value
            case "-d":
                body = parts.pop(0)
            case "-F":
                name, _, value = parts.pop(0).partition("=")
                content = sheet([[AGENT_HANDLED, "核销", "211014003"]])
                form[name] = (io.BytesIO(content), value[1:]) if value[0] == "@" else value
            case _:
                path = part.removeprefix("$API")
    assert headers.pop("Authorization") == "Bearer $KEY"
    said = {"data": body} if body is not None else {"data": form} if form else {}
    return caller.call(method, path, headers=headers, **said)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_walk_by_curl_answers_what_the_page_says(world):
    bring_in(world)
    person(world, "erp", Role.MAKER)
    from sqlalchemy import update

    from models.tables.people import Person

    with world.context.database.write() as session:
        session.execute(update(Person).values(name="ERP 接口"))
    scopes = (Scope.CHECK, Scope.SUBMIT, Scope.CANCEL, Scope.READ)
    caller, plan = program(world, "erp", *scopes), "PLAN"
    assert len(STEPS) == 6
    for command, told in STEPS:
        answer = made(caller, command.replace("PLAN", plan))
        assert answer.status_code in {200, 202}, (command, answer.json)
        expected = json.loads(told)
        found = {name: answer.json[name] for name in expected}
        if expected.get("plan") == "PLAN":
            plan = expected["plan"] = answer.json["plan"]
        assert found == expected, command
        if answer.json.get("queued"):
            queued.read(world.context, answer.json["id"])


def test_every_scope_and_every_code_of_the_page_is_there():
    named = set(re.findall(r"`([a-z]+:[a-z]+)`", PAGE))
    assert named <= set(Scope)
    assert {o.scope for o in OPERATIONS} - {None} <= {s for s in Scope if f"`{s}`" in PAGE}
    waiting, codes = [BlankformsError], {}
    while waiting:
        kind = waiting.pop()
        codes[kind.code] = status_of(kind)
        waiting += kind.__subclasses__()
    rows = re.findall(r"^\| ([\d, ]+) \| (.*?) \|", PAGE, re.MULTILINE)
    assert len(rows) > 6
    for statuses, told in rows:
        for code in re.findall(r"`(\w+)`", told):
            assert str(codes[code]) in statuses, code


def test_the_client_of_the_page_is_short():
    client = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    assert len(client.splitlines()) <= 60
